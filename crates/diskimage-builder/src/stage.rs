//! The three processes of a build, and why none leaves anything behind.
//!
//! The **front** is what the user started: it reads the command line, writes the log and passes signals
//! on. The **guard** makes the temporary folders, watches front and worker, and removes what is left when
//! either is gone, killed or not; it has a session of its own, so what kills a process group misses it. The
//! **worker** is PID 1 of its own PID and mount namespaces: when it dies, the kernel takes every process
//! and mount of the build with it. Folders that a power loss left are removed by the next build.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{PidfdFlags, pidfd_open};

/// Says which of the three this process is.
pub const STAGE: &str = "_DIB_STAGE";
/// The process that must live for this one to go on.
const PARENT: &str = "_DIB_PARENT";
/// The workspace, for the worker.
const WORKSPACE: &str = "_DIB_WORKSPACE";
/// Folders of a build start so.
const BUILD: &str = "dib_build.";
const IMAGE: &str = "dib_image.";
/// Exit code of a build that a signal ended is 128 plus its number.
const SIGNALLED: i32 = 128;

/// A file is being written under this ending until it is whole; the guard removes what has it.
pub const PARTIAL: &str = "partial";

/// What the build has for itself.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// `TMP_BUILD_DIR`.
    pub build: PathBuf,
    /// `TMP_IMAGE_DIR`.
    pub image: PathBuf,
    /// A word that no other build has.
    pub id: String,
}

/// A process of the build could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A namespace is refused.
    #[error("cannot {what}")]
    Namespace {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: nix::Error,
    },
    /// A process cannot be started or watched.
    #[error("cannot {what}")]
    Process {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The parent is gone already.
    #[error("the process that started this one is gone")]
    Orphan,
}

impl StageError {
    /// What can be done about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Namespace {
                source: nix::Error::EPERM,
                ..
            } => Some(
                "image builds need root: call it with sudo, or give the container CAP_SYS_ADMIN"
                    .to_owned(),
            ),
            Self::Namespace { .. } | Self::Process { .. } | Self::Orphan => None,
        }
    }
}

fn process(what: &'static str) -> impl Fn(io::Error) -> StageError {
    move |source| StageError::Process { what, source }
}

fn namespace(what: &'static str) -> impl Fn(nix::Error) -> StageError {
    move |source| StageError::Namespace { what, source }
}

/// Starts the guard with the same arguments; its output and that of all below comes through the pipe.
pub fn start_guard() -> Result<(Child, OwnedFd), StageError> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| process("make a pipe")(error.into()))?;
    let second = write.try_clone().map_err(process("make a pipe"))?;
    let child = again("guard")?
        .stdout(Stdio::from(write))
        .stderr(Stdio::from(second))
        .spawn()
        .map_err(process("start the build's guard"))?;
    Ok((child, read))
}

/// This program once more, as another of the three.
fn again(stage: &str) -> Result<Command, StageError> {
    let program = std::env::current_exe().map_err(process("find this program"))?;
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        std::os::unix::process::CommandExt::arg0(&mut command, name);
    }
    command
        .args(arguments)
        .env(STAGE, stage)
        .env(PARENT, std::process::id().to_string());
    Ok(command)
}

/// The signals that end a build.
pub fn ending_signals() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
        .into_iter()
        .collect()
}

/// Passes ending signals on to the guard. Gives the number of the one that came, once it came.
pub fn forward_signals(guard: u32) -> std::sync::mpsc::Receiver<i32> {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Ok(signal) = ending_signals().wait() {
            let _ = send.send(signal as i32);
            if let Ok(pid) = i32::try_from(guard) {
                let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
        }
    });
    receive
}

/// What the guard needs to know.
#[derive(Debug)]
pub struct Guarded<'a> {
    /// Folder for temporary folders.
    pub tmp: &'a Path,
    /// Cache of layers.
    pub layers: &'a Path,
    /// The folder that outputs go to.
    pub output: &'a Path,
}

/// Is the guard: makes folders, starts the worker, waits, removes. Gives the build's exit code.
pub fn guard(guarded: &Guarded<'_>) -> Result<i32, StageError> {
    let parent = watch_parent()?;
    // Before anything is made: from here on what is sent to the caller's process group misses us, and we can
    // clean up.
    let _ = nix::unistd::setsid();
    let mut signals = ending_signals();
    signals.add(Signal::SIGQUIT);
    signals.thread_block().map_err(namespace("block signals"))?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)
        .map_err(namespace("watch signals"))?;
    sweep(guarded.tmp);
    let (workspace, _locks) = make_workspace(guarded.tmp)?;
    let code = work(&workspace, &parent, &signals);
    clean(&workspace, guarded);
    code
}

fn work(workspace: &Workspace, parent: &OwnedFd, signals: &SignalFd) -> Result<i32, StageError> {
    // Only children are moved to the new PID namespace: the first is its PID 1.
    unshare(CloneFlags::CLONE_NEWPID).map_err(namespace("make a PID namespace"))?;
    let mut place = OsString::from(&workspace.build);
    place.push("\n");
    place.push(&workspace.image);
    place.push("\n");
    place.push(&workspace.id);
    let mut worker = again("worker")?
        .env(WORKSPACE, place)
        // In the new namespace the guard has no number.
        .env(PARENT, "0")
        .spawn()
        .map_err(process("start the build's worker"))?;
    let pid = rustix::process::Pid::from_child(&worker);
    let ended = pidfd_open(pid, PidfdFlags::empty())
        .map_err(|error| process("watch the worker")(error.into()))?;
    let mut fds = [
        PollFd::new(&ended, PollFlags::IN),
        PollFd::new(parent, PollFlags::IN),
        PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
    ];
    loop {
        match poll(&mut fds, None) {
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(process("watch the build")(error.into())),
        }
    }
    let finished = !fds[0].revents().is_empty();
    if !finished {
        let _ = worker.kill();
    }
    let status = worker.wait().map_err(process("wait for the worker"))?;
    let code = run_parts::status_code(status);
    Ok(if finished {
        code
    } else {
        SIGNALLED + Signal::SIGTERM as i32
    })
}

/// A descriptor that tells when the parent ends.
fn watch_parent() -> Result<OwnedFd, StageError> {
    let parent = nix::unistd::getppid();
    let expected = std::env::var(PARENT)
        .ok()
        .and_then(|text| text.parse().ok());
    if expected != Some(parent.as_raw()) {
        return Err(StageError::Orphan);
    }
    let pid = rustix::process::Pid::from_raw(parent.as_raw()).ok_or(StageError::Orphan)?;
    pidfd_open(pid, PidfdFlags::empty()).map_err(|error| process("watch the parent")(error.into()))
}

fn make_workspace(tmp: &Path) -> Result<(Workspace, Vec<File>), StageError> {
    let failed = process("make a temporary folder");
    std::fs::create_dir_all(tmp).map_err(&failed)?;
    let tmp = tmp.canonicalize().map_err(&failed)?;
    loop {
        let id: String = uuid::Uuid::new_v4()
            .simple()
            .to_string()
            .chars()
            .take(8)
            .collect();
        let workspace = Workspace {
            build: tmp.join(format!("{BUILD}{id}")),
            image: tmp.join(format!("{IMAGE}{id}")),
            id,
        };
        match std::fs::create_dir(&workspace.build) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(failed(error)),
        }
        std::fs::create_dir(&workspace.image).map_err(&failed)?;
        let locks: io::Result<Vec<File>> = [&workspace.build, &workspace.image]
            .into_iter()
            .map(lock)
            .collect();
        return Ok((workspace, locks.map_err(&failed)?));
    }
}

/// A folder whose lock is held belongs to a build that lives.
fn lock(path: &PathBuf) -> io::Result<File> {
    let folder = File::open(path)?;
    flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
    Ok(folder)
}

/// Removes folders of builds that died with the machine.
fn sweep(tmp: &Path) {
    let Ok(entries) = std::fs::read_dir(tmp) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let ours = name
            .to_str()
            .is_some_and(|name| name.starts_with(BUILD) || name.starts_with(IMAGE));
        // Between making a folder and locking it a build is young.
        let old = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|time| {
                SystemTime::now()
                    .duration_since(time)
                    .is_ok_and(|age| age > Duration::from_secs(60))
            });
        if ours && old && lock(&entry.path()).is_ok() {
            remove_tree(&entry.path());
        }
    }
}

fn clean(workspace: &Workspace, guarded: &Guarded<'_>) {
    let ours = format!(".{}.{PARTIAL}", workspace.id);
    for folder in [guarded.layers, guarded.output] {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        for entry in entries.flatten() {
            if entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.ends_with(&ours))
            {
                remove_tree(&entry.path());
            }
        }
    }
    // Last: who waits for these folders to go may look at everything then.
    remove_tree(&workspace.build);
    remove_tree(&workspace.image);
}

/// Removes a file or folder. Files that a hook made immutable are freed first.
pub fn remove_tree(path: &Path) {
    if !path.is_symlink() && path.is_dir() {
        if std::fs::remove_dir_all(path).is_err() {
            let _ = Command::new("chattr")
                .args(["-R", "-i"])
                .arg(path)
                .stderr(Stdio::null())
                .status();
            let _ = std::fs::remove_dir_all(path);
        }
    } else {
        let _ = std::fs::remove_file(path);
    }
}

/// Makes this process the worker: PID 1 with mounts of its own. Gives its workspace.
pub fn become_worker() -> Result<Workspace, StageError> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(namespace("die with the guard"))?;
    // Had the guard died before that call, nobody would tell us.
    if nix::unistd::getpid().as_raw() != 1 || nix::unistd::getppid().as_raw() != 0 {
        return Err(StageError::Orphan);
    }
    SigSet::all()
        .thread_unblock()
        .map_err(namespace("take signals"))?;
    let flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC;
    unshare(flags).map_err(namespace("make a mount namespace"))?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(namespace("make mounts private"))?;
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), safe, none).map_err(namespace("mount /proc"))?;
    let text = std::env::var(WORKSPACE).unwrap_or_default();
    let mut parts = text.split('\n').map(str::to_owned);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(build), Some(image), Some(id)) => Ok(Workspace {
            build: PathBuf::from(build),
            image: PathBuf::from(image),
            id,
        }),
        _ => Err(StageError::Orphan),
    }
}

/// Whether a variable is ours and no business of hooks.
pub fn is_internal(name: &str) -> bool {
    [STAGE, PARENT, WORKSPACE, crate::rootless::ROOTLESS].contains(&name)
}
