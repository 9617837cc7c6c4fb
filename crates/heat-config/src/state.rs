//! What was run and what was signalled, kept on disk.
//!
//! `ID.json` is a deployment that was begun, `ID.notify.json` its result, `ID.signalled` the status that was sent. The
//! first two are upstream's, so that a node which changes from one to the other runs nothing twice.

use metadata::Value;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

/// Why the state cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep the state of deployments in {}", path.display())]
pub struct StateError {
    path: PathBuf,
    source: io::Error,
}

/// How far a deployment has come.
#[derive(Debug)]
pub enum Progress {
    /// It was never begun.
    New,
    /// It was begun, and how it ended was not seen.
    Begun,
    /// It ended with this result.
    Ended(Value),
}

/// The directory that keeps the state.
#[derive(Debug, Clone)]
pub struct State {
    directory: PathBuf,
}

impl State {
    /// A state in `directory`, which is made. Only its owner may look: deployments hold passwords.
    pub fn open(directory: PathBuf) -> Result<State, StateError> {
        match DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
        {
            Ok(()) => Ok(State { directory }),
            Err(source) => Err(StateError {
                path: directory,
                source,
            }),
        }
    }

    fn file(&self, id: &str, suffix: &str) -> PathBuf {
        self.directory.join(format!("{id}{suffix}"))
    }

    /// How far the deployment `id` has come.
    pub fn progress(&self, id: &str) -> Progress {
        let result = fs::read_to_string(self.file(id, ".notify.json"));
        if let Some(result) = result.ok().and_then(|text| metadata::parse(&text).ok()) {
            return Progress::Ended(result);
        }
        if self.file(id, ".json").exists() {
            Progress::Begun
        } else {
            Progress::New
        }
    }

    /// Remembers that a deployment is begun.
    pub fn begin(&self, id: &str, document: &Value) -> Result<(), StateError> {
        self.write(self.file(id, ".json"), &document.to_json())
    }

    /// Remembers how it ended.
    pub fn end(&self, id: &str, result: &Value) -> Result<(), StateError> {
        self.write(self.file(id, ".notify.json"), &result.to_json())
    }

    /// The status that was signalled for it.
    pub fn signalled(&self, id: &str) -> Option<String> {
        Some(
            fs::read_to_string(self.file(id, ".signalled"))
                .ok()?
                .trim()
                .to_owned(),
        )
    }

    /// Remembers the status that was signalled for it.
    pub fn set_signalled(&self, id: &str, status: &str) -> Result<(), StateError> {
        self.write(self.file(id, ".signalled"), status)
    }

    /// Writes beside, syncs, renames.
    fn write(&self, path: PathBuf, text: &str) -> Result<(), StateError> {
        let beside = path.with_extension("new");
        let write = || {
            match fs::remove_file(&beside) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&beside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|source| StateError {
            path: path.clone(),
            source,
        })
    }
}
