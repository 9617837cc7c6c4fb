//! Methods of sequences that look at places and items.

use super::eval::Call;
use super::item::{Item, fail};
use crate::error::Kind;
use crate::expr::Outcome;

/// The greatest or least item.
pub(super) fn extreme(items: &[Item], greatest: bool) -> Outcome<Item> {
    let Some((first, rest)) = items.split_first() else {
        return fail(
            Kind::TypeError,
            "reduce() of empty iterable with no initial value",
        );
    };
    let mut best = first;
    for item in rest {
        if item.order(best)?.is_gt() == greatest && !item.equals(best) {
            best = item;
        }
    }
    Ok(best.clone())
}

fn index(found: Option<usize>) -> Item {
    Item::Int(found.map_or(-1, |at| at as i64))
}

/// An index as Python's slices take it.
fn place(number: i64, length: usize) -> usize {
    let number = if number < 0 {
        number + length as i64
    } else {
        number
    };
    usize::try_from(number).unwrap_or(0).min(length)
}

/// A whole number among the arguments.
fn number(call: &Call<'_>, at: usize, word: &str) -> Outcome<Option<i64>> {
    Ok(call.value(at, word)?.and_then(|number| number.as_int()))
}

pub(super) fn method(receiver: &Item, call: &Call<'_>) -> Outcome<Option<Item>> {
    if call.name == "repeat" {
        let times = call
            .value(0, "times")?
            .and_then(|times| times.as_int())
            .unwrap_or(-1);
        return match usize::try_from(times) {
            Ok(times) if times <= 1_000_000 => {
                Ok(Some(Item::generator(vec![receiver.clone(); times])))
            }
            _ => fail(
                Kind::CollectionTooLargeException,
                "Collection length exceeds the limit",
            ),
        };
    }
    let Some(items) = receiver.items() else {
        return Ok(None);
    };
    Ok(Some(match call.name {
        "len" | "count" => Item::Int(items.len() as i64),
        "isEmpty" => Item::Bool(items.is_empty()),
        "first" | "last" | "single" => {
            let found = if call.name == "last" {
                items.last()
            } else {
                items.first()
            };
            match (found, call.value(0, "default")?) {
                (Some(item), _) => item.clone(),
                (None, Some(default)) => default,
                (None, None) => return fail(Kind::StopIteration, ""),
            }
        }
        "take" | "limit" => {
            let count = number(call, 0, "count")?.unwrap_or(0).max(0) as usize;
            Item::generator(items.into_iter().take(count).collect())
        }
        "skip" => {
            let count = number(call, 0, "count")?.unwrap_or(0).max(0) as usize;
            Item::generator(items.into_iter().skip(count).collect())
        }
        "append" => Item::generator(items.into_iter().chain(call.values()?).collect()),
        "concat" => {
            let mut items = items;
            for value in call.values()? {
                match value.items() {
                    Some(more) => items.extend(more),
                    None => return call.mismatch(receiver),
                }
            }
            Item::generator(items)
        }
        "reverse" => Item::generator(items.into_iter().rev().collect()),
        "contains" => match call.value(0, "value")? {
            Some(wanted) => Item::Bool(items.iter().any(|item| item.equals(&wanted))),
            None => return call.mismatch(receiver),
        },
        "indexOf" | "lastIndexOf" => match call.value(0, "item")? {
            Some(wanted) if call.name == "indexOf" => {
                index(items.iter().position(|item| item.equals(&wanted)))
            }
            Some(wanted) => index(items.iter().rposition(|item| item.equals(&wanted))),
            None => return call.mismatch(receiver),
        },
        "flatten" => Item::generator(flatten(&items)),
        "distinct" => distinct(items, call)?,
        "toList" | "memorize" => Item::list(items),
        "toSet" => Item::set(items),
        "sum" => sum(items, call)?,
        "max" => extreme(&items, true)?,
        "min" => extreme(&items, false)?,
        "join" => {
            let separator = call.value(0, "separator")?;
            let Some(separator) = separator.as_ref().and_then(Item::as_text) else {
                return call.mismatch(receiver);
            };
            let texts: Vec<String> = items.iter().map(Item::spell).collect();
            Item::text(texts.join(separator))
        }
        _ => return arranged(items, receiver, call),
    }))
}

/// Methods that put items into other places or rows.
fn arranged(items: Vec<Item>, receiver: &Item, call: &Call<'_>) -> Outcome<Option<Item>> {
    Ok(Some(match call.name {
        "zip" | "zipLongest" => return zip(items, receiver, call).map(Some),
        "enumerate" => {
            let start = number(call, 0, "start")?.unwrap_or(0);
            let pair = |(at, item)| Item::list(vec![Item::Int(start + at as i64), item]);
            Item::generator(items.into_iter().enumerate().map(pair).collect())
        }
        "slice" => {
            let length = usize::try_from(number(call, 0, "length")?.unwrap_or(0)).unwrap_or(0);
            if length == 0 {
                return call.mismatch(receiver);
            }
            Item::generator(
                items
                    .chunks(length)
                    .map(|part| Item::list(part.to_vec()))
                    .collect(),
            )
        }
        "splitAt" => {
            let at = place(number(call, 0, "index")?.unwrap_or(0), items.len());
            let (left, right) = items.split_at(at);
            Item::list(vec![Item::list(left.to_vec()), Item::list(right.to_vec())])
        }
        "defaultIfEmpty" => match (items.is_empty(), call.value(0, "default")?) {
            (true, Some(default)) => default,
            _ => receiver.clone(),
        },
        _ => return edited(items, receiver, call),
    }))
}

/// Methods that give the same sequence with some items changed.
fn edited(items: Vec<Item>, receiver: &Item, call: &Call<'_>) -> Outcome<Option<Item>> {
    Ok(Some(match call.name {
        "insert" | "insertMany" => {
            let (Some(at), Some(value)) = (number(call, 0, "position")?, call.value(1, "value")?)
            else {
                return call.mismatch(receiver);
            };
            let at = place(at, items.len());
            let more = match call.name {
                "insert" => vec![value],
                _ => value.items().unwrap_or_default(),
            };
            let mut items = items;
            items.splice(at..at, more);
            same_kind(receiver, items)
        }
        "delete" => {
            let Some(at) = number(call, 0, "position")? else {
                return call.mismatch(receiver);
            };
            let count = number(call, 1, "count")?.unwrap_or(1);
            let from = place(at, items.len());
            let to = if count < 0 {
                items.len()
            } else {
                (from + count as usize).min(items.len())
            };
            let mut items = items;
            items.drain(from..to);
            same_kind(receiver, items)
        }
        "replace" => {
            let (Some(at), Some(value)) = (number(call, 0, "position")?, call.value(1, "value")?)
            else {
                return call.mismatch(receiver);
            };
            let from = place(at, items.len());
            let mut items = items;
            if from < items.len() {
                items[from] = value;
            }
            same_kind(receiver, items)
        }
        _ => return Ok(None),
    }))
}

fn same_kind(receiver: &Item, items: Vec<Item>) -> Item {
    match receiver {
        Item::List(_) => Item::list(items),
        _ => Item::generator(items),
    }
}

fn flatten(items: &[Item]) -> Vec<Item> {
    let mut flat = Vec::new();
    for item in items {
        match item.items() {
            Some(inner) => flat.extend(flatten(&inner)),
            None => flat.push(item.clone()),
        }
    }
    flat
}

fn distinct(items: Vec<Item>, call: &Call<'_>) -> Outcome<Item> {
    let mut seen = std::collections::HashSet::new();
    let mut kept = Vec::new();
    for item in items {
        let key = call.run(0, "keySelector", &item)?;
        if seen.insert(key.identity()) {
            kept.push(item);
        }
    }
    Ok(Item::generator(kept))
}

fn sum(items: Vec<Item>, call: &Call<'_>) -> Outcome<Item> {
    let start = call.value(0, "initial")?;
    let mut items = items.into_iter();
    let Some(mut total) = start.or_else(|| items.next()) else {
        return fail(
            Kind::TypeError,
            "reduce() of empty iterable with no initial value",
        );
    };
    for item in items {
        total = super::arithmetic::binary(super::parse::Operator::Plus, total, item)?;
    }
    Ok(total)
}

fn zip(items: Vec<Item>, receiver: &Item, call: &Call<'_>) -> Outcome<Item> {
    let mut lists = vec![items];
    for value in call.values()? {
        match value.items() {
            Some(items) => lists.push(items),
            None => return call.mismatch(receiver),
        }
    }
    let lengths = lists.iter().map(Vec::len);
    let length = match call.name {
        "zip" => lengths.min(),
        _ => lengths.max(),
    };
    let row = |at: usize| {
        let cells = lists
            .iter()
            .map(|list| list.get(at).cloned().unwrap_or(Item::Null));
        Item::list(cells.collect())
    };
    Ok(Item::generator((0..length.unwrap_or(0)).map(row).collect()))
}
