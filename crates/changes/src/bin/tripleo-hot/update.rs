//! The command `changes`: makes the old stack on no cloud, then shows what an update would change.

use changes::{Change, Recorded, StackChanges};
use hot::{Environment, Facts, Frame, Map, StackInput, TemplateError, Value};
use serde_json::{Value as Json, json};

use crate::client::{self, Read};
use crate::eval::in_preview;
use crate::trial::Trial;

/// An update to preview.
#[derive(Debug, Clone)]
pub struct Request {
    /// The stack that is there.
    pub old: client::Request,
    /// What it is to become.
    pub new: client::Request,
    /// Whether what is not given is kept.
    pub existing: bool,
}

/// Shows what an update would change.
pub fn changes(request: &Request) -> Result<Json, TemplateError> {
    let old = client::read(&request.old)?;
    let input = old.input(&request.old.stack_name)?;
    let frame = Frame::open(&input)?;
    frame.validate()?;
    let trial = Trial::create(frame)?;
    let new = client::read(&request.new)?;
    let found = update(&trial, &input, &new, request.existing).map_err(in_preview)?;
    Ok(to_json(&found))
}

fn update(
    trial: &Trial,
    old: &StackInput,
    new: &Read,
    existing: bool,
) -> Result<StackChanges, TemplateError> {
    let merged = new.input(&old.name)?;
    let environment = if existing {
        kept(old, new)?
    } else {
        merged.environment
    };
    let input = StackInput {
        id: old.id.clone(),
        environment,
        ..merged
    };
    let frame = Frame::open(&input)?;
    frame.check_immutable(&trial.frame)?;
    frame.validate()?;
    let mut recorded = Vec::new();
    record(trial, &[], &mut recorded)?;
    changes::changes(&recorded, &frame)
}

/// The environment of an update that keeps what it does not give. Parameters that the new template
/// does not have any more are dropped.
fn kept(old: &StackInput, new: &Read) -> Result<Environment, TemplateError> {
    let merged = new
        .input(&old.name)?
        .environment
        .over(&old.environment, &[]);
    let known = new.template.parameter_schemas(&Map::new())?;
    let mut environment = merged;
    environment.parameters.retain(|name, _| {
        known.contains_key(name) || !old.environment.parameters.contains_key(name)
    });
    Ok(environment)
}

/// Writes a stack down as an engine would.
fn record(
    trial: &Trial,
    place: &[String],
    recorded: &mut Vec<Recorded>,
) -> Result<(), TemplateError> {
    for (name, made) in &trial.made {
        let Some(resource) = trial.frame.resource(name) else {
            continue;
        };
        let mut path = place.to_vec();
        path.push(name.clone());
        let mut attributes = Map::new();
        if let Some(schema) = resource.schema() {
            for attribute in schema.attributes.keys() {
                let value = trial.attribute(name, attribute)?;
                attributes.insert(attribute.clone(), value.unwrap_or_default());
            }
        }
        recorded.push(Recorded {
            path: path.clone(),
            type_name: resource.type_name.clone(),
            plugin: resource
                .schema()
                .map_or(String::new(), |schema| schema.name.to_owned()),
            reference: Some(made.reference.clone()),
            attributes,
            given_properties: made.given.clone(),
            properties: made.properties.clone(),
            metadata: trial.frame.metadata(name, trial)?,
            definition: made.definition.clone(),
            failed: false,
            nested_id: made
                .inside
                .as_ref()
                .map(|inside| inside.frame.input().id.clone()),
            removed: made.removed.clone(),
        });
        if let Some(inside) = &made.inside {
            record(inside, &path, recorded)?;
        }
    }
    Ok(())
}

/// The lists of names; a member is named by what it is in and its own name.
fn to_json(changes: &StackChanges) -> Json {
    let names = |changes: &[Change]| {
        let mut names: Vec<String> = changes
            .iter()
            .map(|change| {
                let from = change.path.len().saturating_sub(2);
                change.path[from..].join("/")
            })
            .collect();
        names.sort_unstable();
        names
    };
    let reasons = changes.replaced.iter().map(|change| {
        let because = change.because.clone().map_or(Value::Null, Value::Text);
        (change.path.join("/"), because.to_json())
    });
    json!({
        "added": names(&changes.added),
        "updated": names(&changes.updated),
        "replaced": names(&changes.replaced),
        "deleted": names(&changes.deleted),
        "unchanged": names(&changes.unchanged),
        "reasons": Json::Object(reasons.collect()),
        "text": changes.to_string(),
    })
}
