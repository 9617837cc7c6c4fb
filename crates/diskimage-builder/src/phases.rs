//! Runs the hooks of one phase, outside or in the chroot, and tells whose hook failed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use run_parts::{
    HookDirectory, Hooks, Launch, NamePattern, Profile, RunError, Stamp, Timing, Watch, say,
    status_code,
};

use serde_json::{Value, json};

use crate::hooks::Owners;
use crate::settings::Settings;
use crate::variables::{Environment, inside};

/// Where the hook tree is seen in the chroot.
pub const IN_TARGET: &str = "/tmp/in_target.d";

/// A phase failed.
#[derive(Debug, thiserror::Error)]
pub enum PhaseError {
    /// A hook failed.
    #[error("element `{element}`: {phase}.d/{hook} ended with exit code {code}")]
    Hook {
        /// The element that brings the hook.
        element: String,
        /// The phase.
        phase: &'static str,
        /// The hook.
        hook: String,
        /// Its exit code.
        code: i32,
    },
    /// Something else around hooks failed.
    #[error("phase {phase} failed")]
    Run {
        /// The phase.
        phase: &'static str,
        /// What it was.
        source: RunError,
    },
    /// `-p` packages could not be installed.
    #[error("`install-packages {packages}` ended with exit code {code}")]
    Packages {
        /// The packages.
        packages: String,
        /// The exit code.
        code: i32,
    },
    /// A program cannot be started.
    #[error("cannot run `{program}`")]
    Start {
        /// Its name.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl PhaseError {
    /// The exit code for the whole build.
    pub fn exit_code(&self) -> i32 {
        match self {
            // Upstream reads the output of these hooks, and loses their code.
            Self::Hook {
                phase: "block-device",
                ..
            }
            | Self::Start { .. } => 1,
            Self::Hook { code, .. } | Self::Packages { code, .. } => *code,
            Self::Run { source, .. } => source.exit_code(),
        }
    }
}

/// Which hooks of a phase run.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// All.
    All,
    /// Those up to this one.
    UpTo(&'a str),
    /// Those behind this one.
    Behind(&'a str),
}

/// What all phases of a build share.
pub struct Runner<'a> {
    /// Settings of the build.
    pub settings: &'a Settings,
    /// Which element brought which hook.
    pub owners: &'a Owners,
    /// The environment outside.
    pub outside: Environment,
    /// The folder in which the user called us.
    pub folder: PathBuf,
    /// The merged hooks.
    pub hooks: PathBuf,
    /// The tree.
    pub root: PathBuf,
    /// What the user's variable `break_cmd` says.
    pub break_command: Option<String>,
    /// Whether shells after an error open outside.
    pub break_outside: bool,
}

/// Starts programs outside.
struct Outside<'a> {
    environment: &'a Environment,
    folder: &'a Path,
    output: Option<&'a File>,
    silent: bool,
}

impl Launch for Outside<'_> {
    fn command(&self, program: &OsStr) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(self.environment.iter().map(|(n, v)| (n, v)))
            .current_dir(self.folder);
        if let Some(output) = self.output.and_then(|file| file.try_clone().ok()) {
            command.stdout(output);
        }
        if self.silent {
            command.stderr(Stdio::null());
        }
        command
    }
}

/// Starts programs in the chroot.
struct Inside<'a> {
    environment: &'a Environment,
    root: &'a Path,
    hooks: &'a Path,
}

impl Launch for Inside<'_> {
    fn command(&self, program: &OsStr) -> Command {
        let chroot = ["/usr/sbin/chroot", "/usr/bin/chroot", "/sbin/chroot"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .unwrap_or("chroot");
        let mut command = Command::new(chroot);
        command
            .env_clear()
            .envs(self.environment.iter().map(|(n, v)| (n, v)))
            .arg(self.root);
        // chroot does not do what shells do for scripts without an interpreter line.
        if let Ok(hook) = Path::new(program).strip_prefix(IN_TARGET)
            && !can_be_executed(&self.hooks.join(hook))
        {
            command.arg("bash");
        }
        command.arg(program);
        command
    }
}

fn can_be_executed(path: &Path) -> bool {
    let mut start = [0; 4];
    let read = File::open(path)
        .and_then(|mut file| file.read(&mut start))
        .unwrap_or_default();
    start[..read].starts_with(b"#!") || start[..read].starts_with(b"\x7fELF")
}

struct Report<'a> {
    phase: &'static str,
    owners: &'a Owners,
}

impl Report<'_> {
    fn event(&self, what: &str, hook: &str, seconds: Option<f64>) {
        let element = self.owners.of(self.phase, hook);
        let mut value =
            json!({"event": what, "phase": self.phase, "hook": hook, "element": element});
        if let Some(seconds) = seconds {
            value["seconds"] = json!(seconds);
        }
        event(&value);
    }
}

impl Watch for Report<'_> {
    fn running(&mut self, path: &Path) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.event("hook", &name, None);
        tell(&say(
            Stamp::Plain,
            format_args!("Running {}", path.display()),
        ));
    }

    fn completed(&mut self, timing: &Timing) {
        self.event("hook-done", &timing.name, Some(timing.took.as_secs_f64()));
        tell(&say(
            Stamp::Plain,
            format_args!("{} completed", timing.name),
        ));
    }
}

/// Writes a line to the log of the build, which the front reads from us.
pub fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Tells the front of progress, for programs that watch; people do not see it.
pub fn event(value: &Value) {
    let _ = io::stderr().write_all(format!("{EVENT}{value}\n").as_bytes());
}

/// Starts a line that is an event. No text that people read has it.
pub const EVENT: char = '\u{1e}';

impl Runner<'_> {
    /// Runs the hooks of a phase. Gives what they wrote to stdout if `capture` is given.
    pub fn phase(
        &self,
        phase: &'static str,
        in_chroot: bool,
        part: Part<'_>,
    ) -> Result<(), PhaseError> {
        self.run(phase, in_chroot, part, None)
    }

    /// Runs a phase outside whose output goes to a file first.
    pub fn phase_with_output(&self, phase: &'static str, output: &File) -> Result<(), PhaseError> {
        self.run(phase, false, Part::All, Some(output))
    }

    /// The environment that `environment.d` makes of the one outside, without a word to the log if all is well.
    pub fn sourced(&self) -> Result<Environment, PhaseError> {
        let directory = HookDirectory::new(self.hooks.join("root.d"));
        let source = |silent| {
            let launch = Outside {
                environment: &self.outside,
                folder: &self.folder,
                output: None,
                silent,
            };
            directory.environment(&launch, Stamp::Plain)
        };
        // A file that fails fails again, and is heard then.
        let sourced = source(true).or_else(|_| source(false));
        let sourced = sourced.map_err(|source| PhaseError::Run {
            phase: "root",
            source,
        })?;
        Ok(sourced.unwrap_or_else(|| self.outside.clone()))
    }

    fn run(
        &self,
        phase: &'static str,
        in_chroot: bool,
        part: Part<'_>,
        output: Option<&File>,
    ) -> Result<(), PhaseError> {
        let here = self.hooks.join(format!("{phase}.d"));
        event(&json!({"event": "phase", "phase": phase}));
        if !matches!(part, Part::Behind(_)) {
            self.stop_at(&format!("before-{phase}"), in_chroot);
        }
        if here.is_dir() {
            let environment = if in_chroot {
                inside(&self.outside)
            } else {
                self.outside.clone()
            };
            let outside = Outside {
                environment: &environment,
                folder: &self.folder,
                output,
                silent: false,
            };
            let chroot = Inside {
                environment: &environment,
                root: &self.root,
                hooks: &self.hooks,
            };
            let launch: &dyn Launch = if in_chroot { &chroot } else { &outside };
            let there = if in_chroot {
                PathBuf::from(format!("{IN_TARGET}/{phase}.d"))
            } else {
                here.clone()
            };
            let result = self.hooks_of(phase, &HookDirectory { here, there }, part, launch);
            if in_chroot {
                self.end_processes();
            }
            if let Err(error) = result {
                self.stop_at("after-error", in_chroot && !self.break_outside);
                return Err(error);
            }
        }
        if !matches!(part, Part::UpTo(_)) {
            self.stop_at(&format!("after-{phase}"), in_chroot);
        }
        Ok(())
    }

    fn hooks_of(
        &self,
        phase: &'static str,
        directory: &HookDirectory,
        part: Part<'_>,
        launch: &dyn Launch,
    ) -> Result<(), PhaseError> {
        let failed = |source: RunError| match source {
            RunError::Hook { hook, code } => {
                let element = self
                    .owners
                    .of(phase, &hook)
                    .unwrap_or("(made during the build)")
                    .to_owned();
                PhaseError::Hook {
                    element,
                    phase,
                    hook,
                    code,
                }
            }
            source => PhaseError::Run { phase, source },
        };
        let hooks = directory.hooks(&NamePattern::default()).map_err(failed)?;
        let names = chosen(&hooks, part);
        if self.settings.trace > 0 {
            self.trace(phase, &hooks);
        }
        let environment = directory
            .environment(launch, Stamp::Plain)
            .map_err(failed)?;
        let mut report = Report {
            phase,
            owners: self.owners,
        };
        let timings = directory
            .run(&names, environment.as_deref(), launch, &mut report)
            .map_err(failed)?;
        let target = format!("{phase}.d");
        for line in (Profile {
            target: &target,
            timings: &timings,
        })
        .lines()
        {
            tell(&say(Stamp::Plain, line));
        }
        Ok(())
    }

    fn trace(&self, phase: &str, hooks: &Hooks) {
        for (kind, names) in [
            ("non-executable files", &hooks.not_executable),
            ("non-conforming filenames", &hooks.odd_names),
        ] {
            if !names.is_empty() {
                tell(&say(
                    Stamp::Plain,
                    format_args!("Ignoring {kind}: {}", names.join(" ")),
                ));
            }
        }
        // Names only: values may be secrets.
        for (name, _) in &self.outside {
            tell(&format!(
                "{phase}.d sees the variable {}",
                name.to_string_lossy()
            ));
        }
        for name in &hooks.run {
            let element = self.owners.of(phase, name).unwrap_or_default();
            tell(&format!("{phase}.d will run {name} of element {element}"));
        }
    }

    /// Installs the packages of `-p`.
    pub fn install_packages(&self, packages: &[String]) -> Result<(), PhaseError> {
        let environment = inside(&self.outside);
        let launch = Inside {
            environment: &environment,
            root: &self.root,
            hooks: &self.hooks,
        };
        let program = OsStr::new("install-packages");
        let failed = |source| PhaseError::Start {
            program: "install-packages".to_owned(),
            source,
        };
        let status = launch
            .command(program)
            .args(packages)
            .status()
            .map_err(failed)?;
        self.end_processes();
        match status_code(status) {
            0 => Ok(()),
            code => Err(PhaseError::Packages {
                packages: packages.join(" "),
                code,
            }),
        }
    }

    /// Opens a shell where the user wants one.
    fn stop_at(&self, place: &str, in_chroot: bool) {
        if !self.settings.breaks_at(place) {
            return;
        }
        tell(&format!("At stage {place}"));
        tell("Starting debug shell. Exit to resume building.");
        let text = self
            .break_command
            .clone()
            .unwrap_or_else(|| "bash".to_owned());
        let environment = if in_chroot {
            inside(&self.outside)
        } else {
            self.outside.clone()
        };
        let outside = Outside {
            environment: &environment,
            folder: &self.folder,
            output: None,
            silent: false,
        };
        let chroot = Inside {
            environment: &environment,
            root: &self.root,
            hooks: &self.hooks,
        };
        let launch: &dyn Launch = if in_chroot { &chroot } else { &outside };
        let _ = launch
            .command(OsStr::new("bash"))
            .args(["-c", &text])
            .status();
        tell("Resuming");
    }

    /// Ends what hooks left running in the chroot: it would hold files of the image.
    fn end_processes(&self) {
        let Ok(entries) = std::fs::read_dir("/proc") else {
            return;
        };
        for entry in entries.flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<i32>().ok())
            else {
                continue;
            };
            let root = std::fs::read_link(entry.path().join("root"));
            if pid > 1 && root.is_ok_and(|root| root.starts_with(&self.root)) {
                tell(&format!("Killing chroot process: {pid}"));
                let pid = nix::unistd::Pid::from_raw(pid);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        }
    }
}

fn chosen(hooks: &Hooks, part: Part<'_>) -> Vec<String> {
    let end = |name: &str| {
        hooks
            .run
            .iter()
            .position(|hook| hook == name)
            .map_or(0, |at| at + 1)
    };
    match part {
        Part::All => hooks.run.clone(),
        Part::UpTo(name) => hooks.run[..end(name)].to_vec(),
        Part::Behind(name) => hooks.run[end(name)..].to_vec(),
    }
}
