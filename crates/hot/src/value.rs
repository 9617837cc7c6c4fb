//! Values of templates: what a function takes and gives.
//!
//! They keep the order of keys, compare as Python does where Heat does ([`Value::equals`]) and
//! spell themselves as Python would ([`Value::python_str`]). Positions are not here: an error names
//! its place by a path, and [`crate::locate`] finds the path in the text.

use std::fmt;

use indexmap::IndexMap;
use yaml::{Node, Yaml, spell_float};

/// A map from text to values that keeps the order of its keys.
pub type Map = IndexMap<String, Value>;

/// A value in a template, parameter, property or output.
///
/// `==` is strict (`1` is not `true`); [`Value::equals`] is Python's.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A map.
    Map(Map),
}

impl Value {
    /// Makes a text value.
    pub fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }

    /// The text, if it is text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items, if it is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The map, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The whole number, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The value under a key, if it is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map().and_then(|map| map.get(key))
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Whether Python holds it for true: not null, false, zero or empty.
    pub fn is_true(&self) -> bool {
        match self {
            Value::Null => false,
            Value::Bool(value) => *value,
            Value::Int(number) => *number != 0,
            Value::Float(number) => *number != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::List(items) => !items.is_empty(),
            Value::Map(map) => !map.is_empty(),
        }
    }

    /// A boolean or number as Python computes with it; `true` is 1.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Value::Bool(value) => Some(f64::from(u8::from(*value))),
            Value::Int(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// Python's `==`: `1 == 1.0 == true`, and the order of keys does not matter.
    pub fn equals(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::List(a), Value::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b))
            }
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len()
                    && a.iter()
                        .all(|(key, a)| b.get(key).is_some_and(|b| a.equals(b)))
            }
            _ => match (self.as_number(), other.as_number()) {
                (Some(a), Some(b)) => a == b,
                _ => false,
            },
        }
    }

    /// Python's `str()`: text as it is, all else as its `repr`.
    pub fn python_str(&self) -> String {
        match self {
            Value::Text(text) => text.clone(),
            other => other.python_repr(),
        }
    }

    /// Python's `repr()`: `None`, `True`, `1.0`, `'text'`, `[1, 'a']`, `{'a': 1}`.
    pub fn python_repr(&self) -> String {
        let mut text = String::new();
        self.write_repr(&mut text);
        text
    }

    fn write_repr(&self, out: &mut String) {
        match self {
            Value::Null => out.push_str("None"),
            Value::Bool(true) => out.push_str("True"),
            Value::Bool(false) => out.push_str("False"),
            Value::Int(number) => out.push_str(&number.to_string()),
            Value::Float(number) => out.push_str(&spell_float(*number)),
            Value::Text(text) => repr_text(text, out),
            Value::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    item.write_repr(out);
                }
                out.push(']');
            }
            Value::Map(map) => {
                out.push('{');
                for (at, (key, item)) in map.iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    repr_text(key, out);
                    out.push_str(": ");
                    item.write_repr(out);
                }
                out.push('}');
            }
        }
    }

    /// Python's name of its type, as error messages show it.
    pub fn python_type(&self) -> &'static str {
        match self {
            Value::Null => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Text(_) => "str",
            Value::List(_) => "list",
            Value::Map(_) => "dict",
        }
    }

    /// JSON as Python's `json.dumps` writes it: `", "` and `": "`, ASCII escapes; keys sorted on request.
    pub fn python_json(&self, sort_keys: bool) -> String {
        let mut text = String::new();
        self.write_json(&mut text, sort_keys);
        text
    }

    fn write_json(&self, out: &mut String, sort_keys: bool) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Int(number) => out.push_str(&number.to_string()),
            Value::Float(number) if number.is_nan() => out.push_str("NaN"),
            Value::Float(number) if number.is_infinite() => {
                out.push_str(if *number > 0.0 {
                    "Infinity"
                } else {
                    "-Infinity"
                });
            }
            Value::Float(number) => out.push_str(&spell_float(*number)),
            Value::Text(text) => json_text(text, out),
            Value::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    item.write_json(out, sort_keys);
                }
                out.push(']');
            }
            Value::Map(map) => {
                let mut pairs: Vec<_> = map.iter().collect();
                if sort_keys {
                    pairs.sort_by(|a, b| a.0.cmp(b.0));
                }
                out.push('{');
                for (at, (key, item)) in pairs.into_iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    json_text(key, out);
                    out.push_str(": ");
                    item.write_json(out, sort_keys);
                }
                out.push('}');
            }
        }
    }

    /// Reads YAML or JSON text into a value; keys become text as they do on their way through JSON.
    pub fn from_yaml(node: &Node) -> Value {
        match &node.value {
            Yaml::Null => Value::Null,
            Yaml::Bool(value) => Value::Bool(*value),
            Yaml::Int(number) => Value::Int(*number),
            Yaml::Float(number) => Value::Float(*number),
            Yaml::Text(text) => Value::Text(text.clone()),
            Yaml::Seq(items) => Value::List(items.iter().map(Value::from_yaml).collect()),
            Yaml::Map(pairs) => Value::Map(
                pairs
                    .iter()
                    .map(|(key, value)| (key_text(&key.value), Value::from_yaml(value)))
                    .collect(),
            ),
        }
    }

    /// The value as JSON. Infinite numbers become text, as JSON has none.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(number) => (*number).into(),
            Value::Float(number) => match serde_json::Number::from_f64(*number) {
                Some(number) => serde_json::Value::Number(number),
                None => spell_float(*number).into(),
            },
            Value::Text(text) => text.clone().into(),
            Value::List(items) => items.iter().map(Value::to_json).collect::<Vec<_>>().into(),
            Value::Map(map) => map_to_json(map),
        }
    }

    /// The value of a JSON document.
    pub fn from_json(json: &serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(number) => Value::Int(number),
                None => Value::Float(number.as_f64().unwrap_or(f64::INFINITY)),
            },
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(items) => {
                Value::List(items.iter().map(Value::from_json).collect())
            }
            serde_json::Value::Object(map) => Value::Map(
                map.iter()
                    .map(|(key, value)| (key.clone(), Value::from_json(value)))
                    .collect(),
            ),
        }
    }
}

/// A map as a JSON object.
pub fn map_to_json(map: &Map) -> serde_json::Value {
    let pairs = map
        .iter()
        .map(|(key, value)| (key.clone(), value.to_json()));
    serde_json::Value::Object(pairs.collect())
}

/// The map of a JSON object; anything else is an empty map.
pub fn map_from_json(json: &serde_json::Value) -> Map {
    match Value::from_json(json) {
        Value::Map(map) => map,
        _ => Map::new(),
    }
}

/// A key as `json.dumps` makes it text.
fn key_text(key: &Yaml) -> String {
    match key {
        Yaml::Text(text) => text.clone(),
        Yaml::Bool(value) => value.to_string(),
        Yaml::Int(number) => number.to_string(),
        Yaml::Float(number) => spell_float(*number),
        Yaml::Null | Yaml::Seq(_) | Yaml::Map(_) => "null".to_owned(),
    }
}

fn repr_text(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}

fn json_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (' '..='~').contains(&c) => out.push(c),
            c => {
                let mut units = [0u16; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.python_str())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Value {
        Value::Map(map)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Value {
        Value::List(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        Value::from_yaml(&yaml::parse(text).unwrap())
    }

    #[track_caller]
    fn check_repr(text: &str, expect: &str) {
        assert_eq!(read(text).python_repr(), expect);
    }

    #[track_caller]
    fn check_json(text: &str, expect: &str) {
        assert_eq!(read(text).python_json(true), expect);
    }

    #[test]
    fn values_are_spelled_as_python_spells_them() {
        check_repr(
            "[1, a, null, true, 1.5e+22]",
            "[1, 'a', None, True, 1.5e+22]",
        );
        check_repr("{a: \"it's\"}", "{'a': \"it's\"}");
        check_repr("\"\\x01\"", "'\\x01'");
        check_json("{b: [1, ü], a: 1.0}", r#"{"a": 1.0, "b": [1, "\u00fc"]}"#);
        check_json("\"\u{1f600}\"", r#""\ud83d\ude00""#);
    }

    #[test]
    fn keys_become_text_as_in_json() {
        check_json(
            "{1: a, null: b, false: c}",
            r#"{"1": "a", "false": "c", "null": "b"}"#,
        );
    }

    #[test]
    fn equality_is_pythons() {
        assert!(Value::Int(1).equals(&Value::Bool(true)));
        assert!(Value::Float(0.0).equals(&Value::Bool(false)));
        assert!(!Value::Int(1).equals(&Value::text("1")));
        assert!(read("{a: 1, b: [true]}").equals(&read("{b: [1], a: 1.0}")));
        assert_ne!(Value::Int(1), Value::Bool(true));
    }
}
