//! One run at a time: a lock that the kernel drops when its holder ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Why the lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it.
    #[error("Could not lock {}. [Errno 11] Resource temporarily unavailable", path.display())]
    Held {
        /// The lock's file.
        path: PathBuf,
    },
    /// Its file cannot be used.
    #[error("cannot use lock file {}", path.display())]
    Open {
        /// The lock's file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The lock, held while this value lives. The file says who holds it.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock or says who keeps us from it; never waits.
    pub fn take(path: &Path) -> Result<Lock, LockError> {
        let failed = |source| LockError::Open {
            path: path.to_owned(),
            source,
        };
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let pid = std::process::id();
        let now = jiff::ZonedDateTime::now().strftime("%a, %d %b %Y %H:%M:%S");
        file.set_len(0)
            .and_then(|()| writeln!(file, "Locked by pid=={pid} at {now}"))
            .map_err(failed)?;
        Ok(Lock { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The text is only for people; stale text does no harm.
        let _ = self.file.set_len(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_exclusive_names_its_holder_and_is_left_empty() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        std::fs::write(&path, "stale").unwrap();
        let lock = Lock::take(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with(&format!("Locked by pid=={} at ", std::process::id())),
            "{text}"
        );
        assert!(matches!(Lock::take(&path), Err(LockError::Held { .. })));
        drop(lock);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        Lock::take(&path).unwrap();
        let missing = directory.path().join("no/lock");
        assert!(matches!(Lock::take(&missing), Err(LockError::Open { .. })));
    }
}
