//! Block devices made with the kernel's help, as upstream's `dib-block-device` makes them: loop devices,
//! partitions, LVM, file systems, mounts.
//!
//! `config` reads the YAML, `graph` decides what is made in which order, `device` makes it and keeps for each step
//! how it is undone, `command` is the program. Partition nodes are asked of the kernel one by one (BLKPG): neither
//! device-mapper nor the kernel's own table parsers are needed, but by LVM.

pub mod command;
pub mod config;
pub mod device;
pub mod graph;
pub mod state;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use disk::program::ProgramError;

/// Why block devices cannot be made or taken down.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The configuration is wrong.
    #[error("block device configuration: {text}")]
    Config {
        /// What is wrong.
        text: String,
    },
    /// A program failed.
    #[error("cannot {what}")]
    Program {
        /// What was tried.
        what: String,
        /// What went wrong.
        source: ProgramError,
    },
    /// A file cannot be read or written.
    #[error("cannot {what} {path}", path = path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The table cannot be written.
    #[error("cannot partition {path}", path = path.display())]
    Table {
        /// The disk.
        path: PathBuf,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A loop device was let go, and somebody keeps it open.
    #[error("the loop device {device} is still open elsewhere and keeps its image")]
    Held {
        /// Its node.
        device: String,
    },
}

impl BlockError {
    /// What can be done about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Program { source, .. } => source.hint(),
            Self::Held { device } => Some(format!("`fuser --verbose {device}` names who has it")),
            Self::Config { .. } | Self::File { .. } | Self::Table { .. } => None,
        }
    }
}

pub(crate) fn wrong(text: impl Into<String>) -> BlockError {
    BlockError::Config { text: text.into() }
}

pub(crate) fn file(what: &'static str, path: &Path) -> impl Fn(io::Error) -> BlockError {
    let path = path.to_owned();
    move |source| BlockError::File {
        what,
        path: path.clone(),
        source,
    }
}

/// A program that needs the rights of root: by sudo for everybody else.
pub(crate) fn as_root(program: &str) -> Command {
    if rustix::process::geteuid().is_root() {
        Command::new(program)
    } else {
        let mut command = Command::new("sudo");
        command.arg(program);
        command
    }
}

/// Runs a program that needs the rights of root. Gives what it wrote.
pub(crate) fn run(what: &str, program: &str, arguments: &[&str]) -> Result<String, BlockError> {
    let output = disk::program::run(as_root(program).args(arguments)).map_err(|source| {
        BlockError::Program {
            what: what.to_owned(),
            source,
        }
    })?;
    Ok(String::from_utf8_lossy(&output).trim().to_owned())
}
