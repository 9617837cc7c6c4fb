//! The disks of the machine, and which of them is meant.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::AgentError;

/// Without hints, disks that are smaller are taken for keys and cards (as Ironic does).
const SMALLEST: u64 = 4 << 30;

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its device.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Serial number.
    pub serial: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Worldwide name.
    pub wwn: Option<String>,
    /// Whether it turns.
    pub rotational: Option<bool>,
    /// Whether it can be pulled out.
    pub removable: bool,
}

/// All disks. Containers have theirs as `/dev/disk0` and so on; what the kernel tells of block devices is
/// the host's there, and must not be looked at.
pub fn all() -> Vec<Disk> {
    all_below(Path::new("/dev"), Path::new("/sys/block"))
}

fn all_below(dev: &Path, sys: &Path) -> Vec<Disk> {
    let shown: Vec<_> = (0..)
        .map(|number| dev.join(format!("disk{number}")))
        .take_while(|path| path.exists())
        .collect();
    if !shown.is_empty() {
        return shown.into_iter().filter_map(|path| plain(&path)).collect();
    }
    let Ok(entries) = fs::read_dir(sys) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    names
        .iter()
        .filter_map(|name| block(&dev.join(name), &sys.join(name)))
        .collect()
}

fn plain(path: &Path) -> Option<Disk> {
    let size = File::open(path).ok()?.seek(SeekFrom::End(0)).ok()?;
    Some(Disk {
        path: path.to_owned(),
        size,
        serial: None,
        model: None,
        wwn: None,
        rotational: None,
        removable: false,
    })
}

fn block(path: &Path, sys: &Path) -> Option<Disk> {
    let name = path.file_name()?.to_str()?;
    let virtual_ones = ["loop", "ram", "zram", "sr", "fd", "dm-", "md", "nbd"];
    if virtual_ones.iter().any(|prefix| name.starts_with(prefix)) || !path.exists() {
        return None;
    }
    let text = |file: &str| {
        let text = fs::read_to_string(sys.join(file)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let sectors: u64 = text("size")?.parse().ok()?;
    Some(Disk {
        path: path.to_owned(),
        size: sectors * 512,
        serial: text("device/serial").or_else(|| text("serial")),
        model: text("device/model"),
        wwn: text("device/wwid").or_else(|| text("wwid")),
        rotational: text("queue/rotational").map(|text| text == "1"),
        removable: text("removable").as_deref() == Some("1"),
    })
}

/// The disk that the hints mean: Ironic's `root_device`, or the path alone.
pub fn choose(disks: &[Disk], hints: &Value) -> Result<Disk, AgentError> {
    let found = match hints {
        Value::Null => {
            let fixed = || disks.iter().filter(|disk| !disk.removable);
            fixed()
                .find(|disk| disk.size >= SMALLEST)
                .or_else(|| fixed().next())
        }
        Value::String(path) => disks.iter().find(|disk| disk.path == Path::new(path)),
        hints => disks.iter().find(|disk| fits(disk, hints)),
    };
    let seen = || {
        let each = disks
            .iter()
            .map(|disk| format!("{} ({} bytes)", disk.path.display(), disk.size));
        let each: Vec<_> = each.collect();
        if each.is_empty() {
            "none".to_owned()
        } else {
            each.join(", ")
        }
    };
    found.cloned().ok_or_else(|| AgentError::NoDisk {
        hints: if hints.is_null() {
            "to be written to".to_owned()
        } else {
            hints.to_string()
        },
        seen: seen(),
    })
}

/// Whether a disk is what the hints say. A hint that is not known fits none: guessing would wipe the wrong disk.
fn fits(disk: &Disk, hints: &Value) -> bool {
    let Some(hints) = hints.as_object() else {
        return false;
    };
    let same = |own: Option<&str>, value: &Value| {
        let wanted = value
            .as_str()
            .map(|text| text.trim_start_matches("s== ").to_lowercase());
        own.is_some_and(|own| wanted.is_some_and(|wanted| own.to_lowercase() == wanted))
    };
    hints.iter().all(|(name, value)| match name.as_str() {
        "name" => same(disk.path.to_str(), value),
        "serial" => same(disk.serial.as_deref(), value),
        "model" => same(disk.model.as_deref(), value),
        "wwn" => same(disk.wwn.as_deref(), value),
        "rotational" => value
            .as_bool()
            .is_some_and(|wanted| disk.rotational == Some(wanted)),
        "size" => {
            let wanted = value.as_u64().or_else(|| value.as_str()?.parse().ok());
            wanted.is_some_and(|wanted| disk.size >> 30 == wanted)
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn disk(name: &str, gib: u64) -> Disk {
        Disk {
            path: Path::new("/dev").join(name),
            size: gib << 30,
            serial: Some(format!("S-{name}")),
            model: None,
            wwn: None,
            rotational: Some(false),
            removable: name == "sda",
        }
    }

    #[track_caller]
    fn check(hints: Value, expect: Option<&str>) {
        let disks = [
            disk("sda", 32),
            disk("sdb", 1),
            disk("sdc", 100),
            disk("sdd", 200),
        ];
        let chosen = choose(&disks, &hints).ok();
        assert_eq!(chosen.map(|disk| disk.path), expect.map(PathBuf::from));
    }

    #[test]
    fn hints_choose_one_disk_and_unknown_hints_none() {
        check(Value::Null, Some("/dev/sdc"));
        check(json!("/dev/sdd"), Some("/dev/sdd"));
        check(json!({"serial": "s-SDB"}), Some("/dev/sdb"));
        check(json!({"size": 200, "rotational": false}), Some("/dev/sdd"));
        check(json!({"size": 7}), None);
        check(json!({"name": "/dev/sdc", "colour": "red"}), None);
    }

    #[test]
    fn a_container_sees_only_the_disks_it_is_shown() {
        let place = tempfile::tempdir().expect("directory");
        let (dev, sys) = (place.path().join("dev"), place.path().join("sys"));
        fs::create_dir_all(sys.join("sda")).expect("directory");
        fs::create_dir_all(&dev).expect("directory");
        fs::write(sys.join("sda/size"), "2048\n").expect("writes");
        fs::write(dev.join("sda"), "").expect("writes");
        assert_eq!(all_below(&dev, &sys)[0].size, 1 << 20);
        fs::write(dev.join("disk0"), [0; 512]).expect("writes");
        let disks = all_below(&dev, &sys);
        assert_eq!((disks.len(), disks[0].size), (1, 512));
    }
}
