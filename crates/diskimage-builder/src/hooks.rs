//! The merged hook tree: what all elements bring, in one folder.
//!
//! Two elements may not bring a file of the same name into the same folder; at the top the later one
//! wins. `tests` folders stay out.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::element::Element;

/// The phases in their order, and whether hooks run in the chroot.
pub const PHASES: &[(&str, bool)] = &[
    ("root", false),
    ("extra-data", false),
    ("pre-install", true),
    ("install", true),
    ("post-install", true),
    ("post-root", false),
    ("block-device", false),
    ("pre-finalise", false),
    ("finalise", true),
    ("cleanup", false),
];

/// Folders of an element that no build needs.
const LEFT_OUT: &[&str] = &["tests", "__pycache__"];

/// Why elements cannot be merged.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// Two elements bring the same hook.
    #[error("There is a duplicated hook in your elements: {hook} (of `{first}` and `{second}`)")]
    Duplicate {
        /// Folder and name.
        hook: String,
        /// The element that had it first.
        first: String,
        /// The other one.
        second: String,
    },
    /// A file cannot be copied.
    #[error("cannot copy {path} of element `{element}`", path = path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// Its element.
        element: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Which element a hook came from, by `PHASE.d/NAME`.
#[derive(Debug, Default, Clone)]
pub struct Owners(BTreeMap<String, String>);

impl Owners {
    /// The element that brought a hook.
    pub fn of(&self, phase: &str, hook: &str) -> Option<&str> {
        self.0.get(&format!("{phase}.d/{hook}")).map(String::as_str)
    }
}

/// Copies the files of `elements` to `target`.
pub fn merge(elements: &[Element], target: &Path) -> Result<Owners, HookError> {
    let mut owners = Owners::default();
    for element in elements {
        let mut copy = Copy {
            element,
            owners: &mut owners,
        };
        copy.folder(&element.path, target, Path::new(""))?;
    }
    Ok(owners)
}

struct Copy<'a> {
    element: &'a Element,
    owners: &'a mut Owners,
}

impl Copy<'_> {
    fn folder(&mut self, source: &Path, target: &Path, relative: &Path) -> Result<(), HookError> {
        let failed = |path: &Path, source| HookError::Copy {
            path: path.to_owned(),
            element: self.element.name.clone(),
            source,
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(source).map_err(|error| failed(source, error))? {
            names.push(entry.map_err(|error| failed(source, error))?.file_name());
        }
        names.sort();
        let top = relative.as_os_str().is_empty();
        for name in names {
            let hidden = name.as_encoded_bytes().starts_with(b".");
            if top && (hidden || LEFT_OUT.iter().any(|left_out| name == *left_out)) {
                continue;
            }
            let (from, to, inner) = (source.join(&name), target.join(&name), relative.join(&name));
            let metadata = from
                .symlink_metadata()
                .map_err(|error| failed(&from, error))?;
            if metadata.is_dir() {
                match std::fs::create_dir(&to) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(failed(&to, error));
                    }
                    Ok(()) | Err(_) => {}
                }
                self.folder(&from, &to, &inner)?;
                std::fs::set_permissions(&to, metadata.permissions())
                    .map_err(|error| failed(&to, error))?;
                continue;
            }
            let hook = inner.to_string_lossy().into_owned();
            let owner = self
                .owners
                .0
                .insert(hook.clone(), self.element.name.clone());
            match owner {
                Some(first) if !top => {
                    return Err(HookError::Duplicate {
                        hook,
                        first,
                        second: self.element.name.clone(),
                    });
                }
                Some(_) => drop(std::fs::remove_file(&to)),
                None => {}
            }
            if metadata.is_symlink() {
                let link = std::fs::read_link(&from).map_err(|error| failed(&from, error))?;
                std::os::unix::fs::symlink(link, &to).map_err(|error| failed(&to, error))?;
            } else if metadata.is_file() {
                std::fs::copy(&from, &to).map_err(|error| failed(&from, error))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::Library;

    #[test]
    fn duplicates_are_refused_and_owners_known() {
        let top = tempfile::tempdir().expect("folder");
        for (element, file) in [
            ("a", "install.d/50-a"),
            ("b", "install.d/50-b"),
            ("a", "readme"),
            ("b", "readme"),
        ] {
            let path = top.path().join("e").join(element).join(file);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            std::fs::write(path, element).expect("file");
        }
        let library = Library::read(top.path().join("e").to_str().expect("text")).expect("reads");
        let elements: Vec<_> = ["a", "b"]
            .iter()
            .map(|name| library.get(name).expect("there").clone())
            .collect();
        let target = top.path().join("hooks");
        std::fs::create_dir(&target).expect("folder");
        let owners = merge(&elements, &target).expect("merges");
        assert_eq!(owners.of("install", "50-b"), Some("b"));
        assert_eq!(
            std::fs::read_to_string(target.join("readme")).expect("file"),
            "b"
        );

        std::fs::write(top.path().join("e/b/install.d/50-a"), "").expect("file");
        let again = top.path().join("again");
        std::fs::create_dir(&again).expect("folder");
        let error = merge(&elements, &again).expect_err("twice").to_string();
        assert!(
            error.contains("duplicated hook in your elements: install.d/50-a"),
            "{error}"
        );
    }
}
