//! Writes an image: lays all sectors out first, then writes them from front to back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use super::encode::{
    both16, both32, extension_record, low8, low16, low32, posix, record, sectors_as_bytes,
};
use super::{FIRST_DESCRIPTOR, IS_DIRECTORY, SECTOR};

/// Longest file name: its Rock Ridge entry must fit in one directory record of 255 bytes.
const LONGEST_NAME: usize = 150;

/// Why an image cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum IsoWriteError {
    /// The label does not fit.
    #[error("`{label}` is no label for an ISO image: 1 to 32 characters of ASCII")]
    Label {
        /// The label given.
        label: String,
    },
    /// A path that cannot be in the image.
    #[error("`{path}` cannot be a file of an ISO image")]
    Path {
        /// The path given.
        path: String,
    },
    /// A file that cannot be read.
    #[error("cannot read {path} for the ISO image", path = path.display())]
    Source {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// More than the format can count.
    #[error("the ISO image would be too large")]
    TooLarge,
    /// The output cannot be written.
    #[error("cannot write the ISO image")]
    Output {
        /// What the kernel said.
        source: io::Error,
    },
}

/// Where the bytes of a file come from.
#[derive(Debug, Clone)]
pub enum Content {
    /// From memory.
    Bytes(Vec<u8>),
    /// From a file, read while the image is written.
    File(PathBuf),
}

/// An image to be. Paths are relative, folders come into being with their files.
#[derive(Debug)]
pub struct IsoImage {
    label: String,
    root: Folder,
}

#[derive(Debug, Default)]
struct Folder {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
enum Entry {
    Folder(Folder),
    File { mode: u32, content: Content },
}

impl IsoImage {
    /// An empty image; the label is what `blkid` shows, such as `config-2`.
    pub fn new(label: &str) -> Result<Self, IsoWriteError> {
        let fits =
            (1..=32).contains(&label.len()) && label.bytes().all(|b| (0x20..0x7f).contains(&b));
        if !fits {
            return Err(IsoWriteError::Label {
                label: label.to_owned(),
            });
        }
        Ok(Self {
            label: label.to_owned(),
            root: Folder::default(),
        })
    }

    /// Adds a file, such as `openstack/latest/meta_data.json`; the last one of a name wins.
    pub fn file(&mut self, path: &str, mode: u32, content: Content) -> Result<(), IsoWriteError> {
        let refused = || IsoWriteError::Path {
            path: path.to_owned(),
        };
        let parts: Vec<&str> = path.split('/').collect();
        if parts.iter().any(|part| !good_name(part)) || parts.len() > 8 {
            return Err(refused());
        }
        let (name, folders) = parts.split_last().ok_or_else(refused)?;
        let mut folder = &mut self.root;
        for part in folders {
            let entry = folder.entries.entry((*part).to_owned());
            match entry.or_insert_with(|| Entry::Folder(Folder::default())) {
                Entry::Folder(inner) => folder = inner,
                Entry::File { .. } => return Err(refused()),
            }
        }
        if let Some(Entry::Folder(_)) = folder.entries.get(*name) {
            return Err(refused());
        }
        folder.entries.insert(
            (*name).to_owned(),
            Entry::File {
                mode: mode & 0o7777,
                content,
            },
        );
        Ok(())
    }

    /// The whole image in memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>, IsoWriteError> {
        let mut bytes = Vec::new();
        self.write_to(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes the image, front to back.
    pub fn write_to(&self, out: &mut dyn Write) -> Result<(), IsoWriteError> {
        Layout::of(self)?.write(&self.label, out)
    }
}

fn good_name(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && name.len() <= LONGEST_NAME
        && !name.contains('\0')
}

/// A folder with its place.
struct PlacedFolder<'a> {
    iso_name: String,
    parent: usize,
    children: Vec<Child<'a>>,
    sector: u64,
    bytes: u64,
}

struct Child<'a> {
    name: &'a str,
    iso_name: String,
    target: Target,
}

#[derive(Clone, Copy)]
enum Target {
    Folder(usize),
    File { index: usize, mode: u32 },
}

struct PlacedFile<'a> {
    content: &'a Content,
    size: u64,
    sector: u64,
}

/// Where everything goes.
struct Layout<'a> {
    folders: Vec<PlacedFolder<'a>>,
    files: Vec<PlacedFile<'a>>,
    path_table_bytes: u64,
    path_tables: [u64; 2],
    extension_sector: u64,
    sectors: u64,
}

impl<'a> Layout<'a> {
    fn of(image: &'a IsoImage) -> Result<Self, IsoWriteError> {
        let (mut folders, mut files) = collect(&image.root)?;
        let path_table_bytes: u64 = folders
            .iter()
            .map(|folder| path_record_length(&folder.iso_name))
            .sum();
        let table_sectors = path_table_bytes.div_ceil(SECTOR);
        let first_table = FIRST_DESCRIPTOR + 2;
        let path_tables = [first_table, first_table + table_sectors];
        let mut next = first_table + 2 * table_sectors;
        for folder in &mut folders {
            folder.bytes = directory_bytes(folder);
            folder.sector = next;
            next += folder.bytes / SECTOR;
        }
        let extension_sector = next;
        next += 1;
        for file in &mut files {
            file.sector = next;
            next += file.size.div_ceil(SECTOR);
        }
        u32::try_from(next).map_err(|_| IsoWriteError::TooLarge)?;
        Ok(Self {
            folders,
            files,
            path_table_bytes,
            path_tables,
            extension_sector,
            sectors: next,
        })
    }

    fn write(&self, label: &str, out: &mut dyn Write) -> Result<(), IsoWriteError> {
        let mut out = Sectors { out, at: 0 };
        out.put(&vec![0; sectors_as_bytes(FIRST_DESCRIPTOR)])?;
        out.put(&self.primary_descriptor(label))?;
        out.put(b"\xffCD001\x01")?;
        out.fill()?;
        for big_endian in [false, true] {
            out.put(&self.path_table(big_endian))?;
            out.fill()?;
        }
        for index in 0..self.folders.len() {
            out.put(&self.directory(index))?;
        }
        out.put(&extension_record())?;
        out.fill()?;
        for file in &self.files {
            out.file(file)?;
        }
        Ok(())
    }

    fn primary_descriptor(&self, label: &str) -> Vec<u8> {
        let mut d = vec![0_u8; sectors_as_bytes(1)];
        d[..7].copy_from_slice(b"\x01CD001\x01");
        let text = |d: &mut [u8], at: usize, length: usize, value: &str| {
            d[at..at + length].fill(b' ');
            d[at..at + value.len()].copy_from_slice(value.as_bytes());
        };
        text(&mut d, 8, 32, "LINUX");
        text(&mut d, 40, 32, label);
        d[80..88].copy_from_slice(&both32(self.sectors));
        for at in [120, 124] {
            d[at..at + 4].copy_from_slice(&both16(1));
        }
        d[128..132].copy_from_slice(&both16(2048));
        d[132..140].copy_from_slice(&both32(self.path_table_bytes));
        d[140..144].copy_from_slice(&low32(self.path_tables[0]).to_le_bytes());
        d[148..152].copy_from_slice(&low32(self.path_tables[1]).to_be_bytes());
        let root = &self.folders[0];
        d[156..190].copy_from_slice(&record(&[0], root.sector, root.bytes, IS_DIRECTORY, &[]));
        for (at, length) in [
            (190, 128),
            (318, 128),
            (446, 128),
            (574, 128),
            (702, 37),
            (739, 37),
            (776, 37),
        ] {
            text(&mut d, at, length, "");
        }
        // Four times "no date": images of the same content are the same.
        for at in [813, 830, 847, 864] {
            d[at..at + 16].fill(b'0');
        }
        d[881] = 1;
        d
    }

    fn path_table(&self, big_endian: bool) -> Vec<u8> {
        let mut table = Vec::new();
        for folder in &self.folders {
            let name = if folder.iso_name.is_empty() {
                &[0][..]
            } else {
                folder.iso_name.as_bytes()
            };
            let (sector, parent) = (low32(folder.sector), low16(folder.parent + 1));
            table.extend_from_slice(&[low8(name.len()), 0]);
            if big_endian {
                table.extend_from_slice(&sector.to_be_bytes());
                table.extend_from_slice(&parent.to_be_bytes());
            } else {
                table.extend_from_slice(&sector.to_le_bytes());
                table.extend_from_slice(&parent.to_le_bytes());
            }
            table.extend_from_slice(name);
            if name.len() % 2 == 1 {
                table.push(0);
            }
        }
        table
    }

    fn directory(&self, index: usize) -> Vec<u8> {
        let folder = &self.folders[index];
        let parent = &self.folders[folder.parent];
        let mut bytes = Vec::new();
        let mut own = Vec::new();
        if index == 0 {
            own.extend_from_slice(b"SP\x07\x01\xbe\xef\x00");
            own.extend_from_slice(b"CE\x1c\x01");
            own.extend_from_slice(&both32(self.extension_sector));
            own.extend_from_slice(&both32(0));
            own.extend_from_slice(&both32(extension_record().len() as u64));
        }
        own.extend_from_slice(&posix(0o40755));
        append(
            &mut bytes,
            &record(&[0], folder.sector, folder.bytes, IS_DIRECTORY, &own),
        );
        let up = posix(0o40755);
        append(
            &mut bytes,
            &record(&[1], parent.sector, parent.bytes, IS_DIRECTORY, &up),
        );
        for child in &folder.children {
            let (mode, sector, size, flags) = match child.target {
                Target::Folder(at) => {
                    let inner = &self.folders[at];
                    (0o40755, inner.sector, inner.bytes, IS_DIRECTORY)
                }
                Target::File { index, mode } => {
                    let file = &self.files[index];
                    (0o100_000 | mode, file.sector, file.size, 0)
                }
            };
            let own = child_extension(child, mode);
            append(
                &mut bytes,
                &record(child.iso_name.as_bytes(), sector, size, flags, &own),
            );
        }
        bytes.resize(usize::try_from(folder.bytes).unwrap_or(usize::MAX), 0);
        bytes
    }
}

/// Walks the tree level by level: the order that path tables want.
fn collect(root: &Folder) -> Result<(Vec<PlacedFolder<'_>>, Vec<PlacedFile<'_>>), IsoWriteError> {
    let mut sources = vec![root];
    let new = |iso_name, parent| PlacedFolder {
        iso_name,
        parent,
        children: Vec::new(),
        sector: 0,
        bytes: 0,
    };
    let mut folders = vec![new(String::new(), 0)];
    let mut files = Vec::new();
    let mut index = 0;
    while index < sources.len() {
        let mut taken = std::collections::BTreeSet::new();
        let mut children = Vec::new();
        for (name, entry) in &sources[index].entries {
            let iso_name = unique_iso_name(name, matches!(entry, Entry::File { .. }), &mut taken);
            let target = match entry {
                Entry::Folder(inner) => {
                    sources.push(inner);
                    folders.push(new(iso_name.clone(), index));
                    Target::Folder(folders.len() - 1)
                }
                Entry::File { mode, content } => {
                    files.push(PlacedFile {
                        content,
                        size: size_of(content)?,
                        sector: 0,
                    });
                    Target::File {
                        index: files.len() - 1,
                        mode: *mode,
                    }
                }
            };
            children.push(Child {
                name,
                iso_name,
                target,
            });
        }
        children.sort_by(|a, b| a.iso_name.cmp(&b.iso_name));
        folders[index].children = children;
        index += 1;
    }
    if folders.len() > usize::from(u16::MAX) {
        return Err(IsoWriteError::TooLarge);
    }
    Ok((folders, files))
}

fn size_of(content: &Content) -> Result<u64, IsoWriteError> {
    let size = match content {
        Content::Bytes(bytes) => bytes.len() as u64,
        Content::File(path) => std::fs::metadata(path)
            .map_err(|source| IsoWriteError::Source {
                path: path.clone(),
                source,
            })?
            .len(),
    };
    // A record counts the bytes of a file with 32 bits.
    u32::try_from(size)
        .map(u64::from)
        .map_err(|_| IsoWriteError::TooLarge)
}

/// The name that readers without Rock Ridge see: capitals, digits and underlines, unique in its folder.
fn unique_iso_name(
    name: &str,
    file: bool,
    taken: &mut std::collections::BTreeSet<String>,
) -> String {
    let clean = |text: &str, length: usize| -> String {
        let kept = text.chars().map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        });
        kept.take(length).collect()
    };
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if file && !stem.is_empty() => {
            (clean(stem, 20), clean(extension, 4))
        }
        Some(_) | None => (clean(name, 20), String::new()),
    };
    for number in 0.. {
        let stem = if number == 0 {
            stem.clone()
        } else {
            format!("{stem}{number}")
        };
        let full = if file {
            format!("{stem}.{extension};1")
        } else {
            stem
        };
        if taken.insert(full.clone()) {
            return full;
        }
    }
    unreachable!("numbers do not end before names do")
}

fn path_record_length(name: &str) -> u64 {
    let length = name.len().max(1);
    (8 + length + length % 2) as u64
}

fn directory_bytes(folder: &PlacedFolder<'_>) -> u64 {
    // "." of the root carries SP, CE and PX (71 bytes); the others of these two PX only.
    let mut at = (34 + if folder.iso_name.is_empty() { 72 } else { 36 }) + 34 + 36;
    for child in &folder.children {
        let length = record(
            child.iso_name.as_bytes(),
            0,
            0,
            0,
            &child_extension(child, 0),
        )
        .len() as u64;
        if at % SECTOR + length > SECTOR {
            at = at.next_multiple_of(SECTOR);
        }
        at += length;
    }
    at.next_multiple_of(SECTOR)
}

/// Appends a record; none may cross the end of a sector.
fn append(bytes: &mut Vec<u8>, record: &[u8]) {
    let sector = sectors_as_bytes(1);
    if bytes.len() % sector + record.len() > sector {
        bytes.resize(bytes.len().next_multiple_of(sector), 0);
    }
    bytes.extend_from_slice(record);
}

fn child_extension(child: &Child<'_>, mode: u32) -> Vec<u8> {
    let mut own = posix(mode);
    own.extend_from_slice(b"NM");
    own.extend_from_slice(&[low8(5 + child.name.len()), 1, 0]);
    own.extend_from_slice(child.name.as_bytes());
    own
}

/// Writes and keeps count, to fill up sectors.
struct Sectors<'a> {
    out: &'a mut dyn Write,
    at: u64,
}

impl Sectors<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), IsoWriteError> {
        self.at += bytes.len() as u64;
        self.out
            .write_all(bytes)
            .map_err(|source| IsoWriteError::Output { source })
    }

    fn fill(&mut self) -> Result<(), IsoWriteError> {
        let missing = self.at.next_multiple_of(SECTOR) - self.at;
        self.put(&vec![0; usize::try_from(missing).unwrap_or_default()])
    }

    fn file(&mut self, file: &PlacedFile<'_>) -> Result<(), IsoWriteError> {
        match file.content {
            Content::Bytes(bytes) => self.put(bytes)?,
            Content::File(path) => {
                let failed = |source| IsoWriteError::Source {
                    path: path.clone(),
                    source,
                };
                let mut left = file.size;
                let mut input = File::open(path).map_err(failed)?;
                let mut buffer = vec![0; 1 << 16];
                while left > 0 {
                    let want = usize::try_from(left)
                        .unwrap_or(usize::MAX)
                        .min(buffer.len());
                    let got = input.read(&mut buffer[..want]).map_err(failed)?;
                    if got == 0 {
                        return Err(failed(io::ErrorKind::UnexpectedEof.into()));
                    }
                    self.put(&buffer[..got])?;
                    left -= got as u64;
                }
            }
        }
        self.fill()
    }
}
