//! Puts a decided [`FileSet`] on disk: all of it, or nothing.
//!
//! Every new file is written and synced beside its target before the first target changes. Then each is exchanged with
//! its target in one step of the kernel; what goes wrong in the middle exchanges them back. Makes no decision: what to
//! write where is in the value.

use crate::ApplyError;
use crate::check;
use crate::file_set::{Action, Content, FileChange, FileSet};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

/// Puts the set on disk. Anything but success leaves the files as they were.
pub fn apply(set: &FileSet) -> Result<(), ApplyError> {
    let mut work = Work::default();
    let prepared = work.prepare(set);
    if prepared.is_ok()
        && let Err(refused) = work.check(set)
    {
        // Only files beside their targets were made, and what cannot be removed of them is found by the next run.
        let _ = work.undo();
        return Err(refused);
    }
    match prepared.and_then(|()| work.exchange()) {
        Ok(()) => {
            work.tidy();
            Ok(())
        }
        Err((path, source)) => Err(match work.undo() {
            Ok(()) => ApplyError::Write { path, source },
            Err((lost, restore)) => ApplyError::Restore {
                path,
                source,
                lost,
                restore,
            },
        }),
    }
}

/// What a run for the whole system holds while it writes.
const SYSTEM_LOCK: &str = "/run/os-apply-config.lock";

type Failure = (PathBuf, io::Error);

/// A file that waits beside its target.
struct Prepared {
    target: PathBuf,
    /// The new file before the exchange, the former one after it.
    beside: PathBuf,
    step: Step,
}

/// How far one file has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The new file is beside the target.
    Written,
    /// The target is to be removed.
    Doomed,
    /// The new file is in place, and there was none before.
    Created,
    /// The former file is beside the new one.
    Exchanged,
    /// The former file is beside its old place, which is empty.
    Removed,
}

#[derive(Default)]
struct Work {
    files: Vec<Prepared>,
    directories: Vec<PathBuf>,
    _lock: Option<File>,
}

impl Work {
    fn prepare(&mut self, set: &FileSet) -> Result<(), Failure> {
        let is_left_over = |file: &&FileChange| beside(&file.path).symlink_metadata().is_ok();
        let left_over = set.files.iter().any(|file| is_left_over(&file));
        if set.changed().next().is_none() && !left_over {
            return Ok(());
        }
        self.make_directories(&set.root)?;
        self._lock = lock(&set.root).map_err(|error| (set.root.clone(), error))?;
        if left_over {
            // A killed run may have got as far as the exchange; what it left beside a file that is right by now holds the
            // former content. What cannot be removed here is in the way of that file's next change, and told then.
            let kept = set.files.iter().filter(|file| !file.action.changes());
            for file in kept.filter(is_left_over) {
                let _ = fs::remove_file(beside(&file.path));
            }
        }
        set.changed().try_for_each(|file| self.prepare_one(file))
    }

    fn prepare_one(&mut self, file: &FileChange) -> Result<(), Failure> {
        let failed = |error| (file.path.clone(), error);
        let beside = beside(&file.path);
        match fs::remove_file(&beside) {
            Err(error)
                if error.kind() != ErrorKind::NotFound
                    && error.kind() != ErrorKind::NotADirectory =>
            {
                return Err(failed(error));
            }
            _ => {}
        }
        let step = match &file.action {
            Action::Keep(_) | Action::Omit => return Ok(()),
            Action::Remove { .. } => Step::Doomed,
            Action::Write { content, .. } => {
                if let Some(parent) = file.path.parent() {
                    self.make_directories(parent)?;
                }
                if let Err(error) = write(&beside, content) {
                    let _ = fs::remove_file(&beside);
                    return Err(failed(error));
                }
                Step::Written
            }
        };
        self.files.push(Prepared {
            target: file.path.clone(),
            beside,
            step,
        });
        Ok(())
    }

    /// Lets each new file be looked at by the command of its control file, before any of them is in its place.
    fn check(&self, set: &FileSet) -> Result<(), ApplyError> {
        for file in set.changed() {
            let prepared = self.files.iter().find(|each| each.target == file.path);
            if let (Some(command), Some(prepared)) = (&file.validate, prepared)
                && prepared.step == Step::Written
            {
                check::accepts(command, &prepared.beside).map_err(|output| {
                    ApplyError::Refused {
                        path: file.path.clone(),
                        command: command.clone(),
                        output,
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Makes the missing directories of `path` and remembers them.
    fn make_directories(&mut self, path: &Path) -> Result<(), Failure> {
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
            .collect();
        for directory in missing.into_iter().rev() {
            match fs::create_dir(directory) {
                Ok(()) => self.directories.push(directory.to_owned()),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && directory.is_dir() => {}
                Err(error) => return Err((directory.to_owned(), error)),
            }
        }
        Ok(())
    }

    fn exchange(&mut self) -> Result<(), Failure> {
        for file in &mut self.files {
            let step = match file.step {
                Step::Written => put(&file.beside, &file.target),
                Step::Doomed => fs::rename(&file.target, &file.beside).map(|()| Step::Removed),
                done => Ok(done),
            };
            file.step = step.map_err(|error| (file.target.clone(), error))?;
        }
        self.sync_directories()
    }

    fn sync_directories(&self) -> Result<(), Failure> {
        let mut parents: Vec<&Path> = self
            .files
            .iter()
            .filter_map(|file| file.target.parent())
            .collect();
        parents.extend(
            self.directories
                .iter()
                .filter_map(|directory| directory.parent()),
        );
        parents.sort();
        parents.dedup();
        for parent in parents {
            let parent = if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                parent
            };
            File::open(parent)
                .and_then(|directory| directory.sync_all())
                .map_err(|error| (parent.to_owned(), error))?;
        }
        Ok(())
    }

    /// Drops the former files. One that stays is found and dropped by the next run.
    fn tidy(&self) {
        for file in &self.files {
            let _ = fs::remove_file(&file.beside);
        }
    }

    /// Puts all former files back, and removes what was made.
    fn undo(&mut self) -> Result<(), Failure> {
        let mut first = Ok(());
        for file in self.files.iter().rev() {
            let restored = match file.step {
                Step::Written | Step::Doomed => Ok(()),
                Step::Created => fs::remove_file(&file.target),
                Step::Exchanged | Step::Removed => fs::rename(&file.beside, &file.target),
            };
            match restored {
                Ok(()) => {
                    let _ = fs::remove_file(&file.beside);
                }
                Err(error) if first.is_ok() => first = Err((file.target.clone(), error)),
                Err(_) => {}
            }
        }
        for directory in self.directories.iter().rev() {
            // Only empty ones go; somebody else may use them by now.
            let _ = fs::remove_dir(directory);
        }
        first
    }
}

/// Waits until no other run writes below `root`.
///
/// Two runs at once would take each other's files beside the targets for leftovers.
fn lock(root: &Path) -> io::Result<Option<File>> {
    let file = if root == Path::new("/") {
        // Everybody can lock the root directory; only its owner can make this file.
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(SYSTEM_LOCK)
    } else {
        File::open(root)
    };
    match file {
        Ok(file) => file.lock().map(|()| Some(file)),
        // Whoever may not make the file cannot meet the system's own run either.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(error),
    }
}

/// The place beside `target` where its new file waits; hidden, and always the same, so that leftovers are found.
fn beside(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default();
    let mut beside = OsString::from(".");
    // Names are limited to 255 bytes.
    let kept = &name.as_encoded_bytes()[..name.len().min(230)];
    if kept.len() == name.len() {
        beside.push(name);
    } else {
        beside.push(String::from_utf8_lossy(kept).trim_end_matches(char::REPLACEMENT_CHARACTER));
    }
    beside.push(".os-apply-config");
    target.with_file_name(beside)
}

fn write(path: &Path, content: &Content) -> io::Result<()> {
    // Nobody else may read a secret before the rights are set.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(&content.body)?;
    if content.owner.is_some() || content.group.is_some() {
        chown(path, content.owner, content.group)?;
    }
    // After chown, which drops the set-id bits.
    file.set_permissions(fs::Permissions::from_mode(content.mode))?;
    file.sync_all()
}

/// Puts `new` in the place of `target`; a former file ends where `new` was.
fn put(new: &Path, target: &Path) -> io::Result<Step> {
    match renameat_with(CWD, new, CWD, target, RenameFlags::EXCHANGE) {
        Ok(()) => return Ok(Step::Exchanged),
        Err(rustix::io::Errno::NOENT) => {
            fs::rename(new, target)?;
            return Ok(Step::Created);
        }
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
        }
        Err(error) => return Err(error.into()),
    }
    // The file system cannot exchange: keep the former file under a second name, then replace it.
    let kept = new.with_extension("os-apply-config-former");
    let _ = fs::remove_file(&kept);
    match fs::hard_link(target, &kept) {
        Ok(()) => {
            fs::rename(new, target)?;
            fs::rename(&kept, new)?;
            Ok(Step::Exchanged)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::rename(new, target)?;
            Ok(Step::Created)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Control;
    use crate::tree::Rendered;

    fn rendered(path: &str, body: &str) -> Rendered {
        Rendered {
            template: PathBuf::from("/t").join(path),
            path: PathBuf::from(path),
            body: body.as_bytes().to_owned(),
            control: Control {
                allow_empty: false,
                ..Control::default()
            },
        }
    }

    fn tree(root: &Path) -> Vec<(PathBuf, String)> {
        let mut found = Vec::new();
        let mut open = vec![root.to_owned()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    found.push((path.clone(), "directory".to_owned()));
                    open.push(path);
                } else {
                    found.push((path.clone(), fs::read_to_string(&path).unwrap()));
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn writes_creates_and_removes() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a"), "old").unwrap();
        fs::write(root.path().join("gone"), "old").unwrap();
        let files = vec![
            rendered("a", "new"),
            rendered("d/e/b", "b"),
            rendered("gone", ""),
        ];
        let set = FileSet::decide(files.clone(), root.path()).unwrap();
        apply(&set).unwrap();
        let names: Vec<_> = tree(root.path())
            .into_iter()
            .map(|(path, body)| {
                (
                    path.strip_prefix(root.path())
                        .unwrap()
                        .display()
                        .to_string(),
                    body,
                )
            })
            .collect();
        let expect = [
            ("a", "new"),
            ("d", "directory"),
            ("d/e", "directory"),
            ("d/e/b", "b"),
        ];
        assert_eq!(names, expect.map(|(n, b)| (n.to_owned(), b.to_owned())));
        // The second time there is nothing to do.
        let set = FileSet::decide(files, root.path()).unwrap();
        assert_eq!(set.changed().count(), 0, "{set}");
    }

    /// Makes the step at `n` fail, for each `n`, by putting a directory where the file beside the target goes or where
    /// the target is.
    #[test]
    fn a_failure_at_any_file_restores_all() {
        for broken in 0..4 {
            let root = tempfile::tempdir().unwrap();
            fs::write(root.path().join("a"), "old a").unwrap();
            fs::write(root.path().join("b"), "old b").unwrap();
            fs::write(root.path().join("c"), "old c").unwrap();
            let files = ["a", "b", "c", "n/d"]
                .map(|name| rendered(name, if name == "b" { "" } else { "new" }));
            let set = FileSet::decide(files.to_vec(), root.path()).unwrap();
            let target = &set.files[broken].path;
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            // A directory that is not empty can be neither removed as a leftover nor replaced.
            fs::create_dir(beside(target)).unwrap();
            let before = tree(root.path());
            let error = apply(&set).unwrap_err();
            assert!(error.to_string().contains("nothing was changed"), "{error}");
            assert_eq!(tree(root.path()), before, "broken at {broken}");
        }
    }

    #[test]
    fn a_failure_after_the_first_exchange_restores_it() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a"), "old a").unwrap();
        fs::write(root.path().join("b"), "old b").unwrap();
        let files = vec![
            rendered("a", "new"),
            rendered("b", ""),
            rendered("c", "new"),
        ];
        let set = FileSet::decide(files, root.path()).unwrap();
        // Between deciding and doing, the file to be removed vanishes: `a` is already exchanged when that shows.
        fs::remove_file(root.path().join("b")).unwrap();
        let before = tree(root.path());
        assert!(apply(&set).is_err());
        assert_eq!(tree(root.path()), before);
    }

    #[test]
    fn one_file_that_is_refused_changes_nothing() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a"), "old a").unwrap();
        let mut files = vec![rendered("a", "new a"), rendered("n/b", "new b")];
        files[1].control.validate = Some(
            "cat \"$FILE\"; grep -q good \"$FILE\" || { echo is not good >&2; exit 3; }".to_owned(),
        );
        let set = FileSet::decide(files.clone(), root.path()).unwrap();
        let before = tree(root.path());
        let error = apply(&set).unwrap_err().to_string();
        let said = format!(
            "refuses the new {}; nothing was changed\nnew bis not good\n",
            root.path().join("n/b").display()
        );
        assert!(error.contains(&said), "{error}");
        assert!(error.ends_with("exit status: 3"), "{error}");
        assert_eq!(tree(root.path()), before);
        files[1].body = b"good".to_vec();
        apply(&FileSet::decide(files, root.path()).unwrap()).unwrap();
        assert_eq!(fs::read_to_string(root.path().join("n/b")).unwrap(), "good");
    }

    #[test]
    fn a_link_of_another_user_is_not_followed() {
        use std::os::unix::fs::{lchown, symlink};
        let root = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let link = root.path().join("d");
        symlink(elsewhere.path(), &link).unwrap();
        let files = vec![rendered("d/a", "new")];
        assert!(FileSet::decide(files.clone(), root.path()).is_ok());
        // Only root can give a link away; the other half of the test is for it.
        if lchown(&link, Some(1), None).is_ok() {
            let error = FileSet::decide(files, root.path()).unwrap_err();
            assert!(
                error
                    .to_string()
                    .contains("is a link of another user (number 1)"),
                "{error}"
            );
        }
    }

    #[test]
    fn leftovers_of_a_killed_run_are_replaced() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(".a.os-apply-config"), "half").unwrap();
        let set = FileSet::decide(vec![rendered("a", "new")], root.path()).unwrap();
        apply(&set).unwrap();
        assert_eq!(tree(root.path()).len(), 1);
        // Cut off after the exchange, the former file is left beside one that is right already.
        fs::write(root.path().join(".a.os-apply-config"), "former").unwrap();
        let set = FileSet::decide(vec![rendered("a", "new")], root.path()).unwrap();
        assert_eq!(set.changed().count(), 0);
        apply(&set).unwrap();
        assert_eq!(tree(root.path()).len(), 1);
    }
}
