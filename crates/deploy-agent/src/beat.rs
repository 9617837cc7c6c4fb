//! Tells the seed every few seconds where the agent is, whatever it is doing.
//!
//! Zeroing a disk, syncing it or a slow request may take minutes without anything to tell; a thread of its own with a
//! connection of its own gives a sign of life meanwhile. That nothing gets on is for the seed to see: it hears how far
//! the work is with each sign.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::http::Client;
use crate::orders::Report;
use crate::run::post;

/// Time from one sign of life to the next. The seed gives an agent up after many of them.
const EVERY: Duration = Duration::from_secs(10);

/// What the agent does just now.
#[derive(Debug, Clone, Copy)]
struct Place {
    phase: &'static str,
    done: Option<u64>,
    total: Option<u64>,
}

/// Where the work notes how far it is.
#[derive(Debug, Clone)]
pub struct Beat(Arc<Mutex<Place>>);

impl Beat {
    /// Begins to tell. The thread ends with the program: a sign after the result harms nothing.
    pub fn begin(mut client: Client, url: String, phase: &'static str) -> Self {
        let beat = Self(Arc::new(Mutex::new(Place {
            phase,
            done: None,
            total: None,
        })));
        let told = beat.clone();
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(EVERY);
                // A sign that is lost is followed by another one.
                drop(post(&mut client, &url, &told.report()));
            }
        });
        beat
    }

    /// Something else is done from now on.
    pub fn phase(&self, phase: &'static str) {
        self.set(|place| place.phase = phase);
    }

    /// So much is done.
    pub fn done(&self, done: u64, total: u64) {
        self.set(|place| (place.done, place.total) = (Some(done), Some(total)));
    }

    /// What is told just now.
    pub fn report(&self) -> Report<'static> {
        let place = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Report {
            phase: Some(place.phase),
            done: place.done,
            total: place.total,
            ..Report::default()
        }
    }

    fn set(&self, change: impl FnOnce(&mut Place)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
