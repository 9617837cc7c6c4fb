//! Events of a stack and of its resources.

use axum::http::StatusCode;
use engine::{EngineError, Event, EventQuery, Stack};
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::fault::Fault;
use super::listing::{descending, limit};
use super::query::encode;
use super::routes::StackPath;
use super::{Answer, Ask, Orchestration, reply, wire};

/// What events can be filtered by.
const FILTERS: [&str; 4] = [
    "resource_name",
    "resource_status",
    "resource_action",
    "resource_type",
];

impl Orchestration {
    pub(super) async fn list_events(
        &self,
        ask: &Ask,
        at: &StackPath,
        resource: Option<&str>,
    ) -> Answer {
        let nested_depth = ask.query.number("nested_depth")?;
        let mut filters: IndexMap<String, Vec<String>> = IndexMap::new();
        for (key, value) in ask.query.pairs() {
            if FILTERS.contains(&key.as_str()) {
                filters.entry(key.clone()).or_default().push(value.clone());
            }
        }
        let query = EventQuery {
            resource: resource.map(str::to_owned),
            nested_depth: u32::try_from(nested_depth.unwrap_or(0)).unwrap_or(u32::MAX),
            limit: limit(&ask.query)?,
            marker: ask.query.last("marker").map(str::to_owned),
            ascending: descending(&ask.query)? == Some(false),
            filters,
        };
        let stack = self.at(&ask.asker, at).await?;
        let events = self.engine.events(stack.id, query).await;
        let events = events.map_err(|error| match (error, resource) {
            (
                EngineError::ResourceNotFound { .. } | EngineError::NotFound { .. },
                Some(resource),
            ) => none_found(format!("No events found for resource {resource}")),
            (error, _) => Fault::from(error),
        })?;
        if let (true, Some(resource)) = (events.is_empty(), resource)
            && self.engine.resource(stack.id, resource, &[]).await.is_err()
        {
            return Err(none_found(format!(
                "No events found for resource {resource}"
            )));
        }
        let root = nested_depth.is_some_and(|depth| depth > 0);
        let root = root.then(|| wire::href(&ask.base, &stack));
        let events: Vec<Value> = events
            .iter()
            .map(|event| shown(&ask.base, &stack, event, root.as_deref()))
            .collect();
        Ok(reply::ok(&json!({ "events": events })))
    }

    pub(super) async fn show_event(
        &self,
        ask: &Ask,
        at: &StackPath,
        resource: &str,
        id: &str,
    ) -> Answer {
        let stack = self.at(&ask.asker, at).await?;
        let event = self.engine.event(stack.id, resource, id).await;
        let event = event.map_err(|error| match error {
            EngineError::NotFound { .. } | EngineError::ResourceNotFound { .. } => {
                none_found(format!("No event {id} found"))
            }
            error => Fault::from(error),
        })?;
        let mut shown = shown(&ask.base, &stack, &event, None);
        shown["resource_type"] = json!(event.type_name);
        shown["resource_properties"] = hot::map_to_json(&event.properties);
        Ok(reply::ok(&json!({ "event": shown })))
    }
}

fn none_found(message: String) -> Fault {
    Fault::new(StatusCode::NOT_FOUND, "HTTPNotFound", message)
}

fn shown(base: &str, asked: &Stack, event: &Event, root: Option<&str>) -> Value {
    let stack = event.stack.to_string();
    let stack = wire::stack_href(base, &asked.project, &event.stack_name, &stack);
    let resource = format!("{stack}/resources/{}", encode(&event.resource));
    let mut links = vec![
        wire::link("self", format!("{resource}/events/{}", event.id)),
        wire::link("resource", resource),
        wire::link("stack", stack),
    ];
    links.extend(root.map(|href| wire::link("root_stack", href)));
    json!({
        "id": event.id.to_string(),
        "links": links,
        "event_time": reply::time(event.time),
        "logical_resource_id": event.resource,
        "resource_name": event.resource,
        "physical_resource_id": event.physical_id,
        "resource_status": format!("{}_{}", event.action, event.status),
        "resource_status_reason": event.reason,
    })
}
