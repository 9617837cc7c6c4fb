//! Metadata sources become a cache of documents, and a command runs when they change.
//!
//! Knows seven sources, keeps what they gave with what was applied last, and tells the cloud how each run went.
//! Merges nothing and writes no configuration; that is os-apply-config's job.

mod cache;
mod collectors;
mod command;
mod config_drive;
mod cycle;
mod deployments;
mod execute;
pub mod http;
pub mod keystone;
mod log;
mod report;
mod settings;
mod watch;
mod websocket;

pub use command::{Next, run};
pub use config_drive::ConfigDrive;

use arguments::Process;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// Runs the command in this process, and executes the program again where that is asked for.
pub fn main() -> ExitCode {
    let next = run(Process {
        arguments: std::env::args_os()
            .skip(1)
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        environment: &|name| std::env::var_os(name),
        out: &mut std::io::stdout(),
        err: &mut std::io::stderr(),
    });
    match next {
        Next::Exit(code) => ExitCode::from(code),
        Next::Restart => restart(),
    }
}

/// Executes the program again by its own name, so that one that was replaced on disk takes over.
fn restart() -> ExitCode {
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_else(|| "os-collect-config".into());
    let words: Vec<_> = words.collect();
    let _ = Command::new(&name).args(&words).exec();
    let _ = Command::new("/proc/self/exe")
        .arg0(&name)
        .args(&words)
        .exec();
    ExitCode::FAILURE
}
