//! Software configs and deployments: the collections by themselves, and what a server's are.

use engine::{
    Config, Deployment, DeploymentChange, EngineError, Field, NewConfig, NewDeployment, Resource,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::fault::Fault;
use super::listing::limit;
use super::request::text_of;
use super::{Answer, Ask, Orchestration, reply};

/// What an input or output may be.
const KINDS: [&str; 5] = ["String", "Number", "CommaDelimitedList", "Json", "Boolean"];

/// Longer ids fit in no table of upstream's.
const SERVER_ID_LIMIT: usize = 36;

/// The longest id of a project.
const PROJECT_ID_LIMIT: usize = 64;

impl Orchestration {
    pub(super) async fn list_configs(&self, ask: &Ask) -> Answer {
        let marker = ask.query.last("marker");
        let limit = limit(&ask.query)?;
        let configs = self.engine.configs(ask.asker.sees(), limit, marker).await?;
        let with_project = ask.asker.admin;
        let entries: Vec<Value> = configs
            .iter()
            .map(|config| {
                let mut entry = entry(config);
                if with_project {
                    entry["project"] = json!(config.project);
                }
                entry
            })
            .collect();
        Ok(reply::ok(&json!({ "software_configs": entries })))
    }

    pub(super) async fn create_config(&self, ask: Ask) -> Answer {
        let config = new_config(&ask.body.required()?)?;
        let config = self.engine.create_config(&ask.asker.caller, config).await?;
        Ok(reply::ok(
            &json!({ "software_config": shown_config(&config) }),
        ))
    }

    pub(super) async fn show_config(&self, ask: &Ask, id: &str) -> Answer {
        let config = self.engine.config(ask.asker.sees(), id).await?;
        Ok(reply::ok(
            &json!({ "software_config": shown_config(&config) }),
        ))
    }

    pub(super) async fn delete_config(&self, ask: &Ask, id: &str) -> Answer {
        self.engine.delete_config(ask.asker.sees(), id).await?;
        Ok(reply::no_content())
    }

    pub(super) async fn list_deployments(&self, ask: &Ask) -> Answer {
        let server = ask.query.last("server_id");
        let deployments = self.engine.deployments(ask.asker.sees(), server).await?;
        let deployments: Vec<Value> = deployments.iter().map(shown_deployment).collect();
        Ok(reply::ok(&json!({ "software_deployments": deployments })))
    }

    pub(super) async fn create_deployment(&self, ask: Ask) -> Answer {
        let want = new_deployment(&ask.body.required()?)?;
        if let Some(config) = want.config_id {
            // A configuration of another project is not there, whatever its id.
            self.engine
                .config(ask.asker.sees(), &config.to_string())
                .await?;
        }
        let deployment = self
            .engine
            .create_deployment(&ask.asker.caller, want)
            .await?;
        Ok(reply::ok(
            &json!({ "software_deployment": shown_deployment(&deployment) }),
        ))
    }

    pub(super) async fn show_deployment(&self, ask: &Ask, id: &str) -> Answer {
        let deployment = self.engine.deployment(ask.asker.sees(), id).await?;
        Ok(reply::ok(
            &json!({ "software_deployment": shown_deployment(&deployment) }),
        ))
    }

    /// The attributes of a deployment resource are the deployment itself, beside its outputs.
    pub(super) async fn show_as_attributes(&self, resource: &mut Resource) -> Result<(), Fault> {
        let Some(attributes) = &mut resource.attributes else {
            return Ok(());
        };
        // Only deployments have this one, by whatever name their type goes.
        if !attributes.contains_key("deploy_status_code") {
            return Ok(());
        }
        match self.engine.deployment(None, &resource.physical_id).await {
            Ok(deployment) => {
                attributes.extend(hot::map_from_json(&shown_deployment(&deployment)));
                Ok(())
            }
            // It has reacted to no action so far, or has just gone.
            Err(EngineError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn update_deployment(&self, ask: Ask, id: &str) -> Answer {
        let body = ask.body.required()?;
        let change = DeploymentChange {
            config_id: uuid(&body, "config_id")?,
            input_values: object(&body, "input_values")?,
            output_values: object(&body, "output_values")?,
            action: text(&body, "action"),
            status: text(&body, "status"),
            status_reason: text(&body, "status_reason"),
        };
        let project = ask.asker.sees();
        let deployment = self.engine.update_deployment(project, id, change).await?;
        Ok(reply::ok(
            &json!({ "software_deployment": shown_deployment(&deployment) }),
        ))
    }

    pub(super) async fn delete_deployment(&self, ask: &Ask, id: &str) -> Answer {
        self.engine.delete_deployment(ask.asker.sees(), id).await?;
        Ok(reply::no_content())
    }

    pub(super) async fn server_deployments(&self, ask: &Ask, server: &str) -> Answer {
        let project = ask.asker.sees();
        let metadata = self.engine.server_deployments(project, server).await?;
        Ok(reply::ok(&json!({ "metadata": metadata })))
    }
}

fn new_config(body: &Map<String, Value>) -> Result<NewConfig, Fault> {
    let options = object(body, "options")?;
    Ok(NewConfig {
        name: text(body, "name").unwrap_or_default(),
        group: text(body, "group").unwrap_or_else(|| "Heat::Ungrouped".to_owned()),
        config: body.get("config").cloned().unwrap_or(Value::Null),
        inputs: fields(body, "inputs", input)?,
        outputs: fields(body, "outputs", output)?,
        options: options.unwrap_or_default(),
    })
}

fn fields(
    body: &Map<String, Value>,
    key: &str,
    read: fn(&Map<String, Value>) -> Result<Field, Fault>,
) -> Result<Vec<Field>, Fault> {
    let wrong = || Fault::bad_request(format!("The {key} must be a list of objects."));
    match body.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| read(item.as_object().ok_or_else(wrong)?))
            .collect(),
        Some(_) => Err(wrong()),
    }
}

fn input(given: &Map<String, Value>) -> Result<Field, Fault> {
    let mut field = named(given)?;
    for key in ["default", "description", "value", "replace_on_change"] {
        if let Some(value) = given.get(key) {
            field.insert(key.to_owned(), value.clone());
        }
    }
    Ok(field)
}

fn output(given: &Map<String, Value>) -> Result<Field, Fault> {
    let mut field = named(given)?;
    let error = given.get("error_output").cloned().unwrap_or(json!(false));
    field.insert("error_output".to_owned(), error);
    if let Some(description) = given.get("description") {
        field.insert("description".to_owned(), description.clone());
    }
    Ok(field)
}

fn named(given: &Map<String, Value>) -> Result<Field, Fault> {
    let name = given.get("name").and_then(Value::as_str);
    let name = name.ok_or_else(|| Fault::bad_request("An input or output has no name."))?;
    let kind = given.get("type").filter(|kind| !kind.is_null());
    let kind = kind.map_or_else(|| "String".to_owned(), text_of);
    if !KINDS.contains(&kind.as_str()) {
        return Err(Fault::bad_request(format!(
            "\"{kind}\" is no type of `{name}`; types are {}.",
            KINDS.join(", ")
        )));
    }
    let mut field = Field::new();
    field.insert("name".to_owned(), json!(name));
    field.insert("type".to_owned(), json!(kind));
    Ok(field)
}

fn new_deployment(body: &Map<String, Value>) -> Result<NewDeployment, Fault> {
    let server_id = text(body, "server_id");
    let server_id = server_id.ok_or_else(|| Fault::bad_request("No server_id specified"))?;
    if server_id.chars().count() > SERVER_ID_LIMIT {
        let message = format!("The server_id is longer than {SERVER_ID_LIMIT} characters.");
        return Err(Fault::bad_request(message));
    }
    let project = text(body, "stack_user_project_id");
    if project
        .as_ref()
        .is_some_and(|id| id.chars().count() > PROJECT_ID_LIMIT)
    {
        let message =
            format!("The stack_user_project_id is longer than {PROJECT_ID_LIMIT} characters.");
        return Err(Fault::bad_request(message));
    }
    Ok(NewDeployment {
        id: uuid(body, "id")?,
        server_id,
        config_id: uuid(body, "config_id")?,
        input_values: object(body, "input_values")?.unwrap_or_default(),
        action: text(body, "action").unwrap_or_else(|| "INIT".to_owned()),
        status: text(body, "status").unwrap_or_else(|| "COMPLETE".to_owned()),
        status_reason: text(body, "status_reason"),
        stack_user_project_id: project,
    })
}

fn text(body: &Map<String, Value>, key: &str) -> Option<String> {
    body.get(key).filter(|value| !value.is_null()).map(text_of)
}

fn object(body: &Map<String, Value>, key: &str) -> Result<Option<Map<String, Value>>, Fault> {
    match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object.clone())),
        Some(_) => Err(Fault::bad_request(format!("The {key} must be an object."))),
    }
}

/// An id in a body. What is no UUID names nothing, so it is not found.
fn uuid(body: &Map<String, Value>, key: &str) -> Result<Option<Uuid>, Fault> {
    let Some(id) = text(body, key) else {
        return Ok(None);
    };
    let parsed = Uuid::try_parse(&id);
    let unknown = |_| Fault::not_found(format!("Software config with id {id} not found"));
    parsed.map(Some).map_err(unknown)
}

fn entry(config: &Config) -> Value {
    json!({
        "id": config.id.to_string(),
        "name": config.config.name,
        "group": config.config.group,
        "creation_time": reply::time(config.created),
    })
}

fn shown_config(config: &Config) -> Value {
    let mut shown = entry(config);
    shown["config"] = config.config.config.clone();
    shown["inputs"] = json!(config.config.inputs);
    shown["outputs"] = json!(config.config.outputs);
    shown["options"] = json!(config.config.options);
    shown
}

fn shown_deployment(deployment: &Deployment) -> Value {
    let mut shown = json!({
        "id": deployment.id.to_string(),
        "server_id": deployment.server_id,
        "input_values": deployment.input_values,
        "output_values": deployment.output_values,
        "action": deployment.action,
        "status": deployment.status,
        "status_reason": deployment.status_reason,
        "config_id": deployment.config_id.map(|id| id.to_string()),
        "creation_time": reply::time(deployment.created),
    });
    if let Some(updated) = deployment.updated {
        shown["updated_time"] = reply::time(updated);
    }
    shown
}
