//! Spreads the answers to many nodes that are woken at once.
//!
//! A parameter of all nodes changes, and ten thousand held requests end in the same moment. The
//! first hundred are answered at once; each of the others gets its turn a little later.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// As many nodes are answered at once.
const AT_ONCE: u64 = 100;

/// So many of the others are answered a second.
const PER_SECOND: u64 = 4000;

/// The longest pause, whatever their number.
const LONGEST: Duration = Duration::from_secs(10);

/// After so much quiet the next one woken begins a new wave.
const QUIET: Duration = Duration::from_secs(1);

/// Counts who was woken lately.
#[derive(Debug, Default)]
pub struct Crowd {
    wave: Mutex<Wave>,
}

#[derive(Debug, Default)]
struct Wave {
    began: Option<Instant>,
    woken: u64,
}

impl Crowd {
    /// Waits for the turn of one that was just woken.
    pub async fn turn(&self) {
        let pause = self.pause();
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    fn pause(&self) -> Duration {
        let now = Instant::now();
        // A panic while it was held leaves the count usable.
        let mut wave = self.wave.lock().unwrap_or_else(PoisonError::into_inner);
        if wave.began.is_none_or(|began| now - began >= QUIET) {
            wave.woken = 0;
            wave.began = Some(now);
        }
        wave.woken += 1;
        let beyond = wave.woken.saturating_sub(AT_ONCE);
        Duration::from_millis(beyond * 1000 / PER_SECOND).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_crowd_is_spread() {
        let crowd = Crowd::default();
        let pauses: Vec<Duration> = (0..4100).map(|_| crowd.pause()).collect();
        assert!(pauses[..100].iter().all(Duration::is_zero));
        assert_eq!(pauses[4099], Duration::from_secs(1));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(crowd.pause(), Duration::ZERO);
    }
}
