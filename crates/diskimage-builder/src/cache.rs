//! `dib-cache`: what layers there are, why one was made, and which may go.
//!
//! Each layer keeps beside its tree what went into its key, as names and short digests, never as values: variables may
//! be secrets. Layers in use are left alone.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use crate::build::tree_kib;
use crate::digest::Key;
use crate::layers::Layers;
use crate::rootless;
use crate::settings::Surroundings;
use crate::stage::remove_tree;

/// The file with what went into a key.
const INPUTS: &str = "inputs";
/// Layers that no build has used for so many days go, if nothing else is said.
const UNUSED_DAYS: u64 = 14;
/// How many differences `why` shows.
const SHOWN: usize = 40;

const USAGE: &str = "usage: dib-cache [--cache-dir DIR] ls | why [KEY] | gc [--unused DAYS]

  ls     the layers: key, kind, size, when made, when used last
  why    what made the layer of KEY (the newest, if none is given) another one than the one most like it
  gc     removes layers that no build has used for DAYS days (default 14; 0: all that are not in use)

DIR is by default what DIB_IMAGE_CACHE names, else ~/.cache/image-create.
";

/// Notes what went into the key of the layer in `folder`.
pub fn write_inputs(folder: &Path, key: &Key) -> io::Result<()> {
    let mut text = String::new();
    for input in &key.inputs {
        text.push_str(&format!(
            "{} {}\n",
            input.digest,
            input.name.replace('\n', " ")
        ));
    }
    let mut file = File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(folder.join(INPUTS))?;
    file.write_all(text.as_bytes())
}

/// A layer in the cache.
struct Cached {
    folder: PathBuf,
    key: String,
    kind: String,
    /// What went into it, with digests.
    inputs: BTreeMap<String, String>,
    made: SystemTime,
    used: SystemTime,
}

impl Cached {
    fn read(folder: PathBuf) -> Option<Self> {
        let key = folder.file_name()?.to_str()?.to_owned();
        if key.contains('.') || !folder.join("tree").is_dir() {
            return None;
        }
        let made = folder
            .join("boot")
            .metadata()
            .and_then(|it| it.modified())
            .ok()?;
        let used = lock_of(&folder)
            .metadata()
            .and_then(|it| it.modified())
            .unwrap_or(made);
        let text = std::fs::read_to_string(folder.join(INPUTS)).unwrap_or_default();
        let mut inputs = BTreeMap::new();
        let mut kind = "unknown".to_owned();
        for (digest, name) in text.lines().filter_map(|line| line.split_once(' ')) {
            match name.strip_prefix("kind ") {
                Some(name) => kind = name.to_owned(),
                None => drop(inputs.insert(name.to_owned(), digest.to_owned())),
            }
        }
        Some(Self {
            folder,
            key,
            kind,
            inputs,
            made,
            used,
        })
    }

    /// How many inputs two layers share.
    fn common(&self, other: &Self) -> usize {
        let same = |(name, digest): &(&String, &String)| other.inputs.get(*name) == Some(*digest);
        self.inputs.iter().filter(same).count()
    }

    /// Held while no build may use the layer; `None` if one does.
    fn lock(&self) -> Option<File> {
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(lock_of(&self.folder))
            .ok()?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
        Some(lock)
    }
}

fn lock_of(folder: &Path) -> PathBuf {
    folder.with_extension("lock")
}

/// Runs `dib-cache`.
pub fn main(around: &Surroundings, arguments: &[String]) -> ExitCode {
    let mut cache = around.variable("DIB_IMAGE_CACHE").map(PathBuf::from);
    let (mut words, mut days) = (Vec::new(), Some(UNUSED_DAYS));
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "-h" | "--help" => return print(USAGE),
            "--cache-dir" => cache = rest.next().map(PathBuf::from),
            "--unused" => days = rest.next().and_then(|text| text.parse().ok()),
            word => words.push(word),
        }
    }
    // Files of a layer belong to sub-uids of the user: only their root can remove them.
    if words.first() == Some(&"gc")
        && let Err(error) = rootless::enter(around, arguments)
    {
        let _ = writeln!(io::stderr(), "ERROR: {error}\nhint: {}", error.hint());
        return ExitCode::FAILURE;
    }
    let home = around.variable("HOME").unwrap_or("/root");
    let cache = cache.unwrap_or_else(|| Path::new(home).join(".cache/image-create"));
    let layers = layers(&Layers::folder(&cache));
    match (words.as_slice(), days) {
        (["ls"], _) => print(&list(&layers)),
        (["why"], _) => print(&why(&layers, None)),
        (["why", key], _) => print(&why(&layers, Some(key))),
        (["gc"], Some(days)) => print(&collect(&layers, days)),
        _ => {
            let _ = io::stderr().write_all(USAGE.as_bytes());
            ExitCode::from(2)
        }
    }
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// All layers, the oldest first.
fn layers(folder: &Path) -> Vec<Cached> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut layers: Vec<Cached> = entries
        .filter_map(|entry| Cached::read(entry.path()))
        .collect();
    layers.sort_by(|a, b| (a.made, &a.key).cmp(&(b.made, &b.key)));
    layers
}

fn short(key: &str) -> &str {
    key.get(..12).unwrap_or(key)
}

fn list(layers: &[Cached]) -> String {
    let mut text = format!(
        "{:<12}  {:<9} {:>8}  {:<20}  {}\n",
        "KEY", "KIND", "MIB", "MADE", "USED"
    );
    let mut total = 0;
    for layer in layers {
        let mib = tree_kib(&layer.folder).unwrap_or_default() / 1024;
        total += mib;
        text.push_str(&format!(
            "{:<12}  {:<9} {mib:>8}  {:<20}  {}\n",
            short(&layer.key),
            layer.kind,
            moment(layer.made),
            moment(layer.used),
        ));
    }
    text.push_str(&format!("{} layers, {total} MiB\n", layers.len()));
    text
}

fn moment(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}

fn why(layers: &[Cached], key: Option<&str>) -> String {
    let wanted = match key {
        Some(key) => layers.iter().find(|layer| layer.key.starts_with(key)),
        None => layers.last(),
    };
    let Some(layer) = wanted else {
        return "there is no such layer\n".to_owned();
    };
    let head = format!(
        "layer {} ({}), made {}",
        short(&layer.key),
        layer.kind,
        moment(layer.made)
    );
    let like = layers
        .iter()
        .filter(|other| {
            other.kind == layer.kind && other.key != layer.key && other.made <= layer.made
        })
        .max_by_key(|other| (layer.common(other), other.made));
    let Some(like) = like else {
        return format!("{head}: it is the first of its kind\n");
    };
    let mut lines = Vec::new();
    for (name, digest) in &layer.inputs {
        match like.inputs.get(name) {
            None => lines.push(format!("  new      {name}")),
            Some(other) if other != digest => lines.push(format!("  changed  {name}")),
            Some(_) => {}
        }
    }
    let gone = like
        .inputs
        .keys()
        .filter(|name| !layer.inputs.contains_key(*name));
    lines.extend(gone.map(|name| format!("  gone     {name}")));
    if lines.is_empty() {
        lines.push(
            "  nothing that is noted; perhaps another version of this program made it".to_owned(),
        );
    }
    let more = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    format!(
        "{head}, differs from {} of {} in\n{}\n",
        short(&like.key),
        moment(like.made),
        lines.join("\n")
    )
}

fn collect(layers: &[Cached], days: u64) -> String {
    let least = Duration::from_secs(days.saturating_mul(86400));
    let (mut text, mut freed) = (String::new(), 0);
    for layer in layers {
        let unused = SystemTime::now()
            .duration_since(layer.used)
            .unwrap_or_default();
        if unused < least {
            continue;
        }
        let Some(_lock) = layer.lock() else {
            text.push_str(&format!("{} is in use\n", short(&layer.key)));
            continue;
        };
        let mib = tree_kib(&layer.folder).unwrap_or_default() / 1024;
        remove_tree(&layer.folder);
        freed += mib;
        text.push_str(&format!(
            "removed {} ({}), {mib} MiB\n",
            short(&layer.key),
            layer.kind
        ));
    }
    text.push_str(&format!("freed {freed} MiB\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Layer, start_key};

    fn make(cache: &Path, hook: &str, version: &str) -> String {
        let mut hasher = start_key("", "install");
        hasher
            .noted("file", hook, |hasher| {
                hasher.field(hook.as_bytes()).field(version.as_bytes());
                Ok(())
            })
            .expect("adds");
        let key = hasher.finish();
        let layers = Layers::new(cache, 60, "me");
        let Layer::Wanted(draft) = layers.open(&key).expect("opens") else {
            panic!("is new")
        };
        drop(layers.keep(draft).expect("keeps"));
        key.digest
    }

    #[test]
    fn a_layer_tells_what_made_it_another() {
        let top = tempfile::tempdir().expect("folder");
        make(top.path(), "install.d/50-x", "1");
        let first = layers(&Layers::folder(top.path()));
        assert!(why(&first, None).contains("it is the first of its kind"));
        let second = make(top.path(), "install.d/50-x", "2");
        let all = layers(&Layers::folder(top.path()));
        assert!(list(&all).contains("2 layers"), "{}", list(&all));
        let text = why(&all, Some(&second[..12]));
        assert!(text.contains("changed  file install.d/50-x"), "{text}");
    }

    #[test]
    fn what_is_in_use_stays() {
        let top = tempfile::tempdir().expect("folder");
        make(top.path(), "a", "1");
        let second = make(top.path(), "b", "1");
        let all = layers(&Layers::folder(top.path()));
        assert!(!collect(&all, 1).contains("removed"));
        let used = all.iter().find(|layer| layer.key == second).expect("there");
        let lock = used.lock().expect("free");
        let text = collect(&all, 0);
        assert!(
            text.contains("is in use") && text.contains("removed"),
            "{text}"
        );
        drop(lock);
        assert_eq!(layers(&Layers::folder(top.path())).len(), 1);
    }
}
