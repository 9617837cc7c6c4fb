//! Layers: trees keyed by all that went into them, kept and shared by builds.
//!
//! A layer lies in `$DIB_IMAGE_CACHE/layers/<key>/tree`. It comes into being under another name and is
//! renamed when it is whole; builds of the same layer wait for each other. What is written here is found
//! by its key only: nothing is ever changed in place.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock, syncfs};

use crate::digest::{Hasher, Key};
use crate::stage::{PARTIAL, remove_tree};

/// Raised when what a layer holds or how keys are made changes.
const FORMAT: &str = "2";

/// Layers that no build has used for this long are removed.
const FORGOTTEN: Duration = Duration::from_secs(14 * 86400);

/// The cache of layers cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the layer cache {path}", path = path.display())]
pub struct LayerError {
    path: PathBuf,
    source: io::Error,
}

fn failed(path: &Path) -> impl Fn(io::Error) -> LayerError {
    let path = path.to_owned();
    move |source| LayerError {
        path: path.clone(),
        source,
    }
}

/// The cache.
#[derive(Debug, Clone)]
pub struct Layers {
    folder: PathBuf,
    /// How long a layer counts; 0 for not at all.
    seconds: u64,
    /// The word of this build.
    id: String,
}

/// A layer that is there or is to be made.
#[derive(Debug)]
pub enum Layer {
    /// Cached; the lock keeps it from being removed.
    There {
        /// Its tree.
        tree: PathBuf,
        /// Held while the layer is in use.
        lock: File,
    },
    /// To be made by this build.
    Wanted(Draft),
}

/// A layer under way.
#[derive(Debug)]
pub struct Draft {
    /// Its folder, under its temporary name.
    folder: PathBuf,
    /// Its folder, once it is whole.
    last: PathBuf,
    /// Held until the layer is whole: builds of the same layer wait.
    lock: Option<File>,
}

impl Draft {
    /// Where the tree is to be made.
    pub fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// A folder beside the tree, for overlayfs.
    pub fn work(&self) -> PathBuf {
        self.folder.join("work")
    }
}

impl Layers {
    /// The cache below `cache`.
    pub fn new(cache: &Path, seconds: u64, id: &str) -> Self {
        Self {
            folder: Self::folder(cache),
            seconds,
            id: id.to_owned(),
        }
    }

    /// Where layers lie.
    pub fn folder(cache: &Path) -> PathBuf {
        cache.join("layers")
    }

    /// Whether layers are kept at all.
    pub fn keeps(&self) -> bool {
        self.seconds > 0
    }

    /// Whether a layer of this key could be used now.
    pub fn has(&self, key: &str) -> bool {
        let folder = self.folder.join(key);
        self.keeps() && folder.join("tree").is_dir() && self.is_young(&folder)
    }

    /// Finds the layer of `key`, waiting while another build makes it, or starts one.
    pub fn open(&self, wanted: &Key) -> Result<Layer, LayerError> {
        std::fs::create_dir_all(&self.folder).map_err(failed(&self.folder))?;
        let key = wanted.digest.as_str();
        let last = self.folder.join(key);
        if !self.keeps() {
            return self.draft(wanted, last, None);
        }
        let lock_path = self.folder.join(format!("{key}.lock"));
        let options = || {
            File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&lock_path)
        };
        let lock = options().map_err(failed(&lock_path))?;
        let flock = |operation| {
            flock(&lock, operation)
                .map_err(io::Error::from)
                .map_err(failed(&lock_path))
        };
        flock(FlockOperation::LockShared)?;
        if !self.has(key) {
            flock(FlockOperation::LockExclusive)?;
        }
        if self.has(key) {
            flock(FlockOperation::LockShared)?;
            let _ = lock.set_modified(SystemTime::now());
            return Ok(Layer::There {
                tree: last.join("tree"),
                lock,
            });
        }
        remove_tree(&last);
        self.draft(wanted, last, Some(lock))
    }

    fn draft(&self, key: &Key, last: PathBuf, lock: Option<File>) -> Result<Layer, LayerError> {
        let folder = self
            .folder
            .join(format!("{}.{}.{PARTIAL}", key.digest, self.id));
        std::fs::create_dir_all(folder.join("tree")).map_err(failed(&folder))?;
        crate::cache::write_inputs(&folder, key).map_err(failed(&folder))?;
        Ok(Layer::Wanted(Draft { folder, last, lock }))
    }

    /// Makes a whole draft a layer. Gives its tree and the lock that keeps it.
    pub fn keep(&self, draft: Draft) -> Result<(PathBuf, Option<File>), LayerError> {
        remove_tree(&draft.work());
        std::fs::write(draft.folder.join("boot"), boot_id()).map_err(failed(&draft.folder))?;
        std::fs::rename(&draft.folder, &draft.last).map_err(failed(&draft.last))?;
        if let Some(lock) = &draft.lock {
            flock(lock, FlockOperation::LockShared)
                .map_err(io::Error::from)
                .map_err(failed(&draft.last))?;
        }
        Ok((draft.last.join("tree"), draft.lock))
    }

    /// A layer counts while it is young, and if a power loss cannot have torn it.
    fn is_young(&self, folder: &Path) -> bool {
        let Ok(made) =
            std::fs::metadata(folder.join("boot")).and_then(|metadata| metadata.modified())
        else {
            return false;
        };
        let age = SystemTime::now().duration_since(made).unwrap_or_default();
        let same_boot =
            std::fs::read_to_string(folder.join("boot")).is_ok_and(|id| id == boot_id());
        age.as_secs() < self.seconds && (same_boot || folder.join("synced").exists())
    }

    /// Puts layers on disk for good, and removes forgotten ones. Called when a build has succeeded.
    pub fn tidy(&self) {
        let Ok(folder) = File::open(&self.folder) else {
            return;
        };
        let Ok(entries) = std::fs::read_dir(&self.folder) else {
            return;
        };
        let mut fresh = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_none()
                && path.join("tree").is_dir()
                && !path.join("synced").exists()
            {
                fresh.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "lock")
            {
                remove_forgotten(&path);
            }
        }
        // Seconds after a layer was made most of it is on disk anyway.
        if !fresh.is_empty() && syncfs(&folder).is_ok() {
            for path in fresh {
                let _ = std::fs::write(path.join("synced"), "");
            }
        }
    }
}

fn remove_forgotten(lock_path: &Path) {
    let age = lock_path
        .metadata()
        .and_then(|metadata| metadata.modified())
        .ok()
        .and_then(|time| SystemTime::now().duration_since(time).ok());
    if age.is_none_or(|age| age < FORGOTTEN) {
        return;
    }
    let Ok(lock) = File::open(lock_path) else {
        return;
    };
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
        remove_tree(&lock_path.with_extension(""));
    }
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// Variables that name places of this build or say how to do it: never part of a key.
const NEVER: &[&str] = &[
    "_LIB",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "HOME",
    "PATH",
    "USER",
    "LOGNAME",
    "TERM",
    "TARGET_ROOT",
    "TMPDIR",
    "TMP_DIR",
    "TMP_BUILD_DIR",
    "TMP_IMAGE_DIR",
    "TMP_IMAGE_PATH",
    "TMP_HOOKS_PATH",
    "TMP_MOUNT_PATH",
    "OUT_IMAGE_PATH",
    "DIB_BLOCK_DEVICE_PARAMS_YAML",
    "DIB_IMAGE_CACHE",
    "DIB_LOCKFILES",
    "DIB_NO_TMPFS",
    "DIB_MIN_TMPFS",
    "DIB_DEBUG_TRACE",
    "DIB_QUIET",
    "DIB_NO_TIMESTAMP",
    "DIB_CHECKSUM",
    "DIB_OFFLINE",
    "DIB_LAYER_MAX_AGE",
    "DIB_IMAGE_SIZE",
    "DIB_IMAGE_EXTRA_SIZE",
    "DIB_JOURNAL_SIZE",
    "DIB_BLOCK_DEVICE_CONFIG",
    "DIB_PYTHON_EXEC",
    "ELEMENTS_PATH",
    "LOGFILE",
    "OVERWRITE_OLD_IMAGE",
];

/// Variables that name the image: part of a key only where a script speaks of them.
const PER_BUILD: &[&str] = &[
    "IMAGE_NAME",
    "IMAGE_ELEMENT",
    "IMAGE_ELEMENT_YAML",
    "IMAGE_TYPE",
    "DIB_ARGS",
    "DIB_ENV",
    "DIB_ROOT_LABEL",
    "DIB_ROOT_FSTYPE",
    "DIB_BOOT_LABEL",
    "DIB_MOUNTPOINTS",
    "FS_TYPE",
    "BASH_FUNC_get_image_element_array%%",
    "BASH_FUNC_die%%",
];

/// Variables that programs heed without any script speaking of them.
const ALWAYS: &[&str] = &[
    "ARCH",
    "DIB_RELEASE",
    "DISTRO_NAME",
    "DIB_INIT_SYSTEM",
    "SOURCE_DATE_EPOCH",
    "http_proxy",
    "https_proxy",
];

/// Says which variables belong into a key.
pub struct Relevant<'a> {
    /// Words in the scripts of the layer.
    pub mentioned: &'a BTreeSet<String>,
    /// Variables that `environment.d` set.
    pub set_by_elements: &'a BTreeSet<String>,
    /// Whether all `DIB_` variables count.
    pub all_dib: bool,
}

impl Relevant<'_> {
    fn takes(&self, name: &str) -> bool {
        if NEVER.contains(&name) {
            return false;
        }
        let word = name.trim_start_matches("BASH_FUNC_").trim_end_matches("%%");
        if PER_BUILD.contains(&name) {
            return self.mentioned.contains(word);
        }
        ALWAYS.contains(&name)
            || self.mentioned.contains(word)
            || (self.all_dib && (name.starts_with("DIB_") || self.set_by_elements.contains(name)))
    }
}

/// Starts a key with what all layers depend on.
pub fn start_key(below: &str, kind: &str) -> Hasher {
    let mut hasher = Hasher::default();
    hasher.field(FORMAT.as_bytes()).field(kind.as_bytes());
    // Nothing here can fail: what is added is at hand.
    for (name, value) in [("kind", kind), ("layer", "below")] {
        let _ = hasher.noted(name, value, |hasher| {
            hasher.field(below.as_bytes());
            Ok(())
        });
    }
    hasher
}

/// Adds variables to a key; where one names a file, the file's content too.
pub fn add_variables(
    hasher: &mut Hasher,
    variables: &[(std::ffi::OsString, std::ffi::OsString)],
    relevant: &Relevant<'_>,
) -> io::Result<()> {
    let mut sorted: Vec<_> = variables.iter().collect();
    sorted.sort();
    for (name, value) in sorted {
        if !name.to_str().is_some_and(|name| relevant.takes(name)) {
            continue;
        }
        hasher.noted("variable", &name.to_string_lossy(), |hasher| {
            hasher
                .field(name.as_encoded_bytes())
                .field(value.as_encoded_bytes());
            let path = Path::new(value);
            if path.is_absolute() && path.is_file() {
                hasher.file(path)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Collects the words of scripts, to know which variables they speak of.
pub fn add_words(text: &[u8], words: &mut BTreeSet<String>) {
    for word in text.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_') {
        if (2..64).contains(&word.len())
            && let Ok(word) = std::str::from_utf8(word)
        {
            words.insert(word.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(top: &Path, seconds: u64) -> Layers {
        Layers::new(top, seconds, "me")
    }

    #[test]
    fn a_kept_layer_is_found_and_a_dropped_draft_is_not() {
        let top = tempfile::tempdir().expect("folder");
        let layers = layers(top.path(), 60);
        let key = start_key("", "k").finish();
        let Layer::Wanted(draft) = layers.open(&key).expect("opens") else {
            panic!("is new")
        };
        std::fs::write(draft.tree().join("f"), "x").expect("file");
        drop(draft);
        let Layer::Wanted(draft) = layers.open(&key).expect("opens") else {
            panic!("was dropped")
        };
        let (tree, _lock) = layers.keep(draft).expect("keeps");
        assert!(tree.ends_with(Path::new("layers").join(&key.digest).join("tree")));
        assert!(matches!(
            layers.open(&key).expect("opens"),
            Layer::There { .. }
        ));
        assert!(!self::layers(top.path(), 0).has(&key.digest));
    }

    #[test]
    fn keys_follow_what_scripts_speak_of() {
        let key = |variables: &[(&str, &str)], text: &str| {
            let mut mentioned = BTreeSet::new();
            add_words(text.as_bytes(), &mut mentioned);
            let none = BTreeSet::new();
            let relevant = Relevant {
                mentioned: &mentioned,
                set_by_elements: &none,
                all_dib: false,
            };
            let mut hasher = start_key("", "root");
            let variables: Vec<_> = variables
                .iter()
                .map(|(n, v)| ((*n).into(), (*v).into()))
                .collect();
            add_variables(&mut hasher, &variables, &relevant).expect("reads");
            hasher.finish()
        };
        assert_eq!(
            key(&[("IMAGE_NAME", "a")], "x"),
            key(&[("IMAGE_NAME", "b")], "x")
        );
        assert_ne!(
            key(&[("IMAGE_NAME", "a")], "$IMAGE_NAME"),
            key(&[("IMAGE_NAME", "b")], "$IMAGE_NAME")
        );
        assert_ne!(key(&[("ARCH", "a")], ""), key(&[("ARCH", "b")], ""));
        assert_eq!(key(&[("_LIB", "a")], "_LIB"), key(&[("_LIB", "b")], "_LIB"));
    }
}
