//! GRUB for BIOS and UEFI without mounting anything and without `grub-install`.
//!
//! The core image goes to the BIOS boot partition, `boot.img` to the first sector, both patched to find
//! each other. For UEFI `grub-mkimage` makes one program for the ESP. Both look for the root file
//! system by its label and read `/boot/grub/grub.cfg` there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::gpt::{Partition, SECTOR};
use crate::program::{ProgramError, run};

/// Where the modules of GRUB lie, by platform, on Debian.
const MODULES: &str = "/usr/lib/grub";

/// What both platforms need to find and read a root file system in a GPT.
const COMMON: &[&str] = &[
    "part_gpt",
    "ext2",
    "xfs",
    "btrfs",
    "search",
    "search_label",
    "configfile",
    "normal",
    "linux",
    "gzio",
    "echo",
    "test",
    "sleep",
    "serial",
    "terminal",
    "ls",
    "minicmd",
    "all_video",
    "gfxterm",
];

/// Why the boot loader cannot be put in place.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The image of GRUB is larger than its partition.
    #[error("GRUB's core image has {size} bytes, its partition {room}")]
    TooLarge {
        /// Bytes of the image.
        size: u64,
        /// Bytes of the partition.
        room: u64,
    },
    /// A file of GRUB or the image cannot be read or written.
    #[error("cannot read or write {path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// `grub-mkimage` failed.
    #[error("cannot make GRUB's image")]
    Make {
        /// What went wrong.
        source: ProgramError,
    },
}

/// A platform of GRUB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// PC with BIOS.
    Bios,
    /// 64 bit UEFI of PCs.
    EfiAmd64,
}

impl Platform {
    fn name(self) -> &'static str {
        match self {
            Self::Bios => "i386-pc",
            Self::EfiAmd64 => "x86_64-efi",
        }
    }

    fn extra_modules(self) -> &'static [&'static str] {
        match self {
            // Only machines with BIOS start from the old partition table.
            Self::Bios => &["biosdisk", "part_msdos"],
            Self::EfiAmd64 => &["fat", "efi_gop", "efi_uga"],
        }
    }
}

/// The configuration built into GRUB's image: find the root file system and go on there.
pub fn early_configuration(root_label: &str) -> String {
    format!(
        "search --no-floppy --set=root --label {root_label}\nset prefix=($root)/boot/grub\n\
         configfile $prefix/grub.cfg\n"
    )
}

/// Makes GRUB's image for `platform` in `directory`, which must exist. Gives its path.
pub fn make_image(
    platform: Platform,
    root_label: &str,
    directory: &Path,
) -> Result<PathBuf, BootError> {
    let configuration = directory.join(format!("{}.cfg", platform.name()));
    let image = directory.join(format!("{}.img", platform.name()));
    std::fs::write(&configuration, early_configuration(root_label)).map_err(|source| {
        BootError::File {
            path: configuration.clone(),
            source,
        }
    })?;
    let mut command = Command::new("grub-mkimage");
    command
        .args(["-O", platform.name(), "-p", "/boot/grub", "-c"])
        .arg(&configuration);
    command
        .arg("-o")
        .arg(&image)
        .args(COMMON)
        .args(platform.extra_modules());
    let available = |module: &str| {
        Path::new(MODULES)
            .join(platform.name())
            .join(format!("{module}.mod"))
            .exists()
    };
    let missing = !available("normal");
    run(&mut command).map_err(|source| BootError::Make {
        source: match source {
            ProgramError::Failed {
                program,
                code,
                said,
            } if missing => ProgramError::Failed {
                program,
                code,
                said: format!(
                    "{said}; the modules for {} are not installed",
                    platform.name()
                ),
            },
            other => other,
        },
    })?;
    Ok(image)
}

/// Puts GRUB for BIOS into `disk`: its core image into `partition`, its first sector into that of the disk.
pub fn embed(disk: &File, partition: &Partition, core: &Path) -> Result<(), BootError> {
    let boot_path = Path::new(MODULES).join("i386-pc/boot.img");
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| BootError::File {
            path: path.to_owned(),
            source,
        })
    };
    let mut boot = read(&boot_path)?;
    let mut core_bytes = read(core)?;
    let room = partition.size();
    let size = core_bytes.len() as u64;
    if size > room || size < 2 * SECTOR {
        return Err(BootError::TooLarge { size, room });
    }
    // The first sector of the core image says where its rest lies: start, number of sectors, segment.
    let rest =
        u16::try_from(size.div_ceil(SECTOR) - 1).map_err(|_| BootError::TooLarge { size, room })?;
    core_bytes[0x1f4..0x1fc].copy_from_slice(&(partition.first + 1).to_le_bytes());
    core_bytes[0x1fc..0x1fe].copy_from_slice(&rest.to_le_bytes());
    core_bytes[0x1fe..0x200].copy_from_slice(&0x0820_u16.to_le_bytes());
    // boot.img must know where the core image starts; the two NOPs make it use the drive that BIOS names.
    boot[0x5c..0x64].copy_from_slice(&partition.first.to_le_bytes());
    boot[0x66..0x68].copy_from_slice(&[0x90, 0x90]);
    let failed = |source| BootError::File {
        path: PathBuf::from("the image"),
        source,
    };
    disk.write_all_at(&core_bytes, partition.offset())
        .map_err(failed)?;
    // From byte 440 on the sector belongs to the partition table.
    disk.write_all_at(&boot[..440], 0).map_err(failed)
}
