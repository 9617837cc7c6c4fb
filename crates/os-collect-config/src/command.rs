//! The command `os-collect-config`: options and environment in, exit code out.

use crate::collectors::NAMES;
use crate::cycle::{Agent, End, TERMINATED};
use crate::http::chain;
use crate::log::Log;
use crate::settings::{Asked, Settings, SettingsError};
use arguments::{Process, print};
use std::cell::Cell;
use std::error::Error;
use std::io::Write;
use tokio::signal::unix::{SignalKind, signal};

/// What the process is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// End with this exit code.
    Exit(u8),
    /// Execute itself again, because it was asked to read its configuration again.
    Restart,
}

/// Runs the command.
pub fn run(process: Process<'_>) -> Next {
    let Process {
        arguments,
        environment,
        out,
        err,
    } = process;
    let settings = match Settings::read(&arguments, environment) {
        Ok(Asked::Work(settings)) => settings,
        Ok(Asked::Help(text)) => return Next::Exit(print(out, &text)),
        Ok(Asked::Version) => return Next::Exit(print(out, "14.1.0\n")),
        Err(error) => {
            say(err, &error);
            return Next::Exit(if matches!(error, SettingsError::Usage(_)) {
                2
            } else {
                1
            });
        }
    };
    match work(&settings, out, err) {
        Ok(next) => next,
        Err(text) => {
            let _ = writeln!(err, "{text}");
            Next::Exit(1)
        }
    }
}

fn say(err: &mut dyn Write, error: &dyn Error) {
    // There is nobody else to tell.
    let _ = writeln!(err, "{}", chain(error));
}

fn work<'p>(
    settings: &Settings,
    out: &'p mut dyn Write,
    err: &'p mut dyn Write,
) -> Result<Next, String> {
    let read = |error: SettingsError| chain(&error);
    if settings.switch("DEFAULT", "print_cachedir").map_err(read)? {
        let directory = settings.main_text("cachedir").map_err(read)?;
        return Ok(Next::Exit(print(out, &format!("{directory}\n"))));
    }
    let names = settings.texts("DEFAULT", "collectors").map_err(read)?;
    let unknown: Vec<String> = names
        .into_iter()
        .filter(|name| !NAMES.contains(&name.as_str()))
        .collect();
    if !unknown.is_empty() {
        return Err(format!(
            "Unknown collectors {unknown:?}. Valid collectors are: {NAMES:?}"
        ));
    }
    let mut log = Log::new(err);
    let file = settings.filled("DEFAULT", "log_file").map_err(read)?;
    let debug = settings.switch("DEFAULT", "debug").map_err(read)?;
    log.configure(file.as_deref(), debug).map_err(|error| {
        format!(
            "cannot write log file {}: {error}",
            file.unwrap_or_default()
        )
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let next = runtime.block_on(until_end(settings, log, out));
    // A held request or the reader of a service's output must not keep the process.
    runtime.shutdown_background();
    next
}

async fn until_end<'p>(
    settings: &Settings,
    log: Log<'p>,
    out: &'p mut dyn Write,
) -> Result<Next, String> {
    let failed = |error: std::io::Error| format!("cannot listen for signals: {error}");
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let running = Cell::new(false);
    let mut agent = Agent::new(settings, log, out, &running).map_err(|error| chain(&error))?;
    let work = agent.work(&mut hangup);
    tokio::pin!(work);
    loop {
        tokio::select! {
            end = &mut work => return match end {
                Ok(End::Exit(code)) => Ok(Next::Exit(code)),
                Ok(End::Restart) => Ok(Next::Restart),
                Err(error) => Err(chain(&error)),
            },
            // While the command runs, whoever runs it passes the signal on.
            _ = terminate.recv() => if !running.get() {
                return Ok(Next::Exit(TERMINATED));
            },
        }
    }
}
