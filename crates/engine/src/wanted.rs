//! What the template wants of one resource now, and what that means for the one that is there.
//!
//! The decision itself is `changes`': a preview and a pass ask the same function.

use changes::{Fate, Recorded};
use hot::{DeletionPolicy, Frame, Map, TemplateError, Value};

use crate::api::Action;
use crate::model::{Node, Row};
use crate::plugins;

/// What the template wants of a resource, with all that is known now.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub wanted: changes::Wanted,
    pub requires: Vec<String>,
    pub retain: bool,
    pub external_id: Option<String>,
    pub description: String,
}

/// Resolves what the template of a stack wants of a resource.
pub(crate) fn wanted(node: &Node, frame: &Frame, name: &str) -> Result<Wanted, TemplateError> {
    let resource = frame
        .resource(name)
        .ok_or_else(|| TemplateError::new(hot::Kind::NotFound, format!("no resource `{name}`")))?;
    Ok(Wanted {
        wanted: changes::Wanted::of(frame, name, node)?,
        requires: node.requires.get(name).cloned().unwrap_or_default(),
        retain: resource.external_id.is_some()
            || resource.deletion_policy == DeletionPolicy::Retain,
        external_id: resource.external_id.clone(),
        description: resource.description.clone(),
    })
}

/// Decides what becomes of the resource that is there.
pub(crate) fn decide(row: &Row, wanted: &Wanted) -> Fate {
    if row.action == Action::Delete || row.external != wanted.external_id.is_some() {
        return Fate::Replaced;
    }
    if wanted.external_id.is_some() {
        return if row.physical_id == wanted.external_id {
            Fate::Unchanged
        } else {
            Fate::Replaced
        };
    }
    changes::decide(&recorded(row, Vec::new(), Map::new()), &wanted.wanted).fate
}

/// A row as `changes` compares it.
fn recorded(row: &Row, path: Vec<String>, attributes: Map) -> Recorded {
    Recorded {
        path,
        type_name: row.type_name.clone(),
        plugin: row.plugin.clone(),
        reference: row.reference(),
        attributes,
        given_properties: row.given.clone(),
        properties: row.properties.clone(),
        metadata: row.metadata.clone(),
        definition: row.definition.clone(),
        failed: row.broken,
        nested_id: row.child.as_ref().map(|child| child.id.to_string()),
        removed: plugins::removed_members(row),
    }
}

/// All that is in a stack as `changes` compares it, with the attributes that are known.
pub(crate) fn recorded_below(node: &Node, path: &[String], all: &mut Vec<Recorded>) {
    for row in node.rows.values() {
        let mut here = path.to_vec();
        here.push(row.name.clone());
        all.push(recorded(row, here.clone(), attributes(row)));
        if let Some(child) = &row.child {
            recorded_below(child, &here, all);
        }
    }
}

fn attributes(row: &Row) -> Map {
    let mut known = Map::new();
    let schema = hot::types::get(&row.plugin).filter(|_| row.is_known() && row.child.is_none());
    for name in schema
        .into_iter()
        .flat_map(|schema| schema.attributes.keys())
    {
        let value: Option<Value> = plugins::attribute(row, name);
        if let Some(value) = value {
            known.insert(name.clone(), value);
        }
    }
    known
}
