//! `OS::Heat::RandomString`.

use hot::{Map, Value};
use rand::Rng;
use rand::seq::SliceRandom;

use super::Started;
use crate::api::Action;
use crate::failure::Failure;
use crate::model::Row;

pub(super) fn start(row: &mut Row) -> Result<Started, Failure> {
    if row.action == Action::Create && row.note("value").is_none() {
        let value = make(&row.properties)?;
        row.notes.insert("value".to_owned(), value.into());
    }
    row.physical_id = row
        .physical_id
        .take()
        .or_else(|| Some(row.physical_name.clone()));
    Ok(Started::Done)
}

pub(super) fn attribute(row: &Row, name: &str) -> Option<Value> {
    (name == "value").then(|| row.note("value").map(Value::text))?
}

/// The characters of a class.
fn class(name: &str) -> &'static str {
    match name {
        "letters" => "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "lowercase" => "abcdefghijklmnopqrstuvwxyz",
        "uppercase" => "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "digits" => "0123456789",
        "hexdigits" => "0123456789abcdefABCDEF",
        "octdigits" => "01234567",
        _ => "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
    }
}

/// What is chosen from, and how often at least: characters of a class, or whole sequences.
struct Source {
    choices: String,
    min: usize,
}

fn sources(properties: &Map, list: &str, key: &str, class_names: bool) -> Vec<Source> {
    let items = properties
        .get(list)
        .and_then(Value::as_list)
        .unwrap_or_default();
    let source = |item: &Value| {
        let given = item.get(key).and_then(Value::as_text)?;
        let choices = if class_names { class(given) } else { given };
        let min = item.get("min").and_then(Value::as_int).unwrap_or(1);
        Some(Source {
            choices: choices.to_owned(),
            min: usize::try_from(min).unwrap_or_default(),
        })
    };
    items
        .iter()
        .filter_map(source)
        .filter(|source| !source.choices.is_empty())
        .collect()
}

fn make(properties: &Map) -> Result<String, Failure> {
    let length = properties
        .get("length")
        .and_then(Value::as_int)
        .unwrap_or(32);
    let length = usize::try_from(length).unwrap_or_default();
    // `sequence` is the old way to name a class; the newer ones win.
    let mut classes = sources(properties, "character_classes", "class", true);
    classes.extend(sources(
        properties,
        "character_sequences",
        "sequence",
        false,
    ));
    if classes.is_empty() {
        let name = super::text(properties, "sequence").unwrap_or("lettersdigits");
        classes.push(Source {
            choices: class(name).to_owned(),
            min: 1,
        });
    }
    let least: usize = classes.iter().map(|source| source.min).sum();
    if length < least {
        return Err(Failure::new(
            "StackValidationFailed",
            "Length property cannot be smaller than combined character class and character \
             sequence minimums",
        ));
    }
    let mut random = rand::rng();
    let mut picked: Vec<char> = Vec::with_capacity(length);
    let pick = |source: &Source, random: &mut rand::rngs::ThreadRng| {
        let at = random.random_range(0..source.choices.chars().count());
        source.choices.chars().nth(at)
    };
    for source in &classes {
        for _ in 0..source.min {
            picked.extend(pick(source, &mut random));
        }
    }
    while picked.len() < length {
        let at = random.random_range(0..classes.len());
        picked.extend(pick(&classes[at], &mut random));
    }
    picked.shuffle(&mut random);
    Ok(picked.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(json: serde_json::Value) -> Map {
        hot::map_from_json(&json)
    }

    #[test]
    fn each_class_and_sequence_is_there_as_often_as_wanted() {
        let wanted = properties(serde_json::json!({
            "length": 12,
            "character_classes": [{"class": "digits", "min": 3}, {"class": "uppercase", "min": 4}],
            "character_sequences": [{"sequence": "-_", "min": 2}],
        }));
        for _ in 0..50 {
            let made = make(&wanted).unwrap();
            assert_eq!(made.len(), 12);
            assert!(
                made.chars().filter(char::is_ascii_digit).count() >= 3,
                "{made}"
            );
            assert!(
                made.chars().filter(char::is_ascii_uppercase).count() >= 4,
                "{made}"
            );
            assert!(
                made.chars().filter(|c| "-_".contains(*c)).count() >= 2,
                "{made}"
            );
        }
    }

    #[test]
    fn too_short_is_refused_and_the_default_is_32_letters_and_digits() {
        let short = properties(serde_json::json!({
            "length": 2, "character_classes": [{"class": "digits", "min": 3}],
        }));
        assert!(
            make(&short)
                .unwrap_err()
                .message
                .contains("cannot be smaller")
        );
        let made = make(&Map::new()).unwrap();
        assert_eq!(made.len(), 32);
        assert!(made.chars().all(|c| c.is_ascii_alphanumeric()));
        assert_ne!(made, make(&Map::new()).unwrap());
    }
}
