//! Puts a config drive into a partition of its own at the end of a disk.
//!
//! Killed half way, the same call made again ends the same.

use std::fs::File;
use std::os::unix::fs::FileExt;

use uuid::Uuid;

use crate::gpt::{Gpt, GptError, Partition, kind};

/// The label by which nodes find their config drive: of its file system and of its partition.
pub const LABEL: &str = "config-2";

/// Writes `iso` into a partition named `config-2` at the end of `disk` and moves the backup table there.
///
/// A config drive that is already there is replaced. Nothing else on the disk changes.
pub fn add_config_drive(disk: &File, iso: &[u8]) -> Result<Partition, GptError> {
    let mut table = Gpt::read(disk)?;
    for entry in &mut table.partitions {
        if entry
            .as_ref()
            .is_some_and(|partition| partition.name == LABEL)
        {
            *entry = None;
        }
    }
    // An identity that follows from the disk's: the same call makes the same table.
    let id = Uuid::new_v5(&table.id, LABEL.as_bytes());
    let number = table.append_at_end(kind::LINUX, id, LABEL, iso.len() as u64)?;
    let partition = table.partitions[number - 1]
        .clone()
        .ok_or(GptError::NoTable)?;
    disk.write_all_at(iso, partition.offset())
        .map_err(|source| GptError::Io { source })?;
    table.write(disk)?;
    Ok(partition)
}

/// The partition that holds a config drive.
pub fn find_config_drive(table: &Gpt) -> Option<&Partition> {
    table.named(LABEL).map(|(_, partition)| partition)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::gpt::sectors_of;
    use crate::iso::{Content, IsoImage, IsoReader};
    use crate::root::{grow_root, root_growth};

    fn iso(text: &str) -> Vec<u8> {
        let mut iso = IsoImage::new(LABEL).expect("label");
        let content = Content::Bytes(text.as_bytes().to_vec());
        iso.file("openstack/latest/meta_data.json", 0o600, content)
            .expect("file");
        iso.to_bytes().expect("bytes")
    }

    #[test]
    fn an_image_on_a_larger_disk_gets_its_drive_and_grows() {
        let disk = tempfile::tempfile().expect("file");
        disk.set_len(16 << 20).expect("size");
        let mut table = Gpt::new(Uuid::from_u128(1), sectors_of(&disk).expect("size"));
        table
            .append(kind::ROOT_AMD64, Uuid::from_u128(3), "root", None)
            .expect("room");
        table.write(&disk).expect("writes");
        disk.set_len(64 << 20).expect("a larger disk");
        for text in ["{\"n\": 1}", "{\"n\": 2}"] {
            let partition = add_config_drive(&disk, &iso(text)).expect("room");
            assert_eq!(partition.last, (64 << 11) - 2048 - 1);
            let mut bytes = vec![0; usize::try_from(partition.size()).expect("small")];
            disk.read_exact_at(&mut bytes, partition.offset())
                .expect("reads");
            let mut drive = IsoReader::open(Cursor::new(bytes)).expect("an iso");
            assert_eq!(drive.label(), LABEL);
            assert_eq!(
                drive.read("openstack/latest/meta_data.json").expect("file"),
                text.as_bytes()
            );
        }
        let growth = grow_root(&disk).expect("writes").expect("a root");
        let table = Gpt::read(&disk).expect("reads");
        assert_eq!(table.numbered().count(), 2);
        assert_eq!(
            growth.limit + 1,
            find_config_drive(&table).expect("there").first
        );
        let after = root_growth(&table).expect("a root");
        assert_eq!((after.last, after.limit), (growth.limit, growth.limit));
    }

    #[test]
    fn a_full_disk_is_told() {
        let disk = tempfile::tempfile().expect("file");
        disk.set_len(16 << 20).expect("size");
        let mut table = Gpt::new(Uuid::from_u128(1), sectors_of(&disk).expect("size"));
        table
            .append(kind::ROOT_AMD64, Uuid::from_u128(3), "root", None)
            .expect("room");
        table.write(&disk).expect("writes");
        assert!(matches!(
            add_config_drive(&disk, &iso("{}")),
            Err(GptError::NoRoom { .. })
        ));
    }
}
