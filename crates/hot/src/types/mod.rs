//! The table of resource types: one row per type.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use indexmap::IndexMap;

use crate::schema::{AttributeSchema, PropertySchema};

/// A resource type: what may be said of it and asked from it.
#[derive(Debug)]
pub struct TypeSchema {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub description: &'static str,
    /// Its properties.
    pub properties: IndexMap<String, PropertySchema>,
    /// Its attributes, `show` included where it has one.
    pub attributes: IndexMap<String, AttributeSchema>,
    /// The keys of its update policy.
    pub update_policy: IndexMap<String, PropertySchema>,
    /// Whether a snapshot can be taken before it is deleted.
    pub snapshots: bool,
}

static TYPES: LazyLock<BTreeMap<&'static str, TypeSchema>> = LazyLock::new(BTreeMap::new);

/// The row of a type.
pub fn get(name: &str) -> Option<&'static TypeSchema> {
    TYPES.get(name)
}

/// All types by name.
pub fn all() -> impl Iterator<Item = &'static TypeSchema> {
    TYPES.values()
}

impl TypeSchema {
    /// The schema as the API shows it.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}
