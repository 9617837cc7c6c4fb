//! Loop devices that cannot be left behind: the kernel takes one back when nobody has it open or mounted.
//!
//! `losetup` makes the device first and could only mark it afterwards; a process killed in between leaves it. Here
//! both are one call. No node below `/dev` is made: where `/dev` is not the kernel's, the caller makes it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// `LO_FLAGS_AUTOCLEAR` and `LO_FLAGS_PARTSCAN`; with the latter partition nodes go with the device.
const FLAGS: u32 = 4 | 8;
/// Bytes of the kernel's `struct loop_config`.
const CONFIG: usize = 304;
/// Where its fields lie: descriptor of the file, size of a sector, flags, name of the file.
const AT_FILE: usize = 0;
const AT_SECTOR: usize = 4;
const AT_FLAGS: usize = 60;
const AT_NAME: usize = 64;
/// Bytes of the name, with the zero at its end.
const NAME: usize = 64;
/// How often another device is asked for if somebody else takes the free one first.
const ATTEMPTS: usize = 50;

/// The numbers are in `linux/loop.h`.
mod kernel {
    nix::ioctl_none_bad!(free_device, 0x4c82);
    nix::ioctl_write_ptr_bad!(configure, 0x4c0a, [u8; super::CONFIG]);
}

/// A loop device, there as long as this value or a mount of it lives.
#[derive(Debug)]
pub struct LoopDevice {
    /// Open, so that the kernel does not take it back.
    file: File,
    path: PathBuf,
}

impl LoopDevice {
    /// Shows `image` as a block device with sectors of `sector` bytes.
    pub fn attach(image: &Path, sector: u32) -> io::Result<Self> {
        let backing = File::options().read(true).write(true).open(image)?;
        let control = File::options()
            .read(true)
            .write(true)
            .open("/dev/loop-control")?;
        let configuration = configuration(&backing, image, sector)?;
        let mut busy = io::Error::from(io::ErrorKind::ResourceBusy);
        for _ in 0..ATTEMPTS {
            let path = PathBuf::from(format!("/dev/loop{}", free(&control)?));
            let file = File::options().read(true).write(true).open(&path)?;
            match configure(&file, &configuration) {
                Ok(()) => return Ok(Self { file, path }),
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => busy = error,
                Err(error) => return Err(error),
            }
        }
        Err(busy)
    }

    /// Its node.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes out what the kernel holds back of it.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

fn configuration(backing: &File, image: &Path, sector: u32) -> io::Result<[u8; CONFIG]> {
    let mut bytes = [0; CONFIG];
    let file = u32::try_from(backing.as_raw_fd()).map_err(io::Error::other)?;
    for (at, value) in [(AT_FILE, file), (AT_SECTOR, sector), (AT_FLAGS, FLAGS)] {
        bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    let name = image.as_os_str().as_encoded_bytes();
    let length = name.len().min(NAME - 1);
    bytes[AT_NAME..AT_NAME + length].copy_from_slice(&name[..length]);
    Ok(bytes)
}

#[expect(unsafe_code, reason = "the kernel offers loop devices by ioctl only")]
fn free(control: &File) -> io::Result<i32> {
    // SAFETY: the call takes no argument and touches no memory of ours.
    unsafe { kernel::free_device(control.as_raw_fd()) }.map_err(io::Error::from)
}

#[expect(unsafe_code, reason = "the kernel offers loop devices by ioctl only")]
fn configure(device: &File, configuration: &[u8; CONFIG]) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as `struct loop_config` has, which is the size of the array.
    unsafe { kernel::configure(device.as_raw_fd(), configuration) }
        .map(drop)
        .map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn goes_when_nobody_holds_it() {
        if !rustix::process::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
            eprintln!("skipped: needs root and loop devices");
            return;
        }
        let mut image = tempfile::NamedTempFile::new().expect("file");
        image.as_file_mut().set_len(1 << 20).expect("size");
        let device = LoopDevice::attach(image.path(), 512).expect("attaches");
        device.file.write_all_at(b"here", 4096).expect("writes");
        device.sync().expect("syncs");
        let mut bytes = [0; 4];
        image
            .as_file()
            .read_exact_at(&mut bytes, 4096)
            .expect("reads");
        assert_eq!(&bytes, b"here");
        let name = device.path().file_name().expect("name").to_owned();
        let backing = Path::new("/sys/block").join(name).join("loop/backing_file");
        let inode_is_ours = || {
            std::fs::read_to_string(&backing)
                .is_ok_and(|path| path.trim() == image.path().display().to_string())
        };
        assert!(inode_is_ours());
        drop(device);
        assert!(!inode_is_ours(), "the kernel took it back");
    }
}
