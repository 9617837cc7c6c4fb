//! Chef without a server: the configuration is a run list, its inputs are attributes of this node.

use super::{
    Hooks, config_text, ended, failure, host_name, option_text, private_directory, run_tool,
};
use crate::deployment::Deployment;
use metadata::{Map, Value};
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Inputs that say how to signal are no attributes.
const DEPLOY_KEYS: [&str; 7] = [
    "deploy_server_id",
    "deploy_action",
    "deploy_stack_id",
    "deploy_resource_name",
    "deploy_signal_transport",
    "deploy_signal_id",
    "deploy_signal_verb",
];

pub(super) fn run(hooks: &Hooks, deployment: &Deployment) -> io::Result<Value> {
    let list = config_text(deployment);
    let Some(list) = metadata::parse(&list)
        .ok()
        .filter(|list| list.as_list().is_some())
    else {
        return Ok(failure("the configuration is no run list as JSON"));
    };
    let workshop = hooks.workshop(deployment)?;
    let kitchen = option_text(deployment, "kitchen_path")
        .map_or_else(|| workshop.working.join("kitchen"), PathBuf::from);
    if let Some(source) = option_text(deployment, "kitchen") {
        let cloned = clone(source, &kitchen, deployment)?;
        if !cloned.status.success() {
            return Ok(Value::Map(ended(&cloned)));
        }
    }
    let mut settings = String::from(
        "log_level :debug\nlog_location STDOUT\nlocal_mode true\nchef_zero.enabled true\n",
    );
    let mut set = |name: &str, value: &str| {
        let quoted = value.replace('\\', "\\\\").replace('\'', "\\'");
        settings.push_str(&format!("{name} '{quoted}'\n"));
    };
    for (name, directory) in [
        ("cookbook_path", "cookbooks"),
        ("role_path", "roles"),
        ("environment_path", "environments"),
    ] {
        set(name, &kitchen.join(directory).display().to_string());
    }
    let mut attributes = Map::new();
    for (name, value) in deployment
        .inputs()
        .filter(|(name, _)| !DEPLOY_KEYS.contains(name))
    {
        if name == "environment" {
            set(name, &value.to_python());
        } else {
            attributes.insert(name.to_owned(), value.clone());
        }
    }
    attributes.insert("run_list".to_owned(), list);
    let nodes = workshop.working.join("node");
    private_directory(&nodes)?;
    set("node_path", &nodes.display().to_string());
    let node = format!(
        "node/{}.json",
        host_name().unwrap_or_else(|| "localhost".to_owned())
    );
    let node = workshop.write(&node, 0o600, &Value::Map(attributes).to_json_indented())?;
    let settings = workshop.write("client.rb", 0o600, &settings)?;
    let client = |program: OsString| {
        let mut command = Command::new(program);
        command
            .current_dir(&workshop.working)
            .env("heat_outputs_path", &workshop.outputs);
        command
            .args(["-z", "--config"])
            .arg(&settings)
            .arg("-j")
            .arg(&node);
        run_tool(&mut command, "heat-config-chef")
    };
    let output = match client(hooks.said("HEAT_CHEF_CMD", "chef-client")) {
        // The same program where it may be used without a licence.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            client("cinc-client".into()).map_err(|_| error)
        }
        ended => ended,
    }?;
    Ok(workshop.result(deployment, &output))
}

/// Brings the kitchen; an update brings it anew.
fn clone(source: &str, kitchen: &Path, deployment: &Deployment) -> io::Result<Output> {
    if deployment.input("deploy_action").as_deref() == Some("UPDATE") {
        match fs::remove_dir_all(kitchen) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let mut git = Command::new("git");
    run_tool(
        git.args(["clone", "--", source]).arg(kitchen),
        "heat-config-chef",
    )
}
