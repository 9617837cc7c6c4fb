//! The agent that a machine boots once to get its image: it asks for orders, carries them out, and switches
//! the machine off.
//!
//! It is the first process of the machine, with nothing beside it: no programs, no libraries, no names. It
//! touches the disk that its orders name and no other. Synchronous and small: the medium travels to every
//! machine.

mod beat;
mod clean;
mod dhcp;
mod disks;
mod error;
mod http;
mod machine;
mod network;
mod orders;
mod run;
mod write;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

pub use error::AgentError;

/// Acts as the first process of a machine: does what the medium says and switches the machine off.
pub fn main() -> ExitCode {
    let outcome = machine::prepare().and_then(|()| run::run(Path::new("/deploy.json")));
    let code = match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("failed: {}", error::with_causes(&error)));
            ExitCode::FAILURE
        }
    };
    if std::process::id() == 1 {
        say("switching off");
        machine::switch_off();
    }
    code
}

/// Writes a line to the machine's console.
pub(crate) fn say(words: &str) {
    // A console that is gone is no reason to leave a disk half written.
    let mut out = std::io::stdout().lock();
    match writeln!(out, "deploy-agent: {words}").and_then(|()| out.flush()) {
        Ok(()) | Err(_) => {}
    }
}
