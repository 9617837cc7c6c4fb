//! The log of a build: every line with its time, to the terminal and to the log file.
//!
//! All that hooks and tools print passes here. Keeps the last lines for the message of a failure. For programs each
//! line is a JSON object, and events of the build come between them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use std::os::unix::fs::OpenOptionsExt;

use jiff::ZonedDateTime;
use serde_json::{Value, json};

use crate::phases::EVENT;
use crate::settings::Surroundings;

/// How many lines a failure shows.
const TAIL: usize = 12;

/// Where lines go.
#[derive(Clone)]
pub struct Log(Arc<Mutex<Inner>>);

struct Inner {
    quiet: bool,
    json: bool,
    stamps: bool,
    file: Option<File>,
    path: Option<PathBuf>,
    tail: VecDeque<String>,
}

impl Log {
    /// Opens the log as options and variables say.
    pub fn open(path: Option<&Path>, around: &Surroundings, json: bool) -> io::Result<Self> {
        let file = path
            .map(|path| File::options().append(true).create(true).open(path))
            .transpose()?;
        let quiet = match around.variable("DIB_QUIET") {
            Some(value) => value != "0",
            None => path.is_some(),
        };
        let stamps = around
            .variable("DIB_NO_TIMESTAMP")
            .is_none_or(|value| value == "0");
        let inner = Inner {
            quiet: quiet && !json,
            json,
            stamps,
            file,
            path: path.map(Path::to_owned),
            tail: VecDeque::new(),
        };
        Ok(Self(Arc::new(Mutex::new(inner))))
    }

    /// Writes to a file of this build as well, if the user named none; an older one is kept beside it.
    pub fn also_to(&self, path: &Path) {
        let Ok(mut inner) = self.0.lock() else { return };
        if inner.file.is_some() {
            return;
        }
        let mut older = path.as_os_str().to_owned();
        older.push(".1");
        let _ = std::fs::rename(path, older);
        // A log that cannot be written is no reason not to build.
        let file = File::options()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(path);
        if let Ok(file) = file {
            inner.file = Some(file);
            inner.path = Some(path.to_owned());
        }
    }

    /// Tells of an event.
    pub fn event(&self, value: &Value) {
        let Ok(inner) = self.0.lock() else { return };
        if inner.json {
            let mut value = value.clone();
            value["time"] = json!(
                ZonedDateTime::now()
                    .strftime("%Y-%m-%dT%H:%M:%S.%3f%:z")
                    .to_string()
            );
            let _ = io::stdout().write_all(format!("{value}\n").as_bytes());
            let _ = io::stdout().flush();
        }
    }

    /// Writes lines of our own.
    pub fn say(&self, text: &str) {
        for line in text.lines() {
            self.line(line.as_bytes());
        }
    }

    /// Passes on what a build prints, until all its processes are gone.
    pub fn pump(&self, input: impl Read) {
        let mut input = BufReader::new(input);
        let mut line = Vec::new();
        loop {
            line.clear();
            match input.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            self.line(&line);
        }
    }

    fn line(&self, line: &[u8]) {
        if let Some(event) = line.strip_prefix(&[EVENT as u8]) {
            if let Ok(value) = serde_json::from_slice(event) {
                self.event(&value);
            }
            return;
        }
        // Traces of hooks turn tracing on and off again: nobody wants to read that.
        let noise = |word: &[u8]| line.windows(word.len()).any(|part| part == word);
        if noise(b"set +o") || noise(b"xtrace") {
            return;
        }
        let Ok(mut inner) = self.0.lock() else { return };
        let mut text = Vec::with_capacity(line.len() + 27);
        if inner.stamps {
            let now = ZonedDateTime::now()
                .strftime("%Y-%m-%d %H:%M:%S.%3f | ")
                .to_string();
            text.extend_from_slice(now.as_bytes());
        }
        text.extend_from_slice(line);
        text.push(b'\n');
        if inner.json {
            let value = json!({"event": "line", "text": String::from_utf8_lossy(line)});
            let _ = io::stdout().write_all(format!("{value}\n").as_bytes());
            let _ = io::stdout().flush();
        } else if !inner.quiet {
            // A closed terminal must not stop the build.
            let _ = io::stdout().write_all(&text);
            let _ = io::stdout().flush();
        }
        if let Some(file) = &mut inner.file {
            let _ = file.write_all(&text);
        }
        let plain = String::from_utf8_lossy(line).into_owned();
        if !plain.trim().is_empty() && !plain.starts_with("@@ ") {
            if inner.tail.len() == TAIL {
                inner.tail.pop_front();
            }
            inner.tail.push_back(plain);
        }
    }

    /// The last lines, for the message of a failure.
    pub fn tail(&self) -> Vec<String> {
        self.0
            .lock()
            .map(|inner| inner.tail.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// The log file, if there is one.
    pub fn path(&self) -> Option<PathBuf> {
        self.0.lock().ok().and_then(|inner| inner.path.clone())
    }

    /// Whether the terminal sees nothing of the log.
    pub fn is_quiet(&self) -> bool {
        self.0.lock().map(|inner| inner.quiet).unwrap_or_default()
    }
}
