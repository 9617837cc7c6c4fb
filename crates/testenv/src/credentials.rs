//! User and password of the lab's management controllers: made once per state directory, kept in a file
//! that only its owner reads, never on a command line.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rand::RngCore;
use serde::{Deserialize, Serialize};

use crate::error::LabError;

/// What a client of a management controller needs.
#[derive(Clone, Serialize, Deserialize)]
pub struct Credentials {
    /// User.
    pub username: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("password", &"***")
            .finish()
    }
}

/// Where the credentials of the lab in `state` lie.
pub fn path(state: &Path) -> PathBuf {
    state.join("bmc.json")
}

/// A secret of 160 bits.
pub(crate) fn secret() -> String {
    let mut bytes = [0; 20];
    rand::rng().fill_bytes(&mut bytes);
    hex::encode(bytes)
}

impl Credentials {
    /// Reads the credentials of the lab in `state`, or makes them.
    pub fn of(state: &Path) -> Result<Self, LabError> {
        let path = path(state);
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| LabError::Specification {
                path,
                reason: error.to_string(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = Self {
                    username: "admin".to_owned(),
                    password: secret(),
                };
                write_private(&path, &serde_json::to_vec(&made).unwrap_or_default())?;
                Ok(made)
            }
            Err(error) => Err(LabError::io(format!("read {}", path.display()))(error)),
        }
    }
}

/// Writes a file that only its owner reads: beside, synced, renamed.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), LabError> {
    let cannot = || LabError::io(format!("write {}", path.display()));
    let beside = path.with_extension("new");
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .map_err(cannot())?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(cannot())?;
    std::fs::rename(&beside, path).map_err(cannot())
}
