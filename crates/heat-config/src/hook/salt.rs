//! Salt: the configuration is a state for this machine, its inputs are options of the minion.

use super::{Hooks, config_text, private_directory, private_file, run_tool, status_code};
use crate::deployment::Deployment;
use metadata::{Map, Value};
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Command;

pub(super) fn run(hooks: &Hooks, deployment: &Deployment) -> io::Result<Value> {
    let workshop = hooks.workshop(deployment)?;
    let id = &deployment.id;
    workshop.write(&format!("{id}.sls"), 0o700, &config_text(deployment))?;
    // The minion's own configuration with ours beside, which wins over it.
    let configuration = workshop.working.join(format!("{id}.minion"));
    private_directory(&configuration.join("minion.d"))?;
    let own = PathBuf::from(hooks.said("SALT_MINION_CONFIG", "/etc/salt/minion"));
    let own = fs::read(own).unwrap_or_default();
    private_file(&configuration.join("minion"), 0o600)?.write_all(&own)?;
    let ours = Value::Map(options(deployment, &workshop.working.display().to_string()));
    // JSON is YAML.
    private_file(&configuration.join("minion.d/zz-heat-config.conf"), 0o600)?
        .write_all(ours.to_json().as_bytes())?;
    let mut command = Command::new(hooks.said("HEAT_SALT_CMD", "salt-call"));
    command.current_dir(&workshop.working);
    command.args([
        "--local",
        "--retcode-passthrough",
        "--out",
        "json",
        "--config-dir",
    ]);
    command.arg(&configuration).args(["state.sls", id]);
    let output = run_tool(&mut command, "heat-config-salt")?;
    let mut result = workshop.result(deployment, &output);
    if let Value::Map(result) = &mut result
        && status_code(&output) != 0
        && all_states_are_good(&output.stdout)
    {
        // Salt has other reasons to say so, which do not concern the state.
        result.insert("deploy_status_code".to_owned(), Value::from(0));
    }
    Ok(result)
}

fn options(deployment: &Deployment, working: &str) -> Map {
    let mut options = Map::new();
    for (name, value) in deployment.inputs() {
        let value = if matches!(value, Value::Null) {
            Value::from("")
        } else {
            value.clone()
        };
        options.insert(name.to_owned(), value);
    }
    let roots = Map::from_iter([("base".to_owned(), Value::from(vec![working]))]);
    options.insert("file_roots".to_owned(), Value::Map(roots));
    options.insert("file_client".to_owned(), Value::from("local"));
    options
}

/// Whether Salt names states, and all of them went well.
fn all_states_are_good(stdout: &[u8]) -> bool {
    let document = std::str::from_utf8(stdout)
        .ok()
        .and_then(|text| metadata::parse(text).ok());
    let states = document
        .as_ref()
        .and_then(|document| document.get("local")?.as_map());
    states.is_some_and(|states| {
        let good = |state: &Value| state.get("result").is_some_and(Value::is_truthy);
        !states.is_empty() && states.values().all(good)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read() {
        for (text, good) in [
            (
                r#"{"local": {"a": {"result": true}, "b": {"result": true}}}"#,
                true,
            ),
            (
                r#"{"local": {"a": {"result": true}, "b": {"result": false}}}"#,
                false,
            ),
            (r#"{"local": {"a": {"result": null}}}"#, false),
            (r#"{"local": ["no such state"]}"#, false),
            (r#"{"local": {}}"#, false),
            ("no JSON", false),
        ] {
            assert_eq!(all_states_are_good(text.as_bytes()), good, "{text}");
        }
    }
}
