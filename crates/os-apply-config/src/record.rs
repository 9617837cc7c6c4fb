//! What earlier runs wrote: to see which files were changed by hand since, and which ones a run changed.
//!
//! Kept only for runs on the whole system (`-o /`), or where `OS_APPLY_CONFIG_STATE` says.

use crate::file_set::{Action, Content, FileSet};
use metadata::{Map, Value, object};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Where the records are.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Holds `files.json` and `drift.json`.
    pub state: PathBuf,
    /// Lists the files that were changed since the last refresh that ended well.
    pub changed: PathBuf,
}

impl Record {
    /// Writes down what is found before `set` is applied: files changed by hand, and files about to change.
    pub(crate) fn before(&self, set: &FileSet) -> io::Result<()> {
        fs::create_dir_all(&self.state)?;
        let written = read_map(&self.state.join("files.json"));
        let mut drift = Vec::new();
        for file in &set.files {
            let path = file.path.display().to_string();
            let Some(expected) = written
                .get(&path)
                .and_then(|entry| entry.get("sha256")?.as_text())
            else {
                continue;
            };
            let found = match &file.action {
                Action::Keep(content) => Some(sha256(&content.body)),
                Action::Omit => None,
                Action::Remove { former } => Some(sha256(former)),
                Action::Write { former, .. } => former.as_ref().map(|former| sha256(&former.body)),
            };
            if found.as_deref() != Some(expected) {
                drift.push(object([
                    ("path", Value::from(path)),
                    ("sha256", Value::from(found)),
                    ("expected", Value::from(expected)),
                ]));
            }
        }
        replace(&self.state.join("drift.json"), &Value::List(drift))?;
        self.append_changed(set)
    }

    /// Adds the files that are about to change to the list. Hooks read it, and a run that fails later keeps it.
    fn append_changed(&self, set: &FileSet) -> io::Result<()> {
        if let Some(parent) = self.changed.parent() {
            fs::create_dir_all(parent)?;
        }
        let known = match fs::read_to_string(&self.changed) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o644)
            .open(&self.changed)?;
        for change in set.changed() {
            let path = change.path.display().to_string();
            if !known.lines().any(|line| line == path) {
                writeln!(file, "{path}")?;
            }
        }
        Ok(())
    }

    /// Writes down what `set` has put on disk.
    pub(crate) fn after(&self, set: &FileSet) -> io::Result<()> {
        let entry = |content: &Content| {
            object([
                ("sha256", Value::from(sha256(&content.body))),
                ("mode", Value::from(format!("{:04o}", content.mode))),
            ])
        };
        let mut written = Map::new();
        for file in &set.files {
            match &file.action {
                Action::Keep(content) | Action::Write { content, .. } => {
                    written.insert(file.path.display().to_string(), entry(content));
                }
                Action::Omit | Action::Remove { .. } => {}
            }
        }
        replace(&self.state.join("files.json"), &Value::Map(written))?;
        replace(&self.state.join("services.json"), &services(set))
    }

    /// The services that control files name, each with the files that it reads.
    pub(crate) fn services(&self) -> Vec<(String, Vec<String>)> {
        let texts = |files: &Value| {
            let files = files.as_list().unwrap_or_default().iter();
            files
                .filter_map(|file| Some(file.as_text()?.to_owned()))
                .collect()
        };
        let known = read_map(&self.state.join("services.json"));
        known
            .iter()
            .map(|(name, files)| (name.clone(), texts(files)))
            .collect()
    }
}

fn services(set: &FileSet) -> Value {
    let mut services = Map::new();
    for file in &set.files {
        for service in &file.services {
            let files = services
                .entry(service.clone())
                .or_insert(Value::List(Vec::new()));
            if let Value::List(files) = files {
                files.push(Value::from(file.path.display().to_string()));
            }
        }
    }
    Value::Map(services)
}

fn read_map(path: &Path) -> Map {
    // A record that is missing or torn means that nothing is known, not that configuration must fail.
    let text = fs::read_to_string(path).unwrap_or_default();
    match metadata::parse(&text) {
        Ok(Value::Map(map)) => map,
        _ => Map::new(),
    }
}

fn replace(path: &Path, value: &Value) -> io::Result<()> {
    let beside = path.with_extension("json.new");
    let mut file = File::create(&beside)?;
    file.write_all(value.to_json_indented().as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

fn sha256(body: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(body) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Control;
    use crate::tree::Rendered;

    fn run(root: &Path, record: &Record, body: &str) -> Vec<String> {
        let rendered = Rendered {
            template: PathBuf::from("/t/f"),
            path: PathBuf::from("f"),
            body: body.as_bytes().to_owned(),
            control: Control::default(),
        };
        let set = FileSet::decide(vec![rendered], root).unwrap();
        record.before(&set).unwrap();
        crate::apply(&set).unwrap();
        record.after(&set).unwrap();
        let drift =
            metadata::parse(&fs::read_to_string(record.state.join("drift.json")).unwrap()).unwrap();
        drift
            .as_list()
            .unwrap()
            .iter()
            .map(|d| d.get("path").unwrap().as_text().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn drift_is_seen_once_and_changes_add_up() {
        let root = tempfile::tempdir().unwrap();
        let state = tempfile::tempdir().unwrap();
        let record = Record {
            state: state.path().join("state"),
            changed: state.path().join("run/changed"),
        };
        let file = root.path().join("f").display().to_string();
        assert!(run(root.path(), &record, "one").is_empty());
        assert!(run(root.path(), &record, "two").is_empty());
        fs::write(&file, "by hand").unwrap();
        assert_eq!(
            &run(root.path(), &record, "two"),
            std::slice::from_ref(&file)
        );
        assert!(run(root.path(), &record, "two").is_empty());
        fs::remove_file(&file).unwrap();
        assert_eq!(
            &run(root.path(), &record, "two"),
            std::slice::from_ref(&file)
        );
        assert_eq!(
            fs::read_to_string(&record.changed).unwrap(),
            format!("{file}\n")
        );
    }
}
