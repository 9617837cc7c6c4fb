//! `tripleo stack`: create, update, preview, show, list, delete, events, failures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};

use super::failures;
use super::preview;
use super::template_place::placed;
use crate::context::Context;
use crate::template_files;

/// Work with stacks of the seed
#[derive(Debug, clap::Subcommand)]
pub enum StackCommand {
    /// Create a stack and wait for it
    Create(StackArgs),
    /// Update a stack and wait for it
    Update(StackArgs),
    /// Show what creating or updating a stack would change and why, and change nothing
    Preview(StackArgs),
    /// List stacks
    List,
    /// Show a stack, its parameters and outputs
    Show {
        /// Name or id
        stack: String,
    },
    /// Delete a stack and wait until it is gone
    Delete {
        /// Name or id
        stack: String,
    },
    /// List what happened to a stack, the latest last
    Events {
        /// Name or id
        stack: String,
    },
    /// List the resources that failed: where, with what words, and what to do next
    Failures {
        /// Name or id
        stack: String,
    },
}

/// A template, what belongs to it, and how long to wait.
#[derive(Debug, Clone, clap::Args)]
pub struct StackArgs {
    /// Name of the stack
    pub stack: String,
    /// Template file; an update with --existing can do without
    #[arg(long, short, value_name = "FILE")]
    pub template: Option<PathBuf>,
    /// Environment file, may be repeated
    #[arg(long, short, value_name = "FILE")]
    pub environment: Vec<PathBuf>,
    /// Parameter, may be repeated
    #[arg(long = "parameter", short = 'P', value_name = "NAME=VALUE")]
    pub parameters: Vec<String>,
    /// Keep template, environment and parameters that are not given
    #[arg(long)]
    pub existing: bool,
    /// Go back to the former state if it fails
    #[arg(long)]
    pub rollback: bool,
    /// Minutes until the stack has failed
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    pub timeout: u64,
}

impl StackArgs {
    /// The body of the request, with every file that the template and the environments name.
    pub fn body(&self) -> anyhow::Result<Value> {
        let mut body = Map::new();
        body.insert("stack_name".to_owned(), json!(self.stack));
        body.insert("timeout_mins".to_owned(), json!(self.timeout));
        body.insert("disable_rollback".to_owned(), json!(!self.rollback));
        let mut files = BTreeMap::new();
        match &self.template {
            Some(template) => {
                let text = template_files::read_template(template, &mut files)?;
                body.insert("template".to_owned(), text);
            }
            None if !self.existing => {
                bail!("give a template: --template FILE (or --existing to keep the stack's)")
            }
            None => {}
        }
        let mut names = Vec::new();
        for environment in &self.environment {
            names.push(template_files::read_environment(environment, &mut files)?);
        }
        if !names.is_empty() {
            body.insert("environment_files".to_owned(), json!(names));
        }
        if self.template.is_some() || !files.is_empty() {
            body.insert("files".to_owned(), json!(files));
        }
        body.insert(
            "parameters".to_owned(),
            Value::Object(self.parameter_map()?),
        );
        Ok(Value::Object(body))
    }

    fn parameter_map(&self) -> anyhow::Result<Map<String, Value>> {
        self.parameters
            .iter()
            .map(|pair| {
                let (name, value) = pair
                    .split_once('=')
                    .with_context(|| format!("parameter `{pair}` has no `=`: write NAME=VALUE"))?;
                Ok((name.to_owned(), json!(value)))
            })
            .collect()
    }
}

/// Runs one of the commands.
pub async fn run(context: &Context, command: StackCommand) -> anyhow::Result<()> {
    match command {
        StackCommand::Create(args) => create(context, &args).await,
        StackCommand::Update(args) => update(context, &args).await,
        StackCommand::Preview(args) => preview::preview(context, &args).await,
        StackCommand::List => list(context).await,
        StackCommand::Show { stack } => show(context, &stack).await,
        StackCommand::Delete { stack } => delete(context, &stack).await,
        StackCommand::Events { stack } => events(context, &stack).await,
        StackCommand::Failures { stack } => failures::failures(context, &stack).await,
    }
}

/// Creates the stack and waits until it is complete.
pub async fn create(context: &Context, args: &StackArgs) -> anyhow::Result<()> {
    let body = args.body()?;
    let cloud = context.cloud().await?;
    let asked = cloud.post("orchestration", "stacks", &body).await;
    asked.map_err(|error| placed(error.into(), args.template.as_deref()))?;
    wait(context, &args.stack, "CREATE", args.timeout).await
}

/// Updates the stack and waits until it is complete.
pub async fn update(context: &Context, args: &StackArgs) -> anyhow::Result<()> {
    let body = args.body()?;
    let cloud = context.cloud().await?;
    let path = identity(context, &args.stack).await?;
    let asked = if args.existing {
        cloud.patch("orchestration", &path, &body).await
    } else {
        cloud.put("orchestration", &path, &body).await
    };
    asked.map_err(|error| placed(error.into(), args.template.as_deref()))?;
    wait(context, &args.stack, "UPDATE", args.timeout).await
}

/// Whether the stack is there, and nothing goes on or went wrong with it.
pub async fn is_complete(context: &Context, stack: &str) -> anyhow::Result<bool> {
    let path = format!("stacks/{stack}");
    let found = context.cloud().await?.find("orchestration", &path).await?;
    Ok(found.is_some_and(|found| text(&found["stack"]["stack_status"]).ends_with("_COMPLETE")))
}

async fn list(context: &Context) -> anyhow::Result<()> {
    let reply = context
        .cloud()
        .await?
        .get("orchestration", "stacks")
        .await?;
    let rows: Vec<Vec<String>> = reply["stacks"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|stack| {
            [
                "id",
                "stack_name",
                "stack_status",
                "creation_time",
                "updated_time",
            ]
            .iter()
            .map(|key| text(&stack[*key]))
            .collect()
        })
        .collect();
    context
        .output
        .table(&["id", "name", "status", "created", "updated"], &rows);
    Ok(())
}

async fn show(context: &Context, stack: &str) -> anyhow::Result<()> {
    let stack = read(context, stack).await?;
    for key in [
        "stack_name",
        "id",
        "description",
        "stack_status",
        "stack_status_reason",
        "creation_time",
        "updated_time",
    ] {
        context
            .output
            .data(&format!("{key}: {}", text(&stack[key])));
    }
    for (name, value) in stack["parameters"].as_object().into_iter().flatten() {
        context
            .output
            .data(&format!("parameter {name}: {}", text(value)));
    }
    for output in stack["outputs"].as_array().into_iter().flatten() {
        let value = output["output_value"].clone();
        context.output.data(&format!(
            "output {}: {}",
            text(&output["output_key"]),
            text(&value)
        ));
    }
    Ok(())
}

async fn delete(context: &Context, stack: &str) -> anyhow::Result<()> {
    let path = identity(context, stack).await?;
    context
        .cloud()
        .await?
        .delete("orchestration", &path)
        .await?;
    let mut progress = context.output.progress(&format!("deleting stack {stack}"));
    loop {
        let reply = context.cloud().await?.get("orchestration", &path).await?;
        match reply["stack"]["stack_status"].as_str().unwrap_or_default() {
            "DELETE_COMPLETE" => return Ok(()),
            "DELETE_FAILED" => bail!(
                "stack {stack} was not deleted: {}; `tripleo stack failures {stack}` lists the resources",
                text(&reply["stack"]["stack_status_reason"])
            ),
            status => progress.now(&format!("deleting stack {stack}: {status}")),
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn events(context: &Context, stack: &str) -> anyhow::Result<()> {
    let path = format!(
        "{}/events?nested_depth=5&sort_dir=asc",
        identity(context, stack).await?
    );
    let reply = context.cloud().await?.get("orchestration", &path).await?;
    for event in reply["events"].as_array().into_iter().flatten() {
        context.output.data(&format!(
            "{} {} {} {}",
            text(&event["event_time"]),
            text(&event["resource_name"]),
            text(&event["resource_status"]),
            text(&event["resource_status_reason"])
        ));
    }
    Ok(())
}

/// The stack as the API shows it.
pub async fn read(context: &Context, stack: &str) -> anyhow::Result<Value> {
    let reply = context
        .cloud()
        .await?
        .get("orchestration", &format!("stacks/{stack}"))
        .await?;
    Ok(reply["stack"].clone())
}

/// `stacks/<name>/<id>`, the path below which everything of a stack lies.
pub async fn identity(context: &Context, stack: &str) -> anyhow::Result<String> {
    let stack = read(context, stack).await?;
    Ok(format!(
        "stacks/{}/{}",
        text(&stack["stack_name"]),
        text(&stack["id"])
    ))
}

/// The next look at a stack is this much later; the seed answers such a look in about a millisecond.
const POLL: Duration = Duration::from_millis(100);

async fn wait(context: &Context, stack: &str, action: &str, minutes: u64) -> anyhow::Result<()> {
    let mut progress = context
        .output
        .progress(&format!("waiting for stack {stack}"));
    // The engine has the same limit; a little more lets its own word arrive.
    let until = Instant::now() + Duration::from_secs(minutes * 60 + 30);
    loop {
        let now = read(context, stack).await?;
        let status = text(&now["stack_status"]);
        let outputs_action = status.starts_with(action) || status.starts_with("ROLLBACK");
        if outputs_action && status.ends_with("_COMPLETE") {
            if status.starts_with("ROLLBACK") {
                let why = first_failure(context, &now).await.unwrap_or_default();
                bail!("stack {stack} failed and was rolled back: {why}");
            }
            return Ok(());
        }
        if outputs_action && status.ends_with("_FAILED") {
            drop(progress);
            return Err(failure(context, stack, &text(&now["stack_status_reason"])).await);
        }
        if Instant::now() > until {
            bail!("stack {stack} is still {status}; look closer: tripleo stack events {stack}");
        }
        progress.now(&format!(
            "stack {stack}: {}",
            detail(context, stack, &status).await
        ));
        tokio::time::sleep(POLL).await;
    }
}

/// Why a stack that was rolled back had to be: the stack itself tells only how the rollback went.
async fn first_failure(context: &Context, stack: &Value) -> anyhow::Result<String> {
    let (name, id) = (&stack["stack_name"], text(&stack["id"]));
    let path = format!("stacks/{}/{id}/events?sort_dir=desc", text(name));
    let reply = context.cloud().await?.get("orchestration", &path).await?;
    let events = reply["events"].as_array().into_iter().flatten();
    let mut failed = events.filter(|event| {
        event["resource_name"] == *name && text(&event["resource_status"]).ends_with("_FAILED")
    });
    let event = failed.next().context("no event tells why")?;
    Ok(text(&event["resource_status_reason"]))
}

/// What a waiting operator wants to know: which resources are under way.
async fn detail(context: &Context, stack: &str, status: &str) -> String {
    let Ok(path) = identity(context, stack).await else {
        return status.to_owned();
    };
    let Ok(cloud) = context.cloud().await else {
        return status.to_owned();
    };
    let path = format!("{path}/resources?nested_depth=5");
    let Ok(reply) = cloud.get("orchestration", &path).await else {
        return status.to_owned();
    };
    let resources = reply["resources"].as_array().cloned().unwrap_or_default();
    let done = resources
        .iter()
        .filter(|r| text(&r["resource_status"]).ends_with("COMPLETE"))
        .count();
    format!("{status}, {done} of {} resources", resources.len())
}

async fn failure(context: &Context, stack: &str, reason: &str) -> anyhow::Error {
    let failed = failures::failed(context, stack).await.unwrap_or_default();
    let mut message = format!("stack {stack} failed");
    // Each resource tells its reason; the stack's own is one of them again.
    if failed.is_empty() {
        message.push_str(&format!(": {reason}"));
    }
    for failure in failed {
        message.push_str(&format!("\n{failure}"));
    }
    message.push_str(&format!(
        "\nit can be updated again as it is; look closer: tripleo stack events {stack}"
    ));
    anyhow::anyhow!(message)
}

/// A JSON value as a person reads it: text without quotes, nothing for null.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Creates the stack, or updates it if it is there, whatever state it is in.
pub async fn ensure(context: &Context, args: &StackArgs) -> anyhow::Result<()> {
    match context
        .cloud()
        .await?
        .find("orchestration", &format!("stacks/{}", args.stack))
        .await?
    {
        None => create(context, args).await,
        Some(_) => update(context, args).await,
    }
}

/// The path of a template file that belongs to this program.
pub fn shipped(root: &Path, name: &str) -> PathBuf {
    root.join("templates").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(parameters: &[&str]) -> StackArgs {
        StackArgs {
            stack: "s".to_owned(),
            template: None,
            environment: Vec::new(),
            parameters: parameters.iter().map(|p| (*p).to_owned()).collect(),
            existing: true,
            rollback: false,
            timeout: 5,
        }
    }

    #[test]
    fn parameters_may_hold_equal_signs() {
        assert_eq!(args(&["a=b=c"]).body().unwrap()["parameters"]["a"], "b=c");
    }

    #[test]
    fn a_parameter_without_a_value_is_named() {
        let error = args(&["greeting"]).body().unwrap_err().to_string();
        assert!(error.contains("`greeting`"), "{error}");
    }

    #[test]
    fn an_update_that_keeps_the_template_sends_no_files() {
        let body = args(&[]).body().unwrap();
        assert!(body.get("template").is_none() && body.get("files").is_none());
    }
}
