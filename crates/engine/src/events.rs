//! The event log, read.

use store::{Row as Record, params};

use crate::api::{Action, Event, EventQuery, StackId, Status};
use crate::core::Core;
use crate::error::EngineError;
use crate::load;
use crate::model::Node;

const EVENT: &str = "SELECT seq, id, stack, stack_name, root, time, resource, physical_id, action,
    status, reason, type, properties FROM engine_event";

fn event_of(mut record: Record, with_properties: bool) -> Result<Event, EngineError> {
    let properties: Option<String> = record.take(12)?;
    let properties = properties.filter(|_| with_properties);
    let properties = load::json(properties.as_deref().unwrap_or("{}"), "an event")?;
    Ok(Event {
        seq: record.take(0)?,
        id: load::uuid(&record.take::<String>(1)?),
        stack: load::stack_id(&mut record, 2)?,
        stack_name: record.take(3)?,
        root: load::stack_id(&mut record, 4)?,
        time: load::time(record.take(5)?),
        resource: record.take(6)?,
        physical_id: record.take(7)?,
        action: load::word(&mut record, 8, Action::parse)?,
        status: load::word(&mut record, 9, Status::parse)?,
        reason: record.take(10)?,
        type_name: record.take(11)?,
        properties: hot::map_from_json(&properties),
    })
}

impl Core {
    pub async fn list_events(
        &self,
        stack: StackId,
        query: EventQuery,
    ) -> Result<Vec<Event>, EngineError> {
        let mut stacks = vec![stack.to_string()];
        let mut living = vec![stack.to_string()];
        if let Ok(live) = self.live_with(stack) {
            let root = live.lock();
            if let Some(node) = root.node.node(stack) {
                below(node, query.nested_depth, &mut stacks);
            }
            root.node
                .each_node(&mut |node| living.push(node.id.to_string()));
        }
        let nested = query.nested_depth > 0;
        let stack = stack.to_string();
        // A state that was shown already may still be on its way to the database; its event is wanted here.
        let read =
            self.setup
                .store
                .read_behind_writes(move |tx| -> Result<Vec<Event>, EngineError> {
                    let sql = format!(
                "{EVENT} WHERE stack = ?1 OR (?4 AND (stack IN (SELECT value FROM json_each(?2))
                     OR (root = ?1 AND stack NOT IN (SELECT value FROM json_each(?3)))))
                 ORDER BY seq DESC"
            );
                    // Nested stacks that are gone cannot be placed any more; the root shows all of them.
                    let list = |ids: &[String]| serde_json::to_string(ids).unwrap_or_default();
                    let rows =
                        tx.query(&sql, params![stack, list(&stacks), list(&living), nested])?;
                    rows.into_iter().map(|row| event_of(row, false)).collect()
                });
        let mut events = read.await?;
        if let Some(resource) = &query.resource {
            events.retain(|event| event.resource == *resource);
        }
        events.retain(|event| fits(event, &query));
        if query.ascending {
            events.reverse();
        }
        if let Some(marker) = &query.marker
            && let Some(at) = events
                .iter()
                .position(|event| event.id.to_string() == *marker)
        {
            events.drain(..=at);
        }
        if let Some(limit) = query.limit {
            events.truncate(limit);
        }
        Ok(events)
    }

    pub async fn show_event(
        &self,
        stack: StackId,
        resource: &str,
        id: &str,
    ) -> Result<Event, EngineError> {
        let (stack, name, wanted) = (stack.to_string(), resource.to_owned(), id.to_owned());
        let read = self
            .setup
            .store
            .read(move |tx| -> Result<Option<Event>, EngineError> {
                let sql = format!("{EVENT} WHERE stack = ?1 AND resource = ?2 AND id = ?3");
                let found = tx.query_one(&sql, params![stack, name, wanted])?;
                found.map(|row| event_of(row, true)).transpose()
            });
        read.await?.ok_or_else(|| EngineError::NotFound {
            what: "No event",
            name: id.to_owned(),
        })
    }
}

fn below(node: &Node, depth: u32, stacks: &mut Vec<String>) {
    if depth == 0 {
        return;
    }
    for row in node.all_rows() {
        if let Some(child) = &row.child {
            stacks.push(child.id.to_string());
            below(child, depth - 1, stacks);
        }
    }
}

fn fits(event: &Event, query: &EventQuery) -> bool {
    query.filters.iter().all(|(key, values)| {
        let state = format!("{}_{}", event.action, event.status);
        let one_of = |found: &str| values.iter().any(|value| value == found);
        match key.as_str() {
            "resource_name" => one_of(&event.resource),
            "resource_status" => one_of(&state) || one_of(event.status.as_str()),
            "resource_action" => one_of(event.action.as_str()),
            "resource_type" => one_of(&event.type_name),
            _ => true,
        }
    })
}
