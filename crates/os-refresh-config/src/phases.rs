//! Runs phases one after the other, with a limit of time and a clean end on request.

use crate::descendants::signal_all;
use crate::log::{Level, Log};
use crate::record::Record;
use rustix::process::Signal;
use std::ffi::OsStr;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until, timeout};

/// The phases of a refresh, in order.
pub const PHASES: [&str; 4] = ["pre-configure", "configure", "post-configure", "migration"];

/// Scripts get this long to end after they were asked to.
const GRACE: Duration = Duration::from_secs(10);

/// Why a refresh ended early.
#[derive(Debug, thiserror::Error)]
pub enum PhaseError {
    /// A hook of the phase failed.
    #[error("during {phase} phase. [Command '['dib-run-parts', '{}']' {end}]", directory.display(), end = end(*status))]
    Failed {
        /// The phase.
        phase: &'static str,
        /// Its directory.
        directory: PathBuf,
        /// How `dib-run-parts` ended.
        status: ExitStatus,
    },
    /// `dib-run-parts` could not be started.
    #[error("during {phase} phase. [cannot run dib-run-parts: {source}]")]
    Start {
        /// The phase.
        phase: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The process was asked to end.
    #[error("during {phase} phase. [asked to end by SIGTERM]")]
    Terminated {
        /// The phase.
        phase: &'static str,
    },
}

impl PhaseError {
    /// The phase that did not end well.
    pub(crate) fn phase(&self) -> &'static str {
        match self {
            PhaseError::Failed { phase, .. }
            | PhaseError::Start { phase, .. }
            | PhaseError::Terminated { phase } => phase,
        }
    }

    /// What happened, without the phase.
    pub(crate) fn how(&self) -> String {
        match self {
            PhaseError::Failed { status, .. } => format!("dib-run-parts {}", end(*status)),
            PhaseError::Start { source, .. } => format!("cannot run dib-run-parts: {source}"),
            PhaseError::Terminated { .. } => "asked to end by SIGTERM".to_owned(),
        }
    }
}

fn end(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("returned non-zero exit status {code}."),
        (None, Some(signal)) => format!("died with signal {signal}."),
        (None, None) => "ended without a status.".to_owned(),
    }
}

/// How one directory of hooks ended.
enum Ended {
    Status(ExitStatus),
    Terminated,
}

/// Runs all phases below `base`; a failure runs the hooks for errors.
pub(crate) async fn refresh(
    base: &Path,
    limit: Option<Duration>,
    record: Option<&Record>,
    log: &mut Log<'_>,
) -> Result<(), PhaseError> {
    let deadline = limit.map(|limit| (Instant::now() + limit, limit));
    for phase in PHASES {
        if let Err(error) = run_phase(base, phase, deadline, record, log).await {
            log.say(Level::Error, &error.to_string());
            if !matches!(error, PhaseError::Terminated { .. }) {
                call_error_hooks(base, phase, &error, log).await;
            }
            log.say(Level::Error, "Aborting...");
            return Err(error);
        }
    }
    Ok(())
}

async fn run_phase(
    base: &Path,
    phase: &'static str,
    deadline: Option<(Instant, Duration)>,
    record: Option<&Record>,
    log: &mut Log<'_>,
) -> Result<(), PhaseError> {
    let directory = base.join(format!("{phase}.d"));
    log.say(Level::Debug, &format!("Checking {}", directory.display()));
    if !directory.exists() {
        log.say(Level::Debug, &format!("No dir for phase {phase}"));
        return Ok(());
    }
    log.say(Level::Info, &format!("Starting phase {phase}"));
    log.say(
        Level::Debug,
        &format!("Running ['dib-run-parts', '{}']", directory.display()),
    );
    let scripts = record.map(|record| ("OS_REFRESH_CONFIG_SCRIPTS", record.scripts().as_os_str()));
    let ended = run_hooks(&directory, scripts.as_slice(), deadline, log)
        .await
        .map_err(|source| PhaseError::Start { phase, source })?;
    match ended {
        Ended::Status(status) if status.success() => {
            log.say(Level::Info, &format!("Completed phase {phase}"));
            Ok(())
        }
        Ended::Status(status) => Err(PhaseError::Failed {
            phase,
            directory,
            status,
        }),
        Ended::Terminated => Err(PhaseError::Terminated { phase }),
    }
}

/// The hooks learn from their environment what failed.
async fn call_error_hooks(base: &Path, phase: &str, error: &PhaseError, log: &mut Log<'_>) {
    let directory = base.join("error.d");
    if !directory.exists() {
        return;
    }
    log.say(
        Level::Info,
        &format!("Calling error handlers from {}", directory.display()),
    );
    // The run has failed already; how its error hooks end changes nothing.
    let how = error.how();
    let environment = [
        ("OS_REFRESH_CONFIG_FAILED_PHASE", OsStr::new(phase)),
        ("OS_REFRESH_CONFIG_FAILED_HOW", OsStr::new(&how)),
    ];
    match run_hooks(&directory, &environment, None, log).await {
        Ok(Ended::Status(status)) if status.success() => {}
        Ok(_) => log.say(Level::Warn, "an error handler failed"),
        Err(error) => log.say(Level::Warn, &format!("cannot run error handlers: {error}")),
    }
}

async fn run_hooks(
    directory: &Path,
    environment: &[(&str, &OsStr)],
    deadline: Option<(Instant, Duration)>,
    log: &mut Log<'_>,
) -> io::Result<Ended> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut child = Command::new("dib-run-parts")
        .arg(directory)
        .envs(environment.iter().copied())
        .spawn()?;
    let expired = async {
        match deadline {
            Some((at, limit)) => {
                sleep_until(at).await;
                limit
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        status = child.wait() => return status.map(Ended::Status),
        limit = expired => {
            let seconds = limit.as_secs();
            log.say(Level::Error, &format!("Timeout reached: {seconds}s. Sending SIGKILL to all children"));
            signal_all(Signal::KILL);
            return child.wait().await.map(Ended::Status);
        }
        _ = terminate.recv() => {}
    }
    // Without this the script would go on alone, and the lock with it would be free.
    log.say(Level::Warn, "SIGTERM: ending all children");
    signal_all(Signal::TERM);
    if timeout(GRACE, child.wait()).await.is_err() {
        signal_all(Signal::KILL);
        child.wait().await?;
    }
    Ok(Ended::Terminated)
}
