//! Previews: what a creation would make, what an update would do.

use std::collections::HashMap;

use changes::{Change, StackChanges};
use engine::{PreviewedResource, Resource, ResourceQuery, Stack};
use serde_json::{Value, json};

use super::fault::Fault;
use super::request::StackRequest;
use super::routes::StackPath;
use super::{Answer, Ask, Orchestration, reply, stacks, wire};

/// Deeper than stacks can nest.
const ALL_LEVELS: u32 = 100;

impl Orchestration {
    pub(super) async fn preview_stack(&self, ask: Ask) -> Answer {
        let want = stacks::wanted(StackRequest::new(ask.body.required()?))?;
        let preview = self.engine.preview_create(&ask.asker.caller, want).await?;
        let mut shown = wire::stack(&ask.base, &preview.stack, false);
        // There is no stack yet that an id could name; clients know this word from Heat.
        shown["id"] = json!("None");
        let name = &preview.stack.name;
        let href = wire::stack_href(&ask.base, &preview.stack.project, name, "None");
        shown["links"] = json!([wire::link("self", href)]);
        shown["resources"] = members(&preview.stack, &preview.resources, &[]);
        Ok(reply::ok(&json!({ "stack": shown })))
    }

    pub(super) async fn preview_update(&self, ask: Ask, at: &StackPath, existing: bool) -> Answer {
        let show_nested = ask.query.flag("show_nested")?;
        let (stack, want) = self.update_wanted(&ask, at, existing).await?;
        let changes = self
            .engine
            .preview_update(&ask.asker.caller, stack.id, want)
            .await?;
        let known = self.known(&stack, show_nested).await?;
        let lists = changed(&changes, show_nested)
            .map(|(word, list)| (word.to_owned(), Value::Array(known.entries(&stack, list))));
        let lists: serde_json::Map<String, Value> = lists.into_iter().collect();
        Ok(reply::ok(&json!({ "resource_changes": lists })))
    }

    async fn known(&self, stack: &Stack, nested: bool) -> Result<Known, Fault> {
        let query = ResourceQuery {
            nested_depth: if nested { ALL_LEVELS } else { 0 },
            with_detail: true,
            ..ResourceQuery::default()
        };
        let resources = self.engine.resources(stack.id, query).await?;
        Ok(Known::new(stack, resources))
    }
}

/// The lists of changes by Heat's words; without `nested` only those of the stack itself.
fn changed(changes: &StackChanges, nested: bool) -> [(&'static str, Vec<&Change>); 5] {
    [
        ("unchanged", &changes.unchanged),
        ("updated", &changes.updated),
        ("replaced", &changes.replaced),
        ("added", &changes.added),
        ("deleted", &changes.deleted),
    ]
    .map(|(word, list)| {
        let list = list
            .iter()
            .filter(|change| nested || change.path.len() == 1);
        (word, list.collect())
    })
}

/// The resources that are there, by their names from the root.
struct Known {
    resources: HashMap<Vec<String>, Resource>,
}

impl Known {
    fn new(root: &Stack, resources: Vec<Resource>) -> Known {
        // Where each stack stands; parents come before their members.
        let mut places = HashMap::from([(root.id, Vec::new())]);
        let mut known = HashMap::new();
        let mut left = resources;
        loop {
            let before = left.len();
            let (found, rest): (Vec<_>, Vec<_>) = left
                .into_iter()
                .partition(|one: &Resource| places.contains_key(&one.stack));
            for resource in found {
                let mut path = places[&resource.stack].clone();
                path.push(resource.name.clone());
                if let Some(nested) = resource.nested {
                    places.insert(nested, path.clone());
                }
                known.insert(path, resource);
            }
            left = rest;
            if left.is_empty() || left.len() == before {
                return Known { resources: known };
            }
        }
    }

    fn entries(&self, root: &Stack, changes: Vec<&Change>) -> Vec<Value> {
        changes
            .into_iter()
            .map(|change| self.entry(root, change))
            .collect()
    }

    fn entry(&self, root: &Stack, change: &Change) -> Value {
        let name = change.path.last().map_or("", String::as_str);
        let found = self.resources.get(&change.path);
        let (stack_name, stack_id) = found.map_or_else(
            || (root.name.clone(), root.id.to_string()),
            |resource| (resource.stack_name.clone(), resource.stack.to_string()),
        );
        let state = found.map_or(("INIT", "COMPLETE"), |resource| {
            (resource.action.as_str(), resource.status.as_str())
        });
        let differ = change.properties.iter().map(|property| {
            let new = property.new.as_ref().map(hot::Value::to_json);
            let difference = json!({
                "old": property.old.to_json(), "new": new, "replaces": property.replaces,
            });
            (property.name.clone(), difference)
        });
        json!({
            "resource_name": name,
            "resource_type": change.type_name,
            "resource_action": state.0,
            "resource_status": state.1,
            "resource_status_reason": found.map_or("", |resource| resource.reason.as_str()),
            "resource_identity": identity(root, &stack_name, &stack_id, name),
            "stack_identity": stack_identity(root, &stack_name, &stack_id),
            "stack_name": stack_name,
            "physical_resource_id": found.map_or("", |resource| resource.physical_id.as_str()),
            "creation_time": found.map(|resource| reply::time(resource.created)),
            "updated_time": found.map(|resource| reply::time(resource.updated)),
            "required_by": found.map_or(&[][..], |resource| &resource.required_by),
            "metadata": {},
            "attributes": found
                .and_then(|resource| resource.attributes.as_ref())
                .map_or_else(|| json!({}), hot::map_to_json),
            "description": found.map_or("", |resource| resource.description.as_str()),
            // Ours: its names from the root, why, and which values differ.
            "path": change.path,
            "because": change.because,
            "property_changes": Value::Object(differ.collect()),
        })
    }
}

fn identity(root: &Stack, stack_name: &str, stack_id: &str, resource: &str) -> Value {
    let path = format!("/resources/{resource}");
    json!({
        "stack_name": stack_name, "stack_id": stack_id, "tenant": root.project, "path": path,
    })
}

fn stack_identity(root: &Stack, stack_name: &str, stack_id: &str) -> Value {
    json!({ "stack_name": stack_name, "stack_id": stack_id, "tenant": root.project, "path": "" })
}

/// Resources that would be made; the members of a nested stack stand for it, in a list of their own.
fn members(stack: &Stack, resources: &[PreviewedResource], above: &[&str]) -> Value {
    let entries = resources.iter().map(|resource| {
        let path = [above, &[resource.name.as_str()]].concat();
        match &resource.members {
            Some(inner) => members(stack, inner, &path),
            None => previewed(stack, resource, &path),
        }
    });
    Value::Array(entries.collect())
}

fn previewed(stack: &Stack, resource: &PreviewedResource, path: &[&str]) -> Value {
    json!({
        "resource_name": resource.name,
        "logical_resource_id": resource.name,
        "physical_resource_id": "",
        "resource_type": resource.type_name,
        "resource_action": "INIT",
        "resource_status": "COMPLETE",
        "resource_status_reason": "",
        "resource_identity": identity(stack, &stack.name, "None", &resource.name),
        "stack_identity": stack_identity(stack, &stack.name, "None"),
        "stack_name": stack.name,
        "creation_time": null,
        "updated_time": null,
        "required_by": resource.required_by,
        "metadata": resource.metadata.to_json(),
        "attributes": {},
        "description": resource.description,
        "properties": hot::map_to_json(&resource.properties),
        // Ours: its names from the root.
        "path": path,
    })
}
