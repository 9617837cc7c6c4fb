//! A control group per machine, in every hierarchy that matters, on hosts with cgroup2 and with v1 beside it.
//!
//! The kernel removes everything else of a lab that was killed; these directories stay and are removed by
//! the next start or by `down`. Nothing outside of the lab's own directory is touched.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::LabError;

/// Hierarchies of v1 that a machine gets a group in. `cpuset` is left out: its new groups hold no process
/// before they are given processors.
const WANTED: [&str; 5] = ["name=systemd", "memory", "cpu", "cpuacct", "pids"];

/// How long processes that were killed may take to leave their group.
const LEAVING: Duration = Duration::from_secs(10);

/// The lab's directories, one per hierarchy.
#[derive(Debug, Clone)]
pub struct Groups {
    roots: Vec<PathBuf>,
}

/// The control group of one machine.
#[derive(Debug)]
pub struct Group {
    paths: Vec<PathBuf>,
}

impl Groups {
    /// The directories of the lab called `lab` in all hierarchies of this host.
    pub fn of(lab: &str) -> Result<Self, LabError> {
        let text = fs::read_to_string("/proc/self/mountinfo")
            .map_err(LabError::io("read /proc/self/mountinfo"))?;
        let roots = hierarchies(&text).into_iter().map(|root| root.join(lab));
        Ok(Self {
            roots: roots.collect(),
        })
    }

    /// Makes the group of a machine, empty.
    pub fn make(&self, machine: &str, memory_mib: u64) -> Result<Group, LabError> {
        let mut paths = Vec::new();
        for root in &self.roots {
            let path = root.join(machine);
            remove_tree(&path)?;
            fs::create_dir_all(&path).map_err(LabError::io(format!(
                "make the control group {}",
                path.display()
            )))?;
            limit(root, &path, memory_mib);
            paths.push(path);
        }
        Ok(Group { paths })
    }

    /// Ends every process of the lab's groups and removes the directories.
    pub fn remove(&self) -> Result<(), LabError> {
        Group {
            paths: self.roots.clone(),
        }
        .remove()
    }
}

impl Group {
    /// The files to which a process writes its id to enter the group.
    pub fn doors(&self) -> Vec<PathBuf> {
        self.paths
            .iter()
            .map(|path| path.join("cgroup.procs"))
            .collect()
    }

    /// The processes in the group and below.
    fn members(&self) -> BTreeSet<i32> {
        let mut members = BTreeSet::new();
        for path in &self.paths {
            for directory in tree(path) {
                let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
                // 0 stands for a process of another PID namespace.
                members.extend(
                    text.lines()
                        .filter_map(|line| line.parse::<i32>().ok())
                        .filter(|pid| *pid > 1),
                );
            }
        }
        members
    }

    /// Kills all processes of the group and waits until they are gone.
    ///
    /// Those whose parent died first are children of this process by now and are waited for here; `child`,
    /// which the caller started, is waited for by the caller.
    pub fn kill(&self, child: Option<u32>) {
        let until = Instant::now() + LEAVING;
        let mut seen = BTreeSet::new();
        loop {
            let members = self.members();
            for pid in &members {
                // It may be gone already: then there is nothing to do.
                match kill(Pid::from_raw(*pid), Signal::SIGKILL) {
                    Ok(()) | Err(_) => {}
                }
                if u32::try_from(*pid).ok() != child {
                    seen.insert(*pid);
                }
            }
            reap(&seen);
            if members.is_empty() || Instant::now() > until {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills what is left and removes the directories.
    pub fn remove(&self) -> Result<(), LabError> {
        self.kill(None);
        self.paths.iter().try_for_each(|path| remove_tree(path))
    }
}

/// Takes the exit status of those of `pids` that are children of this process and have ended.
fn reap(pids: &BTreeSet<i32>) {
    for pid in pids {
        let flags = nix::sys::wait::WaitPidFlag::WNOHANG;
        match nix::sys::wait::waitpid(Pid::from_raw(*pid), Some(flags)) {
            Ok(_) | Err(_) => {}
        }
    }
}

/// Limits the memory where the hierarchy can. A host without the controller runs the machine all the same.
fn limit(root: &Path, path: &Path, memory_mib: u64) {
    let bytes = (memory_mib << 20).to_string();
    if root.join("cgroup.controllers").exists() {
        let enable = |directory: Option<&Path>| {
            directory.is_some_and(|d| {
                fs::write(d.join("cgroup.subtree_control"), "+memory +pids").is_ok()
            })
        };
        let _enabled = enable(root.parent()) && enable(Some(root));
    }
    for name in ["memory.max", "memory.limit_in_bytes"] {
        let file = path.join(name);
        if file.exists()
            && let Err(error) = fs::write(&file, &bytes)
        {
            tracing::warn!(file = %file.display(), %error, "memory of the machine is not limited");
        }
    }
}

/// Mount points of the hierarchies in a text of the form of `/proc/self/mountinfo`.
fn hierarchies(mountinfo: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for line in mountinfo.lines() {
        let Some((front, back)) = line.split_once(" - ") else {
            continue;
        };
        let mut back = back.split(' ');
        let (kind, options) = (
            back.next().unwrap_or_default(),
            back.nth(1).unwrap_or_default(),
        );
        let wanted = match kind {
            "cgroup2" => true,
            "cgroup" => options.split(',').any(|option| WANTED.contains(&option)),
            _ => false,
        };
        let Some(point) = front.split(' ').nth(4) else {
            continue;
        };
        let point = PathBuf::from(point);
        if wanted && !found.contains(&point) {
            found.push(point);
        }
    }
    found
}

/// A directory and all below it, the deepest last.
fn tree(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    let mut next = 0;
    while let Some(directory) = found.get(next).cloned() {
        next += 1;
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        let below = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir()));
        found.extend(below.map(|entry| entry.path()));
    }
    found
}

fn remove_tree(path: &Path) -> Result<(), LabError> {
    let until = Instant::now() + LEAVING;
    loop {
        let mut last = None;
        for directory in tree(path).iter().rev() {
            match fs::remove_dir(directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => last = Some(error),
                Ok(()) | Err(_) => {}
            }
        }
        match last {
            None => return Ok(()),
            // A process that was killed holds its group until the kernel has taken it apart.
            Some(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            Some(source) => {
                return Err(LabError::io(format!(
                    "remove the control group {}",
                    path.display()
                ))(source));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_kinds_of_hosts_are_found() {
        let hybrid = "\
24 20 0:21 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
25 24 0:22 / /sys/fs/cgroup/cpu rw,relatime shared:1 - cgroup cgroup rw,cpu
26 24 0:23 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices
27 24 0:24 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
28 24 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
        let paths = [
            "/sys/fs/cgroup/cpu",
            "/sys/fs/cgroup/systemd",
            "/sys/fs/cgroup/unified",
        ];
        assert_eq!(hierarchies(hybrid), paths.map(PathBuf::from));
        let unified =
            "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(hierarchies(unified), [PathBuf::from("/sys/fs/cgroup")]);
    }
}
