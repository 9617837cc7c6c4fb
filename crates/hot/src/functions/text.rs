//! Functions of text: join, replace, split.

use super::{key_error, short, type_error, value_error};
use crate::expr::{Call, Expr, Outcome};
use crate::scope::Scope;
use crate::value::{Map, Value};

fn wrong_join(call: &Call, many: bool) -> String {
    let name = call.function.name;
    let more = if many { " ..." } else { "" };
    format!(
        "Incorrect arguments to \"{name}\" should be: \"{name}\" : [ \" \", [ \"str1\", \"str2\"]{more}]"
    )
}

pub(super) fn check_join(call: &Call) -> Outcome<()> {
    match call.args.items() {
        None => type_error(wrong_join(call, false)),
        Some(items) if items.len() == 2 => Ok(()),
        Some(_) => value_error(wrong_join(call, false)),
    }
}

pub(super) fn check_join_many(call: &Call) -> Outcome<()> {
    match call.args.items() {
        None => type_error(wrong_join(call, true)),
        Some(items) if items.len() >= 2 => Ok(()),
        Some(_) => value_error(wrong_join(call, true)),
    }
}

/// The arguments in place: one that is left out is null, so the others keep their places.
fn arguments(call: &Call, scope: &Scope<'_>) -> Outcome<Vec<Value>> {
    match call.args.items() {
        Some(items) => items.iter().map(|item| item.resolve(scope)).collect(),
        None => match call.args.resolve(scope)? {
            Value::List(items) => Ok(items),
            other => Ok(vec![other]),
        },
    }
}

pub(super) fn join(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let name = call.function.name;
    let args = arguments(call, scope)?;
    let items = match &args[1] {
        Value::Null => &[][..],
        Value::List(items) => items,
        _ => return type_error(format!("\"{name}\" must operate on a list")),
    };
    let Some(delimiter) = args[0].as_text() else {
        return type_error(format!("\"{name}\" delimiter must be a string"));
    };
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Value::Null => texts.push(String::new()),
            Value::Text(text) => texts.push(text.clone()),
            other => {
                let shown = short(other.python_repr());
                return type_error(format!("Items to join must be strings not {shown}"));
            }
        }
    }
    Ok(Value::Text(texts.join(delimiter)))
}

pub(super) fn join_many(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let name = call.function.name;
    let args = arguments(call, scope)?;
    let mut items = Vec::new();
    for list in &args[1..] {
        match list {
            Value::List(list) => items.extend(list),
            falsy if !falsy.is_true() => {}
            _ => return type_error(format!("\"{name}\" must operate on a list")),
        }
    }
    let Some(delimiter) = args[0].as_text() else {
        return type_error(format!("\"{name}\" delimiter must be a string"));
    };
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Value::Null => texts.push(String::new()),
            Value::Text(text) => texts.push(text.clone()),
            Value::List(_) | Value::Map(_) => texts.push(item.python_json(true)),
            other => {
                let shown = short(other.python_repr());
                return type_error(format!(
                    "Items to join must be string, map or list not {shown}"
                ));
            }
        }
    }
    Ok(Value::Text(texts.join(delimiter)))
}

pub(super) fn check_replace(call: &Call) -> Outcome<()> {
    let name = call.function.name;
    if call.args.keys().is_none() {
        return type_error(format!("Arguments to \"{name}\" must be a map"));
    }
    let (Some(params), Some(_)) = (call.args.get("params"), call.args.get("template")) else {
        return key_error(syntax(&format!(
            "\"{name}\" syntax should be {name}:\n              template: This is var1 template var2\n              params:\n                var1: a\n                var2: string"
        )));
    };
    if params.keys().is_none() && !params.is_call() {
        return type_error(format!("\"{name}\" parameters must be a mapping"));
    }
    Ok(())
}

/// A `KeyError` prints the `repr` of its message.
pub(super) fn syntax(message: &str) -> String {
    Value::text(message).python_repr()
}

/// How values are put into a template.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strictness {
    /// Text and numbers only.
    Plain,
    /// Maps and lists become JSON.
    Json,
    /// All placeholders must be found.
    Found,
    /// All placeholders must be found and have a value.
    Valued,
}

/// Replaces placeholders; a value that was put in is not looked at again.
struct Replacement<'a> {
    keys: Vec<&'a str>,
    values: Vec<String>,
    found: Vec<bool>,
}

impl Replacement<'_> {
    fn run(&mut self, text: &str, from: usize) -> String {
        if from == self.keys.len() {
            return text.to_owned();
        }
        let parts: Vec<&str> = text.split(self.keys[from]).collect();
        self.found[from] |= parts.len() > 1;
        let parts: Vec<String> = parts
            .into_iter()
            .map(|part| self.run(part, from + 1))
            .collect();
        parts.join(&self.values[from])
    }
}

fn replace_in(
    name: &str,
    template: &Value,
    params: &Map,
    strictness: Strictness,
) -> Outcome<Value> {
    let Some(template) = template.as_text() else {
        return type_error(format!("\"{name}\" template must be a string"));
    };
    let mut keys: Vec<&str> = params.keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys.sort_by_key(|key| std::cmp::Reverse(key.chars().count()));
    let mut values = Vec::with_capacity(keys.len());
    for key in &keys {
        values.push(replacement(name, key, &params[*key], strictness)?);
        if key.is_empty() {
            return value_error("empty separator");
        }
    }
    let found = vec![false; keys.len()];
    let mut replacement = Replacement {
        keys,
        values,
        found,
    };
    let text = replacement.run(template, 0);
    if matches!(strictness, Strictness::Found | Strictness::Valued) {
        let missing: Vec<&str> = std::iter::zip(&replacement.keys, &replacement.found)
            .filter(|(_, found)| !**found)
            .map(|(key, _)| *key)
            .collect();
        if !missing.is_empty() {
            return value_error(format!(
                "The following params were not found in the template: {}",
                missing.join(",")
            ));
        }
    }
    Ok(Value::Text(text))
}

fn replacement(name: &str, key: &str, value: &Value, strictness: Strictness) -> Outcome<String> {
    if strictness == Strictness::Valued && !value.is_true() && value.as_number().is_none() {
        return value_error(format!(
            "{name} has an undefined or empty value for param {key}, must be a defined non-empty value"
        ));
    }
    match value {
        Value::Null => Ok(String::new()),
        Value::List(_) | Value::Map(_) if strictness != Strictness::Plain => {
            Ok(value.python_json(true))
        }
        Value::List(_) | Value::Map(_) => type_error(format!(
            "\"{name}\" params must be strings or numbers, param {key} is not valid"
        )),
        other => Ok(other.python_str()),
    }
}

fn replace_with(call: &Call, scope: &Scope<'_>, strictness: Strictness) -> Outcome<Value> {
    let name = call.function.name;
    let part = |key| {
        call.args
            .get(key)
            .unwrap_or(Expr::Value(Value::Null))
            .resolve(scope)
    };
    let template = part("template")?;
    let Value::Map(params) = part("params")? else {
        return type_error(format!("\"{name}\" params must be a map"));
    };
    replace_in(name, &template, &params, strictness)
}

pub(super) fn replace(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    replace_with(call, scope, Strictness::Plain)
}

pub(super) fn replace_json(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    replace_with(call, scope, Strictness::Json)
}

pub(super) fn replace_strict(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    replace_with(call, scope, Strictness::Found)
}

pub(super) fn replace_vstrict(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    replace_with(call, scope, Strictness::Valued)
}

pub(super) fn check_cfn_replace(call: &Call) -> Outcome<()> {
    let name = call.function.name;
    let wrong = format!(
        "Incorrect arguments to \"{name}\" should be: \"{name}\": [ {{ \"$var1\": \"foo\", \"%var2%\": \"bar\" }}, \"$var1 is %var2%\" ]"
    );
    let Some(items) = call.args.items() else {
        return type_error(wrong);
    };
    let [params, _] = &items[..] else {
        return value_error(wrong);
    };
    if params.keys().is_none() && !params.is_call() {
        return type_error(format!("\"{name}\" parameters must be a mapping"));
    }
    Ok(())
}

pub(super) fn cfn_replace(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let name = call.function.name;
    let args = arguments(call, scope)?;
    let Value::Map(params) = &args[0] else {
        return type_error(format!("\"{name}\" params must be a map"));
    };
    replace_in(name, &args[1], params, Strictness::Plain)
}

fn wrong_str_split(call: &Call, what: &str) -> String {
    let name = call.function.name;
    format!(
        "Incorrect {what} to \"{name}\" should be: \"{name}\" : [ \",\", \"apples,pears\", <index>]"
    )
}

pub(super) fn check_str_split(call: &Call) -> Outcome<()> {
    match &call.args {
        Expr::Value(Value::Text(_) | Value::Map(_)) | Expr::Map(_) => {
            type_error(wrong_str_split(call, "arguments"))
        }
        _ => Ok(()),
    }
}

pub(super) fn str_split(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let Value::List(args) = call.args.resolve(scope)? else {
        return value_error(wrong_str_split(call, "arguments"));
    };
    let [delimiter, text, rest @ ..] = &args[..] else {
        return value_error(wrong_str_split(call, "arguments"));
    };
    if text.is_null() {
        return Ok(Value::Null);
    }
    let Some(text) = text.as_text() else {
        return Err(crate::TemplateError::new(
            crate::Kind::AttributeError,
            format!("'{}' object has no attribute 'split'", text.python_type()),
        ));
    };
    let parts = match delimiter {
        Value::Null => text.split_whitespace().map(Value::from).collect(),
        Value::Text(delimiter) if delimiter.is_empty() => return value_error("empty separator"),
        Value::Text(delimiter) => text
            .split(delimiter.as_str())
            .map(Value::from)
            .collect::<Vec<_>>(),
        other => {
            return type_error(format!("must be str or None, not {}", other.python_type()));
        }
    };
    let Some(index) = rest.first() else {
        return Ok(Value::List(parts));
    };
    let index = match index {
        Value::Int(number) => Some(*number),
        Value::Bool(flag) => Some(i64::from(*flag)),
        Value::Float(number) => Some(*number as i64),
        Value::Text(text) => text.trim().parse().ok(),
        other => {
            return type_error(format!(
                "int() argument must be a string, a bytes-like object or a real number, not '{}'",
                other.python_type()
            ));
        }
    };
    let Some(index) = index else {
        return value_error(wrong_str_split(call, "index"));
    };
    let length = parts.len() as i64;
    let place = if index < 0 { index + length } else { index };
    match usize::try_from(place)
        .ok()
        .and_then(|place| parts.get(place))
    {
        Some(part) => Ok(part.clone()),
        None => value_error(format!(
            "Incorrect index to \"str_split\" should be between 0 and {}",
            length - 1
        )),
    }
}

pub(super) fn check_split(call: &Call) -> Outcome<()> {
    let wrong =
        "Incorrect arguments to \"Fn::Split\" should be: \"Fn::Split\" : [ \",\", \"str1,str2\"]]";
    match call.args.items() {
        None => type_error(wrong),
        Some(items) if items.len() == 2 => Ok(()),
        Some(_) => value_error(wrong),
    }
}

pub(super) fn split(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let args = arguments(call, scope)?;
    let Some(text) = args[1].as_text() else {
        return type_error(format!(
            "String to split must be string; got <class '{}'>",
            args[1].python_type()
        ));
    };
    let Some(delimiter) = args[0].as_text() else {
        return type_error("\"Fn::Split\" delimiter must be a string");
    };
    if delimiter.is_empty() {
        return value_error("empty separator");
    }
    Ok(Value::List(
        text.split(delimiter).map(Value::from).collect(),
    ))
}

/// Heat does not encode: the cloud's user data do that later.
pub(super) fn base64(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    match call.args.resolve(scope)? {
        Value::Text(text) => Ok(Value::Text(text)),
        _ => type_error("\"Fn::Base64\" argument must be a string"),
    }
}
