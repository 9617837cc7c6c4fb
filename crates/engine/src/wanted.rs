//! What the template wants of one resource now, and what that means for the one that is there.

use hot::{DeletionPolicy, Frame, Map, ResourceKind, TemplateError, Value};

use crate::model::{Node, Row};
use crate::plugins;

/// What the template wants of a resource, with all that is known now.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub type_name: String,
    /// The type of the plugin; empty for nested templates.
    pub plugin: String,
    pub given: Map,
    pub properties: Map,
    pub metadata: Value,
    pub definition: Map,
    pub requires: Vec<String>,
    pub retain: bool,
    pub external_id: Option<String>,
    pub description: String,
    pub has_members: bool,
}

/// What becomes of the resource that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing.
    Keep,
    /// It is changed.
    Update,
    /// Another one is made, then it is deleted.
    Replace,
}

/// Resolves what the template of a stack wants of a resource.
pub(crate) fn wanted(node: &Node, frame: &Frame, name: &str) -> Result<Wanted, TemplateError> {
    let resource = frame
        .resource(name)
        .ok_or_else(|| TemplateError::new(hot::Kind::NotFound, format!("no resource `{name}`")))?;
    let (plugin, has_members) = match &resource.kind {
        ResourceKind::Plugin(schema) => (schema.name.to_owned(), plugins::has_members(schema)),
        ResourceKind::Nested(_) => (String::new(), true),
    };
    let external = resource.external_id.is_some();
    let requires = node.requires.get(name).cloned().unwrap_or_default();
    let metadata = frame.metadata(name, node)?;
    let (given, properties) = if external {
        (Map::new(), Map::new())
    } else {
        (
            frame.given_properties(name, node)?,
            frame.properties(name, node)?,
        )
    };
    Ok(Wanted {
        type_name: resource.type_name.clone(),
        plugin,
        given,
        properties,
        metadata,
        definition: definition(frame, name, node, &requires)?,
        requires,
        retain: external || resource.deletion_policy == DeletionPolicy::Retain,
        external_id: resource.external_id.clone(),
        description: resource.description.clone(),
        has_members,
    })
}

/// The parts of a definition beside properties and metadata, as one comparable map.
fn definition(
    frame: &Frame,
    name: &str,
    node: &Node,
    requires: &[String],
) -> Result<Map, TemplateError> {
    let mut definition = Map::new();
    if let Some(resource) = frame.resource(name) {
        let policy = match resource.deletion_policy {
            DeletionPolicy::Delete => "Delete",
            DeletionPolicy::Retain => "Retain",
            DeletionPolicy::Snapshot => "Snapshot",
        };
        definition.insert("deletion_policy".to_owned(), policy.into());
        if let Some(id) = &resource.external_id {
            definition.insert("external_id".to_owned(), id.clone().into());
        }
    }
    let policy = frame.update_policy(name, node)?;
    definition.insert("update_policy".to_owned(), Value::Map(policy));
    let requires = requires.iter().map(|name| Value::text(name.clone()));
    definition.insert("requires".to_owned(), Value::List(requires.collect()));
    Ok(definition)
}

/// Decides what becomes of the resource that is there. `broken` counts unless it is looked at as a
/// candidate to go back to.
pub(crate) fn decide(row: &Row, wanted: &Wanted) -> Decision {
    if row.action == crate::api::Action::Delete
        || row.plugin != wanted.plugin
        || row.external != wanted.external_id.is_some()
    {
        return Decision::Replace;
    }
    if row.broken && !wanted.has_members {
        return Decision::Replace;
    }
    if wanted.has_members {
        return Decision::Update;
    }
    if wanted.external_id.is_some() {
        return if row.physical_id == wanted.external_id {
            Decision::Keep
        } else {
            Decision::Replace
        };
    }
    let same = Value::Map(row.given.clone()).equals(&Value::Map(wanted.given.clone()));
    if same {
        let keep = row.metadata.equals(&wanted.metadata)
            && Value::Map(row.definition.clone()).equals(&Value::Map(wanted.definition.clone()));
        return if keep {
            Decision::Keep
        } else {
            Decision::Update
        };
    }
    if plugins::must_replace(&row.plugin, &row.properties, &wanted.properties) {
        Decision::Replace
    } else {
        Decision::Update
    }
}
