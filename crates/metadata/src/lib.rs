//! The documents that describe a node: JSON as upstream's Python agents read, merge, compare and print it.
//!
//! Integers of any size stay exact, the order of keys is kept, `NaN` is a number, and `1 == 1.0 == true`. Images
//! depend on each of these. Reads no file and knows no agent; where documents come from is the collectors' job.

mod number;
mod parse;
mod print;
mod secrets;

pub use parse::{ParseError, parse};

use indexmap::IndexMap;

/// An object; keys keep the order in which they were first seen.
pub type Map = IndexMap<String, Value>;

/// One JSON value.
#[derive(Debug, Clone)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer that fits a machine word.
    Int(i64),
    /// A larger integer, in canonical decimal notation.
    BigInt(String),
    /// A number with a fraction or an exponent; may be infinite or not a number.
    Float(f64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Value>),
    /// An object.
    Map(Map),
}

impl Value {
    /// The object inside, if this is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The list inside, if this is one.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// The text inside, if this is a string.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The member `key` of an object; nothing for all other values.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map().and_then(|map| map.get(key))
    }

    /// Whether Python takes the value for true.
    pub fn is_truthy(&self) -> bool {
        match self {
            Value::Null => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::BigInt(_) => true,
            Value::Float(value) => *value != 0.0,
            Value::Text(value) => !value.is_empty(),
            Value::List(value) => !value.is_empty(),
            Value::Map(value) => !value.is_empty(),
        }
    }

    /// Compares as Python's `==`: by number across integers, floats and booleans, without the order of keys.
    pub fn equals(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::List(a), Value::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b))
            }
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len()
                    && a.iter()
                        .all(|(key, a)| b.get(key).is_some_and(|b| a.equals(b)))
            }
            _ => number::equal(self, other),
        }
    }

    /// Merges `other` over this value: objects member by member, anything else replaces.
    pub fn merge(&mut self, other: &Value) {
        match (&mut *self, other) {
            (Value::Map(into), Value::Map(from)) => merge(into, from),
            (into, from) => *into = from.clone(),
        }
    }
}

/// Merges `from` over `into`, member by member and deeply. New keys go last.
pub fn merge(into: &mut Map, from: &Map) {
    for (key, value) in from {
        match into.get_mut(key) {
            Some(old) => old.merge(value),
            None => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        Value::List(values.into_iter().map(Into::into).collect())
    }
}

/// Makes an object of pairs.
pub fn object<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Map(
        pairs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[track_caller]
    fn merged(documents: &[&str], expect: &str) {
        let mut all = Value::Map(Map::new());
        for document in documents {
            all.merge(&read(document));
        }
        assert_eq!(all.to_json(), expect);
    }

    #[test]
    fn merging() {
        merged(
            &[r#"{"a":{"x":1,"y":2}}"#, r#"{"a":{"y":3,"w":4}}"#],
            r#"{"a": {"x": 1, "y": 3, "w": 4}}"#,
        );
        merged(&[r#"{"a":[1,2]}"#, r#"{"a":[9]}"#], r#"{"a": [9]}"#);
        merged(&[r#"{"a":{"x":1}}"#, r#"{"a":{}}"#], r#"{"a": {"x": 1}}"#);
        merged(&[r#"{"a":{"x":1}}"#, r#"{"a":null}"#], r#"{"a": null}"#);
        merged(
            &[r#"{"a":5,"b":1}"#, r#"{"a":{"x":1}}"#],
            r#"{"a": {"x": 1}, "b": 1}"#,
        );
    }

    #[track_caller]
    fn equal(a: &str, b: &str, expect: bool) {
        assert_eq!(read(a).equals(&read(b)), expect, "{a} == {b}");
        assert_eq!(read(b).equals(&read(a)), expect, "{b} == {a}");
    }

    #[test]
    fn equality_is_pythons() {
        equal("1", "true", true);
        equal("0", "false", true);
        equal("2", "2.0", true);
        equal("2", "2.5", false);
        equal("12345678901234567890123", "12345678901234567890123", true);
        equal("12345678901234567890123", "12345678901234567890124", false);
        equal("100000000000000000000", "1e20", true);
        equal("9007199254740993", "9007199254740992.0", false);
        equal("NaN", "NaN", false);
        equal(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1.0}"#, true);
        equal(r#"{"a":1}"#, r#"{"a":1,"b":null}"#, false);
        equal(r#""1""#, "1", false);
        equal("null", "false", false);
        equal("[]", "{}", false);
    }

    #[test]
    fn truth_is_pythons() {
        for text in ["null", "false", "0", "0.0", "-0.0", r#""""#, "[]", "{}"] {
            assert!(!read(text).is_truthy(), "{text}");
        }
        for text in [
            "true",
            "1",
            "-1",
            "0.1",
            "NaN",
            r#""0""#,
            "[0]",
            r#"{"a":null}"#,
        ] {
            assert!(read(text).is_truthy(), "{text}");
        }
    }
}
