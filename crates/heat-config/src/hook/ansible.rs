//! Ansible: the configuration is a playbook for this machine, its inputs are variables.

use super::{Hooks, config_text, failure, option_text, run_tool};
use crate::deployment::Deployment;
use metadata::{Map, Value};
use std::io;
use std::process::Command;

pub(super) fn run(hooks: &Hooks, deployment: &Deployment) -> io::Result<Value> {
    let config = config_text(deployment);
    if config.is_empty() {
        return Ok(failure("the deployment has no playbook"));
    }
    let workshop = hooks.workshop(deployment)?;
    let id = &deployment.id;
    let mut variables = Map::new();
    variables.insert("heat_config_id".to_owned(), Value::from(id.clone()));
    for (name, value) in deployment.inputs() {
        let value = if matches!(value, Value::Null) {
            Value::from("")
        } else {
            value.clone()
        };
        variables.insert(name.to_owned(), value);
    }
    let outputs = workshop.outputs.display().to_string();
    variables.insert("heat_outputs_path".to_owned(), Value::from(outputs));
    let variables = Value::Map(variables).to_json();
    let variables = workshop.write(&format!("{id}_variables.json"), 0o600, &variables)?;
    let playbook = workshop.write(&format!("{id}_playbook.yaml"), 0o600, &config)?;
    let inventory = option_text(deployment, "inventory").map_or_else(
        || hooks.said("HEAT_ANSIBLE_INVENTORY", "localhost,"),
        |inventory| workshop.working.join(inventory).into(),
    );
    let mut command = Command::new(hooks.said("HEAT_ANSIBLE_CMD", "ansible-playbook"));
    command.current_dir(&workshop.working);
    command.arg("-i").arg(inventory);
    for (option, flag) in [
        ("modulepath", "--module-path"),
        ("skip_tags", "--skip-tags"),
        ("tags", "--tags"),
    ] {
        if let Some(text) = option_text(deployment, option) {
            command.arg(flag).arg(text);
        }
    }
    if let Some(plugins) = option_text(deployment, "callback_plugins") {
        command.env("ANSIBLE_CALLBACK_PLUGINS", plugins);
    }
    let locale = hooks.said("LC_ALL", "");
    if !locale.to_string_lossy().to_uppercase().contains("UTF") {
        // Ansible refuses to run without, and services start without any.
        command.env("LC_ALL", "C.UTF-8");
    }
    let mut extra = std::ffi::OsString::from("@");
    extra.push(variables);
    command.arg(playbook).arg("--extra-vars").arg(extra);
    let output = run_tool(&mut command, "heat-config-ansible")?;
    Ok(workshop.result(deployment, &output))
}
