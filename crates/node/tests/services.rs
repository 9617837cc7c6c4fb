//! The programs with which elements start services and ask whether they work, on a service manager that only writes down what it is told.

#![expect(
    clippy::unwrap_used,
    reason = "the lint does not see that helpers here are tests, too"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A machine as far as these programs see it.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Machine {
        let machine = Machine {
            folder: tempfile::tempdir().unwrap(),
        };
        for folder in ["bin", "checks", "units", "state"] {
            fs::create_dir(machine.path(folder)).unwrap();
        }
        // Properties of a unit are files; a restart makes it active, or fails where it is told to.
        machine.program(
            "bin/systemctl",
            r#"
printf '%s\n' "$*" >> "$HERE/told"
case " $* " in
    *" is-enabled "*) eval "unit=\${$#}"; [ -e "$HERE/units/$unit.enabled" ] ;;
    *" enable "*) eval "unit=\${$#}"; : > "$HERE/units/$unit.enabled" ;;
    *" show "*)
        value= properties=
        while [ "${2#-}" != "$2" ]; do
            case $2 in --value) value=1 ;; *) properties="$properties ${2#--property=}" ;; esac
            shift
        done
        shift
        for unit; do
            for property in $properties; do
                [ -n "$value" ] || printf '%s=' "$property"
                cat "$HERE/units/$unit.$property" 2>/dev/null || case $property in Id) echo "$unit" ;; ActiveState) echo inactive ;; *) echo 0 ;; esac
            done
            [ -n "$value" ] || echo
        done
        ;;
    *" restart "*)
        eval "unit=\${$#}"
        [ ! -e "$HERE/units/$unit.broken" ] || exit 1
        echo active > "$HERE/units/$unit.ActiveState"
        ;;
esac
"#,
        );
        machine.program("bin/journalctl", "echo \"the journal of $*\"");
        machine.program("bin/os-apply-config", "cat \"$HERE/metadata\" 2>/dev/null");
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn program(&self, name: &str, body: &str) {
        self.write(name, &format!("#!/bin/sh\n{body}"));
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs a program of an element.
    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let elements = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../elements");
        Command::new(elements.join(program))
            .args(arguments)
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.path("bin").display()),
            )
            .env("HERE", self.folder.path())
            .env("OS_SVC_STATE", self.path("state"))
            .env("OS_HEALTH_CHECKS", self.path("checks"))
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    /// How often something was restarted since this was last asked.
    fn restarts(&self) -> usize {
        let told = fs::read_to_string(self.path("told")).unwrap_or_default();
        self.write("told", "");
        told.lines()
            .filter(|line| line.starts_with("restart"))
            .count()
    }

    fn refresh(&self, options: &[&str]) -> bool {
        let arguments = [options, &["x.service", "x.conf", "x.ini"]].concat();
        let program = "os-agents/static/usr/local/bin/os-svc-restart-if-changed";
        self.run(program, &arguments).status.success()
    }

    fn health(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.run("os-service/static/usr/local/bin/os-health-check", arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    }

    fn check(&self, name: &str, body: &str) {
        let header = format!(
            "# unit: {name}.service\n# log: {}\n",
            self.path("log").display()
        );
        self.program(&format!("checks/{name}"), &format!("{header}{body}"));
        self.write(&format!("units/{name}.service.enabled"), "");
    }
}

#[test]
fn a_service_is_restarted_when_its_files_changed_and_only_then() {
    let machine = Machine::new();
    machine.write("x.conf", "1");
    let refreshed = |times: usize| {
        assert!(machine.refresh(&["--enable"]));
        assert_eq!(machine.restarts(), times);
    };
    refreshed(1);
    assert!(machine.path("units/x.service.enabled").exists());
    refreshed(0);
    machine.write("x.conf", "2");
    refreshed(1);
    // A file that comes into being counts, and so does one that goes.
    machine.write("x.ini", "");
    refreshed(1);
    fs::remove_file(machine.path("x.ini")).unwrap();
    refreshed(1);
    // One that somebody stopped runs again; one that is just starting is left alone.
    machine.write("units/x.service.ActiveState", "failed\n");
    refreshed(1);
    machine.write("units/x.service.ActiveState", "activating\n");
    refreshed(0);
}

#[test]
fn a_restart_that_failed_is_made_up_for() {
    let machine = Machine::new();
    assert!(machine.refresh(&[]));
    machine.write("x.conf", "wrong");
    machine.write("units/x.service.broken", "");
    assert!(!machine.refresh(&[]));
    assert_eq!(machine.restarts(), 2);
    fs::remove_file(machine.path("units/x.service.broken")).unwrap();
    assert!(machine.refresh(&[]));
    assert_eq!(machine.restarts(), 1);
}

#[test]
fn what_is_not_configured_does_not_start() {
    let machine = Machine::new();
    assert!(machine.refresh(&["--needs", "x", "--enable"]));
    assert_eq!(machine.restarts(), 0);
    assert!(!machine.path("units/x.service.enabled").exists());
    machine.write("metadata", "{}");
    assert!(machine.refresh(&["--needs", "x", "--enable"]));
    assert_eq!(machine.restarts(), 1);
    assert!(!machine.refresh(&["--unknown"]));
}

#[test]
fn health_is_that_of_all_services_of_the_node() {
    let machine = Machine::new();
    machine.check("good", "exit 0");
    assert_eq!(machine.health(&[]), (Some(0), String::new()));
    // What this node does not run is not asked.
    machine.check("elsewhere", "exit 1");
    fs::remove_file(machine.path("units/elsewhere.service.enabled")).unwrap();
    assert_eq!(machine.health(&[]), (Some(0), String::new()));

    machine.write("log", "noise\n2025-10-16 ERROR no such table\nmore noise\n");
    machine.check("bad", "echo 'port 5000 is closed'; exit 1");
    let (code, said) = machine.health(&[]);
    assert_eq!(code, Some(1));
    for part in [
        "bad: port 5000 is closed",
        "bad.service: the journal of",
        "ERROR no such table",
    ] {
        assert!(said.contains(part), "no `{part}` in {said}");
    }
    assert!(!said.contains("good"), "{said}");
    assert_eq!(machine.health(&["good"]).0, Some(0));
    assert_eq!(machine.health(&["unknown"]).0, Some(2));
}

#[test]
fn health_waits_for_what_comes_up_but_not_for_what_has_failed() {
    let machine = Machine::new();
    machine.check(
        "late",
        "[ -e \"$HERE/asked\" ] || { : > \"$HERE/asked\"; exit 1; }",
    );
    assert_eq!(
        machine.health(&["--wait", "3600"]),
        (Some(0), String::new())
    );

    // It would take the hour otherwise.
    machine.check("dead", "exit 1");
    machine.write("units/dead.service.ActiveState", "failed\n");
    let (code, said) = machine.health(&["--wait", "3600"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("dead.service has failed"), "{said}");
    machine.write("units/dead.service.ActiveState", "activating\n");
    machine.write("units/dead.service.NRestarts", "7\n");
    let (code, said) = machine.health(&["--wait", "3600"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("started over 7 times"), "{said}");
}
