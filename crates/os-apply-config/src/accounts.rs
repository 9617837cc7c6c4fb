//! Users and groups by reading `/etc/passwd` and `/etc/group`.
//!
//! Never asks NSS: a static binary that loads an NSS module of another glibc crashes. Accounts that exist only
//! in a directory service are therefore not found.

use std::path::{Path, PathBuf};

/// Where accounts are listed.
#[derive(Debug, Clone)]
pub struct Accounts {
    passwd: PathBuf,
    group: PathBuf,
}

impl Accounts {
    /// The accounts of the system whose root is `root`.
    pub fn below(root: &Path) -> Self {
        Accounts {
            passwd: root.join("etc/passwd"),
            group: root.join("etc/group"),
        }
    }

    /// The number of the user named `name`.
    pub fn user(&self, name: &str) -> Option<u32> {
        find(&self.passwd, |line| line.first() == Some(&name))
    }

    /// Whether a user with the number `id` exists.
    pub fn has_user(&self, id: u32) -> bool {
        let id = id.to_string();
        find(&self.passwd, |line| line.get(2) == Some(&id.as_str())).is_some()
    }

    /// The number of the group named `name`.
    pub fn group(&self, name: &str) -> Option<u32> {
        find(&self.group, |line| line.first() == Some(&name))
    }

    /// Whether a group with the number `id` exists.
    pub fn has_group(&self, id: u32) -> bool {
        let id = id.to_string();
        find(&self.group, |line| line.get(2) == Some(&id.as_str())).is_some()
    }
}

/// The number in the first line of `file` that `wanted` accepts; both files keep it in the third field.
fn find(file: &Path, wanted: impl Fn(&[&str]) -> bool) -> Option<u32> {
    // A system without the file has no accounts, as for the C library.
    let text = std::fs::read(file).ok()?;
    String::from_utf8_lossy(&text).lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        if line.starts_with('#') || !wanted(&fields) {
            return None;
        }
        fields.get(2)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_by_name_and_number() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(
            root.path().join("etc/passwd"),
            "#x\nroot:x:0:0:r:/:/bin/sh\nann:x:7:8::/:\nodd\n",
        )
        .unwrap();
        std::fs::write(root.path().join("etc/group"), "root:x:0:\nstaff:x:50:ann\n").unwrap();
        let accounts = Accounts::below(root.path());
        assert_eq!(accounts.user("ann"), Some(7));
        assert_eq!(accounts.user("0"), None);
        assert_eq!(accounts.group("staff"), Some(50));
        assert!(accounts.has_user(0) && accounts.has_user(7) && !accounts.has_user(8));
        assert!(accounts.has_group(50) && !accounts.has_group(7));
    }
}
