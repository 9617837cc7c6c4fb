//! Where file systems lie in an image: diskimage-builder's block device YAML, read and checked.
//!
//! One image with or without a partition table, and file systems on it, is what is made offline. What needs the
//! kernel's help (LVM, several disks, xfs, swap) says so: [`Layout::needs_kernel`].

use std::collections::BTreeSet;

use yaml::{Node, Yaml};

/// The layout of an image with one file system and no partitions.
pub const PLAIN: &str = "- local_loop:
    name: image0
    mkfs:
      name: mkfs_root
      mount:
        mount_point: /
        fstab:
          options: defaults
          fsck-passno: 1
";

/// Why a layout cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// It is no YAML.
    #[error("the block device configuration is not valid YAML: {text}")]
    Yaml {
        /// What the parser said.
        text: String,
    },
    /// It has another shape.
    #[error("block device configuration: {text}")]
    Shape {
        /// What is wrong.
        text: String,
    },
    /// It names a plugin that does not exist, or is not supported.
    #[error("block device configuration: plugin `{plugin}` is not supported")]
    Plugin {
        /// Its name.
        plugin: String,
    },
}

fn shape(text: impl Into<String>) -> LayoutError {
    LayoutError::Shape { text: text.into() }
}

/// A layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The partition table, if there is one.
    pub table: Option<Table>,
    /// The file systems, in the order given.
    pub file_systems: Vec<FileSystem>,
    /// What there is beside one disk with partitions.
    pub special: Option<&'static str>,
    /// Bytes of a sector, if the configuration tells them.
    pub sector: Option<u64>,
}

/// Kinds of partition tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// The old one.
    Mbr,
    /// The GUID partition table.
    Gpt,
}

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its kind.
    pub kind: TableKind,
    /// Its partitions in order.
    pub partitions: Vec<PartitionSpec>,
}

/// Size of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Bytes.
    Bytes(u64),
    /// Millionths of what is left.
    Share(u64),
}

/// A partition to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionSpec {
    /// Its name.
    pub name: String,
    /// Its size.
    pub size: Size,
    /// Type as upstream writes it: `EF02`, `0x83`, or a GUID.
    pub kind: String,
    /// Whether the machine starts from it (MBR).
    pub boot: bool,
    /// Whether it stands in the table itself (MBR).
    pub primary: bool,
}

/// A file system to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// Its name in the configuration.
    pub name: String,
    /// The partition, or `None` for the whole image.
    pub partition: Option<String>,
    /// Its type; `None` is the one that the user chose for root.
    pub kind: Option<String>,
    /// Its label.
    pub label: Option<String>,
    /// Options for the program that makes it.
    pub options: Vec<String>,
    /// Where it is mounted.
    pub mount_point: Option<String>,
    /// Its line in fstab.
    pub fstab: Option<Fstab>,
}

/// The last three columns of a line of fstab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fstab {
    /// Options.
    pub options: String,
    /// Dump frequency.
    pub dump: i64,
    /// Pass of fsck.
    pub pass: i64,
}

const PLUGINS: &[&str] = &[
    "local_loop",
    "partitioning",
    "lvm",
    "mkfs",
    "mount",
    "fstab",
];

/// An item of the configuration with its base made plain.
struct Item<'a> {
    plugin: &'a str,
    name: String,
    base: Option<String>,
    node: &'a Node,
}

impl Layout {
    /// Reads a configuration in tree or graph form, or a mixture.
    pub fn parse(text: &str) -> Result<Self, LayoutError> {
        let document = yaml::parse(text).map_err(|error| LayoutError::Yaml {
            text: error.to_string(),
        })?;
        let Some(list) = document.as_seq() else {
            return Err(shape("it is not a list"));
        };
        let mut items = Vec::new();
        for entry in list {
            let Yaml::Map(pairs) = &entry.value else {
                return Err(shape("an entry is not a dict"));
            };
            let [(key, value)] = pairs.as_slice() else {
                return Err(shape(
                    "an entry must have a single key, the name of a plugin",
                ));
            };
            let plugin = key.as_text().unwrap_or_default();
            collect(plugin, value, None, &mut items)?;
        }
        Self::from_items(&items)
    }

    fn from_items(items: &[Item<'_>]) -> Result<Self, LayoutError> {
        let mut names = BTreeSet::new();
        for item in items {
            if !names.insert(item.name.as_str()) {
                return Err(shape(format!(
                    "the name {} is used more than once",
                    item.name
                )));
            }
        }
        let disks: Vec<&str> = items
            .iter()
            .filter(|item| item.plugin == "local_loop")
            .map(|item| item.name.as_str())
            .collect();
        if !disks.contains(&"image0") {
            return Err(shape("a local_loop named image0 is missing"));
        }
        let special = if items.iter().any(|item| item.plugin == "lvm") {
            Some("LVM")
        } else if disks.len() > 1 {
            Some("more than one disk")
        } else {
            None
        };
        let sector = items
            .iter()
            .filter(|item| item.name == "image0")
            .find_map(|item| item.node.get("block_size").and_then(text_of)?.parse().ok());
        let mut tables = items.iter().filter(|item| {
            item.plugin == "partitioning"
                && (special.is_none() || item.base.as_deref() == Some("image0"))
        });
        let table = tables.next().map(|item| table(item.node)).transpose()?;
        let partitions: Vec<&str> = table
            .iter()
            .flat_map(|table| table.partitions.iter())
            .map(|p| p.name.as_str())
            .collect();
        let mut file_systems: Vec<FileSystem> = Vec::new();
        for item in items.iter().filter(|item| item.plugin == "mkfs") {
            let base = item.base.as_deref().unwrap_or_default();
            let partition = match base {
                "image0" => None,
                base if partitions.contains(&base) || special.is_some() => Some(base.to_owned()),
                base => {
                    return Err(shape(format!(
                        "`{}` has an unknown base `{base}`",
                        item.name
                    )));
                }
            };
            file_systems.push(file_system(item, partition, items)?);
        }
        let mut mounted = BTreeSet::new();
        for point in file_systems
            .iter()
            .filter_map(|fs| fs.mount_point.as_deref())
        {
            if point != "none" && !mounted.insert(point) {
                return Err(shape(format!(
                    "the mount point {point} is used more than once"
                )));
            }
        }
        Ok(Self {
            table,
            file_systems,
            special,
            sector,
        })
    }

    /// What of it can only be made with the kernel's help. The layout must be complete.
    pub fn needs_kernel(&self, sector: Option<u64>) -> Option<String> {
        let offline = ["ext4", "vfat", "btrfs"];
        let kind = |fs: &FileSystem| {
            fs.kind
                .clone()
                .filter(|kind| !offline.contains(&kind.as_str()))
        };
        match (self.special, sector.or(self.sector)) {
            (Some(what), _) => Some(format!("the layout has {what}")),
            (None, Some(bytes)) if bytes != 512 => Some(format!("sectors have {bytes} bytes")),
            (None, _) => self
                .file_systems
                .iter()
                .find_map(kind)
                .map(|kind| format!("the layout has {kind}")),
        }
    }

    /// A file system beside root that hooks expect to find mounted.
    pub fn separate(&self) -> Option<&str> {
        let mounted = self
            .file_systems
            .iter()
            .filter(|fs| fs.kind.as_deref() != Some("vfat"));
        mounted
            .filter_map(|fs| fs.mount_point.as_deref())
            .find(|point| point.starts_with('/') && *point != "/")
    }

    /// The root file system.
    pub fn root(&self) -> Option<&FileSystem> {
        self.file_systems
            .iter()
            .find(|fs| fs.mount_point.as_deref() == Some("/"))
    }

    /// Mount points, root first.
    pub fn mount_points(&self) -> Vec<&str> {
        let mut points: Vec<&str> = self
            .file_systems
            .iter()
            .filter_map(|fs| fs.mount_point.as_deref())
            .collect();
        points.sort_unstable();
        points
    }

    /// Sets type and label where the configuration leaves them to the user.
    pub fn complete(&mut self, root_kind: &str, root_label: &str) {
        for fs in &mut self.file_systems {
            let is_root = fs.name == "mkfs_root";
            let kind = fs
                .kind
                .get_or_insert_with(|| if is_root { root_kind } else { "ext4" }.to_owned());
            let default = if is_root {
                root_label.to_owned()
            } else {
                fs.name.clone()
            };
            let label = fs.label.get_or_insert(default);
            if kind == "vfat" {
                label.make_ascii_uppercase();
            }
        }
    }

    /// Checks what only the completed layout shows.
    pub fn check(&self) -> Result<(), LayoutError> {
        let mut labels = BTreeSet::new();
        for fs in &self.file_systems {
            let (kind, label) = (
                fs.kind.as_deref().unwrap_or_default(),
                fs.label.as_deref().unwrap_or_default(),
            );
            let longest = match kind {
                "xfs" => 12,
                "vfat" => 11,
                "btrfs" => 255,
                _ => 16,
            };
            if label.len() > longest {
                return Err(shape(format!(
                    "the label `{label}` is too long for {kind}: {longest} characters"
                )));
            }
            if !labels.insert(label) {
                return Err(shape(format!("the label {label} is used more than once")));
            }
        }
        Ok(())
    }

    /// The text of /etc/fstab.
    pub fn fstab(&self) -> String {
        let mut rows: Vec<&FileSystem> = self
            .file_systems
            .iter()
            .filter(|fs| fs.fstab.is_some())
            .collect();
        rows.sort_by(|a, b| a.mount_point.cmp(&b.mount_point));
        let mut text = String::new();
        for fs in rows {
            let (Some(fstab), Some(point)) = (&fs.fstab, &fs.mount_point) else {
                continue;
            };
            let kind = fs.kind.as_deref().unwrap_or("ext4");
            let label = fs.label.as_deref().unwrap_or_default();
            let (options, pass) = if kind == "swap" {
                ("sw", 0)
            } else {
                (fstab.options.as_str(), fstab.pass)
            };
            text.push_str(&format!(
                "LABEL={label} {point} {kind} {options} {} {pass}\n",
                fstab.dump
            ));
        }
        text
    }
}

fn collect<'a>(
    plugin: &'a str,
    node: &'a Node,
    parent: Option<&str>,
    items: &mut Vec<Item<'a>>,
) -> Result<(), LayoutError> {
    if !PLUGINS.contains(&plugin) {
        return Err(LayoutError::Plugin {
            plugin: plugin.to_owned(),
        });
    }
    let base = node
        .get("base")
        .and_then(Node::as_text)
        .or(parent)
        .map(str::to_owned);
    let given = node.get("name").and_then(Node::as_text).map(str::to_owned);
    let name = given.unwrap_or_else(|| format!("{plugin}_{}", base.as_deref().unwrap_or_default()));
    items.push(Item {
        plugin,
        name: name.clone(),
        base,
        node,
    });
    if plugin == "partitioning" {
        for partition in node
            .get("partitions")
            .and_then(Node::as_seq)
            .unwrap_or_default()
        {
            let own = partition
                .get("name")
                .and_then(Node::as_text)
                .unwrap_or_default();
            nested(partition, own, items)?;
        }
    }
    nested(node, &name, items)
}

fn nested<'a>(node: &'a Node, name: &str, items: &mut Vec<Item<'a>>) -> Result<(), LayoutError> {
    if let Yaml::Map(pairs) = &node.value {
        for (key, value) in pairs {
            let Some(key) = key.as_text() else { continue };
            if PLUGINS.contains(&key) {
                collect(key, value, Some(name), items)?;
            }
        }
    }
    Ok(())
}

fn text_of(node: &Node) -> Option<String> {
    match &node.value {
        Yaml::Text(text) => Some(text.clone()),
        Yaml::Int(number) => Some(number.to_string()),
        Yaml::Float(number) => Some(number.to_string()),
        Yaml::Null | Yaml::Bool(_) | Yaml::Seq(_) | Yaml::Map(_) => None,
    }
}

fn table(node: &Node) -> Result<Table, LayoutError> {
    let kind = match node.get("label").and_then(Node::as_text) {
        Some("mbr") => TableKind::Mbr,
        Some("gpt") => TableKind::Gpt,
        Some(other) => {
            return Err(shape(format!(
                "the partition label `{other}` is neither mbr nor gpt"
            )));
        }
        None => return Err(shape("partitioning needs a label")),
    };
    let Some(list) = node.get("partitions").and_then(Node::as_seq) else {
        return Err(shape("partitioning needs partitions"));
    };
    let mut partitions = Vec::new();
    for entry in list {
        let name = entry
            .get("name")
            .and_then(Node::as_text)
            .ok_or_else(|| shape("a partition needs a name"))?;
        let size = entry
            .get("size")
            .and_then(text_of)
            .ok_or_else(|| shape(format!("`{name}` needs a size")))?;
        let flags: Vec<&str> = entry
            .get("flags")
            .and_then(Node::as_seq)
            .unwrap_or_default()
            .iter()
            .filter_map(Node::as_text)
            .collect();
        for flag in &flags {
            if !["boot", "primary"].contains(flag) {
                return Err(shape(format!(
                    "partition `{name}` has the unknown flag `{flag}`"
                )));
            }
            if *flag == "primary" && kind == TableKind::Gpt {
                return Err(shape(format!(
                    "partition `{name}`: primary partitions are for mbr"
                )));
            }
        }
        let default = if kind == TableKind::Mbr {
            "0x83"
        } else {
            "8300"
        };
        let kind = match entry.get("type") {
            // YAML reads 0x83 as a number.
            Some(Node {
                value: Yaml::Int(number),
                ..
            }) if kind == TableKind::Mbr => format!("{number:#x}"),
            Some(node) => text_of(node).unwrap_or_else(|| default.to_owned()),
            None => default.to_owned(),
        };
        let size = size_of(&size)?;
        partitions.push(PartitionSpec {
            name: name.to_owned(),
            size,
            kind,
            boot: flags.contains(&"boot"),
            primary: flags.contains(&"primary"),
        });
    }
    Ok(Table { kind, partitions })
}

/// Reads `1.5 GiB`, `100%`, `65536`.
pub fn size_of(text: &str) -> Result<Size, LayoutError> {
    let wrong = || shape(format!("`{text}` is not a size"));
    let text_trimmed = text.trim();
    let digits = text_trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text_trimmed.len());
    let number: f64 = text_trimmed[..digits].parse().map_err(|_| wrong())?;
    let unit = match text_trimmed[digits..].trim_start() {
        "%" => return Ok(Size::Share((number * 10_000.0) as u64)),
        "TiB" => 1_u64 << 40,
        "GiB" => 1 << 30,
        "MiB" => 1 << 20,
        "KiB" => 1 << 10,
        "TB" | "T" => 1_000_000_000_000,
        "GB" | "G" => 1_000_000_000,
        "MB" | "M" => 1_000_000,
        "KB" | "K" => 1_000,
        "B" | "" => 1,
        _ => return Err(wrong()),
    };
    Ok(Size::Bytes((number * unit as f64) as u64))
}

fn file_system(
    item: &Item<'_>,
    partition: Option<String>,
    items: &[Item<'_>],
) -> Result<FileSystem, LayoutError> {
    let text = |key: &str| item.node.get(key).and_then(text_of);
    let mount = items
        .iter()
        .find(|other| other.plugin == "mount" && other.base.as_deref() == Some(&item.name));
    let mount_point = mount
        .and_then(|mount| mount.node.get("mount_point"))
        .and_then(text_of);
    let fstab = mount.and_then(|mount| {
        items
            .iter()
            .find(|other| other.plugin == "fstab" && other.base.as_deref() == Some(&mount.name))
    });
    let number = |node: &Node, key: &str, default| match node.get(key).map(|node| &node.value) {
        Some(Yaml::Int(number)) => *number,
        _ => default,
    };
    Ok(FileSystem {
        name: item.name.clone(),
        partition,
        kind: text("type"),
        label: text("label"),
        options: text("opts")
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        mount_point,
        fstab: fstab.map(|fstab| Fstab {
            options: fstab
                .node
                .get("options")
                .and_then(text_of)
                .unwrap_or_else(|| "defaults".to_owned()),
            dump: number(fstab.node, "dump-freq", 0),
            pass: number(fstab.node, "fsck-passno", 2),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_layout_has_one_file_system() {
        let mut layout = Layout::parse(PLAIN).expect("reads");
        layout.complete("ext4", "cloudimg-rootfs");
        layout.check().expect("fine");
        assert_eq!(
            layout.fstab(),
            "LABEL=cloudimg-rootfs / ext4 defaults 0 1\n"
        );
        assert_eq!(layout.mount_points(), ["/"]);
        assert!(layout.table.is_none());
    }

    #[test]
    fn graph_and_tree_may_be_mixed() {
        let text = "- local_loop: {name: image0}
- partitioning:
    base: image0
    label: gpt
    partitions:
      - {name: ESP, size: 64MiB, type: EF00, mkfs: {type: vfat, mount: {mount_point: /boot/efi}}}
      - {name: root, size: 100%}
- mkfs: {base: root, name: mkfs_root, mount: {mount_point: /, fstab: {fsck-passno: 1}}}
";
        let mut layout = Layout::parse(text).expect("reads");
        layout.complete("ext4", "r");
        let table = layout.table.as_ref().expect("a table");
        assert_eq!(table.partitions[0].size, Size::Bytes(64 << 20));
        assert_eq!(table.partitions[1].size, Size::Share(1_000_000));
        assert_eq!(layout.file_systems[0].label.as_deref(), Some("MKFS_ESP"));
        assert_eq!(
            layout.root().and_then(|fs| fs.partition.as_deref()),
            Some("root")
        );
        assert_eq!(layout.mount_points(), ["/", "/boot/efi"]);
        assert_eq!(layout.fstab(), "LABEL=r / ext4 defaults 0 1\n");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| Layout::parse(text).expect_err("wrong").to_string();
        assert!(error("- nosuch: {}").contains("nosuch"));
        assert!(error("- text").contains("not a dict"));
        assert!(error("- {local_loop: {name: a}, mkfs: {}}").contains("single"));
        assert!(error("- local_loop: {name: disk}").contains("image0"));
    }
}
