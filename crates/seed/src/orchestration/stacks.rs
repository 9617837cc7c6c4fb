//! Stacks: made, shown, changed, deleted, and found by name.

use engine::{CreateStack, Stack, UpdateStack};
use hot::{Environment, Files, Template};
use serde_json::{Value, json};

use super::fault::Fault;
use super::request::StackRequest;
use super::routes::StackPath;
use super::{Answer, Ask, Orchestration, reply, wire};

impl Orchestration {
    pub(super) async fn create_stack(&self, ask: Ask) -> Answer {
        let want = wanted(StackRequest::new(ask.body.required()?))?;
        let stack = self.engine.create(&ask.asker.caller, want).await?;
        let href = wire::href(&ask.base, &stack);
        let body = json!({ "stack": {
            "id": stack.id.to_string(),
            "links": [wire::link("self", href.clone())],
        }});
        Ok(reply::created(&href, &body))
    }

    pub(super) async fn lookup(&self, ask: &Ask, what: &str, rest: Option<&str>) -> Answer {
        let stack = self.named(&ask.asker, what).await?;
        let mut location = wire::href(&ask.base, &stack);
        if let Some(rest) = rest {
            location.push('/');
            location.push_str(rest);
        }
        let query = ask.query.without(&[]);
        if !query.is_empty() {
            location.push('?');
            location.push_str(&query);
        }
        Ok(reply::found(&location))
    }

    pub(super) async fn show_stack(&self, ask: &Ask, at: &StackPath) -> Answer {
        let resolve = match ask.query.last("resolve_outputs") {
            None => true,
            Some(text) => super::query::parse_flag("resolve_outputs", text)?,
        };
        let found = self.at(&ask.asker, at).await?;
        let stack = self.engine.stack(found.id, resolve).await?;
        let shown = wire::stack(&ask.base, &stack, resolve);
        Ok(reply::ok(&json!({ "stack": shown })))
    }

    pub(super) async fn update_stack(&self, ask: Ask, at: &StackPath, existing: bool) -> Answer {
        let (stack, want) = self.update_wanted(&ask, at, existing).await?;
        self.engine
            .update(&ask.asker.caller, stack.id, want)
            .await?;
        Ok(reply::accepted())
    }

    /// The stack and what a PUT (or, with `existing`, a PATCH) asks of it.
    pub(super) async fn update_wanted(
        &self,
        ask: &Ask,
        at: &StackPath,
        existing: bool,
    ) -> Result<(Stack, UpdateStack), Fault> {
        let body = if existing {
            ask.body.clone().optional().unwrap_or_default()
        } else {
            ask.body.clone().required()?
        };
        let request = StackRequest::new(body);
        let template = if existing {
            request.template_if_given()?
        } else {
            Some(request.template()?)
        };
        let stack = self.at(&ask.asker, at).await?;
        if stack.deleted.is_some() {
            return Err(Fault::no_stack(&at.name));
        }
        let kept = match &template {
            None if request.names_environment_files() => {
                Some(self.engine.template(stack.id).await?)
            }
            _ => None,
        };
        let want = UpdateStack {
            existing,
            environment: request.environment(template.as_ref().or(kept.as_ref()))?,
            template,
            files: request.files_if_given()?,
            clear_parameters: request.clear_parameters()?,
            timeout_mins: request.timeout_mins()?,
            disable_rollback: request.disable_rollback()?,
            tags: request.tags()?,
            converge: request.flag("converge")?.unwrap_or(false),
        };
        Ok((stack, want))
    }

    pub(super) async fn delete_stack(&self, ask: &Ask, at: &StackPath) -> Answer {
        let stack = self.at(&ask.asker, at).await?;
        if stack.deleted.is_some() {
            return Err(Fault::no_stack(&at.name));
        }
        self.engine.delete(stack.id).await?;
        Ok(reply::no_content())
    }

    pub(super) async fn stack_template(&self, ask: &Ask, at: &StackPath) -> Answer {
        let stack = self.at(&ask.asker, at).await?;
        let template = self.engine.template(stack.id).await?;
        Ok(reply::ok(&template.to_json()))
    }

    pub(super) async fn stack_environment(&self, ask: &Ask, at: &StackPath) -> Answer {
        let stack = self.at(&ask.asker, at).await?;
        let environment = self.engine.environment(stack.id).await?;
        Ok(reply::ok(&environment.to_json()))
    }

    pub(super) async fn stack_files(&self, ask: &Ask, at: &StackPath) -> Answer {
        let stack = self.at(&ask.asker, at).await?;
        let files = self.engine.files(stack.id).await?;
        let files = files
            .iter()
            .map(|(name, text)| (name.to_owned(), json!(text)));
        Ok(reply::ok(&Value::Object(files.collect())))
    }

    pub(super) async fn list_outputs(&self, ask: &Ask, at: &StackPath) -> Answer {
        let stack = self.at(&ask.asker, at).await?;
        let outputs = self.engine.outputs(stack.id, false).await?;
        let outputs: Vec<Value> = outputs.iter().map(wire::output_entry).collect();
        Ok(reply::ok(&json!({ "outputs": outputs })))
    }

    pub(super) async fn show_output(&self, ask: &Ask, at: &StackPath, key: &str) -> Answer {
        let stack = self.at(&ask.asker, at).await?;
        let output = self.engine.output(stack.id, key).await?;
        Ok(reply::ok(&json!({ "output": wire::output(&output) })))
    }
}

/// What a request to create or preview asks. The order of the checks is Heat's, so that of several
/// mistakes the same one is named.
pub(super) fn wanted(request: StackRequest) -> Result<CreateStack, Fault> {
    let timeout_mins = request.timeout_mins()?;
    let disable_rollback = request.disable_rollback()?;
    let adopt = request.adopted()?;
    let tags = request.tags()?;
    request.refuse_converge()?;
    let name = request.name()?;
    if let Some(data) = adopt {
        return adopted(&request, name, data);
    }
    let template = request.template()?;
    let environment = request.environment(Some(&template))?;
    Ok(CreateStack {
        name,
        template,
        files: request.files()?,
        environment,
        timeout_mins,
        disable_rollback: disable_rollback.unwrap_or(true),
        tags: tags.unwrap_or_default(),
        adopt: None,
    })
}

/// A stack that is taken over brings template, files and environment along.
fn adopted(request: &StackRequest, name: String, data: Value) -> Result<CreateStack, Fault> {
    let wrong = |error: hot::TemplateError| {
        Fault::bad_request(format!("Invalid adopt data: {}", error.full()))
    };
    let given = request.environment(None)?;
    let mut environment = match data.get("environment") {
        None | Some(Value::Null) => Environment::default(),
        Some(found) => Environment::from_value(&hot::Value::from_json(found)).map_err(wrong)?,
    };
    for (key, value) in given.parameters {
        environment.parameters.insert(key, value);
    }
    let texts = data.get("files").and_then(Value::as_object).cloned();
    let texts = texts.unwrap_or_default().into_iter();
    let texts = texts.map(|(name, text)| (name, super::request::text_of(&text)));
    Ok(CreateStack {
        name,
        template: Template::from_json(&data["template"]),
        files: Files::new(texts.collect()),
        environment,
        timeout_mins: request.timeout_mins()?,
        disable_rollback: request.disable_rollback()?.unwrap_or(true),
        tags: request.tags()?.unwrap_or_default(),
        adopt: Some(data),
    })
}
