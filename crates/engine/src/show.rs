//! What is shown of stacks, resources and outputs.

use std::cmp::Ordering;
use std::sync::Arc;

use hot::{Frame, Map};
use indexmap::IndexMap;
use store::params;

use crate::api::{
    Action, Page, Resource, ResourceQuery, Stack, StackId, StackOutput, StackQuery, Status,
};
use crate::core::Core;
use crate::error::EngineError;
use crate::load;
use crate::model::{Node, Root, Row};

const NO_DESCRIPTION: &str = "No description";

impl Core {
    pub async fn find(&self, project: Option<&str>, what: &str) -> Result<Stack, EngineError> {
        let missing = || EngineError::StackNotFound {
            name: what.to_owned(),
        };
        if let Ok(id) = uuid::Uuid::parse_str(what) {
            return self.show(StackId(id), false).await.map_err(|_| missing());
        }
        for live in self.all() {
            let root = live.lock();
            if root.node.name == what && project.is_none_or(|project| project == root.project) {
                return Ok(stack(&root, &root.node, None));
            }
            if project.is_none_or(|project| project == root.project) {
                let mut nested = None;
                root.node.each_node(&mut |node| {
                    if node.name == what {
                        nested = Some(stack(&root, node, parent_of(&root.node, node.id)));
                    }
                });
                if let Some(nested) = nested {
                    return Ok(nested);
                }
            }
        }
        Err(missing())
    }

    pub async fn show(&self, id: StackId, resolve: bool) -> Result<Stack, EngineError> {
        // One that has just ended is not among the living, and perhaps not written yet either.
        let ending = || self.roots().get(&id).cloned();
        if let Some(live) = self.live_with(id).ok().or_else(ending) {
            let root = live.lock();
            if let Some(node) = root.node.node(id) {
                let mut shown = stack(&root, node, parent_of(&root.node, id));
                if let Some(frame) = &node.frame {
                    shown.parameters = frame.parameters();
                    shown.outputs = outputs(node, frame, resolve);
                }
                return Ok(shown);
            }
        }
        let found = self.deleted_stacks(Some(id)).await?.pop();
        found.ok_or_else(|| EngineError::StackNotFound {
            name: id.to_string(),
        })
    }

    /// Deleted root stacks, all or one.
    async fn deleted_stacks(&self, id: Option<StackId>) -> Result<Vec<Stack>, EngineError> {
        let id = id.map(|id| id.to_string());
        let read = self.setup.store.read(move |tx| {
            let rows = tx.query(
                "SELECT id, project, name, action, status, reason, created, updated, deleted, body
                 FROM engine_stack WHERE deleted IS NOT NULL AND parent IS NULL
                 AND (?1 IS NULL OR id = ?1)",
                params![id],
            )?;
            rows.into_iter()
                .map(deleted_stack)
                .collect::<Result<Vec<Stack>, EngineError>>()
        });
        read.await
    }

    pub async fn list(&self, query: StackQuery) -> Result<Page<Stack>, EngineError> {
        let mut all = Vec::new();
        for live in self.all() {
            let root = live.lock();
            if query.show_nested {
                root.node.each_node(&mut |node| {
                    all.push(stack(&root, node, parent_of(&root.node, node.id)));
                });
            } else {
                all.push(stack(&root, &root.node, None));
            }
        }
        if query.show_deleted {
            all.extend(self.deleted_stacks(None).await?);
        }
        all.retain(|stack| fits(stack, &query));
        sort(&mut all, &query);
        let total = all.len();
        if let Some(marker) = &query.marker
            && let Some(at) = all.iter().position(|one| one.id.to_string() == *marker)
        {
            all.drain(..=at);
        }
        if let Some(limit) = query.limit {
            all.truncate(limit);
        }
        Ok(Page {
            entries: all,
            total,
        })
    }

    /// Looks into a living stack.
    pub fn look<T>(
        &self,
        id: StackId,
        look: impl FnOnce(&Root, &Node) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let live = self.live_with(id)?;
        let root = live.lock();
        let node = root
            .node
            .node(id)
            .ok_or_else(|| EngineError::StackNotFound {
                name: id.to_string(),
            })?;
        look(&root, node)
    }

    pub fn list_outputs(
        &self,
        id: StackId,
        resolve: bool,
    ) -> Result<Vec<StackOutput>, EngineError> {
        self.look(id, |_, node| {
            let frame = node.frame.as_ref();
            Ok(frame
                .map(|frame| outputs(node, frame, resolve))
                .unwrap_or_default())
        })
    }

    pub fn list_resources(
        &self,
        id: StackId,
        query: &ResourceQuery,
    ) -> Result<Vec<Resource>, EngineError> {
        self.look(id, |_, node| {
            let mut all = Vec::new();
            resources(node, None, query.nested_depth, query.with_detail, &mut all);
            all.retain(|one| resource_fits(one, query));
            Ok(all)
        })
    }

    pub fn show_resource(
        &self,
        id: StackId,
        name: &str,
        with: &[String],
    ) -> Result<Resource, EngineError> {
        self.look(id, |_, node| {
            let row = match row(node, name) {
                Ok(row) => row,
                Err(error) => return not_begun(node, name, None).ok_or(error),
            };
            let parent = None;
            let mut shown = resource(node, row, parent);
            shown.attributes = Some(attributes(node, row, with));
            Ok(shown)
        })
    }
}

/// A resource by name or physical id; one that is wanted but not begun is missing here.
pub(crate) fn row<'a>(node: &'a Node, name: &str) -> Result<&'a Row, EngineError> {
    let by_name = node.rows.get(name);
    let by_id = || {
        node.rows
            .values()
            .find(|row| row.physical_id.as_deref() == Some(name))
    };
    by_name
        .or_else(by_id)
        .ok_or_else(|| EngineError::ResourceNotFound {
            resource: name.to_owned(),
            stack: node.name.clone(),
        })
}

fn deleted_stack(mut record: store::Row) -> Result<Stack, EngineError> {
    let body: Option<String> = record.take(9)?;
    let body = load::json(body.as_deref().unwrap_or("{}"), "a stack")?;
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    let id = load::stack_id(&mut record, 0)?;
    let input = &body["input"];
    let tags = input["tags"].as_array().into_iter().flatten();
    let description = input["template"]["description"].as_str();
    Ok(Stack {
        id,
        name: record.take(2)?,
        project: record.take(1)?,
        owner: text("owner"),
        owner_id: text("owner_id"),
        parent: None,
        root: id,
        user_project: text("user_project"),
        action: load::word(&mut record, 3, Action::parse)?,
        status: load::word(&mut record, 4, Status::parse)?,
        reason: record.take(5)?,
        created: load::time(record.take(6)?),
        updated: record.take::<Option<i64>>(7)?.map(load::time),
        deleted: record.take::<Option<i64>>(8)?.map(load::time),
        timeout_mins: input["timeout_mins"].as_u64(),
        disable_rollback: input["disable_rollback"].as_bool().unwrap_or(true),
        tags: tags
            .filter_map(|tag| tag.as_str().map(str::to_owned))
            .collect(),
        description: description.unwrap_or(NO_DESCRIPTION).to_owned(),
        parameters: IndexMap::new(),
        outputs: Vec::new(),
    })
}

pub(crate) fn parent_of(root: &Node, id: StackId) -> Option<StackId> {
    let mut parent = None;
    root.each_row(&mut |node, row| {
        if row.child.as_ref().is_some_and(|child| child.id == id) {
            parent = Some(node.id);
        }
    });
    parent
}

pub(crate) fn stack(root: &Root, node: &Node, parent: Option<StackId>) -> Stack {
    let frame = node.frame.as_ref();
    let description = frame.and_then(|frame| frame.input().template.description());
    Stack {
        id: node.id,
        name: node.name.clone(),
        project: root.project.clone(),
        owner: root.owner.clone(),
        owner_id: root.owner_id.clone(),
        parent,
        root: root.node.id,
        user_project: root.user_project.clone().unwrap_or_default(),
        action: node.action,
        status: node.status,
        reason: node.reason.clone(),
        created: node.created,
        updated: node.updated,
        deleted: root.deleted,
        timeout_mins: root.input.timeout_mins,
        disable_rollback: root.input.disable_rollback,
        tags: root.input.tags.clone(),
        description: description.unwrap_or(NO_DESCRIPTION).to_owned(),
        parameters: IndexMap::new(),
        outputs: Vec::new(),
    }
}

fn outputs(node: &Node, frame: &Frame, resolve: bool) -> Vec<StackOutput> {
    let output = |output: hot::Output| {
        let value = if resolve && output.enabled {
            frame.output(&output.name, node)
        } else {
            Ok(hot::Value::Null)
        };
        let description = output.description;
        let (value, error) = match value {
            Ok(value) => (value, None),
            Err(error) => (hot::Value::Null, Some(error.full())),
        };
        StackOutput {
            name: output.name,
            description: description.unwrap_or_else(|| "No description given".to_owned()),
            value,
            error,
        }
    };
    frame.outputs().into_iter().map(output).collect()
}

fn any<'a>(values: &[String], found: impl IntoIterator<Item = &'a str>) -> bool {
    found
        .into_iter()
        .any(|found| values.iter().any(|value| value == found))
}

fn fits(stack: &Stack, query: &StackQuery) -> bool {
    if query
        .project
        .as_ref()
        .is_some_and(|project| *project != stack.project)
    {
        return false;
    }
    let state = format!("{}_{}", stack.action, stack.status);
    let id = stack.id.to_string();
    let filters = query.filters.iter().all(|(key, values)| {
        let found = match key.as_str() {
            "id" => id.as_str(),
            "name" | "stack_name" => &stack.name,
            "status" => stack.status.as_str(),
            "stack_status" => &state,
            "action" => stack.action.as_str(),
            "owner_id" => &stack.owner_id,
            "username" => &stack.owner,
            _ => return true,
        };
        any(values, [found])
    });
    let has = |tag: &String| stack.tags.contains(tag);
    let tags = query.tags.iter().all(has)
        && (query.tags_any.is_empty() || query.tags_any.iter().any(has))
        && (query.not_tags.is_empty() || !query.not_tags.iter().all(has))
        && !query.not_tags_any.iter().any(has);
    filters && tags
}

fn sort(all: &mut [Stack], query: &StackQuery) {
    let known = [
        "stack_name",
        "stack_status",
        "creation_time",
        "updated_time",
    ];
    let keys: Vec<&str> = query
        .sort_keys
        .iter()
        .map(String::as_str)
        .filter(|key| known.contains(key))
        .collect();
    let by = |key: &str, a: &Stack, b: &Stack| match key {
        "stack_name" => a.name.cmp(&b.name),
        "stack_status" => {
            let state = |one: &Stack| (one.action.as_str(), one.status.as_str());
            state(a).cmp(&state(b))
        }
        "updated_time" => a.updated.cmp(&b.updated),
        _ => a.created.cmp(&b.created),
    };
    all.sort_by(|a, b| {
        let mut order = Ordering::Equal;
        for key in &keys {
            order = order.then_with(|| by(key, a, b));
        }
        if keys.is_empty() {
            order = a.created.cmp(&b.created);
        }
        let descending = query.descending.unwrap_or(true);
        let order = if descending { order.reverse() } else { order };
        order.then_with(|| a.id.cmp(&b.id))
    });
}

fn resources(node: &Node, parent: Option<&str>, depth: u32, detail: bool, all: &mut Vec<Resource>) {
    for row in node.rows.values() {
        let mut shown = resource(node, row, parent);
        if detail {
            shown.attributes = Some(attributes(node, row, &[]));
        }
        all.push(shown);
        if depth > 0
            && let Some(child) = &row.child
        {
            resources(child, Some(&row.name), depth - 1, detail, all);
        }
    }
    // Wanted, but not begun.
    for name in node
        .order
        .iter()
        .filter(|name| !node.rows.contains_key(*name))
    {
        if let Some(shown) = not_begun(node, name, parent) {
            all.push(shown);
        }
    }
}

fn required_by(node: &Node, name: &str) -> Vec<String> {
    let requirers = node
        .requires
        .iter()
        .filter(|(_, all)| all.iter().any(|one| one == name));
    let mut requirers: Vec<String> = requirers.map(|(requirer, _)| requirer.clone()).collect();
    requirers.sort();
    requirers
}

fn not_begun(node: &Node, name: &str, parent: Option<&str>) -> Option<Resource> {
    let wanted = node.frame.as_ref()?.resource(name)?;
    Some(Resource {
        name: name.to_owned(),
        type_name: wanted.type_name.clone(),
        physical_id: String::new(),
        action: Action::Init,
        status: Status::Complete,
        reason: String::new(),
        created: node.created,
        updated: node.created,
        required_by: required_by(node, name),
        description: wanted.description.clone(),
        stack: node.id,
        stack_name: node.name.clone(),
        parent_resource: parent.map(str::to_owned),
        nested: None,
        attributes: None,
    })
}

fn resource(node: &Node, row: &Row, parent: Option<&str>) -> Resource {
    Resource {
        name: row.name.clone(),
        type_name: row.type_name.clone(),
        physical_id: row.physical_id.clone().unwrap_or_default(),
        action: row.action,
        status: row.status,
        reason: row.reason.clone(),
        created: row.created,
        updated: row.updated,
        required_by: required_by(node, &row.name),
        description: row.description.clone(),
        stack: node.id,
        stack_name: node.name.clone(),
        parent_resource: parent.map(str::to_owned),
        nested: row.child.as_ref().map(|child| child.id),
        attributes: None,
    }
}

/// The attributes that a resource has without being asked for a certain one.
fn attribute_names(frame: &Frame, row: &Row) -> Vec<String> {
    let schema = frame
        .resource(&row.name)
        .and_then(|resource| resource.schema());
    if let Some(schema) = schema {
        return schema.attributes.keys().cloned().collect();
    }
    let inner = row.child.as_ref().and_then(|child| child.frame.as_ref());
    let outputs = inner.map(Frame::outputs).unwrap_or_default();
    outputs.into_iter().map(|output| output.name).collect()
}

fn attributes(node: &Node, row: &Row, with: &[String]) -> Map {
    let Some(frame) = &node.frame else {
        return Map::new();
    };
    let names = attribute_names(frame, row);
    let names = names
        .iter()
        .chain(with.iter().filter(|name| !names.contains(name)));
    let mut attributes = Map::new();
    for name in names {
        let value = frame.attribute(&row.name, name, &[], node);
        attributes.insert(name.clone(), value.unwrap_or_default());
    }
    attributes
}

fn resource_fits(one: &Resource, query: &ResourceQuery) -> bool {
    query.filters.iter().all(|(key, values)| {
        let state = format!("{}_{}", one.action, one.status);
        let found = match key.as_str() {
            "name" | "logical_resource_id" | "resource_name" => one.name.as_str(),
            "type" | "resource_type" => &one.type_name,
            "status" => one.status.as_str(),
            "action" => one.action.as_str(),
            "resource_status" => &state,
            "physical_resource_id" | "id" => &one.physical_id,
            _ => return true,
        };
        any(values, [found])
    })
}

/// Opens the frames of a root and of all stacks in it, after they were read back.
pub(crate) fn open_frames(core: &Arc<Core>, root: &mut Root) -> Result<(), EngineError> {
    let frame = core.open_frame(root, &root.input)?;
    root.node.want((!root.empty).then_some(frame))?;
    open_below(&mut root.node)
}

fn open_below(node: &mut Node) -> Result<(), EngineError> {
    let Some(frame) = node.frame.clone() else {
        return Ok(());
    };
    for row in node.rows.values_mut() {
        let Some(id) = row.child.as_ref().map(|child| child.id) else {
            continue;
        };
        // A resource that is not wanted any more has no frame to come from; it is only deleted.
        let member = if frame.resource(&row.name).is_some() {
            crate::plugins::member(&frame, row, id)?
        } else {
            None
        };
        if let Some(child) = &mut row.child {
            child.is_group = !row.plugin.is_empty();
            child.want(member)?;
            open_below(child)?;
        }
    }
    Ok(())
}
