//! Copies that carry only what holds data.
//!
//! Extents come from the file system (`SEEK_DATA`, `SEEK_HOLE`): a hole is taken for zeros. What lies in a
//! target's hole-to-be is left alone, so targets are new files or disks whose old content does not matter.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// How much is copied at a time.
const CHUNK: u64 = 1 << 20;

/// A run of bytes that holds data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where it starts, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
}

/// The extents of a file, in order.
pub fn extents(file: &File) -> io::Result<Vec<Extent>> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            // No data after this point.
            Err(Errno::NXIO) => return Ok(found),
            Err(error) => return Err(error.into()),
        };
        let end = seek(file, SeekFrom::Hole(start))?;
        found.push(Extent {
            offset: start,
            length: end - start,
        });
        at = end;
    }
}

/// Copies `extents` of `source` to the same places of `target`, telling `progress` how many bytes are done.
pub fn copy_extents(
    source: &File,
    target: &File,
    extents: &[Extent],
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let mut buffer = vec![0; usize::try_from(CHUNK).unwrap_or(1 << 20)];
    let mut done = 0;
    for extent in extents {
        let mut at = extent.offset;
        let end = extent.offset + extent.length;
        while at < end {
            let part = &mut buffer[..usize::try_from(CHUNK.min(end - at)).unwrap_or(1 << 20)];
            source.read_exact_at(part, at)?;
            target.write_all_at(part, at)?;
            at += part.len() as u64;
            done += part.len() as u64;
            progress(done);
        }
    }
    Ok(())
}

/// Makes `target`, a new file, a sparse copy of `source`.
pub fn copy_sparse(source: &File, target: &File) -> io::Result<()> {
    target.set_len(source.metadata()?.len())?;
    copy_extents(source, target, &extents(source)?, &mut |_| {})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_stay_holes() {
        use std::os::unix::fs::MetadataExt;
        let source = tempfile::tempfile().expect("file");
        source.set_len(64 << 20).expect("size");
        source.write_all_at(b"data", 32 << 20).expect("writes");
        let target = tempfile::tempfile().expect("file");
        copy_sparse(&source, &target).expect("copies");
        let metadata = target.metadata().expect("metadata");
        assert_eq!(metadata.len(), 64 << 20);
        assert!(metadata.blocks() * 512 < 2 << 20, "{}", metadata.blocks());
        let mut read = [0; 4];
        target.read_exact_at(&mut read, 32 << 20).expect("reads");
        assert_eq!(&read, b"data");
    }

    #[test]
    fn a_file_of_holes_has_no_extents() {
        let file = tempfile::tempfile().expect("file");
        file.set_len(1 << 20).expect("size");
        assert_eq!(extents(&file).expect("reads"), []);
    }
}
