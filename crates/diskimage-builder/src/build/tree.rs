//! The tree of an image: its size, its resolver, what no image should carry.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{BuildError, file};

/// What `du` counts: blocks, each file once.
pub(crate) fn tree_kib(root: &Path) -> io::Result<u64> {
    fn walk(path: &Path, seen: &mut BTreeSet<(u64, u64)>, sectors: &mut u64) -> io::Result<()> {
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let metadata = entry.path().symlink_metadata()?;
            if metadata.nlink() < 2
                || metadata.is_dir()
                || seen.insert((metadata.dev(), metadata.ino()))
            {
                *sectors += metadata.blocks();
            }
            if metadata.is_dir() {
                walk(&entry.path(), seen, sectors)?;
            }
        }
        Ok(())
    }
    let mut sectors = root.symlink_metadata()?.blocks();
    walk(root, &mut BTreeSet::new(), &mut sectors)?;
    Ok(sectors / 2)
}

/// Programs in the chroot find names as the host does; the image's own file waits beside.
pub(super) fn use_host_resolver(root: &Path) -> Result<(), BuildError> {
    let (own, kept) = (
        root.join("etc/resolv.conf"),
        root.join("etc/resolv.conf.ORIG"),
    );
    if own.symlink_metadata().is_ok() {
        std::fs::rename(&own, &kept).map_err(file("rename", &own))?;
    }
    if root.join("etc").is_dir() {
        let text = std::fs::read("/etc/resolv.conf").unwrap_or_default();
        std::fs::write(&own, text).map_err(file("write", &own))?;
    }
    Ok(())
}

pub(super) fn restore_resolver(root: &Path) -> Result<(), BuildError> {
    let (own, kept) = (
        root.join("etc/resolv.conf"),
        root.join("etc/resolv.conf.ORIG"),
    );
    let have = kept.symlink_metadata().is_ok();
    // A hook that made it a link, or immutable, means it.
    if own.is_symlink() || is_immutable(&own) {
        return if have {
            std::fs::remove_file(&kept).map_err(file("remove", &kept))
        } else {
            Ok(())
        };
    }
    if have {
        std::fs::rename(&kept, &own).map_err(file("restore", &own))
    } else if own.exists() {
        std::fs::remove_file(&own).map_err(file("remove", &own))
    } else {
        Ok(())
    }
}

fn is_immutable(path: &Path) -> bool {
    let flags = File::open(path)
        .ok()
        .and_then(|file| rustix::fs::ioctl_getflags(&file).ok());
    flags.is_some_and(|flags| flags.contains(rustix::fs::IFlags::IMMUTABLE))
}

/// Takes away what no image should carry: temporary files, logs of the build.
pub(super) fn strip(root: &Path) -> Result<(), BuildError> {
    let tmp = root.join("tmp");
    for entry in std::fs::read_dir(&tmp).into_iter().flatten().flatten() {
        crate::stage::remove_tree(&entry.path());
    }
    empty_files(&root.join("var/log"));
    remove_logs(&root.join("root"));
    Ok(())
}

fn empty_files(path: &Path) {
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            empty_files(&path);
        } else if path.is_file() {
            let _ = File::options().write(true).truncate(true).open(&path);
        }
    }
}

fn remove_logs(path: &Path) {
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            remove_logs(&path);
        } else if path.extension().is_some_and(|extension| extension == "log") {
            let _ = std::fs::remove_file(&path);
        }
    }
}
