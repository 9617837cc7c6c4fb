//! Makes a lab and lives as long as it does.
//!
//! The first stage checks what was asked and starts, by `unshare`, the second stage as PID 1 of mount, PID, network
//! and IPC namespaces of its own. When any of them is killed, the kernel takes everything with it; only empty
//! control group directories stay, which the next start or `down` removes.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use rustix::io::{FdFlags, fcntl_setfd};
use sha2::{Digest, Sha256};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::boot::release_disks;
use crate::cgroup::Groups;
use crate::control;
use crate::credentials::{Credentials, write_private};
use crate::error::LabError;
use crate::machine::{Lab, Machine, Reset, with_causes};
use crate::network;
use crate::outer;
use crate::program::run;
use crate::redfish::{Controller, Listening};
use crate::spec::Specification;

/// What a lab is made from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where disks, consoles and sockets lie.
    pub state: PathBuf,
    /// The file with the specification.
    pub specification: PathBuf,
    /// The operator's network namespace: a path, or a name below `/run/netns`. Without it, the starter's.
    pub operator_netns: Option<PathBuf>,
    /// Whether the lab ends when the process that started it ends.
    pub die_with_starter: bool,
    /// The command line that leads here again, for the second stage.
    pub again: Vec<OsString>,
    /// Set in the second stage: the files that the first stage left open.
    pub inside: Option<Inherited>,
}

/// Files that the first stage opened for the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inherited {
    /// The operator's network namespace.
    pub operator: RawFd,
    /// The lock on the state directory.
    pub lock: RawFd,
}

impl FromStr for Inherited {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pair = text
            .split_once(',')
            .and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let (operator, lock) =
            pair.ok_or_else(|| "two file descriptors, separated by a comma".to_owned())?;
        Ok(Self { operator, lock })
    }
}

/// Serves a lab until it is told to end. `ready` is called once with a line about the lab that is up.
pub fn serve(settings: &Settings, ready: &mut dyn FnMut(&str)) -> Result<(), LabError> {
    match settings.inside {
        None => enter(settings),
        Some(inherited) => live(settings, inherited, ready),
    }
}

/// The lab's name among things that the whole host sees: the same for the same state directory.
pub(crate) fn lab_id(state: &Path) -> String {
    let digest = Sha256::digest(state.as_os_str().as_encoded_bytes());
    format!("tripleo-{}", &hex::encode(digest)[..8])
}

/// Makes the state directory, private to its owner, and gives its canonical path.
fn open_state(state: &Path) -> Result<PathBuf, LabError> {
    let cannot = || LabError::io(format!("make the state directory {}", state.display()));
    let private = |path: &Path| {
        let mut builder = fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(path)
    };
    private(state).map_err(cannot())?;
    let state = fs::canonicalize(state).map_err(cannot())?;
    if state.starts_with("/run") || state.starts_with("/proc") {
        return Err(LabError::Hidden { state });
    }
    for name in ["disks", "console", "media"] {
        private(&state.join(name)).map_err(cannot())?;
    }
    Ok(state)
}

/// Takes the lock of a state directory; it is held until the last process of the lab has ended.
pub(crate) fn lock(state: &Path) -> Result<Option<File>, LabError> {
    let path = state.join("lock");
    let cannot = || LabError::io(format!("lock {}", path.display()));
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(cannot())?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(cannot()(error.into())),
    }
}

/// The first stage: checks everything that can be checked, then waits for the second.
fn enter(settings: &Settings) -> Result<(), LabError> {
    if !rustix::process::geteuid().is_root() {
        return Err(LabError::NotRoot);
    }
    Specification::read(&settings.specification)?;
    for program in ["ip", "mount", "nsenter", "setpriv", "systemd-nspawn"] {
        run(Command::new(program).arg(if program == "ip" { "-V" } else { "--version" }))?;
    }
    let state = open_state(&settings.state)?;
    let lock = lock(&state)?.ok_or_else(|| LabError::Running {
        state: state.clone(),
    })?;
    // What an earlier lab that was killed could not remove.
    Groups::of(&lab_id(&state))?.remove()?;
    release_disks(&state.join("disks"))?;
    let namespace = match &settings.operator_netns {
        None => PathBuf::from("/proc/self/ns/net"),
        // A path stays as it is when it is joined to another one.
        Some(name) if name.components().count() == 1 => Path::new("/run/netns").join(name),
        Some(path) => path.clone(),
    };
    let operator = File::open(&namespace).map_err(LabError::io(format!(
        "open the operator's network namespace {}",
        namespace.display()
    )))?;
    for file in [&operator, &lock] {
        fcntl_setfd(file, FdFlags::empty())
            .map_err(|error| LabError::io("pass a file on")(error.into()))?;
    }
    if settings.die_with_starter {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .map_err(|error| LabError::io("bind the lab to its starter")(error.into()))?;
    }
    let mut command = Command::new("setpriv");
    // `unshare` dies with this stage, and with it the first process inside, and with that everything.
    command.args(["--pdeathsig", "KILL", "--", "unshare"]);
    command.args(["--mount", "--pid", "--net", "--ipc", "--fork"]);
    command.args(["--kill-child", "--mount-proc", "--"]);
    command.args(&settings.again);
    command
        .arg("--inside")
        .arg(format!("{},{}", operator.as_raw_fd(), lock.as_raw_fd()));
    outer::attend(&state, command)
}

/// The second stage: everything of the lab.
fn live(
    settings: &Settings,
    inherited: Inherited,
    ready: &mut dyn FnMut(&str),
) -> Result<(), LabError> {
    if std::process::id() != 1 {
        return Err(LabError::NotInside);
    }
    // The client that fetches media needs it; only an earlier call of ours could have set one.
    match rustls::crypto::ring::default_provider().install_default() {
        Ok(()) | Err(_) => {}
    }
    let specification = Specification::read(&settings.specification)?;
    let state = open_state(&settings.state)?;
    // Containers, network namespaces and the mount table are kept below /run: the host's is not ours.
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"]))?;
    fs::create_dir_all("/run/testenv").map_err(LabError::io("make /run/testenv"))?;
    let credentials = Credentials::of(&state)?;
    network::connect(
        &specification,
        &format!("/proc/1/fd/{}", inherited.operator),
    )?;
    let id = lab_id(&state);
    let groups = Groups::of(&id)?;
    let lab = Arc::new(Lab {
        id,
        state,
        specification,
        groups,
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(LabError::io("start the lab's runtime"))?;
    let outcome = runtime.block_on(attend(&lab, &credentials, ready));
    // Ends the threads that still serve; machines are off by now.
    runtime.shutdown_background();
    outcome
}

/// Serves controllers and the control socket until the end is asked for, then switches all machines off.
async fn attend(
    lab: &Arc<Lab>,
    credentials: &Credentials,
    ready: &mut dyn FnMut(&str),
) -> Result<(), LabError> {
    let count = lab.specification.machines.len();
    let machines: Vec<_> = (0..count)
        .map(|number| Machine::new(lab, number))
        .collect::<Result<_, _>>()?;
    let bmc = &lab.specification.bmc;
    let mut controllers: Vec<Listening> = Vec::new();
    for machine in &machines {
        let controller = Controller::new(Arc::clone(machine), credentials.clone());
        controllers.push(
            controller
                .listen(machine.spec.bmc_address, bmc.port(), bmc.tls)
                .await?,
        );
    }
    let end = Arc::new(Notify::new());
    let socket = control::listen(&lab.state)?;
    let directory = control::describe(lab, credentials);
    let text = serde_json::to_vec_pretty(&directory).unwrap_or_default();
    write_private(&lab.state.join("lab.json"), &text)?;
    for controller in controllers {
        tokio::spawn(async move {
            if let Err(error) = controller.serve().await {
                tracing::error!(%error, "a controller has stopped");
            }
        });
    }
    tokio::spawn(control::attend(socket, machines.clone(), Arc::clone(&end)));
    let mut terminate = signal(SignalKind::terminate()).map_err(LabError::io("take signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(LabError::io("take signals"))?;
    ready(&format!(
        "testenv ready: {count} machines, state {}",
        lab.state.display()
    ));
    tokio::select! {
        () = end.notified() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    put_away(lab, &machines).await
}

async fn put_away(lab: &Arc<Lab>, machines: &[Arc<Machine>]) -> Result<(), LabError> {
    for machine in machines {
        if let Err(error) = machine.reset(Reset::ForceOff) {
            tracing::error!(machine = %machine.spec.name, error = %with_causes(&error), "a machine does not stop");
        }
    }
    let (lab, machines) = (Arc::clone(lab), machines.to_vec());
    let ended = tokio::task::spawn_blocking(move || {
        machines.iter().for_each(|machine| machine.wait_off());
        control::remove(&lab.state);
        lab.groups.remove()
    });
    ended.await.unwrap_or_else(|error| {
        Err(LabError::io("end the machines")(std::io::Error::other(
            error,
        )))
    })
}
