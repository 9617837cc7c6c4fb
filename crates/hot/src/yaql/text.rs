//! Methods of text, and regular expressions.

use std::rc::Rc;

use fancy_regex::{Captures, Regex};

use super::eval::Call;
use super::item::{Item, fail};
use crate::constraints::python_pattern;
use crate::error::Kind;
use crate::expr::Outcome;

fn compile(pattern: &str) -> Outcome<Regex> {
    match Regex::new(&python_pattern(pattern)) {
        Ok(regex) => Ok(regex),
        Err(error) => fail(Kind::Error, error.to_string()),
    }
}

/// Whether a text has a part that matches.
pub(super) fn matches(text: &Item, pattern: &Item) -> Outcome<bool> {
    let Some(text) = text.as_text() else {
        return fail(
            Kind::NoMatchingFunctionException,
            "No function \"#operator_=~\" matches supplied arguments",
        );
    };
    let found = match pattern {
        Item::Regex(regex) => regex.is_match(text),
        Item::Text(pattern) => compile(pattern)?.is_match(text),
        _ => {
            return fail(
                Kind::NoMatchingFunctionException,
                "No function \"#operator_=~\" matches supplied arguments",
            );
        }
    };
    found.or_else(|error| fail(Kind::Error, error.to_string()))
}

/// `regex(pattern, ignoreCase, multiLine, dotAll)`.
pub(super) fn regex(call: &Call<'_>) -> Outcome<Item> {
    let Some(pattern) = call.value(0, "pattern")? else {
        return call.no_match();
    };
    let Some(pattern) = pattern.as_text() else {
        return call.no_match();
    };
    let flag = |at, word| Ok(call.value(at, word)?.is_some_and(|flag| flag.is_true()));
    let mut flags = String::new();
    for (at, word, letter) in [
        (1, "ignoreCase", 'i'),
        (2, "multiLine", 'm'),
        (3, "dotAll", 's'),
    ] {
        if flag(at, word)? {
            flags.push(letter);
        }
    }
    let pattern = if flags.is_empty() {
        pattern.to_owned()
    } else {
        format!("(?{flags}){pattern}")
    };
    Ok(Item::Regex(Rc::new(compile(&pattern)?)))
}

pub(super) fn method(receiver: &Item, call: &Call<'_>) -> Outcome<Option<Item>> {
    match receiver {
        Item::Regex(regex) => of_regex(regex, receiver, call),
        Item::Text(text) => of_text(text, receiver, call),
        _ => Ok(None),
    }
}

fn group(captures: &Captures<'_>, at: usize) -> Item {
    captures
        .get(at)
        .map_or(Item::Null, |group| Item::text(group.as_str()))
}

fn captures<'t>(regex: &Regex, text: &'t str) -> Outcome<Vec<Captures<'t>>> {
    let found: Result<Vec<_>, _> = regex.captures_iter(text).collect();
    found.or_else(|error| fail(Kind::Error, error.to_string()))
}

fn of_regex(regex: &Regex, receiver: &Item, call: &Call<'_>) -> Outcome<Option<Item>> {
    let Some(text) = call.value(0, "string")? else {
        return call.mismatch(receiver);
    };
    let Some(text) = text.as_text() else {
        return call.mismatch(receiver);
    };
    let found = captures(regex, text)?;
    Ok(Some(match call.name {
        "matches" => Item::Bool(!found.is_empty()),
        "search" => found
            .first()
            .map_or(Item::Null, |captures| group(captures, 0)),
        "searchAll" => Item::list(found.iter().map(|captures| group(captures, 0)).collect()),
        "split" => {
            let most = call
                .value(1, "maxSplit")?
                .and_then(|most| most.as_int())
                .unwrap_or(0);
            let most = if most > 0 { most as usize } else { usize::MAX };
            let mut parts = Vec::new();
            let mut from = 0;
            for captures in found.iter().take(most) {
                let Some(whole) = captures.get(0) else {
                    continue;
                };
                parts.push(Item::text(&text[from..whole.start()]));
                // As in Python, what groups caught stands between the parts.
                parts.extend((1..captures.len()).map(|at| group(captures, at)));
                from = whole.end();
            }
            parts.push(Item::text(&text[from..]));
            Item::list(parts)
        }
        "replace" => {
            let Some(with) = call.value(1, "repl")? else {
                return call.mismatch(receiver);
            };
            let Some(with) = with.as_text() else {
                return call.mismatch(receiver);
            };
            let mut result = String::new();
            let mut from = 0;
            for captures in &found {
                let Some(whole) = captures.get(0) else {
                    continue;
                };
                result.push_str(&text[from..whole.start()]);
                result.push_str(&expand(with, captures));
                from = whole.end();
            }
            result.push_str(&text[from..]);
            Item::text(result)
        }
        _ => return Ok(None),
    }))
}

/// Puts groups in for `\1` and `\g<name>`.
fn expand(template: &str, captures: &Captures<'_>) -> String {
    let mut text = String::new();
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some(digit)) if digit.is_ascii_digit() => {
                let at = digit.to_digit(10).unwrap_or(0) as usize;
                chars.next();
                text.push_str(captures.get(at).map_or("", |group| group.as_str()));
            }
            ('\\', Some('\\')) => {
                chars.next();
                text.push('\\');
            }
            _ => text.push(c),
        }
    }
    text
}

fn of_text(text: &str, receiver: &Item, call: &Call<'_>) -> Outcome<Option<Item>> {
    let argument = |at, word| -> Outcome<Option<String>> {
        Ok(call
            .value(at, word)?
            .and_then(|item| item.as_text().map(str::to_owned)))
    };
    Ok(Some(match call.name {
        "len" => Item::Int(text.chars().count() as i64),
        "isEmpty" => Item::Bool(text.is_empty()),
        "toLower" => Item::text(text.to_lowercase()),
        "toUpper" => Item::text(text.to_uppercase()),
        "norm" => match text.trim() {
            "" => Item::Null,
            trimmed => Item::text(trimmed),
        },
        "trim" | "trimLeft" | "trimRight" => {
            let letters = argument(0, "chars")?;
            let cut = |c: char| match &letters {
                Some(letters) => letters.contains(c),
                None => c.is_whitespace(),
            };
            Item::text(match call.name {
                "trim" => text.trim_matches(cut),
                "trimLeft" => text.trim_start_matches(cut),
                _ => text.trim_end_matches(cut),
            })
        }
        "startsWith" | "endsWith" => {
            let parts = call.values()?;
            let has = |part: &str| match call.name {
                "startsWith" => text.starts_with(part),
                _ => text.ends_with(part),
            };
            Item::Bool(parts.iter().filter_map(Item::as_text).any(has))
        }
        "split" | "rightSplit" => split(text, call)?,
        "join" => {
            let list = call.value(0, "sequence")?;
            let Some(items) = list.and_then(|list| list.items()) else {
                return call.mismatch(receiver);
            };
            let texts: Vec<String> = items.iter().map(Item::spell).collect();
            Item::text(texts.join(text))
        }
        "replace" => replace(text, receiver, call)?,
        "substring" => substring(text, call)?,
        "indexOf" | "lastIndexOf" => {
            let Some(part) = argument(0, "sub")? else {
                return call.mismatch(receiver);
            };
            let found = if call.name == "indexOf" {
                text.find(&part)
            } else {
                text.rfind(&part)
            };
            Item::Int(found.map_or(-1, |at| text[..at].chars().count() as i64))
        }
        "matches" => {
            let Some(pattern) = call.value(0, "regexp")? else {
                return call.mismatch(receiver);
            };
            Item::Bool(matches(receiver, &pattern)?)
        }
        "characters" => Item::list(text.chars().map(|c| Item::text(c.to_string())).collect()),
        "format" => Item::text(format(text, &call.values()?)),
        "repeat" => return Ok(None),
        _ => return Ok(None),
    }))
}

fn split(text: &str, call: &Call<'_>) -> Outcome<Item> {
    let separator = call.value(0, "separator")?;
    let most = call
        .value(1, "maxSplits")?
        .and_then(|most| most.as_int())
        .unwrap_or(-1);
    let parts: Vec<&str> = match separator.as_ref().and_then(Item::as_text) {
        Some("") => return fail(Kind::ValueError, "empty separator"),
        Some(separator) if most < 0 => text.split(separator).collect(),
        Some(separator) => {
            let count = most as usize + 1;
            if call.name == "split" {
                text.splitn(count, separator).collect()
            } else {
                let mut parts: Vec<&str> = text.rsplitn(count, separator).collect();
                parts.reverse();
                parts
            }
        }
        None => text.split_whitespace().collect(),
    };
    Ok(Item::list(parts.into_iter().map(Item::text).collect()))
}

fn replace(text: &str, receiver: &Item, call: &Call<'_>) -> Outcome<Item> {
    let first = call.value(0, "old")?;
    if let Some(Item::Dict(dict)) = &first {
        let mut text = text.to_owned();
        for (old, new) in dict.values() {
            text = text.replace(&old.spell(), &new.spell());
        }
        return Ok(Item::text(text));
    }
    let new = call.value(1, "new")?;
    let (Some(old), Some(new)) = (first.as_ref().and_then(Item::as_text), new) else {
        return call.mismatch(receiver);
    };
    let new = new.spell();
    match call.value(2, "count")?.and_then(|count| count.as_int()) {
        Some(count) if count >= 0 => Ok(Item::text(text.replacen(old, &new, count as usize))),
        _ => Ok(Item::text(text.replace(old, &new))),
    }
}

fn substring(text: &str, call: &Call<'_>) -> Outcome<Item> {
    let start = call
        .value(0, "start")?
        .and_then(|start| start.as_int())
        .unwrap_or(0);
    let length = call
        .value(1, "length")?
        .and_then(|length| length.as_int())
        .unwrap_or(-1);
    let count = text.chars().count() as i64;
    let start = if start < 0 {
        (start + count).max(0)
    } else {
        start
    } as usize;
    let rest = text.chars().skip(start);
    Ok(Item::text(if length < 0 {
        rest.collect::<String>()
    } else {
        rest.take(length as usize).collect()
    }))
}

/// Puts values in for `{}` and `{0}`.
fn format(template: &str, values: &[Item]) -> String {
    let mut text = String::new();
    let mut rest = template;
    let mut next = 0;
    while let Some(open) = rest.find(['{', '}']) {
        text.push_str(&rest[..open]);
        let tail = &rest[open..];
        if tail.starts_with("{{") || tail.starts_with("}}") {
            text.push_str(&tail[..1]);
            rest = &tail[2..];
            continue;
        }
        let Some(close) = tail.find('}').filter(|_| tail.starts_with('{')) else {
            text.push_str(tail);
            return text;
        };
        let at = tail[1..close].parse().unwrap_or(next);
        next += 1;
        text.push_str(
            &values
                .get(at)
                .map(|value| value.to_value().python_str())
                .unwrap_or_default(),
        );
        rest = &tail[close + 1..];
    }
    text.push_str(rest);
    text
}
