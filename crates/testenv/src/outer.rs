//! The outer stage of a lab: waits for the inner one, and lets whoever ends a process by a signal end the lab.
//!
//! `unshare` blocks signals while it waits, and nothing from outside of a PID namespace but SIGKILL reaches a first
//! process that does not expect it. So this stage stays between: it takes the signal and asks the lab to end.

use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::control::ask_to_end;
use crate::error::LabError;

/// How often a lab that does not end is asked again: one that is just being made does not listen yet.
const AGAIN: Duration = Duration::from_millis(100);

/// Starts the inner stage and waits for its end. When this process is killed, the kernel kills the inner one.
pub(crate) fn attend(state: &Path, inner: Command) -> Result<(), LabError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(LabError::io("wait for the lab"))?;
    runtime.block_on(wait(state, inner))
}

async fn wait(state: &Path, inner: Command) -> Result<(), LabError> {
    let take = |kind| signal(kind).map_err(LabError::io("take signals"));
    // Before there is anything that a signal could leave behind.
    let mut terminate = take(SignalKind::terminate())?;
    let mut interrupt = take(SignalKind::interrupt())?;
    let program = inner.get_program().to_string_lossy().into_owned();
    let mut child = tokio::process::Command::from(inner)
        .spawn()
        .map_err(|source| LabError::Program { program, source })?;
    let mut ending = false;
    loop {
        tokio::select! {
            status = child.wait() => return ended(status.map_err(LabError::io("wait for the lab"))?),
            _ = terminate.recv() => ending = true,
            _ = interrupt.recv() => ending = true,
            () = tokio::time::sleep(AGAIN), if ending => {}
        }
        if ending {
            // The lab ends by itself then; one that is busy is asked again.
            match tokio::time::timeout(AGAIN, ask_to_end(state)).await {
                Ok(Ok(())) | Ok(Err(_)) | Err(_) => {}
            }
        }
    }
}

fn ended(status: ExitStatus) -> Result<(), LabError> {
    if status.success() {
        return Ok(());
    }
    Err(LabError::Ended { status })
}
