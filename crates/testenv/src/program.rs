//! Runs the distribution's programs and turns their failures into errors that name them.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::error::LabError;

/// Runs a program to its end and gives what it printed.
pub fn run(command: &mut Command) -> Result<String, LabError> {
    finish(command, None)
}

/// Runs `ip -batch` on the given lines, in the caller's network namespace or in another one.
pub fn ip_batch(namespace: Option<&str>, lines: &[String]) -> Result<(), LabError> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut command = match namespace {
        None => Command::new("ip"),
        Some(path) => {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={path}")).arg("ip");
            command
        }
    };
    command.args(["-batch", "-"]);
    finish(&mut command, Some(&(lines.join("\n") + "\n"))).map(|_| ())
}

fn finish(command: &mut Command, input: Option<&str>) -> Result<String, LabError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let cannot = |source| LabError::Program {
        program: program.clone(),
        source,
    };
    command
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(cannot)?;
    if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
        // A program that ended early tells why by itself; the broken pipe would hide it.
        match pipe.write_all(input.as_bytes()) {
            Ok(()) | Err(_) => drop(pipe),
        }
    }
    let output = child.wait_with_output().map_err(cannot)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let mut line = words
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ");
    if let Some(input) = input {
        line.push_str(": ");
        line.push_str(&input.trim_end().replace('\n', "; "));
    }
    Err(LabError::Command {
        command: line,
        said: if said.is_empty() {
            output.status.to_string()
        } else {
            said
        },
    })
}
