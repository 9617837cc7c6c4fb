//! Sessions: tokens given for user and password, until they are closed or unused for too long.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::credentials::secret;

/// Seconds that a session may stay unused.
pub const TIMEOUT: u64 = 1800;

/// More sessions than this push out the oldest: clients forget to log out.
const MOST: usize = 64;

/// The open sessions.
#[derive(Default)]
pub struct Sessions {
    open: Mutex<HashMap<String, (String, Instant)>>,
}

impl Sessions {
    fn open(&self) -> MutexGuard<'_, HashMap<String, (String, Instant)>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, (_, used)| used.elapsed() < Duration::from_secs(TIMEOUT));
        open
    }

    /// Opens a session; gives its id and its token.
    pub fn add(&self) -> (String, String) {
        let (id, token) = (secret()[..12].to_owned(), secret());
        let mut open = self.open();
        if open.len() >= MOST
            && let Some(oldest) = open
                .iter()
                .min_by_key(|(_, (_, used))| *used)
                .map(|(token, _)| token.clone())
        {
            open.remove(&oldest);
        }
        open.insert(token.clone(), (id.clone(), Instant::now()));
        (id, token)
    }

    /// Whether a token belongs to an open session, which is used by asking.
    pub fn has(&self, token: &str) -> bool {
        self.open()
            .get_mut(token)
            .map(|(_, used)| *used = Instant::now())
            .is_some()
    }

    /// Ids of the open sessions.
    pub fn ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.open().values().map(|(id, _)| id.clone()).collect();
        ids.sort();
        ids
    }

    /// Closes a session; tells whether there was one.
    pub fn close(&self, id: &str) -> bool {
        let mut open = self.open();
        let before = open.len();
        open.retain(|_, (other, _)| other != id);
        open.len() < before
    }
}
