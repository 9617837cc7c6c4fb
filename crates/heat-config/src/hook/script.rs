//! Scripts: the configuration is a program, its inputs are the environment.

use super::{Hooks, config_text, patiently};
use crate::deployment::Deployment;
use metadata::Value;
use std::io;
use std::process::{Command, Stdio};

pub(super) fn run(hooks: &Hooks, deployment: &Deployment) -> io::Result<Value> {
    let workshop = hooks.workshop(deployment)?;
    let script = workshop.write(&deployment.id, 0o700, &config_text(deployment))?;
    let run = |mut command: Command| {
        let usable = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
        for (name, value) in deployment.inputs().filter(|(name, _)| usable(name)) {
            command.env(name, value.to_python().replace('\0', ""));
        }
        command
            .env("heat_outputs_path", &workshop.outputs)
            .stdin(Stdio::null());
        patiently(|| command.output())
    };
    let output = match run(Command::new(&script)) {
        // As a shell does with a script that does not say what runs it.
        Err(error) if error.raw_os_error() == Some(8) => {
            let mut shell = Command::new("/bin/sh");
            shell.arg(&script);
            run(shell)?
        }
        other => other?,
    };
    Ok(workshop.result(deployment, &output))
}
