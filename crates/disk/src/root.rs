//! The root partition of an image, and how far it can grow.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::gpt::{ALIGNMENT, Gpt, GptError, Partition, kind};

/// Where the superblock of ext4 lies, and in it the magic number.
const EXT_SUPERBLOCK: u64 = 1024;

/// The root partition: by its type, else the last file system of Linux. Gives its number too.
pub fn root_partition(table: &Gpt) -> Option<(usize, &Partition)> {
    let typed = |wanted: &[uuid::Uuid]| {
        table
            .numbered()
            .filter(|(_, p)| wanted.contains(&p.kind))
            .last()
    };
    typed(&[kind::ROOT_AMD64, kind::ROOT_ARM64]).or_else(|| typed(&[kind::LINUX]))
}

/// How a partition may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growth {
    /// Number of the partition.
    pub number: usize,
    /// Its last sector now.
    pub last: u64,
    /// The last sector that it may have.
    pub limit: u64,
}

/// How far the root partition can grow: to what follows it, or to the end of the disk.
pub fn root_growth(table: &Gpt) -> Option<Growth> {
    let (number, root) = root_partition(table)?;
    let next = table
        .numbered()
        .map(|(_, p)| p.first)
        .filter(|first| *first > root.last)
        .min();
    let limit = next.map_or(table.last_usable(), |first| first - 1);
    // Ends are kept at whole mebibytes, as fdisk and systemd-repart do.
    let limit = ((limit + 1) / ALIGNMENT * ALIGNMENT)
        .saturating_sub(1)
        .max(root.last);
    Some(Growth {
        number,
        last: root.last,
        limit,
    })
}

/// Lets the root partition take the room behind it. The file system in it grows when the node boots.
pub fn grow_root(disk: &File) -> Result<Option<Growth>, GptError> {
    let mut table = Gpt::read(disk)?;
    let Some(growth) = root_growth(&table) else {
        return Ok(None);
    };
    if let Some(Some(root)) = table.partitions.get_mut(growth.number - 1) {
        root.last = growth.limit;
    }
    table.write(disk)?;
    Ok(Some(growth))
}

/// The size in bytes of an ext2, ext3 or ext4 file system at `offset`, if there is one.
pub fn ext_size(disk: &File, offset: u64) -> Option<u64> {
    let mut block = [0; 1024];
    disk.read_exact_at(&mut block, offset + EXT_SUPERBLOCK)
        .ok()?;
    let number =
        |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    if block[56..58] != [0x53, 0xef] {
        return None;
    }
    let high = if number(96) & 0x80 != 0 {
        u64::from(number(336)) << 32
    } else {
        0
    };
    1024_u64
        .checked_shl(number(24))?
        .checked_mul(high | u64::from(number(4)))
}
