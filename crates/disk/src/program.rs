//! Runs the programs that know a file system's format, and keeps what they say when they fail.

use std::io;
use std::process::Command;

/// A program that this room needs could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It cannot be started.
    #[error("cannot run `{program}`")]
    Start {
        /// Its name.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It failed.
    #[error("`{program}` failed ({code}): {said}")]
    Failed {
        /// Its name.
        program: String,
        /// Its exit code, or the signal.
        code: String,
        /// The last lines of its output.
        said: String,
    },
}

impl ProgramError {
    /// What can be done about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Start { program, source } if source.kind() == io::ErrorKind::NotFound => {
                Some(format!(
                    "install the Debian package that holds `{program}`: {}",
                    package(program)
                ))
            }
            Self::Start { .. } | Self::Failed { .. } => None,
        }
    }
}

fn package(program: &str) -> &'static str {
    match program {
        "mkfs.vfat" => "dosfstools",
        "mcopy" | "mmd" => "mtools",
        "grub-mkimage" => "grub-common, and grub-pc-bin and grub-efi-amd64-bin for its modules",
        "qemu-img" => "qemu-utils",
        "mksquashfs" => "squashfs-tools",
        "mkfs.xfs" => "xfsprogs",
        "mkfs.btrfs" => "btrfs-progs",
        "mmdebstrap" => "mmdebstrap",
        _ => "e2fsprogs, tar or util-linux",
    }
}

/// Runs `command` to its end; its output is only shown if it fails.
pub fn run(command: &mut Command) -> Result<Vec<u8>, ProgramError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| ProgramError::Start {
        program: program.clone(),
        source,
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
    if text.trim().is_empty() {
        text = String::from_utf8_lossy(&output.stdout).into_owned();
    }
    let lines: Vec<&str> = text.trim().lines().collect();
    let said = lines[lines.len().saturating_sub(5)..].join("; ");
    Err(ProgramError::Failed {
        program,
        code: output.status.to_string(),
        said,
    })
}
