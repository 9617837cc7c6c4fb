//! A raw disk made from the tree by a layout: table, file systems, boot loader. Nothing is mounted but
//! folders of the build.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use disk::boot::{self, BootError, Platform};
use disk::ext4::Ext4;
use disk::gpt::{self, Gpt, GptError, Partition};
use disk::mbr::{Mbr, MbrError, Wanted};
use disk::program::{ProgramError, run};
use uuid::Uuid;

use crate::layout::{FileSystem, Layout, LayoutError, PartitionSpec, Size, TableKind};
use crate::phases::tell;
use crate::place::{self, MountError};
use crate::plan::BuildPlan;
use crate::settings::{Settings, Surroundings};
use crate::stage::Workspace;

const MIB: u64 = 1 << 20;

/// Why a disk cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The partition table cannot be written.
    #[error("cannot write the partition table")]
    Table {
        /// What went wrong.
        source: GptError,
    },
    /// The partition table of the old kind cannot be written.
    #[error("cannot write the partition table")]
    OldTable {
        /// What went wrong.
        source: MbrError,
    },
    /// A file system cannot be made.
    #[error("cannot make the file system of {mount_point}")]
    FileSystem {
        /// Where it is mounted.
        mount_point: String,
        /// What went wrong.
        source: ProgramError,
    },
    /// The layout cannot be made.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// No way is known to make such a file system without mounting it.
    #[error("file system `{kind}` of {mount_point} is not supported: ext4, vfat and btrfs are")]
    Kind {
        /// Its type.
        kind: String,
        /// Where it is mounted.
        mount_point: String,
    },
    /// The boot loader cannot be put in place.
    #[error("cannot put the boot loader in place")]
    Boot {
        /// What went wrong.
        source: BootError,
    },
    /// A folder cannot be shown elsewhere.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The raw file cannot be written.
    #[error("cannot write {path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl DiskError {
    /// What can be done about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::FileSystem { source, .. } => source.hint().or_else(|| {
                Some("if it does not fit, raise --image-size; a small one may need a smaller --mkfs-journal-size".to_owned())
            }),
            Self::Boot { source: BootError::Make { source } } => source.hint(),
            Self::Kind { .. } => Some("set FS_TYPE=ext4".to_owned()),
            Self::Table { .. }
            | Self::OldTable { .. }
            | Self::Layout(_)
            | Self::Boot { .. }
            | Self::Mount(_)
            | Self::File { .. } => None,
        }
    }
}

/// Where a file system goes.
#[derive(Debug, Clone)]
struct Room {
    offset: u64,
    size: u64,
}

/// Makes the raw disk at `raw`, which has the size of the image already.
pub fn make(
    settings: &Settings,
    plan: &BuildPlan,
    around: &Surroundings,
    workspace: &Workspace,
    tree: &Path,
    raw: &Path,
) -> Result<(), DiskError> {
    let failed = |source| DiskError::File {
        path: raw.to_owned(),
        source,
    };
    plan.layout.check()?;
    let disk = File::options()
        .read(true)
        .write(true)
        .open(raw)
        .map_err(failed)?;
    let size = disk.metadata().map_err(failed)?.len();
    let maker = Maker {
        settings,
        around,
        workspace,
        tree,
        raw,
        layout: &plan.layout,
    };
    let table = maker.partition(&disk, size)?;
    for (number, fs) in plan.layout.file_systems.iter().enumerate() {
        let room = match (&fs.partition, &table) {
            (Some(name), Some(table)) => {
                let Some((_, partition)) = table.named(name) else {
                    continue;
                };
                Room {
                    offset: partition.offset(),
                    size: partition.size(),
                }
            }
            _ => Room { offset: 0, size },
        };
        maker.file_system(number, fs, &room)?;
    }
    match table {
        Some(table) if plan.boot_loader => maker.boot_loader(&disk, &table),
        Some(_) | None => Ok(()),
    }
}

/// The options of the program that makes the file system of root.
pub fn root_options(settings: &Settings, kind: &str) -> String {
    let mut options = Vec::new();
    if kind == "ext4" {
        options.push(format!("-i 4096 -J size={}", settings.journal_mib));
    }
    let resize = settings
        .exported
        .iter()
        .find(|(name, _)| name == "MAX_ONLINE_RESIZE");
    options.extend(resize.map(|(_, blocks)| format!("-E resize={blocks}")));
    options.push(settings.mkfs_options.clone());
    options.join(" ").trim().to_owned()
}

/// Puts GRUB for UEFI at `target`.
pub fn efi_program(
    plan: &BuildPlan,
    workspace: &Workspace,
    target: &Path,
) -> Result<(), DiskError> {
    let label = plan
        .layout
        .root()
        .and_then(|fs| fs.label.as_deref())
        .unwrap_or_default();
    let image = boot::make_image(Platform::EfiAmd64, label, &workspace.image)
        .map_err(|source| DiskError::Boot { source })?;
    std::fs::copy(&image, target)
        .map(drop)
        .map_err(|source| DiskError::File {
            path: target.to_owned(),
            source,
        })
}

/// What a disk that was made on devices lacks when these are gone: GRUB for BIOS, if it is ours to install.
pub fn finish_attached(
    settings: &Settings,
    plan: &BuildPlan,
    workspace: &Workspace,
    raw: &Path,
) -> Result<(), DiskError> {
    if !plan.boot_loader || settings.arch != "amd64" {
        return Ok(());
    }
    let disk = File::options()
        .read(true)
        .write(true)
        .open(raw)
        .map_err(|source| DiskError::File {
            path: raw.to_owned(),
            source,
        })?;
    let place = match plan.layout.table.as_ref().map(|table| table.kind) {
        None => return Ok(()),
        Some(TableKind::Mbr) => Some(mbr_gap()),
        Some(TableKind::Gpt) => {
            let table = Gpt::read(&disk).map_err(|source| DiskError::Table { source })?;
            let bios = table
                .numbered()
                .find(|(_, part)| part.kind == gpt::kind::BIOS_BOOT);
            bios.map(|(_, partition)| partition.clone())
        }
    };
    let Some(place) = place else { return Ok(()) };
    let failed = |source| DiskError::Boot { source };
    let label = plan
        .layout
        .root()
        .and_then(|fs| fs.label.as_deref())
        .unwrap_or_default();
    let image = boot::make_image(Platform::Bios, label, &workspace.image).map_err(failed)?;
    boot::embed(&disk, &place, &image).map_err(failed)?;
    tell("GRUB for BIOS is in place");
    Ok(())
}

struct Maker<'a> {
    settings: &'a Settings,
    around: &'a Surroundings,
    workspace: &'a Workspace,
    tree: &'a Path,
    raw: &'a Path,
    layout: &'a Layout,
}

impl Maker<'_> {
    /// An identity: random, or the same each time if the build is to be reproducible.
    fn identity(&self, of: &str) -> Uuid {
        match self.around.variable("SOURCE_DATE_EPOCH") {
            Some(epoch) => Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{epoch} {of}").as_bytes()),
            None => Uuid::new_v4(),
        }
    }

    fn partition(&self, disk: &File, size: u64) -> Result<Option<Gpt>, DiskError> {
        let Some(spec) = &self.layout.table else {
            return Ok(None);
        };
        if spec.kind == TableKind::Mbr {
            return self.partition_mbr(disk, size, &spec.partitions).map(Some);
        }
        let failed = |source| DiskError::Table { source };
        let mut table = Gpt::new(self.identity("disk"), size / gpt::SECTOR);
        for (number, partition) in spec.partitions.iter().enumerate() {
            let last = number + 1 == spec.partitions.len();
            let bytes = match partition.size {
                Size::Bytes(bytes) => Some(bytes),
                Size::Share(_) if last => None,
                Size::Share(share) => Some(share_of(&table, share)),
            };
            let kind = self.partition_type(partition);
            table
                .append(kind, self.identity(&partition.name), &partition.name, bytes)
                .map_err(failed)?;
        }
        table.write(disk).map_err(failed)?;
        Ok(Some(table))
    }

    /// Writes the old kind of table. Gives the places of its partitions in the form of the new kind.
    fn partition_mbr(
        &self,
        disk: &File,
        size: u64,
        specs: &[PartitionSpec],
    ) -> Result<Gpt, DiskError> {
        let failed = |source| DiskError::OldTable { source };
        let id = self.identity("disk");
        let sectors = size / gpt::SECTOR;
        let mut table = Mbr::new(id.as_fields().0, sectors, gpt::ALIGNMENT);
        let mut places = Gpt::new(id, sectors);
        for spec in specs {
            let bytes = match spec.size {
                Size::Bytes(bytes) => bytes,
                Size::Share(share) => {
                    table.free() / 1_000_000 * share + table.free() % 1_000_000 * share / 1_000_000
                }
            };
            let kind = spec.kind.trim_start_matches("0x");
            let wanted = Wanted {
                name: &spec.name,
                bytes,
                kind: u8::from_str_radix(kind, 16).unwrap_or(0x83),
                primary: spec.primary,
                boot: spec.boot,
            };
            table.append(&wanted).map_err(failed)?;
            let entry = table
                .entries
                .last()
                .map_or((0, 0), |entry| (entry.first, entry.sectors));
            places.partitions.push(Some(Partition {
                kind: gpt::kind::LINUX,
                id: self.identity(&spec.name),
                name: spec.name.clone(),
                first: entry.0,
                last: entry.0 + entry.1 - 1,
                attributes: 0,
            }));
        }
        table.write(disk).map_err(failed)?;
        Ok(places)
    }

    /// The type of a partition; root gets the one by which it is known.
    fn partition_type(&self, partition: &PartitionSpec) -> Uuid {
        if let Ok(kind) = Uuid::parse_str(&partition.kind) {
            return kind;
        }
        let is_root = self
            .layout
            .root()
            .is_some_and(|fs| fs.partition.as_ref() == Some(&partition.name));
        match partition.kind.to_ascii_lowercase().as_str() {
            "ef00" => gpt::kind::ESP,
            "ef02" => gpt::kind::BIOS_BOOT,
            "8304" => gpt::kind::ROOT_AMD64,
            "8305" => gpt::kind::ROOT_ARM64,
            _ if is_root && self.settings.arch == "amd64" => gpt::kind::LINUX,
            _ => gpt::kind::LINUX,
        }
    }

    /// Makes one file system from its part of the tree.
    fn file_system(&self, number: usize, fs: &FileSystem, room: &Room) -> Result<(), DiskError> {
        let point = fs.mount_point.clone().unwrap_or_default();
        let kind = fs.kind.clone().unwrap_or_default();
        let label = fs.label.clone().unwrap_or_default();
        let source = self.part_of_tree(number, &point)?;
        let failed = |source| DiskError::FileSystem {
            mount_point: point.clone(),
            source,
        };
        tell(&format!(
            "Making file system {kind} with label {label} for {point}"
        ));
        match kind.as_str() {
            "ext4" => {
                let wanted = Ext4 {
                    label,
                    uuid: Some(self.identity(&fs.name)),
                    options: self.options(fs, &kind),
                };
                let size = room.size / 4096 * 4096;
                disk::ext4::make(&source, self.raw, room.offset, size, &wanted).map_err(failed)
            }
            "vfat" => self.fat(&label, &source, room).map_err(failed),
            "btrfs" => self.btrfs(fs, &source, room).map_err(failed),
            _ => Err(DiskError::Kind {
                kind,
                mount_point: point,
            }),
        }
    }

    fn options(&self, fs: &FileSystem, kind: &str) -> Vec<String> {
        let mut options = Vec::new();
        if fs.name == "mkfs_root" {
            let root = root_options(self.settings, kind);
            options.extend(root.split_whitespace().map(str::to_owned));
        }
        options.extend(fs.options.iter().cloned());
        options
    }

    fn fat(&self, label: &str, source: &Path, room: &Room) -> Result<(), ProgramError> {
        disk::esp::make(self.raw, room.offset, room.size, label, &[])?;
        disk::esp::add_tree(self.raw, room.offset, source)
    }

    fn btrfs(&self, fs: &FileSystem, source: &Path, room: &Room) -> Result<(), ProgramError> {
        let part = self.workspace.image.join("part.btrfs");
        let start = |source| ProgramError::Start {
            program: "mkfs.btrfs".to_owned(),
            source,
        };
        let file = File::create(&part).map_err(start)?;
        file.set_len(room.size / 4096 * 4096).map_err(start)?;
        let label = fs.label.as_deref().unwrap_or_default();
        run(Command::new("mkfs.btrfs")
            .args(["-q", "-L", label, "--rootdir"])
            .arg(source)
            .arg(&part))?;
        let input = File::open(&part).map_err(start)?;
        let target = File::options().write(true).open(self.raw).map_err(start)?;
        for extent in disk::sparse::extents(&input).map_err(start)? {
            let mut bytes = vec![0; usize::try_from(extent.length.min(MIB)).unwrap_or_default()];
            let mut done = 0;
            while done < extent.length {
                let length = usize::try_from((extent.length - done).min(MIB)).unwrap_or_default();
                input
                    .read_exact_at(&mut bytes[..length], extent.offset + done)
                    .map_err(start)?;
                target
                    .write_all_at(&bytes[..length], room.offset + extent.offset + done)
                    .map_err(start)?;
                done += length as u64;
            }
        }
        std::fs::remove_file(&part).map_err(start)
    }

    /// The folder that holds what belongs to the file system of `point`, and nothing of those below it.
    fn part_of_tree(&self, number: usize, point: &str) -> Result<PathBuf, DiskError> {
        let place = self.workspace.build.join(format!("part{number}"));
        let failed = |source| DiskError::File {
            path: place.clone(),
            source,
        };
        std::fs::create_dir_all(&place).map_err(failed)?;
        let source = self.tree.join(point.trim_start_matches('/'));
        std::fs::create_dir_all(&source).map_err(failed)?;
        place::bind(&source, &place)?;
        for other in self.layout.mount_points() {
            let below = Path::new(other).strip_prefix(Path::new(point));
            if let Ok(below) = below
                && !below.as_os_str().is_empty()
            {
                let cover = place.join(below);
                std::fs::create_dir_all(&cover).map_err(failed)?;
                place::tmpfs(&cover, "mode=755,size=64k")?;
            }
        }
        Ok(place)
    }

    fn boot_loader(&self, disk: &File, table: &Gpt) -> Result<(), DiskError> {
        let failed = |source| DiskError::Boot { source };
        let label = self
            .layout
            .root()
            .and_then(|fs| fs.label.as_deref())
            .unwrap_or_default();
        let is_mbr = self
            .layout
            .table
            .as_ref()
            .is_some_and(|table| table.kind == TableKind::Mbr);
        let bios = table
            .numbered()
            .find(|(_, partition)| partition.kind == gpt::kind::BIOS_BOOT);
        let gap = mbr_gap();
        let place = if is_mbr {
            Some(&gap)
        } else {
            bios.map(|(_, partition)| partition)
        };
        if self.settings.arch == "amd64"
            && let Some(place) = place
        {
            let image =
                boot::make_image(Platform::Bios, label, &self.workspace.image).map_err(failed)?;
            boot::embed(disk, place, &image).map_err(failed)?;
            tell("GRUB for BIOS is in place");
        }
        let esp = table
            .numbered()
            .find(|(_, partition)| partition.kind == gpt::kind::ESP);
        if self.settings.arch == "amd64"
            && !is_mbr
            && let Some((_, esp)) = esp
        {
            let image = boot::make_image(Platform::EfiAmd64, label, &self.workspace.image)
                .map_err(failed)?;
            let files = [disk::esp::EspFile {
                path: "EFI/BOOT/BOOTX64.EFI",
                source: &image,
            }];
            disk::esp::add(self.raw, esp.offset(), &files)
                .map_err(|source| failed(BootError::Make { source }))?;
            tell("GRUB for UEFI is in place");
        }
        Ok(())
    }
}

/// Between an MBR and the first partition lies a mebibyte that GRUB uses.
fn mbr_gap() -> Partition {
    Partition {
        kind: Uuid::nil(),
        id: Uuid::nil(),
        name: String::new(),
        first: 1,
        last: 2046,
        attributes: 0,
    }
}

fn share_of(table: &Gpt, share: u64) -> u64 {
    let used = table
        .numbered()
        .map(|(_, partition)| partition.last + 1)
        .max()
        .unwrap_or(gpt::ALIGNMENT);
    let left = table.last_usable().saturating_sub(used);
    left / 1_000_000 * share * gpt::SECTOR / MIB * MIB
}
