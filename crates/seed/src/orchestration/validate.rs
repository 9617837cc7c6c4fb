//! Validation of a template without a stack: what its parameters are, nested templates included.

use hot::schema::Rule;
use hot::{
    Environment, Files, Frame, NoFacts, ParameterSchema, StackInput, Template, TemplateError,
};
use serde_json::{Map, Value, json};

use super::fault::Fault;
use super::request::StackRequest;
use super::{Answer, Ask, Orchestration, reply};

impl Orchestration {
    pub(super) async fn validate(&self, ask: Ask) -> Answer {
        let show_nested = ask.query.flag("show_nested")?;
        let request = StackRequest::new(ask.body.required()?);
        let template = request.template()?;
        let environment = request.environment(Some(&template))?;
        let found = validated(
            self,
            &ask.asker.caller,
            template,
            request.files()?,
            environment,
        );
        let (frame, environment) = found.map_err(|error| Fault::bad_request(error.full()))?;
        let mut shown = described(&frame);
        if show_nested {
            shown.insert("NestedParameters".to_owned(), nested(&frame, 0));
        }
        shown.insert("Environment".to_owned(), environment.to_json());
        Ok(reply::ok(&Value::Object(shown)))
    }
}

/// Deeper than stacks can nest.
const DEEPEST: usize = 10;

fn validated(
    api: &Orchestration,
    caller: &engine::Caller,
    template: Template,
    files: Files,
    environment: Environment,
) -> Result<(Frame, Environment), TemplateError> {
    let input = StackInput {
        name: "validated".to_owned(),
        id: uuid::Uuid::nil().to_string(),
        project: caller.project.clone(),
        region: api.engine.endpoints().region.clone(),
        template,
        files,
        environment: environment.clone(),
    };
    let frame = Frame::look(&input)?;
    frame.validate()?;
    Ok((frame, environment))
}

fn described(frame: &Frame) -> Map<String, Value> {
    let document = frame.input().template.to_json();
    let part = |key: &str, other: &str| document.get(key).or_else(|| document.get(other)).cloned();
    let description = part("description", "Description");
    let parameters = frame
        .parameter_schemas()
        .map(|(schema, given)| (schema.name.clone(), parameter(schema, given)));
    let mut shown = Map::new();
    let description = description.unwrap_or_else(|| json!("No description"));
    shown.insert("Description".to_owned(), description);
    shown.insert("Parameters".to_owned(), Value::Object(parameters.collect()));
    if let Some(groups) = part("parameter_groups", "ParameterGroups") {
        shown.insert("ParameterGroups".to_owned(), groups);
    }
    shown
}

fn nested(frame: &Frame, depth: usize) -> Value {
    let mut found = Map::new();
    if depth < DEEPEST {
        for resource in frame.resources() {
            // What cannot be known before there is a stack leaves its entry out.
            let properties = frame
                .properties(&resource.name, &NoFacts)
                .unwrap_or_default();
            let id = uuid::Uuid::nil().to_string();
            let Ok(Some(inner)) = frame.member(&resource.name, &id, &properties) else {
                continue;
            };
            let mut shown = Map::new();
            shown.insert("Type".to_owned(), json!(resource.type_name));
            shown.extend(described(&inner));
            if let Value::Object(deeper) = nested(&inner, depth + 1)
                && !deeper.is_empty()
            {
                shown.insert("NestedParameters".to_owned(), Value::Object(deeper));
            }
            found.insert(resource.name.clone(), Value::Object(shown));
        }
    }
    Value::Object(found)
}

fn parameter(schema: &ParameterSchema, given: Option<&hot::Value>) -> Value {
    let mut shown = Map::new();
    let mut put = |key: &str, value: Value| shown.insert(key.to_owned(), value);
    put("Type", json!(schema.kind.cfn_name()));
    let text = |value: &Option<hot::Value>, other: &str| match value {
        Some(value) => value.to_json(),
        None => json!(other),
    };
    put("Description", text(&schema.description, ""));
    put(
        "NoEcho",
        json!(if schema.hidden { "true" } else { "false" }),
    );
    put("Label", text(&schema.label, &schema.name));
    if let Some(default) = &schema.default {
        put("Default", default.to_json());
    }
    if let Some(given) = given {
        put("Value", given.to_json());
    }
    let mut words: Vec<&str> = Vec::new();
    for constraint in &schema.constraints {
        if let Some(description) = &constraint.description {
            words.push(description);
        }
        match &constraint.rule {
            Rule::Length { min, max } => {
                bounds(
                    &mut put,
                    ["MinLength", "MaxLength"],
                    [min.as_ref(), max.as_ref()],
                    |length| json!(*length as i64),
                );
            }
            Rule::Range { min, max } => {
                bounds(
                    &mut put,
                    ["MinValue", "MaxValue"],
                    [min.as_ref(), max.as_ref()],
                    hot::Value::to_json,
                );
            }
            Rule::Modulo { step, offset } => {
                put("Modulo", json!({ "step": step, "offset": offset }));
            }
            Rule::AllowedValues(values) => {
                put("AllowedValues", hot::Value::List(values.clone()).to_json());
            }
            Rule::AllowedPattern(pattern) => {
                put("AllowedPattern", json!(pattern));
            }
            Rule::Custom(name) => {
                put("CustomConstraint", json!(name));
            }
        }
    }
    if !words.is_empty() {
        put("ConstraintDescription", json!(words.join(" ")));
    }
    Value::Object(shown)
}

fn bounds<T>(
    put: &mut impl FnMut(&str, Value) -> Option<Value>,
    keys: [&str; 2],
    values: [Option<&T>; 2],
    write: fn(&T) -> Value,
) {
    for (key, value) in keys.into_iter().zip(values) {
        if let Some(value) = value {
            put(key, write(value));
        }
    }
}
