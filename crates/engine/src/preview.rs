//! What would happen: the same decisions as in a real pass, on a copy of the tree.
//!
//! Resources that would be made anew have no id in the copy, so what refers to them differs, as it
//! will when the update runs.

use std::collections::BTreeMap;

use changes::{Change, PropertyChange, StackChanges};
use hot::{Frame, Value};
use jiff::Timestamp;
use uuid::Uuid;

use crate::api::{Action, PreviewedResource, StackId, Status};
use crate::error::EngineError;
use crate::model::{Node, Row, Wait};
use crate::plugins;
use crate::wanted::{Decision, Wanted, decide, wanted};

/// What an update to a frame would do.
pub(crate) fn changes(node: &Node, frame: Frame) -> Result<StackChanges, EngineError> {
    let mut changes = StackChanges::default();
    let mut copy = node.clone();
    walk(&mut copy, Some(frame), &[], &mut changes)?;
    Ok(changes)
}

fn walk(
    node: &mut Node,
    frame: Option<Frame>,
    path: &[String],
    changes: &mut StackChanges,
) -> Result<(), EngineError> {
    node.want(frame)?;
    let order = std::sync::Arc::clone(&node.order);
    for name in order.iter() {
        let Some(frame) = node.frame.clone() else {
            break;
        };
        let wanted = wanted(node, &frame, name)?;
        let decision = node.rows.get(name).map(|row| decide(row, &wanted));
        let change = change(node.rows.get(name), &wanted, path, name);
        match decision {
            None => changes.added.push(change),
            Some(Decision::Keep) => changes.unchanged.push(change),
            Some(Decision::Update) => changes.updated.push(change),
            Some(Decision::Replace) => changes.replaced.push(change),
        }
        let made = matches!(decision, None | Some(Decision::Replace));
        place(node, name, &wanted, made);
        if wanted.has_members {
            inside(node, &frame, name, path, changes)?;
        }
    }
    let gone: Vec<String> = node
        .rows
        .keys()
        .filter(|name| !order.contains(name))
        .cloned()
        .collect();
    for name in gone {
        if let Some(row) = node.rows.shift_remove(&name) {
            removed(&row, path, changes);
        }
    }
    Ok(())
}

/// Puts into the copy what would stand there after.
fn place(node: &mut Node, name: &str, wanted: &Wanted, made: bool) {
    let row = node
        .rows
        .entry(name.to_owned())
        .or_insert_with(|| blank(name));
    if made {
        let before = std::mem::replace(row, blank(name));
        drop(before);
    }
    row.type_name.clone_from(&wanted.type_name);
    row.plugin.clone_from(&wanted.plugin);
    row.given.clone_from(&wanted.given);
    row.properties.clone_from(&wanted.properties);
    row.metadata.clone_from(&wanted.metadata);
    if made
        && matches!(
            wanted.plugin.as_str(),
            "OS::Heat::Value" | "OS::Heat::TestResource"
        )
    {
        // Their attributes follow from their properties alone, so they are known beforehand.
        row.action = Action::Create;
        row.status = Status::Complete;
    }
}

fn blank(name: &str) -> Row {
    Row {
        id: Uuid::nil(),
        name: name.to_owned(),
        type_name: String::new(),
        plugin: String::new(),
        action: Action::Init,
        status: Status::Complete,
        reason: String::new(),
        physical_id: None,
        physical_name: String::new(),
        created: Timestamp::UNIX_EPOCH,
        updated: Timestamp::UNIX_EPOCH,
        pass: 0,
        generation: 0,
        given: hot::Map::new(),
        properties: hot::Map::new(),
        metadata: Value::Null,
        definition: hot::Map::new(),
        requires: Vec::new(),
        notes: Default::default(),
        retain: false,
        external: false,
        broken: false,
        description: String::new(),
        child: None,
        wait: Wait::Ready,
        failure: None,
        dirty: false,
    }
}

fn inside(
    node: &mut Node,
    frame: &Frame,
    name: &str,
    path: &[String],
    changes: &mut StackChanges,
) -> Result<(), EngineError> {
    let Some(row) = node.rows.get_mut(name) else {
        return Ok(());
    };
    let id = row
        .child
        .as_ref()
        .map_or(StackId(Uuid::nil()), |child| child.id);
    let member = plugins::member(frame, row, id)?;
    let mut path = path.to_vec();
    path.push(name.to_owned());
    let mut child = row.child.take().unwrap_or_else(|| {
        Box::new(Node::new(
            id,
            name.to_owned(),
            Action::Create,
            Timestamp::UNIX_EPOCH,
        ))
    });
    walk(&mut child, member, &path, changes)?;
    if let Some(row) = node.rows.get_mut(name) {
        row.child = Some(child);
    }
    Ok(())
}

fn removed(row: &Row, path: &[String], changes: &mut StackChanges) {
    let mut here = path.to_vec();
    here.push(row.name.clone());
    if let Some(child) = &row.child {
        for inner in child.rows.values() {
            removed(inner, &here, changes);
        }
    }
    changes.deleted.push(Change {
        path: here,
        type_name: row.type_name.clone(),
        properties: Vec::new(),
        because: None,
    });
}

fn change(row: Option<&Row>, wanted: &Wanted, path: &[String], name: &str) -> Change {
    let mut here = path.to_vec();
    here.push(name.to_owned());
    let mut properties = Vec::new();
    let mut because = None;
    if let Some(row) = row {
        let mut names: BTreeMap<&String, ()> = BTreeMap::new();
        names.extend(
            row.given
                .keys()
                .chain(wanted.given.keys())
                .map(|name| (name, ())),
        );
        for name in names.into_keys() {
            let old = row.given.get(name).cloned().unwrap_or_default();
            let new = wanted.given.get(name).cloned().unwrap_or_default();
            if !old.equals(&new) {
                properties.push(PropertyChange {
                    name: name.clone(),
                    old,
                    new: Some(new),
                    replaces: replaces(&row.plugin, name),
                });
            }
        }
        if row.broken {
            because = Some("its last action failed, or it was marked as unhealthy".to_owned());
        } else if row.plugin != wanted.plugin {
            because = Some(format!("its type was {}", row.type_name));
        } else if let Some(one) = properties.iter().find(|one| one.replaces) {
            because = Some(format!("`{}` cannot be changed in place", one.name));
        }
    }
    Change {
        path: here,
        type_name: wanted.type_name.clone(),
        properties,
        because,
    }
}

fn replaces(plugin: &str, property: &str) -> bool {
    let schema = hot::types::get(plugin);
    let property = schema.and_then(|schema| schema.properties.get(property));
    property.is_some_and(|property| !property.update_allowed)
}

/// What a new stack would be.
pub(crate) fn resources(node: &Node, frame: &Frame) -> Result<Vec<PreviewedResource>, EngineError> {
    let mut copy = node.clone();
    copy.want(Some(frame.clone()))?;
    let order = std::sync::Arc::clone(&copy.order);
    let mut previewed = BTreeMap::new();
    for name in order.iter() {
        let wanted = wanted(&copy, frame, name)?;
        place(&mut copy, name, &wanted, true);
        let mut members = None;
        if wanted.has_members
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
            type_name: wanted.type_name,
            properties: wanted.properties,
            metadata: wanted.metadata,
            required_by,
            description: wanted.description,
            members,
        };
        previewed.insert(name.clone(), one);
    }
    let names = frame.resources().map(|resource| resource.name.clone());
    Ok(names.filter_map(|name| previewed.remove(&name)).collect())
}
