//! Which images a list shows, in which order.

use std::cmp::Ordering;

use jiff::Timestamp;
use openstack_api::{ApiError, PageLimits, Params};
use serde_json::Value;
use store::Read;

use super::Asker;
use super::fields::VISIBILITIES;
use super::record::{self, Record};
use crate::Failure;

/// Page sizes of lists of images.
pub(super) const LIMITS: PageLimits = PageLimits {
    default: 25,
    max: 1000,
    zero: true,
};

/// Parameters that are no filters.
const CONTROL: [&str; 5] = ["limit", "marker", "sort", "sort_key", "sort_dir"];

/// Properties that lists can be sorted by.
const SORTABLE: [&str; 9] = [
    "name",
    "status",
    "container_format",
    "disk_format",
    "size",
    "id",
    "created_at",
    "updated_at",
    "visibility",
];

fn bad(words: String) -> ApiError {
    ApiError::bad_request(words)
}

/// The images that a caller sees and asks for, in order.
pub(super) fn find(read: &Read<'_>, asker: &Asker, query: &Params) -> Result<Vec<Record>, Failure> {
    let visibility = query.get("visibility");
    if let Some(text) = visibility
        && text != "all"
        && !VISIBILITIES.contains(&text)
    {
        return Err(bad(format!("Invalid visibility value: {text}")).into());
    }
    let member_status = query.get("member_status").unwrap_or("accepted");
    if !["pending", "accepted", "rejected", "all"].contains(&member_status) {
        return Err(bad(format!("Invalid status: {member_status}")).into());
    }
    let hidden = query.flag("os_hidden")?.unwrap_or(false);
    let sorting = sorting(query)?;
    let mut found = Vec::new();
    for record in record::all(read)? {
        let own = record.text("visibility");
        let listed = match own {
            "public" => true,
            // Everyone may use them, but only who asks for them sees them all.
            "community" => asker.owns(&record) || matches!(visibility, Some("community" | "all")),
            "private" => asker.owns(&record),
            _ => {
                asker.owns(&record)
                    || record::membership(read, &record.id, &asker.project)?
                        .is_some_and(|status| member_status == "all" || status == member_status)
            }
        };
        let asked = visibility.is_none_or(|text| text == "all" || text == own);
        if listed && asked && record.flag("os_hidden") == hidden {
            found.push(record);
        }
    }
    for (key, value) in query.iter() {
        if !CONTROL.contains(&key) && !["visibility", "member_status", "os_hidden"].contains(&key) {
            let matches = filter(key, value)?;
            found.retain(|record| matches(record));
        }
    }
    found.sort_by(|a, b| compare(a, b, &sorting));
    Ok(found)
}

type Matches = Box<dyn Fn(&Record) -> bool>;

fn filter(key: &str, value: &str) -> Result<Matches, ApiError> {
    let wanted = value.to_owned();
    Ok(match key {
        "tag" => Box::new(move |record| record.tags().contains(&wanted)),
        "protected" => {
            let truth = openstack_api::parse_bool(value)
                .ok_or_else(|| bad(format!("Invalid value '{value}' for 'protected' filter.")))?;
            Box::new(move |record| record.flag("protected") == truth)
        }
        "size_min" | "size_max" => {
            let limit: u64 = value
                .parse()
                .map_err(|_| bad(format!("Invalid value '{value}' for '{key}'.")))?;
            let least = key == "size_min";
            Box::new(move |record| {
                let size = record.doc.get("size").and_then(Value::as_u64);
                size.is_some_and(|size| if least { size >= limit } else { size <= limit })
            })
        }
        "created_at" | "updated_at" => moment(key, value)?,
        "min_disk" | "min_ram" | "size" => {
            let number: u64 = value
                .parse()
                .map_err(|_| bad(format!("Invalid value '{value}' for '{key}'.")))?;
            let key = key.to_owned();
            Box::new(move |record| record.doc.get(&key).and_then(Value::as_u64) == Some(number))
        }
        "id" | "name" | "status" | "container_format" | "disk_format" => {
            let choices = match value.strip_prefix("in:") {
                Some(list) => split(list)?,
                None => vec![value.strip_prefix("eq:").unwrap_or(value).to_owned()],
            };
            let key = key.to_owned();
            Box::new(move |record| choices.iter().any(|choice| record.text(&key) == choice))
        }
        _ => {
            let key = key.to_owned();
            Box::new(move |record| record.doc.get(&key).and_then(Value::as_str) == Some(&wanted))
        }
    })
}

/// `a,"b,c",d`.
fn split(list: &str) -> Result<Vec<String>, ApiError> {
    let mut items = Vec::new();
    let mut rest = list;
    loop {
        let (item, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted
                .split_once('"')
                .ok_or_else(|| bad(format!("Unmatched quotes in '{list}'.")))?,
            None => rest.split_at(rest.find(',').unwrap_or(rest.len())),
        };
        items.push(item.to_owned());
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => return Ok(items),
            None => return Err(bad(format!("A comma is missing in '{list}'."))),
        }
    }
}

fn moment(key: &str, value: &str) -> Result<Matches, ApiError> {
    let (how, text) = match value.split_once(':') {
        Some((how @ ("gt" | "gte" | "lt" | "lte" | "eq" | "neq"), rest)) => (how.to_owned(), rest),
        _ => ("eq".to_owned(), value),
    };
    let zoned =
        if text.ends_with('Z') || text.get(10..).is_some_and(|tail| tail.contains(['+', '-'])) {
            text.to_owned()
        } else {
            format!("{text}Z")
        };
    let wanted: Timestamp = zoned
        .parse()
        .map_err(|_| bad(format!("Invalid time '{value}' for '{key}'.")))?;
    let key = key.to_owned();
    Ok(Box::new(move |record| {
        let Ok(found) = record.text(&key).parse::<Timestamp>() else {
            return false;
        };
        let order = found.cmp(&wanted);
        match how.as_str() {
            "gt" => order == Ordering::Greater,
            "gte" => order != Ordering::Less,
            "lt" => order == Ordering::Less,
            "lte" => order != Ordering::Greater,
            "neq" => order != Ordering::Equal,
            _ => order == Ordering::Equal,
        }
    }))
}

/// Keys with whether they go down.
type Sorting = Vec<(String, bool)>;

fn sorting(query: &Params) -> Result<Sorting, ApiError> {
    let down = |word: &str| match word {
        "asc" => Ok(false),
        "desc" => Ok(true),
        _ => Err(bad(format!("Invalid sort direction: {word}"))),
    };
    let mut keys: Sorting = Vec::new();
    if let Some(sort) = query.get("sort") {
        if query.has("sort_key") || query.has("sort_dir") {
            return Err(bad(
                "Old and new sorting syntax cannot be combined".to_owned()
            ));
        }
        for part in sort.split(',') {
            let (key, word) = part.trim().split_once(':').unwrap_or((part.trim(), "desc"));
            keys.push((key.to_owned(), down(word)?));
        }
    } else {
        let all = |name: &str| {
            query
                .iter()
                .filter(|(key, _)| *key == name)
                .map(|(_, value)| value.to_owned())
                .collect()
        };
        let (names, words): (Vec<String>, Vec<String>) = (all("sort_key"), all("sort_dir"));
        let words = words
            .iter()
            .map(|word| down(word))
            .collect::<Result<Vec<_>, _>>()?;
        if words.len() > names.len().max(1) {
            return Err(bad(
                "Number of sort dirs does not match the number of sort keys".to_owned(),
            ));
        }
        let first = words.first().copied().unwrap_or(true);
        let names = if names.is_empty() {
            vec!["created_at".to_owned()]
        } else {
            names
        };
        keys.extend(
            names
                .into_iter()
                .enumerate()
                .map(|(at, key)| (key, words.get(at).copied().unwrap_or(first))),
        );
    }
    if let Some((key, _)) = keys
        .iter()
        .find(|(key, _)| !SORTABLE.contains(&key.as_str()))
    {
        return Err(bad(format!("Invalid sort key: {key}")));
    }
    Ok(keys)
}

fn compare(a: &Record, b: &Record, sorting: &Sorting) -> Ordering {
    for (key, down) in sorting {
        let order = match key.as_str() {
            // Times are shown to the second only.
            "created_at" => a.created.cmp(&b.created),
            "size" => {
                let size = |record: &Record| record.doc.get("size").and_then(Value::as_u64);
                size(a).cmp(&size(b))
            }
            _ => a.text(key).cmp(b.text(key)),
        };
        if order != Ordering::Equal {
            return if *down { order.reverse() } else { order };
        }
    }
    b.created.cmp(&a.created).then_with(|| b.id.cmp(&a.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_values() {
        assert_eq!(split("a,b").unwrap(), ["a", "b"]);
        assert_eq!(split("\"a,b\",c").unwrap(), ["a,b", "c"]);
        assert!(split("\"a").is_err());
        assert!(split("\"a\"b").is_err());
    }
}
