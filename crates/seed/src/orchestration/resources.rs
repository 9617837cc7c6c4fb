//! Resources of a stack: lists, one of them, its metadata, its health, signals to it.

use std::collections::HashMap;

use engine::{Resource, ResourceQuery, Stack, StackId};
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::fault::Fault;
use super::query::{Query, parse_flag};
use super::request::text_of;
use super::routes::StackPath;
use super::{Answer, Ask, Orchestration, reply, wire};

/// What resources can be filtered by.
const FILTERS: [&str; 8] = [
    "type",
    "status",
    "name",
    "action",
    "uuid",
    "id",
    "physical_resource_id",
    "resource_id",
];

impl Orchestration {
    pub(super) async fn list_resources(&self, ask: &Ask, at: &StackPath) -> Answer {
        let query = resource_query(&ask.query)?;
        let with_detail = query.with_detail;
        let stack = self.at(&ask.asker, at).await?;
        let mut resources = self.engine.resources(stack.id, query).await?;
        let mut nested = Nested::new(self, &ask.base);
        let mut entries = Vec::with_capacity(resources.len());
        for resource in &mut resources {
            self.show_as_attributes(resource).await?;
            let mut entry = nested.entry(&stack, resource).await;
            if with_detail {
                wire::detail(&mut entry, resource);
            }
            entries.push(entry);
        }
        Ok(reply::ok(&json!({ "resources": entries })))
    }

    pub(super) async fn show_resource(&self, ask: &Ask, at: &StackPath, name: &str) -> Answer {
        let stack = self.at(&ask.asker, at).await?;
        let with: Vec<String> = ask.query.all("with_attr").map(str::to_owned).collect();
        let mut resource = self.engine.resource(stack.id, name, &with).await?;
        self.show_as_attributes(&mut resource).await?;
        let mut entry = Nested::new(self, &ask.base).entry(&stack, &resource).await;
        wire::detail(&mut entry, &resource);
        Ok(reply::ok(&json!({ "resource": entry })))
    }

    pub(super) async fn resource_metadata(&self, ask: &Ask, at: &StackPath, name: &str) -> Answer {
        let stack = self.at(&ask.asker, at).await?;
        ask.asker.may_read_metadata(&stack, name)?;
        let metadata = self.engine.resource_metadata(stack.id, name).await?;
        Ok(reply::ok(&json!({ "metadata": metadata })))
    }

    pub(super) async fn mark_unhealthy(&self, ask: Ask, at: &StackPath, name: &str) -> Answer {
        let body = ask.body.clone().optional().unwrap_or_default();
        let odd = body
            .keys()
            .find(|key| !["mark_unhealthy", "resource_status_reason"].contains(&key.as_str()));
        if let Some(odd) = odd {
            let message = format!("Invalid keys in resource mark unhealthy ['{odd}']");
            return Err(Fault::bad_request(message));
        }
        let Some(unhealthy) = body.get("mark_unhealthy") else {
            let message = "Missing mandatory (mark_unhealthy) key from mark unhealthy request";
            return Err(Fault::bad_request(message));
        };
        let unhealthy = match unhealthy {
            Value::Bool(flag) => *flag,
            other => parse_flag("mark_unhealthy", &text_of(other))?,
        };
        let reason = body
            .get("resource_status_reason")
            .filter(|reason| !reason.is_null());
        let reason = reason.map(text_of);
        let stack = self.at(&ask.asker, at).await?;
        self.engine
            .mark_unhealthy(stack.id, name, unhealthy, reason)
            .await?;
        Ok(reply::ok(&Value::Null))
    }

    pub(super) async fn signal(&self, ask: Ask, at: &StackPath, name: &str) -> Answer {
        let stack = self.at(&ask.asker, at).await?;
        ask.asker.may_signal(self, &stack, name).await?;
        let body = ask.body.optional().map(Value::Object);
        self.engine.signal(stack.id, name, body).await?;
        Ok(reply::ok(&Value::Null))
    }
}

fn resource_query(query: &Query) -> Result<ResourceQuery, Fault> {
    let nested_depth = query.number("nested_depth")?.unwrap_or(0);
    let with_detail = query.flag("with_detail")?;
    let words = ["nested_depth", "with_detail"];
    let mut filters: IndexMap<String, Vec<String>> = IndexMap::new();
    let mut odd: Vec<String> = Vec::new();
    for (key, value) in query.pairs() {
        if FILTERS.contains(&key.as_str()) {
            filters.entry(key.clone()).or_default().push(value.clone());
        } else if !words.contains(&key.as_str()) {
            odd.push(format!("'{key}'"));
        }
    }
    if !odd.is_empty() {
        let message = format!("Invalid filter parameters [{}]", odd.join(", "));
        return Err(Fault::bad_request(message));
    }
    Ok(ResourceQuery {
        nested_depth: u32::try_from(nested_depth).unwrap_or(u32::MAX),
        filters,
        with_detail,
    })
}

/// Addresses of the stacks that the resources of a list are in or stand for, each asked for once.
struct Nested<'a> {
    api: &'a Orchestration,
    base: &'a str,
    known: HashMap<StackId, Option<String>>,
}

impl<'a> Nested<'a> {
    fn new(api: &'a Orchestration, base: &'a str) -> Nested<'a> {
        Nested {
            api,
            base,
            known: HashMap::new(),
        }
    }

    async fn entry(&mut self, root: &Stack, resource: &Resource) -> Value {
        let id = resource.stack.to_string();
        let home = wire::stack_href(self.base, &root.project, &resource.stack_name, &id);
        let nested = match resource.nested {
            None => None,
            Some(nested) => self.href(nested).await,
        };
        wire::resource(&home, resource, nested)
    }

    async fn href(&mut self, id: StackId) -> Option<String> {
        if let Some(known) = self.known.get(&id) {
            return known.clone();
        }
        // A nested stack that cannot be read just now leaves its link out, not the whole list.
        let found = self.api.engine.find(None, &id.to_string()).await.ok();
        let href = found.map(|stack| wire::href(self.base, &stack));
        self.known.insert(id, href.clone());
        href
    }
}
