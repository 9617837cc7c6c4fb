//! Functions of lists and maps.

use super::text::syntax;
use super::{key_error, short, type_error, value_error};
use crate::expr::{Call, Expr, Outcome};
use crate::json::parse_json;
use crate::scope::Scope;
use crate::value::{Map, Value};

fn wrong_concat(name: &str) -> String {
    format!(
        "Incorrect arguments to \"{name}\" should be: \"{name}\" : [ [ <value 1>, <value 2> ], [ <value 3>, <value 4> ] ]"
    )
}

fn concat(call: &Call, scope: &Scope<'_>) -> Outcome<Vec<Value>> {
    let args = call.args.resolve(scope)?;
    let Value::List(lists) = &args else {
        return type_error(wrong_concat(call.function.name));
    };
    let mut items = Vec::new();
    for list in lists {
        match list {
            Value::Null => {}
            Value::List(list) => items.extend(list.iter().cloned()),
            other => {
                return type_error(format!(
                    "Incorrect arguments: Items to concat must be lists. {} contains an item that is not a list: {}",
                    args.python_json(false),
                    other.python_json(false)
                ));
            }
        }
    }
    Ok(items)
}

pub(super) fn list_concat(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    concat(call, scope).map(Value::List)
}

pub(super) fn list_concat_unique(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let mut unique: Vec<Value> = Vec::new();
    for item in concat(call, scope)? {
        if !unique.iter().any(|kept| kept.equals(&item)) {
            unique.push(item);
        }
    }
    Ok(Value::List(unique))
}

pub(super) fn map_merge(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let items = match call.args.resolve(scope)? {
        Value::List(items) => items,
        Value::Text(text) => text.chars().map(|c| Value::Text(c.to_string())).collect(),
        _ => {
            return type_error(
                "Incorrect arguments to \"map_merge\" should be: \"map_merge\" : [ { \"key1\": \"val1\" }, { \"key2\": \"val2\" } ]",
            );
        }
    };
    let mut merged = Map::new();
    for item in items {
        match item {
            Value::Null => {}
            Value::Map(map) => merged.extend(map),
            other => {
                return type_error(format!(
                    "Incorrect arguments: Items to merge must be maps. {} is type <class '{}'> instead of a dict",
                    short(other.python_repr()),
                    other.python_type()
                ));
            }
        }
    }
    Ok(Value::Map(merged))
}

pub(super) fn map_replace(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    const EXAMPLE: &str = "\"map_replace\" : [ { \"key1\": \"val1\" }, {\"keys\": {\"key1\": \"key2\"}, \"values\": {\"val1\": \"val2\"}}]";
    let wrong = format!("Incorrect arguments to \"map_replace\" should be: {EXAMPLE}");
    let not_maps = format!(
        "Incorrect arguments: to \"map_replace\", arguments must be a list of maps. Example:  {EXAMPLE}"
    );
    let args = match call.args.resolve(scope)? {
        Value::List(args) if args.len() == 2 => args,
        _ => return type_error(wrong),
    };
    let as_map = |value: &Value| match value {
        Value::Null => Ok(Map::new()),
        Value::Map(map) => Ok(map.clone()),
        _ => type_error(not_maps.clone()),
    };
    let (input, replacements) = (as_map(&args[0])?, as_map(&args[1])?);
    if replacements
        .keys()
        .any(|key| key != "keys" && key != "values")
    {
        return value_error(wrong);
    }
    let part = |key: &str| as_map(replacements.get(key).unwrap_or(&Value::Null));
    let (keys, values) = (part("keys")?, part("values")?);
    let mut output = Map::with_capacity(input.len());
    for (key, value) in &input {
        // A null replacement leaves the key; only text can be a key of JSON.
        let new_key = match keys.get(key) {
            None | Some(Value::Null) => key.clone(),
            Some(new) => new.python_str(),
        };
        if new_key != *key && input.contains_key(&new_key) {
            return value_error(format!(
                "key replacement {new_key} collides with a key in the input map"
            ));
        }
        if output.contains_key(&new_key) {
            return value_error(format!(
                "key replacement {new_key} collides with a key in the output map"
            ));
        }
        let replaced = value.as_text().and_then(|text| values.get(text));
        output.insert(new_key, replaced.unwrap_or(value).clone());
    }
    Ok(Value::Map(output))
}

const REPEAT_SYNTAX: &str = "\"repeat\" syntax should be repeat:\n              template: This is %var%\n              for_each:\n                %var%: ['a', 'b', 'c']";

pub(super) fn check_repeat(call: &Call) -> Outcome<()> {
    if call.args.keys().is_none() {
        return type_error("Arguments to \"repeat\" must be a map");
    }
    let (Some(for_each), Some(_)) = (call.args.get("for_each"), call.args.get("template")) else {
        return key_error(syntax(REPEAT_SYNTAX));
    };
    if for_each.keys().is_none() && !for_each.is_call() {
        return type_error("The \"for_each\" argument to \"repeat\" must contain a map");
    }
    Ok(())
}

pub(super) fn check_repeat_loops(call: &Call) -> Outcome<()> {
    check_repeat(call)?;
    match call.args.get("permutations") {
        None | Some(Expr::Value(Value::Bool(_))) => Ok(()),
        Some(_) => value_error("\"permutations\" should be boolean type for repeat function."),
    }
}

pub(super) fn repeat(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    repeat_over(call, scope, false, true)
}

pub(super) fn repeat_maps(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    repeat_over(call, scope, true, true)
}

pub(super) fn repeat_loops(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let side_by_side = matches!(
        call.args.get("permutations"),
        Some(Expr::Value(Value::Bool(false)))
    );
    repeat_over(call, scope, true, !side_by_side)
}

fn repeat_over(call: &Call, scope: &Scope<'_>, maps: bool, permutations: bool) -> Outcome<Value> {
    let part = |key| {
        call.args
            .get(key)
            .unwrap_or(Expr::Value(Value::Null))
            .resolve(scope)
    };
    let Value::Map(for_each) = part("for_each")? else {
        return type_error("The \"for_each\" argument to \"repeat\" must contain a map");
    };
    let mut keys = Vec::new();
    let mut lists = Vec::new();
    for (key, list) in for_each {
        keys.push(key);
        lists.push(match list {
            Value::Null => Vec::new(),
            Value::List(items) => items,
            Value::Map(map) if maps => map.into_keys().map(Value::Text).collect(),
            _ => {
                let what = if maps { "lists or maps" } else { "lists" };
                return type_error(format!(
                    "The values of the \"for_each\" argument to \"repeat\" must be {what}"
                ));
            }
        });
    }
    let template = part("template")?;
    let rows = if permutations {
        product(&lists)
    } else {
        side_by_side(&lists)?
    };
    let mut results = Vec::with_capacity(rows.len());
    for row in rows {
        results.push(put_in(&keys, &row, &template)?);
    }
    Ok(Value::List(results))
}

/// Every combination; the last list varies fastest.
fn product(lists: &[Vec<Value>]) -> Vec<Vec<Value>> {
    let mut rows = vec![Vec::new()];
    for list in lists {
        let longer = rows.iter().flat_map(|row: &Vec<Value>| {
            list.iter().map(move |item| {
                let mut row = row.clone();
                row.push(item.clone());
                row
            })
        });
        rows = longer.collect();
    }
    rows
}

fn side_by_side(lists: &[Vec<Value>]) -> Outcome<Vec<Vec<Value>>> {
    let length = lists.first().map_or(0, Vec::len);
    if lists.iter().any(|list| list.is_empty()) {
        return Ok(Vec::new());
    }
    if lists.iter().any(|list| list.len() != length) {
        return value_error(
            "For repeat, the length of for_each values should be equal if no permutations.",
        );
    }
    let row = |at: usize| lists.iter().map(|list| list[at].clone()).collect();
    Ok((0..length).map(row).collect())
}

/// Puts values in for keys, one after the other: what the first put in is scanned for the next.
fn put_in(keys: &[String], values: &[Value], template: &Value) -> Outcome<Value> {
    match template {
        Value::Text(text) => put_in_text(keys, values, text).map(Value::Text),
        Value::List(items) => {
            let items: Outcome<_> = items
                .iter()
                .map(|item| put_in(keys, values, item))
                .collect();
            items.map(Value::List)
        }
        Value::Map(map) => {
            let pairs: Outcome<_> = map
                .iter()
                .map(|(key, item)| {
                    Ok((put_in_text(keys, values, key)?, put_in(keys, values, item)?))
                })
                .collect();
            pairs.map(Value::Map)
        }
        other => Ok(other.clone()),
    }
}

fn put_in_text(keys: &[String], values: &[Value], text: &str) -> Outcome<String> {
    let mut text = text.to_owned();
    for (key, value) in std::iter::zip(keys, values) {
        match value {
            Value::Text(value) => text = text.replace(key.as_str(), value),
            other => {
                return type_error(format!(
                    "replace() argument 2 must be str, not {}",
                    other.python_type()
                ));
            }
        }
    }
    Ok(text)
}

pub(super) fn check_filter(call: &Call) -> Outcome<()> {
    match call.args.items() {
        None => type_error("Argument to \"filter\" must be a list"),
        Some(items) if items.len() >= 2 => Ok(()),
        Some(_) => value_error("not enough values to unpack (expected 2)"),
    }
}

pub(super) fn filter(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let items = call.args.items().unwrap_or_default();
    let sequence = items[1].resolve(scope)?;
    if !sequence.is_true() {
        return Ok(sequence);
    }
    let Value::List(sequence) = sequence else {
        return type_error("\"filter\" only works with lists");
    };
    match items[0].resolve(scope)? {
        values if !values.is_true() => Ok(Value::List(sequence)),
        Value::List(values) => Ok(Value::List(
            sequence
                .into_iter()
                .filter(|item| !values.iter().any(|value| value.equals(item)))
                .collect(),
        )),
        _ => type_error("\"filter\" filters a list of values"),
    }
}

pub(super) fn check_contains(call: &Call) -> Outcome<()> {
    match call.args.items() {
        Some(items) if items.len() == 2 => Ok(()),
        _ => {
            value_error("Arguments to \"contains\" must be of the form: [value1, [value1, value2]]")
        }
    }
}

pub(super) fn contains(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let items = call.args.items().unwrap_or_default();
    let value = items[0].resolve(scope)?;
    match items[1].resolve(scope)? {
        Value::List(list) => Ok(Value::Bool(list.iter().any(|item| item.equals(&value)))),
        Value::Text(text) => match value.as_text() {
            Some(part) => Ok(Value::Bool(text.contains(part))),
            None => type_error(format!(
                "'in <string>' requires string as left operand, not {}",
                value.python_type()
            )),
        },
        _ => type_error("Second argument to \"contains\" should be a sequence."),
    }
}

pub(super) fn check_select(call: &Call) -> Outcome<()> {
    match call.args.items() {
        Some(items) if items.len() == 2 => Ok(()),
        _ => value_error("Arguments to \"Fn::Select\" must be of the form [index, collection]"),
    }
}

pub(super) fn select(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let items = call.args.items().unwrap_or_default();
    let index = items[0].resolve(scope)?;
    let mut collection = items[1].resolve(scope)?;
    if let Value::Text(text) = &collection {
        if text.is_empty() {
            return Ok(Value::text(""));
        }
        collection = match parse_json(text) {
            Ok(value) => value,
            Err(why) => return value_error(format!("\"Fn::Select\": {why}")),
        };
    }
    match &collection {
        Value::Map(map) => match index.as_text() {
            Some(key) => Ok(map.get(key).cloned().unwrap_or(Value::text(""))),
            None => type_error("Index to \"Fn::Select\" must be a string"),
        },
        Value::List(list) => {
            let number = match &index {
                Value::Int(number) => Some(*number),
                Value::Bool(flag) => Some(i64::from(*flag)),
                Value::Float(number) => Some(*number as i64),
                Value::Text(text) => text.trim().parse().ok(),
                _ => None,
            };
            let Some(number) = number else {
                return type_error("Index to \"Fn::Select\" must be an integer");
            };
            let place = if number < 0 {
                number + list.len() as i64
            } else {
                number
            };
            let item = usize::try_from(place)
                .ok()
                .and_then(|place| list.get(place));
            Ok(item.cloned().unwrap_or(Value::text("")))
        }
        Value::Null => Ok(Value::text("")),
        _ => type_error("Arguments to Fn::Select not fully resolved"),
    }
}

const MEMBER_LIST: &str = "Incorrect arguments to \"Fn::MemberListToMap\" should be: \"Fn::MemberListToMap\": [ \"Name\", \"Value\", [ \".member.0.Name=foo\", \".member.0.Value=bar\" ] ]";

pub(super) fn check_member_list(call: &Call) -> Outcome<()> {
    match call.args.items() {
        None => type_error(MEMBER_LIST),
        Some(items) if items.len() == 3 => Ok(()),
        Some(_) => value_error(MEMBER_LIST),
    }
}

pub(super) fn member_list(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let items = call.args.items().unwrap_or_default();
    let (key_word, value_word) = (items[0].resolve(scope)?, items[1].resolve(scope)?);
    let (Some(key_word), Some(value_word)) = (key_word.as_text(), value_word.as_text()) else {
        return type_error(MEMBER_LIST);
    };
    let Value::List(members) = items[2].resolve(scope)? else {
        return type_error(MEMBER_LIST);
    };
    let mut found: indexmap::IndexMap<String, Map> = indexmap::IndexMap::new();
    for member in &members {
        let Some((name, value)) = member.as_text().and_then(|text| text.split_once('=')) else {
            continue;
        };
        if let Some((index, word)) = name
            .strip_prefix(".member.")
            .and_then(|rest| rest.split_once('.'))
        {
            found
                .entry(index.to_owned())
                .or_default()
                .insert(word.to_owned(), Value::from(value));
        }
    }
    let mut map = Map::new();
    for member in found.into_values() {
        if let (Some(key), Some(value)) = (member.get(key_word), member.get(value_word)) {
            map.insert(key.python_str(), value.clone());
        }
    }
    Ok(Value::Map(map))
}

pub(super) fn check_find_in_map(call: &Call) -> Outcome<()> {
    match call.args.items() {
        Some(items) if items.len() == 3 => Ok(()),
        _ => key_error(syntax(
            "Arguments to \"Fn::FindInMap\" must be of the form [map, key, value]",
        )),
    }
}

pub(super) fn find_in_map(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let items = call.args.items().unwrap_or_default();
    let mut value = scope
        .base
        .input
        .template
        .document()
        .get("Mappings")
        .cloned()
        .unwrap_or_default();
    for item in &items {
        let key = item.resolve(scope)?;
        value = match key.as_text().and_then(|key| value.get(key)) {
            Some(next) => next.clone(),
            None => return key_error(key.python_repr()),
        };
    }
    Ok(value)
}
