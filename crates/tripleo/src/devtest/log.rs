//! One log file for each step: what is traced goes to the file of the step that is running.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// The file that traced lines go to; before the first step they are dropped.
#[derive(Debug, Clone, Default)]
pub struct StepLog {
    open: Arc<Mutex<Option<File>>>,
}

impl StepLog {
    /// Sends what follows to `<folder>/<step>.log`, emptied first.
    pub fn switch(&self, folder: &Path, step: &str) -> io::Result<PathBuf> {
        let path = folder.join(format!("{step}.log"));
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(path)
    }
}

/// Writes one line to the step's file.
#[derive(Debug)]
pub struct StepWriter(StepLog);

impl Write for StepWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *self.0.open.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(file) => file.write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for StepLog {
    type Writer = StepWriter;

    fn make_writer(&'a self) -> StepWriter {
        StepWriter(self.clone())
    }
}
