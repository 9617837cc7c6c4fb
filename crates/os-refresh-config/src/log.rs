//! Log lines as upstream writes them.

use std::io::Write;

/// How much a line matters. The names are those of `--log-level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

impl Level {
    /// The level that `--log-level` names.
    pub(crate) fn named(name: &str) -> Option<Level> {
        Some(match name {
            "DEBUG" => Level::Debug,
            "INFO" => Level::Info,
            "WARN" => Level::Warn,
            "ERROR" => Level::Error,
            "CRITICAL" => Level::Critical,
            _ => return None,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARNING",
            Level::Error => "ERROR",
            Level::Critical => "CRITICAL",
        }
    }
}

/// Writes lines of at least one level.
pub(crate) struct Log<'p> {
    pub(crate) err: &'p mut dyn Write,
    pub(crate) least: Level,
}

impl Log<'_> {
    pub(crate) fn say(&mut self, level: Level, text: &str) {
        if level < self.least {
            return;
        }
        let now = jiff::ZonedDateTime::now();
        let (now, milliseconds) = (now.strftime("%Y-%m-%d %H:%M:%S"), now.millisecond());
        let word = level.word();
        let line = format!("[{now},{milliseconds:03}] (os-refresh-config) [{word}] {text}\n");
        // A reader that went away must not stop the configuration of a node.
        let _ = self.err.write_all(line.as_bytes());
    }
}
