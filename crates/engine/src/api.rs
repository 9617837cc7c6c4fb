//! Questions and answers of the engine, as plain structs. HTTP shapes are the server's job.

use hot::{Environment, Files, Map, Template, Value};
use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The id of a stack, root or nested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StackId(pub Uuid);

impl std::fmt::Display for StackId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What is done to a stack or resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Action {
    /// A resource that is not begun.
    Init,
    /// Made.
    Create,
    /// Changed.
    Update,
    /// Deleted.
    Delete,
    /// Brought back to what it was before.
    Rollback,
    /// Put to sleep.
    Suspend,
    /// Woken up.
    Resume,
    /// Looked at.
    Check,
    /// Recorded.
    Snapshot,
    /// Brought back to a snapshot.
    Restore,
    /// Taken over from elsewhere.
    Adopt,
    /// An event only: a signal came.
    Signal,
}

/// How far an action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Begun.
    InProgress,
    /// Done.
    Complete,
    /// Gone wrong.
    Failed,
}

macro_rules! words {
    ($type:ident { $($variant:ident => $word:literal,)* }) => {
        impl $type {
            /// Heat's word for it.
            pub fn as_str(self) -> &'static str {
                match self { $($type::$variant => $word,)* }
            }

            /// Reads Heat's word.
            pub fn parse(word: &str) -> Option<$type> {
                match word { $($word => Some($type::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(Action {
    Init => "INIT",
    Create => "CREATE",
    Update => "UPDATE",
    Delete => "DELETE",
    Rollback => "ROLLBACK",
    Suspend => "SUSPEND",
    Resume => "RESUME",
    Check => "CHECK",
    Snapshot => "SNAPSHOT",
    Restore => "RESTORE",
    Adopt => "ADOPT",
    Signal => "SIGNAL",
});

words!(Status {
    InProgress => "IN_PROGRESS",
    Complete => "COMPLETE",
    Failed => "FAILED",
});

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Id of the project.
    pub project: String,
    /// Id of the user.
    pub user_id: String,
    /// Name of the user: shown as `stack_owner`.
    pub user_name: String,
}

/// What a stack is made from.
#[derive(Debug, Clone)]
pub struct CreateStack {
    /// Its name.
    pub name: String,
    /// Its template.
    pub template: Template,
    /// Files by name.
    pub files: Files,
    /// Its environment, files of it merged and the parameters of the request put in.
    pub environment: Environment,
    /// Minutes until an unfinished action fails; none: an hour.
    pub timeout_mins: Option<u64>,
    /// Whether a failed creation is left as it is (the default) or taken back.
    pub disable_rollback: bool,
    /// Tags.
    pub tags: Vec<String>,
    /// The export of an abandoned stack, whose resources are taken over.
    pub adopt: Option<serde_json::Value>,
}

/// What becomes of a stack. `existing` is PATCH: what is not given stays as it is.
#[derive(Debug, Clone, Default)]
pub struct UpdateStack {
    /// Whether what is not given stays.
    pub existing: bool,
    /// The template; it must be given unless `existing`.
    pub template: Option<Template>,
    /// Files by name.
    pub files: Option<Files>,
    /// The environment, parameters of the request put in.
    pub environment: Environment,
    /// Parameters that go back to their defaults (with `existing`).
    pub clear_parameters: Vec<String>,
    /// Minutes until an unfinished action fails.
    pub timeout_mins: Option<u64>,
    /// Whether a failed update is left as it is; none: as the stack has it.
    pub disable_rollback: Option<bool>,
    /// Tags; none: forgotten, or kept with `existing`.
    pub tags: Option<Vec<String>>,
    /// Whether all resources are looked at anew.
    pub converge: bool,
}

/// A stack.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    /// Its id.
    pub id: StackId,
    /// Its name.
    pub name: String,
    /// The project that owns it.
    pub project: String,
    /// Name of the user that made it.
    pub owner: String,
    /// Id of the user that made it.
    pub owner_id: String,
    /// The stack that it is nested in.
    pub parent: Option<StackId>,
    /// The outermost stack: itself for a root.
    pub root: StackId,
    /// The project of its own users.
    pub user_project: String,
    /// What is or was done to it last.
    pub action: Action,
    /// How far that is.
    pub status: Status,
    /// Why, in words.
    pub reason: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was updated last.
    pub updated: Option<Timestamp>,
    /// When it was deleted.
    pub deleted: Option<Timestamp>,
    /// Minutes until an unfinished action fails.
    pub timeout_mins: Option<u64>,
    /// Whether a failed action is left as it is.
    pub disable_rollback: bool,
    /// Tags.
    pub tags: Vec<String>,
    /// The template's description.
    pub description: String,
    /// Its parameters as Heat shows them. Empty in lists.
    pub parameters: IndexMap<String, String>,
    /// Its outputs, resolved if that was asked for. Empty in lists.
    pub outputs: Vec<StackOutput>,
}

/// An output of a stack.
#[derive(Debug, Clone, PartialEq)]
pub struct StackOutput {
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// Its value; null when it does not resolve.
    pub value: Value,
    /// Why it does not resolve.
    pub error: Option<String>,
}

/// What a stack would be. Its resources stand in the order of the template, members of a nested
/// stack in a list of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct StackPreview {
    /// The stack as it would be shown, without an id of meaning.
    pub stack: Stack,
    /// Its resources.
    pub resources: Vec<PreviewedResource>,
}

/// A resource that would be made.
#[derive(Debug, Clone, PartialEq)]
pub struct PreviewedResource {
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_name: String,
    /// Its properties as far as they are known.
    pub properties: Map,
    /// Its metadata.
    pub metadata: Value,
    /// Names of the resources that require it.
    pub required_by: Vec<String>,
    /// Its description.
    pub description: String,
    /// The resources inside, if it is a nested stack.
    pub members: Option<Vec<PreviewedResource>>,
}

/// Which stacks, in which order.
#[derive(Debug, Clone, Default)]
pub struct StackQuery {
    /// Of this project; none: of all.
    pub project: Option<String>,
    /// At most so many.
    pub limit: Option<usize>,
    /// After this one; unknown ones are ignored.
    pub marker: Option<String>,
    /// `stack_name`, `stack_status`, `creation_time`, `updated_time`; others are ignored.
    pub sort_keys: Vec<String>,
    /// Whether to sort downwards; none: newest first.
    pub descending: Option<bool>,
    /// Values by filter (`id`, `name`, `stack_name`, `status`, `stack_status`, `action`,
    /// `owner_id`, `username`): one of them, for each filter. Unknown filters are ignored.
    pub filters: IndexMap<String, Vec<String>>,
    /// Has all these tags.
    pub tags: Vec<String>,
    /// Has one of these.
    pub tags_any: Vec<String>,
    /// Has not all of these.
    pub not_tags: Vec<String>,
    /// Has none of these.
    pub not_tags_any: Vec<String>,
    /// Nested ones too.
    pub show_nested: bool,
    /// Deleted ones too.
    pub show_deleted: bool,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// How many there are without limit and marker.
    pub total: usize,
}

/// A resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Its name.
    pub name: String,
    /// Its type as the template has it.
    pub type_name: String,
    /// Its physical id, as `get_resource` and users see it. Empty: not made yet.
    pub physical_id: String,
    /// What is or was done to it last.
    pub action: Action,
    /// How far that is.
    pub status: Status,
    /// Why, in words.
    pub reason: String,
    /// When it was first seen.
    pub created: Timestamp,
    /// When something happened to it last.
    pub updated: Timestamp,
    /// Names of the resources that require it.
    pub required_by: Vec<String>,
    /// Its description.
    pub description: String,
    /// The stack that it is in.
    pub stack: StackId,
    /// Name of that stack.
    pub stack_name: String,
    /// Of a member of a nested stack: the resource that stands for that stack.
    pub parent_resource: Option<String>,
    /// The stack inside.
    pub nested: Option<StackId>,
    /// Its attributes, where they were asked for.
    pub attributes: Option<Map>,
}

/// Which resources.
#[derive(Debug, Clone, Default)]
pub struct ResourceQuery {
    /// How many levels of nested stacks to go down.
    pub nested_depth: u32,
    /// Values by filter (`name`, `type`, `status`, `action`, `physical_resource_id`, `id`, ...).
    pub filters: IndexMap<String, Vec<String>>,
    /// Whether attributes are wanted.
    pub with_detail: bool,
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its number: later ones are higher.
    pub seq: i64,
    /// Its id.
    pub id: Uuid,
    /// The stack.
    pub stack: StackId,
    /// Name of the stack.
    pub stack_name: String,
    /// The outermost stack.
    pub root: StackId,
    /// When.
    pub time: Timestamp,
    /// The resource; the stack's name for events of the stack.
    pub resource: String,
    /// Physical id of the resource.
    pub physical_id: Option<String>,
    /// What was done.
    pub action: Action,
    /// How far it is.
    pub status: Status,
    /// Why, in words.
    pub reason: String,
    /// The type of the resource.
    pub type_name: String,
    /// Properties of the resource. Empty in lists.
    pub properties: Map,
}

/// Which events, in which order.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Of this resource only; an unknown one is an error.
    pub resource: Option<String>,
    /// How many levels of nested stacks to go down.
    pub nested_depth: u32,
    /// At most so many.
    pub limit: Option<usize>,
    /// After the event of this id.
    pub marker: Option<String>,
    /// Whether to begin with the oldest.
    pub ascending: bool,
    /// Values by filter (`resource_name`, `resource_status`, `resource_action`, `resource_type`).
    pub filters: IndexMap<String, Vec<String>>,
}

/// An input or output of a configuration, as it was given.
pub type Field = serde_json::Map<String, serde_json::Value>;

/// What a configuration is made from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewConfig {
    /// Its name.
    pub name: String,
    /// Which hook applies it.
    pub group: String,
    /// The configuration: text, or a document for structured ones.
    pub config: serde_json::Value,
    /// Inputs: `name`, `type`, `default`, `description`, `value`.
    pub inputs: Vec<Field>,
    /// Outputs: `name`, `type`, `error_output`.
    pub outputs: Vec<Field>,
    /// Words for the hook.
    pub options: serde_json::Map<String, serde_json::Value>,
}

/// A configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Its id.
    pub id: Uuid,
    /// The project that owns it.
    pub project: String,
    /// When it was made.
    pub created: Timestamp,
    /// What it is made of.
    pub config: NewConfig,
}

/// What a deployment is made from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewDeployment {
    /// Its id; none: one is coined.
    pub id: Option<Uuid>,
    /// The server.
    pub server_id: String,
    /// The configuration.
    pub config_id: Option<Uuid>,
    /// Values of inputs.
    pub input_values: serde_json::Map<String, serde_json::Value>,
    /// What is being done: `CREATE`, `UPDATE`, ...
    pub action: String,
    /// `IN_PROGRESS`, `COMPLETE`, `FAILED`.
    pub status: String,
    /// Why, in words.
    pub status_reason: Option<String>,
    /// The project whose users may see it; none: the caller's.
    pub stack_user_project_id: Option<String>,
}

/// What becomes of a deployment; none: stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeploymentChange {
    /// The configuration.
    pub config_id: Option<Uuid>,
    /// Values of inputs.
    pub input_values: Option<serde_json::Map<String, serde_json::Value>>,
    /// Values of outputs.
    pub output_values: Option<serde_json::Map<String, serde_json::Value>>,
    /// What is being done.
    pub action: Option<String>,
    /// How far it is.
    pub status: Option<String>,
    /// Why, in words.
    pub status_reason: Option<String>,
}

/// A deployment: a configuration on a server.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// Its id.
    pub id: Uuid,
    /// The project that owns it.
    pub project: String,
    /// The project whose users may see it.
    pub stack_user_project: Option<String>,
    /// The server.
    pub server_id: String,
    /// The (derived) configuration.
    pub config_id: Option<Uuid>,
    /// Values of inputs.
    pub input_values: serde_json::Map<String, serde_json::Value>,
    /// Values of outputs.
    pub output_values: serde_json::Map<String, serde_json::Value>,
    /// What is being done.
    pub action: String,
    /// How far it is.
    pub status: String,
    /// Why, in words.
    pub status_reason: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was changed last.
    pub updated: Option<Timestamp>,
}

/// What a node fetches: the metadata of its server, deployments included.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerMetadata {
    /// The document: `{"os-collect-config": …, "deployments": […], …}`.
    pub document: serde_json::Value,
    /// The same as text.
    pub text: String,
    /// Changes when the document does. Without quotes.
    pub etag: String,
}

/// What a node says after it applied its configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The generation (the metadata's etag) that it speaks of.
    pub generation: String,
    /// When the run began, as the node's clock has it.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// The phase in which it failed.
    pub phase: String,
    /// The script that failed.
    pub script: Option<String>,
    /// Its exit code; 0: all went well.
    pub exit_code: i64,
    /// The end of its output.
    pub tail: String,
    /// All scripts that ran, in order.
    pub scripts: Vec<ScriptRun>,
    /// Files that were not as they had been written.
    pub drift: Vec<String>,
}

/// A script of a refresh.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScriptRun {
    /// The phase that it belongs to.
    pub phase: String,
    /// Its path on the node.
    pub script: String,
    /// How long it took; none: it failed.
    pub seconds: Option<f64>,
}

/// The last report of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeReport {
    /// The server.
    pub server_id: String,
    /// Its name.
    pub server_name: String,
    /// The project of its stack.
    pub project: String,
    /// The stack that it is in.
    pub stack: StackId,
    /// The name of that stack.
    pub stack_name: String,
    /// Its resource there.
    pub resource: String,
    /// When the report came.
    pub time: Timestamp,
    /// What it says.
    pub report: Report,
}

/// A snapshot of a stack.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: Option<String>,
    /// How far it is.
    pub status: Status,
    /// Why, in words.
    pub reason: String,
    /// When it was made.
    pub created: Timestamp,
    /// The stack's export.
    pub data: serde_json::Value,
}

/// A resource, and what a signal or stack user may do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserScope {
    /// The stack that the user belongs to.
    pub stack: StackId,
    /// The resource that the user was made for.
    pub resource: String,
    /// Physical id of that resource.
    pub physical_id: String,
}
