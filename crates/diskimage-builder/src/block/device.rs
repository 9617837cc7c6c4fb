//! Makes the nodes of a graph one after another, and takes them down in reverse.
//!
//! A step is noted before it is tried where it leaves something, so that a failure in the middle is undone as well.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use disk::gpt::{self, Gpt};
use disk::loopdev::LoopDevice;
use disk::mbr::{Mbr, Wanted};
use uuid::Uuid;

use super::graph::{FileSystem, Loop, Node, Partition, Table, Volumes, Work};
use super::state::{State, Step};
use super::{BlockError, file, run, wrong};
use crate::layout::Size;

const MIB: u64 = 1 << 20;
/// How often something that is busy is tried again, and how long is waited: 20 seconds in all. What looks at a new
/// device or mount (udev, a file manager) is gone by then.
const ATTEMPTS: usize = 100;
const PAUSE: Duration = Duration::from_millis(200);

/// Where things are made.
#[derive(Debug, Clone)]
pub struct Places {
    /// The folder for image files.
    pub images: PathBuf,
    /// The folder that is the image's root.
    pub mounts: PathBuf,
    /// Bytes of an image whose configuration tells no size.
    pub bytes: Option<u64>,
    /// Everything is for this process only: devices go with it, and what the kernel cannot mount has a folder in memory
    /// instead.
    pub private: bool,
}

/// What was made.
#[derive(Debug, Default)]
pub struct Made {
    /// The steps.
    pub state: State,
    /// Folders in memory that stand for file systems which the kernel cannot mount, with the devices of these.
    pub stand_ins: Vec<(PathBuf, String)>,
    /// Keeps devices that are for this process only.
    held: Vec<LoopDevice>,
}

impl Made {
    /// Takes down what was made, as [`take_down`] does; disks that are for this process only go when they are released.
    pub fn take_down(&self, tell: &mut dyn FnMut(&BlockError)) -> bool {
        dismantle(&self.state, &self.held, tell)
    }

    /// Writes out what the kernel holds back of the disks, and lets them go.
    pub fn release(self) -> io::Result<()> {
        self.held.iter().try_for_each(LoopDevice::sync)
    }
}

/// Makes all `nodes`. After a failure nothing of them is left.
pub fn create(nodes: &[Node], places: &Places) -> Result<Made, BlockError> {
    let mut maker = Maker {
        places,
        made: Made::default(),
    };
    for node in nodes {
        if let Err(error) = maker.node(node) {
            maker.made.take_down(&mut |_| {});
            remove_images(&maker.made.state);
            return Err(error);
        }
    }
    Ok(maker.made)
}

/// Unmounts, closes and detaches everything, in reverse order. What fails is told to `tell`, and the rest goes on.
pub fn take_down(state: &State, tell: &mut dyn FnMut(&BlockError)) -> bool {
    dismantle(state, &[], tell)
}

fn dismantle(state: &State, held: &[LoopDevice], tell: &mut dyn FnMut(&BlockError)) -> bool {
    let is_held = |device: &str| held.iter().any(|held| held.path() == Path::new(device));
    let mut well = true;
    for step in state.steps.iter().rev() {
        let result = match step {
            Step::Mount {
                path: Some(path),
                kind,
                ..
            } => unmount(path, kind),
            Step::Logical { name, group, .. } => run(
                "close a volume",
                "lvchange",
                &["-an", &format!("{group}/{name}")],
            )
            .map(drop),
            Step::Group { name } => run("close a group", "vgchange", &["-an", name]).map(drop),
            Step::Partition {
                disk,
                number,
                device,
                ..
            } => forget(disk, *number, device),
            Step::Disk {
                device: Some(device),
                ..
            } if !is_held(device) => detach(device),
            Step::Disk { .. }
            | Step::Mount { path: None, .. }
            | Step::FileSystem { .. }
            | Step::Fstab { .. } => Ok(()),
        };
        if let Err(error) = result {
            tell(&error);
            well = false;
        }
    }
    well
}

/// Removes the image files.
pub fn remove_images(state: &State) {
    for step in &state.steps {
        if let Step::Disk { image, .. } = step {
            let _ = std::fs::remove_file(image);
        }
    }
}

struct Maker<'a> {
    places: &'a Places,
    made: Made,
}

impl Maker<'_> {
    fn node(&mut self, node: &Node) -> Result<(), BlockError> {
        match &node.work {
            Work::Loop(disk) => self.disk(&node.name, disk),
            Work::Table(table) => self.table(table),
            Work::Part => Ok(()),
            Work::Volumes(volumes) => self.volumes(volumes),
            Work::FileSystem(system) => self.file_system(&node.name, system),
            Work::Mount { base, point } => self.mount(&node.name, base, point),
            Work::Fstab {
                base,
                options,
                dump,
                pass,
            } => {
                let swap = self.made.state.steps.iter().any(|step| {
                    matches!(step, Step::Mount { name, kind, .. } if name == base && kind == "swap")
                });
                let columns = if swap {
                    "sw 0 0".to_owned()
                } else {
                    format!("{options} {dump} {pass}")
                };
                self.made.state.steps.push(Step::Fstab {
                    base: base.clone(),
                    columns,
                });
                Ok(())
            }
        }
    }

    fn device(&self, of: &str) -> Result<String, BlockError> {
        self.made
            .state
            .device(of)
            .map(str::to_owned)
            .ok_or_else(|| wrong(format!("the base `{of}` is no device")))
    }

    fn disk(&mut self, name: &str, disk: &Loop) -> Result<(), BlockError> {
        let folder = disk
            .directory
            .as_ref()
            .map_or(self.places.images.as_path(), Path::new);
        let image = folder.join(format!("{name}.raw"));
        let bytes = disk.bytes.or(self.places.bytes);
        let bytes = bytes.filter(|bytes| *bytes > 0);
        let bytes = bytes.ok_or_else(|| wrong(format!("`{name}` has no size")))?;
        let raw = File::create(&image).map_err(file("make", &image))?;
        let at = self.made.state.steps.len();
        self.made.state.steps.push(Step::Disk {
            name: name.to_owned(),
            image: image.clone(),
            device: None,
        });
        raw.set_len(bytes).map_err(file("make", &image))?;
        let device = if self.places.private {
            let sector = u32::try_from(disk.sector).unwrap_or(u32::MAX);
            let held = LoopDevice::attach(&image, sector)
                .map_err(file("make a loop device of", &image))?;
            let device = held.path().display().to_string();
            self.made.held.push(held);
            device
        } else {
            let (path, sector) = (image.display().to_string(), disk.sector.to_string());
            let arguments = ["--sector-size", &sector, "--show", "-f", &path];
            run("make a loop device", "losetup", &arguments)?
        };
        if let Some(Step::Disk { device: place, .. }) = self.made.state.steps.get_mut(at) {
            *place = Some(device);
        }
        Ok(())
    }

    fn table(&mut self, table: &Table) -> Result<(), BlockError> {
        let device = self.device(&table.base)?;
        let image = self.made.state.image(&table.base).map(Path::to_owned);
        let image = image.ok_or_else(|| wrong(format!("`{}` is no disk", table.base)))?;
        let raw = File::options()
            .read(true)
            .write(true)
            .open(&image)
            .map_err(file("open", &image))?;
        let places = if table.gpt {
            write_gpt(&raw, &image, &device, table)?
        } else {
            write_mbr(&raw, &image, table)?
        };
        for (partition, place) in table.partitions.iter().zip(places) {
            let node = format!("{device}p{}", place.number);
            self.made.state.steps.push(Step::Partition {
                name: partition.name.clone(),
                disk: device.clone(),
                number: place.number,
                device: node.clone(),
            });
            show(&device, place.number, &node)?;
        }
        Ok(())
    }

    fn volumes(&mut self, volumes: &Volumes) -> Result<(), BlockError> {
        fn texts(list: &[String]) -> Vec<&str> {
            list.iter().map(String::as_str).collect()
        }
        let mut devices = Vec::new();
        for (name, base, options) in &volumes.physical {
            let device = self.device(base)?;
            let mut arguments = vec![device.as_str()];
            arguments.extend(texts(options));
            run("make a physical volume", "pvcreate", &arguments)?;
            devices.push((name, device));
        }
        for (name, base, options) in &volumes.groups {
            let mut arguments = vec![name.as_str()];
            let of_group = devices.iter().filter(|(volume, _)| base.contains(volume));
            arguments.extend(of_group.map(|(_, device)| device.as_str()));
            arguments.extend(texts(options));
            run("make a volume group", "vgcreate", &arguments)?;
            self.made
                .state
                .steps
                .push(Step::Group { name: name.clone() });
        }
        for volume in &volumes.logical {
            let mut arguments = vec!["--name", volume.name.as_str()];
            arguments.extend(texts(&volume.arguments));
            arguments.push(&volume.group);
            run("make a logical volume", "lvcreate", &arguments)?;
            self.made.state.steps.push(Step::Logical {
                name: volume.name.clone(),
                group: volume.group.clone(),
                device: format!("/dev/{}/{}", volume.group, volume.name),
            });
        }
        Ok(())
    }

    fn file_system(&mut self, name: &str, system: &FileSystem) -> Result<(), BlockError> {
        let device = self.device(&system.base)?;
        let kind = system.kind.as_str();
        let mut arguments: Vec<&str> = Vec::new();
        if kind != "swap" {
            arguments.extend(["-t", kind]);
            arguments.extend(system.options.iter().map(String::as_str));
        }
        let fat = ["vfat", "fat"].contains(&kind);
        arguments.extend([if fat { "-n" } else { "-L" }, system.label.as_str()]);
        let identity = format!("uuid={}", system.uuid);
        match kind {
            "ext2" | "ext3" | "ext4" | "swap" | "btrfs" => arguments.extend(["-U", &system.uuid]),
            "xfs" => arguments.extend(["-m", &identity]),
            _ => {}
        }
        if ["ext2", "ext3", "ext4", "xfs", "btrfs"].contains(&kind) {
            arguments.push("-q");
        }
        arguments.push(&device);
        let program = if kind == "swap" { "mkswap" } else { "mkfs" };
        run(&format!("make the file system {name}"), program, &arguments)?;
        self.made.state.steps.push(Step::FileSystem {
            name: name.to_owned(),
            kind: system.kind.clone(),
            label: system.label.clone(),
            uuid: system.uuid.clone(),
            device,
        });
        Ok(())
    }

    fn mount(&mut self, name: &str, base: &str, point: &str) -> Result<(), BlockError> {
        let system = self.made.state.file_system(base);
        let (kind, _, device) = system
            .ok_or_else(|| wrong(format!("the base `{base}` of a mount is no file system")))?;
        let (kind, device) = (kind.to_owned(), device.to_owned());
        let mut step = (point.to_owned(), None);
        if kind == "swap" {
            step.0 = "none".to_owned();
        } else {
            let path = self.places.mounts.join(point.trim_start_matches('/'));
            let text = path.display().to_string();
            run("make a mount point", "mkdir", &["-p", &text])?;
            if self.places.private && kind == "vfat" && !is_mountable(&kind) {
                crate::place::tmpfs(&path, "mode=755").map_err(|error| wrong(error.to_string()))?;
                self.made.stand_ins.push((path.clone(), device));
            } else {
                run(&format!("mount {name}"), "mount", &[&device, &text])?;
            }
            step.1 = Some(path);
        }
        self.made.state.steps.push(Step::Mount {
            name: name.to_owned(),
            base: base.to_owned(),
            point: step.0,
            path: step.1,
            kind,
        });
        Ok(())
    }
}

/// Where a partition lies.
struct Place {
    number: usize,
    bytes: u64,
}

fn table_failed<E: std::error::Error + Send + Sync + 'static>(
    path: &Path,
) -> impl Fn(E) -> BlockError {
    let path = path.to_owned();
    move |source| BlockError::Table {
        path: path.clone(),
        source: Box::new(source),
    }
}

fn write_mbr(raw: &File, image: &Path, table: &Table) -> Result<Vec<Place>, BlockError> {
    let bytes = raw.metadata().map_err(file("read", image))?.len();
    let id = Uuid::new_v4().as_fields().0;
    let mut mbr = Mbr::new(
        id,
        bytes / disk::mbr::SECTOR,
        table.align / disk::mbr::SECTOR,
    );
    for partition in &table.partitions {
        let kind = partition.kind.trim_start_matches("0x");
        let kind = u8::from_str_radix(kind, 16).map_err(|_| {
            wrong(format!(
                "partition `{}`: {} is not a type",
                partition.name, partition.kind
            ))
        })?;
        let wanted = Wanted {
            name: &partition.name,
            bytes: bytes_of(partition, mbr.free()),
            kind,
            primary: partition.primary,
            boot: partition.boot,
        };
        mbr.append(&wanted)
            .map_err(|error| wrong(error.to_string()))?;
    }
    mbr.write(raw).map_err(table_failed(image))?;
    let place = |entry: &disk::mbr::Entry| Place {
        number: entry.number,
        bytes: entry.size(),
    };
    Ok(mbr.entries.iter().map(place).collect())
}

fn bytes_of(partition: &Partition, free: u64) -> u64 {
    match partition.size {
        Size::Bytes(bytes) => bytes,
        // In this order nothing overflows, and 100 % is all.
        Size::Share(share) => (u128::from(free) * u128::from(share) / 1_000_000) as u64,
    }
}

/// Partitions one behind the other, each of whole mebibytes; two of these stay free for the tables.
fn write_gpt(
    raw: &File,
    image: &Path,
    device: &str,
    table: &Table,
) -> Result<Vec<Place>, BlockError> {
    let total = raw.metadata().map_err(file("read", image))?.len();
    let mut free = total.saturating_sub(2 * MIB);
    let mut places = Vec::new();
    for (at, partition) in table.partitions.iter().enumerate() {
        let bytes = bytes_of(partition, free);
        if bytes > free || bytes < MIB {
            return Err(wrong(format!(
                "partition `{}`: no room for {bytes} bytes, {free} are left",
                partition.name
            )));
        }
        free -= bytes;
        let bytes = bytes / MIB * MIB;
        places.push(Place {
            number: at + 1,
            bytes,
        });
    }
    let kinds: Option<Vec<Uuid>> = table
        .partitions
        .iter()
        .map(|part| type_of(&part.kind))
        .collect();
    let sector = run(
        "ask for the size of a sector",
        "blockdev",
        &["--getss", device],
    )?;
    match kinds {
        Some(kinds) if sector == "512" => {
            let mut gpt = Gpt::new(Uuid::new_v4(), total / gpt::SECTOR);
            for (partition, kind) in table.partitions.iter().zip(kinds) {
                let bytes = places.get(gpt.partitions.len()).map(|place| place.bytes);
                gpt.append(kind, Uuid::new_v4(), &partition.name, bytes)
                    .map_err(table_failed(image))?;
            }
            gpt.write(raw).map_err(table_failed(image))?;
        }
        _ => by_sgdisk(device, table, &places)?,
    }
    Ok(places)
}

/// Sectors of another size, and the types that only this program knows.
fn by_sgdisk(device: &str, table: &Table, places: &[Place]) -> Result<(), BlockError> {
    let mut arguments = vec![device.to_owned()];
    for (partition, place) in table.partitions.iter().zip(places) {
        let number = place.number;
        arguments.extend([
            "-n".to_owned(),
            format!("{number}:0:+{}M", place.bytes / MIB),
            "-t".to_owned(),
            format!("{number}:{}", partition.kind),
            "-c".to_owned(),
            format!("{number}:{}", partition.name),
        ]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run("partition a disk", "sgdisk", &arguments).map(drop)
}

fn type_of(kind: &str) -> Option<Uuid> {
    if let Ok(kind) = Uuid::parse_str(kind) {
        return Some(kind);
    }
    match kind.to_ascii_lowercase().as_str() {
        "ef00" => Some(gpt::kind::ESP),
        "ef02" => Some(gpt::kind::BIOS_BOOT),
        "8300" => Some(gpt::kind::LINUX),
        "8304" => Some(gpt::kind::ROOT_AMD64),
        "8305" => Some(gpt::kind::ROOT_ARM64),
        _ => None,
    }
}

/// One partition, as `partx` wants to be told of it.
fn only(number: usize) -> String {
    format!("{number}:{number}")
}

/// Makes the kernel show a partition as a device.
fn show(disk: &str, number: usize, node: &str) -> Result<(), BlockError> {
    // The table was written into the file: what the device holds of it in memory may be older.
    run("read a disk again", "blockdev", &["--flushbufs", disk])?;
    // Debian 13 has no `addpart`.
    let shown = run(
        "show a partition",
        "partx",
        &["--add", "--nr", &only(number), disk],
    );
    let short = |path: &str| path.trim_start_matches("/dev/").to_owned();
    let numbers = format!("/sys/block/{}/{}/dev", short(disk), short(node));
    let Ok(text) = std::fs::read_to_string(&numbers) else {
        return shown.map(drop);
    };
    // Where /dev is not the kernel's (containers), nobody makes the node.
    if !Path::new(node).exists()
        && let Some((major, minor)) = text.trim().split_once(':')
    {
        run("make a device node", "mknod", &[node, "b", major, minor])?;
    }
    Ok(())
}

fn forget(disk: &str, number: usize, node: &str) -> Result<(), BlockError> {
    let is_shown = Path::new(node)
        .metadata()
        .is_ok_and(|metadata| metadata.file_type().is_block_device());
    if !is_shown {
        return Ok(());
    }
    patiently(|| {
        run(
            "hide a partition",
            "partx",
            &["--delete", "--nr", &only(number), disk],
        )
        .map(drop)
    })?;
    let _ = std::fs::remove_file(node);
    Ok(())
}

/// Detaches a loop device, and waits until it is gone: while anyone else has it open, if only to look at it, the kernel
/// takes the wish and keeps the file.
fn detach(device: &str) -> Result<(), BlockError> {
    let name = device.trim_start_matches("/dev/");
    let backing = PathBuf::from(format!("/sys/block/{name}/loop/backing_file"));
    let held = std::fs::read_to_string(&backing).unwrap_or_default();
    patiently(|| run("detach a loop device", "losetup", &["-d", device]).map(drop))?;
    // Gone, or already somebody else's.
    let is_kept = || std::fs::read_to_string(&backing).is_ok_and(|file| file == held);
    for _ in 0..ATTEMPTS {
        if !is_kept() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    Err(BlockError::Held {
        device: device.to_owned(),
    })
}

fn unmount(path: &Path, kind: &str) -> Result<(), BlockError> {
    let text = path.display().to_string();
    if !is_mounted(path) {
        return Ok(());
    }
    if kind != "vfat" {
        // Blocks of removed files become holes. Not every file system and kernel can.
        let _ = run("write out", "sync", &["-f", &text]);
        let _ = run("trim", "fstrim", &[&text]);
    }
    patiently(|| run("unmount", "umount", &[&text]).map(drop))
}

fn is_mounted(path: &Path) -> bool {
    crate::place::mount_points_below(path)
        .iter()
        .any(|point| point == path)
}

/// Tries again while something is busy.
fn patiently(mut attempt: impl FnMut() -> Result<(), BlockError>) -> Result<(), BlockError> {
    let mut result = attempt();
    for _ in 0..ATTEMPTS {
        match &result {
            Err(BlockError::Program { source, .. }) if source.to_string().contains("busy") => {}
            Ok(()) | Err(_) => break,
        }
        std::thread::sleep(PAUSE);
        result = attempt();
    }
    result
}

/// Whether the kernel can mount a file system of this type, as far as it tells; modules are loaded by `mount`.
fn is_mountable(kind: &str) -> bool {
    let known = |text: &str| {
        text.lines()
            .any(|line| line.trim_start_matches("nodev").trim() == kind)
    };
    std::fs::read_to_string("/proc/filesystems").is_ok_and(|text| known(&text))
        || Command::new("modprobe")
            .args(["-q", kind])
            .status()
            .is_ok_and(|status| status.success())
}
