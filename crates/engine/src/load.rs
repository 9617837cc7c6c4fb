//! Reads stacks back from the tables.

use std::collections::HashMap;

use hot::Value;
use jiff::Timestamp;
use serde_json::Value as Json;
use store::{Read, Row as Record, params};
use uuid::Uuid;

use crate::api::{Action, StackId, Status};
use crate::error::EngineError;
use crate::model::{Input, Node, Root, Row, RowInput, Wait};
use crate::record::Ledger;

const STACK: &str = "SELECT id, parent, resource, project, name, action, status, reason, created,
    updated, pass, body FROM engine_stack";
const RESOURCE: &str = "SELECT id, stack, name, type, action, status, reason, physical_id, created,
    updated, pass, generation, current, input, output FROM engine_resource";

/// Ids of the root stacks that are not deleted.
pub(crate) fn live(tx: &Read<'_>) -> Result<Vec<StackId>, EngineError> {
    let rows = tx.query(
        "SELECT id FROM engine_stack WHERE parent IS NULL AND deleted IS NULL",
        &[],
    )?;
    rows.into_iter()
        .map(|mut row| stack_id(&mut row, 0))
        .collect()
}

/// A root stack with all that is in it.
pub(crate) fn root(tx: &Read<'_>, id: StackId) -> Result<Root, EngineError> {
    let sql = format!("{STACK} WHERE root = ?1");
    let mut nested: HashMap<Uuid, Node> = HashMap::new();
    let mut top = None;
    for mut record in tx.query(&sql, params![id.to_string()])? {
        let node = node(&mut record)?;
        match record.take::<Option<String>>(2)? {
            Some(resource) => {
                nested.insert(uuid(&resource), node);
            }
            None => top = Some((node, record)),
        }
    }
    let (mut node, mut record) = top.ok_or_else(|| EngineError::StackNotFound {
        name: id.to_string(),
    })?;
    let mut rows: HashMap<StackId, Vec<(bool, Row)>> = HashMap::new();
    let sql = format!("{RESOURCE} WHERE root = ?1 ORDER BY position");
    for mut record in tx.query(&sql, params![id.to_string()])? {
        let stack = stack_id(&mut record, 1)?;
        rows.entry(stack).or_default().push(row(&mut record)?);
    }
    fill(&mut node, &mut rows, &mut nested);
    let body = json(
        &record.take::<Option<String>>(11)?.unwrap_or_default(),
        "a stack",
    )?;
    let previous = match &body["previous"] {
        Json::Null => None,
        given => Some(Input::from_json(given)?),
    };
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    Ok(Root {
        project: record.take(3)?,
        owner: text("owner"),
        owner_id: text("owner_id"),
        user_project: body["user_project"].as_str().map(str::to_owned),
        input: Input::from_json(&body["input"])?,
        previous,
        pass: record.take::<i64>(10)? as u64,
        deadline: time(body["deadline"].as_i64().unwrap_or_default()),
        seeds: body.get("seeds").filter(|seeds| !seeds.is_null()).cloned(),
        active: body["active"].as_bool().unwrap_or_default(),
        empty: body["empty"].as_bool().unwrap_or_default(),
        node,
        ledger: Ledger::default(),
        deleted: None,
    })
}

/// Hangs rows and nested stacks into their places.
fn fill(
    node: &mut Node,
    rows: &mut HashMap<StackId, Vec<(bool, Row)>>,
    nested: &mut HashMap<Uuid, Node>,
) {
    for (current, mut row) in rows.remove(&node.id).unwrap_or_default() {
        if let Some(mut child) = nested.remove(&row.id) {
            fill(&mut child, rows, nested);
            row.child = Some(Box::new(child));
        }
        if current {
            node.rows.insert(row.name.clone(), row);
        } else {
            node.old.push(row);
        }
    }
}

fn node(record: &mut Record) -> Result<Node, EngineError> {
    let created = time(record.take(8)?);
    let mut node = Node::new(
        stack_id(record, 0)?,
        record.take(4)?,
        Action::Create,
        created,
    );
    node.action = word(record, 5, Action::parse)?;
    node.status = word(record, 6, Status::parse)?;
    node.reason = record.take(7)?;
    node.updated = record.take::<Option<i64>>(9)?.map(time);
    node.dirty = false;
    Ok(node)
}

fn row(record: &mut Record) -> Result<(bool, Row), EngineError> {
    let name: String = record.take(2)?;
    let what = format!("the resource `{name}`");
    let parse = |source| EngineError::Record {
        what: what.clone(),
        source,
    };
    let input: RowInput = serde_json::from_str(&record.take::<String>(13)?).map_err(parse)?;
    let notes = serde_json::from_str(&record.take::<String>(14)?).map_err(parse)?;
    let row = Row {
        id: uuid(&record.take::<String>(0)?),
        name,
        type_name: record.take(3)?,
        plugin: input.plugin,
        action: word(record, 4, Action::parse)?,
        status: word(record, 5, Status::parse)?,
        reason: record.take(6)?,
        physical_id: record.take(7)?,
        physical_name: input.physical_name,
        created: time(record.take(8)?),
        updated: time(record.take(9)?),
        pass: record.take::<i64>(10)? as u64,
        generation: record.take::<i64>(11)? as u64,
        given: hot::map_from_json(&input.given),
        properties: hot::map_from_json(&input.properties),
        metadata: Value::from_json(&input.metadata),
        definition: hot::map_from_json(&input.definition),
        requires: input.requires,
        notes,
        retain: input.retain,
        external: input.external,
        broken: input.broken,
        description: input.description,
        child: None,
        // What was under way is asked for again; every step is safe to repeat.
        wait: Wait::Ready,
        failure: None,
        dirty: false,
    };
    Ok((record.take(12)?, row))
}

pub(crate) fn json(text: &str, what: &str) -> Result<Json, EngineError> {
    serde_json::from_str(text).map_err(|source| EngineError::Record {
        what: what.to_owned(),
        source,
    })
}

pub(crate) fn time(millisecond: i64) -> Timestamp {
    Timestamp::from_millisecond(millisecond).unwrap_or_default()
}

/// Ids are only ever written by this engine.
pub(crate) fn uuid(text: &str) -> Uuid {
    Uuid::parse_str(text).unwrap_or_default()
}

pub(crate) fn stack_id(record: &mut Record, column: usize) -> Result<StackId, EngineError> {
    Ok(StackId(uuid(&record.take::<String>(column)?)))
}

/// Reads one of Heat's words.
pub(crate) fn word<T>(
    record: &mut Record,
    column: usize,
    parse: fn(&str) -> Option<T>,
) -> Result<T, EngineError> {
    let text: String = record.take(column)?;
    parse(&text).ok_or_else(|| {
        let found = serde::de::Error::custom(format!("`{text}` is no word of a state"));
        EngineError::Record {
            what: "a state".to_owned(),
            source: found,
        }
    })
}
