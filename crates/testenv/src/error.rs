//! Why a lab cannot be made or a machine does not do what it was told.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why a lab cannot be made or a machine does not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The specification cannot be read or contradicts itself.
    #[error("the lab specification {path} cannot be used: {reason}", path = path.display())]
    Specification {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The caller is not root.
    #[error("a lab of containers can only be made by root")]
    NotRoot,
    /// Another lab uses the same state directory.
    #[error("a lab is already running in {state}", state = state.display())]
    Running {
        /// The state directory.
        state: PathBuf,
    },
    /// No lab runs in the state directory.
    #[error("no lab is running in {state}", state = state.display())]
    NotRunning {
        /// The state directory.
        state: PathBuf,
    },
    /// The state directory lies where the lab mounts file systems of its own.
    #[error("the state directory {state} must not lie below /run or /proc", state = state.display())]
    Hidden {
        /// The state directory.
        state: PathBuf,
    },
    /// The second stage was not started by the first.
    #[error("the inner stage of a lab only runs as the first process of its own namespaces")]
    NotInside,
    /// The lab ended by itself; what went wrong is in what it wrote.
    #[error("the lab ended ({status}); the lines above say why")]
    Ended {
        /// How.
        status: ExitStatus,
    },
    /// A program is missing or cannot be started.
    #[error("cannot start `{program}`")]
    Program {
        /// Its name.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A program failed.
    #[error("`{command}` failed: {said}")]
    Command {
        /// What was called.
        command: String,
        /// What it wrote to its standard error.
        said: String,
    },
    /// A file or kernel object cannot be used.
    #[error("cannot {what}")]
    Io {
        /// What was tried, with its subject.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no such machine.
    #[error("there is no machine `{machine}` in this lab")]
    NoMachine {
        /// The name asked for.
        machine: String,
    },
    /// The lab answered with an error.
    #[error("the lab refused: {said}")]
    Refused {
        /// Its words.
        said: String,
    },
}

impl LabError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotRoot => Some("run it as root, or with sudo".to_owned()),
            Self::Running { state } => Some(format!(
                "end it with `tripleo testenv down --state {}`",
                state.display()
            )),
            Self::Program { program, .. } => package_of(program)
                .map(|package| format!("install it: apt-get install {package}")),
            Self::Command { said, .. } if said.contains("File exists") => Some(
                "another lab may use the same names or addresses: end it, or change them in the specification"
                    .to_owned(),
            ),
            Self::Specification { .. }
            | Self::NotRunning { .. }
            | Self::Hidden { .. }
            | Self::NotInside
            | Self::Ended { .. }
            | Self::Command { .. }
            | Self::Io { .. }
            | Self::NoMachine { .. }
            | Self::Refused { .. } => None,
        }
    }

    /// Wraps what the kernel said.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// The Debian package that has a program.
fn package_of(program: &str) -> Option<&'static str> {
    match program {
        "ip" => Some("iproute2"),
        "systemd-nspawn" => Some("systemd-container"),
        "setpriv" | "unshare" | "nsenter" => Some("util-linux"),
        "mount" | "losetup" => Some("mount"),
        "resize2fs" => Some("e2fsprogs"),
        "xfs_growfs" => Some("xfsprogs"),
        _ => None,
    }
}
