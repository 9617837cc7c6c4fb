//! Why configuration could not be applied.

use crate::mustache::MustacheError;
use std::io;
use std::path::PathBuf;

/// Why configuration could not be applied. The wording is upstream's where upstream has one.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A metadata document cannot be read.
    #[error("Could not open {} for reading. {source}", path.display())]
    OpenMetadata {
        /// The document.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A metadata document is not JSON.
    #[error("Could not parse metadata file: {}", path.display())]
    ParseMetadata {
        /// The document.
        path: PathBuf,
        /// Where and why not.
        source: metadata::ParseError,
    },
    /// A metadata document is not UTF-8.
    #[error("Could not parse metadata file: {} is not UTF-8", path.display())]
    EncodingMetadata {
        /// The document.
        path: PathBuf,
    },
    /// The list of metadata documents is not a JSON list of names.
    #[error("no list of metadata files in {}", path.display())]
    FileList {
        /// The list's file.
        path: PathBuf,
    },
    /// `--key` names nothing and there is no default.
    #[error("key {key} does not exist in [{}]", quoted(files))]
    MissingKey {
        /// The key.
        key: String,
        /// The documents that were read.
        files: Vec<PathBuf>,
        /// A key that exists and is spelled nearly so.
        nearest: Option<String>,
    },
    /// A value is not of the wanted type.
    #[error("cannot interpret value '{value}' as type {kind}")]
    Type {
        /// The value as text.
        value: String,
        /// The type's name.
        kind: String,
    },
    /// There is no such type.
    #[error("requested validation of unknown type: {kind}")]
    UnknownType {
        /// The name that was given.
        kind: String,
    },
    /// `--subhash` names no object.
    #[error("key '{key}' does not correspond to a hash in the metadata file")]
    SubHash {
        /// The key.
        key: String,
    },
    /// A template cannot be read or rendered.
    #[error("could not render moustache template {}", path.display())]
    Template {
        /// The template.
        path: PathBuf,
        /// Why not.
        source: TemplateProblem,
    },
    /// An executable template failed.
    #[error("config script failed: {}\n\nwith output:\n\n{output}", path.display())]
    Script {
        /// The script.
        path: PathBuf,
        /// What it wrote.
        output: String,
    },
    /// An executable template could not be started.
    #[error("config script failed: {} cannot be run", path.display())]
    StartScript {
        /// The script.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A control file is wrong.
    #[error("{what} in {}", path.display())]
    Control {
        /// The control file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The template tree cannot be read.
    #[error("cannot read template directory {}", path.display())]
    Walk {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The present state of a file cannot be seen.
    #[error("cannot look at {}", path.display())]
    Look {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is a directory where a file shall be.
    #[error("cannot write {}: it is a directory", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// A template's control file requires a key that the metadata does not have.
    #[error("template {} needs `{key}`, which no metadata gave", template.display())]
    Required {
        /// The template.
        template: PathBuf,
        /// The key.
        key: String,
        /// The nearest key that exists.
        nearest: Option<String>,
    },
    /// The command that checks a file did not accept it; nothing was changed.
    #[error("`{command}` refuses the new {}; nothing was changed\n{output}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The command of its control file.
        command: String,
        /// What it said, and how it ended.
        output: String,
    },
    /// Somebody else could lead a write elsewhere.
    #[error("cannot write {}: {} is a link of another user (number {owner})", path.display(), link.display())]
    ForeignLink {
        /// The file.
        path: PathBuf,
        /// The link on the way to it.
        link: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// A file could not be written or put in its place; the former files are back.
    #[error("cannot write {}; nothing was changed", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file could not be written, and a former one could not be put back either.
    #[error("cannot write {}, and {} could not be restored: {restore}", path.display(), lost.display())]
    Restore {
        /// The file that could not be written.
        path: PathBuf,
        /// Why not.
        source: io::Error,
        /// The file that was not restored; its former content lies beside it.
        lost: PathBuf,
        /// Why it was not restored.
        restore: io::Error,
    },
}

impl ApplyError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ApplyError::MissingKey {
                nearest: Some(nearest),
                ..
            }
            | ApplyError::Required {
                nearest: Some(nearest),
                ..
            } => Some(format!("did you mean `{nearest}`?")),
            ApplyError::UnknownType { .. } => Some(
                "types are default, dsn, int, netaddress, netdevice, raw, swiftdevices, username"
                    .to_owned(),
            ),
            ApplyError::StartScript { source, .. } if source.raw_os_error() == Some(8) => {
                Some("an executable template needs a `#!` line".to_owned())
            }
            _ => None,
        }
    }
}

/// Why one template could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum TemplateProblem {
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// It is not UTF-8.
    #[error("it is not UTF-8 (byte {at})")]
    Encoding {
        /// The first byte that is not.
        at: usize,
    },
    /// It is neither a file nor a link to one.
    #[error("it is not a file")]
    NotAFile,
    /// Its tags are wrong.
    #[error("line {}", source.line().map_or_else(|| "?".to_owned(), |line| line.to_string()))]
    Mustache {
        /// What is wrong.
        source: MustacheError,
    },
    /// The output of an executable template is not UTF-8.
    #[error("its output is not UTF-8")]
    OutputEncoding,
}

/// File names as Python prints a list of them.
fn quoted(files: &[PathBuf]) -> String {
    let names = files.iter().map(|file| format!("'{}'", file.display()));
    names.collect::<Vec<_>>().join(", ")
}
