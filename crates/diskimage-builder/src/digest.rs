//! Digests of trees: names, types, modes, owners and contents; never times.
//!
//! Two trees with the same digest give the same results to whoever reads them. Times are left out, or no
//! copy would ever equal its source.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::{Digest, Sha256};

/// A digest under way.
#[derive(Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Adds a field; its length is part of it, so fields cannot run into each other.
    pub fn field(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds all below `path`, except what `skip` names (paths relative to `path`).
    pub fn tree(&mut self, path: &Path, skip: &dyn Fn(&Path) -> bool) -> io::Result<&mut Self> {
        self.below(path, Path::new(""), skip)?;
        Ok(self)
    }

    fn below(
        &mut self,
        top: &Path,
        relative: &Path,
        skip: &dyn Fn(&Path) -> bool,
    ) -> io::Result<()> {
        let mut names: Vec<_> = std::fs::read_dir(top.join(relative))?
            .map(|entry| entry.map(|e| e.file_name()))
            .collect::<Result<_, _>>()?;
        names.sort();
        for name in names {
            let inner = relative.join(&name);
            if skip(&inner) {
                continue;
            }
            let path = top.join(&inner);
            let metadata = path.symlink_metadata()?;
            self.field(inner.as_os_str().as_bytes());
            self.field(&metadata.mode().to_le_bytes());
            self.field(&metadata.uid().to_le_bytes());
            self.field(&metadata.gid().to_le_bytes());
            if metadata.is_symlink() {
                self.field(std::fs::read_link(&path)?.as_os_str().as_bytes());
            } else if metadata.is_dir() {
                self.below(top, &inner, skip)?;
            } else if metadata.is_file() {
                self.file(&path)?;
            } else {
                self.field(&metadata.rdev().to_le_bytes());
            }
        }
        Ok(())
    }

    /// Adds the content of a file.
    pub fn file(&mut self, path: &Path) -> io::Result<&mut Self> {
        let mut file = File::open(path)?;
        let mut buffer = vec![0; 1 << 16];
        let mut inner = Sha256::new();
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => inner.update(&buffer[..read]),
            }
        }
        Ok(self.field(&inner.finalize()))
    }

    /// The digest in hexadecimal.
    pub fn finish(self) -> String {
        self.0
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(path: &Path) -> String {
        let mut hasher = Hasher::default();
        hasher
            .tree(path, &|path| path == Path::new("skipped"))
            .expect("reads");
        hasher.finish()
    }

    #[test]
    fn content_counts_and_time_does_not() {
        let (a, b) = (
            tempfile::tempdir().expect("folder"),
            tempfile::tempdir().expect("folder"),
        );
        for (folder, time) in [(&a, 1), (&b, 2)] {
            std::fs::create_dir(folder.path().join("d")).expect("folder");
            let file = folder.path().join("d/f");
            std::fs::write(&file, "x").expect("file");
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(time);
            File::options()
                .write(true)
                .open(&file)
                .and_then(|f| f.set_modified(time))
                .expect("time");
        }
        std::fs::write(b.path().join("skipped"), "y").expect("file");
        assert_eq!(digest(a.path()), digest(b.path()));
        std::fs::write(b.path().join("d/f"), "y").expect("file");
        assert_ne!(digest(a.path()), digest(b.path()));
    }
}
