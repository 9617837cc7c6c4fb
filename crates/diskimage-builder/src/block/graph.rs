//! What is made, in which order: entries become nodes, nodes are sorted by what they stand on.
//!
//! Everything that can be known to be wrong without making anything is found here.

use std::collections::BTreeSet;

use serde_json::Value;

use super::config::{Entry, text_of};
use super::{BlockError, wrong};
use crate::layout::{Size, size_of};

/// Something to be made, with the names of what must be there before.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it stands on.
    pub needs: Vec<String>,
    /// What is done.
    pub work: Work,
}

/// What is done for a node.
#[derive(Debug, Clone)]
pub enum Work {
    /// An image file with a loop device.
    Loop(Loop),
    /// A partition table with all its partitions.
    Table(Table),
    /// Nothing of its own: it is made together with another node.
    Part,
    /// Physical volumes, groups, logical volumes.
    Volumes(Volumes),
    /// A file system, or swap.
    FileSystem(FileSystem),
    /// A mount.
    Mount {
        /// The file system.
        base: String,
        /// Where, in the image.
        point: String,
    },
    /// A line of fstab.
    Fstab {
        /// The mount.
        base: String,
        /// Options.
        options: String,
        /// Dump frequency.
        dump: i64,
        /// Pass of fsck.
        pass: i64,
    },
}

/// An image file.
#[derive(Debug, Clone)]
pub struct Loop {
    /// Bytes; `None` is the size that was measured.
    pub bytes: Option<u64>,
    /// Its folder; `None` is the usual one.
    pub directory: Option<String>,
    /// Bytes of a sector.
    pub sector: u64,
}

/// A partition table.
#[derive(Debug, Clone)]
pub struct Table {
    /// The disk.
    pub base: String,
    /// `gpt`, else `mbr`.
    pub gpt: bool,
    /// Bytes to whose multiples partitions are aligned (MBR).
    pub align: u64,
    /// Its partitions.
    pub partitions: Vec<Partition>,
}

/// A partition.
#[derive(Debug, Clone)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// Its size.
    pub size: Size,
    /// Its type as the configuration spells it.
    pub kind: String,
    /// Machines start from it.
    pub boot: bool,
    /// It stands in the table itself.
    pub primary: bool,
}

/// A file system.
#[derive(Debug, Clone)]
pub struct FileSystem {
    /// The device.
    pub base: String,
    /// Its type.
    pub kind: String,
    /// Its label.
    pub label: String,
    /// Options for the program that makes it.
    pub options: Vec<String>,
    /// Its identity.
    pub uuid: String,
}

/// Logical volumes.
#[derive(Debug, Clone)]
pub struct Volumes {
    /// Physical volumes: name, device, options.
    pub physical: Vec<(String, String, Vec<String>)>,
    /// Groups: name, physical volumes, options.
    pub groups: Vec<(String, Vec<String>, Vec<String>)>,
    /// Logical volumes.
    pub logical: Vec<Logical>,
}

/// A logical volume.
#[derive(Debug, Clone)]
pub struct Logical {
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: String,
    /// Arguments of `lvcreate` that tell kind and size, and options.
    pub arguments: Vec<String>,
}

/// Extents of LVM have this size.
const EXTENT: u64 = 4 << 20;

/// Decides what is made, in order.
pub fn nodes(entries: &[Entry], sector: Option<u64>) -> Result<Vec<Node>, BlockError> {
    let mut graph = Graph {
        nodes: Vec::new(),
        mounts: Vec::new(),
        labels: BTreeSet::new(),
        sector,
    };
    for entry in entries {
        graph.add(entry)?;
    }
    graph.order_mounts();
    sort(graph.nodes)
}

struct Graph {
    nodes: Vec<Node>,
    /// Mount points with the names of their nodes.
    mounts: Vec<(String, String)>,
    labels: BTreeSet<String>,
    sector: Option<u64>,
}

impl Graph {
    fn put(&mut self, name: String, needs: Vec<String>, work: Work) -> Result<(), BlockError> {
        if self.nodes.iter().any(|node| node.name == name) {
            return Err(wrong(format!("the name {name} is used more than once")));
        }
        self.nodes.push(Node { name, needs, work });
        Ok(())
    }

    fn add(&mut self, entry: &Entry) -> Result<(), BlockError> {
        match entry.plugin.as_str() {
            "local_loop" => self.disk(entry),
            "partitioning" => self.table(entry),
            "lvm" => self.volumes(entry),
            "mkfs" => self.file_system(entry),
            "mount" => self.mount(entry),
            _ => self.fstab(entry),
        }
    }

    fn disk(&mut self, entry: &Entry) -> Result<(), BlockError> {
        let bytes = entry.text("size").map(|text| absolute(&text)).transpose()?;
        let own = entry
            .text("block_size")
            .map(|text| absolute(&text))
            .transpose()?;
        let work = Work::Loop(Loop {
            bytes,
            directory: entry.text("directory"),
            sector: self.sector.or(own).unwrap_or(512),
        });
        self.put(entry.name(), Vec::new(), work)
    }

    fn table(&mut self, entry: &Entry) -> Result<(), BlockError> {
        let base = need(entry, "base")?;
        let list = entry.settings.get("partitions").and_then(Value::as_array);
        let list = list.ok_or_else(|| wrong("partitioning needs `partitions`"))?;
        let gpt = match entry.text("label").as_deref() {
            Some("gpt") => true,
            Some("mbr") => false,
            Some(_) => return Err(wrong("the label of a partitioning must be mbr or gpt")),
            None => return Err(wrong("partitioning needs a `label`")),
        };
        let align = entry
            .text("align")
            .map(|text| absolute(&text))
            .transpose()?;
        let mut partitions = Vec::new();
        for settings in list {
            partitions.push(partition(settings, gpt)?);
        }
        let names: Vec<String> = partitions
            .iter()
            .map(|part: &Partition| part.name.clone())
            .collect();
        let mut work = Some(Work::Table(Table {
            base: base.clone(),
            gpt,
            align: align.unwrap_or(1 << 20),
            partitions,
        }));
        let mut before = base;
        for name in names {
            // The first one makes the table, the others wait for it.
            self.put(
                name.clone(),
                vec![before],
                work.take().unwrap_or(Work::Part),
            )?;
            before = name;
        }
        Ok(())
    }

    fn file_system(&mut self, entry: &Entry) -> Result<(), BlockError> {
        let (base, kind) = (need(entry, "base")?, need(entry, "type")?);
        let mut label = entry.text("label").unwrap_or_else(|| entry.name());
        if ["vfat", "fat"].contains(&kind.as_str()) {
            label.make_ascii_uppercase();
        }
        if !self.labels.insert(label.clone()) {
            return Err(wrong(format!(
                "the file system label {label} is used more than once"
            )));
        }
        let longest = match kind.as_str() {
            "ext2" | "ext3" | "ext4" | "swap" => 16,
            "xfs" => 12,
            "vfat" | "fat" => 11,
            _ => usize::MAX,
        };
        if label.chars().count() > longest {
            return Err(wrong(format!(
                "the label `{label}` is too long for {kind}: {longest} characters"
            )));
        }
        let uuid = entry
            .text("uuid")
            .unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let work = Work::FileSystem(FileSystem {
            base: base.clone(),
            kind,
            label,
            options: words(entry.settings.get("opts")),
            uuid,
        });
        self.put(entry.name(), vec![base], work)
    }

    fn mount(&mut self, entry: &Entry) -> Result<(), BlockError> {
        let (base, point) = (need(entry, "base")?, need(entry, "mount_point")?);
        if self.mounts.iter().any(|(known, _)| *known == point) {
            return Err(wrong(format!(
                "the mount point {point} is specified more than once"
            )));
        }
        self.mounts.push((point.clone(), entry.name()));
        let needs = vec![base.clone()];
        self.put(entry.name(), needs, Work::Mount { base, point })
    }

    /// Outer mounts come before inner ones.
    fn order_mounts(&mut self) {
        self.mounts.sort();
        for pair in self.mounts.windows(2) {
            let [(_, before), (_, after)] = pair else {
                continue;
            };
            if let Some(node) = self.nodes.iter_mut().find(|node| node.name == *after) {
                node.needs.push(before.clone());
            }
        }
    }

    fn fstab(&mut self, entry: &Entry) -> Result<(), BlockError> {
        let base = need(entry, "base")?;
        let number = |key: &str, default: i64| {
            entry
                .text(key)
                .and_then(|text| text.parse().ok())
                .unwrap_or(default)
        };
        let work = Work::Fstab {
            base: base.clone(),
            options: entry
                .text("options")
                .unwrap_or_else(|| "defaults".to_owned()),
            dump: number("dump-freq", 0),
            pass: number("fsck-passno", 2),
        };
        self.put(entry.name(), vec![base], work)
    }

    fn volumes(&mut self, entry: &Entry) -> Result<(), BlockError> {
        let list = |key: &str| {
            let list = entry.settings.get(key).and_then(Value::as_array);
            list.ok_or_else(|| wrong(format!("lvm needs `{key}`")))
        };
        let (pvs, vgs, lvs) = (list("pvs")?, list("vgs")?, list("lvs")?);
        let mut volumes = Volumes {
            physical: Vec::new(),
            groups: Vec::new(),
            logical: Vec::new(),
        };
        for item in pvs {
            let name = member(item, "name", "pvs")?;
            volumes.physical.push((
                name,
                member(item, "base", "pvs")?,
                words(item.get("options")),
            ));
        }
        for item in vgs {
            let name = member(item, "name", "vgs")?;
            let base = item.get("base").and_then(Value::as_array);
            let base = base.ok_or_else(|| wrong("the base of an entry of vgs must be a list"))?;
            let base: Vec<String> = base.iter().filter_map(text_of).collect();
            for volume in &base {
                if !volumes.physical.iter().any(|(known, ..)| known == volume) {
                    return Err(wrong(format!("vgs: the base {volume} is none of the pvs")));
                }
            }
            volumes
                .groups
                .push((name, base, words(item.get("options"))));
        }
        for item in lvs {
            let logical = logical(item)?;
            if !volumes
                .groups
                .iter()
                .any(|(known, ..)| *known == logical.group)
            {
                return Err(wrong(format!(
                    "lvs: the base {} is none of the vgs",
                    logical.group
                )));
            }
            volumes.logical.push(logical);
        }
        let own = entry.name();
        let devices = volumes
            .physical
            .iter()
            .map(|(_, device, _)| device.clone())
            .collect();
        for (name, ..) in &volumes.physical {
            self.put(name.clone(), vec![own.clone()], Work::Part)?;
        }
        for (name, base, _) in &volumes.groups {
            self.put(name.clone(), base.clone(), Work::Part)?;
        }
        for volume in &volumes.logical {
            self.put(volume.name.clone(), vec![volume.group.clone()], Work::Part)?;
        }
        self.put(own, devices, Work::Volumes(volumes))
    }
}

fn need(entry: &Entry, key: &str) -> Result<String, BlockError> {
    entry
        .text(key)
        .ok_or_else(|| wrong(format!("{} `{}` needs [{key}]", entry.plugin, entry.name())))
}

fn member(item: &Value, key: &str, list: &str) -> Result<String, BlockError> {
    item.get(key)
        .and_then(text_of)
        .ok_or_else(|| wrong(format!("an entry of {list} needs `{key}`")))
}

/// Words, given as a list or as text with blanks between.
fn words(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(text_of).collect(),
        Some(Value::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn partition(settings: &Value, gpt: bool) -> Result<Partition, BlockError> {
    let name = member(settings, "name", "partitions")?;
    let flags = words(settings.get("flags"));
    for flag in &flags {
        if !["boot", "primary"].contains(&flag.as_str()) {
            return Err(wrong(format!("partition `{name}`: unknown flag {flag}")));
        }
        if flag == "primary" && gpt {
            return Err(wrong(format!(
                "partition `{name}`: the flag primary is not supported for GPT"
            )));
        }
    }
    let size = member(settings, "size", "partitions")?;
    let default = if gpt { "8300" } else { "0x83" };
    let kind = match settings.get("type") {
        // YAML reads 0x83 as a number.
        Some(Value::Number(number)) if !gpt => {
            format!("{:#x}", number.as_u64().unwrap_or_default())
        }
        Some(value) => text_of(value).unwrap_or_default(),
        None => default.to_owned(),
    };
    let has = |flag: &str| flags.iter().any(|known| known == flag);
    Ok(Partition {
        size: size_of(&size).map_err(|error| wrong(error.to_string()))?,
        kind,
        boot: has("boot"),
        primary: has("primary"),
        name,
    })
}

fn logical(item: &Value) -> Result<Logical, BlockError> {
    let name = member(item, "name", "lvs")?;
    let group = member(item, "base", "lvs")?;
    let text = |key: &str| item.get(key).and_then(text_of);
    let kind = text("type");
    let mut arguments = Vec::new();
    for (option, value) in [("--type", &kind), ("--thin-pool", &text("thin-pool"))] {
        if let Some(value) = value {
            arguments.extend([option.to_owned(), value.clone()]);
        }
    }
    match (text("size"), text("extents")) {
        (Some(size), _) => {
            let bytes = absolute(&size)? / EXTENT * EXTENT;
            let option = if kind.as_deref() == Some("thin") {
                "-V"
            } else {
                "-L"
            };
            arguments.extend([option.to_owned(), format!("{bytes}B")]);
        }
        (None, Some(extents)) => arguments.extend(["-l".to_owned(), extents]),
        (None, None) => return Err(wrong(format!("lvs: `{name}` needs `size` or `extents`"))),
    }
    arguments.extend(words(item.get("options")));
    Ok(Logical {
        name,
        group,
        arguments,
    })
}

/// A size in bytes.
pub fn absolute(text: &str) -> Result<u64, BlockError> {
    match size_of(text) {
        Ok(Size::Bytes(bytes)) => Ok(bytes),
        Ok(Size::Share(_)) => Err(wrong(format!("`{text}` is not a size"))),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// Sorts by what nodes stand on; what could come at the same time keeps its order.
fn sort(mut nodes: Vec<Node>) -> Result<Vec<Node>, BlockError> {
    for node in &nodes {
        for needed in &node.needs {
            if !nodes.iter().any(|other| other.name == *needed) {
                return Err(wrong(format!(
                    "`{}` has an unknown base `{needed}`",
                    node.name
                )));
            }
        }
    }
    let mut sorted: Vec<Node> = Vec::new();
    while !nodes.is_empty() {
        let ready = |node: &Node| {
            node.needs
                .iter()
                .all(|needed| sorted.iter().any(|done| done.name == *needed))
        };
        let (now, later): (Vec<Node>, Vec<Node>) = nodes.into_iter().partition(|node| ready(node));
        if now.is_empty() {
            let names: Vec<&str> = later.iter().map(|node| node.name.as_str()).collect();
            return Err(wrong(format!(
                "these stand on each other: {}",
                names.join(", ")
            )));
        }
        sorted.extend(now);
        nodes = later;
    }
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use super::super::config::parse;
    use super::*;

    fn names(text: &str) -> Result<String, String> {
        let entries = parse(text).map_err(|error| error.to_string())?;
        let nodes = nodes(&entries, None).map_err(|error| error.to_string())?;
        let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        Ok(names.join(" "))
    }

    #[test]
    fn mounts_follow_their_paths_and_volumes_their_disks() {
        let text = "- mkfs: {name: b, base: lv, type: ext4, mount: {name: mb, mount_point: /boot}}
- mkfs: {name: r, base: root, type: ext4, mount: {name: mr, mount_point: /}}
- lvm:
    name: lvm
    pvs: [{name: pv, base: data}]
    vgs: [{name: vg, base: [pv]}]
    lvs: [{name: lv, base: vg, size: 30MiB}]
- partitioning:
    base: image0
    label: gpt
    partitions: [{name: root, size: 1GiB}, {name: data, size: 100%}]
- local_loop: {name: image0}
";
        assert_eq!(
            names(text).expect("sorts"),
            "image0 root r data mr lvm pv vg lv b mb"
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| names(text).expect_err("wrong");
        let loops = "- local_loop: {name: a}\n- local_loop: {name: a}\n";
        assert!(error(loops).contains("a is used more than once"));
        assert!(error("- mkfs: {base: x, type: ext4}").contains("unknown base `x`"));
        assert!(error("- mkfs: {base: x}").contains("needs [type]"));
        let cycle =
            "- mkfs: {name: a, base: b, type: ext4}\n- mkfs: {name: b, base: a, type: ext4}\n";
        assert!(error(cycle).contains("stand on each other"));
        assert!(error("- local_loop: {name: a, size: 10 %}").contains("not a size"));
        let lvm = "- lvm: {name: l, pvs: [{name: p, base: x}], vgs: [], lvs: [{name: v, base: g, size: 1M}]}";
        assert!(error(lvm).contains("none of the vgs"));
    }
}
