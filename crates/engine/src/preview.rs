//! What would happen, without doing it.

use std::collections::BTreeMap;

use changes::StackChanges;
use hot::Frame;
use jiff::Timestamp;
use uuid::Uuid;

use crate::api::{Action, PreviewedResource, StackId};
use crate::error::EngineError;
use crate::model::{Node, Row};
use crate::plugins;
use crate::wanted::{Wanted, recorded_below, wanted};

/// What an update to a frame would do.
pub(crate) fn changes(node: &Node, frame: &Frame) -> Result<StackChanges, EngineError> {
    let mut recorded = Vec::new();
    recorded_below(node, &[], &mut recorded);
    Ok(changes::changes(&recorded, frame)?)
}

/// Puts into the copy what would stand there after.
fn place(node: &mut Node, name: &str, wanted: &Wanted) {
    let mut row = Row::blank(name);
    let parts = &wanted.wanted;
    row.type_name.clone_from(&parts.type_name);
    row.plugin.clone_from(&parts.plugin);
    row.given.clone_from(&parts.given_properties);
    row.properties.clone_from(&parts.properties);
    row.metadata.clone_from(&parts.metadata);
    if matches!(
        parts.plugin.as_str(),
        "OS::Heat::Value" | "OS::Heat::TestResource"
    ) {
        // Their attributes follow from their properties alone, so they are known beforehand.
        row.action = Action::Create;
    }
    node.rows.insert(name.to_owned(), row);
}

/// What a new stack would be.
pub(crate) fn resources(node: &Node, frame: &Frame) -> Result<Vec<PreviewedResource>, EngineError> {
    let mut copy = node.clone();
    copy.want(Some(frame.clone()))?;
    let order = std::sync::Arc::clone(&copy.order);
    let mut previewed = BTreeMap::new();
    for name in order.iter() {
        let wanted = wanted(&copy, frame, name)?;
        place(&mut copy, name, &wanted);
        let mut members = None;
        if wanted.wanted.has_members
            && let Some(row) = copy.rows.get(name)
        {
            let id = StackId(Uuid::nil());
            if let Some(inner) = plugins::member(frame, row, id)? {
                let child = Node::new(id, name.clone(), Action::Create, Timestamp::UNIX_EPOCH);
                members = Some(resources(&child, &inner)?);
            }
        }
        let required_by = copy
            .requires
            .iter()
            .filter(|(_, all)| all.contains(name))
            .map(|(requirer, _)| requirer.clone())
            .collect();
        let one = PreviewedResource {
            name: name.clone(),
            type_name: wanted.wanted.type_name,
            properties: wanted.wanted.properties,
            metadata: wanted.wanted.metadata,
            required_by,
            description: wanted.description,
            members,
        };
        previewed.insert(name.clone(), one);
    }
    let names = frame.resources().map(|resource| resource.name.clone());
    Ok(names.filter_map(|name| previewed.remove(&name)).collect())
}
