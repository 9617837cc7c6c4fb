//! Works out what a stack update would change.
//!
//! Takes the recorded resources and the frame that is wanted; gives [`StackChanges`], the value that
//! the engine executes and a preview prints. Touches no cloud, no store, no clock: same input, same
//! answer. It says what an update will do, not what Heat's preview would say: ids that are there
//! are known, and only what is made anew is not.

mod compare;
mod decide;
mod show;

use hot::{Map, Value};

pub use compare::changes;
pub use decide::{Fate, Verdict, Wanted, decide, definition, differences, must_replace};

/// A resource as it was recorded when it was last made or updated.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recorded {
    /// Names from the root: `["group", "0", "server"]`.
    pub path: Vec<String>,
    /// Its type as the template had it.
    pub type_name: String,
    /// The type of its plugin; empty for a nested template.
    pub plugin: String,
    /// Its physical id: what `get_resource` gives.
    pub reference: Option<Value>,
    /// Attributes, as far as they are known.
    pub attributes: Map,
    /// Properties as given, resolved ([`hot::Frame::given_properties`]).
    pub given_properties: Map,
    /// Properties checked and converted ([`hot::Frame::properties`]).
    pub properties: Map,
    /// Its metadata.
    pub metadata: Value,
    /// What else of it counts ([`definition`]).
    pub definition: Map,
    /// Whether the last action on it failed, so it must be replaced.
    pub failed: bool,
    /// Id of the stack inside it, if there is one.
    pub nested_id: Option<String>,
    /// Of a group: names that are never used again.
    pub removed: Vec<String>,
}

/// What happens to one resource.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Change {
    /// Names from the root.
    pub path: Vec<String>,
    /// Its type as the template has it.
    pub type_name: String,
    /// The properties that differ.
    pub properties: Vec<PropertyChange>,
    /// Why it is replaced and not updated, or what beside properties differs, in words.
    pub because: Option<String>,
}

/// One property that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct PropertyChange {
    /// Its name.
    pub name: String,
    /// What it was.
    pub old: Value,
    /// What it will be; none when that is known only while the update runs.
    pub new: Option<Value>,
    /// Whether this difference forces a replacement.
    pub replaces: bool,
}

/// All that an update will do. The words are Heat's own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StackChanges {
    /// Made anew.
    pub added: Vec<Change>,
    /// Changed in place.
    pub updated: Vec<Change>,
    /// Made anew, then the old one deleted.
    pub replaced: Vec<Change>,
    /// Deleted.
    pub deleted: Vec<Change>,
    /// Left alone.
    pub unchanged: Vec<Change>,
}

impl StackChanges {
    /// Whether the update would do nothing.
    pub fn is_empty(&self) -> bool {
        let lists = [&self.added, &self.updated, &self.replaced, &self.deleted];
        lists.iter().all(|list| list.is_empty())
    }
}
