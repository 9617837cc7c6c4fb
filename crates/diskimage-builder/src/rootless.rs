//! Building as an ordinary user: the program starts itself again as root of a user namespace of its own.
//!
//! The user's sub-uids are the other users of the image. Only two things differ from there on: `sudo` in hooks outside
//! is ours, for that of the machine means the machine's root, and devices are those of the machine, shown and not made.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::settings::Surroundings;

/// Tells the program that it is root of a namespace only.
pub const ROOTLESS: &str = "_DIB_ROOTLESS";

/// Why an ordinary user cannot build.
#[derive(Debug, thiserror::Error)]
pub enum RootlessError {
    /// The programs that set up sub-uids are missing.
    #[error("an ordinary user needs the program `newuidmap` to build images")]
    NoProgram,
    /// The user has no sub-uids.
    #[error("user `{user}` has no range in {file}")]
    NoRange {
        /// The user.
        user: String,
        /// Where there is none.
        file: &'static str,
    },
    /// The namespace cannot be made.
    #[error("cannot run `unshare`")]
    Start {
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl RootlessError {
    /// What can be done about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoProgram => "install the package uidmap, or call it with sudo".to_owned(),
            Self::NoRange { user, .. } => format!(
                "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}; or call it with sudo"
            ),
            Self::Start { .. } => "it is part of util-linux; or call it with sudo".to_owned(),
        }
    }
}

/// Whether this process is root of a namespace only.
pub fn is_on(around: &Surroundings) -> bool {
    around.variable(ROOTLESS).is_some()
}

/// Goes on as root of a namespace, if this is an ordinary user: returns only where that is not needed, or not possible.
pub fn enter(around: &Surroundings, arguments: &[String]) -> Result<(), RootlessError> {
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        return Ok(());
    }
    let path = around.variable("PATH").unwrap_or("/usr/bin:/bin");
    if !path
        .split(':')
        .any(|folder| Path::new(folder).join("newuidmap").exists())
    {
        return Err(RootlessError::NoProgram);
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let number = uid.as_raw().to_string();
    let name = name_of(&users, &number).unwrap_or(&number);
    for file in ["/etc/subuid", "/etc/subgid"] {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if !has_range(&text, &[name, &number]) {
            return Err(RootlessError::NoRange {
                user: name.to_owned(),
                file,
            });
        }
    }
    let failed = |source| RootlessError::Start { source };
    let program = std::env::current_exe().map_err(failed)?;
    let source = Command::new("unshare")
        .args(["--user", "--map-auto", "--map-root-user", "--"])
        .arg("/bin/sh")
        // The name by which we were called says what we are; unshare cannot pass it on, a link can.
        .args(["-c", "exec \"$0\" \"$@\""])
        .arg(named(&program, &around.program))
        .args(arguments)
        .env(ROOTLESS, "1")
        .exec();
    Err(failed(source))
}

/// The program under the name by which it was called, where there is one beside it.
fn named(program: &Path, name: &str) -> PathBuf {
    let beside = program.with_file_name(name);
    if beside.exists() {
        beside
    } else {
        program.to_owned()
    }
}

fn name_of<'a>(users: &'a str, number: &str) -> Option<&'a str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then_some(name)
    })
}

/// Whether a file of sub-uids has a range that is large enough for a system.
fn has_range(text: &str, names: &[&str]) -> bool {
    text.lines().any(|line| {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let [name, _, count] = fields.as_slice() else {
            return false;
        };
        names.contains(name) && count.parse::<u64>().is_ok_and(|count| count >= 65536)
    })
}

/// `sudo` of hooks that are root already: takes its options, and runs the command.
pub fn sudo(arguments: &[String]) -> std::process::ExitCode {
    let mut rest = arguments.iter().peekable();
    let mut variables = Vec::new();
    let mut user: Option<String> = None;
    while let Some(argument) = rest.peek() {
        match argument.as_str() {
            "--" => {
                rest.next();
                break;
            }
            "-u" | "--user" => {
                rest.next();
                user = rest.next().cloned();
            }
            "-g" | "--group" | "-C" | "-p" | "--prompt" => {
                rest.next();
                rest.next();
            }
            option if option.starts_with('-') => drop(rest.next()),
            word => match word.split_once('=') {
                Some((name, value)) if !name.contains('/') => {
                    variables.push((name.to_owned(), value.to_owned()));
                    rest.next();
                }
                Some(_) | None => break,
            },
        }
    }
    let command: Vec<&String> = rest.collect();
    let Some((program, rest)) = command.split_first() else {
        return std::process::ExitCode::SUCCESS;
    };
    let mut command = match user.as_deref() {
        None | Some("root") => Command::new(program),
        Some(user) => {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", user, "--regid", user, "--init-groups"])
                .arg(program);
            command
        }
    };
    let error = command.args(rest).envs(variables).exec();
    eprintln_line(&format!("sudo: {program}: {error}"));
    std::process::ExitCode::from(127)
}

fn eprintln_line(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_belong_to_names_or_numbers() {
        let text = "alice:100000:65536\n1001:200000:65536\nbob:1:10\n";
        assert!(has_range(text, &["alice", "1000"]));
        assert!(has_range(text, &["carol", "1001"]));
        assert!(
            !has_range(text, &["bob", "1002"]),
            "ten are not enough for a system"
        );
        assert_eq!(
            name_of("root:x:0:0::/:/bin/sh\na:x:7:7::/:/bin/sh\n", "7"),
            Some("a")
        );
    }
}
