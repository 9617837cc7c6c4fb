//! Text of values, byte for byte as Python writes it.

use crate::number::repr;
use crate::{Map, Value};
use std::fmt::Write as _;

impl Value {
    /// Prints as `json.dumps(value)`: one line, `, ` and `: `, ASCII only.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        write(&mut out, self, None);
        out
    }

    /// Prints as `json.dumps(value, indent=1)`.
    pub fn to_json_indented(&self) -> String {
        let mut out = String::new();
        write(&mut out, self, Some(1));
        out
    }

    /// Prints as `str(value)` for scalars (`True`, `1.0`, `nan`) and as JSON for lists and objects.
    pub fn to_python(&self) -> String {
        match self {
            Value::Null => "None".to_owned(),
            Value::Bool(true) => "True".to_owned(),
            Value::Bool(false) => "False".to_owned(),
            Value::Float(value) => repr(*value),
            Value::Text(text) => text.clone(),
            Value::Int(_) | Value::BigInt(_) | Value::List(_) | Value::Map(_) => self.to_json(),
        }
    }
}

/// Writes `value`; `depth` is the indentation of its members, or nothing for the form on one line.
fn write(out: &mut String, value: &Value, depth: Option<usize>) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => {
            let _ = write!(out, "{value}");
        }
        Value::BigInt(digits) => out.push_str(digits),
        Value::Float(value) if value.is_nan() => out.push_str("NaN"),
        Value::Float(value) if value.is_infinite() => {
            out.push_str(if *value > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            });
        }
        Value::Float(value) => out.push_str(&repr(*value)),
        Value::Text(text) => write_text(out, text),
        Value::List(list) => write_list(out, list, depth),
        Value::Map(map) => write_map(out, map, depth),
    }
}

fn write_list(out: &mut String, list: &[Value], depth: Option<usize>) {
    out.push('[');
    for (n, item) in list.iter().enumerate() {
        separate(out, n, depth);
        write(out, item, depth.map(|depth| depth + 1));
    }
    close(out, ']', list.is_empty(), depth);
}

fn write_map(out: &mut String, map: &Map, depth: Option<usize>) {
    out.push('{');
    for (n, (key, item)) in map.iter().enumerate() {
        separate(out, n, depth);
        write_text(out, key);
        out.push_str(": ");
        write(out, item, depth.map(|depth| depth + 1));
    }
    close(out, '}', map.is_empty(), depth);
}

fn separate(out: &mut String, n: usize, depth: Option<usize>) {
    match depth {
        None if n > 0 => out.push_str(", "),
        None => {}
        Some(depth) => {
            if n > 0 {
                out.push(',');
            }
            newline(out, depth);
        }
    }
}

fn close(out: &mut String, bracket: char, empty: bool, depth: Option<usize>) {
    if let (Some(depth), false) = (depth, empty) {
        newline(out, depth - 1);
    }
    out.push(bracket);
}

fn newline(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', depth));
}

fn write_text(out: &mut String, text: &str) {
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
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use crate::parse;

    #[test]
    fn indented_text_is_pythons() {
        let text = r#"{"b": [1, {"x": []}], "a": {}, "u": "hé😀", "f": 1.10, "n": null}"#;
        let expect = "{\n \"b\": [\n  1,\n  {\n   \"x\": []\n  }\n ],\n \"a\": {},\n \
                      \"u\": \"h\\u00e9\\ud83d\\ude00\",\n \"f\": 1.1,\n \"n\": null\n}";
        assert_eq!(parse(text).unwrap().to_json_indented(), expect);
    }

    #[test]
    fn one_line_text_is_pythons() {
        let text = "{\"k\":\"a\\u0000\\u007f\\/\\b\\f\",\"l\":[1e400,-1e400,NaN,-0,1E2]}";
        let expect =
            "{\"k\": \"a\\u0000\\u007f/\\b\\f\", \"l\": [Infinity, -Infinity, NaN, 0, 100.0]}";
        assert_eq!(parse(text).unwrap().to_json(), expect);
    }
}
