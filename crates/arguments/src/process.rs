//! What a command gets from the process that it runs in.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Arguments, environment and streams, so that a command runs the same in a test and in the binary for all agents.
pub struct Process<'p> {
    /// The arguments behind the program's name.
    pub arguments: Vec<String>,
    /// Looks up a variable of the environment.
    pub environment: &'p dyn Fn(&str) -> Option<OsString>,
    /// Standard output.
    pub out: &'p mut dyn Write,
    /// Standard error.
    pub err: &'p mut dyn Write,
}

/// Runs `command` in this process.
pub fn main(command: fn(Process<'_>) -> u8) -> ExitCode {
    let arguments = std::env::args_os().skip(1);
    ExitCode::from(command(Process {
        arguments: arguments
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect(),
        environment: &|name| std::env::var_os(name),
        out: &mut std::io::stdout(),
        err: &mut std::io::stderr(),
    }))
}

/// Prints `text` and gives the exit code: 1 if nobody reads it.
pub fn print(out: &mut dyn Write, text: &str) -> u8 {
    u8::from(
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .is_err(),
    )
}
