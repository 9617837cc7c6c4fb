//! Starts a prepared root directory as a machine of kind `container` and waits for its end.
//!
//! systemd-nspawn gives the machine namespaces of its own; the control group and the network namespace are
//! the lab's. The machine is told to stop through a [`Switch`].

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{PidfdFlags, pidfd_open};

use crate::boot::Prepared;
use crate::cgroup::Group;
use crate::error::LabError;

/// What systemd-nspawn ends with when the machine asked for a restart.
const RESTART_ASKED: i32 = 133;

/// Where systemd-nspawn, since version 256, mounts a directory of its own for each machine.
const EXPORTS: &str = "/run/systemd/nspawn/unix-export";

/// Enters control groups, then becomes the program: nothing of it may run outside of them.
const ENTER: &str =
    r#"while [ "$1" != -- ]; do echo $$ >"$1" || exit 125; shift; done; shift; exec "$@""#;

/// All that starting a machine needs.
#[derive(Debug)]
pub struct Start<'a> {
    /// Its name among all containers of the host.
    pub unique_name: String,
    /// Its name.
    pub host_name: &'a str,
    /// The prepared root directory.
    pub prepared: &'a Prepared,
    /// Path of its network namespace.
    pub network: String,
    /// Disks that it sees, with their places in its `/dev`.
    pub disks: Vec<(PathBuf, String)>,
}

/// How a machine's run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It switched itself off.
    Off,
    /// It restarted itself.
    Restart,
    /// It was told to stop.
    Stopped {
        /// Whether it starts again.
        again: bool,
    },
    /// Its first process failed: the machine is on, and nothing runs on it.
    Hung {
        /// The status of its first process.
        status: i32,
    },
}

/// An order to stop.
#[derive(Debug, Clone, Copy)]
pub struct StopOrder {
    /// When it is cut off if it has not ended by itself.
    pub cut_at: Instant,
    /// Whether it starts again.
    pub again: bool,
}

/// The power switch of a running machine.
#[derive(Debug)]
pub struct Switch {
    event: OwnedFd,
    order: Mutex<Option<StopOrder>>,
}

impl Switch {
    /// A switch that nobody has touched.
    pub fn new() -> Result<Self, LabError> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| LabError::io("make an event")(error.into()))?;
        Ok(Self {
            event,
            order: Mutex::new(None),
        })
    }

    /// Orders the machine to stop. A later order replaces an earlier one.
    pub fn order(&self, order: StopOrder) {
        *self.order.lock().unwrap_or_else(PoisonError::into_inner) = Some(order);
        // The counter only fails when it is full: then the machine is awake anyway.
        match rustix::io::write(&self.event, &1_u64.to_ne_bytes()) {
            Ok(_) | Err(_) => {}
        }
    }

    fn ordered(&self) -> Option<StopOrder> {
        *self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drain(&self) {
        match rustix::io::read(&self.event, &mut [0; 8]) {
            Ok(_) | Err(_) => {}
        }
    }

    /// Waits for an order, for machines on which nothing runs.
    pub fn wait(&self) -> Result<StopOrder, LabError> {
        loop {
            if let Some(order) = self.ordered() {
                return Ok(order);
            }
            wait_for(&mut [PollFd::new(&self.event, PollFlags::IN)], None)?;
            self.drain();
        }
    }
}

fn wait_for(files: &mut [PollFd<'_>], limit: Option<Duration>) -> Result<(), LabError> {
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    match poll(files, limit.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(LabError::io("wait for a machine")(error.into())),
    }
}

/// The command that starts a machine in `group`.
fn command(start: &Start<'_>, group: &Group) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", ENTER, "enter"])
        .args(group.doors())
        .arg("--");
    command.args(["systemd-nspawn", "--quiet", "--register=no", "--keep-unit"]);
    command.args([
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--capability=all",
    ]);
    command
        .arg("-D")
        .arg(&start.prepared.root)
        .arg("-M")
        .arg(&start.unique_name);
    command.arg(format!("--hostname={}", start.host_name));
    command.arg(format!("--network-namespace-path={}", start.network));
    for (disk, place) in &start.disks {
        command.arg(format!(
            "--bind={}:{place}",
            colons(&disk.to_string_lossy())
        ));
    }
    if let Some(tree) = &start.prepared.config_drive {
        command.arg(format!(
            "--bind-ro={}:/run/config-2",
            colons(&tree.to_string_lossy())
        ));
    }
    if start.prepared.system {
        // `pipe` would leave systemd without a console; this one is written to, never read.
        command.args(["--boot", "--console=read-only", "--setenv=TERM=dumb"]);
        command.args([
            "systemd.journald.forward_to_console=1",
            "systemd.show_status=error",
            "systemd.log_color=0",
        ]);
    } else {
        command.args(["--console=pipe", "/init"]);
    }
    // Without it the machine sees the interfaces of the host and cannot set up its own.
    command.env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network");
    command
}

/// systemd-nspawn separates the paths of a bind by colons.
fn colons(path: &str) -> String {
    path.replace('\\', "\\\\").replace(':', "\\:")
}

/// Runs a machine to its end.
pub fn run(
    start: &Start<'_>,
    group: &Group,
    console: &File,
    switch: &Switch,
) -> Result<End, LabError> {
    let copy = || {
        console
            .try_clone()
            .map(Stdio::from)
            .map_err(LabError::io("open the console"))
    };
    let mut command = command(start, group);
    command.stdin(Stdio::null()).stdout(copy()?).stderr(copy()?);
    let cannot = |source| LabError::Program {
        program: "systemd-nspawn".to_owned(),
        source,
    };
    let mut child = command.spawn().map_err(cannot)?;
    let outcome = watch(&mut child, group, switch);
    // Whatever happened, nothing of the machine may stay behind.
    group.kill(Some(child.id()));
    let status = child.wait().map_err(cannot)?;
    forget_export(&start.unique_name)?;
    if outcome? {
        let again = switch.ordered().is_some_and(|order| order.again);
        return Ok(End::Stopped { again });
    }
    Ok(match status.code() {
        Some(0) => End::Off,
        Some(RESTART_ASKED) => End::Restart,
        Some(status) => End::Hung { status },
        None => End::Hung {
            status: status.signal().map_or(-1, |signal| 128 + signal),
        },
    })
}

/// Takes away what systemd-nspawn mounts outside of a machine, and leaves there when it is killed, as it is when power is cut: it
/// refuses to start a machine of the same name beside it.
fn forget_export(name: &str) -> Result<(), LabError> {
    let place = Path::new(EXPORTS).join(name);
    match unmount(&place, UnmountFlags::DETACH) {
        // Older versions have no such mount, and one that ended by itself has none left.
        Ok(()) | Err(Errno::NOENT | Errno::INVAL) => Ok(()),
        Err(error) => Err(LabError::io(format!("unmount {}", place.display()))(
            error.into(),
        )),
    }
}

/// Waits until the machine ends; tells whether it was told to.
fn watch(child: &mut Child, group: &Group, switch: &Switch) -> Result<bool, LabError> {
    let id = i32::try_from(child.id()).unwrap_or(i32::MAX);
    let gone = |error: rustix::io::Errno| LabError::io("watch a machine")(io::Error::from(error));
    let raw = rustix::process::Pid::from_raw(id).ok_or_else(|| gone(rustix::io::Errno::SRCH))?;
    let process = pidfd_open(raw, PidfdFlags::empty()).map_err(gone)?;
    let mut asked = false;
    loop {
        let order = switch.ordered();
        let left = order.map(|order| order.cut_at.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            group.kill(Some(child.id()));
            return Ok(true);
        }
        if order.is_some() && !asked {
            asked = true;
            // systemd-nspawn passes it on as SIGRTMIN+3, which systemd takes for the power button.
            match kill(Pid::from_raw(id), Signal::SIGTERM) {
                Ok(()) | Err(_) => {}
            }
        }
        let mut files = [
            PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN),
            PollFd::new(&switch.event, PollFlags::IN),
        ];
        wait_for(&mut files, left)?;
        if files[0].revents().contains(PollFlags::IN) {
            return Ok(order.is_some());
        }
        switch.drain();
    }
}
