//! Methods of maps and sets.

use super::eval::Call;
use super::item::{Dict, Item, fail};
use crate::error::Kind;
use crate::expr::Outcome;

pub(super) fn method(receiver: &Item, call: &Call<'_>) -> Outcome<Option<Item>> {
    match receiver {
        Item::Dict(dict) => of_dict(dict, receiver, call),
        Item::Set(set) => of_set(set, receiver, call),
        _ => Ok(None),
    }
}

fn of_dict(dict: &Dict, receiver: &Item, call: &Call<'_>) -> Outcome<Option<Item>> {
    let first = || call.value(0, "key");
    Ok(Some(match call.name {
        "len" => Item::Int(dict.len() as i64),
        "isEmpty" => Item::Bool(dict.is_empty()),
        "get" => {
            let Some(key) = first()? else {
                return call.mismatch(receiver);
            };
            match dict.get(&key.identity()) {
                Some((_, value)) => value.clone(),
                None => call.value(1, "default")?.unwrap_or(Item::Null),
            }
        }
        "keys" => Item::generator(dict.values().map(|(key, _)| key.clone()).collect()),
        "values" => Item::generator(dict.values().map(|(_, value)| value.clone()).collect()),
        "items" => Item::generator(
            dict.values()
                .map(|(key, value)| Item::list(vec![key.clone(), value.clone()]))
                .collect(),
        ),
        "containsKey" => {
            let Some(key) = first()? else {
                return call.mismatch(receiver);
            };
            Item::Bool(dict.contains_key(&key.identity()))
        }
        "containsValue" => {
            let Some(wanted) = call.value(0, "value")? else {
                return call.mismatch(receiver);
            };
            Item::Bool(dict.values().any(|(_, value)| value.equals(&wanted)))
        }
        "set" => {
            let mut dict = dict.clone();
            match (first()?, call.value(1, "value")?) {
                (Some(key), Some(value)) => {
                    dict.insert(key.identity(), (key, value));
                }
                (Some(Item::Dict(more)), None) => {
                    dict.extend(more.iter().map(|(key, pair)| (key.clone(), pair.clone())));
                }
                _ => return call.mismatch(receiver),
            }
            Item::dict(dict)
        }
        "delete" | "deleteAll" => {
            let mut keys = call.values()?;
            if call.name == "deleteAll" {
                keys = keys.first().and_then(Item::items).unwrap_or_default();
            }
            let mut dict = dict.clone();
            for key in keys {
                dict.shift_remove(&key.identity());
            }
            Item::dict(dict)
        }
        "mergeWith" => {
            let Some(Item::Dict(other)) = call.value(0, "another")? else {
                return call.mismatch(receiver);
            };
            let levels = call
                .value(3, "maxLevels")?
                .and_then(|levels| levels.as_int());
            Item::dict(merge(dict, &other, call, levels.unwrap_or(0))?)
        }
        "repeat" | "toDict" => return Ok(None),
        _ => return Ok(None),
    }))
}

/// Merges maps; lists in both are joined without repetition, else the second map wins.
fn merge(one: &Dict, two: &Dict, call: &Call<'_>, levels: i64) -> Outcome<Dict> {
    let mut merged = one.clone();
    for (identity, (key, new)) in two {
        let value = match one.get(identity) {
            None => new.clone(),
            Some((_, old)) if levels != 1 => match (old, new) {
                (Item::Dict(old), Item::Dict(new)) => {
                    Item::dict(merge(old, new, call, (levels - 1).max(0))?)
                }
                (Item::List(old), Item::List(new)) if call.has(1, "listMerger") => call.run_with(
                    1,
                    "listMerger",
                    &[Item::List(old.clone()), Item::List(new.clone())],
                )?,
                (Item::List(old), Item::List(new)) => {
                    let joined = Item::set(old.iter().chain(new.iter()).cloned());
                    Item::list(joined.items().unwrap_or_default())
                }
                (old, Item::Dict(_) | Item::List(_)) => {
                    return fail(
                        Kind::TypeError,
                        format!("Cannot merge {} with {}", old.shown(), new.shown()),
                    );
                }
                (old, new) if call.has(2, "itemMerger") => {
                    call.run_with(2, "itemMerger", &[old.clone(), new.clone()])?
                }
                (_, new) => new.clone(),
            },
            Some(_) => new.clone(),
        };
        merged.insert(identity.clone(), (key.clone(), value));
    }
    Ok(merged)
}

fn of_set(set: &Dict, receiver: &Item, call: &Call<'_>) -> Outcome<Option<Item>> {
    let other = || match call.value(0, "other") {
        Ok(Some(Item::Set(other))) => Ok(other),
        Ok(_) => call.mismatch(receiver),
        Err(error) => Err(error),
    };
    let own = |keep: &dyn Fn(&String) -> bool| {
        let kept = set.iter().filter(|(key, _)| keep(key));
        kept.map(|(_, (item, _))| item.clone()).collect::<Vec<_>>()
    };
    Ok(Some(match call.name {
        "len" => Item::Int(set.len() as i64),
        "contains" => {
            let Some(item) = call.value(0, "value")? else {
                return call.mismatch(receiver);
            };
            Item::Bool(set.contains_key(&item.identity()))
        }
        "union" => {
            let other = other()?;
            let more = other.values().map(|(item, _)| item.clone());
            Item::set(own(&|_| true).into_iter().chain(more))
        }
        "intersect" => {
            let other = other()?;
            Item::set(own(&|key| other.contains_key(key)))
        }
        "difference" => {
            let other = other()?;
            Item::set(own(&|key| !other.contains_key(key)))
        }
        "symmetricDifference" => {
            let other = other()?;
            let more = other.iter().filter(|(key, _)| !set.contains_key(*key));
            let more = more.map(|(_, (item, _))| item.clone());
            Item::set(own(&|key| !other.contains_key(key)).into_iter().chain(more))
        }
        "add" => Item::set(own(&|_| true).into_iter().chain(call.values()?)),
        "remove" => {
            let gone: Vec<String> = call.values()?.iter().map(Item::identity).collect();
            Item::set(own(&|key| !gone.contains(key)))
        }
        _ => return Ok(None),
    }))
}
