//! Processes that outlive the command that starts them: the lab and the seed.
//!
//! A daemon is known by its pid file, which holds the number and the start time of the process, so that a
//! number that the kernel gave to somebody else is never taken for it, and never signalled.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::cpu;

/// Why a daemon could not be started or ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A file of the daemon cannot be written or read.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program cannot be run.
    #[error("cannot start {name}")]
    Spawn {
        /// Which daemon.
        name: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("{name} ended before it was ready; the end of {}:\n{tail}", log.display())]
    Ended {
        /// Which daemon.
        name: &'static str,
        /// Its log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// It does not end.
    #[error("{name} (pid {pid}) does not end")]
    Stays {
        /// Which daemon.
        name: &'static str,
        /// Its process.
        pid: u32,
    },
}

/// One daemon and where it keeps its files.
#[derive(Debug, Clone)]
pub struct Daemon {
    name: &'static str,
    pid_file: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// Names a daemon; nothing is started.
    pub fn new(name: &'static str, state: &Path, logs: &Path) -> Self {
        Self {
            name,
            pid_file: state.join("pid"),
            log: logs.join(format!("{name}.log")),
        }
    }

    /// The process, if it runs.
    pub fn pid(&self) -> Option<u32> {
        let text = fs::read_to_string(&self.pid_file).ok()?;
        let (pid, start) = text.trim().split_once(' ')?;
        let pid: u32 = pid.parse().ok()?;
        let start: u64 = start.parse().ok()?;
        (cpu::started(pid)? == start).then_some(pid)
    }

    /// Whether it runs with other arguments than this command has.
    pub fn runs_otherwise(&self, command: &Command) -> bool {
        let Some(pid) = self.pid() else { return false };
        let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else {
            return false;
        };
        // One that has just ended, or is just being made, has none.
        let Some(line) = line.strip_suffix(b"\0") else {
            return false;
        };
        let has = line.split(|byte| *byte == 0).skip(1);
        !has.eq(command.get_args().map(OsStr::as_encoded_bytes))
    }

    /// Starts the daemon in a session of its own and returns the first line that it prints, which says that it is ready.
    pub fn start(&self, mut command: Command) -> Result<String, DaemonError> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.log)
            .map_err(|source| DaemonError::Write {
                path: self.log.clone(),
                source,
            })?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0);
        let mut child = command.spawn().map_err(|source| DaemonError::Spawn {
            name: self.name,
            source,
        })?;
        let written = self.write_pid(child.id());
        let line = first_line(&mut child);
        if let Err(error) = written {
            // Without a pid file nobody could end it later.
            let _ = child.kill();
            return Err(error);
        }
        line.ok_or_else(|| {
            let _ = fs::remove_file(&self.pid_file);
            DaemonError::Ended {
                name: self.name,
                log: self.log.clone(),
                tail: tail(&self.log, 15),
            }
        })
    }

    fn write_pid(&self, pid: u32) -> Result<(), DaemonError> {
        let failed = |source| DaemonError::Write {
            path: self.pid_file.clone(),
            source,
        };
        let start = cpu::started(pid).unwrap_or_default();
        let beside = self.pid_file.with_extension("new");
        fs::write(&beside, format!("{pid} {start}\n")).map_err(failed)?;
        fs::rename(&beside, &self.pid_file).map_err(failed)
    }

    /// Ends the daemon: first politely, then, after `patience`, for good. It is no error if it does not run.
    pub fn stop(&self, patience: Duration) -> Result<(), DaemonError> {
        if let Some(pid) = self.pid() {
            for (signal, patience) in [(Signal::TERM, patience), (Signal::KILL, patience)] {
                send(pid, signal);
                if self.gone(patience) {
                    break;
                }
            }
            if self.pid().is_some() {
                return Err(DaemonError::Stays {
                    name: self.name,
                    pid,
                });
            }
        }
        let _ = fs::remove_file(&self.pid_file);
        Ok(())
    }

    fn gone(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if self.pid().is_none() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.pid().is_none()
    }
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended a moment ago, which is what was wanted.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

fn first_line(child: &mut Child) -> Option<String> {
    let mut line = String::new();
    let read = BufReader::new(child.stdout.take()?)
        .read_line(&mut line)
        .ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}

/// The last lines of a text file, for an error message; empty where there is no such file.
pub fn tail(path: &Path, lines: usize) -> String {
    let Ok(file) = File::open(path) else {
        return String::new();
    };
    let mut kept = std::collections::VecDeque::new();
    for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
        kept.push_back(String::from_utf8_lossy(&line).into_owned());
        if kept.len() > lines {
            kept.pop_front();
        }
    }
    Vec::from(kept).join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon(folder: &Path) -> Daemon {
        Daemon::new("sleeper", folder, folder)
    }

    #[test]
    fn it_is_found_again_and_ended() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready here; exec sleep 600"]);
        assert_eq!(daemon(folder.path()).start(command).unwrap(), "ready here");
        assert!(daemon(folder.path()).pid().is_some());
        daemon(folder.path()).stop(Duration::from_secs(60)).unwrap();
        assert!(daemon(folder.path()).pid().is_none());
        assert!(!folder.path().join("pid").exists());
    }

    #[test]
    fn other_arguments_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let command = |end: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", "echo ready; read line", "name", end]);
            command
        };
        let daemon = daemon(folder.path());
        assert!(!daemon.runs_otherwise(&command("a")));
        let mut child = command("a")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Until it says something the kernel may still be putting it together.
        assert_eq!(first_line(&mut child).as_deref(), Some("ready"));
        daemon.write_pid(child.id()).unwrap();
        assert!(!daemon.runs_otherwise(&command("a")));
        assert!(daemon.runs_otherwise(&command("b")));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn one_that_ends_at_once_shows_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such port >&2; exit 3"]);
        let error = daemon(folder.path())
            .start(command)
            .unwrap_err()
            .to_string();
        assert!(error.contains("no such port"), "{error}");
    }

    #[test]
    fn a_number_that_belongs_to_another_process_is_not_taken_for_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("pid"),
            format!("{} 1\n", std::process::id()),
        )
        .unwrap();
        assert_eq!(daemon(folder.path()).pid(), None);
        daemon(folder.path()).stop(Duration::from_secs(1)).unwrap();
    }
}
