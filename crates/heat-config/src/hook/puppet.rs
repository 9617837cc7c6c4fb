//! Puppet: the configuration is a manifest for this machine, its inputs are facts, or data of Hiera.

use super::{
    Hooks, config_text, host_name, option, option_text, private_directory, private_file, run_tool,
    status_code,
};
use crate::deployment::Deployment;
use metadata::{Map, Value};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Command;

/// `--detailed-exitcodes` says with this that there were changes, and that all went well.
const CHANGED: i64 = 2;

pub(super) fn run(hooks: &Hooks, deployment: &Deployment) -> io::Result<Value> {
    let workshop = hooks.workshop(deployment)?;
    let manifest = format!("{}.pp", deployment.id);
    let manifest = workshop.write(&manifest, 0o700, &config_text(deployment))?;
    let mut command = Command::new(hooks.said("HEAT_PUPPET_CMD", "puppet"));
    command.current_dir(&workshop.working);
    let words = [
        "apply",
        "--color",
        "false",
        "--detailed-exitcodes",
        "--logdest",
        "console",
    ];
    command.args(words);
    for (option, flag) in [("modulepath", "--modulepath"), ("tags", "--tags")] {
        if let Some(text) = option_text(deployment, option) {
            command.arg(flag).arg(text);
        }
    }
    for (option, flag, log) in [
        ("enable_debug", "--debug", "/var/log/puppet/heat-debug.log"),
        (
            "enable_verbose",
            "--verbose",
            "/var/log/puppet/heat-verbose.log",
        ),
    ] {
        if is_on(deployment, option, false) {
            command.args([flag, "--logdest", log]);
        }
    }
    if let Some(name) = host_name() {
        command.env("FACTER_fqdn", name);
    }
    if is_on(deployment, "enable_facter", true) {
        let usable = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
        for (name, value) in deployment.inputs().filter(|(name, _)| usable(name)) {
            let text = if matches!(value, Value::Null) {
                String::new()
            } else {
                value.to_python()
            };
            command.env(format!("FACTER_{name}"), text.replace('\0', ""));
        }
    }
    if is_on(deployment, "enable_hiera", false) {
        write_hiera(hooks, deployment)?;
        command.env("FACTER_deploy_config_name", &deployment.name);
    }
    command.env("FACTER_heat_outputs_path", &workshop.outputs);
    let output = run_tool(command.arg(manifest), "heat-config-puppet")?;
    let mut result = workshop.result(deployment, &output);
    if let Value::Map(result) = &mut result
        && status_code(&output) == CHANGED
    {
        result.insert("deploy_status_code".to_owned(), Value::from(0));
    }
    Ok(result)
}

/// An option that may be a boolean, or the text of one.
fn is_on(deployment: &Deployment, name: &str, default: bool) -> bool {
    match option(deployment, name) {
        None => default,
        Some(Value::Text(text)) => {
            matches!(text.to_lowercase().as_str(), "true" | "yes" | "on" | "1")
        }
        Some(value) => value.is_truthy(),
    }
}

fn write_hiera(hooks: &Hooks, deployment: &Deployment) -> io::Result<()> {
    if deployment.name.contains('/') {
        let why = format!(
            "`{}` cannot be the name of a file of Hiera",
            deployment.name
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let directory = hooks.said("HEAT_PUPPET_HIERA_DATADIR", "/etc/puppet/hieradata");
    let directory = PathBuf::from(directory);
    private_directory(&directory)?;
    let inputs = deployment.inputs();
    let inputs: Map = inputs
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect();
    let path = directory.join(format!("heat_config_{}.json", deployment.name));
    private_file(&path, 0o600)?.write_all(Value::Map(inputs).to_json().as_bytes())
}
