//! An ext4 file system made from a tree, at its place in an image, by `mke2fs -d`.
//!
//! Owners, modes, capabilities, devices and hard links are kept. Nothing is mounted.

use std::path::Path;
use std::process::Command;

use crate::program::{ProgramError, run};

/// What the file system is to be.
#[derive(Debug, Clone)]
pub struct Ext4 {
    /// Its label.
    pub label: String,
    /// Its identity; random if not given.
    pub uuid: Option<uuid::Uuid>,
    /// More arguments for `mke2fs`, as users give them.
    pub options: Vec<String>,
}

/// Makes the file system from what lies below `tree`, in `image` at `offset` with `size` bytes.
pub fn make(
    tree: &Path,
    image: &Path,
    offset: u64,
    size: u64,
    wanted: &Ext4,
) -> Result<(), ProgramError> {
    let mut command = Command::new("mke2fs");
    command
        .args(["-q", "-F", "-t", "ext4", "-L", &wanted.label, "-d"])
        .arg(tree);
    if let Some(uuid) = wanted.uuid {
        command.args(["-U", &uuid.to_string()]);
    }
    let mut extended = vec![format!("offset={offset}")];
    let mut rest = Vec::new();
    let mut options = wanted.options.iter();
    // The last -E wins in mke2fs, so what users want is put into ours.
    while let Some(option) = options.next() {
        match (option.as_str(), options.clone().next()) {
            ("-E", Some(value)) => {
                extended.push(value.clone());
                options.next();
            }
            _ => rest.push(option),
        }
    }
    command
        .args(rest)
        .args(["-E", &extended.join(",")])
        .arg(image)
        .arg(format!("{}k", size / 1024));
    run(&mut command).map(drop)
}
