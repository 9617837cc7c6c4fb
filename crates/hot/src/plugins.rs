//! What the small types of Heat make of their properties, as far as it needs no cloud.

use crate::value::{Map, Value};

const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGITS: &str = "0123456789";

fn class(name: &str) -> String {
    match name {
        "letters" => format!("{LOWER}{UPPER}"),
        "lowercase" => LOWER.to_owned(),
        "uppercase" => UPPER.to_owned(),
        "digits" => DIGITS.to_owned(),
        "hexdigits" => format!("{DIGITS}ABCDEF"),
        "octdigits" => "01234567".to_owned(),
        _ => format!("{LOWER}{UPPER}{DIGITS}"),
    }
}

/// The text of an `OS::Heat::RandomString`; `pick` gives a number below its argument.
///
/// Every class and sequence is used at least as often as it asks for, the rest is drawn from all
/// of them, then everything is shuffled.
pub fn random_string(properties: &Map, pick: &mut dyn FnMut(usize) -> usize) -> String {
    let length = properties
        .get("length")
        .and_then(Value::as_int)
        .unwrap_or(32);
    let length = usize::try_from(length).unwrap_or(32);
    let mut sources: Vec<(String, usize)> = Vec::new();
    let minimum = |item: &Value| {
        item.get("min")
            .and_then(Value::as_int)
            .and_then(|min| usize::try_from(min).ok())
            .unwrap_or(1)
    };
    if let Some(name) = properties
        .get("sequence")
        .and_then(Value::as_text)
        .filter(|n| !n.is_empty())
    {
        sources.push((class(name), 1));
    } else {
        let list = |key: &str| {
            properties
                .get(key)
                .and_then(Value::as_list)
                .unwrap_or_default()
        };
        for item in list("character_classes") {
            let name = item
                .get("class")
                .and_then(Value::as_text)
                .unwrap_or("lettersdigits");
            sources.push((class(name), minimum(item)));
        }
        for item in list("character_sequences") {
            let letters = item
                .get("sequence")
                .map(Value::python_str)
                .unwrap_or_default();
            sources.push((letters, minimum(item)));
        }
    }
    sources.retain(|(letters, _)| !letters.is_empty());
    if sources.is_empty() {
        sources.push((class("lettersdigits"), 1));
    }
    let mut drawn: Vec<char> = Vec::with_capacity(length);
    let draw = |letters: &str, drawn: &mut Vec<char>, pick: &mut dyn FnMut(usize) -> usize| {
        let at = pick(letters.chars().count());
        drawn.extend(letters.chars().nth(at));
    };
    for (letters, minimum) in &sources {
        for _ in 0..*minimum {
            draw(letters, &mut drawn, pick);
        }
    }
    while drawn.len() < length {
        let (letters, _) = &sources[pick(sources.len())];
        draw(letters, &mut drawn, pick);
    }
    for at in (1..drawn.len()).rev() {
        drawn.swap(at, pick(at + 1));
    }
    drawn.into_iter().collect()
}

/// The config of an `OS::Heat::CloudConfig`.
pub fn cloud_config(properties: &Map) -> Value {
    let config = properties
        .get("cloud_config")
        .cloned()
        .unwrap_or(Value::Map(Map::new()));
    let mut text = String::from("#cloud-config\n");
    write_yaml(&config, 0, &mut text);
    Value::Text(text)
}

/// Writes plain YAML, keys sorted, as PyYAML does by default.
fn write_yaml(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Map(map) if !map.is_empty() => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by(|a, b| a.0.cmp(b.0));
            for (key, item) in pairs {
                out.push_str(&"  ".repeat(depth));
                out.push_str(&scalar(&Value::text(key)));
                out.push(':');
                write_item(item, depth, out);
            }
        }
        Value::List(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&"  ".repeat(depth));
                out.push('-');
                match item {
                    Value::Map(map) if !map.is_empty() => {
                        let mut inner = String::new();
                        write_yaml(item, depth + 1, &mut inner);
                        out.push(' ');
                        out.push_str(inner.trim_start());
                    }
                    _ => write_item(item, depth + 1, out),
                }
            }
        }
        other => {
            out.push_str(&scalar(other));
            out.push('\n');
        }
    }
}

fn write_item(item: &Value, depth: usize, out: &mut String) {
    match item {
        Value::Map(map) if !map.is_empty() => {
            out.push('\n');
            write_yaml(item, depth + 1, out);
        }
        Value::List(items) if !items.is_empty() => {
            out.push('\n');
            write_yaml(item, depth, out);
        }
        other => {
            out.push(' ');
            out.push_str(&scalar(other));
            out.push('\n');
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Text(text) => {
            let plain = !text.is_empty()
                && matches!(yaml::resolve_plain(text), yaml::Yaml::Text(_))
                && text
                    .chars()
                    .all(|c| c.is_alphanumeric() || "_-./@+ ".contains(c))
                && !text.starts_with(['-', ' ', '@'])
                && !text.ends_with(' ');
            if plain {
                text.clone()
            } else {
                Value::text(text).python_json(false)
            }
        }
        Value::Map(_) => "{}".to_owned(),
        Value::List(_) => "[]".to_owned(),
        other => other.python_json(false),
    }
}

/// The config of an `OS::Heat::MultipartMime`. `config` finds the text of another config by its id.
pub fn multipart(
    properties: &Map,
    boundary: &str,
    config: &dyn Fn(&str) -> Option<String>,
) -> String {
    let mut text = format!(
        "Content-Type: multipart/mixed; boundary=\"==============={boundary}==\"\nMIME-Version: 1.0\n\n"
    );
    for part in properties
        .get("parts")
        .and_then(Value::as_list)
        .unwrap_or_default()
    {
        let given = part
            .get("config")
            .map(Value::python_str)
            .unwrap_or_default();
        let body = config(&given).unwrap_or(given);
        let key = |key: &str| {
            part.get(key)
                .and_then(Value::as_text)
                .filter(|text| !text.is_empty())
        };
        text.push_str(&format!("--==============={boundary}==\n"));
        if key("type") == Some("multipart") {
            text.push_str(&body);
            text.push('\n');
            continue;
        }
        let subtype = key("subtype").unwrap_or("plain");
        text.push_str(&format!(
            "Content-Type: text/{subtype}; charset=\"utf-8\"\nMIME-Version: 1.0\n"
        ));
        if let Some(name) = key("filename") {
            text.push_str(&format!(
                "Content-Disposition: attachment; filename=\"{name}\"\n"
            ));
        }
        text.push('\n');
        text.push_str(&body);
        text.push('\n');
    }
    text.push_str(&format!("--==============={boundary}==--\n"));
    text
}
