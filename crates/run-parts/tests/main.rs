//! Runs `dib-run-parts` on directories made here.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn hook(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("has a parent")).expect("folder");
    std::fs::write(path, text).expect("hook");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("mode");
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dib-run-parts"))
        .args(arguments)
        .env_remove("RUN_PARTS_REGEX")
        .output()
        .expect("starts")
}

#[test]
fn sources_environment_and_stops_at_the_first_failure() {
    let top = tempfile::tempdir().expect("folder");
    let directory = top.path().join("x.d");
    hook(&directory.join("2-ok"), "#!/bin/bash\nfn; echo $NAME\n");
    hook(&directory.join("10-fails"), "kill -9 $$\n");
    hook(&directory.join("11-later"), "echo never\n");
    hook(
        &top.path().join("environment.d/it"),
        "export NAME=\"it's\"\nfn() { echo hi; }\nexport -f fn\n",
    );
    let output = run(&["--undated", directory.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(137));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hi\nit's\n");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("\ndib-run-parts 2-ok completed\n"), "{log}");
    assert!(!log.contains("PROFILING"), "{log}");
}

#[test]
fn a_failing_environment_file_ends_the_run_with_its_code() {
    let top = tempfile::tempdir().expect("folder");
    let directory = top.path().join("x.d");
    hook(&directory.join("1-hook"), "echo never\n");
    hook(
        &top.path().join("environment.d/a"),
        "cat >/dev/null\nexit 5\n",
    );
    let output = run(&[directory.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(5));
    assert!(output.stdout.is_empty());
}

#[test]
fn refuses_what_is_no_directory() {
    let output = run(&["--list", "/dev/null"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("Usage:"));
}
