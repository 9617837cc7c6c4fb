//! The log: bare lines on standard error, as upstream's, and with time and level in a file if one is wanted.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;

/// Writes warnings, and what led to them if asked to.
pub(crate) struct Log<'p> {
    err: &'p mut dyn Write,
    file: Option<File>,
    debug: bool,
}

impl<'p> Log<'p> {
    pub(crate) fn new(err: &'p mut dyn Write) -> Self {
        Log {
            err,
            file: None,
            debug: false,
        }
    }

    /// Sets up what the settings ask for.
    pub(crate) fn configure(&mut self, file: Option<&str>, debug: bool) -> std::io::Result<()> {
        self.debug = debug;
        if let Some(path) = file {
            self.file = Some(
                OpenOptions::new()
                    .append(true)
                    .create(true)
                    .mode(0o640)
                    .open(path)?,
            );
        }
        Ok(())
    }

    pub(crate) fn warn(&mut self, text: &str) {
        self.line("WARNING", text);
    }

    pub(crate) fn debug(&mut self, text: &str) {
        if self.debug {
            self.line("DEBUG", text);
        }
    }

    fn line(&mut self, level: &str, text: &str) {
        // A log that cannot be written must not stop the agent.
        let _ = self.err.write_all(format!("{text}\n").as_bytes());
        if let Some(file) = &mut self.file {
            let now = jiff::Timestamp::now();
            let _ = file.write_all(format!("{now} {level} {text}\n").as_bytes());
        }
    }
}
