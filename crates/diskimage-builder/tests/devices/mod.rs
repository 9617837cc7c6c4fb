//! Images whose last phases run on devices: hooks find these, and none is left, however the build ends.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Site, eventually, is_root, log};

/// A disk with the old table: /boot in it, root and swap as logical partitions.
const LAYOUT: &str = "- local_loop: {name: image0}
- partitioning:
    base: image0
    label: mbr
    partitions:
      - name: boot
        flags: [primary, boot]
        size: 16MiB
        mkfs: {type: ext4, mount: {mount_point: /boot, fstab: {}}}
      - name: swap
        size: 8MiB
        type: 0x82
        mkfs: {type: swap, mount: {mount_point: none, fstab: {}}}
      - name: root
        size: 100%
        mkfs: {mount: {mount_point: /, fstab: {fsck-passno: 1}}, name: mkfs_root}
";

/// Whether this machine can make such images at all.
fn possible() -> bool {
    is_root() && Path::new("/dev/loop-control").exists()
}

/// Whether a loop device shows a file of this site.
fn loop_is_left(site: &Site) -> bool {
    let here = site.path("").display().to_string();
    std::fs::read_dir("/sys/block")
        .expect("sys")
        .flatten()
        .any(|device| {
            std::fs::read_to_string(device.path().join("loop/backing_file"))
                .is_ok_and(|path| path.contains(&here))
        })
}

#[test]
fn hooks_find_every_file_system_mounted_and_every_device_named() {
    if !possible() {
        return;
    }
    let site = Site::new();
    site.hook(
        "elements/el/install.d/50-el",
        "echo kernel > /boot/kernel\n",
    );
    site.hook(
        "elements/el/finalise.d/50-el",
        "echo devices $IMAGE_BLOCK_DEVICES\ncat /proc/self/mounts /etc/fstab\n\
         [ -b $IMAGE_BLOCK_DEVICE ] || exit 3\necho late > /boot/late\n",
    );
    let mut command = site.command("-n -t raw,tar --image-size 0.2 -o one os el");
    command
        .env("DIB_BLOCK_DEVICE_CONFIG", LAYOUT)
        .env("DIB_NO_TMPFS", "1");
    let output = command.output().expect("starts");
    let said = log(&output);
    assert!(output.status.success(), "{said}");
    for device in [
        "[image0]=/dev/loop",
        "[boot]=/dev/loop",
        "[root]=/dev/loop",
        "[swap]=/dev/loop",
    ] {
        assert!(said.contains(device), "{device}: {said}");
    }
    let mounted = |point: &str| {
        said.lines()
            .any(|line| line.contains(&format!(" {point} ext4 ")))
    };
    assert!(mounted("/boot") && mounted("/"), "{said}");
    assert!(said.contains("LABEL=mkfs_swap none swap sw 0 0"), "{said}");
    assert!(!loop_is_left(&site), "{said}");
    site.check_clean();
    let tool = |program: &str, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .output()
            .expect("starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let raw = site.path("out/one.raw").display().to_string();
    let table = tool("sfdisk", &["-d", &raw]);
    let numbers: Vec<bool> = ["raw1 ", "raw2 ", "raw5 ", "raw6 "]
        .iter()
        .map(|name| table.contains(name))
        .collect();
    assert_eq!(numbers, [true; 4], "{table}");
    let boot = format!("{raw}?offset={}", 1 << 20);
    assert_eq!(tool("debugfs", &["-R", "cat /late", &boot]), "late\n");
    let listed = tool(
        "tar",
        &["-tf", &site.path("out/one.tar").display().to_string()],
    );
    assert!(listed.lines().any(|name| name == "./boot/late"), "{listed}");
}

#[test]
fn a_file_system_that_only_the_kernel_can_fill() {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !possible() || !known.contains("\txfs") {
        return;
    }
    let site = Site::new();
    site.hook("elements/el/install.d/50-el", "echo x > /etc/el\n");
    let mut command = site.command("-n -t raw --image-size 0.5 -o one os el");
    command.env("FS_TYPE", "xfs").env("DIB_NO_TMPFS", "1");
    let output = command.output().expect("starts");
    let said = log(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the layout has xfs"), "{said}");
    let raw = std::fs::read(site.path("out/one.raw")).expect("the image");
    assert_eq!(&raw[..4], b"XFSB");
    assert!(!loop_is_left(&site));
    site.check_clean();
}

#[test]
fn killed_with_devices_in_use() {
    if !possible() {
        return;
    }
    let site = Site::new();
    site.hook(
        "elements/el/finalise.d/50-el",
        "echo reached the hook on $IMAGE_BLOCK_DEVICE\nsleep 600\n",
    );
    let log_path = site.path("log");
    let output = std::fs::File::create(&log_path).expect("file");
    let mut command = site.command("-n -t raw --image-size 0.2 -o one os el");
    command
        .env("DIB_BLOCK_DEVICE_CONFIG", LAYOUT)
        .env("DIB_NO_TMPFS", "1")
        .stdout(output.try_clone().expect("clone"))
        .stderr(output)
        .process_group(0);
    let mut build = command.spawn().expect("starts");
    let said = || std::fs::read_to_string(&log_path).unwrap_or_default();
    assert!(
        eventually(|| said().contains("reached the hook on /dev/loop")),
        "{}",
        said()
    );
    assert!(loop_is_left(&site), "there is one now");
    let pid = rustix::process::Pid::from_child(&build);
    rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).expect("kills");
    build.wait().expect("ends");
    assert!(eventually(|| !loop_is_left(&site)), "the device is left");
    let empty = || {
        std::fs::read_dir(site.path("tmp"))
            .expect("folder")
            .next()
            .is_none()
    };
    assert!(eventually(empty), "temporary folders are left");
    site.check_clean();
}

/// However far a build with devices has got, told by the lines of its log, its death leaves nothing.
#[test]
fn killed_at_moments_spread_over_a_build() {
    if !possible() {
        return;
    }
    let rounds: usize = std::env::var("DIB_TEST_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(5);
    let site = Site::new();
    site.hook(
        "elements/el/finalise.d/50-el",
        "ls $IMAGE_BLOCK_DEVICE || true\n",
    );
    let build = |log: &Path| {
        let output = std::fs::File::create(log).expect("file");
        let mut command = site.command("--no-cache -n -t raw,qcow2 --image-size 0.2 -o one os el");
        command
            .env("DIB_BLOCK_DEVICE_CONFIG", LAYOUT)
            .env("DIB_NO_TMPFS", "1")
            .stdout(output.try_clone().expect("clone"))
            .stderr(output)
            .process_group(0);
        command.spawn().expect("starts")
    };
    let log_path = site.path("log");
    let lines = || {
        std::fs::read_to_string(&log_path)
            .unwrap_or_default()
            .lines()
            .count()
    };
    assert!(build(&log_path).wait().expect("ends").success());
    let all = lines();
    for round in 0..rounds {
        let wanted = all * round / rounds;
        let mut running = build(&log_path);
        eventually(|| lines() >= wanted || running.try_wait().is_ok_and(|ended| ended.is_some()));
        let pid = rustix::process::Pid::from_child(&running);
        // It may have ended by itself meanwhile.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        running.wait().expect("ends");
        let gone = eventually(|| {
            let empty = std::fs::read_dir(site.path("tmp"))
                .expect("folder")
                .next()
                .is_none();
            empty && !loop_is_left(&site) && !super::process_is_left(&site)
        });
        assert!(gone, "something is left after {wanted} of {all} lines");
        site.check_clean();
    }
    assert!(build(&log_path).wait().expect("ends").success());
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    if !possible() {
        return;
    }
    let site = Site::new();
    site.hook("elements/el/install.d/50-el", "cat /dev/zero > /big\n");
    let tmp = site.path("tmp").display().to_string();
    let run = |program: &str, arguments: &[&str]| {
        let status = Command::new(program).args(arguments).status();
        assert!(status.expect("starts").success());
    };
    run("mount", &["-t", "tmpfs", "-o", "size=32m", "tmpfs", &tmp]);
    let mut command = site.command("--no-cache -n -t raw -o one os el");
    let output = command
        .env("DIB_NO_TMPFS", "1")
        .env("DIB_IMAGE_CACHE", site.path("tmp/cache"))
        .output();
    let said = log(&output.expect("starts"));
    let left: Vec<String> = std::fs::read_dir(&tmp)
        .expect("folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "cache")
        .collect();
    run("umount", &[&tmp]);
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.contains("element `el`: install.d/50-el"), "{said}");
    assert_eq!(left, Vec::<String>::new());
    site.check_clean();
}

#[test]
fn a_device_that_somebody_looks_at_is_gone_when_the_command_ends() {
    if !possible() {
        return;
    }
    let site = Site::new();
    let here = |name: &str| site.path(name).display().to_string();
    site.write("layout.yaml", "- local_loop: {name: image0}\n");
    site.write(
        "parameters.yaml",
        &format!(
            "{{config: {}, image-dir: {}, mount-base: {}, build-dir: {}, image-size: 8MiB}}\n",
            here("layout.yaml"),
            here("out"),
            here("tmp"),
            here("tmp"),
        ),
    );
    let device_command = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_dib-block-device"))
            .args(arguments)
            .env("DIB_BLOCK_DEVICE_PARAMS_YAML", here("parameters.yaml"))
            .output()
            .expect("starts")
    };
    for step in ["init", "create"] {
        let output = device_command(&[step]);
        assert!(output.status.success(), "{step}: {}", log(&output));
    }
    let shown = device_command(&["getval", "image-block-device"]);
    let node = String::from_utf8_lossy(&shown.stdout).trim().to_owned();
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let watcher = std::fs::File::open(&node).expect("a loop device");
    let watching = std::thread::spawn(move || {
        // Long enough for a command that does not wait to end first; one that waits passes however long it takes.
        let _ = receiver.recv_timeout(Duration::from_millis(500));
        drop(watcher);
    });
    let output = device_command(&["delete"]);
    let is_left = loop_is_left(&site);
    drop(sender);
    watching.join().expect("watcher");
    assert!(output.status.success(), "{}", log(&output));
    assert!(!is_left, "{node} still shows the image");
}
