//! The program with a `dib-run-parts` of our own on its path: what it does around the hooks.

#![expect(
    clippy::unwrap_used,
    reason = "the lint does not see that helpers here are tests, too"
)]

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

struct Node {
    root: tempfile::TempDir,
}

impl Node {
    /// A node whose `dib-run-parts` runs the only hook of a phase.
    fn new() -> Node {
        let node = Node {
            root: tempfile::tempdir().unwrap(),
        };
        node.script("bin/dib-run-parts", "exec \"$1\"/*");
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn script(&self, name: &str, body: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_os-refresh-config"));
        command
            .arg("--lockfile")
            .arg(self.path("lock"))
            .args(arguments)
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.path("bin").display()),
            )
            .env("OS_REFRESH_CONFIG_BASE_DIR", self.path("base"))
            .env("OS_APPLY_CONFIG_CHANGED", self.path("changed"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn hooks_for_errors_learn_what_failed() {
    let node = Node::new();
    node.script("base/configure.d/1", "exit 9");
    node.script("base/post-configure.d/1", "echo never");
    node.script(
        "base/error.d/1",
        "echo \"$OS_REFRESH_CONFIG_FAILED_PHASE: $OS_REFRESH_CONFIG_FAILED_HOW\"",
    );
    fs::write(node.path("changed"), "/etc/x\n").unwrap();
    let output = node.run(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stdout),
        "configure: dib-run-parts returned non-zero exit status 9.\n"
    );
    // The next run's hooks must still see what was changed.
    assert!(node.path("changed").exists());
}

#[test]
fn the_list_of_changed_files_goes_after_a_good_run() {
    let node = Node::new();
    node.script("base/migration.d/1", "cat \"$OS_APPLY_CONFIG_CHANGED\"");
    fs::write(node.path("changed"), "/etc/x\n").unwrap();
    let output = node.run(&[]);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), "/etc/x\n".to_owned())
    );
    assert!(!node.path("changed").exists());
}

#[test]
fn a_missing_run_parts_is_named() {
    let node = Node::new();
    fs::remove_file(node.path("bin/dib-run-parts")).unwrap();
    node.script("base/configure.d/1", "true");
    let output = node
        .command(&[])
        .env("PATH", node.path("bin"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("cannot run dib-run-parts"),
        "{output:?}"
    );
}

/// Runs until a script says `started`, sends SIGTERM, and gives what was written from then on.
fn ended_once_started(node: &Node) -> Vec<u8> {
    let mut running = node
        .command(&[])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = running.stdout.take().unwrap();
    let mut word = [0; 8];
    stdout.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"started\n");
    let pid = running.id().to_string();
    let told = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(told.success());
    assert_eq!(running.wait().unwrap().code(), Some(143));
    // The end of the stream comes when the last process that could write to it is gone.
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    rest
}

#[test]
fn asked_to_end_it_ends_its_scripts() {
    let node = Node::new();
    let mark = node.path("ran-on").display().to_string();
    node.script(
        "base/configure.d/1",
        &format!("echo started; sleep 600; touch {mark}"),
    );
    let rest = ended_once_started(&node);
    assert!(rest.is_empty() && !node.path("ran-on").exists());
}

#[test]
fn scripts_that_make_processes_all_the_time_leave_none() {
    let node = Node::new();
    // At each moment one of these is about to start another.
    node.script(
        "base/configure.d/1",
        "for i in 1 2 3 4; do (while :; do sleep 600 & kill $!; done) & done; echo started; wait",
    );
    ended_once_started(&node);
}
