//! What processes cost: CPU seconds of this process, its ended children, and whole trees of others.
//!
//! Reads `/proc` only. A process that ended without being waited for inside its tree is not seen, so
//! figures are a lower bound.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// CPU seconds (user and system) of a process and all its descendants, their ended children included.
pub fn tree(pid: u32) -> f64 {
    let stats = all();
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for (pid, stat) in &stats {
        children.entry(stat.parent).or_default().push(*pid);
    }
    let mut sum = 0.0;
    let mut open = vec![pid];
    while let Some(pid) = open.pop() {
        if let Some(stat) = stats.get(&pid) {
            sum += stat.seconds;
        }
        open.extend(children.get(&pid).into_iter().flatten());
    }
    sum
}

/// CPU seconds of this process and the children that it has waited for.
pub fn own() -> f64 {
    read(Path::new("/proc/self/stat")).map_or(0.0, |stat| stat.seconds)
}

/// When a process started, in clock ticks since boot: with its number it names a process for good.
pub fn started(pid: u32) -> Option<u64> {
    read(Path::new(&format!("/proc/{pid}/stat")))
        .filter(|stat| !stat.zombie)
        .map(|stat| stat.start)
}

struct Stat {
    parent: u32,
    seconds: f64,
    start: u64,
    zombie: bool,
}

fn all() -> HashMap<u32, Stat> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return HashMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, read(&entry.path().join("stat"))?))
        })
        .collect()
}

/// Fields of proc_pid_stat(5); the name in parentheses may hold blanks, so they are counted from its end.
fn read(path: &Path) -> Option<Stat> {
    let text = fs::read_to_string(path).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |n: usize| fields.get(n)?.parse::<u64>().ok();
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let spent = number(11)? + number(12)? + number(13)? + number(14)?;
    Some(Stat {
        parent: number(1)? as u32,
        seconds: spent as f64 / ticks,
        start: number(19)?,
        zombie: fields.first() == Some(&"Z"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_child_shows_in_the_tree_of_its_parent() {
        let before = tree(std::process::id());
        let mut child = std::process::Command::new("sh")
            .args(["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"])
            .spawn()
            .unwrap();
        assert_eq!(started(child.id()), started(child.id()));
        child.wait().unwrap();
        assert!(tree(std::process::id()) > before);
    }

    #[test]
    fn a_process_that_is_gone_has_no_start() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!(started(pid), None);
    }
}
