//! Reads an image: checks the descriptor, walks the folders once, gives files by path.
//!
//! The image may be broken or hostile: every length is checked, nothing is followed twice.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{FIRST_DESCRIPTOR, GOES_ON, IS_DIRECTORY, SECTOR};

/// Deeper than this no config drive goes; a loop of folders would.
const DEEPEST: usize = 16;

/// More entries than this no image of ours has.
const MOST_ENTRIES: usize = 200_000;

/// The largest directory that is read into memory.
const LARGEST_DIRECTORY: u64 = 64 << 20;

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum IsoReadError {
    /// There is no ISO 9660 file system.
    #[error("no ISO 9660 file system found")]
    NoIso,
    /// The image contradicts itself.
    #[error("the ISO image is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// The image has no such file.
    #[error("the ISO image has no file `{path}`")]
    NoFile {
        /// The path asked for.
        path: String,
    },
    /// The input cannot be read.
    #[error("cannot read the ISO image")]
    Input {
        /// What the kernel said.
        source: io::Error,
    },
    /// A file cannot be written where the image is extracted to.
    #[error("cannot extract to {path}", path = path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A folder or file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsoEntry {
    /// Path below the root, without a slash in front.
    pub path: String,
    /// Type and permissions, as `stat` gives them.
    pub mode: u32,
    /// Bytes of a file; 0 for a folder.
    pub size: u64,
    /// First sector of the content.
    sector: u64,
}

impl IsoEntry {
    /// Whether this is a folder.
    pub fn is_directory(&self) -> bool {
        self.mode & 0o170_000 == 0o40_000
    }
}

/// An open image.
#[derive(Debug)]
pub struct IsoReader<R> {
    input: R,
    label: String,
    entries: Vec<IsoEntry>,
}

impl<R: Read + Seek> IsoReader<R> {
    /// Opens an image and reads all its folders.
    pub fn open(mut input: R) -> Result<Self, IsoReadError> {
        let descriptor =
            read_sectors(&mut input, FIRST_DESCRIPTOR, SECTOR).map_err(|error| match error {
                IsoReadError::Damaged { .. } => IsoReadError::NoIso,
                other => other,
            })?;
        if descriptor.get(..6) != Some(b"\x01CD001") {
            return Err(IsoReadError::NoIso);
        }
        let label = String::from_utf8_lossy(&descriptor[40..72])
            .trim_end()
            .to_owned();
        let root = Record::parse(&descriptor[156..190]).ok_or(IsoReadError::Damaged {
            what: "the record of the root folder",
        })?;
        let mut walk = Walk {
            input: &mut input,
            entries: Vec::new(),
            seen: BTreeSet::new(),
        };
        walk.folder(&root, "", 0)?;
        let mut entries = walk.entries;
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self {
            input,
            label,
            entries,
        })
    }

    /// The volume's label.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// All folders and files, by path.
    pub fn entries(&self) -> &[IsoEntry] {
        &self.entries
    }

    /// The content of a file.
    pub fn read(&mut self, path: &str) -> Result<Vec<u8>, IsoReadError> {
        let entry = self.find(path)?;
        read_sectors(&mut self.input, entry.sector, entry.size)
    }

    fn find(&self, path: &str) -> Result<IsoEntry, IsoReadError> {
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.path == path && !entry.is_directory());
        entry.cloned().ok_or_else(|| IsoReadError::NoFile {
            path: path.to_owned(),
        })
    }

    /// Writes the whole tree below `directory`, which must exist.
    pub fn extract(&mut self, directory: &Path) -> Result<(), IsoReadError> {
        for entry in self.entries.clone() {
            // Names were checked when the folders were read: none leads out of `directory`.
            let path = directory.join(&entry.path);
            let failed = |source| IsoReadError::Output {
                path: path.clone(),
                source,
            };
            if entry.is_directory() {
                match std::fs::create_dir(&path) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(failed(error));
                    }
                    Ok(()) | Err(_) => {}
                }
                continue;
            }
            let mut options = File::options();
            let mut file = options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&path)
                .map_err(failed)?;
            self.copy(&entry, &mut file).map_err(|error| match error {
                IsoReadError::Output { source, .. } => failed(source),
                other => other,
            })?;
            let mode = std::fs::Permissions::from_mode(entry.mode & 0o7777);
            file.set_permissions(mode).map_err(failed)?;
        }
        Ok(())
    }

    fn copy(&mut self, entry: &IsoEntry, out: &mut dyn Write) -> Result<(), IsoReadError> {
        seek(&mut self.input, entry.sector)?;
        let mut left = entry.size;
        let mut buffer = vec![0; 1 << 16];
        while left > 0 {
            let want = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let got = self
                .input
                .read(&mut buffer[..want])
                .map_err(|source| IsoReadError::Input { source })?;
            if got == 0 {
                return Err(IsoReadError::Damaged {
                    what: "it ends within a file",
                });
            }
            out.write_all(&buffer[..got])
                .map_err(|source| IsoReadError::Output {
                    path: PathBuf::new(),
                    source,
                })?;
            left -= got as u64;
        }
        Ok(())
    }
}

fn seek<R: Seek>(input: &mut R, sector: u64) -> Result<(), IsoReadError> {
    input
        .seek(SeekFrom::Start(sector * SECTOR))
        .map(drop)
        .map_err(|source| IsoReadError::Input { source })
}

/// Reads `size` bytes; memory grows with what is really there, not with what the image says.
fn read_sectors<R: Read + Seek>(
    input: &mut R,
    sector: u64,
    size: u64,
) -> Result<Vec<u8>, IsoReadError> {
    seek(input, sector)?;
    let mut bytes = Vec::new();
    input
        .take(size)
        .read_to_end(&mut bytes)
        .map_err(|source| IsoReadError::Input { source })?;
    if bytes.len() as u64 == size {
        Ok(bytes)
    } else {
        Err(IsoReadError::Damaged {
            what: "it ends within a file or folder",
        })
    }
}

/// One record of a directory.
struct Record<'a> {
    sector: u64,
    size: u64,
    flags: u8,
    name: &'a [u8],
    own: &'a [u8],
}

impl<'a> Record<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let name_length = usize::from(*bytes.get(32)?);
        let name = bytes.get(33..33 + name_length)?;
        let own = bytes
            .get(33 + name_length + (name_length + 1) % 2..)
            .unwrap_or_default();
        Some(Self {
            sector: le32(bytes, 2)?,
            size: le32(bytes, 10)?,
            flags: bytes[25],
            name,
            own,
        })
    }
}

fn le32(bytes: &[u8], at: usize) -> Option<u64> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u64::from(u32::from_le_bytes(four)))
}

struct Walk<'a, R> {
    input: &'a mut R,
    entries: Vec<IsoEntry>,
    seen: BTreeSet<u64>,
}

impl<R: Read + Seek> Walk<'_, R> {
    fn folder(
        &mut self,
        folder: &Record<'_>,
        prefix: &str,
        depth: usize,
    ) -> Result<(), IsoReadError> {
        if depth > DEEPEST || !self.seen.insert(folder.sector) || folder.size > LARGEST_DIRECTORY {
            return Err(IsoReadError::Damaged {
                what: "its folders have no end",
            });
        }
        let bytes = read_sectors(self.input, folder.sector, folder.size)?;
        let mut at = 0;
        while at < bytes.len() {
            let length = usize::from(bytes[at]);
            if length == 0 {
                at = (at + 1).next_multiple_of(usize::try_from(SECTOR).unwrap_or(usize::MAX));
                continue;
            }
            let record = bytes.get(at..at + length).and_then(Record::parse).ok_or(
                IsoReadError::Damaged {
                    what: "a record of a folder",
                },
            )?;
            at += length;
            if record.name != [0] && record.name != [1] {
                self.entry(&record, prefix, depth)?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        record: &Record<'_>,
        prefix: &str,
        depth: usize,
    ) -> Result<(), IsoReadError> {
        if record.flags & GOES_ON != 0 || self.entries.len() >= MOST_ENTRIES {
            return Err(IsoReadError::Damaged {
                what: "more than this reader takes",
            });
        }
        let mut posix = Posix::default();
        self.extensions(record.own, &mut posix, 0)?;
        let name = match posix.name {
            Some(name) => String::from_utf8(name).map_err(|_| IsoReadError::Damaged {
                what: "a file name",
            })?,
            None => plain_name(record.name),
        };
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err(IsoReadError::Damaged {
                what: "a file name",
            });
        }
        let directory = record.flags & IS_DIRECTORY != 0;
        let permissions = posix
            .mode
            .map_or(if directory { 0o755 } else { 0o644 }, |mode| mode & 0o7777);
        let path = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        };
        let (kind, size) = if directory {
            (0o40_000, 0)
        } else {
            (0o100_000, record.size)
        };
        self.entries.push(IsoEntry {
            path: path.clone(),
            mode: kind | permissions,
            size,
            sector: record.sector,
        });
        if directory {
            self.folder(record, &path, depth + 1)
        } else {
            Ok(())
        }
    }

    /// Reads the Rock Ridge entries of a record, and of the area where it goes on.
    fn extensions(
        &mut self,
        mut own: &[u8],
        posix: &mut Posix,
        depth: usize,
    ) -> Result<(), IsoReadError> {
        while own.len() >= 4 {
            let length = usize::from(own[2]);
            let Some(entry) = own.get(..length).filter(|_| length >= 4) else {
                break;
            };
            match &entry[..2] {
                b"PX" => posix.mode = le32(entry, 4).and_then(|mode| u32::try_from(mode).ok()),
                b"NM" => posix
                    .name
                    .get_or_insert_default()
                    .extend_from_slice(entry.get(5..).unwrap_or_default()),
                b"CE" if depth < 4 => {
                    if let (Some(sector), Some(offset), Some(size)) =
                        (le32(entry, 4), le32(entry, 12), le32(entry, 20))
                        && offset + size <= SECTOR
                    {
                        let area = read_sectors(self.input, sector, offset + size)?;
                        let start = usize::try_from(offset).unwrap_or_default();
                        self.extensions(&area[start..], posix, depth + 1)?;
                    }
                }
                b"ST" => break,
                _ => {}
            }
            own = &own[length..];
        }
        Ok(())
    }
}

#[derive(Default)]
struct Posix {
    name: Option<Vec<u8>>,
    mode: Option<u32>,
}

/// A name without Rock Ridge, as Linux shows it: small letters, no version.
fn plain_name(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name).to_ascii_lowercase();
    let text = text.split(';').next().unwrap_or_default();
    text.strip_suffix('.').unwrap_or(text).to_owned()
}
