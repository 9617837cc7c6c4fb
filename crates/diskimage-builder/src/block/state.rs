//! What was made, in order, so that another process can look at it and take it down again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{BlockError, file};

/// Something that was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// An image file with its loop device.
    Disk {
        /// Its name.
        name: String,
        /// The file.
        image: PathBuf,
        /// The loop device; not there yet if the file is new.
        device: Option<String>,
    },
    /// The node of a partition.
    Partition {
        /// Its name.
        name: String,
        /// The disk's device.
        disk: String,
        /// Its number.
        number: usize,
        /// Its device.
        device: String,
    },
    /// A volume group.
    Group {
        /// Its name.
        name: String,
    },
    /// A logical volume.
    Logical {
        /// Its name.
        name: String,
        /// Its group.
        group: String,
        /// Its device.
        device: String,
    },
    /// A file system.
    FileSystem {
        /// Its name.
        name: String,
        /// Its type.
        kind: String,
        /// Its label.
        label: String,
        /// Its identity.
        uuid: String,
        /// Where it lies.
        device: String,
    },
    /// A mount; swap has a place in the order, but is not mounted.
    Mount {
        /// Its name.
        name: String,
        /// The file system.
        base: String,
        /// Where, in the image.
        point: String,
        /// Where, on this machine.
        path: Option<PathBuf>,
        /// The type of the file system.
        kind: String,
    },
    /// A line of fstab.
    Fstab {
        /// The mount.
        base: String,
        /// The last three columns.
        columns: String,
    },
}

/// All steps, in the order in which they were done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The steps.
    pub steps: Vec<Step>,
}

impl State {
    /// The device of this name.
    pub fn device(&self, of: &str) -> Option<&str> {
        self.devices()
            .into_iter()
            .find(|(name, _)| *name == of)
            .map(|(_, device)| device)
    }

    /// All devices: disks, partitions, logical volumes.
    pub fn devices(&self) -> Vec<(&str, &str)> {
        self.steps
            .iter()
            .filter_map(|step| match step {
                Step::Disk {
                    name,
                    device: Some(device),
                    ..
                }
                | Step::Partition { name, device, .. }
                | Step::Logical { name, device, .. } => Some((name.as_str(), device.as_str())),
                Step::Disk { device: None, .. }
                | Step::Group { .. }
                | Step::FileSystem { .. }
                | Step::Mount { .. }
                | Step::Fstab { .. } => None,
            })
            .collect()
    }

    /// The image file of a disk.
    pub fn image(&self, of: &str) -> Option<&Path> {
        self.steps.iter().find_map(|step| match step {
            Step::Disk { name, image, .. } if name == of => Some(image.as_path()),
            _ => None,
        })
    }

    /// The file system of this name: its type and its label.
    pub fn file_system(&self, of: &str) -> Option<(&str, &str, &str)> {
        self.steps.iter().find_map(|step| match step {
            Step::FileSystem {
                name,
                kind,
                label,
                device,
                ..
            } if name == of => Some((kind.as_str(), label.as_str(), device.as_str())),
            _ => None,
        })
    }

    /// The text of /etc/fstab, in the order of mounting.
    pub fn fstab(&self) -> String {
        let mut text = String::new();
        for step in &self.steps {
            let Step::Mount {
                name, base, point, ..
            } = step
            else {
                continue;
            };
            let columns = self.steps.iter().find_map(|step| match step {
                Step::Fstab { base, columns } if base == name => Some(columns),
                _ => None,
            });
            if let (Some(columns), Some((kind, label, _))) = (columns, self.file_system(base)) {
                text.push_str(&format!("LABEL={label} {point} {kind} {columns}\n"));
            }
        }
        text
    }

    /// Reads a state file; `None` where there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, BlockError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(file("read", path)(source)),
        };
        let state = serde_json::from_str(&text)
            .map_err(|error| file("understand", path)(std::io::Error::other(error)))?;
        Ok(Some(state))
    }

    /// Writes a state file, with what upstream's has beside our steps: elements may read it.
    pub fn write(&self, path: &Path) -> Result<(), BlockError> {
        let mut value = json!({ "steps": self.steps });
        if let Value::Object(value) = &mut value {
            value.extend(self.like_upstream());
        }
        let beside = path.with_extension("new");
        std::fs::write(&beside, value.to_string()).map_err(file("write", &beside))?;
        std::fs::rename(&beside, path).map_err(file("write", path))
    }

    fn like_upstream(&self) -> Map<String, Value> {
        let (mut devices, mut systems, mut mounts) = (Map::new(), Map::new(), Map::new());
        let mut order = Vec::new();
        for (name, device) in self.devices() {
            let mut value = json!({ "device": device });
            if let Some(image) = self.image(name) {
                value["image"] = json!(image);
            }
            devices.insert(name.to_owned(), value);
        }
        for step in &self.steps {
            match step {
                Step::FileSystem {
                    name,
                    kind,
                    label,
                    uuid,
                    device,
                } => {
                    let value =
                        json!({"fstype": kind, "label": label, "uuid": uuid, "device": device});
                    systems.insert(name.clone(), value);
                }
                Step::Mount {
                    name,
                    base,
                    point,
                    path,
                    ..
                } => {
                    order.push(json!(point));
                    mounts.insert(
                        point.clone(),
                        json!({"name": name, "base": base, "path": path}),
                    );
                }
                Step::Disk { .. }
                | Step::Partition { .. }
                | Step::Group { .. }
                | Step::Logical { .. }
                | Step::Fstab { .. } => {}
            }
        }
        [
            ("blockdev", Value::Object(devices)),
            ("filesys", Value::Object(systems)),
            ("mount", Value::Object(mounts)),
            ("mount_order", Value::Array(order)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }
}
