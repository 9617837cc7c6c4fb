//! Runs the command for changed metadata.

use crate::cache::replace;
use crate::watch::Watch;
use rustix::process::{Pid, Signal, kill_process};
use std::cell::Cell;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// After the command's end, its last words arrive within this time; a service that it started may hold the pipe longer.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// The command gets this long to end after it was asked to; os-refresh-config needs up to ten seconds.
const GRACE: Duration = Duration::from_secs(15);

/// How the command ended.
pub(crate) enum Ended {
    /// By itself. The watch is there if it was asked for.
    Status(ExitStatus, Option<Watch>),
    /// Because this process was asked to end.
    Terminated,
}

/// Runs `command` with the documents in its environment. With `failure`, its output is read along, and what is learnt of
/// a hook that fails is written to that file at once: the hooks for errors find it by `OS_COLLECT_CONFIG_FAILURE`.
pub(crate) async fn run(
    command: &str,
    documents: &[PathBuf],
    failure: Option<&Path>,
    running: &Cell<bool>,
) -> io::Result<Ended> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut list = OsString::new();
    for (n, document) in documents.iter().enumerate() {
        if n > 0 {
            list.push(":");
        }
        list.push(document);
    }
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).env("OS_CONFIG_FILES", list);
    if let Some(failure) = failure {
        let _ = std::fs::remove_file(failure);
        shell.env("OS_COLLECT_CONFIG_FAILURE", failure);
        shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    let mut child = shell.spawn()?;
    running.set(true);
    let watch = failure.map(|_| Arc::new(Mutex::new(Watch::default())));
    let reader = |to_stderr, watch: &Arc<Mutex<Watch>>| Reader {
        to_stderr,
        watch: watch.clone(),
        failure: failure.map(Path::to_owned).unwrap_or_default(),
    };
    let readers = watch.as_ref().map(|watch| {
        let out = child
            .stdout
            .take()
            .map(|from| tokio::spawn(reader(false, watch).copy(from)));
        let err = child
            .stderr
            .take()
            .map(|from| tokio::spawn(reader(true, watch).copy(from)));
        (out, err)
    });
    let ended = tokio::select! {
        status = child.wait() => Some(status?),
        _ = terminate.recv() => None,
    };
    let Some(status) = ended else {
        end(&mut child).await?;
        running.set(false);
        return Ok(Ended::Terminated);
    };
    running.set(false);
    if let Some((out, err)) = readers {
        let all = async {
            for reader in [out, err].into_iter().flatten() {
                // A reader cannot fail, and it goes on reading for whoever still writes.
                let _ = reader.await;
            }
        };
        let _ = timeout(LAST_WORDS, all).await;
    }
    let watch = watch
        .map(|watch| std::mem::take(&mut *watch.lock().unwrap_or_else(PoisonError::into_inner)));
    Ok(Ended::Status(status, watch))
}

/// Asks the command to end, so that it does not go on alone and unseen.
async fn end(child: &mut Child) -> io::Result<()> {
    if let Some(pid) = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw)
    {
        // It may have ended at this very moment.
        let _ = kill_process(pid, Signal::TERM);
    }
    if timeout(GRACE, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(())
}

/// Passes one stream on while reading it along.
struct Reader {
    to_stderr: bool,
    watch: Arc<Mutex<Watch>>,
    /// Gets what is learnt of a failure.
    failure: PathBuf,
}

impl Reader {
    async fn copy(self, mut from: impl AsyncRead + Unpin) {
        let mut piece = [0; 8192];
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            self.learn(&piece[..length]);
            // Nobody may listen any more; the command must not be stopped by that.
            if self.to_stderr {
                let _ = io::stderr().write_all(&piece[..length]);
            } else {
                let _ = io::stdout()
                    .write_all(&piece[..length])
                    .and_then(|()| io::stdout().flush());
            }
        }
    }

    fn learn(&self, piece: &[u8]) {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let before = watch.exit_code;
        watch.read(piece);
        if before.is_none()
            && let Some(failure) = watch.failure()
        {
            // Without the file the hooks for errors say less, and the report still says all.
            let _ = replace(&self.failure, failure.to_json().as_bytes());
        }
    }
}
