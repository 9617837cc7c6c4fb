//! The table of resource types: one row per type.
//!
//! A row says what may be said of a resource and asked from it, and what follows from a change. The
//! engine's plugins, validation and the preview all read the same row. What the cloud does with it
//! is not here.

mod api;
mod cinder;
mod configs;
mod groups;
mod heat;
mod neutron;
mod nova;
mod router;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use indexmap::IndexMap;

use crate::schema::{AttributeSchema, PropertyKind, PropertySchema};
use crate::value::{Map, Value};

/// What stands behind a type beside its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// One thing.
    Single,
    /// A group of like members.
    Group,
    /// A list of members, one type each.
    Chain,
    /// Deployments of one configuration on many servers.
    DeploymentGroup,
    /// Takes any property and gives null for any attribute.
    Nothing,
}

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
    /// What stands behind it.
    pub nature: Nature,
    /// Old names of properties with the new ones.
    pub old_names: &'static [(&'static str, &'static str)],
    /// Whether it has attributes that are not in its row: outputs of a configuration.
    pub open: bool,
}

impl TypeSchema {
    fn new(name: &'static str, description: &'static str) -> TypeSchema {
        TypeSchema {
            name,
            description,
            properties: IndexMap::new(),
            attributes: IndexMap::new(),
            update_policy: IndexMap::new(),
            snapshots: false,
            nature: Nature::Single,
            old_names: &[],
            open: false,
        }
    }

    fn properties<const N: usize>(mut self, rows: [(&str, PropertySchema); N]) -> Self {
        self.properties
            .extend(rows.into_iter().map(|(name, row)| (name.to_owned(), row)));
        self
    }

    fn attributes<const N: usize>(mut self, rows: [(&str, PropertyKind, &str); N]) -> Self {
        self.attributes
            .extend(rows.into_iter().map(|(name, kind, description)| {
                let description = description.to_owned();
                (
                    name.to_owned(),
                    AttributeSchema {
                        description,
                        kind: Some(kind),
                    },
                )
            }));
        self
    }

    /// Things of the cloud show all that it knows of them.
    fn shown(self) -> Self {
        self.attributes([(
            "show",
            PropertyKind::Map,
            "Detailed information about resource.",
        )])
    }

    fn update_policy<const N: usize>(mut self, rows: [(&str, PropertySchema); N]) -> Self {
        self.update_policy
            .extend(rows.into_iter().map(|(name, row)| (name.to_owned(), row)));
        self
    }

    fn nature(mut self, nature: Nature) -> Self {
        self.nature = nature;
        self
    }

    fn old_names(mut self, names: &'static [(&'static str, &'static str)]) -> Self {
        self.old_names = names;
        self
    }

    /// The same, with attributes that only what it refers to knows.
    fn open(mut self) -> Self {
        self.open = true;
        self
    }

    /// Whether any attribute may be asked for: groups pass them on to their members, deployments
    /// have the outputs of their configuration.
    pub fn takes_any_attribute(&self) -> bool {
        matches!(self.nature, Nature::Nothing | Nature::Group | Nature::Chain) || self.open
    }
}

pub(crate) fn text() -> PropertySchema {
    PropertySchema::new(PropertyKind::String)
}

fn integer() -> PropertySchema {
    PropertySchema::new(PropertyKind::Integer)
}

fn number() -> PropertySchema {
    PropertySchema::new(PropertyKind::Number)
}

fn boolean() -> PropertySchema {
    PropertySchema::new(PropertyKind::Boolean)
}

fn list() -> PropertySchema {
    PropertySchema::new(PropertyKind::List)
}

fn map() -> PropertySchema {
    PropertySchema::new(PropertyKind::Map)
}

fn anything() -> PropertySchema {
    PropertySchema::new(PropertyKind::Any)
}

/// An empty map as a default.
fn empty_map() -> Value {
    Value::Map(Map::new())
}

/// An empty list as a default.
fn empty_list() -> Value {
    Value::List(Vec::new())
}

static TYPES: LazyLock<BTreeMap<&'static str, TypeSchema>> = LazyLock::new(|| {
    let mut rows = Vec::new();
    rows.extend(heat::rows());
    rows.extend(configs::rows());
    rows.extend(groups::rows());
    rows.extend(nova::rows());
    rows.extend(neutron::rows());
    rows.extend(router::rows());
    rows.extend(cinder::rows());
    rows.into_iter().map(|row| (row.name, row)).collect()
});

/// The row of a type.
pub fn get(name: &str) -> Option<&'static TypeSchema> {
    TYPES.get(name)
}

/// All types by name.
pub fn all() -> impl Iterator<Item = &'static TypeSchema> {
    TYPES.values()
}
