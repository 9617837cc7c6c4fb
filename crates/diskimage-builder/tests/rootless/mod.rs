//! Builds by an ordinary user, who has sub-uids or has none.
//!
//! The tests are root; the user is `nobody`, and its sub-uids stand in files that only the test's mount namespace sees.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::{Site, is_root, log};

const NOBODY: u32 = 65534;

/// What is needed of the machine to try this at all: containers often refuse users namespaces, or a /proc in them.
fn possible() -> bool {
    let there = |path: &str| Path::new(path).exists();
    let wanted = "exec setpriv --reuid=65534 --regid=65534 --clear-groups \
        unshare --user --map-root-user --mount --pid --fork mount -t proc proc /proc";
    let allowed = || {
        let mut probe = Command::new("unshare");
        probe
            .args(["--mount", "sh", "-c", wanted])
            .stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    };
    is_root()
        && there("/usr/bin/newuidmap")
        && there("/etc/subuid")
        && there("/etc/subgid")
        && allowed()
}

/// Builds as nobody; `ranges` is what `/etc/subuid` and `/etc/subgid` say.
fn build(site: &Site, ranges: &str, arguments: &str) -> Output {
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(site.path(""), open).expect("mode");
    for folder in ["out", "tmp", "cache"] {
        chown(site.path(folder), Some(NOBODY), Some(NOBODY)).expect("owner");
    }
    // Nobody may not be able to reach the folder of the build.
    let program = site.path("disk-image-create");
    std::fs::copy(env!("CARGO_BIN_EXE_disk-image-create"), &program).expect("copy");
    site.write("ranges", ranges);
    let script = "mount --bind \"$0\" /etc/subuid && mount --bind \"$0\" /etc/subgid && exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"";
    Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(site.path("ranges"))
        .arg(program)
        .args(arguments.split(' '))
        .current_dir(site.path("out"))
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", site.path("cache"))
        .env("ELEMENTS_PATH", site.path("elements"))
        .env("TMP_DIR", site.path("tmp"))
        .env("DIB_IMAGE_CACHE", site.path("cache"))
        .env("DIB_JOURNAL_SIZE", "4")
        .env("DIB_NO_TIMESTAMP", "1")
        .stdin(Stdio::null())
        .output()
        .expect("starts")
}

#[test]
fn an_ordinary_user_makes_an_image_with_users_of_its_own() {
    if !possible() {
        return;
    }
    let site = Site::new();
    // What the machine's sudo would do is not for this user to have.
    site.hook(
        "elements/el/extra-data.d/50-el",
        "sudo -E V=1 sh -c 'id -u; echo V is $V' && sudo mkdir $TMP_MOUNT_PATH/by-sudo\n",
    );
    site.hook(
        "elements/el/install.d/50-el",
        "set -e\necho x > /dev/null\ntouch /etc/el\nchown 1234:55 /etc/el\n[ -d /by-sudo ]\necho done inside\n",
    );
    let programs = std::fs::read_to_string(site.path("elements/os/root.d/10-os")).expect("hook");
    site.hook(
        "elements/os/root.d/10-os",
        &programs
            .trim_start_matches("#!/bin/bash\n")
            .replace("touch", "touch chown"),
    );
    let output = build(&site, "65534:200000:65536\n", "-n -t raw,tar -o one os el");
    let said = log(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("V is 1") && said.contains("done inside"),
        "{said}"
    );
    let tar = site.path("out/one.tar");
    assert_eq!(tar.metadata().expect("the image").uid(), NOBODY);
    let listed = Command::new("tar")
        .arg("--numeric-owner")
        .arg("-tvf")
        .arg(&tar)
        .output();
    let listed = String::from_utf8(listed.expect("starts").stdout).expect("text");
    let line = listed.lines().find(|line| line.ends_with("./etc/el"));
    assert!(
        line.is_some_and(|line| line.contains(" 1234/55 ")),
        "{listed}"
    );
    let stat = Command::new("debugfs")
        .args(["-R", "stat /etc/el"])
        .arg(site.path("out/one.raw"))
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .expect("starts");
    let stat = String::from_utf8_lossy(&stat.stdout).into_owned();
    assert!(stat.contains("User:  1234"), "{stat}");
    site.check_clean();
}

#[test]
fn an_ordinary_user_without_ranges_is_told_how_to_get_them() {
    if !possible() {
        return;
    }
    let site = Site::new();
    site.hook("elements/el/install.d/50-el", "");
    let output = build(&site, "somebody:100000:65536\n", "-n -t raw -o one os el");
    assert_eq!(output.status.code(), Some(1));
    let said = log(&output);
    assert!(said.contains("has no range in /etc/subuid"), "{said}");
    assert!(said.contains("usermod --add-subuids"), "{said}");
    site.check_clean();
}
