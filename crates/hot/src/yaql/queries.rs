//! Methods of sequences that run an expression for each item.

use std::cmp::Ordering;

use indexmap::IndexMap;

use super::eval::Call;
use super::item::{Dict, Item, fail};
use crate::error::Kind;
use crate::expr::Outcome;

pub(super) fn method(receiver: &Item, call: &Call<'_>) -> Outcome<Option<Item>> {
    let Some(items) = receiver.items() else {
        return Ok(None);
    };
    let holds = |item: &Item| {
        call.run(0, "predicate", item)
            .map(|result| result.is_true())
    };
    Ok(Some(match call.name {
        "where" => Item::generator(filter(items, holds)?),
        "select" => {
            let values: Outcome<Vec<_>> = items
                .iter()
                .map(|item| call.run(0, "selector", item))
                .collect();
            Item::generator(values?)
        }
        "selectMany" => {
            let mut all = Vec::new();
            for item in &items {
                let value = call.run(0, "selector", item)?;
                match value.items() {
                    Some(inner) => all.extend(inner),
                    None => all.push(value),
                }
            }
            Item::generator(all)
        }
        "any" => {
            let mut found = false;
            for item in &items {
                found = found || !call.has(0, "predicate") || holds(item)?;
            }
            Item::Bool(found)
        }
        "all" => {
            let mut good = true;
            for item in &items {
                good = good && holds(item)?;
            }
            Item::Bool(good)
        }
        "takeWhile" | "skipWhile" => {
            let mut at = 0;
            while at < items.len() && holds(&items[at])? {
                at += 1;
            }
            let part = if call.name == "takeWhile" {
                &items[..at]
            } else {
                &items[at..]
            };
            Item::generator(part.to_vec())
        }
        "indexWhere" | "lastIndexWhere" => {
            let mut found = -1;
            for (at, item) in items.iter().enumerate() {
                if holds(item)? {
                    found = at as i64;
                    if call.name == "indexWhere" {
                        break;
                    }
                }
            }
            Item::Int(found)
        }
        "splitWhere" | "sliceWhere" => split(items, call.name == "splitWhere", holds)?,
        "toDict" => to_dict(&items, call)?,
        "groupBy" => group(&items, call)?,
        "orderBy" | "orderByDescending" => order(items, call)?,
        "reduce" | "aggregate" => {
            let Some(total) = accumulate(&items, call)?.pop() else {
                return fail(
                    Kind::TypeError,
                    "reduce() of empty iterable with no initial value",
                );
            };
            total
        }
        "accumulate" => Item::generator(accumulate(&items, call)?),
        _ => return Ok(None),
    }))
}

fn filter(items: Vec<Item>, holds: impl Fn(&Item) -> Outcome<bool>) -> Outcome<Vec<Item>> {
    let mut kept = Vec::new();
    for item in items {
        if holds(&item)? {
            kept.push(item);
        }
    }
    Ok(kept)
}

/// Cuts at items that hold; `splitWhere` leaves them out, `sliceWhere` begins a part with them.
fn split(
    items: Vec<Item>,
    leave_out: bool,
    holds: impl Fn(&Item) -> Outcome<bool>,
) -> Outcome<Item> {
    let mut parts = vec![Vec::new()];
    for item in items {
        if holds(&item)? {
            parts.push(Vec::new());
            if leave_out {
                continue;
            }
        }
        if let Some(part) = parts.last_mut() {
            part.push(item);
        }
    }
    Ok(Item::generator(parts.into_iter().map(Item::list).collect()))
}

fn to_dict(items: &[Item], call: &Call<'_>) -> Outcome<Item> {
    let mut dict = Dict::new();
    for item in items {
        let key = call.run(0, "keySelector", item)?;
        let value = call.run(1, "valueSelector", item)?;
        dict.insert(key.identity(), (key, value));
    }
    Ok(Item::dict(dict))
}

fn group(items: &[Item], call: &Call<'_>) -> Outcome<Item> {
    let mut groups: IndexMap<String, (Item, Vec<Item>)> = IndexMap::new();
    for item in items {
        let key = call.run(0, "keySelector", item)?;
        let value = call.run(1, "valueSelector", item)?;
        groups
            .entry(key.identity())
            .or_insert_with(|| (key, Vec::new()))
            .1
            .push(value);
    }
    let mut rows = Vec::with_capacity(groups.len());
    for (key, values) in groups.into_values() {
        let row = Item::list(vec![key, Item::list(values)]);
        rows.push(call.run(2, "aggregator", &row)?);
    }
    Ok(Item::generator(rows))
}

fn order(items: Vec<Item>, call: &Call<'_>) -> Outcome<Item> {
    let mut keyed = Vec::with_capacity(items.len());
    for item in items {
        keyed.push((call.run(0, "selector", &item)?, item));
    }
    let mut wrong = None;
    keyed.sort_by(|(a, _), (b, _)| {
        let order = a.order(b).unwrap_or_else(|error| {
            wrong.get_or_insert(error);
            Ordering::Equal
        });
        if call.name == "orderBy" {
            order
        } else {
            order.reverse()
        }
    });
    match wrong {
        Some(error) => Err(error),
        None => Ok(Item::generator(
            keyed.into_iter().map(|(_, item)| item).collect(),
        )),
    }
}

/// The totals after each item, the seed first if there is one.
fn accumulate(items: &[Item], call: &Call<'_>) -> Outcome<Vec<Item>> {
    let mut items = items.iter().cloned();
    let seed = call.value(1, "seed")?;
    let Some(mut total) = seed.or_else(|| items.next()) else {
        return Ok(Vec::new());
    };
    let mut totals = vec![total.clone()];
    for item in items {
        total = call.run_with(0, "selector", &[total, item])?;
        totals.push(total.clone());
    }
    Ok(totals)
}
