//! JSON text as Python's `json.loads` reads it, with its words for what is wrong.

use crate::value::Value;

/// Reads JSON text. The error is Python's: `Expecting value: line 1 column 1 (char 0)`.
pub(crate) fn parse_json(text: &str) -> Result<Value, String> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(json) => Ok(Value::from_json(&json)),
        Err(error) => Err(words(text, &error)),
    }
}

fn words(text: &str, error: &serde_json::Error) -> String {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r');
    let start = text.chars().take_while(|c| blank(*c)).count();
    let mut rest = text.chars().skip(start);
    let first = rest.next();
    let (what, at) = match (first, error.classify()) {
        (Some('{'), _) if error.to_string().starts_with("key must be a string") => (
            "Expecting property name enclosed in double quotes",
            start + 1 + rest.take_while(|c| blank(*c)).count(),
        ),
        (None | Some('a'..='z' | 'A'..='Z'), _) => ("Expecting value", start),
        _ if error.to_string().starts_with("trailing characters") => {
            ("Extra data", offset(text, error))
        }
        _ => ("Expecting value", offset(text, error)),
    };
    let before: Vec<char> = text.chars().take(at).collect();
    let line = before.iter().filter(|c| **c == '\n').count() + 1;
    let column = before.iter().rev().take_while(|c| **c != '\n').count() + 1;
    format!("{what}: line {line} column {column} (char {at})")
}

fn offset(text: &str, error: &serde_json::Error) -> usize {
    let before: usize = text
        .lines()
        .take(error.line().saturating_sub(1))
        .map(|line| line.chars().count() + 1)
        .sum();
    before + error.column().saturating_sub(1)
}
