//! `OS::Heat::SoftwareDeployment` and `StructuredDeployment`: a configuration on a server.
//!
//! Each action that the resource reacts to makes a derived configuration: the configuration with
//! the values of its inputs and the address to which its outputs go. The server's document shows it
//! until the next one takes its place; the action is done when the signal comes.

use std::collections::BTreeSet;

use hot::{Map, Value};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::signed::Signed;
use super::{Outcome, Started, Work, accounts, coin};
use crate::api::{Action, Config, Deployment, Field, NewConfig};
use crate::failure::Failure;
use crate::model::{Notes, Row, Wait};
use crate::record::{Ledger, Put};

/// Inputs and outputs of every deployment, beside those of its configuration.
const OUTPUTS: [&str; 3] = ["deploy_stdout", "deploy_stderr", "deploy_status_code"];

pub(super) fn start(row: &mut Row) -> Result<Started, Failure> {
    coin(row, "deployment", || Uuid::new_v4().to_string());
    if row.action == Action::Create {
        row.physical_id = row.note("deployment").map(str::to_owned);
    }
    // What it does not react to leaves the configuration on the server as it is.
    if row.action == Action::Check || row.action != Action::Delete && !reacts(row) {
        return Ok(Started::Done);
    }
    let transport = super::text(&row.properties, "signal_transport").unwrap_or("CFN_SIGNAL");
    match transport {
        "HEAT_SIGNAL" | "CFN_SIGNAL" | "NO_SIGNAL" => {}
        other => {
            let message = format!(
                "the signal transport {other} needs an object or message store, which is not there; \
                 use CFN_SIGNAL, HEAT_SIGNAL or NO_SIGNAL"
            );
            if row.action == Action::Create || row.action == Action::Update {
                return Err(Failure::new("Error", message));
            }
        }
    }
    if transport != "NO_SIGNAL" {
        accounts::coin_account(row);
    }
    // The derived configuration of this action is coined here, so a retry writes the same one.
    let of_this =
        row.notes.get("derived_generation").and_then(Json::as_u64) == Some(row.generation);
    if !of_this {
        let before = row
            .notes
            .insert("derived".to_owned(), Uuid::new_v4().to_string().into());
        row.notes
            .insert("derived_before".to_owned(), before.unwrap_or_default());
        row.notes
            .insert("derived_generation".to_owned(), row.generation.into());
        row.notes.remove("shown_generation");
    }
    if row.notes.get("shown_generation").and_then(Json::as_u64) == Some(row.generation) {
        return Ok(Started::Wait(Wait::Signal));
    }
    Ok(Started::Call)
}

pub(super) fn attribute(row: &Row, name: &str) -> Option<Value> {
    let outputs = row.notes.get("outputs")?;
    outputs.get(name).map(Value::from_json)
}

fn reacts(row: &Row) -> bool {
    let actions = super::texts(&row.properties, "actions");
    actions.iter().any(|action| action == row.action.as_str())
}

pub(super) async fn step(work: &Work) -> Result<Outcome, Failure> {
    let row = &work.row;
    let mut outcome = Outcome::default();
    let server = super::text(&row.properties, "server")
        .unwrap_or_default()
        .to_owned();
    if row.action == Action::Delete && (!reacts(row) || row.note("removing").is_some()) {
        return remove(work, outcome, server).await;
    }
    if !reacts(row) {
        return Ok(outcome);
    }
    let transport = super::text(&row.properties, "signal_transport").unwrap_or("CFN_SIGNAL");
    let waits = transport != "NO_SIGNAL";
    let mut user_id = String::new();
    if waits {
        user_id = accounts::make(work, transport == "CFN_SIGNAL", &mut outcome).await?;
    }
    let source = source(work).await?;
    let derived = note_id(row, "derived");
    let now = work.setup.clock.now();
    outcome
        .notes
        .insert("outputs_declared".to_owned(), json!(source.outputs));
    let config = derive(work, source, transport, &user_id, &server);
    outcome.puts.push(Put::Config(Box::new(Config {
        id: derived,
        project: work.project.clone(),
        created: now,
        config,
    })));
    if let Some(before) = row
        .note("derived_before")
        .and_then(|id| Uuid::parse_str(id).ok())
    {
        outcome.puts.push(Put::DropConfig(before));
    }
    let (status, reason) = if waits {
        ("IN_PROGRESS", "Deploy data available")
    } else {
        ("COMPLETE", "Not waiting for outputs signal")
    };
    outcome.puts.push(Put::Deployment(
        Box::new(Deployment {
            id: note_id(row, "deployment"),
            project: work.project.clone(),
            stack_user_project: Some(work.user_project.clone()),
            server_id: server.clone(),
            config_id: Some(derived),
            input_values: input_values(&row.properties),
            output_values: Notes::new(),
            action: row.action.as_str().to_owned(),
            status: status.to_owned(),
            status_reason: reason.to_owned(),
            created: row.created,
            updated: (row.action != Action::Create).then_some(now),
        }),
        Some(row.id),
    ));
    outcome
        .notes
        .insert("shown_generation".to_owned(), row.generation.into());
    outcome.servers.push(server);
    outcome.wait = waits.then_some(Wait::Signal);
    outcome.why = waits.then(|| "waits for the signal of the server".to_owned());
    Ok(outcome)
}

async fn remove(work: &Work, mut outcome: Outcome, server: String) -> Result<Outcome, Failure> {
    accounts::remove(work, &mut outcome).await?;
    outcome
        .puts
        .push(Put::DropDeployment(note_id(&work.row, "deployment")));
    for key in ["derived", "derived_before"] {
        if let Some(id) = work.row.note(key).and_then(|id| Uuid::parse_str(id).ok()) {
            outcome.puts.push(Put::DropConfig(id));
        }
    }
    outcome.servers.push(server);
    Ok(outcome)
}

/// An id that [`start`] coined.
fn note_id(row: &Row, key: &str) -> Uuid {
    row.note(key).map(crate::load::uuid).unwrap_or_default()
}

fn input_values(properties: &Map) -> Notes {
    let values = properties.get("input_values").and_then(Value::as_map);
    match values.map(hot::map_to_json) {
        Some(Json::Object(values)) => values,
        _ => Notes::new(),
    }
}

/// The configuration that the deployment names; without one it deploys nothing but its inputs.
async fn source(work: &Work) -> Result<NewConfig, Failure> {
    let Some(id) = super::text(&work.row.properties, "config").map(str::to_owned) else {
        return Ok(NewConfig {
            group: "Heat::Ungrouped".to_owned(),
            config: Json::String(String::new()),
            name: work.row.physical_name.clone(),
            ..NewConfig::default()
        });
    };
    let read = work
        .setup
        .store
        .read(move |tx| crate::deployments::config(tx, None, &id))
        .await;
    let config = read.map_err(|error| Failure::new("NotFound", error.to_string()))?;
    Ok(config.config)
}

/// The configuration as the server gets it.
fn derive(
    work: &Work,
    source: NewConfig,
    transport: &str,
    user_id: &str,
    server: &str,
) -> NewConfig {
    let row = &work.row;
    let given = input_values(&row.properties);
    let mut inputs = Vec::new();
    let mut declared = BTreeSet::new();
    for input in source.inputs {
        let name = input
            .get("name")
            .and_then(Json::as_str)
            .unwrap_or_default()
            .to_owned();
        let default = input
            .get("default")
            .map(|default| as_declared(default, &input));
        let mut input = input;
        let value = given
            .get(&name)
            .cloned()
            .or(default)
            .unwrap_or_else(|| "".into());
        input.insert("value".to_owned(), value);
        declared.insert(name);
        inputs.push(input);
    }
    for (name, value) in &given {
        if !declared.contains(name) {
            inputs.push(field(name, value.clone(), None));
        }
    }
    inputs.extend(standard_inputs(work, transport, user_id, server));
    let structured = row.plugin == "OS::Heat::StructuredDeployment" || source.config.is_object();
    let key = super::text(&row.properties, "input_key").map(str::to_owned);
    let key = key.or_else(|| Some(source.options.get("input_key")?.as_str()?.to_owned()));
    let key = key.unwrap_or_else(|| "get_input".to_owned());
    let config = if structured {
        fill_inputs(&source.config, &key, &inputs)
    } else {
        source.config
    };
    let name = super::text(&row.properties, "name").map(str::to_owned);
    let mut options = source.options;
    options.remove("input_key");
    options.remove("input_values_validate");
    NewConfig {
        name: name.unwrap_or(source.name),
        group: source.group,
        config,
        inputs,
        outputs: source.outputs,
        options,
    }
}

/// Defaults of text inputs are text.
fn as_declared(default: &Json, input: &Field) -> Json {
    let is_text = input.get("type").and_then(Json::as_str).unwrap_or("String") == "String";
    match default {
        Json::String(_) | Json::Null => default.clone(),
        other if is_text => Value::from_json(other).python_str().into(),
        other => other.clone(),
    }
}

fn field(name: &str, value: Json, description: Option<&str>) -> Field {
    let mut field = Field::new();
    field.insert("name".to_owned(), name.into());
    field.insert("type".to_owned(), "String".into());
    if let Some(description) = description {
        field.insert("description".to_owned(), description.into());
    }
    field.insert("value".to_owned(), value);
    field
}

fn standard_inputs(work: &Work, transport: &str, user_id: &str, server: &str) -> Vec<Field> {
    let row = &work.row;
    let endpoints = &work.setup.endpoints;
    let mut rows: Vec<(&str, String, &str)> = vec![
        (
            "deploy_server_id",
            server.to_owned(),
            "ID of the server being deployed to",
        ),
        (
            "deploy_action",
            row.action.as_str().to_owned(),
            "Name of the current action being deployed",
        ),
        (
            "deploy_stack_id",
            work.stack_path(),
            "ID of the stack this deployment belongs to",
        ),
        (
            "deploy_resource_name",
            row.name.clone(),
            "Name of this deployment resource in the stack",
        ),
        (
            "deploy_signal_transport",
            transport.to_owned(),
            "How the server should signal to heat with the deployment output values.",
        ),
    ];
    let note = |key: &str| row.note(key).unwrap_or_default().to_owned();
    if transport == "CFN_SIGNAL" {
        let url = Signed {
            base: &endpoints.cloudformation,
            kind: "signal",
            verb: "POST",
            arn: &arn(work),
            access: &note("access_key"),
            secret: &note("secret_key"),
            made: row.created,
        };
        rows.push((
            "deploy_signal_id",
            url.url(),
            "ID of signal to use for signaling output values",
        ));
        rows.push((
            "deploy_signal_verb",
            "POST".to_owned(),
            "HTTP verb to use for signaling output values",
        ));
    }
    if transport == "HEAT_SIGNAL" {
        rows.extend([
            (
                "deploy_auth_url",
                endpoints.auth.clone(),
                "URL for API authentication",
            ),
            (
                "deploy_username",
                row.physical_name.clone(),
                "Username for API authentication",
            ),
            (
                "deploy_user_id",
                user_id.to_owned(),
                "User ID for API authentication",
            ),
            (
                "deploy_password",
                note("password"),
                "Password for API authentication",
            ),
            (
                "deploy_project_id",
                work.user_project.clone(),
                "ID of project for API authentication",
            ),
            (
                "deploy_region_name",
                endpoints.region.clone(),
                "Region name for API authentication",
            ),
        ]);
    }
    let made = rows.into_iter();
    made.map(|(name, value, description)| field(name, value.into(), Some(description)))
        .collect()
}

/// The resource's name in all of the cloud.
pub(super) fn arn(work: &Work) -> String {
    format!(
        "arn:openstack:heat::{}:stacks/{}/resources/{}",
        work.project,
        work.stack_path(),
        work.row.name
    )
}

/// Puts values where the document asks for inputs: `{get_input: NAME}`.
fn fill_inputs(document: &Json, key: &str, inputs: &[Field]) -> Json {
    match document {
        Json::Object(map) => {
            if map.len() == 1
                && let Some(name) = map.get(key).and_then(Json::as_str)
            {
                let input = inputs.iter().find(|input| input["name"] == name);
                return input
                    .and_then(|input| input.get("value"))
                    .cloned()
                    .unwrap_or_default();
            }
            let pairs = map.iter();
            pairs
                .map(|(name, value)| (name.clone(), fill_inputs(value, key, inputs)))
                .collect()
        }
        Json::Array(items) => items
            .iter()
            .map(|item| fill_inputs(item, key, inputs))
            .collect(),
        other => other.clone(),
    }
}

/// What the outputs of a signal say: values to keep, and why the deployment failed if it did.
fn take_outputs(declared: &Json, body: &Notes) -> (Notes, Option<String>) {
    let mut outputs = Notes::new();
    let mut failed = Vec::new();
    for output in declared.as_array().into_iter().flatten() {
        let Some(name) = output["name"].as_str() else {
            continue;
        };
        let Some(value) = body.get(name) else {
            continue;
        };
        outputs.insert(name.to_owned(), value.clone());
        let is_error = output["error_output"].as_bool() == Some(true);
        if is_error && Value::from_json(value).is_true() {
            failed.push(format!("{name} : {}", Value::from_json(value).python_str()));
        }
    }
    for name in OUTPUTS {
        outputs.insert(name.to_owned(), body.get(name).cloned().unwrap_or_default());
    }
    let code = &outputs["deploy_status_code"];
    if !is_fine(code) {
        let code = Value::from_json(code).python_str();
        failed.push(format!(
            "deploy_status_code : Deployment exited with non-zero status code: {code}"
        ));
    }
    let failed = (!failed.is_empty()).then(|| failed.join(", "));
    (outputs, failed)
}

/// Whether a deployment with this status code went well.
pub(crate) fn is_fine(code: &Json) -> bool {
    matches!(code, Json::Null) || code == &json!(0) || code == &json!("0") || code == &json!("")
}

/// The id of the server that a deployment is for.
pub(crate) fn deployed_to(row: &Row) -> Option<&str> {
    super::is_deployment(row)
        .then(|| super::text(&row.properties, "server"))
        .flatten()
}

/// Takes the signal of a deployment that waits for it; how its action ended. None: it does not wait,
/// so the signal is ignored.
pub(crate) fn signal(
    row: &mut Row,
    body: &Notes,
    now: jiff::Timestamp,
    ledger: &mut Ledger,
    project: &str,
    user_project: Option<&str>,
) -> Option<Result<(), Failure>> {
    if row.wait != Wait::Signal {
        return None;
    }
    let declared = row
        .notes
        .get("outputs_declared")
        .cloned()
        .unwrap_or_default();
    let (outputs, failed) = take_outputs(&declared, body);
    row.notes
        .insert("outputs".to_owned(), Json::Object(outputs.clone()));
    let (status, reason) = match &failed {
        None => ("COMPLETE", "Outputs received".to_owned()),
        Some(why) => ("FAILED", why.clone()),
    };
    ledger.puts.push(Put::Deployment(
        Box::new(Deployment {
            id: note_id(row, "deployment"),
            project: project.to_owned(),
            stack_user_project: user_project.map(str::to_owned),
            server_id: super::text(&row.properties, "server")
                .unwrap_or_default()
                .to_owned(),
            config_id: Some(note_id(row, "derived")),
            input_values: input_values(&row.properties),
            output_values: outputs,
            action: row.action.as_str().to_owned(),
            status: status.to_owned(),
            status_reason: reason,
            created: row.created,
            updated: Some(now),
        }),
        Some(row.id),
    ));
    Some(match failed {
        None => Ok(()),
        Some(why) => Err(Failure::new(
            "Error",
            format!("Deployment to server failed: {why}"),
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_filled_in_where_the_document_asks() {
        let inputs = vec![field("a", json!({"x": 1}), None)];
        let document = json!({"deep": [{"get_input": "a"}, {"get_input": "b"}], "n": 1});
        assert_eq!(
            fill_inputs(&document, "get_input", &inputs),
            json!({"deep": [{"x": 1}, null], "n": 1})
        );
    }

    #[test]
    fn a_signal_keeps_declared_outputs_and_fails_on_a_status_code() {
        let declared =
            json!([{"name": "o", "type": "String"}, {"name": "bad", "error_output": true}]);
        let body = json!({"o": "1", "other": 2, "deploy_status_code": 0});
        let (outputs, failed) = take_outputs(&declared, body.as_object().unwrap());
        assert_eq!(failed, None);
        assert_eq!(outputs["o"], "1");
        assert!(!outputs.contains_key("other"));
        assert_eq!(outputs["deploy_stdout"], Json::Null);
        let body = json!({"deploy_status_code": "1"});
        let (_, failed) = take_outputs(&declared, body.as_object().unwrap());
        assert!(failed.unwrap().contains("non-zero status code: 1"));
        let body = json!({"bad": "text"});
        let (_, failed) = take_outputs(&declared, body.as_object().unwrap());
        assert_eq!(failed.unwrap(), "bad : text");
    }
}
