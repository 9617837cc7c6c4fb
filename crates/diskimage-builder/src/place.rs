//! Mounts of a build, all inside the worker's own mount namespace.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// A mount failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot mount {what} at {path}", path = path.display())]
pub struct MountError {
    what: String,
    path: PathBuf,
    source: io::Error,
}

impl MountError {
    /// What can be done about it.
    pub fn hint(&self) -> Option<String> {
        (self.what == "overlay").then(|| {
            "layers need a cache on ext4, xfs, btrfs or tmpfs (not on another overlay): set --image-cache".to_owned()
        })
    }
}

const NONE: Option<&str> = None;

fn failed(what: &str, path: &Path) -> impl Fn(nix::Error) -> MountError {
    let (what, path) = (what.to_owned(), path.to_owned());
    move |error| MountError {
        what: what.clone(),
        path: path.clone(),
        source: error.into(),
    }
}

/// Mounts a tmpfs.
pub fn tmpfs(at: &Path, options: &str) -> Result<(), MountError> {
    mount(
        Some("tmpfs"),
        at,
        Some("tmpfs"),
        MsFlags::empty(),
        Some(options),
    )
    .map_err(failed("tmpfs", at))
}

/// Shows `source` at `at` too.
pub fn bind(source: &Path, at: &Path) -> Result<(), MountError> {
    mount(Some(source), at, NONE, MsFlags::MS_BIND, NONE).map_err(failed("a folder", at))
}

/// Shows `source` at `at` too, for reading only.
pub fn bind_read_only(source: &Path, at: &Path) -> Result<(), MountError> {
    bind(source, at)?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(NONE, at, NONE, flags, NONE).map_err(failed("a folder", at))
}

/// Stacks trees: `lower` from the top down, changes go to `upper`.
pub fn overlay(lower: &[PathBuf], upper: &Path, work: &Path, at: &Path) -> Result<(), MountError> {
    let make = |path: &Path| {
        std::fs::create_dir_all(path).map_err(|source| MountError {
            what: "overlay".to_owned(),
            path: path.to_owned(),
            source,
        })
    };
    make(work)?;
    let escape = |path: &Path| {
        path.display()
            .to_string()
            .replace('\\', "\\\\")
            .replace(':', "\\:")
            .replace(',', "\\,")
    };
    let lower: Vec<String> = lower.iter().map(|path| escape(path)).collect();
    let folders = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        escape(upper),
        escape(work)
    );
    let attempt = |features: &str| {
        let options = format!("{folders},index=off,xino=on,{features}");
        mount(
            Some("overlay"),
            at,
            Some("overlay"),
            MsFlags::empty(),
            Some(options.as_str()),
        )
    };
    match attempt("redirect_dir=off,metacopy=off") {
        // Root of a user namespace keeps notes of overlayfs in attributes of users; the features are off then.
        Err(Errno::EPERM) => attempt("userxattr"),
        other => other,
    }
    .map_err(failed("overlay", at))
}

/// Takes away every mount at and below `path`.
pub fn unmount_all(path: &Path) {
    let mut points = mount_points_below(path);
    points.sort_unstable();
    for point in points.iter().rev() {
        let _ = umount2(point, MntFlags::MNT_DETACH);
    }
}

/// Mount points at and below `path`.
pub fn mount_points_below(path: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| PathBuf::from(unescape(point)))
        .filter(|point| point.starts_with(path))
        .collect()
}

/// mountinfo writes blanks and the like in octal.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'\\' {
            let digits: Vec<u8> = rest.by_ref().take(3).collect();
            let number = std::str::from_utf8(&digits)
                .ok()
                .and_then(|digits| u8::from_str_radix(digits, 8).ok());
            bytes.push(number.unwrap_or(b'?'));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Device nodes that every program may expect.
const DEVICES: &[(&str, u64, u64)] = &[
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Mounts /proc, /sys (for reading), and a /dev of its own: hooks must not touch the host's devices.
pub fn system_mounts(root: &Path) -> Result<(), MountError> {
    let io_failed = |path: &Path| {
        let path = path.to_owned();
        move |source| MountError {
            what: "the system's folders".to_owned(),
            path: path.clone(),
            source,
        }
    };
    for folder in ["proc", "sys", "dev"] {
        let path = root.join(folder);
        if !path.is_dir() {
            std::fs::create_dir(&path).map_err(io_failed(&path))?;
        }
    }
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let proc = root.join("proc");
    mount(Some("proc"), &proc, Some("proc"), safe, NONE).map_err(failed("proc", &proc))?;
    let sys = root.join("sys");
    let mounted = mount(
        Some("sysfs"),
        &sys,
        Some("sysfs"),
        safe | MsFlags::MS_RDONLY,
        NONE,
    );
    match mounted {
        // Root of a user namespace may only show the machine's.
        Err(Errno::EPERM) => {
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some("/sys"), &sys, NONE, flags, NONE).map_err(failed("sysfs", &sys))?;
        }
        other => other.map_err(failed("sysfs", &sys))?,
    }
    let dev = root.join("dev");
    tmpfs(&dev, "mode=755,size=16m")?;
    for (name, major, minor) in DEVICES {
        let mode = Mode::from_bits_truncate(0o666);
        let path = dev.join(name);
        match mknod(&path, SFlag::S_IFCHR, mode, makedev(*major, *minor)) {
            // Root of a user namespace may make none.
            Err(Errno::EPERM) => {
                File::create(&path).map_err(io_failed(&path))?;
                bind(&Path::new("/dev").join(name), &path)?;
                continue;
            }
            other => other.map_err(failed("a device", &path))?,
        }
        nix::sys::stat::fchmodat(
            nix::fcntl::AT_FDCWD,
            &path,
            mode,
            nix::sys::stat::FchmodatFlags::FollowSymlink,
        )
        .map_err(failed("a device", &path))?;
    }
    for (target, name) in [
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
        ("pts/ptmx", "ptmx"),
    ] {
        symlink(target, dev.join(name)).map_err(io_failed(&dev))?;
    }
    for folder in ["pts", "shm"] {
        let path = dev.join(folder);
        std::fs::create_dir(&path).map_err(io_failed(&path))?;
    }
    tmpfs(&dev.join("shm"), "mode=1777,size=512m")?;
    let pts = dev.join("pts");
    let options = "newinstance,ptmxmode=0666,mode=0620,gid=5";
    mount(
        Some("devpts"),
        &pts,
        Some("devpts"),
        MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC,
        Some(options),
    )
    .map_err(failed("devpts", &pts))
}

/// Opens a block device or file only if it is one: used for hints.
pub fn is_device(path: &Path) -> bool {
    File::open(path)
        .and_then(|file| file.metadata())
        .is_ok_and(|metadata| metadata.file_type().is_block_device())
}

/// Moves a mount to another place.
pub fn move_mount(from: &Path, to: &Path) -> Result<(), MountError> {
    mount(Some(from), to, NONE, MsFlags::MS_MOVE, NONE).map_err(failed("a moved folder", to))
}
