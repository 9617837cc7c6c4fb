//! The commands `eval` and `validate`.

use hot::{Frame, Phase, TemplateError, template_summary};
use serde_json::{Map as Object, Value as Json, json};

use crate::client::{self, Request};
use crate::trial::Trial;

/// Makes the stack on no cloud and gives outputs, parameters, dependencies and resources.
pub fn eval(request: &Request) -> Result<Json, TemplateError> {
    let read = client::read(request)?;
    let frame = Frame::open(&read.input(&request.stack_name)?)?;
    frame.validate()?;
    let trial = Trial::create(frame)?;
    let mut outputs = Object::new();
    let mut errors = Object::new();
    for output in trial.frame.outputs() {
        match trial.frame.output(&output.name, &trial) {
            Ok(value) => outputs.insert(output.name, value.to_json()),
            Err(error) => {
                let kind = error.kind.as_str();
                errors.insert(
                    output.name,
                    json!({ "kind": kind, "message": error.message }),
                )
            }
        };
    }
    let mut resources = Object::new();
    list(&trial, "", &mut resources);
    Ok(json!({
        "outputs": outputs,
        "output_errors": errors,
        "parameters": trial.frame.parameters(),
        "dependencies": trial.dependencies()?,
        "resources": resources,
    }))
}

fn list(trial: &Trial, prefix: &str, resources: &mut Object<String, Json>) {
    for (name, made) in &trial.made {
        let Some(resource) = trial.frame.resource(name) else {
            continue;
        };
        let path = format!("{prefix}{name}");
        let shown = match resource.type_name.contains("://") {
            true => resource.type_name.rsplit('/').next().unwrap_or_default(),
            false => &resource.type_name,
        };
        let entry = json!({
            "type": shown,
            "status": made.status,
            "deletion_policy": resource.deletion_policy.as_str(),
        });
        resources.insert(path.clone(), entry);
        if let Some(inside) = &made.inside {
            list(inside, &format!("{path}/"), resources);
        }
    }
}

/// Checks a template and tells its parameters.
pub fn validate(request: &Request) -> Result<Json, TemplateError> {
    let read = client::read(request)?;
    let summary = template_summary(&read.input(&request.stack_name)?)?;
    Ok(json!({
        "valid": true,
        "description": summary["Description"],
        "parameters": summary["Parameters"],
        "parameter_groups": summary.get("ParameterGroups").cloned().unwrap_or(json!([])),
    }))
}

/// An error as every command prints it.
pub fn error_json(error: &TemplateError) -> Json {
    let mut object = Object::new();
    object.insert("kind".to_owned(), json!(error.kind.as_str()));
    object.insert("phase".to_owned(), json!(error.phase.as_str()));
    object.insert("path".to_owned(), json!(error.path));
    object.insert("cause".to_owned(), json!(error.cause));
    object.insert("message".to_owned(), json!(error.message));
    if let Some(span) = &error.span {
        object.insert("line".to_owned(), json!(span.line));
        object.insert("column".to_owned(), json!(span.column));
    }
    if let Some(hint) = error.hint() {
        object.insert("hint".to_owned(), json!(hint));
    }
    json!({ "error": object })
}

/// The same error, found while an update is previewed.
pub fn in_preview(error: TemplateError) -> TemplateError {
    match error.phase {
        Phase::Client => error,
        _ => error.during(Phase::Preview),
    }
}
