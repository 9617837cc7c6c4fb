//! The file system that UEFI starts from: FAT, filled by mtools.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::program::{ProgramError, run};

/// A file for the ESP.
#[derive(Debug)]
pub struct EspFile<'a> {
    /// Path on the ESP, such as `EFI/BOOT/BOOTX64.EFI`.
    pub path: &'a str,
    /// Where its bytes are.
    pub source: &'a Path,
}

/// Makes a FAT file system of `size` bytes at `offset` of `image` and copies `files` into it.
pub fn make(
    image: &Path,
    offset: u64,
    size: u64,
    label: &str,
    files: &[EspFile<'_>],
) -> Result<(), ProgramError> {
    let kib = (size / 1024).to_string();
    let sectors = (offset / 512).to_string();
    run(Command::new("mkfs.vfat")
        // The type follows the size of the whole image if it is not said.
        .args([
            "-F", "32", "-s", "1", "-n", label, "-i", "1d0e5b00", "--offset", &sectors,
        ])
        .arg(image)
        .arg(kib))?;
    add(image, offset, files)
}

/// A program of mtools at work on the file system at `offset` of `image`.
fn tool(program: &str, image: &Path, offset: u64) -> Command {
    let mut drive = image.as_os_str().to_owned();
    drive.push(format!("@@{offset}"));
    let mut command = Command::new(program);
    // Two numbers of the geometry are wrong for mtools in images this small; nothing uses them.
    command.env("MTOOLS_SKIP_CHECK", "1").arg("-i").arg(&drive);
    command
}

/// Copies `files` into the file system at `offset` of `image`; files of the same name are replaced.
pub fn add(image: &Path, offset: u64, files: &[EspFile<'_>]) -> Result<(), ProgramError> {
    let mut made = std::collections::BTreeSet::new();
    for file in files {
        let parts: Vec<&str> = file.path.split('/').collect();
        for depth in 1..parts.len() {
            let folder = parts[..depth].join("/");
            let path = format!("::{folder}");
            // A folder that is there is no failure; mmd would ask what to do.
            if made.insert(folder) && run(tool("mdir", image, offset).arg(&path)).is_err() {
                run(tool("mmd", image, offset).arg(path))?;
            }
        }
        run(tool("mcopy", image, offset)
            .arg("-o")
            .arg(file.source)
            .arg(format!("::{}", file.path)))?;
    }
    Ok(())
}

/// Copies all that lies in `folder` into the file system at `offset` of `image`.
pub fn add_tree(image: &Path, offset: u64, folder: &Path) -> Result<(), ProgramError> {
    let failed = |source| ProgramError::Start {
        program: format!("mcopy from {}", folder.display()),
        source,
    };
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        entries.push(entry.map_err(failed)?.path());
    }
    if entries.is_empty() {
        return Ok(());
    }
    entries.sort();
    run(tool("mcopy", image, offset)
        .args(["-s", "-o", "-Q"])
        .args(entries)
        .arg("::"))
    .map(drop)
}

/// Writes `bytes` to a new file at `path`, for [`EspFile::source`].
pub fn stage(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    File::create(path)?.write_all(bytes)
}
