//! Builds tiny images with the real program, as root; without root there is nothing to test here.
//!
//! The root of these images is a folder with bash and what it needs, copied from this machine.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Programs that hooks in the tiny root call.
const PROGRAMS: &[&str] = &["bash", "env", "cat", "mkdir", "sleep", "mount", "touch"];

mod devices;
mod rootless;

struct Site {
    top: tempfile::TempDir,
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Site {
    fn new() -> Self {
        let site = Self {
            top: tempfile::tempdir().expect("folder"),
        };
        for folder in ["elements", "out", "tmp", "cache"] {
            std::fs::create_dir(site.path(folder)).expect("folder");
        }
        site.write("elements/os/element-provides", "operating-system\n");
        let copy = PROGRAMS.join(" ");
        site.hook(
            "elements/os/root.d/10-os",
            &format!(
                "set -e\nmkdir -p $TARGET_ROOT/{{usr/bin,etc,tmp,var/log,root,boot}}\nln -s usr/bin $TARGET_ROOT/bin\n\
                 for p in {copy}; do p=$(command -v $p); cp -L $p $TARGET_ROOT/usr/bin/\n\
                 ldd $p | grep -o '/[^ ]*' | while read l; do mkdir -p $TARGET_ROOT${{l%/*}}; cp -L $l $TARGET_ROOT$l; done\ndone\n\
                 echo root layer made\n"
            ),
        );
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::write(path, text).expect("file");
    }

    fn hook(&self, name: &str, text: &str) {
        self.write(name, &format!("#!/bin/bash\n{text}"));
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o755))
            .expect("mode");
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_disk-image-create"));
        command
            .args(arguments.split(' '))
            .current_dir(self.path("out"))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.path(""))
            .env("ELEMENTS_PATH", self.path("elements"))
            .env("TMP_DIR", self.path("tmp"))
            .env("DIB_IMAGE_CACHE", self.path("cache"))
            .env("DIB_JOURNAL_SIZE", "4")
            .env("DIB_NO_TIMESTAMP", "1")
            .stdin(Stdio::null());
        command
    }

    fn build(&self, arguments: &str) -> Output {
        self.command(arguments).output().expect("starts")
    }

    /// What a build must not leave: temporary folders, half outputs, half layers, mounts, processes.
    #[track_caller]
    fn check_clean(&self) {
        let names = |folder: &str| -> Vec<String> {
            let entries = std::fs::read_dir(self.path(folder))
                .into_iter()
                .flatten()
                .flatten();
            entries
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect()
        };
        assert_eq!(names("tmp"), Vec::<String>::new());
        let half = |name: &String| name.contains("partial");
        assert_eq!(names("out").into_iter().filter(half).count(), 0);
        assert_eq!(names("cache/layers").into_iter().filter(half).count(), 0);
        let here = self.path("").display().to_string();
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
        assert!(!mounts.contains(&here), "{mounts}");
        for process in std::fs::read_dir("/proc").expect("proc").flatten() {
            let root = std::fs::read_link(process.path().join("root"));
            let inside = root.is_ok_and(|root| root.starts_with(self.path("")));
            assert!(!inside, "a process is left: {:?}", process.path());
        }
    }
}

fn log(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Waits for a condition that another process brings about.
fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        if condition() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

#[test]
fn a_second_build_takes_layers_from_the_cache() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    site.hook(
        "elements/el/install.d/50-el",
        "echo install runs; touch /etc/el\n",
    );
    site.hook(
        "elements/el/finalise.d/50-el",
        "cat /etc/el && echo finalise runs\n",
    );
    let first = site.build("-n -t raw,tar -o one os el");
    assert!(first.status.success(), "{}", log(&first));
    assert!(log(&first).contains("root layer made") && log(&first).contains("install runs"));
    let second = site.build("-n -t raw -o two os el");
    assert!(second.status.success(), "{}", log(&second));
    assert!(!log(&second).contains("root layer made") && !log(&second).contains("install runs"));
    assert!(log(&second).contains("finalise runs"));
    // Another install hook makes another install layer on the same root.
    site.hook("elements/el/install.d/50-el", "echo other install\n");
    let third = site.build("-n -t tar -o three os el");
    assert!(log(&third).contains("other install") && !log(&third).contains("root layer made"));
    site.check_clean();
}

#[test]
fn a_failing_hook_is_named_with_its_element() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    site.hook(
        "elements/el/install.d/50-el",
        "echo the reason >&2; exit 37\n",
    );
    let output = site.build("-n -t raw -o one os el");
    assert_eq!(output.status.code(), Some(37));
    let log = log(&output);
    assert!(log.contains("the reason"), "{log}");
    assert!(
        log.contains("ERROR: element `el`: install.d/50-el ended with exit code 37"),
        "{log}"
    );
    assert!(log.contains("hint: "), "{log}");
    site.check_clean();
}

#[test]
fn two_builds_at_once_share_a_layer() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let start = |name: &str| {
        let mut command = site.command(&format!("-n -t tar -o {name} os"));
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts")
    };
    let builds = [start("a"), start("b")];
    let outputs = builds.map(|build| build.wait_with_output().expect("ends"));
    let made = outputs
        .iter()
        .filter(|output| log(output).contains("root layer made"))
        .count();
    assert_eq!(made, 1);
    assert!(outputs.iter().all(|output| output.status.success()));
    site.check_clean();
}

/// Kills the front, its process group, or the guard, once the build has got to a certain hook.
#[track_caller]
fn kill_at(phase: &str, whom: Whom) {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let mark = site.path("reached");
    let text = format!("echo x > {}\nsleep 600\n", mark.display());
    // Inside the image the mark goes to the log instead, which lies outside.
    let inside = ["install", "finalise"].contains(&phase);
    let text = if inside {
        "echo reached the hook\nsleep 600\n".to_owned()
    } else {
        text
    };
    site.hook(&format!("elements/el/{phase}.d/50-el"), &text);
    let log_path = site.path("log");
    let output = std::fs::File::create(&log_path).expect("file");
    let mut command = site.command("-n -t raw -o one os el");
    command
        .stdout(output.try_clone().expect("clone"))
        .stderr(output)
        .process_group(0);
    let mut build = command.spawn().expect("starts");
    let reached = eventually(|| {
        mark.exists()
            || std::fs::read_to_string(&log_path).is_ok_and(|log| log.contains("reached the hook"))
    });
    let said = std::fs::read_to_string(&log_path).unwrap_or_default();
    assert!(reached, "{said}");
    let pid = rustix::process::Pid::from_child(&build);
    let kill = rustix::process::Signal::KILL;
    match whom {
        Whom::Front => rustix::process::kill_process(pid, kill),
        Whom::Group => rustix::process::kill_process_group(pid, kill),
        Whom::Guard => rustix::process::kill_process(child_of(pid).expect("the guard lives"), kill),
    }
    .expect("kills");
    build.wait().expect("ends");
    if matches!(whom, Whom::Guard) {
        // Nobody is left to remove empty folders, but no process and no mount may be there; the next build sweeps.
        assert!(eventually(|| !mount_is_left(&site)));
        return;
    }
    let gone = eventually(|| {
        std::fs::read_dir(site.path("tmp"))
            .expect("folder")
            .next()
            .is_none()
    });
    assert!(gone, "temporary folders are left");
    site.check_clean();
    site.hook(&format!("elements/el/{phase}.d/50-el"), "");
    assert!(site.build("-n -t raw -o one os el").status.success());
}

fn mount_is_left(site: &Site) -> bool {
    let here = site.path("").display().to_string();
    std::fs::read_dir("/proc")
        .expect("proc")
        .flatten()
        .any(|process| {
            std::fs::read_to_string(process.path().join("mounts"))
                .is_ok_and(|mounts| mounts.contains(&here))
        })
}

/// Whether a process of the build lives: all have the site's path in their environment.
fn process_is_left(site: &Site) -> bool {
    let here = site.path("").display().to_string().into_bytes();
    std::fs::read_dir("/proc")
        .expect("proc")
        .flatten()
        .any(|process| {
            let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
            environment.windows(here.len()).any(|part| part == here)
        })
}

fn child_of(parent: rustix::process::Pid) -> Option<rustix::process::Pid> {
    let path = format!("/proc/{0}/task/{0}/children", parent.as_raw_nonzero());
    let text = std::fs::read_to_string(Path::new(&path)).ok()?;
    let number = text.split_whitespace().next()?.parse().ok()?;
    rustix::process::Pid::from_raw(number)
}

#[derive(Clone, Copy)]
enum Whom {
    Front,
    Group,
    Guard,
}

#[test]
fn killed_in_root_d() {
    kill_at("root", Whom::Front);
}

#[test]
fn killed_in_install_d_with_its_group() {
    kill_at("install", Whom::Group);
}

#[test]
fn killed_in_finalise_d() {
    kill_at("finalise", Whom::Front);
}

#[test]
fn killed_in_cleanup_d_with_its_group() {
    kill_at("cleanup", Whom::Group);
}

/// However far a build has got, told by the lines of its log, its death leaves nothing, and the next one succeeds.
#[test]
fn killed_at_any_moment() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    site.hook("elements/el/install.d/50-el", "echo install\n");
    site.hook("elements/el/finalise.d/50-el", "echo finalise\n");
    for lines in [1, 2, 3, 5, 8, 13, 21, 34, 55] {
        let log_path = site.path("log");
        let output = std::fs::File::create(&log_path).expect("file");
        let mut command = site.command("-n -t raw,qcow2 -o one os el");
        command
            .stdout(output.try_clone().expect("clone"))
            .stderr(output)
            .process_group(0);
        let mut build = command.spawn().expect("starts");
        eventually(|| {
            let log = std::fs::read_to_string(&log_path).unwrap_or_default();
            log.lines().count() >= lines || build.try_wait().is_ok_and(|ended| ended.is_some())
        });
        let pid = rustix::process::Pid::from_child(&build);
        // It may have ended by itself meanwhile.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        build.wait().expect("ends");
        assert!(
            eventually(|| !process_is_left(&site)),
            "a process is left after {lines} lines"
        );
        site.check_clean();
    }
    let last = site.build("-n -t raw,qcow2 -o one os el");
    assert!(last.status.success(), "{}", log(&last));
    assert!(site.path("out/one.raw").exists() && site.path("out/one.qcow2").exists());
    site.check_clean();
}

#[test]
fn a_killed_guard_takes_everything_with_it() {
    kill_at("extra-data", Whom::Guard);
}

#[test]
fn the_plan_prints_itself_and_builds_nothing() {
    let site = Site::new();
    site.hook("elements/el/install.d/50-el", "exit 1\n");
    let output = site.build("-n -t raw,qcow2 -p jq --plan -o one os el");
    assert!(output.status.success(), "{}", log(&output));
    let text =
        String::from_utf8_lossy(&output.stdout).replace(&std::env::consts::ARCH.to_owned(), "ARCH");
    let want = "elements: os el
layer root:
  root.d/10-os of os (outside)
layer extra data (each time):
layer install:
  install.d/50-el of el (in the image)
  install-packages jq
layer image (each time):
file systems:
  / ext4 label cloudimg-rootfs on the whole image
boot loader: no
devices: no
outputs:
  raw one.raw
  qcow2 one.qcow2
";
    assert!(text.ends_with(want), "{text}");
    assert_eq!(
        std::fs::read_dir(site.path("out")).expect("folder").count(),
        0
    );
}

#[test]
fn programs_are_told_of_progress() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    site.hook("elements/el/install.d/50-el", "echo install\n");
    let output = site.build("--format json -n -t raw -o one os el");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let events: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    let has = |wanted: &[(&str, &str)]| {
        events
            .iter()
            .any(|event| wanted.iter().all(|(key, value)| event[*key] == **value))
    };
    assert!(has(&[("event", "phase"), ("phase", "install")]), "{text}");
    let hook = [("event", "hook-done"), ("hook", "50-el"), ("element", "el")];
    assert!(has(&hook), "{text}");
    assert!(has(&[("event", "layer"), ("layer", "root")]), "{text}");
    assert!(has(&[("event", "image"), ("file", "one.raw")]), "{text}");
    assert!(has(&[("event", "line"), ("text", "install")]), "{text}");
    let end = events.last().expect("some");
    assert_eq!((&end["event"], &end["code"]), (&"end".into(), &0.into()));
    // The log of each build lies in the cache.
    let kept = std::fs::read_to_string(site.path("cache/logs/one.log")).expect("the log");
    assert!(kept.contains("50-el completed") && !kept.contains('\u{1e}'));
}

#[test]
fn a_shell_opens_where_a_hook_failed() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    site.hook("elements/el/install.d/50-el", "echo x > /here\nexit 7\n");
    let mut command = site.command("--shell-on-error -n -t raw -o one os el");
    let output = command
        .env("break_cmd", "echo the shell sees $(cat /here)")
        .output()
        .expect("starts");
    assert_eq!(output.status.code(), Some(7));
    assert!(
        log(&output).contains("the shell sees x"),
        "{}",
        log(&output)
    );
    site.check_clean();
}
