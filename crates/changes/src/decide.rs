//! Decides what becomes of one resource: left alone, updated, replaced.
//!
//! Two comparisons, as in Heat. Whether anything changed is asked of the properties as given:
//! writing a default out is a change. Whether the resource must be replaced is asked of the
//! converted ones: `8` and `"8"` are the same length.

use hot::{Facts, Frame, Map, ResourceKind, TemplateError, TypeSchema, Value, types};

use crate::{PropertyChange, Recorded};

/// What becomes of a resource that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is left alone.
    Unchanged,
    /// It is changed in place.
    Updated,
    /// Another is made, then it is deleted.
    Replaced,
}

/// What is wanted of a resource, with all that is known now.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Its type as the template has it.
    pub type_name: String,
    /// The type of its plugin; empty for a nested template.
    pub plugin: String,
    /// Whether members stand behind it.
    pub has_members: bool,
    /// Properties as given, resolved.
    pub given_properties: Map,
    /// Properties checked and converted.
    pub properties: Map,
    /// Its metadata.
    pub metadata: Value,
    /// What else of it counts.
    pub definition: Map,
}

/// A fate with its reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What becomes of it.
    pub fate: Fate,
    /// The properties that differ.
    pub properties: Vec<PropertyChange>,
    /// Why it is replaced, or what beside properties differs, in words.
    pub because: Option<String>,
}

impl Verdict {
    fn replaced(properties: Vec<PropertyChange>, because: impl Into<String>) -> Verdict {
        Verdict {
            fate: Fate::Replaced,
            properties,
            because: Some(because.into()),
        }
    }
}

/// What an update compares of a resource beside properties and metadata.
pub fn definition(frame: &Frame, name: &str, facts: &dyn Facts) -> Result<Map, TemplateError> {
    let mut map = Map::new();
    if let Some(resource) = frame.resource(name) {
        map.insert(
            "deletion_policy".to_owned(),
            resource.deletion_policy.as_str().into(),
        );
        if let Some(id) = &resource.external_id {
            map.insert("external_id".to_owned(), Value::text(id));
        }
        let depends_on = frame.depends_on(name).iter().map(Value::text).collect();
        map.insert("depends_on".to_owned(), Value::List(depends_on));
        map.insert(
            "update_policy".to_owned(),
            frame.update_policy(name, facts)?.into(),
        );
    }
    Ok(map)
}

impl Wanted {
    /// Resolves what a frame wants of one of its resources.
    pub fn of(frame: &Frame, name: &str, facts: &dyn Facts) -> Result<Wanted, TemplateError> {
        let Some(resource) = frame.resource(name) else {
            return Ok(Wanted::default());
        };
        let plugin = match &resource.kind {
            ResourceKind::Plugin(schema) => schema.name.to_owned(),
            ResourceKind::Nested(_) => String::new(),
        };
        Ok(Wanted {
            type_name: resource.type_name.clone(),
            plugin,
            has_members: resource.has_members(),
            given_properties: frame.given_properties(name, facts)?,
            properties: frame.properties(name, facts)?,
            metadata: frame.metadata(name, facts)?,
            definition: definition(frame, name, facts)?,
        })
    }
}

/// Decides what becomes of a recorded resource.
pub fn decide(recorded: &Recorded, wanted: &Wanted) -> Verdict {
    let properties = differences(recorded, wanted);
    if recorded.plugin != wanted.plugin {
        return Verdict::replaced(properties, format!("its type becomes {}", wanted.type_name));
    }
    if recorded.failed && !wanted.has_members {
        return Verdict::replaced(properties, "the last action on it failed");
    }
    if wanted.plugin == "OS::Heat::None" {
        return Verdict {
            fate: Fate::Unchanged,
            properties: Vec::new(),
            because: None,
        };
    }
    if let Some(because) = must_replace(&wanted.plugin, &recorded.properties, &wanted.properties) {
        return Verdict::replaced(properties, because);
    }
    let other = beside_properties(recorded, wanted, properties.is_empty());
    let same = properties.is_empty() && other.is_empty();
    // Heat updates whatever has members, so that they are looked at.
    let fate = if same && !wanted.has_members {
        Fate::Unchanged
    } else {
        Fate::Updated
    };
    let because = (!other.is_empty()).then(|| other.join(", "));
    Verdict {
        fate,
        properties,
        because,
    }
}

/// What differs beside the converted properties, in words.
fn beside_properties(recorded: &Recorded, wanted: &Wanted, same_properties: bool) -> Vec<String> {
    let mut found = Vec::new();
    if recorded.type_name != wanted.type_name {
        found.push(format!("its type is now called {}", wanted.type_name));
    }
    if same_properties && !equal(&recorded.given_properties, &wanted.given_properties) {
        found.push("its properties are written otherwise".to_owned());
    }
    if !recorded.metadata.equals(&wanted.metadata) {
        found.push("`metadata` differs".to_owned());
    }
    found.extend(different_parts(&recorded.definition, &wanted.definition));
    found
}

fn equal(a: &Map, b: &Map) -> bool {
    a.len() == b.len()
        && a.iter()
            .all(|(key, a)| b.get(key).is_some_and(|b| a.equals(b)))
}

/// Only what both sides know is compared; an external id that one side lacks is none.
fn different_parts(old: &Map, new: &Map) -> Vec<String> {
    let null = Value::Null;
    let external = |map: &Map| map.get("external_id").unwrap_or(&null).clone();
    let mut found: Vec<String> = old
        .iter()
        .filter(|(key, old)| {
            *key != "external_id" && new.get(*key).is_some_and(|new| !old.equals(new))
        })
        .map(|(key, _)| format!("`{key}` differs"))
        .collect();
    if !external(old).equals(&external(new)) {
        found.push("`external_id` differs".to_owned());
    }
    found
}

/// The properties that differ, in the order of the type's schema where it has one.
pub fn differences(recorded: &Recorded, wanted: &Wanted) -> Vec<PropertyChange> {
    let schema = types::get(&wanted.plugin);
    let mut names: Vec<&String> = wanted.properties.keys().collect();
    names.extend(
        recorded
            .properties
            .keys()
            .filter(|key| !wanted.properties.contains_key(*key)),
    );
    let mut changes = Vec::new();
    for name in names {
        let old = recorded.properties.get(name).cloned().unwrap_or_default();
        let new = wanted.properties.get(name).cloned().unwrap_or_default();
        if old.equals(&new) {
            continue;
        }
        let replaces = schema
            .is_some_and(|schema| forces(schema, name, &recorded.properties, &wanted.properties));
        let new = (!hot::is_unknown(&new)).then_some(new);
        changes.push(PropertyChange {
            name: name.clone(),
            old,
            new,
            replaces,
        });
    }
    changes
}

/// Whether a difference in a property makes another resource of it.
fn forces(schema: &TypeSchema, name: &str, _old: &Map, new: &Map) -> bool {
    let policy = |key: &str| new.get(key).and_then(Value::as_text) == Some("REPLACE");
    match (schema.name, name) {
        ("OS::Nova::Server", "flavor") => policy("flavor_update_policy"),
        ("OS::Nova::Server", "image") => policy("image_update_policy"),
        ("OS::Nova::Server", "user_data") => {
            new.get("user_data_update_policy").and_then(Value::as_text) != Some("IGNORE")
        }
        _ => schema
            .properties
            .get(name)
            .is_some_and(|property| !property.update_allowed),
    }
}

/// Why a resource of a plugin must be replaced when its converted properties become others.
pub fn must_replace(plugin: &str, old: &Map, new: &Map) -> Option<String> {
    match plugin {
        "OS::Neutron::Port"
            if new.get("replacement_policy").and_then(Value::as_text) == Some("REPLACE_ALWAYS") =>
        {
            return Some("its replacement_policy is REPLACE_ALWAYS".to_owned());
        }
        "OS::Heat::TestResource" if new.get("update_replace") == Some(&Value::Bool(true)) => {
            return Some("it asks for it by update_replace".to_owned());
        }
        "OS::Heat::UpdateWaitConditionHandle" => {
            return Some("it takes new signals after each update".to_owned());
        }
        _ => {}
    }
    let schema = types::get(plugin)?;
    let null = Value::Null;
    let differs = |name: &str| {
        !old.get(name)
            .unwrap_or(&null)
            .equals(new.get(name).unwrap_or(&null))
    };
    let mut names = schema.properties.keys().filter(|name| differs(name));
    names
        .find(|name| forces(schema, name, old, new))
        .map(|name| format!("`{name}` can not be updated"))
}
