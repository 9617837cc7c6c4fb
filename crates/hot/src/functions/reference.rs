//! Functions that look at parameters, resources, files and the frame around.

use super::{type_error, value_error};
use crate::error::{Kind, TemplateError};
use crate::expr::{Call, Expr, Outcome};
use crate::scope::Scope;
use crate::value::{Map, Value};

/// Follows one step of a path. Text is a sequence of characters, `true` is index 1.
fn step(value: &Value, key: &Value, texts_are_indexes: bool) -> Option<Value> {
    let index = match key {
        Value::Int(number) => Some(*number),
        Value::Bool(flag) => Some(i64::from(*flag)),
        Value::Text(text) if texts_are_indexes => text.trim().parse().ok(),
        _ => None,
    };
    let place = |length: usize| -> Option<usize> {
        let index = index?;
        let length = i64::try_from(length).ok()?;
        let index = if index < 0 { index + length } else { index };
        usize::try_from(index).ok()
    };
    match value {
        Value::Map(map) => map.get(key.as_text()?).cloned(),
        Value::List(items) => items.get(place(items.len())?).cloned(),
        Value::Text(text) => {
            let at = place(text.chars().count())?;
            text.chars().nth(at).map(|c| Value::Text(c.to_string()))
        }
        _ => None,
    }
}

/// Follows the path of `get_attr`: what does not exist is null.
pub(crate) fn select(value: Value, path: &[Value]) -> Value {
    let mut value = value;
    for key in path {
        match step(&value, key, false) {
            Some(next) => value = next,
            None => return Value::Null,
        }
    }
    value
}

pub(super) fn get_param(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let args = call.args.resolve(scope)?;
    if !args.is_true() {
        return value_error("Function \"get_param\" must have arguments");
    }
    let (name, path): (&Value, &[Value]) = match &args {
        Value::Text(_) => (&args, &[]),
        Value::List(items) => (&items[0], &items[1..]),
        _ => return type_error("Argument to \"get_param\" must be string or list"),
    };
    let Some(name) = name.as_text() else {
        return type_error("Parameter name in \"get_param\" must be string");
    };
    let mut value = scope.parameter(name)?;
    for key in path {
        match step(&value, key, true) {
            Some(next) => value = next,
            None => return Ok(Value::text("")),
        }
    }
    Ok(value)
}

pub(super) fn get_resource(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let name = call.args.resolve(scope)?;
    scope.reference(&name)
}

pub(super) fn cfn_ref(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let name = call.args.resolve(scope)?;
    match name.as_text() {
        Some(text) if !scope.has_resource(text) && scope.has_parameter(text) => {
            scope.parameter(text)
        }
        _ => scope.reference(&name),
    }
}

pub(super) fn check_get_attr(call: &Call) -> Outcome<()> {
    let Some(items) = call.args.items() else {
        return type_error("Argument to \"get_attr\" must be a list");
    };
    if items.len() < 2 {
        return value_error(
            "Arguments to \"get_attr\" must be of the form [resource_name, attribute, (path), ...]",
        );
    }
    Ok(())
}

pub(super) fn check_get_attr_or_all(call: &Call) -> Outcome<()> {
    // A text is a list of characters to Python: a name of one letter passes.
    if matches!(&call.args, Expr::Value(Value::Text(text)) if !text.is_empty()) {
        return Ok(());
    }
    let Some(items) = call.args.items() else {
        return type_error("Argument to \"get_attr\" must be a list");
    };
    if items.is_empty() {
        return value_error(
            "Arguments to \"get_attr\" can be of the next forms: [resource_name] or [resource_name, attribute, (path), ...]",
        );
    }
    Ok(())
}

pub(super) fn check_cfn_get_att(call: &Call) -> Outcome<()> {
    match call.args.items() {
        Some(items) if items.len() == 2 => Ok(()),
        _ => value_error(
            "Arguments to \"Fn::GetAtt\" must be of the form [resource_name, attribute]",
        ),
    }
}

/// Name, attribute and path of a `get_attr`.
pub(crate) fn attribute_args(
    call: &Call,
    scope: &Scope<'_>,
) -> Outcome<(Value, Value, Vec<Value>)> {
    let mut args = match call.args.resolve(scope)? {
        Value::Text(text) => text.chars().map(|c| Value::Text(c.to_string())).collect(),
        Value::List(items) => items,
        other => vec![other],
    };
    let path = args.split_off(args.len().min(2));
    let attribute = if args.len() > 1 { args.pop() } else { None };
    let name = args.pop().unwrap_or_default();
    Ok((name, attribute.unwrap_or_default(), path))
}

pub(super) fn validate_get_attr(call: &Call, scope: &Scope<'_>) -> Outcome<()> {
    call.args.validate(scope, "")?;
    let (name, attribute, _) = attribute_args(call, scope)?;
    scope.check_resource(&name, "unknown")?;
    if attribute.is_null() {
        return Ok(());
    }
    scope.check_attribute(&name.python_str(), &attribute.python_str())
}

pub(super) fn get_attr_then_select(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let (name, attribute, path) = attribute_args(call, scope)?;
    if attribute.is_null() {
        return type_error("'NoneType' object is not subscriptable");
    }
    scope.check_resource(&name, "unknown")?;
    let value = scope.attribute(&name.python_str(), &attribute, &[])?;
    Ok(select(value, &path))
}

pub(super) fn get_attr(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let (name, attribute, path) = attribute_args(call, scope)?;
    scope.check_resource(&name, "unknown")?;
    scope.attribute(&name.python_str(), &attribute, &path)
}

pub(super) fn get_file(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let name = call.args.resolve(scope)?;
    let Some(name) = name.as_text() else {
        return type_error("Argument to \"get_file\" must be a string");
    };
    match scope.base.input.files.get(name) {
        Some(text) => Ok(Value::text(text)),
        None => value_error(format!(
            "No content found in the \"files\" section for get_file path: {name}"
        )),
    }
}

const FACADE_HOT: [&str; 3] = ["metadata", "deletion_policy", "update_policy"];
const FACADE_CFN: [&str; 3] = ["Metadata", "DeletionPolicy", "UpdatePolicy"];

fn facade_words(name: &str) -> [&'static str; 3] {
    if name.starts_with("Fn::") {
        FACADE_CFN
    } else {
        FACADE_HOT
    }
}

pub(super) fn check_facade(call: &Call) -> Outcome<()> {
    let words = facade_words(call.function.name);
    match &call.args {
        Expr::Value(Value::Text(text)) if words.contains(&text.as_str()) => Ok(()),
        _ => value_error(format!(
            "Incorrect arguments to \"{}\" should be one of: {}",
            call.function.name,
            words.join(", ")
        )),
    }
}

pub(super) fn facade(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let Some(parent) = &scope.base.parent else {
        return Err(TemplateError::new(
            Kind::AttributeError,
            "'NoneType' object has no attribute 'metadata_get'",
        )
        .advise("resource_facade has a meaning inside a nested template only"));
    };
    let words = facade_words(call.function.name);
    let asked = call
        .args
        .as_value()
        .and_then(Value::as_text)
        .unwrap_or_default();
    Ok(if asked == words[0] {
        parent.metadata.clone()
    } else if asked == words[1] {
        Value::text(parent.deletion_policy.as_str())
    } else {
        parent.update_policy.clone()
    })
}

pub(super) fn get_azs(_call: &Call, _scope: &Scope<'_>) -> Outcome<Value> {
    Ok(Value::List(vec![Value::text("nova")]))
}

/// All attributes of a resource, `show` left out, and those that need a path.
pub(crate) fn all_attributes(
    names: impl Iterator<Item = String>,
    mut ask: impl FnMut(&str) -> Outcome<Value>,
) -> Outcome<Value> {
    let mut map = Map::new();
    for name in names.filter(|name| name != "show") {
        match ask(&name) {
            Ok(value) => {
                map.insert(name, value);
            }
            Err(error) if error.kind == Kind::InvalidTemplateAttribute => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Value::Map(map))
}
