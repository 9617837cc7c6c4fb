//! Environments: parameters, their defaults, and what stands behind the names of types.
//!
//! Several files merge into one environment by Heat's rules, which are in [`Environment::merge_files`].

use std::collections::HashMap;

use crate::error::{Kind, TemplateError};
use crate::expr::Outcome;
use crate::files::Files;
use crate::json::parse_json;
use crate::params::{ParameterKind, ParameterSchema};
use crate::template::Template;
use crate::value::{Map, Value, map_to_json};

const PARAMETERS: &str = "parameters";
const DEFAULTS: &str = "parameter_defaults";
const REGISTRY: &str = "resource_registry";
const ENCRYPTED: &str = "encrypted_param_names";
const SINKS: &str = "event_sinks";
const STRATEGIES: &str = "parameter_merge_strategies";
const SECTIONS: [&str; 6] = [PARAMETERS, DEFAULTS, REGISTRY, ENCRYPTED, SINKS, STRATEGIES];

/// A merged environment: what Heat keeps of a stack beside its template and files.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Environment {
    /// Values of parameters of the root template.
    pub parameters: Map,
    /// Defaults of parameters of every template of the stack.
    pub parameter_defaults: Map,
    /// What stands behind the names of types; `resources` holds entries for single resources.
    pub resource_registry: Map,
    /// Names of parameters that are stored encrypted.
    pub encrypted_param_names: Vec<Value>,
    /// Where events go.
    pub event_sinks: Vec<Value>,
}

/// Reads the text of an environment and refuses sections that are unknown or empty.
///
/// An empty text is an empty environment; a section that is null is an error, as in Heat.
pub fn parse(text: &str) -> Outcome<Map> {
    let node = yaml::parse(text).map_err(|error| TemplateError {
        span: Some(Box::new(error.span)),
        ..TemplateError::new(Kind::ValueError, error.message)
    })?;
    match Value::from_yaml(&node) {
        Value::Null => Ok(Map::new()),
        Value::Map(map) => {
            check_sections(&map)?;
            Ok(map)
        }
        _ => Err(TemplateError::new(
            Kind::ValueError,
            "The environment is not a valid YAML mapping data type.",
        )),
    }
}

fn check_sections(map: &Map) -> Outcome<()> {
    for (section, value) in map {
        if !SECTIONS.contains(&section.as_str()) {
            let message = format!("environment has wrong section \"{section}\"");
            let mut error = TemplateError::new(Kind::ValueError, message);
            error.advice = crate::error::nearest(section, SECTIONS)
                .map(|near| format!("did you mean `{near}`?"))
                .or_else(|| Some("put values under `parameters:`".to_owned()))
                .map(String::into_boxed_str);
            return Err(error);
        }
        if value.is_null() {
            let message = format!("environment has empty section \"{section}\"");
            return Err(TemplateError::new(Kind::ValueError, message)
                .advise("leave the section out, or write `{}`"));
        }
    }
    Ok(())
}

impl Environment {
    /// Reads an environment from an object with Heat's sections.
    pub fn from_value(value: &Value) -> Result<Environment, TemplateError> {
        let map = match value {
            Value::Null => return Ok(Environment::default()),
            Value::Map(map) => map,
            Value::Text(text) => return Environment::from_text(text),
            _ => {
                return Err(TemplateError::new(
                    Kind::ValueError,
                    "The environment is not a valid YAML mapping data type.",
                ));
            }
        };
        check_sections(map)?;
        let part = |name: &str| -> Outcome<Map> {
            match map.get(name) {
                None => Ok(Map::new()),
                Some(Value::Map(part)) => Ok(part.clone()),
                Some(other) => Err(TemplateError::new(
                    Kind::AttributeError,
                    format!("'{}' object has no attribute 'items'", other.python_type()),
                )
                .advise(format!("`{name}` is a map"))),
            }
        };
        let list = |name: &str| match map.get(name) {
            Some(Value::List(items)) => items.clone(),
            _ => Vec::new(),
        };
        let environment = Environment {
            parameters: part(PARAMETERS)?,
            parameter_defaults: part(DEFAULTS)?,
            resource_registry: part(REGISTRY)?,
            encrypted_param_names: list(ENCRYPTED),
            event_sinks: list(SINKS),
        };
        environment.check_sinks()?;
        crate::registry::check(&environment.resource_registry)?;
        Ok(environment)
    }

    /// Reads an environment from YAML or JSON text.
    pub fn from_text(text: &str) -> Result<Environment, TemplateError> {
        Environment::from_value(&Value::Map(parse(text)?))
    }

    fn check_sinks(&self) -> Outcome<()> {
        for sink in &self.event_sinks {
            let kind = sink.get("type").cloned().unwrap_or_default();
            if kind.as_text() != Some("zaqar-queue") {
                return Err(TemplateError::new(Kind::KeyError, kind.python_repr())
                    .advise("event sinks are of the type `zaqar-queue`"));
            }
        }
        Ok(())
    }

    /// The environment as Heat stores and shows it.
    pub fn to_json(&self) -> serde_json::Value {
        let mut registry = self.resource_registry.clone();
        registry
            .entry("resources".to_owned())
            .or_insert_with(|| Value::Map(Map::new()));
        serde_json::json!({
            PARAMETERS: map_to_json(&self.parameters),
            DEFAULTS: map_to_json(&self.parameter_defaults),
            REGISTRY: map_to_json(&registry),
            ENCRYPTED: Value::List(self.encrypted_param_names.clone()).to_json(),
            SINKS: Value::List(self.event_sinks.clone()).to_json(),
        })
    }

    /// Merges environment files by Heat's rules (the last one wins, or `parameter_merge_strategies`)
    /// over the parameters of the request, which they beat.
    pub fn merge_files(
        parameters: &Map,
        names: &[String],
        files: &Files,
        template: &Template,
    ) -> Result<Environment, TemplateError> {
        let schemas = template.parameter_schemas(&Map::new())?;
        let mut merged = Map::new();
        merged.insert(PARAMETERS.to_owned(), Value::Map(parameters.clone()));
        merged.insert(DEFAULTS.to_owned(), Value::Map(Map::new()));
        let mut strategies: HashMap<String, String> = HashMap::new();
        for name in names {
            let Some(text) = files.get(name) else {
                return Err(
                    TemplateError::new(Kind::KeyError, Value::text(name).python_repr()).advise(
                        format!("the environment file `{name}` is not among the files"),
                    ),
                );
            };
            let file = parse(text)?;
            let wishes = file
                .get(STRATEGIES)
                .and_then(Value::as_map)
                .cloned()
                .unwrap_or_default();
            for (section, value) in file {
                let old = merged.shift_remove(&section).unwrap_or_default();
                let value = match section.as_str() {
                    STRATEGIES => value,
                    PARAMETERS | DEFAULTS => {
                        let merge = Merge {
                            schemas: &schemas,
                            wishes: &wishes,
                            file: name,
                        };
                        merge.section(old, value, &mut strategies)?
                    }
                    _ => merge_section(old, value),
                };
                merged.insert(section, value);
            }
        }
        Environment::from_value(&Value::Map(merged))
    }

    /// The environment of an update that keeps what is not given (PATCH): `self` over `old`, the
    /// parameters named by `clear` taken from neither.
    #[must_use]
    pub fn over(self, old: &Environment, clear: &[String]) -> Environment {
        let lay = |old: &Map, new: Map| {
            let mut map = old.clone();
            map.extend(new);
            map
        };
        let mut parameters = old.parameters.clone();
        parameters.retain(|name, _| !clear.contains(name));
        parameters.extend(self.parameters);
        let mut registry = old.resource_registry.clone();
        for (key, value) in self.resource_registry {
            let old = registry.shift_remove(&key).unwrap_or_default();
            registry.insert(key, merge_section(old, value));
        }
        Environment {
            parameters,
            parameter_defaults: lay(&old.parameter_defaults, self.parameter_defaults),
            resource_registry: registry,
            encrypted_param_names: if self.encrypted_param_names.is_empty() {
                old.encrypted_param_names.clone()
            } else {
                self.encrypted_param_names
            },
            event_sinks: if self.event_sinks.is_empty() {
                old.event_sinks.clone()
            } else {
                self.event_sinks
            },
        }
    }
}

/// Lays maps over maps; anything else is replaced.
fn merge_section(old: Value, new: Value) -> Value {
    match (old, new) {
        (Value::Map(mut old), Value::Map(new)) => {
            for (key, value) in new {
                let before = old.shift_remove(&key).unwrap_or_default();
                old.insert(key, merge_section(before, value));
            }
            Value::Map(old)
        }
        (old, Value::Null) => old,
        (_, new) => new,
    }
}

/// The merge of the parameters of one file.
struct Merge<'a> {
    schemas: &'a indexmap::IndexMap<String, ParameterSchema>,
    wishes: &'a Map,
    file: &'a str,
}

impl Merge<'_> {
    /// How this file wants a parameter merged, if it says so.
    fn wish(&self, name: &str) -> Option<String> {
        let wish = self
            .wishes
            .get(name)
            .or_else(|| self.wishes.get("default"))?;
        Some(wish.python_str())
    }

    fn section(
        &self,
        old: Value,
        new: Value,
        strategies: &mut HashMap<String, String>,
    ) -> Outcome<Value> {
        let Value::Map(new) = new else { return Ok(new) };
        let Value::Map(mut old) = old else {
            return Err(TemplateError::new(
                Kind::AttributeError,
                format!("'{}' object has no attribute 'items'", old.python_type()),
            ));
        };
        // The first file is taken whole: only later ones leave unknown names and nulls out.
        let first = old.is_empty();
        for (name, value) in new {
            let schema = self.schemas.get(&name);
            if !first && (value.is_null() || schema.is_none() && !old.contains_key(&name)) {
                continue;
            }
            let fixed = strategies.get(&name).cloned();
            let strategy = match (self.wish(&name), fixed) {
                (Some(wish), Some(fixed)) if wish != fixed => {
                    return Err(self.conflict(&name, &wish));
                }
                (Some(wish), _) => wish,
                (None, Some(fixed)) => fixed,
                (None, None) => "overwrite".to_owned(),
            };
            strategies.insert(name.clone(), strategy.clone());
            let kind = schema.map(|schema| schema.kind);
            let value = match old.get(&name) {
                Some(before) if strategy != "overwrite" => {
                    combine(before, &value, kind, strategy == "deep_merge")?
                }
                _ => value,
            };
            old.insert(name, value);
        }
        Ok(Value::Map(old))
    }

    fn conflict(&self, name: &str, strategy: &str) -> TemplateError {
        let file = self.file.rsplit('/').next().unwrap_or(self.file);
        TemplateError::new(
            Kind::ConflictingMergeStrategyForParam,
            format!(
                "Conflicting merge strategy '{strategy}' for parameter '{name}' in file '{file}'."
            ),
        )
    }
}

fn combine(old: &Value, new: &Value, kind: Option<ParameterKind>, deep: bool) -> Outcome<Value> {
    let read = |value: &Value| match (kind, value) {
        (Some(ParameterKind::CommaDelimitedList), Value::Text(text)) => {
            Value::List(text.split(',').map(Value::from).collect())
        }
        (Some(ParameterKind::Json), Value::Text(text)) => {
            parse_json(text).unwrap_or_else(|_| value.clone())
        }
        _ => value.clone(),
    };
    match (read(old), read(new)) {
        (Value::Map(mut old), Value::Map(new)) if !deep => {
            old.extend(new);
            Ok(Value::Map(old))
        }
        (old @ Value::Map(_), new @ Value::Map(_)) => Ok(deepen(old, new)),
        (Value::List(mut old), Value::List(new)) => {
            old.extend(new);
            Ok(Value::List(old))
        }
        (Value::Text(old), Value::Text(new)) => Ok(Value::Text(old + &new)),
        _ => Err(
            TemplateError::new(Kind::ValueError, "Invalid parameter in environment .")
                .advise("numbers and booleans can not be merged"),
        ),
    }
}

fn deepen(old: Value, new: Value) -> Value {
    match (old, new) {
        (Value::Map(mut old), Value::Map(new)) => {
            for (key, value) in new {
                let value = match old.shift_remove(&key) {
                    Some(before) => deepen(before, value),
                    None => value,
                };
                old.insert(key, value);
            }
            Value::Map(old)
        }
        (Value::List(mut old), Value::List(new)) => {
            old.extend(new);
            Value::List(old)
        }
        (Value::Text(old), Value::Text(new)) => Value::Text(old + &new),
        (_, new) => new,
    }
}
