//! The log: lines on standard error and, for root, in a file.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;

/// Where upstream keeps it.
pub(crate) const LOG_FILE: &str = "/var/log/os-apply-config.log";

/// Writes log lines in upstream's format.
pub(crate) struct Log<'p> {
    err: &'p mut dyn Write,
    file: Option<File>,
    to_file: bool,
}

impl<'p> Log<'p> {
    /// A log to `err` and, if `to_file` is set, to the log file.
    pub(crate) fn new(err: &'p mut dyn Write, to_file: bool) -> Self {
        Log {
            err,
            file: None,
            to_file,
        }
    }

    pub(crate) fn info(&mut self, text: &str) {
        self.line("INFO", text);
    }

    pub(crate) fn warning(&mut self, text: &str) {
        self.line("WARNING", text);
    }

    pub(crate) fn error(&mut self, text: &str) {
        self.line("ERROR", text);
    }

    fn line(&mut self, level: &str, text: &str) {
        let now = jiff::ZonedDateTime::now().strftime("%Y/%m/%d %I:%M:%S %p");
        let line = format!("[{now}] [{level}] {text}\n");
        // A log that cannot be written must not stop the configuration of a node.
        let _ = self.err.write_all(line.as_bytes());
        if self.to_file && self.file.is_none() {
            self.file = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o644)
                .open(LOG_FILE)
                .ok();
            self.to_file = self.file.is_some();
        }
        if let Some(file) = &mut self.file {
            let _ = file.write_all(line.as_bytes());
        }
    }
}
