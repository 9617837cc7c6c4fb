//! Asks the command of a control file whether it accepts a new file.
//!
//! The file lies beside its target then, with the rights that it will have. A command that does not end is ended.

use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// No checker of configuration thinks longer.
const LIMIT: Duration = Duration::from_secs(60);
/// What a checker says beyond this is not kept.
const MAX_OUTPUT: u64 = 64 << 10;

/// Whether `command` accepts `file`; if not, what it said and how it ended.
pub(crate) fn accepts(command: &str, file: &Path) -> Result<(), String> {
    let failed = |error: io::Error| format!("it cannot be run: {error}");
    let (mut child, output) = start(command, file).map_err(failed)?;
    // The output ends when the command does, and whatever it started.
    let said = output.recv_timeout(LIMIT).ok();
    if said.is_none() {
        end(&child);
    }
    let status = child.wait().map_err(failed)?;
    match said {
        Some(_) if status.success() => Ok(()),
        Some(text) => Err(format!("{text}{status}")),
        None => Err(format!("it did not end within {} s", LIMIT.as_secs())),
    }
}

fn start(command: &str, file: &Path) -> io::Result<(Child, Receiver<String>)> {
    let (mut reader, writer) = io::pipe()?;
    let child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .env("FILE", file)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = reader.by_ref().take(MAX_OUTPUT).read_to_end(&mut bytes);
        let _ = io::copy(&mut reader, &mut io::sink());
        // Nobody waits any more if the command took too long.
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    Ok((child, receiver))
}

fn end(child: &Child) {
    let pid = i32::try_from(child.id()).ok();
    if let Some(group) = pid.and_then(rustix::process::Pid::from_raw) {
        // It may have ended at this very moment.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}
