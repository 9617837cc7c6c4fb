//! Digests of trees: names, types, modes, owners and contents; never times.
//!
//! Two trees with the same digest give the same results to whoever reads them. Times are left out, or no
//! copy would ever equal its source.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::{Digest, Sha256};

/// A digest under way.
#[derive(Default)]
pub struct Hasher {
    all: Sha256,
    /// The digest of what is being noted.
    part: Option<Sha256>,
    inputs: Vec<Input>,
}

/// Something that went into a digest: what it is, and a short digest of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// What it is: `file install.d/50-x`, `variable ARCH`.
    pub name: String,
    /// Changes when it changes.
    pub digest: String,
}

/// A digest that is finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The digest in hexadecimal.
    pub digest: String,
    /// What went into it.
    pub inputs: Vec<Input>,
}

impl Key {
    /// Takes over what went into a key that this one is made from.
    pub fn with(mut self, other: Self) -> Self {
        let mut inputs = other.inputs;
        // The other key stands among the inputs only as a number.
        let own = self.inputs.into_iter();
        inputs.extend(
            own.filter(|input| input.name != "layer below" && !input.name.starts_with("kind ")),
        );
        self.inputs = inputs;
        self
    }
}

impl Key {
    /// Notes the files of a key that this one stands on as its own inputs, so that a change there can be named.
    pub fn on(mut self, below: &Self, what: &str) -> Self {
        let files = below.inputs.iter().filter_map(|input| {
            Some(Input {
                name: format!("{what} {}", input.name.strip_prefix("file ")?),
                digest: input.digest.clone(),
            })
        });
        self.inputs.extend(files);
        self
    }
}

/// How much of a digest tells inputs apart.
const SHORT: usize = 8;

impl Hasher {
    /// Adds a field; its length is part of it, so fields cannot run into each other.
    pub fn field(&mut self, bytes: &[u8]) -> &mut Self {
        let length = (bytes.len() as u64).to_le_bytes();
        for hasher in [Some(&mut self.all), self.part.as_mut()]
            .into_iter()
            .flatten()
        {
            hasher.update(length);
            hasher.update(bytes);
        }
        self
    }

    /// Adds what `add` adds, and notes that this was `name`.
    pub fn noted(
        &mut self,
        kind: &str,
        name: &str,
        add: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<&mut Self> {
        let outer = self.part.replace(Sha256::new());
        let result = add(self);
        let part = std::mem::replace(&mut self.part, outer);
        if let Some(part) = part {
            let digest = part.finalize();
            self.inputs.push(Input {
                name: format!("{kind} {name}"),
                digest: hexadecimal(&digest[..SHORT]),
            });
        }
        result.map(|()| self)
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
            let name = inner.display().to_string();
            self.noted("file", &name, |hasher| {
                hasher.entry(&path, &inner, &metadata)
            })?;
            if metadata.is_dir() {
                self.below(top, &inner, skip)?;
            }
        }
        Ok(())
    }

    /// Adds one file, link, folder or device; not what lies in a folder.
    fn entry(&mut self, path: &Path, inner: &Path, metadata: &Metadata) -> io::Result<()> {
        self.field(inner.as_os_str().as_bytes());
        self.field(&metadata.mode().to_le_bytes());
        self.field(&metadata.uid().to_le_bytes());
        self.field(&metadata.gid().to_le_bytes());
        if metadata.is_symlink() {
            self.field(std::fs::read_link(path)?.as_os_str().as_bytes());
        } else if metadata.is_file() {
            self.file(path)?;
        } else if !metadata.is_dir() {
            self.field(&metadata.rdev().to_le_bytes());
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

    /// The digest, and what went into it.
    pub fn finish(self) -> Key {
        Key {
            digest: hexadecimal(&self.all.finalize()),
            inputs: self.inputs,
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(path: &Path) -> String {
        let mut hasher = Hasher::default();
        hasher
            .tree(path, &|path| path == Path::new("skipped"))
            .expect("reads");
        hasher.finish().digest
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
