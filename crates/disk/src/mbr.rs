//! The old partition table: primary partitions, and logical ones in a chain of extended records.
//!
//! Sectors have 512 bytes. Writing keeps the boot code in front of the table. Logical partitions each have a
//! record of their own one alignment before them; primary ones come first.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// Type of the entry that holds all logical partitions.
const EXTENDED: u8 = 0x0f;
/// Type of a link from one extended record to the next.
const LINK: u8 = 0x05;
/// The number of the first logical partition.
const FIRST_LOGICAL: usize = 5;
/// Heads and sectors of the largest geometry that addresses of the old kind can tell.
const HEADS: u64 = 254;
const SECTORS: u64 = 63;
const CYLINDERS: u64 = 1023;

/// Why a table cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MbrError {
    /// A primary partition stands behind a logical one.
    #[error("partition `{name}`: primary partitions must be given before all others")]
    PrimaryLate {
        /// Its name.
        name: String,
    },
    /// There are four places in the table, one of them for all logical partitions.
    #[error("partition `{name}`: there is no place left in the table")]
    Full {
        /// Its name.
        name: String,
    },
    /// It is larger than what is left, or than the table can tell.
    #[error("partition `{name}`: no room for {bytes} bytes")]
    NoRoom {
        /// Its name.
        name: String,
        /// How much was wanted.
        bytes: u64,
    },
    /// The disk cannot be written.
    #[error("cannot write the partition table")]
    Io {
        /// What the kernel said.
        source: io::Error,
    },
}

/// A partition that is wanted.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// Its name; the table has none, errors do.
    pub name: &'a str,
    /// How large it is.
    pub bytes: u64,
    /// What it is for.
    pub kind: u8,
    /// Whether it stands in the table itself.
    pub primary: bool,
    /// Whether machines start from it.
    pub boot: bool,
}

/// A partition in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number: from 1, logical ones from 5.
    pub number: usize,
    /// First sector.
    pub first: u64,
    /// Sectors.
    pub sectors: u64,
    /// What it is for.
    pub kind: u8,
    /// Whether machines start from it.
    pub boot: bool,
}

impl Entry {
    /// Where it starts, in bytes.
    pub fn offset(&self) -> u64 {
        self.first * SECTOR
    }

    /// How long it is, in bytes.
    pub fn size(&self) -> u64 {
        self.sectors * SECTOR
    }
}

/// A partition table.
#[derive(Debug, Clone)]
pub struct Mbr {
    id: u32,
    sectors: u64,
    alignment: u64,
    next: u64,
    extended: Option<u64>,
    /// Partitions in their order.
    pub entries: Vec<Entry>,
}

impl Mbr {
    /// An empty table for a disk of `sectors`; partitions start at multiples of `alignment` sectors.
    pub fn new(id: u32, sectors: u64, alignment: u64) -> Self {
        let alignment = alignment.max(1);
        Self {
            id,
            sectors,
            alignment,
            next: alignment,
            extended: None,
            entries: Vec::new(),
        }
    }

    /// Bytes that the next partition may have; one alignment is kept back for the record of a logical one.
    pub fn free(&self) -> u64 {
        self.sectors.saturating_sub(self.next + self.alignment) * SECTOR
    }

    /// Adds a partition behind all others. Gives its number.
    pub fn append(&mut self, wanted: &Wanted<'_>) -> Result<usize, MbrError> {
        let name = || wanted.name.to_owned();
        let places = self
            .entries
            .iter()
            .filter(|e| e.number < FIRST_LOGICAL)
            .count();
        if wanted.primary && self.extended.is_some() {
            return Err(MbrError::PrimaryLate { name: name() });
        }
        if places == 4 && self.extended.is_none() {
            return Err(MbrError::Full { name: name() });
        }
        let (number, first) = if wanted.primary {
            (places + 1, self.next)
        } else {
            self.extended.get_or_insert(self.next);
            let logical = self.entries.len() - places;
            (
                FIRST_LOGICAL + logical,
                (self.next + 1).next_multiple_of(self.alignment),
            )
        };
        let sectors = wanted.bytes / SECTOR;
        let end = first + sectors;
        if sectors == 0 || end > self.sectors || u32::try_from(end).is_err() {
            return Err(MbrError::NoRoom {
                name: name(),
                bytes: wanted.bytes,
            });
        }
        self.entries.push(Entry {
            number,
            first,
            sectors,
            kind: wanted.kind,
            boot: wanted.boot,
        });
        self.next = end.next_multiple_of(self.alignment);
        Ok(number)
    }

    /// Writes the table, and the records of logical partitions.
    pub fn write(&self, disk: &File) -> Result<(), MbrError> {
        let failed = |source| MbrError::Io { source };
        let mut records: Vec<(u64, Record)> = Vec::new();
        let mut table = Record::default();
        table.0[440 - RECORD_START..444 - RECORD_START].copy_from_slice(&self.id.to_le_bytes());
        let (primary, logical): (Vec<&Entry>, Vec<&Entry>) =
            self.entries.iter().partition(|e| e.number < FIRST_LOGICAL);
        for (place, entry) in primary.iter().enumerate() {
            table.put(
                place,
                entry.boot,
                entry.kind,
                (entry.first, entry.first),
                entry.sectors,
            );
        }
        if let Some(start) = self.extended {
            let length = self.sectors.min(u64::from(u32::MAX)) - start;
            table.put(primary.len(), false, EXTENDED, (start, start), length);
            for (at, entry) in logical.iter().enumerate() {
                let own = entry.first - self.alignment;
                let mut record = Record::default();
                record.put(
                    0,
                    entry.boot,
                    entry.kind,
                    (self.alignment, entry.first),
                    entry.sectors,
                );
                if let Some(next) = logical.get(at + 1) {
                    let place = next.first - self.alignment;
                    // Not a sector more: readers (libblkid 2.41) pass over a link that leads out of the extended partition.
                    let end = next.first + next.sectors;
                    record.put(1, false, LINK, (place - start, place), end - place);
                }
                records.push((own, record));
            }
        }
        // The table last: what it leads to is there when it counts.
        for (sector, record) in records {
            let at = sector * SECTOR + RECORD_START as u64;
            disk.write_all_at(&record.0, at).map_err(failed)?;
        }
        disk.write_all_at(&table.0, RECORD_START as u64)
            .map_err(failed)?;
        disk.sync_data().map_err(failed)
    }
}

/// Where the part of a sector starts that is written: behind the boot code.
const RECORD_START: usize = 440;

/// The end of a sector: disk id, four entries, signature.
struct Record([u8; 72]);

impl Default for Record {
    fn default() -> Self {
        let mut bytes = [0; 72];
        bytes[70..].copy_from_slice(&[0x55, 0xaa]);
        Self(bytes)
    }
}

impl Record {
    /// `place` is where it starts: as the entry tells it, and on the disk.
    fn put(&mut self, number: usize, boot: bool, kind: u8, place: (u64, u64), sectors: u64) {
        let entry = &mut self.0[6 + number * 16..22 + number * 16];
        entry[0] = if boot { 0x80 } else { 0 };
        entry[1..4].copy_from_slice(&old_address(place.1));
        entry[4] = kind;
        entry[5..8].copy_from_slice(&old_address(place.1 + sectors.saturating_sub(1)));
        for (at, value) in [(8, place.0), (12, sectors)] {
            let value = u32::try_from(value).unwrap_or(u32::MAX);
            entry[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
    }
}

/// Cylinder, head and sector as the table packs them; what lies behind their reach gets the last one.
fn old_address(sector: u64) -> [u8; 3] {
    let cylinder = sector / (HEADS * SECTORS);
    let (cylinder, head, sector) = if cylinder > CYLINDERS {
        (CYLINDERS, HEADS, SECTORS)
    } else {
        (cylinder, sector / SECTORS % HEADS, sector % SECTORS + 1)
    };
    [
        u8::try_from(head).unwrap_or(u8::MAX),
        u8::try_from(sector | (cylinder >> 8 << 6)).unwrap_or(u8::MAX),
        (cylinder & 0xff) as u8,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn wanted(name: &str, mib: u64, primary: bool) -> Wanted<'_> {
        Wanted {
            name,
            bytes: mib * MIB,
            kind: 0x83,
            primary,
            boot: primary,
        }
    }

    fn u32_at(disk: &File, at: u64) -> u32 {
        let mut bytes = [0; 4];
        disk.read_exact_at(&mut bytes, at).expect("reads");
        u32::from_le_bytes(bytes)
    }

    #[test]
    fn primary_ones_stand_in_the_table_and_logical_ones_in_a_chain() {
        let disk = tempfile::tempfile().expect("file");
        disk.set_len(64 * MIB).expect("size");
        disk.write_all_at(&[7; 440], 0).expect("boot code");
        let mut table = Mbr::new(0x0102_0304, 64 * MIB / SECTOR, 2048);
        assert_eq!(table.free(), 62 * MIB);
        assert_eq!(table.append(&wanted("a", 10, true)).expect("fits"), 1);
        assert_eq!(table.append(&wanted("b", 10, false)).expect("fits"), 5);
        assert_eq!(table.append(&wanted("c", 10, false)).expect("fits"), 6);
        let places: Vec<u64> = table.entries.iter().map(|e| e.offset() / MIB).collect();
        assert_eq!(places, [1, 12, 23]);
        assert!(matches!(
            table.append(&wanted("d", 1, true)),
            Err(MbrError::PrimaryLate { .. })
        ));
        assert_eq!(table.free(), 30 * MIB);
        table.write(&disk).expect("writes");
        let mut code = [0; 440];
        disk.read_exact_at(&mut code, 0).expect("reads");
        assert_eq!(code, [7; 440], "the boot code stays");
        assert_eq!(u32_at(&disk, 440), 0x0102_0304);
        // The second entry is the extended one: from 11 MiB to the end.
        assert_eq!(u32_at(&disk, 446 + 16 + 8), 11 * 2048);
        assert_eq!(u32_at(&disk, 446 + 16 + 12), 53 * 2048);
        // The first record: its own partition one MiB further, and the way to the second at 11 MiB behind.
        let first = 11 * MIB;
        assert_eq!(u32_at(&disk, first + 446 + 8), 2048);
        assert_eq!(u32_at(&disk, first + 446 + 16 + 8), 11 * 2048);
        assert_eq!(u32_at(&disk, first + 446 + 16 + 12), 11 * 2048);
    }

    #[test]
    fn no_link_leads_out_of_the_extended_partition() {
        let disk = tempfile::tempfile().expect("file");
        // Like a disk that is as large as what it holds, and not a multiple of the alignment.
        let sectors = 32 * MIB / SECTOR + 384;
        disk.set_len(sectors * SECTOR).expect("size");
        let mut table = Mbr::new(1, sectors, 2048);
        table.append(&wanted("a", 8, false)).expect("fits");
        let rest = Wanted {
            bytes: table.free(),
            ..wanted("b", 0, false)
        };
        table.append(&rest).expect("fits");
        table.write(&disk).expect("writes");
        let extended = u32_at(&disk, 446 + 12);
        let record = MIB;
        let link = (
            u32_at(&disk, record + 446 + 16 + 8),
            u32_at(&disk, record + 446 + 16 + 12),
        );
        assert_eq!(link.0 + link.1, extended);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let mut table = Mbr::new(1, 16 * MIB / SECTOR, 2048);
        let error = table.append(&wanted("big", 16, true)).expect_err("too big");
        assert_eq!(
            error.to_string(),
            "partition `big`: no room for 16777216 bytes"
        );
        for name in ["a", "b", "c", "d"] {
            table.append(&wanted(name, 1, true)).expect("fits");
        }
        let error = table.append(&wanted("e", 1, true)).expect_err("full");
        assert!(error.to_string().contains("no place left"));
    }
}
