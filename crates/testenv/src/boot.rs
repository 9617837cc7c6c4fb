//! What a machine starts from, and the preparation of it.
//!
//! [`decide`] looks at media and disks and chooses; [`prepare`] mounts or unpacks what was chosen below the
//! machine's own directory; [`clear`] takes it away. Contents of media are read in user space: the kernel
//! may lack their file systems.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use disk::config_drive::find_config_drive;
use disk::gpt::Gpt;
use disk::iso::IsoReader;
use disk::root::{ext_size, root_partition};

use crate::error::LabError;
use crate::program::run;

/// How long the kernel may take to let go of a disk of a lab that was killed.
const RELEASING: Duration = Duration::from_secs(10);

/// What firmware may start from; the words of Redfish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Device {
    /// Virtual media.
    Cd,
    /// The first disk.
    Hdd,
    /// The network.
    Pxe,
}

/// A run of bytes on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Where it starts.
    pub offset: u64,
    /// How long it is.
    pub size: u64,
}

/// What a machine starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootPlan {
    /// The program `/init` of an ISO image.
    Media {
        /// The image.
        image: PathBuf,
    },
    /// The operating system on a disk.
    Disk {
        /// The disk.
        disk: PathBuf,
        /// Its root partition.
        root: Part,
        /// Whether a file system of the ext family is smaller than its partition; `None` for other kinds.
        grow: Option<bool>,
        /// The partition with the config drive.
        config_drive: Option<Part>,
    },
    /// Nothing: the firmware says why and waits.
    Nothing {
        /// One line per device that was tried.
        why: Vec<String>,
    },
}

/// A root directory to start, with what is shown in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The root directory.
    pub root: PathBuf,
    /// Whether an operating system's init is started, or just `/init`.
    pub system: bool,
    /// The tree of the config drive.
    pub config_drive: Option<PathBuf>,
}

/// Chooses the first device of `order` that can be started.
pub fn decide(order: &[Device], media: Option<&Path>, disks: &[PathBuf]) -> BootPlan {
    let mut why = Vec::new();
    for device in order {
        let reason = match device {
            Device::Cd => match media.map(|image| (image, has_init(image))) {
                Some((image, Ok(()))) => {
                    return BootPlan::Media {
                        image: image.to_owned(),
                    };
                }
                Some((_, Err(reason))) => reason,
                None => "no medium inserted".to_owned(),
            },
            Device::Hdd => match disks.first().map(|disk| on_disk(disk)) {
                Some(Ok(plan)) => return plan,
                Some(Err(reason)) => reason,
                None => "there is no disk".to_owned(),
            },
            Device::Pxe => "machines of kind container do not start from the network".to_owned(),
        };
        why.push(format!("{device:?}: {reason}"));
    }
    BootPlan::Nothing { why }
}

fn has_init(image: &Path) -> Result<(), String> {
    let file = File::open(image).map_err(|error| error.to_string())?;
    let iso = IsoReader::open(file).map_err(|error| error.to_string())?;
    let found = iso
        .entries()
        .iter()
        .any(|entry| entry.path == "init" && !entry.is_directory());
    found
        .then_some(())
        .ok_or_else(|| "the medium has no `/init`".to_owned())
}

fn on_disk(disk: &Path) -> Result<BootPlan, String> {
    let file = File::open(disk).map_err(|error| error.to_string())?;
    let table = Gpt::read(&file).map_err(|error| error.to_string())?;
    let (_, root) = root_partition(&table).ok_or("the disk has no root partition")?;
    let root = Part {
        offset: root.offset(),
        size: root.size(),
    };
    let config_drive = find_config_drive(&table).map(|part| Part {
        offset: part.offset(),
        size: part.size(),
    });
    Ok(BootPlan::Disk {
        disk: disk.to_owned(),
        root,
        grow: ext_size(&file, root.offset).map(|size| size < root.size),
        config_drive,
    })
}

/// Makes what was chosen ready below `directory`. Gives nothing if there is nothing to start.
pub fn prepare(plan: &BootPlan, directory: &Path) -> Result<Option<Prepared>, LabError> {
    let root = directory.join("root");
    fs::create_dir_all(&root).map_err(LabError::io(format!("make {}", root.display())))?;
    match plan {
        BootPlan::Nothing { .. } => Ok(None),
        BootPlan::Media { image } => {
            let file =
                File::open(image).map_err(LabError::io(format!("open {}", image.display())))?;
            unpack(file, image, &root)?;
            // systemd-nspawn takes a directory for a root only if it has /usr.
            let usr = root.join("usr");
            fs::create_dir_all(&usr).map_err(LabError::io(format!("make {}", usr.display())))?;
            Ok(Some(Prepared {
                root,
                system: false,
                config_drive: None,
            }))
        }
        BootPlan::Disk {
            disk,
            root: part,
            grow,
            config_drive,
        } => {
            mount(disk, *part, *grow, &root)?;
            let mut shown = None;
            if let Some(part) = config_drive {
                let tree = directory.join("config-2");
                fs::create_dir_all(&tree)
                    .map_err(LabError::io(format!("make {}", tree.display())))?;
                let file =
                    File::open(disk).map_err(LabError::io(format!("open {}", disk.display())))?;
                unpack(
                    Window {
                        file,
                        part: *part,
                        at: 0,
                    },
                    disk,
                    &tree,
                )?;
                shown = Some(tree);
            }
            Ok(Some(Prepared {
                root,
                system: true,
                config_drive: shown,
            }))
        }
    }
}

fn unpack<R: Read + Seek>(input: R, source: &Path, target: &Path) -> Result<(), LabError> {
    let unreadable = |error: disk::iso::IsoReadError| {
        let mut said = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            said = format!("{said}: {inner}");
            cause = inner.source();
        }
        LabError::Command {
            command: format!("reading the ISO image in {}", source.display()),
            said,
        }
    };
    IsoReader::open(input)
        .and_then(|mut iso| iso.extract(target))
        .map_err(unreadable)
}

fn mount(disk: &Path, part: Part, grow: Option<bool>, target: &Path) -> Result<(), LabError> {
    wait_released(disk)?;
    let mut options = format!("loop,offset={},sizelimit={}", part.offset, part.size);
    if grow.is_some() {
        // What was written survives the machine and the lab in the host's page cache, as in the cache of a
        // disk with a battery: waiting for the host's own disk at each flush would only cost time.
        options.push_str(",barrier=0");
    }
    if grow == Some(true) {
        grow_ext(disk, part)?;
    }
    run(Command::new("mount")
        .args(["-o", &options])
        .arg(disk)
        .arg(target))?;
    if kind_of(target).as_deref() == Some("xfs") {
        run(Command::new("xfs_growfs").arg("-d").arg(target))?;
    }
    Ok(())
}

/// A loop device that is let go of as soon as it is open goes away with the last process that has it open,
/// however that ends. (`resize2fs` on the file itself would cut off what lies behind the partition.)
const GROW: &str = r#"set -e; d=$(losetup --find --show --offset "$2" --sizelimit "$3" "$1"); exec 3<>"$d"
losetup --detach "$d"; resize2fs -f "$d" 2>&1"#;

/// Lets a file system of the ext family fill its partition, before it is mounted: growing a mounted one
/// takes a right (`CAP_SYS_RESOURCE`) that root does not have everywhere.
fn grow_ext(disk: &Path, part: Part) -> Result<(), LabError> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", GROW, "grow"]).arg(disk);
    run(command.args([part.offset.to_string(), part.size.to_string()]))?;
    wait_released(disk)
}

/// Lets go of loop devices that a lab killed at the wrong moment left on its disks.
pub fn release_disks(disks: &Path) -> Result<(), LabError> {
    let devices = fs::read_dir("/sys/block").map_err(LabError::io("read /sys/block"))?;
    for device in devices.flatten() {
        let backing =
            fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
        if Path::new(backing.trim_end()).starts_with(disks) {
            run(Command::new("losetup")
                .arg("--detach")
                .arg(Path::new("/dev").join(device.file_name())))?;
        }
    }
    Ok(())
}

/// Waits until no loop device of an earlier mount holds the disk: two mounts of one disk would ruin it.
fn wait_released(disk: &Path) -> Result<(), LabError> {
    let until = Instant::now() + RELEASING;
    while held(disk) {
        if Instant::now() > until {
            return Err(LabError::Command {
                command: format!("starting from {}", disk.display()),
                said: "a loop device of the host still holds this disk (see `losetup -a`)"
                    .to_owned(),
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn held(disk: &Path) -> bool {
    let disk = fs::canonicalize(disk).unwrap_or_else(|_| disk.to_owned());
    let Ok(devices) = fs::read_dir("/sys/block") else {
        return false;
    };
    devices.flatten().any(|device| {
        fs::read_to_string(device.path().join("loop/backing_file"))
            .is_ok_and(|backing| Path::new(backing.trim_end()) == disk)
    })
}

/// The kind of file system at a mount point.
fn kind_of(target: &Path) -> Option<String> {
    let text = fs::read_to_string("/proc/self/mounts").ok()?;
    text.lines().rev().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        (Path::new(point) == target).then(|| kind.to_owned())
    })
}

/// Takes away what [`prepare`] made.
pub fn clear(directory: &Path) -> Result<(), LabError> {
    let root = directory.join("root");
    while kind_of(&root).is_some() {
        run(Command::new("umount").arg(&root))?;
    }
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LabError::io(format!(
            "remove {}",
            directory.display()
        ))(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A part of a disk, read as a file of its own.
struct Window {
    file: File,
    part: Part,
    at: u64,
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.part.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let count = self
            .file
            .read_at(&mut buffer[..wanted], self.part.offset + self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(by) => self.part.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
