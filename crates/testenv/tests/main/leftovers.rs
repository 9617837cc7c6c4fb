//! What a lab leaves behind: nothing when it ends, and only empty control groups when it is killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testenv::Reset;

use crate::boot::start_from;
use crate::lab::{Lab, isolated, until};
use crate::medium;

/// What on the host belongs to the lab in `state`, its control groups aside.
fn traces(state: &Path) -> Vec<String> {
    let state = state.to_str().expect("text");
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").expect("proc").flatten() {
        let line = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        if line.contains(state)
            && process.file_name().to_str() != Some(&std::process::id().to_string())
        {
            found.push(format!("process {}", line.replace('\0', " ")));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    found.extend(
        mounts
            .lines()
            .filter(|line| line.contains(state) || line.contains("/run/testenv"))
            .map(str::to_owned),
    );
    for device in fs::read_dir("/sys/block").expect("sys").flatten() {
        let backing =
            fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
        found.extend(backing.contains(state).then_some(backing));
    }
    let links = Command::new("ip")
        .args(["-o", "link"])
        .output()
        .expect("ip starts");
    let links = String::from_utf8(links.stdout).expect("text");
    found.extend(
        links
            .lines()
            .filter(|line| !line.contains(" lo:"))
            .map(str::to_owned),
    );
    found
}

/// Directories of control groups with the lab's name in any hierarchy.
fn groups(lab: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let root = PathBuf::from("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(&root)
        .expect("cgroups")
        .flatten()
        .map(|entry| entry.path());
    for hierarchy in hierarchies.chain([root]) {
        let path = hierarchy.join(lab);
        found.extend(path.exists().then_some(path));
    }
    found
}

/// The lab's name, as the control group of its machine tells.
fn name_of(lab: &Lab) -> String {
    let state = lab.state.to_str().expect("text");
    let processes = fs::read_dir("/proc").expect("proc").flatten();
    let machine = processes.map(|entry| entry.path()).find(|process| {
        let line = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        line.starts_with("systemd-nspawn") && line.contains(state)
    });
    let text = fs::read_to_string(machine.expect("a machine runs").join("cgroup")).expect("cgroup");
    let name = text
        .split(['/', '\n'])
        .find(|part| part.starts_with("tripleo-"));
    name.expect("in a group of the lab").to_owned()
}

fn running_from_medium_and(end: impl FnOnce(&mut Lab)) {
    let script = "trap '' 37 15\necho running\nsleep 1000 &\nwhile :; do sleep 1000; done\n";
    let mut lab = Lab::start(false, |_| ());
    start_from(&lab, medium::iso(script));
    until("the machine runs", || lab.console().contains("running"));
    let name = name_of(&lab);
    assert!(!groups(&name).is_empty());
    assert!(!traces(&lab.state).is_empty());
    end(&mut lab);
    lab.process.wait().expect("ends");
    until(
        &format!("nothing is left: {:?}", traces(&lab.state)),
        || traces(&lab.state).is_empty(),
    );
    assert_eq!(groups(&name), Vec::<PathBuf>::new());
}

#[test]
fn down_leaves_nothing() {
    isolated("leftovers::down_leaves_nothing", || {
        running_from_medium_and(|lab| assert!(lab.client().down().expect("ends")));
    });
}

#[test]
fn a_lab_that_gets_a_signal_ends_its_machines_and_leaves_nothing() {
    isolated(
        "leftovers::a_lab_that_gets_a_signal_ends_its_machines_and_leaves_nothing",
        || {
            running_from_medium_and(|lab| {
                let process = Pid::from_raw(lab.process.id().try_into().expect("a process id"));
                kill(process, Signal::SIGTERM).expect("takes signals");
                let status = lab.process.wait().expect("ends");
                assert!(status.success(), "{status}");
            });
        },
    );
}

#[test]
fn a_killed_lab_leaves_nothing_that_down_does_not_remove() {
    isolated(
        "leftovers::a_killed_lab_leaves_nothing_that_down_does_not_remove",
        || {
            running_from_medium_and(|lab| {
                lab.process.kill().expect("kills");
                lab.process.wait().expect("ends");
                until("nothing but groups is left", || {
                    traces(&lab.state).is_empty()
                });
                assert!(!lab.client().down().expect("cleans"));
            });
        },
    );
}

#[test]
fn a_killed_lab_lets_go_of_a_mounted_disk() {
    isolated("leftovers::a_killed_lab_lets_go_of_a_mounted_disk", || {
        let script = "echo running\nwhile :; do sleep 1000; done\n";
        let mut lab = Lab::start(false, |state| {
            medium::disk(&state.join("disks/node0-disk0.raw"), script, "{}");
        });
        lab.client().power("node0", Reset::On).expect("power");
        until("the machine runs", || lab.console().contains("running"));
        assert!(
            traces(&lab.state)
                .iter()
                .any(|trace| trace.contains("disk0.raw"))
        );
        lab.process.kill().expect("kills");
        lab.process.wait().expect("ends");
        until("nothing but groups is left", || {
            traces(&lab.state).is_empty()
        });
        lab.client().down().expect("cleans");
    });
}
