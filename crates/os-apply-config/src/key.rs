//! Finds and prints single values for `--key` and `--boolean-key`.

use crate::ApplyError;
use crate::types::ValueType;
use metadata::Value;

/// The value that the dotted `key` names. Null counts as missing.
pub fn find<'d>(document: &'d Value, key: &str) -> Option<&'d Value> {
    let mut value = document;
    for part in key.split('.') {
        value = match value {
            Value::Map(map) => map.get(part)?,
            Value::List(list) => list.get(index(part, list.len())?)?,
            _ => return None,
        };
        if matches!(value, Value::Null) {
            return None;
        }
    }
    Some(value)
}

/// Reads a list index as Python's `int()` does; negative ones count from the end.
fn index(text: &str, length: usize) -> Option<usize> {
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    // Python allows single underscores between digits.
    let grouped = digits
        .split('_')
        .all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit()));
    if !grouped {
        return None;
    }
    let number: usize = digits.replace('_', "").parse().ok()?;
    if text.starts_with('-') && number > 0 {
        length.checked_sub(number)
    } else {
        Some(number)
    }
}

/// The text that `--key` prints for `value`, if it is of type `kind`.
pub fn text(value: &Value, kind: &str) -> Result<String, ApplyError> {
    let checked = ValueType::named(kind).ok_or_else(|| ApplyError::UnknownType {
        kind: kind.to_owned(),
    })?;
    let python = value.to_python();
    // What Python prints for a list or an object fits no type but `raw`.
    let container = matches!(value, Value::List(_) | Value::Map(_));
    if (container && checked != ValueType::Raw) || !checked.accepts(&python) {
        return Err(ApplyError::Type {
            value: python,
            kind: kind.to_owned(),
        });
    }
    Ok(match value {
        Value::Bool(_) | Value::List(_) | Value::Map(_) => value.to_json(),
        _ => python,
    })
}

/// The dotted key that exists in `document` and is spelled most nearly like `key`.
pub fn nearest(document: &Value, key: &str) -> Option<String> {
    let mut found: Option<(usize, String)> = None;
    let mut open = vec![(String::new(), document)];
    while let Some((prefix, value)) = open.pop() {
        for (name, value) in value.as_map().into_iter().flatten() {
            let full = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            let distance = distance(&full, key);
            if found.as_ref().is_none_or(|(least, _)| distance < *least) {
                found = Some((distance, full.clone()));
            }
            open.push((full, value));
        }
    }
    let limit = (key.chars().count() / 3).max(1);
    found
        .filter(|(distance, _)| *distance <= limit)
        .map(|(_, key)| key)
}

/// How many characters must be added, dropped or changed to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let changed = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        metadata::parse(
            r#"{"l":[1,"a",null,{"x":2}],"d":{"0":"zero"},"host":{"name":"n"},"f":1e3,"t":true}"#,
        )
        .unwrap()
    }

    #[test]
    fn finding() {
        let document = document();
        for (key, expect) in [
            ("l.0", "1"),
            ("l.-1.x", "2"),
            ("l.+1", "\"a\""),
            ("l. 1", "\"a\""),
            ("l.0_1", "\"a\""),
            ("d.0", "\"zero\""),
        ] {
            assert_eq!(find(&document, key).unwrap().to_json(), expect, "{key}");
        }
        for key in [
            "l.2", "l.9", "l.-5", "l.x", "l.1_", "l", "no", "d..0", "d.", "t.x",
        ] {
            assert_eq!(find(&document, key).is_some(), key == "l", "{key}");
        }
    }

    #[test]
    fn printing() {
        assert_eq!(text(&Value::Bool(true), "default").unwrap(), "true");
        assert_eq!(text(&Value::Float(1e3), "raw").unwrap(), "1000.0");
        assert!(text(&Value::Bool(true), "int").is_err());
        assert!(text(&Value::List(Vec::new()), "default").is_err());
        assert!(text(&Value::Null, "nosuch").is_err());
    }

    #[test]
    fn the_nearest_key_is_offered_only_if_it_is_near() {
        assert_eq!(
            nearest(&document(), "host.nane").as_deref(),
            Some("host.name")
        );
        assert_eq!(nearest(&document(), "completely.else"), None);
    }
}
