//! What the last refresh did: when, how it ended, and how long each script took.
//!
//! Kept only for refreshes of the whole system, or where `OS_REFRESH_CONFIG_STATE` says. What cannot be written is not kept; no
//! refresh fails for it.

use crate::phases::PhaseError;
use jiff::Timestamp;
use metadata::{Value, object};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Keeps the record of one refresh.
pub(crate) struct Record {
    directory: PathBuf,
    scripts: PathBuf,
    started: Timestamp,
}

impl Record {
    /// Begins a record in `directory`, in the place of the last one's scripts.
    pub(crate) fn begin(directory: PathBuf) -> io::Result<Record> {
        fs::create_dir_all(&directory)?;
        let scripts = directory.join("scripts");
        match fs::remove_file(&scripts) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        new_file(&scripts)?;
        Ok(Record {
            directory,
            scripts,
            started: Timestamp::now(),
        })
    }

    /// Where `dib-run-parts` writes down the scripts.
    pub(crate) fn scripts(&self) -> &Path {
        &self.scripts
    }

    /// Writes down how the refresh ended.
    pub(crate) fn end(&self, ended: &Result<(), PhaseError>) -> io::Result<()> {
        let now = Timestamp::now();
        let written = fs::read_to_string(&self.scripts)?;
        let failure = ended.as_ref().err();
        let document = object([
            ("started", Value::from(self.started.to_string())),
            (
                "seconds",
                Value::from(self.started.duration_until(now).as_secs_f64()),
            ),
            ("phase", Value::from(failure.map(PhaseError::phase))),
            ("failure", Value::from(failure.map(PhaseError::how))),
            ("scripts", scripts(&written)),
        ]);
        let beside = self.directory.join("last.json.new");
        let _ = fs::remove_file(&beside);
        let mut file = new_file(&beside)?;
        file.write_all(document.to_json_indented().as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, self.directory.join("last.json"))
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// Reads the lines of `dib-run-parts`. A script that began and has no end is the one that failed.
fn scripts(written: &str) -> Value {
    let mut found: Vec<Value> = Vec::new();
    let mut open: Option<&str> = None;
    let entry = |path: &str, seconds: Option<f64>| {
        object([
            ("script", Value::from(path)),
            ("seconds", Value::from(seconds)),
        ])
    };
    for line in written.lines() {
        match line.split_once('\t') {
            Some(("running", path)) => {
                found.extend(open.take().map(|path| entry(path, None)));
                open = Some(path);
            }
            Some(("completed", rest)) => {
                let seconds = rest.split('\t').next().and_then(|text| text.parse().ok());
                found.extend(open.take().map(|path| entry(path, seconds)));
            }
            _ => {}
        }
    }
    found.extend(open.map(|path| entry(path, None)));
    Value::List(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_without_an_end_failed() {
        let written = "running\t/b/c.d/1-a\ncompleted\t0.250\t1-a\nrunning\t/b/c.d/2\ntorn";
        let expect = r#"[{"script": "/b/c.d/1-a", "seconds": 0.25}, {"script": "/b/c.d/2", "seconds": null}]"#;
        assert_eq!(scripts(written).to_json(), expect);
    }
}
