//! The config drive: what the cloud put on a disk of this machine.
//!
//! Where the machine has no block devices its tree is shown at `/run/config-2`. A device is found by `blkid` and
//! mounted for the moment of reading, as upstream does. Files that were read are kept, because a drive never changes.

use crate::http::Trust;
use metadata::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The label that marks a config drive.
const LABEL: &str = "config-2";

/// What tells the address of the metadata.
const ADDRESS: &str = "tripleo/os-collect-config.json";

/// Reads files of the config drive.
#[derive(Debug)]
pub struct ConfigDrive {
    shown: PathBuf,
    kept: HashMap<String, String>,
}

impl Default for ConfigDrive {
    /// The drive of this machine.
    fn default() -> Self {
        ConfigDrive::shown_at(PathBuf::from("/run/config-2"))
    }
}

impl ConfigDrive {
    /// A drive whose tree may be shown at `shown`.
    pub fn shown_at(shown: PathBuf) -> Self {
        ConfigDrive {
            shown,
            kept: HashMap::new(),
        }
    }

    /// The content of `file`, if there is a drive that has it.
    pub fn read(&mut self, file: &str) -> Option<String> {
        if let Some(text) = self.kept.get(file) {
            return Some(text.clone());
        }
        let text = std::fs::read_to_string(self.shown.join(file))
            .ok()
            .or_else(|| from_device(file))?;
        self.kept.insert(file.to_owned(), text.clone());
        Some(text)
    }

    /// The address of the metadata, and whom its server's certificate must be signed by.
    pub fn metadata(&mut self) -> Option<(String, Trust)> {
        let document = metadata::parse(&self.read(ADDRESS)?).ok()?;
        let url = document.get("metadata_url")?.as_text()?.to_owned();
        let trust = match document.get("ca").and_then(Value::as_text) {
            Some(pem) if pem.contains("-----BEGIN") => Trust::Pem(pem.to_owned()),
            Some(path) if !path.is_empty() => Trust::File(path.into()),
            _ => Trust::System,
        };
        Some((url, trust))
    }

    /// Whom the certificate of `url`'s server must be signed by: the drive's authority is good for its own host only.
    pub fn trust(&mut self, url: &str) -> Trust {
        let host = |text: &str| url::Url::parse(text).ok()?.host_str().map(str::to_owned);
        let wanted = host(url);
        let own = self
            .metadata()
            .filter(|(own, _)| wanted.is_some() && host(own) == wanted);
        own.map(|(_, trust)| trust).unwrap_or_default()
    }
}

fn from_device(file: &str) -> Option<String> {
    let device = find_device()?;
    if let Some(mounted) = mount_point(&device) {
        return std::fs::read_to_string(mounted.join(file)).ok();
    }
    let place = temporary_directory()?;
    let mounted = run(
        "mount",
        &[
            device.as_ref(),
            place.as_ref(),
            "-o".as_ref(),
            "ro".as_ref(),
        ],
    )
    .is_some();
    let text = std::fs::read_to_string(place.join(file))
        .ok()
        .filter(|_| mounted);
    if mounted {
        let _ = run("umount", &["-l".as_ref(), place.as_ref()]);
    }
    let _ = std::fs::remove_dir(&place);
    text
}

/// The first device with the right label and a file system of a config drive.
fn find_device() -> Option<PathBuf> {
    let output = run("blkid", &["-o".as_ref(), "export".as_ref()])?;
    output.split("\n\n").find_map(|device| {
        let value = |key: &str| {
            device
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        };
        let fits =
            value("LABEL") == Some(LABEL) && matches!(value("TYPE"), Some("iso9660" | "vfat"));
        value("DEVNAME").filter(|_| fits).map(PathBuf::from)
    })
}

fn mount_point(device: &Path) -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let found = Path::new(fields.next()?) == device;
        fields
            .next()
            .filter(|_| found)
            .map(|place| PathBuf::from(place.replace("\\040", " ")))
    })
}

/// A directory of our own; `create_dir` fails on one that somebody else made.
fn temporary_directory() -> Option<PathBuf> {
    let root = std::env::temp_dir();
    (0..100).find_map(|_| {
        let place = root.join(format!("{LABEL}-{:08x}", rand::random::<u32>()));
        std::fs::create_dir(&place).ok().map(|()| place)
    })
}

/// Runs a program of the system and gives what it printed, if it ended well.
fn run(program: &str, arguments: &[&std::ffi::OsStr]) -> Option<String> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_tree_is_read_once() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("tripleo")).unwrap();
        let file = root.path().join("tripleo/f.json");
        std::fs::write(&file, "one").unwrap();
        let mut drive = ConfigDrive::shown_at(root.path().to_owned());
        assert_eq!(drive.read("tripleo/f.json").as_deref(), Some("one"));
        std::fs::write(&file, "two").unwrap();
        assert_eq!(drive.read("tripleo/f.json").as_deref(), Some("one"));
    }
}
