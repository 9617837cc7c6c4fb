//! Operators on evaluated values.

use super::item::{Item, fail};
use super::parse::Operator;
use super::text;
use crate::error::Kind;
use crate::expr::Outcome;

fn mismatch<T>(symbol: &str) -> Outcome<T> {
    fail(
        Kind::NoMatchingFunctionException,
        format!("No function \"#operator_{symbol}\" matches supplied arguments"),
    )
}

pub(super) fn unary(operator: Operator, item: Item) -> Outcome<Item> {
    match (operator, item) {
        (Operator::Not, item) => Ok(Item::Bool(!item.is_true())),
        (Operator::Minus, Item::Int(number)) => Ok(Item::Int(-number)),
        (Operator::Minus, Item::Float(number)) => Ok(Item::Float(-number)),
        (Operator::Plus, item @ (Item::Int(_) | Item::Float(_))) => Ok(item),
        _ => fail(
            Kind::NoMatchingFunctionException,
            "No function \"#unary_operator\" matches supplied arguments",
        ),
    }
}

pub(super) fn binary(operator: Operator, left: Item, right: Item) -> Outcome<Item> {
    Ok(match operator {
        Operator::Equal => Item::Bool(left.equals(&right)),
        Operator::NotEqual => Item::Bool(!left.equals(&right)),
        Operator::Greater => Item::Bool(compare(&left, &right, ">")?.is_gt()),
        Operator::Less => Item::Bool(compare(&left, &right, "<")?.is_lt()),
        Operator::GreaterEqual => Item::Bool(compare(&left, &right, ">=")?.is_ge()),
        Operator::LessEqual => Item::Bool(compare(&left, &right, "<=")?.is_le()),
        Operator::In => Item::Bool(contains(&right, &left)?),
        Operator::Matches => Item::Bool(text::matches(&left, &right)?),
        Operator::MatchesNot => Item::Bool(!text::matches(&left, &right)?),
        Operator::Plus => add(left, right)?,
        Operator::Minus => subtract(left, right)?,
        Operator::Times => multiply(left, right)?,
        Operator::Divide => divide(&left, &right)?,
        Operator::Modulo => modulo(&left, &right)?,
        Operator::Not | Operator::And | Operator::Or | Operator::Arrow => {
            return mismatch("");
        }
    })
}

fn compare(left: &Item, right: &Item, symbol: &str) -> Outcome<std::cmp::Ordering> {
    let texts = left.as_text().is_some() && right.as_text().is_some();
    let numbers = left.as_number().is_some() && right.as_number().is_some();
    if texts || numbers {
        left.order(right)
    } else {
        mismatch(symbol)
    }
}

/// `left in right`: a part of a text, an item of a list, a key of a map.
pub(super) fn contains(right: &Item, left: &Item) -> Outcome<bool> {
    match right {
        Item::Text(text) => match left.as_text() {
            Some(part) => Ok(text.contains(part)),
            None => mismatch("in"),
        },
        Item::Dict(dict) | Item::Set(dict) => Ok(dict.contains_key(&left.identity())),
        _ => match right.items() {
            Some(items) => Ok(items.iter().any(|item| item.equals(left))),
            None => mismatch("in"),
        },
    }
}

/// Whole numbers stay whole; one that grows too large becomes a float.
fn whole(result: Option<i64>, float: f64) -> Item {
    result.map_or(Item::Float(float), Item::Int)
}

fn is_whole(item: &Item) -> Option<i64> {
    match item {
        Item::Int(number) => Some(*number),
        _ => None,
    }
}

fn add(left: Item, right: Item) -> Outcome<Item> {
    match (&left, &right) {
        (Item::Text(a), Item::Text(b)) => return Ok(Item::text(format!("{a}{b}"))),
        (Item::Dict(a), Item::Dict(b)) => {
            let mut dict = (**a).clone();
            dict.extend(b.iter().map(|(key, pair)| (key.clone(), pair.clone())));
            return Ok(Item::dict(dict));
        }
        (Item::Set(_), Item::Set(_)) | (Item::Dict(_), _) | (_, Item::Dict(_)) => {
            return mismatch("+");
        }
        _ => {}
    }
    if let (Some(mut a), Some(b)) = (left.items(), right.items()) {
        a.extend(b);
        let lists = matches!((&left, &right), (Item::List(_), Item::List(_)));
        return Ok(if lists {
            Item::list(a)
        } else {
            Item::generator(a)
        });
    }
    let (Some(a), Some(b)) = (left.as_number(), right.as_number()) else {
        return mismatch("+");
    };
    match (is_whole(&left), is_whole(&right)) {
        (Some(x), Some(y)) => Ok(whole(x.checked_add(y), a + b)),
        _ => Ok(Item::Float(a + b)),
    }
}

fn subtract(left: Item, right: Item) -> Outcome<Item> {
    if let (Item::Set(a), Item::Set(b)) = (&left, &right) {
        let kept = a.iter().filter(|(key, _)| !b.contains_key(*key));
        return Ok(Item::set(kept.map(|(_, (item, _))| item.clone())));
    }
    let (Some(a), Some(b)) = (left.as_number(), right.as_number()) else {
        return mismatch("-");
    };
    match (is_whole(&left), is_whole(&right)) {
        (Some(x), Some(y)) => Ok(whole(x.checked_sub(y), a - b)),
        _ => Ok(Item::Float(a - b)),
    }
}

/// A product of text or list and number must not fill the memory.
const LONGEST: usize = 1_000_000;

fn multiply(left: Item, right: Item) -> Outcome<Item> {
    let repeated = match (&left, &right) {
        (Item::List(_) | Item::Text(_), Item::Int(times)) => Some((&left, *times)),
        (Item::Int(times), Item::List(_) | Item::Text(_)) => Some((&right, *times)),
        _ => None,
    };
    if let Some((item, times)) = repeated {
        let times = usize::try_from(times).unwrap_or(0);
        let length = item.items().map_or(1, |items| items.len());
        if length.saturating_mul(times) > LONGEST {
            return fail(
                Kind::CollectionTooLargeException,
                "Collection length exceeds the limit",
            );
        }
        return Ok(match item {
            Item::Text(text) => Item::text(text.repeat(times)),
            other => {
                let items = other.items().unwrap_or_default();
                Item::list((0..times).flat_map(|_| items.iter().cloned()).collect())
            }
        });
    }
    let (Some(a), Some(b)) = (left.as_number(), right.as_number()) else {
        return mismatch("*");
    };
    match (is_whole(&left), is_whole(&right)) {
        (Some(x), Some(y)) => Ok(whole(x.checked_mul(y), a * b)),
        _ => Ok(Item::Float(a * b)),
    }
}

fn divide(left: &Item, right: &Item) -> Outcome<Item> {
    let (Some(a), Some(b)) = (left.as_number(), right.as_number()) else {
        return mismatch("/");
    };
    if b == 0.0 {
        return fail(Kind::Error, "division by zero");
    }
    match (is_whole(left), is_whole(right)) {
        (Some(_), Some(_)) => Ok(Item::Int((a / b).floor() as i64)),
        _ => Ok(Item::Float(a / b)),
    }
}

fn modulo(left: &Item, right: &Item) -> Outcome<Item> {
    let (Some(a), Some(b)) = (left.as_number(), right.as_number()) else {
        return mismatch("mod");
    };
    if b == 0.0 {
        return fail(Kind::Error, "integer modulo by zero");
    }
    match (is_whole(left), is_whole(right)) {
        (Some(x), Some(y)) => Ok(Item::Int(x.wrapping_rem(y).wrapping_add(y).wrapping_rem(y))),
        _ => Ok(Item::Float(a - b * (a / b).floor())),
    }
}
