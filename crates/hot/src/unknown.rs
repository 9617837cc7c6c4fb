//! Values that are not known yet: what a preview puts in place of an id to come.
//!
//! Such a value is text with a mark that no template can hold. It goes through functions like any
//! text, and is never equal to a recorded value.

use crate::value::Value;

const MARK: char = '\u{F8FE}';

/// Stands for something of a resource that is known only after it was made.
pub fn unknown(resource: &str, what: &str) -> Value {
    Value::Text(format!("{MARK}{resource}.{what}{MARK}"))
}

/// Whether a value is, or holds, one that is not known yet.
pub fn is_inside(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.contains(MARK),
        Value::List(items) => items.iter().any(is_inside),
        Value::Map(map) => map
            .iter()
            .any(|(key, item)| key.contains(MARK) || is_inside(item)),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => false,
    }
}
