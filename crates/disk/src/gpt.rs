//! GUID partition tables: read, change, write, move to a disk of another size.
//!
//! Sectors have 512 bytes. Writing keeps the boot code in the first sector. The kernel is not told: what
//! needs partition nodes must ask for a re-read itself.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use uuid::{Uuid, uuid};

/// Bytes of a sector.
pub const SECTOR: u64 = 512;

/// Partitions start at multiples of this many sectors (1 MiB).
pub const ALIGNMENT: u64 = 2048;

/// Sectors at the front that the table takes: protective MBR, header, 128 entries.
const FRONT: u64 = 34;

/// Sectors at the end that the backup takes.
const BACK: u64 = 33;

const ENTRY: usize = 128;
const ENTRIES: usize = 128;

/// Partition types.
pub mod kind {
    use super::{Uuid, uuid};

    /// Where GRUB's core image lies for machines that start by BIOS.
    pub const BIOS_BOOT: Uuid = uuid!("21686148-6449-6e6f-744e-656564454649");
    /// The file system that UEFI starts from.
    pub const ESP: Uuid = uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
    /// The root file system of an amd64 machine.
    pub const ROOT_AMD64: Uuid = uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709");
    /// The root file system of an arm64 machine.
    pub const ROOT_ARM64: Uuid = uuid!("b921b045-1df0-41c3-af44-4c6f280d3fae");
    /// Any file system of Linux.
    pub const LINUX: Uuid = uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4");
}

/// Why a table cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum GptError {
    /// Neither the table at the front nor the one at the end is valid.
    #[error("no valid GUID partition table found")]
    NoTable,
    /// The table has features that we do not have.
    #[error("this GUID partition table is not supported: {what}")]
    Unsupported {
        /// Which feature.
        what: &'static str,
    },
    /// There is not enough room.
    #[error("no room for {sectors} sectors on the disk")]
    NoRoom {
        /// How much was wanted.
        sectors: u64,
    },
    /// Partitions overlap, or lie outside of the disk.
    #[error("partition {number} does not fit on the disk")]
    Misplaced {
        /// Its number.
        number: usize,
    },
    /// The disk cannot be read or written.
    #[error("cannot read or write the partition table")]
    Io {
        /// What the kernel said.
        source: io::Error,
    },
}

fn io_error(source: io::Error) -> GptError {
    GptError::Io { source }
}

/// A partition; its number is its place in [`Gpt::partitions`] plus one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// What it is for.
    pub kind: Uuid,
    /// Its own identity.
    pub id: Uuid,
    /// Its name (the field's `PARTLABEL`).
    pub name: String,
    /// First sector.
    pub first: u64,
    /// Last sector.
    pub last: u64,
    /// Attribute bits.
    pub attributes: u64,
}

impl Partition {
    /// Where it starts, in bytes.
    pub fn offset(&self) -> u64 {
        self.first * SECTOR
    }

    /// How long it is, in bytes.
    pub fn size(&self) -> u64 {
        (self.last + 1 - self.first) * SECTOR
    }
}

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpt {
    /// The disk's identity.
    pub id: Uuid,
    /// Sectors of the disk.
    pub sectors: u64,
    /// Entries; `None` is a free one between others.
    pub partitions: Vec<Option<Partition>>,
}

/// Sectors of an image file or block device.
pub fn sectors_of(disk: &File) -> io::Result<u64> {
    // Seeking tells the size of a block device too, its metadata does not.
    let mut disk = disk;
    io::Seek::seek(&mut disk, io::SeekFrom::End(0)).map(|bytes| bytes / SECTOR)
}

impl Gpt {
    /// An empty table for a disk of `sectors`.
    pub fn new(id: Uuid, sectors: u64) -> Self {
        Self {
            id,
            sectors,
            partitions: Vec::new(),
        }
    }

    /// Reads the table at the front, or the backup at the end if that one is broken.
    pub fn read(disk: &File) -> Result<Self, GptError> {
        let sectors = sectors_of(disk).map_err(io_error)?;
        match read_at(disk, 1) {
            Ok(partitions) => Ok(partitions.on(sectors)),
            Err(GptError::NoTable) if sectors > FRONT + BACK => {
                Ok(read_at(disk, sectors - 1)?.on(sectors))
            }
            Err(error) => Err(error),
        }
    }

    fn on(mut self, sectors: u64) -> Self {
        self.sectors = sectors;
        self
    }

    /// First sector that a partition may use.
    pub fn first_usable(&self) -> u64 {
        FRONT
    }

    /// Last sector that a partition may use.
    pub fn last_usable(&self) -> u64 {
        self.sectors.saturating_sub(BACK + 1)
    }

    /// The partitions there are, with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &Partition)> {
        let partitions = self.partitions.iter().enumerate();
        partitions
            .filter_map(|(at, partition)| partition.as_ref().map(|partition| (at + 1, partition)))
    }

    /// The partition of this name.
    pub fn named(&self, name: &str) -> Option<(usize, &Partition)> {
        self.numbered()
            .find(|(_, partition)| partition.name == name)
    }

    /// Adds a partition of at least `bytes` behind all others; `None` takes what is left. Gives its number.
    pub fn append(
        &mut self,
        kind: Uuid,
        id: Uuid,
        name: &str,
        bytes: Option<u64>,
    ) -> Result<usize, GptError> {
        let used = self
            .numbered()
            .map(|(_, partition)| partition.last + 1)
            .max();
        let first = used.unwrap_or(FRONT).next_multiple_of(ALIGNMENT);
        let last = match bytes {
            Some(bytes) => (first + bytes.div_ceil(SECTOR)).next_multiple_of(ALIGNMENT) - 1,
            None => self.last_usable(),
        };
        if last > self.last_usable() || last < first {
            return Err(GptError::NoRoom {
                sectors: bytes.unwrap_or_default().div_ceil(SECTOR),
            });
        }
        Ok(self.put(Partition {
            kind,
            id,
            name: name.to_owned(),
            first,
            last,
            attributes: 0,
        }))
    }

    /// Puts a partition of at least `bytes` at the end of the disk. Gives its number.
    pub fn append_at_end(
        &mut self,
        kind: Uuid,
        id: Uuid,
        name: &str,
        bytes: u64,
    ) -> Result<usize, GptError> {
        let sectors = bytes.div_ceil(SECTOR).next_multiple_of(ALIGNMENT);
        let no_room = GptError::NoRoom { sectors };
        let end = (self.last_usable() + 1) / ALIGNMENT * ALIGNMENT;
        let Some(first) = end.checked_sub(sectors) else {
            return Err(no_room);
        };
        let used = self
            .numbered()
            .map(|(_, partition)| partition.last)
            .max()
            .unwrap_or(FRONT - 1);
        if first <= used {
            return Err(no_room);
        }
        Ok(self.put(Partition {
            kind,
            id,
            name: name.to_owned(),
            first,
            last: end - 1,
            attributes: 0,
        }))
    }

    fn put(&mut self, partition: Partition) -> usize {
        let free = self
            .partitions
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.partitions.len());
        if free == self.partitions.len() {
            self.partitions.push(None);
        }
        self.partitions[free] = Some(partition);
        free + 1
    }

    /// Writes both tables and the protective MBR. The disk's size is read again first: the backup goes to its end.
    pub fn write(&mut self, disk: &File) -> Result<(), GptError> {
        self.sectors = sectors_of(disk).map_err(io_error)?;
        self.check()?;
        let entries = self.entries();
        let last = self.sectors - 1;
        // The backup first: killed between the two, the old table at the front still counts.
        put(disk, last - BACK + 1, &entries)?;
        put(disk, last, &self.header(last, 1, last - BACK + 1, &entries))?;
        disk.sync_data().map_err(io_error)?;
        put(disk, 2, &entries)?;
        put(disk, 1, &self.header(1, last, 2, &entries))?;
        self.write_protective_mbr(disk)?;
        disk.sync_data().map_err(io_error)
    }

    fn check(&self) -> Result<(), GptError> {
        if self.sectors <= FRONT + BACK {
            return Err(GptError::NoRoom {
                sectors: FRONT + BACK,
            });
        }
        if self.partitions.len() > ENTRIES {
            return Err(GptError::Unsupported {
                what: "more than 128 partitions",
            });
        }
        let mut places: Vec<(u64, u64, usize)> = self
            .numbered()
            .map(|(number, partition)| (partition.first, partition.last, number))
            .collect();
        places.sort_unstable();
        let mut free = FRONT;
        for (first, last, number) in places {
            if first < free || last < first || last > self.last_usable() {
                return Err(GptError::Misplaced { number });
            }
            free = last + 1;
        }
        Ok(())
    }

    fn entries(&self) -> Vec<u8> {
        let mut bytes = vec![0; ENTRY * ENTRIES];
        for (number, partition) in self.numbered() {
            let entry = &mut bytes[(number - 1) * ENTRY..number * ENTRY];
            entry[..16].copy_from_slice(&partition.kind.to_bytes_le());
            entry[16..32].copy_from_slice(&partition.id.to_bytes_le());
            entry[32..40].copy_from_slice(&partition.first.to_le_bytes());
            entry[40..48].copy_from_slice(&partition.last.to_le_bytes());
            entry[48..56].copy_from_slice(&partition.attributes.to_le_bytes());
            for (unit, place) in partition
                .name
                .encode_utf16()
                .take(36)
                .zip(entry[56..].chunks_exact_mut(2))
            {
                place.copy_from_slice(&unit.to_le_bytes());
            }
        }
        bytes
    }

    fn header(&self, own: u64, other: u64, entries_at: u64, entries: &[u8]) -> Vec<u8> {
        let mut header = vec![0; 512];
        header[..16].copy_from_slice(b"EFI PART\x00\x00\x01\x00\x5c\x00\x00\x00");
        for (at, value) in [
            (24, own),
            (32, other),
            (40, FRONT),
            (48, self.last_usable()),
            (72, entries_at),
        ] {
            header[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        header[56..72].copy_from_slice(&self.id.to_bytes_le());
        header[80..84].copy_from_slice(&128_u32.to_le_bytes());
        header[84..88].copy_from_slice(&128_u32.to_le_bytes());
        header[88..92].copy_from_slice(&crc32(entries).to_le_bytes());
        let sum = crc32(&header[..92]);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        header
    }

    fn write_protective_mbr(&self, disk: &File) -> Result<(), GptError> {
        // Boot code lies in the first 440 bytes and stays.
        let mut record = [0_u8; 72];
        record[6] = 0;
        record[7..10].copy_from_slice(&[0, 2, 0]);
        record[10] = 0xee;
        record[11..14].copy_from_slice(&[0xff; 3]);
        record[14..18].copy_from_slice(&1_u32.to_le_bytes());
        let length = u32::try_from(self.sectors - 1).unwrap_or(u32::MAX);
        record[18..22].copy_from_slice(&length.to_le_bytes());
        record[70..].copy_from_slice(&[0x55, 0xaa]);
        disk.write_all_at(&record, 440).map_err(io_error)
    }
}

fn put(disk: &File, sector: u64, bytes: &[u8]) -> Result<(), GptError> {
    disk.write_all_at(bytes, sector * SECTOR).map_err(io_error)
}

fn read_at(disk: &File, sector: u64) -> Result<Gpt, GptError> {
    let mut header = [0; 512];
    match disk.read_exact_at(&mut header, sector * SECTOR) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(GptError::NoTable);
        }
        other => other.map_err(io_error)?,
    }
    let number = |at: usize| {
        u64::from(u32::from_le_bytes([
            header[at],
            header[at + 1],
            header[at + 2],
            header[at + 3],
        ]))
    };
    let long = |at: usize| number(at) | (number(at + 4) << 32);
    let length = usize::try_from(number(12)).unwrap_or_default();
    if &header[..8] != b"EFI PART" || !(92..=512).contains(&length) {
        return Err(GptError::NoTable);
    }
    let mut summed = header;
    summed[16..20].fill(0);
    if u64::from(crc32(&summed[..length])) != number(16) {
        return Err(GptError::NoTable);
    }
    let (count, size) = (number(80), number(84));
    if size != ENTRY as u64 || count > 1024 {
        return Err(GptError::Unsupported {
            what: "entries of an odd size or number",
        });
    }
    let mut entries = vec![0; usize::try_from(count * size).unwrap_or_default()];
    if disk
        .read_exact_at(&mut entries, long(72).saturating_mul(SECTOR))
        .is_err()
        || u64::from(crc32(&entries)) != number(88)
    {
        return Err(GptError::NoTable);
    }
    let mut partitions: Vec<Option<Partition>> =
        entries.chunks_exact(ENTRY).map(parse_entry).collect();
    while partitions.last().is_some_and(Option::is_none) {
        partitions.pop();
    }
    Ok(Gpt {
        id: guid(&header[56..72]),
        sectors: long(32) + 1,
        partitions,
    })
}

fn parse_entry(entry: &[u8]) -> Option<Partition> {
    let kind = guid(&entry[..16]);
    if kind.is_nil() {
        return None;
    }
    let long = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().unwrap_or_default());
    let units: Vec<u16> = entry[56..]
        .chunks_exact(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    Some(Partition {
        kind,
        id: guid(&entry[16..32]),
        name: String::from_utf16_lossy(&units),
        first: long(32),
        last: long(40),
        attributes: long(48),
    })
}

fn guid(bytes: &[u8]) -> Uuid {
    Uuid::from_slice_le(bytes).unwrap_or_default()
}

/// The checksum of the format: CRC-32 as in Ethernet.
fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 {
                (sum >> 1) ^ 0xedb8_8320
            } else {
                sum >> 1
            };
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(mib: u64) -> File {
        let disk = tempfile::tempfile().expect("file");
        disk.set_len(mib << 20).expect("size");
        disk
    }

    fn sample(disk: &File) -> Gpt {
        let mut table = Gpt::new(Uuid::from_u128(1), sectors_of(disk).expect("size"));
        table
            .append(kind::BIOS_BOOT, Uuid::from_u128(2), "bios", Some(1 << 20))
            .expect("room");
        table
            .append(kind::ROOT_AMD64, Uuid::from_u128(3), "root", None)
            .expect("room");
        table
    }

    #[test]
    fn what_is_written_is_read() {
        let disk = disk(16);
        let mut table = sample(&disk);
        table.write(&disk).expect("writes");
        assert_eq!(Gpt::read(&disk).expect("reads"), table);
        let (number, root) = table.named("root").expect("there");
        assert_eq!((number, root.first, root.last), (2, 4096, 32768 - 34));
    }

    #[test]
    fn the_backup_saves_a_broken_front() {
        let disk = disk(16);
        let mut table = sample(&disk);
        table.write(&disk).expect("writes");
        disk.write_all_at(&[0; 100], SECTOR).expect("breaks");
        assert_eq!(Gpt::read(&disk).expect("reads"), table);
        disk.write_all_at(&[0; 100], (32768 - 1) * SECTOR)
            .expect("breaks");
        assert!(matches!(Gpt::read(&disk), Err(GptError::NoTable)));
    }

    #[test]
    fn boot_code_stays() {
        let disk = disk(16);
        disk.write_all_at(&[0x5a; 440], 0).expect("writes");
        sample(&disk).write(&disk).expect("writes");
        let mut code = [0; 440];
        disk.read_exact_at(&mut code, 0).expect("reads");
        assert_eq!(code, [0x5a; 440]);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let disk = disk(16);
        let mut table = sample(&disk);
        assert!(matches!(
            table.append(kind::LINUX, Uuid::nil(), "more", Some(1)),
            Err(GptError::NoRoom { .. })
        ));
        disk.set_len(8 << 20).expect("shrinks");
        assert!(matches!(
            table.write(&disk),
            Err(GptError::Misplaced { number: 2 })
        ));
    }

    #[test]
    fn checksum_is_the_known_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
