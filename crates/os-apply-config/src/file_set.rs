//! Decides what would change on disk, as a value that prints itself.
//!
//! Looks at the present files and changes none of them; writing is [`crate::apply`]'s job and makes no choice.

use crate::ApplyError;
use crate::diff;
use crate::tree::Rendered;
use std::fmt;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// All files that one run decides about.
#[derive(Debug, Clone)]
pub struct FileSet {
    /// The root of the output.
    pub root: PathBuf,
    /// One entry for each template, in the order of paths.
    pub files: Vec<FileChange>,
}

/// What is to happen to one file.
#[derive(Debug, Clone)]
pub struct FileChange {
    /// The file.
    pub path: PathBuf,
    /// The template that it comes from.
    pub template: PathBuf,
    /// A shell command that must accept the new file.
    pub validate: Option<String>,
    /// Services that read the file.
    pub services: Vec<String>,
    /// What is to happen.
    pub action: Action,
}

/// What is to happen to a file.
#[derive(Debug, Clone)]
pub enum Action {
    /// It is as it shall be.
    Keep(Content),
    /// It shall be empty, does not exist, and its control file wants no empty file.
    Omit,
    /// It is to be removed; `former` is what it holds.
    Remove {
        /// What it holds.
        former: Vec<u8>,
    },
    /// It is to be written.
    Write {
        /// What it shall be.
        content: Content,
        /// What it is now, if it exists.
        former: Option<Content>,
    },
}

/// A file's content and rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Its bytes.
    pub body: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
    /// Number of its owner; nothing means whoever writes it.
    pub owner: Option<u32>,
    /// Number of its group; nothing means that of whoever writes it.
    pub group: Option<u32>,
}

/// What lies at a path now.
enum Present {
    Nothing,
    File { content: Content, link: bool },
}

impl FileSet {
    /// Decides for all rendered templates what is to happen below `root`.
    pub fn decide(rendered: Vec<Rendered>, root: &Path) -> Result<FileSet, ApplyError> {
        let decide = |rendered: Rendered| {
            let path = root.join(&rendered.path);
            let template = rendered.template.clone();
            let (validate, services) = (
                rendered.control.validate.clone(),
                rendered.control.services.clone(),
            );
            refuse_foreign_links(&path, root)?;
            let action = decide_one(rendered, &path)?;
            Ok(FileChange {
                path,
                template,
                validate,
                services,
                action,
            })
        };
        let files = rendered
            .into_iter()
            .map(decide)
            .collect::<Result<_, ApplyError>>()?;
        Ok(FileSet {
            root: root.to_owned(),
            files,
        })
    }

    /// The files that would be written or removed.
    pub fn changed(&self) -> impl Iterator<Item = &FileChange> {
        self.files.iter().filter(|file| file.action.changes())
    }

    /// The changes of content as a unified diff. Every text in `secrets` is masked.
    pub fn diff(&self, secrets: &secret::Mask) -> String {
        let mut out = String::new();
        for file in self.changed() {
            let (before, after): (&[u8], &[u8]) = match &file.action {
                Action::Keep(_) | Action::Omit => continue,
                Action::Remove { former } => (former, b""),
                Action::Write { content, former } => (
                    former.as_ref().map_or(b"", |former| &former.body),
                    &content.body,
                ),
            };
            out.push_str(&diff::unified(&file.path, before, after, secrets));
        }
        out
    }
}

impl Action {
    /// Whether anything would happen on disk.
    pub fn changes(&self) -> bool {
        match self {
            Action::Keep(_) | Action::Omit => false,
            Action::Remove { .. } | Action::Write { .. } => true,
        }
    }
}

fn decide_one(rendered: Rendered, path: &Path) -> Result<Action, ApplyError> {
    let present = look(path)?;
    let Rendered { body, control, .. } = rendered;
    if body.is_empty() && !control.allow_empty {
        return Ok(match present {
            Present::Nothing => Action::Omit,
            Present::File { content, .. } => Action::Remove {
                former: content.body,
            },
        });
    }
    let (former, link) = match present {
        Present::Nothing => (None, false),
        Present::File { content, link } => (Some(content), link),
    };
    let content = Content {
        body,
        mode: control
            .mode
            .or(former.as_ref().map(|former| former.mode))
            .unwrap_or(0o644),
        owner: control
            .owner
            .or(former.as_ref().and_then(|former| former.owner)),
        group: control
            .group
            .or(former.as_ref().and_then(|former| former.group)),
    };
    // A link is replaced by a file even if its target already holds the right bytes.
    if former.as_ref() == Some(&content) && !link {
        return Ok(Action::Keep(content));
    }
    Ok(Action::Write { content, former })
}

/// Whoever owns a link on the way could lead the write elsewhere, so only links of root and of our own user are followed.
fn refuse_foreign_links(path: &Path, root: &Path) -> Result<(), ApplyError> {
    let own = rustix::process::geteuid().as_raw();
    let below = path
        .ancestors()
        .skip(1)
        .take_while(|place| *place != root && place.starts_with(root));
    for place in below {
        // What is not there yet is made by us.
        let Ok(found) = std::fs::symlink_metadata(place) else {
            continue;
        };
        if found.is_symlink() && found.uid() != 0 && found.uid() != own {
            return Err(ApplyError::ForeignLink {
                path: path.to_owned(),
                link: place.to_owned(),
                owner: found.uid(),
            });
        }
    }
    Ok(())
}

/// What lies at `path`; a link counts as what it leads to, and one that leads nowhere as nothing.
fn look(path: &Path) -> Result<Present, ApplyError> {
    let failed = |source| ApplyError::Look {
        path: path.to_owned(),
        source,
    };
    let link = match std::fs::symlink_metadata(path) {
        Ok(found) => found.is_symlink(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Present::Nothing),
        Err(source) => return Err(failed(source)),
    };
    let found = match std::fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Present::Nothing),
        Err(source) => return Err(failed(source)),
    };
    if found.is_dir() && !link {
        return Err(ApplyError::Directory {
            path: path.to_owned(),
        });
    }
    // A device or a pipe at the place of a file would block or never end; only its rights are taken over.
    let body = if found.is_file() {
        std::fs::read(path).map_err(failed)?
    } else {
        Vec::new()
    };
    let content = Content {
        body,
        mode: found.mode() & 0o7777,
        owner: Some(found.uid()),
        group: Some(found.gid()),
    };
    Ok(Present::File {
        content,
        link: link || !found.is_file(),
    })
}

impl fmt::Display for FileSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            let path = file.path.display();
            match &file.action {
                Action::Keep(_) => writeln!(f, "keep {path}")?,
                Action::Omit => writeln!(f, "omit empty {path}")?,
                Action::Remove { .. } => writeln!(f, "remove {path}")?,
                Action::Write {
                    content,
                    former: None,
                } => {
                    writeln!(f, "create {path} mode {:04o}", content.mode)?;
                }
                Action::Write {
                    content,
                    former: Some(former),
                } => {
                    write!(f, "write {path}")?;
                    if content.mode != former.mode {
                        write!(f, " mode {:04o} (was {:04o})", content.mode, former.mode)?;
                    }
                    if content.owner != former.owner || content.group != former.group {
                        write!(f, " owner {}", ids(content))?;
                        write!(f, " (was {})", ids(former))?;
                    }
                    writeln!(f)?;
                }
            }
        }
        Ok(())
    }
}

fn ids(content: &Content) -> String {
    let id = |id: Option<u32>| id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    format!("{}:{}", id(content.owner), id(content.group))
}
