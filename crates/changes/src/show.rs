//! Changes as people read them: one line for each thing, and of large values only the places that differ.
//!
//! Texts under names that sound like secrets are never shown: what this prints ends up in terminals and logs.

use std::fmt;

use hot::Value;
use secret::{COVER, sounds_secret};

use crate::{PropertyChange, StackChanges};

/// More places than this of one property are counted, not listed.
const MOST: usize = 12;

impl fmt::Display for StackChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [
            ('+', &self.added),
            ('~', &self.updated),
            ('!', &self.replaced),
            ('-', &self.deleted),
        ];
        for (mark, changes) in lists {
            for change in changes {
                write!(f, "{mark} {} ({})", change.path.join("/"), change.type_name)?;
                if let Some(because) = &change.because {
                    write!(f, ": {because}")?;
                }
                writeln!(f)?;
                for property in &change.properties {
                    for line in property.to_string().lines() {
                        writeln!(f, "    {line}")?;
                    }
                }
            }
        }
        write!(
            f,
            "{} added, {} updated, {} replaced, {} deleted, {} unchanged",
            self.added.len(),
            self.updated.len(),
            self.replaced.len(),
            self.deleted.len(),
            self.unchanged.len()
        )
    }
}

/// One line for each place that differs: `name.key: old -> new`.
impl fmt::Display for PropertyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        let masked = sounds_secret(&self.name);
        match &self.new {
            Some(new) => places(&self.name, masked, &self.old, new, &mut lines),
            None => lines.push(format!(
                "{}: {} -> (known when the update runs)",
                self.name,
                short(&self.old, masked)
            )),
        }
        let end = if self.replaces {
            " (forces the replacement)"
        } else {
            ""
        };
        let more = lines.len().saturating_sub(MOST);
        lines.truncate(MOST);
        for (number, line) in lines.iter().enumerate() {
            let start = if number == 0 { "" } else { "\n" };
            write!(f, "{start}{line}{end}")?;
        }
        if more > 0 {
            write!(f, "\n{}: {more} more places", self.name)?;
        }
        Ok(())
    }
}

/// Goes down as long as both sides are of the same make.
fn places(path: &str, masked: bool, old: &Value, new: &Value, lines: &mut Vec<String>) {
    match (old, new) {
        (Value::Map(before), Value::Map(after)) if !before.is_empty() && !after.is_empty() => {
            let nothing = Value::Null;
            let added = after.keys().filter(|key| !before.contains_key(*key));
            for key in before.keys().chain(added) {
                let (old, new) = (before.get(key), after.get(key));
                if old != new {
                    places(
                        &format!("{path}.{key}"),
                        masked || sounds_secret(key),
                        old.unwrap_or(&nothing),
                        new.unwrap_or(&nothing),
                        lines,
                    );
                }
            }
        }
        (Value::List(before), Value::List(after)) if before.len() == after.len() => {
            for (number, (old, new)) in before.iter().zip(after).enumerate() {
                if old != new {
                    places(&format!("{path}.{number}"), masked, old, new, lines);
                }
            }
        }
        _ => lines.push(format!(
            "{path}: {} -> {}",
            short(old, masked),
            short(new, masked)
        )),
    }
}

/// A value on one line, cut where it is long.
fn short(value: &Value, masked: bool) -> String {
    const LONGEST: usize = 60;
    let text = mask(value, masked).to_json().to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    let cut: String = text.chars().take(LONGEST).collect();
    format!("{cut}…")
}

fn mask(value: &Value, masked: bool) -> Value {
    match value {
        Value::Map(map) => Value::Map(
            map.iter()
                .map(|(key, value)| (key.clone(), mask(value, masked || sounds_secret(key))))
                .collect(),
        ),
        Value::List(list) => Value::List(list.iter().map(|one| mask(one, masked)).collect()),
        Value::Null => Value::Null,
        _ if masked => Value::text(COVER),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(old: &str, new: &str, shown: &str) {
        let value = |text: &str| Value::from_json(&serde_json::from_str(text).unwrap());
        let change = PropertyChange {
            name: "config".into(),
            old: value(old),
            new: Some(value(new)),
            replaces: false,
        };
        assert_eq!(change.to_string(), shown);
    }

    #[test]
    fn only_places_that_differ_are_shown() {
        check("1", "2", "config: 1 -> 2");
        check(
            r#"{"a": {"b": 1, "c": 2}, "d": 3}"#,
            r#"{"a": {"b": 1, "c": 4}, "e": [5]}"#,
            "config.a.c: 2 -> 4\nconfig.d: 3 -> null\nconfig.e: null -> [5]",
        );
        check(r#"[1, {"a": 2}]"#, r#"[1, {"a": 3}]"#, "config.1.a: 2 -> 3");
        check("[1]", "[1, 2]", "config: [1] -> [1,2]");
        check("{}", r#"{"a": 1}"#, r#"config: {} -> {"a":1}"#);
    }

    #[test]
    fn secrets_are_not_shown_wherever_they_are() {
        check(
            r#"{"db-password": "old", "fernet-key-0": "x", "key_name": "a"}"#,
            r#"{"db-password": "new", "fernet-key-0": "y", "key_name": "b"}"#,
            "config.db-password: \"***\" -> \"***\"\nconfig.fernet-key-0: \"***\" -> \"***\"\nconfig.key_name: \"a\" -> \"b\"",
        );
        check(
            r#"{"rabbit": 1}"#,
            r#"{"rabbit": {"cookie": ["a", {"b": "c"}], "port": 5672}}"#,
            r#"config.rabbit: 1 -> {"cookie":["***",{"b":"***"}],"port":5672}"#,
        );
    }

    #[test]
    fn a_flood_of_places_is_counted() {
        let many = |value: usize| {
            let all: Vec<String> = (0..15).map(|at| format!("\"k{at}\": {value}")).collect();
            format!("{{{}}}", all.join(", "))
        };
        let value = |text: &str| Value::from_json(&serde_json::from_str(text).unwrap());
        let change = PropertyChange {
            name: "config".into(),
            old: value(&many(1)),
            new: Some(value(&many(2))),
            replaces: true,
        };
        let shown = change.to_string();
        assert_eq!(shown.lines().count(), 13);
        assert_eq!(
            shown.lines().next(),
            Some("config.k0: 1 -> 2 (forces the replacement)")
        );
        assert!(shown.ends_with("config: 3 more places"));
    }
}
