//! Wipes what tells of the last owner: partition tables and the signatures of file systems and volumes.
//!
//! Data between them stays, and disks that the orders do not name are not opened.

use std::fs::File;
use std::os::unix::fs::FileExt;

use disk::gpt::{Gpt, SECTOR, sectors_of};

use crate::error::AgentError;
use crate::{disks, say};

/// Signatures lie within this distance from the start or the end of what they name.
const REACH: u64 = 1 << 20;

/// Wipes the tables and signatures of a disk.
pub fn wipe(disk: &disks::Disk) -> Result<(), AgentError> {
    let shown = disk.path.display();
    say(&format!("wiping tables and signatures of {shown}"));
    let file = File::options()
        .read(true)
        .write(true)
        .open(&disk.path)
        .map_err(AgentError::io(format!("open {shown}")))?;
    let cannot = || AgentError::io(format!("wipe {shown}"));
    // Partitions first: once the table is gone nobody knows where they were.
    for (start, end) in parts(&file) {
        zero(&file, start, end).map_err(cannot())?;
    }
    let size = sectors_of(&file).map_err(cannot())? * SECTOR;
    zero(&file, 0, size).map_err(cannot())?;
    file.sync_all().map_err(cannot())
}

fn parts(disk: &File) -> Vec<(u64, u64)> {
    // A disk without a table has nothing between its ends.
    let table = Gpt::read(disk).ok();
    let numbered = table.iter().flat_map(Gpt::numbered);
    numbered
        .map(|(_, part)| (part.offset(), part.offset() + part.size()))
        .collect()
}

/// Overwrites both ends of a run of bytes.
fn zero(disk: &File, start: u64, end: u64) -> std::io::Result<()> {
    let reach = REACH.min(end.saturating_sub(start));
    let zeros = vec![0; usize::try_from(reach).unwrap_or_default()];
    disk.write_all_at(&zeros, start)?;
    disk.write_all_at(&zeros, end - reach)
}

#[cfg(test)]
mod tests {
    use disk::gpt::kind;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn tables_and_signatures_go_and_data_stays() {
        let place = tempfile::tempdir().expect("directory");
        let path = place.path().join("disk");
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .expect("opens");
        file.set_len(64 << 20).expect("size");
        let mut table = Gpt::new(Uuid::from_u128(1), sectors_of(&file).expect("size"));
        table
            .append(kind::LINUX, Uuid::from_u128(2), "data", Some(32 << 20))
            .expect("room");
        table.write(&file).expect("writes");
        let part = table.partitions[0].clone().expect("is there");
        file.write_all_at(b"signature", part.offset() + 1080)
            .expect("writes");
        file.write_all_at(b"at the end", part.offset() + part.size() - 100)
            .expect("writes");
        file.write_all_at(b"data", part.offset() + (16 << 20))
            .expect("writes");
        let disk = disks::Disk {
            path,
            size: 64 << 20,
            serial: None,
            model: None,
            wwn: None,
            rotational: None,
            removable: false,
        };
        wipe(&disk).expect("wipes");
        wipe(&disk).expect("wipes a disk that has nothing");
        assert!(Gpt::read(&file).is_err());
        let mut bytes = vec![0; 64 << 20];
        file.read_exact_at(&mut bytes, 0).expect("reads");
        let left: Vec<u8> = bytes.into_iter().filter(|byte| *byte != 0).collect();
        assert_eq!(left, b"data");
    }
}
