//! Signals to all processes below this one.
//!
//! A process that makes another while we look would hide it: once the maker is dead, its child has another
//! parent. So all of them are stopped first, until no more are found, and only then get the signal.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::{HashMap, HashSet};

/// How often we look for processes that are not stopped yet; one that waits for a disk may take its time.
const LOOKS: usize = 1000;

/// Sends `signal` to every descendant of this process. Those that left the tree are not found.
pub(crate) fn signal_all(signal: Signal) {
    let mut held = HashSet::new();
    for _ in 0..LOOKS {
        let found = descendants();
        let fresh = found.iter().filter(|one| !held.contains(&one.pid));
        let fresh: Vec<Pid> = fresh.map(|one| one.pid).collect();
        if fresh.is_empty() && found.iter().all(|one| one.is_still) {
            break;
        }
        for pid in fresh {
            send(pid, Signal::STOP);
            held.insert(pid);
        }
        std::thread::yield_now();
    }
    for pid in held {
        send(pid, signal);
        send(pid, Signal::CONT);
    }
}

fn send(pid: Pid, signal: Signal) {
    // It may have ended in the meantime.
    let _ = kill_process(pid, signal);
}

/// A process as `/proc/PID/stat` shows it.
struct Process {
    pid: Pid,
    parent: i32,
    /// Stopped or dead: it makes no others.
    is_still: bool,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything, blanks and parentheses included.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut words = rest.split_whitespace();
        let state = words.next()?;
        Some(Self {
            pid: Pid::from_raw(pid)?,
            parent: words.next()?.parse().ok()?,
            is_still: ["T", "t", "Z", "X"].contains(&state),
        })
    }
}

fn descendants() -> Vec<Process> {
    let mut by_parent: HashMap<i32, Vec<Process>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        if let Some(process) = pid.and_then(Process::read) {
            by_parent.entry(process.parent).or_default().push(process);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![std::process::id().cast_signed()];
    while let Some(parent) = open.pop() {
        let children = by_parent.remove(&parent).unwrap_or_default();
        open.extend(
            children
                .iter()
                .map(|child| child.pid.as_raw_nonzero().get()),
        );
        found.extend(children);
    }
    found
}
