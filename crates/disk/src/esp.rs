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
    files: &[EspFile<'_>],
) -> Result<(), ProgramError> {
    let kib = (size / 1024).to_string();
    let sectors = (offset / 512).to_string();
    run(Command::new("mkfs.vfat")
        // The type follows the size of the whole image if it is not said.
        .args([
            "-F", "32", "-s", "1", "-n", "ESP", "-i", "1d0e5b00", "--offset", &sectors,
        ])
        .arg(image)
        .arg(kib))?;
    let mut drive = image.as_os_str().to_owned();
    drive.push(format!("@@{offset}"));
    let tool = |program: &str| {
        let mut command = Command::new(program);
        // Two numbers of the geometry are wrong for mtools in images this small; nothing uses them.
        command.env("MTOOLS_SKIP_CHECK", "1").arg("-i").arg(&drive);
        command
    };
    let mut made = std::collections::BTreeSet::new();
    for file in files {
        let parts: Vec<&str> = file.path.split('/').collect();
        for depth in 1..parts.len() {
            let folder = parts[..depth].join("/");
            if made.insert(folder.clone()) {
                run(tool("mmd").arg(format!("::{folder}")))?;
            }
        }
        run(tool("mcopy")
            .arg("-o")
            .arg(file.source)
            .arg(format!("::{}", file.path)))?;
    }
    Ok(())
}

/// Writes `bytes` to a new file at `path`, for [`EspFile::source`].
pub fn stage(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    File::create(path)?.write_all(bytes)
}
