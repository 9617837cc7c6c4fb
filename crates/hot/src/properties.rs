//! Checks properties against a schema and converts them, as Heat's `Properties` do.

use indexmap::IndexMap;

use crate::constraints::{self, Subject};
use crate::error::{Kind, TemplateError, nearest};
use crate::expr::{Outcome, join};
use crate::params::text_to_number;
use crate::schema::{PropertyKind, PropertySchema};
use crate::value::{Map, Value};

/// How strictly a value is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    /// Conversion and rules.
    Check,
    /// Conversion only: the value comes from a resource that is not there yet.
    Skip,
}

fn property_error(message: impl Into<String>) -> TemplateError {
    TemplateError::invalid(message)
}

/// Turns any error into one of a property; the path is below the property.
fn at_property(error: TemplateError, key: &str) -> TemplateError {
    let path = if error.kind == Kind::StackValidationFailed && !error.path.is_empty() {
        join(key, &error.path)
    } else {
        key.to_owned()
    };
    TemplateError {
        path,
        kind: Kind::StackValidationFailed,
        cause: String::new(),
        ..error
    }
}

/// Refuses keys that the schema does not have.
pub(crate) fn check_names<'a>(
    given: impl IntoIterator<Item = &'a str>,
    schema: &IndexMap<String, PropertySchema>,
) -> Outcome<()> {
    for key in given {
        if !schema.contains_key(key) {
            let mut error = property_error(format!("Unknown Property {key}"));
            error.advice = nearest(key, schema.keys().map(String::as_str))
                .map(|near| format!("did you mean `{near}`?").into_boxed_str());
            return Err(error);
        }
    }
    Ok(())
}

/// Checks and converts a map: names, then each property in the order of the schema.
///
/// A key that is not given and has no default is left out.
pub(crate) fn convert_map(
    given: &Map,
    schema: &IndexMap<String, PropertySchema>,
    rules: Rules,
) -> Outcome<Map> {
    check_names(given.keys().map(String::as_str), schema)?;
    let mut converted = Map::with_capacity(schema.len());
    for (key, property) in schema {
        if let Some(value) = convert_given(key, given.get(key), property, rules)? {
            converted.insert(key.clone(), value);
        }
    }
    Ok(converted)
}

/// Converts one property; `given` is none where the template does not name it.
pub(crate) fn convert_given(
    key: &str,
    given: Option<&Value>,
    property: &PropertySchema,
    rules: Rules,
) -> Outcome<Option<Value>> {
    let value = match (given, &property.default) {
        (Some(value), _) => value,
        (None, Some(_)) => &Value::Null,
        (None, None) if property.required => {
            return Err(property_error(format!("Property {key} not assigned")));
        }
        (None, None) => return Ok(None),
    };
    convert(value, property, rules)
        .map(Some)
        .map_err(|error| at_property(error, key))
}

/// Converts a value by its schema, then looks whether it holds the rules.
pub(crate) fn convert(value: &Value, property: &PropertySchema, rules: Rules) -> Outcome<Value> {
    let (converted, subject) = match property.kind {
        PropertyKind::String => (to_text(value, property)?, Subject::Text),
        PropertyKind::Integer => (to_integer(value, property)?, Subject::Number),
        PropertyKind::Number => (to_number(value, property)?, Subject::Number),
        PropertyKind::Boolean => (to_bool(value, property)?, Subject::Boolean),
        PropertyKind::List => (to_list(value, property, rules)?, Subject::List),
        PropertyKind::Map => (to_map(value, property, rules)?, Subject::Map),
        PropertyKind::Any => (
            match (value, &property.default) {
                (Value::Null, Some(default)) => default.clone(),
                _ => value.clone(),
            },
            Subject::Any,
        ),
    };
    if rules == Rules::Check && !crate::unknown::is_inside(&converted) {
        for constraint in &property.constraints {
            constraints::check(constraint, &converted, subject)?;
        }
    }
    Ok(converted)
}

fn default(property: &PropertySchema, empty: Value) -> Value {
    match &property.default {
        Some(default) if default.is_true() => default.clone(),
        _ => empty,
    }
}

fn to_text(value: &Value, property: &PropertySchema) -> Outcome<Value> {
    match value {
        Value::Null => Ok(default(property, Value::text(""))),
        Value::Text(_) => Ok(value.clone()),
        Value::Bool(_) | Value::Int(_) => Ok(Value::Text(value.python_str())),
        other => Err(property_error(format!(
            "Value must be a string; got {}",
            other.python_repr()
        ))),
    }
}

fn to_integer(value: &Value, property: &PropertySchema) -> Outcome<Value> {
    let whole = match value {
        Value::Null => return Ok(default(property, Value::Int(0))),
        Value::Int(number) => Some(*number),
        Value::Bool(flag) => Some(i64::from(*flag)),
        Value::Float(number) if number.is_finite() => Some(*number as i64),
        Value::Text(text) if crate::unknown::is_inside(value) => {
            return Ok(Value::Text(text.clone()));
        }
        Value::Text(text) => match text_to_number(text) {
            Some(Value::Int(number)) => Some(number),
            _ => None,
        },
        _ => None,
    };
    whole
        .map(Value::Int)
        .ok_or_else(|| property_error(format!("Value '{}' is not an integer", value.python_str())))
}

fn to_number(value: &Value, property: &PropertySchema) -> Outcome<Value> {
    match value {
        Value::Null => Ok(default(property, Value::Int(0))),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) => Ok(value.clone()),
        Value::Text(_) if crate::unknown::is_inside(value) => Ok(value.clone()),
        Value::Text(text) => text_to_number(text)
            .ok_or_else(|| property_error(format!("could not convert string to float: '{text}'"))),
        other => Err(property_error(format!(
            "float() argument must be a string or a real number, not '{}'",
            other.python_type()
        ))),
    }
}

fn to_bool(value: &Value, property: &PropertySchema) -> Outcome<Value> {
    let word = match value {
        Value::Null => return Ok(default(property, Value::Bool(false))),
        Value::Bool(_) => return Ok(value.clone()),
        Value::Text(_) if crate::unknown::is_inside(value) => return Ok(value.clone()),
        Value::Text(text) => text.trim().to_lowercase(),
        _ => String::new(),
    };
    match word.as_str() {
        "true" => Ok(Value::Bool(true)),
        "false" => Ok(Value::Bool(false)),
        _ => Err(property_error(format!(
            "\"{}\" is not a valid boolean",
            value.python_str()
        ))),
    }
}

fn to_list(value: &Value, property: &PropertySchema, rules: Rules) -> Outcome<Value> {
    let items = match value {
        Value::Null => return Ok(default(property, Value::List(Vec::new()))),
        Value::List(items) => items.clone(),
        Value::Text(text) if property.allow_conversion => match text.as_str() {
            "" => Vec::new(),
            text => text.split(',').map(Value::from).collect(),
        },
        Value::Text(_) if crate::unknown::is_inside(value) => return Ok(value.clone()),
        other => {
            return Err(property_error(format!(
                "\"{}\" is not a list",
                other.python_repr()
            )));
        }
    };
    let Some(schema) = &property.items else {
        return Ok(Value::List(items));
    };
    let convert_item = |(at, item): (usize, &Value)| {
        convert(item, schema, rules).map_err(|error| at_property(error, &at.to_string()))
    };
    let items: Outcome<Vec<_>> = items.iter().enumerate().map(convert_item).collect();
    items.map(Value::List)
}

fn to_map(value: &Value, property: &PropertySchema, rules: Rules) -> Outcome<Value> {
    let map = match value {
        Value::Null => match &property.default {
            Some(Value::Map(map)) => map.clone(),
            // A map that is not there has no keys, so none of them can be missing.
            _ => return Ok(Value::Map(Map::new())),
        },
        Value::Map(map) => map.clone(),
        Value::Text(_) if property.allow_conversion => return Ok(value.clone()),
        Value::List(_) | Value::Int(_) | Value::Bool(_) if property.allow_conversion => {
            return Ok(Value::Text(value.python_json(false)));
        }
        Value::Text(_) if crate::unknown::is_inside(value) => return Ok(value.clone()),
        other => {
            return Err(property_error(format!(
                "\"{}\" is not a map",
                other.python_str()
            )));
        }
    };
    match &property.fields {
        None => Ok(Value::Map(map)),
        Some(fields) => convert_map(&map, fields, rules).map(Value::Map),
    }
}
