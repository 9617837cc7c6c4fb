//! The cache: one file per document, its first and its last applied version, and the list of all.

use metadata::Value;
use secret::Mask;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

/// Why the cache cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write cache file {}", path.display())]
pub struct CacheError {
    path: PathBuf,
    source: io::Error,
}

/// The directory of documents.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
    backup: PathBuf,
}

/// What became of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its key.
    pub key: String,
    /// Its file.
    pub path: PathBuf,
    /// Whether it differs from what was applied last.
    pub changed: bool,
}

impl Cache {
    /// A cache in `directory`; `backup` gets a copy of it before each run.
    pub fn new(directory: PathBuf, backup: PathBuf) -> Cache {
        Cache { directory, backup }
    }

    fn file(&self, key: &str, suffix: &str) -> PathBuf {
        self.directory.join(format!("{key}.json{suffix}"))
    }

    /// Where what is known of the last failure is written.
    pub fn file_of_failure(&self) -> PathBuf {
        self.directory.join("last-failure")
    }

    /// Reads a stored document; anything unreadable is none.
    pub fn read(&self, key: &str) -> Option<Value> {
        read(&self.file(key, ""))
    }

    /// The texts in stored documents that nobody must see.
    pub fn secrets(&self, paths: &[PathBuf]) -> Mask {
        let mut mask = Mask::default();
        for document in paths.iter().filter_map(|path| read(path)) {
            mask.learn_all(&document);
        }
        mask
    }

    /// Makes the directory; its parent must be there, as for upstream.
    fn make_directory(&self) -> Result<(), CacheError> {
        match fs::create_dir(&self.directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(CacheError {
                path: self.directory.clone(),
                source: error,
            }),
            _ => Ok(()),
        }
    }

    /// Keeps a document that its source gives only once, until it was applied.
    pub fn keep(&self, key: &str, document: &Value) -> Result<(), CacheError> {
        self.make_directory()?;
        replace(&self.file(key, ".kept"), document.to_json().as_bytes())
    }

    /// Keeps the report that was sent last.
    pub fn keep_report(&self, report: &Value) -> Result<(), CacheError> {
        replace(
            &self.directory.join("last-report"),
            report.to_json_indented().as_bytes(),
        )
    }

    /// The document that was kept.
    pub fn kept(&self, key: &str) -> Option<Value> {
        read(&self.file(key, ".kept"))
    }

    /// Drops the document that was kept.
    pub fn release(&self, key: &str) -> Result<(), CacheError> {
        let path = self.file(key, ".kept");
        match fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(CacheError { path, source }),
            _ => Ok(()),
        }
    }

    /// Stores one document.
    pub fn store(&self, key: &str, document: &Value) -> Result<Stored, CacheError> {
        self.make_directory()?;
        let path = self.file(key, "");
        let text = document.to_json_indented();
        replace(&path, text.as_bytes())?;
        let first = self.file(key, ".orig");
        let mut changed = false;
        if !first.exists() {
            replace(&first, text.as_bytes())?;
            changed = true;
        }
        // A last version that cannot be read is no reason to keep a node from its configuration.
        changed |= read(&self.file(key, ".last")).is_none_or(|last| !last.equals(document));
        Ok(Stored {
            key: key.to_owned(),
            path,
            changed,
        })
    }

    /// Remembers that the stored version of `key` was applied.
    pub fn commit(&self, key: &str) -> Result<(), CacheError> {
        let path = self.file(key, "");
        let text = fs::read(&path).map_err(|source| CacheError { path, source })?;
        replace(&self.file(key, ".last"), &text)
    }

    /// Stores the list of the documents of this pass.
    pub fn store_list(&self, paths: &[PathBuf]) -> Result<(), CacheError> {
        let paths: Vec<String> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        replace(
            &self.file("os_config_files", ""),
            Value::from(paths).to_json().as_bytes(),
        )
    }

    /// Copies the whole cache to the backup directory, which is replaced.
    pub fn back_up(&self) -> Result<(), CacheError> {
        let failed = |source| CacheError {
            path: self.backup.clone(),
            source,
        };
        match fs::remove_dir_all(&self.backup) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        if let Some(parent) = self.backup.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        copy_tree(&self.directory, &self.backup).map_err(failed)
    }
}

fn read(path: &Path) -> Option<Value> {
    metadata::parse(&fs::read_to_string(path).ok()?).ok()
}

/// Writes beside, syncs, renames. Only the owner may read: metadata holds passwords.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), CacheError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
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
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        match path.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(|source| {
        let _ = fs::remove_file(&beside);
        CacheError {
            path: path.to_owned(),
            source,
        }
    })
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let mode = fs::metadata(from)?.mode() & 0o7777;
    DirBuilder::new().mode(mode).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        metadata::parse(text).unwrap()
    }

    #[test]
    fn changes_are_measured_against_what_was_applied() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(
            directory.path().join("cache"),
            directory.path().join("run/backup"),
        );
        assert!(cache.store("a", &value(r#"{"x": 1}"#)).unwrap().changed);
        assert!(
            cache.store("a", &value(r#"{"x": 1}"#)).unwrap().changed,
            "not applied yet"
        );
        cache.commit("a").unwrap();
        assert!(
            !cache.store("a", &value(r#"{"x": true}"#)).unwrap().changed,
            "1 == true"
        );
        assert!(cache.store("a", &value(r#"{"x": 2}"#)).unwrap().changed);
        assert_eq!(
            fs::read_to_string(cache.file("a", ".orig")).unwrap(),
            "{\n \"x\": 1\n}"
        );
        assert_eq!(
            fs::read_to_string(cache.file("a", ".last")).unwrap(),
            "{\n \"x\": 1\n}"
        );
        fs::write(cache.file("a", ".last"), "torn").unwrap();
        assert!(cache.store("a", &value(r#"{"x": 1}"#)).unwrap().changed);
    }

    #[test]
    fn files_are_private_and_backed_up_whole() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(
            directory.path().join("cache"),
            directory.path().join("run/backup"),
        );
        let stored = cache.store("a", &value("{}")).unwrap();
        cache
            .store_list(std::slice::from_ref(&stored.path))
            .unwrap();
        cache.back_up().unwrap();
        fs::write(directory.path().join("run/backup/stale"), "").unwrap();
        cache.back_up().unwrap();
        let mut names: Vec<String> = fs::read_dir(directory.path().join("run/backup"))
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600);
                entry.file_name().into_string().unwrap()
            })
            .collect();
        names.sort();
        assert_eq!(names, ["a.json", "a.json.orig", "os_config_files.json"]);
    }
}
