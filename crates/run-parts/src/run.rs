//! Runs the hooks of a directory, one after the other, until one fails.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::environment::{environment_files, source};
use crate::report::Stamp;
use crate::select::{Hooks, NamePattern};

/// Linux's number of "exec format error": a script without an interpreter line.
const ENOEXEC: i32 = 8;

/// Why a run of hooks ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The directory cannot be read.
    #[error("cannot read the hook directory {directory}", directory = directory.display())]
    Directory {
        /// The hook directory.
        directory: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// bash cannot be started for the environment files.
    #[error("cannot run `bash` for the files of environment.d")]
    Environment {
        /// What the kernel said.
        source: io::Error,
    },
    /// A file of environment.d failed.
    #[error("a file of environment.d ended with exit code {code}")]
    EnvironmentStatus {
        /// Exit code of the bash that sourced it.
        code: i32,
    },
    /// A hook cannot be started.
    #[error("cannot start the hook `{hook}`")]
    Start {
        /// Name of the hook.
        hook: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A hook failed.
    #[error("hook `{hook}` ended with exit code {code}")]
    Hook {
        /// Name of the hook.
        hook: String,
        /// Its exit code; 128 + N if signal N ended it.
        code: i32,
    },
}

impl RunError {
    /// The exit code that a program should end with.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Directory { .. } => 1,
            Self::Environment { .. } | Self::Start { .. } => 127,
            Self::EnvironmentStatus { code } | Self::Hook { code, .. } => *code,
        }
    }
}

/// How a program starts: in this process' own place, or in a chroot.
pub trait Launch {
    /// A command for `program`, with place, output and base environment already set.
    fn command(&self, program: &OsStr) -> Command;
}

/// Hears what happens during a run.
pub trait Watch {
    /// `path` is about to run.
    fn running(&mut self, path: &Path);
    /// The hook has succeeded.
    fn completed(&mut self, timing: &Timing);
}

/// How long a hook took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// Name of the hook.
    pub name: String,
    /// Wall time.
    pub took: Duration,
}

/// A directory of hooks, here and as the started programs see it.
#[derive(Debug, Clone)]
pub struct HookDirectory {
    /// Where we read it.
    pub here: PathBuf,
    /// Where its hooks find themselves (another path inside a chroot).
    pub there: PathBuf,
}

impl HookDirectory {
    /// A directory that looks the same to its hooks.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let here = path.into();
        Self {
            there: here.clone(),
            here,
        }
    }

    /// What the directory holds.
    pub fn hooks(&self, pattern: &NamePattern) -> Result<Hooks, RunError> {
        Hooks::read(&self.here, pattern).map_err(|source| RunError::Directory {
            directory: self.here.clone(),
            source,
        })
    }

    /// Reads the environment files beside the directory. `None`: there are none, nothing to change.
    pub fn environment(
        &self,
        launch: &dyn Launch,
        stamp: Stamp,
    ) -> Result<Option<Vec<(OsString, OsString)>>, RunError> {
        // Upstream looks beside the directory by its name, so a link stays where it is.
        let beside = |path: &Path| match path.parent() {
            Some(parent) if path.file_name().is_some() && parent != Path::new("") => {
                parent.join("environment.d")
            }
            _ => path.join("../environment.d"),
        };
        let directory = beside(&self.here);
        let names = environment_files(&directory)
            .map_err(|source| RunError::Directory { directory, source })?;
        if names.is_empty() {
            return Ok(None);
        }
        let there = beside(&self.there);
        let files: Vec<PathBuf> = names.iter().map(|name| there.join(name)).collect();
        source(launch, &files, stamp).map(Some)
    }

    /// Runs `names` in order. `environment` replaces the one of `launch`, if given.
    pub fn run(
        &self,
        names: &[String],
        environment: Option<&[(OsString, OsString)]>,
        launch: &dyn Launch,
        watch: &mut dyn Watch,
    ) -> Result<Vec<Timing>, RunError> {
        let mut timings = Vec::with_capacity(names.len());
        for name in names {
            let path = self.path_of(name);
            watch.running(&path);
            let start = Instant::now();
            let status =
                spawn_program(launch, &path, environment).map_err(|source| RunError::Start {
                    hook: name.clone(),
                    source,
                })?;
            match status_code(status) {
                0 => {}
                code => {
                    return Err(RunError::Hook {
                        hook: name.clone(),
                        code,
                    });
                }
            }
            let timing = Timing {
                name: name.clone(),
                took: start.elapsed(),
            };
            watch.completed(&timing);
            timings.push(timing);
        }
        Ok(timings)
    }

    /// The path by which a hook is called: directory, slash, name, nothing tidied.
    pub fn path_of(&self, name: &str) -> PathBuf {
        let mut path = self.there.clone().into_os_string();
        path.push("/");
        path.push(name);
        PathBuf::from(path)
    }
}

/// Starts `path` and waits; a file without an interpreter line is given to bash, as a shell would.
pub fn spawn_program(
    launch: &dyn Launch,
    path: &Path,
    environment: Option<&[(OsString, OsString)]>,
) -> io::Result<ExitStatus> {
    let with_environment = |mut command: Command| {
        if let Some(environment) = environment {
            command
                .env_clear()
                .envs(environment.iter().map(|(name, value)| (name, value)));
        }
        command
    };
    match with_environment(launch.command(path.as_os_str())).status() {
        Err(error) if error.raw_os_error() == Some(ENOEXEC) => {
            let mut command = with_environment(launch.command(OsStr::new("bash")));
            command.arg(path).status()
        }
        other => other,
    }
}

/// The exit code as a shell tells it: 128 + N after signal N.
pub fn status_code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}
