//! Signals to all processes below this one.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashMap;

/// Sends `signal` to every descendant of this process. Those that left the tree are not found.
pub(crate) fn signal_all(signal: Signal) {
    let children = children();
    let mut open = vec![i64::from(std::process::id())];
    while let Some(parent) = open.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            open.push(*child);
            let pid = i32::try_from(*child).ok().and_then(Pid::from_raw);
            if let Some(pid) = pid {
                // It may have ended in the meantime.
                let _ = kill_process(pid, signal);
            }
        }
    }
}

/// All processes by their parents.
fn children() -> HashMap<i64, Vec<i64>> {
    let mut found: HashMap<i64, Vec<i64>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name in parentheses may hold anything, blanks and parentheses included.
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        if let Some(parent) = parent {
            found.entry(parent).or_default().push(pid);
        }
    }
    found
}
