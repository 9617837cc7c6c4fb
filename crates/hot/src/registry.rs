//! What stands behind the name of a type: a plugin or the file of a nested template.

use crate::error::{Kind, TemplateError};
use crate::expr::Outcome;
use crate::frame::ResourceKind;
use crate::types;
use crate::value::{Map, Value};

/// Keys of an entry of one resource that do not name types.
const NOT_TYPES: [&str; 2] = ["hooks", "restricted_actions"];
const ACTIONS: [&str; 2] = ["update", "replace"];
const HOOKS: [&str; 6] = [
    "pre-create",
    "pre-update",
    "pre-delete",
    "post-create",
    "post-update",
    "post-delete",
];

/// A mapping can lead through this many names before it must be a circle.
const MAX_STEPS: usize = 64;

/// Whether the name of a type is the name of a template's file.
pub(crate) fn is_template(name: &str) -> bool {
    name.ends_with(".yaml") || name.ends_with(".template")
}

/// Refuses unknown hooks and actions.
pub(crate) fn check(registry: &Map) -> Outcome<()> {
    let Some(resources) = registry.get("resources").and_then(Value::as_map) else {
        return Ok(());
    };
    for entry in resources.values().filter_map(Value::as_map) {
        let words = |key: &str| match entry.get(key) {
            Some(Value::List(items)) => items.iter().map(Value::python_str).collect(),
            Some(Value::Text(text)) => vec![text.clone()],
            _ => Vec::new(),
        };
        for action in words("restricted_actions") {
            if !ACTIONS.contains(&action.as_str()) {
                return Err(TemplateError::new(
                    Kind::InvalidRestrictedAction,
                    format!(
                        "Invalid restricted_action type \"{action}\" for resource, acceptable restricted_action types are: ('update', 'replace')"
                    ),
                ));
            }
        }
        for hook in words("hooks") {
            if !HOOKS.contains(&hook.as_str()) {
                return Err(TemplateError::new(
                    Kind::InvalidBreakPointHook,
                    format!(
                        "Invalid hook type \"{hook}\" for resource breakpoint, acceptable hook types are: {}",
                        Value::List(HOOKS.iter().map(|hook| Value::from(*hook)).collect())
                            .python_repr()
                            .replace('[', "(")
                            .replace(']', ")")
                    ),
                ));
            }
        }
    }
    Ok(())
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

/// The entry for a type: of one resource before all, a wildcard before an exact name, of two
/// wildcards the shorter one. That is Heat's order.
fn entry<'a>(map: &'a Map, name: &str, wildcards: bool) -> Option<(&'a str, &'a str)> {
    let entries = map
        .iter()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_text()?)));
    let mut found: Vec<_> = entries
        .filter(|(key, _)| !NOT_TYPES.contains(key))
        .filter(|(key, _)| (wildcards || !key.ends_with('*')) && matches(key, name))
        // A wildcard can not lead to a template: there would be no name left to choose by.
        .filter(|(key, value)| !(key.ends_with('*') && is_template(value)))
        .collect();
    found.sort_unstable();
    found.first().copied()
}

/// Entries for one resource of this frame.
fn own_entries<'a>(registry: &'a Map, resource: &str) -> Option<&'a Map> {
    let resources = registry.get("resources")?.as_map()?;
    let exact = resources.get(resource).and_then(Value::as_map);
    exact.filter(|entry| entry.values().any(|value| value.as_text().is_some()))
}

/// Follows the mappings from the name of a type to what stands behind it.
///
/// `inside` are the templates that this frame is in: an override that uses the name of the type
/// that it overrides means the built-in one.
pub(crate) fn resolve(
    registry: &Map,
    type_name: &str,
    resource: &str,
    inside: &[String],
) -> Outcome<ResourceKind> {
    if type_name.is_empty() {
        return Err(TemplateError::invalid(format!(
            "Non-empty resource type is required for resource \"{resource}\""
        )));
    }
    let mut name = type_name.to_owned();
    for _ in 0..MAX_STEPS {
        let own = own_entries(registry, resource).and_then(|own| entry(own, &name, false));
        let mapped = own.or_else(|| entry(registry, &name, true));
        let Some((key, value)) = mapped.filter(|(_, value)| !inside.iter().any(|i| i == value))
        else {
            return builtin(&name, type_name);
        };
        let next = match (key.strip_suffix('*'), value.strip_suffix('*')) {
            (Some(prefix), Some(target)) => format!("{target}{}", &name[prefix.len()..]),
            _ => value.to_owned(),
        };
        if next == name {
            return builtin(&name, type_name);
        }
        if is_template(&next) && entry(registry, &next, true).is_none() {
            return Ok(ResourceKind::Nested(next));
        }
        name = next;
    }
    Err(
        TemplateError::new(Kind::RecursionError, "maximum recursion depth exceeded").advise(
            format!("the registry leads from `{type_name}` back to itself"),
        ),
    )
}

fn builtin(name: &str, type_name: &str) -> Outcome<ResourceKind> {
    if is_template(name) {
        return Ok(ResourceKind::Nested(name.to_owned()));
    }
    match types::get(name) {
        Some(schema) => Ok(ResourceKind::Plugin(schema)),
        None => {
            let shown = type_name.rsplit('/').next().unwrap_or(type_name);
            let shown = if type_name.contains("://") {
                shown
            } else {
                type_name
            };
            let mut error =
                TemplateError::invalid(format!("The Resource Type ({shown}) could not be found."));
            error.advice = crate::error::nearest(name, types::all().map(|schema| schema.name))
                .map(|near| format!("did you mean `{near}`?").into_boxed_str());
            Err(error)
        }
    }
}

/// Actions that an environment forbids for a resource: `update`, `replace`.
pub(crate) fn restricted_actions(registry: &Map, resource: &str) -> Vec<String> {
    let entry = registry
        .get("resources")
        .and_then(Value::as_map)
        .and_then(|resources| resources.get(resource))
        .and_then(|entry| entry.get("restricted_actions"));
    match entry {
        Some(Value::Text(action)) => vec![action.clone()],
        Some(Value::List(actions)) => actions.iter().map(Value::python_str).collect(),
        _ => Vec::new(),
    }
}

/// The part of the registry that a nested frame sees: entries of single resources below it move up.
pub(crate) fn for_nested(registry: &Map, resource: &str) -> Map {
    let mut nested = registry.clone();
    let below = nested
        .shift_remove("resources")
        .and_then(|resources| resources.get(resource).cloned())
        .and_then(|entry| match entry {
            Value::Map(map) => Some(map),
            _ => None,
        })
        .unwrap_or_default();
    let resources: Map = below
        .into_iter()
        .filter(|(_, value)| matches!(value, Value::Map(_)))
        .collect();
    if !resources.is_empty() {
        nested.insert("resources".to_owned(), Value::Map(resources));
    }
    nested
}
