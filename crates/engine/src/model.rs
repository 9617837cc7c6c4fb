//! A stack in memory: a tree of nodes (root and nested stacks), each with rows (resources).
//!
//! The tree is what the database holds, plus what can be worked out again: frames, orders, and what
//! a row waits for. Whoever changes it marks what changed; [`crate::record`] writes that.

use std::collections::HashMap;

use hot::{Environment, Files, Frame, Map, StackInput, Template, Value};
use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::api::{Action, StackId, Status};
use crate::failure::Failure;

/// The plugin's own notes on a resource.
pub(crate) type Notes = serde_json::Map<String, serde_json::Value>;

/// What a stack is made from.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub template: Template,
    pub files: Files,
    pub environment: Environment,
    pub tags: Vec<String>,
    pub timeout_mins: Option<u64>,
    pub disable_rollback: bool,
}

/// What a resource waits for before its step is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Wait {
    /// Nothing: its step is to be started.
    #[default]
    Ready,
    /// A call that is under way.
    Call,
    /// A change in the cloud.
    Cloud,
    /// A signal.
    Signal,
    /// A signal until a time, or the time alone.
    Until(Timestamp),
}

/// A resource: one incarnation of it. A replaced one is another row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub id: Uuid,
    pub name: String,
    /// As the template has it.
    pub type_name: String,
    /// The type whose plugin stands behind it; empty for nested templates.
    pub plugin: String,
    pub action: Action,
    pub status: Status,
    pub reason: String,
    pub physical_id: Option<String>,
    pub physical_name: String,
    pub created: Timestamp,
    pub updated: Timestamp,
    /// The pass that it was last begun or found unchanged in.
    pub pass: u64,
    /// How many actions were begun on it: the generation of orders to the cloud.
    pub generation: u64,
    pub given: Map,
    pub properties: Map,
    pub metadata: Value,
    pub definition: Map,
    pub requires: Vec<String>,
    pub notes: Notes,
    pub retain: bool,
    pub external: bool,
    /// Marked as broken, or its last action failed: the next update replaces it.
    pub broken: bool,
    pub description: String,
    pub child: Option<Box<Node>>,
    pub wait: Wait,
    pub failure: Option<Failure>,
    pub dirty: bool,
}

/// What of a row is kept as one document.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RowInput {
    pub plugin: String,
    pub physical_name: String,
    pub given: serde_json::Value,
    pub properties: serde_json::Value,
    pub metadata: serde_json::Value,
    pub definition: serde_json::Value,
    pub requires: Vec<String>,
    pub retain: bool,
    pub external: bool,
    pub broken: bool,
    pub description: String,
}

/// A stack, root or nested.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub id: StackId,
    pub name: String,
    /// Names of its resources stand in brackets in failures, as members of groups do.
    pub is_group: bool,
    pub action: Action,
    pub status: Status,
    pub reason: String,
    pub created: Timestamp,
    pub updated: Option<Timestamp>,
    pub frame: Option<Frame>,
    /// Wanted resources such that each comes after all that it requires.
    pub order: std::sync::Arc<[String]>,
    pub requires: std::sync::Arc<HashMap<String, Vec<String>>>,
    pub rows: IndexMap<String, Row>,
    /// Replaced incarnations that are not deleted yet.
    pub old: Vec<Row>,
    pub dirty: bool,
}

/// A root stack with all that is in it.
#[derive(Debug)]
pub(crate) struct Root {
    pub project: String,
    pub owner: String,
    pub owner_id: String,
    pub user_project: Option<String>,
    pub input: Input,
    /// What it was made from before the update that runs, for a rollback.
    pub previous: Option<Input>,
    /// Number of the pass: grows with each action on the stack.
    pub pass: u64,
    /// When the pass that runs has failed.
    pub deadline: Timestamp,
    /// Whether steps are still to be taken, also when the stack has failed already.
    pub active: bool,
    /// What a document says of the resources that are taken over or restored, while that runs.
    pub seeds: Option<serde_json::Value>,
    /// A creation that was rolled back: nothing is wanted, whatever the input says.
    pub empty: bool,
    pub node: Node,
    pub ledger: crate::record::Ledger,
    /// When its deletion ended.
    pub deleted: Option<Timestamp>,
}

impl Row {
    /// A row of which nothing is known but its name.
    pub fn blank(name: &str) -> Self {
        Self {
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
            given: Map::new(),
            properties: Map::new(),
            metadata: Value::Null,
            definition: Map::new(),
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

    /// Whether the pass is through with it.
    pub fn is_done(&self, pass: u64) -> bool {
        self.pass == pass && self.status == Status::Complete
    }

    /// How the node of a server is named in its metadata URL: as when it was first made, though
    /// another stack took it over.
    pub fn node_key(&self) -> String {
        let given = self.note("node").map(str::to_owned);
        given.unwrap_or_else(|| self.id.to_string())
    }

    /// A note of the plugin that is text.
    pub fn note(&self, key: &str) -> Option<&str> {
        self.notes.get(key).and_then(serde_json::Value::as_str)
    }

    pub fn input(&self) -> RowInput {
        RowInput {
            plugin: self.plugin.clone(),
            physical_name: self.physical_name.clone(),
            given: hot::map_to_json(&self.given),
            properties: hot::map_to_json(&self.properties),
            metadata: self.metadata.to_json(),
            definition: hot::map_to_json(&self.definition),
            requires: self.requires.clone(),
            retain: self.retain,
            external: self.external,
            broken: self.broken,
            description: self.description.clone(),
        }
    }
}

impl Node {
    pub fn new(id: StackId, name: String, action: Action, now: Timestamp) -> Node {
        Node {
            id,
            name,
            is_group: false,
            action,
            status: Status::InProgress,
            reason: format!("Stack {action} started"),
            created: now,
            updated: None,
            frame: None,
            order: std::sync::Arc::from([]),
            requires: std::sync::Arc::default(),
            rows: IndexMap::new(),
            old: Vec::new(),
            dirty: true,
        }
    }

    /// Takes the frame that is wanted from now on; none: nothing is wanted.
    pub fn want(&mut self, frame: Option<Frame>) -> Result<(), hot::TemplateError> {
        let mut requires: HashMap<String, Vec<String>> = HashMap::new();
        let mut order = Vec::new();
        if let Some(frame) = &frame {
            order = frame.creation_order()?;
            for (requirer, required) in frame.dependencies()? {
                requires.entry(requirer).or_default().push(required);
            }
        }
        self.order = order.into();
        self.requires = requires.into();
        self.frame = frame;
        Ok(())
    }

    /// How a resource of it stands in the path of a failure.
    pub fn piece(&self, name: &str) -> String {
        if self.is_group {
            format!("resources[{name}]")
        } else {
            format!("resources.{name}")
        }
    }

    /// All rows, those that are replaced too.
    pub fn all_rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values().chain(&self.old)
    }

    /// All rows, those that are replaced too.
    pub fn all_rows_mut(&mut self) -> impl Iterator<Item = &mut Row> {
        self.rows.values_mut().chain(&mut self.old)
    }

    /// A row anywhere below.
    pub fn row_mut(&mut self, id: Uuid) -> Option<&mut Row> {
        self.all_rows_mut().find_map(|row| {
            if row.id == id {
                Some(row)
            } else {
                row.child.as_mut().and_then(|child| child.row_mut(id))
            }
        })
    }

    /// A row anywhere below.
    pub fn row(&self, id: Uuid) -> Option<(&Node, &Row)> {
        self.all_rows().find_map(|row| {
            if row.id == id {
                Some((self, row))
            } else {
                row.child.as_ref().and_then(|child| child.row(id))
            }
        })
    }

    /// A stack anywhere below, itself included.
    pub fn node(&self, id: StackId) -> Option<&Node> {
        if self.id == id {
            return Some(self);
        }
        let mut children = self.all_rows().filter_map(|row| row.child.as_ref());
        children.find_map(|child| child.node(id))
    }

    /// A stack anywhere below, itself included.
    pub fn node_mut(&mut self, id: StackId) -> Option<&mut Node> {
        if self.id == id {
            return Some(self);
        }
        let children = self.all_rows_mut().filter_map(|row| row.child.as_mut());
        for child in children {
            if let Some(found) = child.node_mut(id) {
                return Some(found);
            }
        }
        None
    }

    /// Hands over every row below.
    pub fn each_row_mut(&mut self, each: &mut dyn FnMut(&mut Row)) {
        for row in self.all_rows_mut() {
            each(row);
            if let Some(child) = &mut row.child {
                child.each_row_mut(each);
            }
        }
    }

    /// Hands over every row below with its stack.
    pub fn each_row<'a>(&'a self, each: &mut dyn FnMut(&'a Node, &'a Row)) {
        for row in self.all_rows() {
            each(self, row);
            if let Some(child) = &row.child {
                child.each_row(each);
            }
        }
    }

    /// Hands over this and every stack below.
    pub fn each_node<'a>(&'a self, each: &mut dyn FnMut(&'a Node)) {
        each(self);
        for row in self.all_rows() {
            if let Some(child) = &row.child {
                child.each_node(each);
            }
        }
    }
}

impl Root {
    /// What a frame of an input is opened from.
    pub fn stack_input(&self, input: &Input, region: &str) -> StackInput {
        StackInput {
            name: self.node.name.clone(),
            id: self.node.id.to_string(),
            project: self.project.clone(),
            region: region.to_owned(),
            template: input.template.clone(),
            files: input.files.clone(),
            environment: input.environment.clone(),
        }
    }
}

impl Input {
    /// The document that the database keeps.
    pub fn to_json(&self) -> serde_json::Value {
        let files: serde_json::Map<String, serde_json::Value> = self
            .files
            .iter()
            .map(|(name, text)| (name.to_owned(), text.into()))
            .collect();
        serde_json::json!({
            "template": self.template.to_json(),
            "text": self.template.text(),
            "files": files,
            "environment": self.environment.to_json(),
            "tags": self.tags,
            "timeout_mins": self.timeout_mins,
            "disable_rollback": self.disable_rollback,
        })
    }

    /// Reads the document that the database keeps.
    pub fn from_json(json: &serde_json::Value) -> Result<Input, hot::TemplateError> {
        let template = match json["text"].as_str() {
            Some(text) => Template::from_text(text)?,
            None => Template::from_json(&json["template"]),
        };
        let files: IndexMap<String, String> = json["files"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, text)| (name.clone(), text.as_str().unwrap_or_default().to_owned()))
            .collect();
        let tags = json["tags"].as_array().into_iter().flatten();
        Ok(Input {
            template,
            files: Files::new(files),
            environment: Environment::from_value(&Value::from_json(&json["environment"]))?,
            tags: tags
                .filter_map(|tag| tag.as_str().map(str::to_owned))
                .collect(),
            timeout_mins: json["timeout_mins"].as_u64(),
            disable_rollback: json["disable_rollback"].as_bool().unwrap_or(true),
        })
    }
}

/// A name that no other thing has: `<stack>-<resource>-<12 of [a-z0-9]>`.
pub(crate) fn physical_name(stack: &str, resource: &str) -> String {
    let tail = random_text(12, b"abcdefghijklmnopqrstuvwxyz0123456789");
    // Clouds take at most 255 characters; the tail keeps what is cut apart.
    let head: String = format!("{stack}-{resource}").chars().take(240).collect();
    format!("{head}-{tail}")
}

/// Random text of an alphabet.
pub(crate) fn random_text(length: usize, alphabet: &[u8]) -> String {
    use rand::Rng;
    let mut random = rand::rng();
    (0..length)
        .map(|_| char::from(alphabet[random.random_range(0..alphabet.len())]))
        .collect()
}

/// Letters and digits.
pub(crate) const ALPHANUMERIC: &[u8] =
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A row of a plugin that is about to be made.
    pub(crate) fn row(name: &str, plugin: &str) -> Row {
        Row {
            id: Uuid::new_v4(),
            type_name: plugin.to_owned(),
            plugin: plugin.to_owned(),
            action: Action::Create,
            status: Status::InProgress,
            physical_name: physical_name("s", name),
            pass: 1,
            generation: 1,
            metadata: Value::Map(Map::new()),
            dirty: true,
            ..Row::blank(name)
        }
    }
}
