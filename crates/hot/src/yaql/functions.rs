//! Functions that are not called on a receiver.

use super::collections;
use super::eval::{Call, Names, evaluate};
use super::item::{Dict, Item, fail};
use super::parse::Ast;
use super::text;
use crate::error::Kind;
use crate::expr::Outcome;
use crate::params::text_to_number;

/// Names that are methods of some receiver: called on another one, the arguments do not match.
const METHODS: &[&str] = &[
    "accumulate",
    "add",
    "aggregate",
    "all",
    "any",
    "append",
    "average",
    "characters",
    "concat",
    "contains",
    "containsKey",
    "containsValue",
    "count",
    "cycle",
    "defaultIfEmpty",
    "delete",
    "deleteAll",
    "difference",
    "distinct",
    "endsWith",
    "enumerate",
    "first",
    "flatten",
    "format",
    "get",
    "groupBy",
    "indexOf",
    "indexWhere",
    "insert",
    "insertMany",
    "intersect",
    "isEmpty",
    "items",
    "join",
    "keys",
    "last",
    "lastIndexOf",
    "lastIndexWhere",
    "len",
    "limit",
    "matches",
    "max",
    "memorize",
    "merge",
    "mergeWith",
    "min",
    "norm",
    "orderBy",
    "orderByDescending",
    "reduce",
    "remove",
    "repeat",
    "replace",
    "replaceBy",
    "reverse",
    "rightSplit",
    "search",
    "searchAll",
    "select",
    "selectMany",
    "set",
    "single",
    "skip",
    "skipWhile",
    "slice",
    "sliceWhere",
    "split",
    "splitAt",
    "splitWhere",
    "startsWith",
    "substring",
    "sum",
    "symmetricDifference",
    "take",
    "takeWhile",
    "thenBy",
    "toDict",
    "toList",
    "toLower",
    "toSet",
    "toUpper",
    "trim",
    "trimLeft",
    "trimRight",
    "union",
    "values",
    "where",
    "zip",
    "zipLongest",
];

pub(super) fn is_method(name: &str) -> bool {
    METHODS.contains(&name)
}

/// Methods that may be called as functions too, with the receiver as the first argument.
const EXTENSIONS: &[&str] = &[
    "len",
    "distinct",
    "flatten",
    "toLower",
    "toUpper",
    "trim",
    "split",
    "rightSplit",
    "join",
    "startsWith",
    "endsWith",
    "replace",
    "substring",
    "format",
    "reverse",
    "sum",
    "toList",
    "toSet",
    "zip",
    "contains",
    "mergeWith",
];

pub(super) fn call(call: &Call<'_>) -> Outcome<Item> {
    match call.name {
        "let" | "with" => names(call),
        "switch" => switch(call),
        "coalesce" => {
            for ast in &call.arguments.positional {
                let item = evaluate(ast, call.names)?;
                if !item.is_null() {
                    return Ok(item);
                }
            }
            Ok(Item::Null)
        }
        "dict" => dict(call),
        "list" => Ok(Item::list(flat(call.values()?))),
        "set" => Ok(Item::set(flat(call.values()?))),
        "range" => range(call),
        "regex" => text::regex(call),
        "concat" => {
            let texts: Vec<String> = call.values()?.iter().map(Item::spell).collect();
            Ok(Item::text(texts.concat()))
        }
        "str" | "int" | "float" | "bool" | "abs" | "round" => convert(call),
        "isString" | "isList" | "isDict" | "isSet" | "isInteger" | "isNumber" | "isBoolean"
        | "isRegex" => is_kind(call),
        "isEmpty" => match call.values()?.first() {
            Some(Item::Text(text)) => Ok(Item::Bool(text.is_empty())),
            Some(Item::Null) => Ok(Item::Bool(true)),
            _ => call.no_match(),
        },
        "max" | "min" => {
            let values = call.values()?;
            let items = match &values[..] {
                [one] => one.items().unwrap_or_else(|| values.clone()),
                _ => values,
            };
            collections::extreme(&items, call.name == "max")
        }
        "escapeRegex" => match call.values()?.first().and_then(Item::as_text) {
            Some(text) => Ok(Item::text(fancy_regex::escape(text))),
            None => call.no_match(),
        },
        name if EXTENSIONS.contains(&name) => extension(call),
        "select" | "where" => call.no_match(),
        name => fail(
            Kind::NoFunctionRegisteredException,
            format!("Unknown function \"{name}\""),
        ),
    }
}

/// Calls a method whose receiver is the first argument.
fn extension(call: &Call<'_>) -> Outcome<Item> {
    let Some((receiver, rest)) = call.arguments.positional.split_first() else {
        return call.no_match();
    };
    let method = Ast::Method(
        Box::new(receiver.clone()),
        call.name.to_owned(),
        super::parse::Arguments {
            positional: rest.to_vec(),
            pairs: call.arguments.pairs.clone(),
        },
        false,
    );
    match evaluate(&method, call.names) {
        Err(error) if error.kind == Kind::NoMatchingMethodException => call.no_match(),
        other => other,
    }
}

/// Generators among the values give their items; lists stay lists.
fn flat(values: Vec<Item>) -> Vec<Item> {
    let mut items = Vec::new();
    for value in values {
        match value {
            Item::Generator(inner) => items.extend(flat(inner.to_vec())),
            other => items.push(other),
        }
    }
    items
}

fn names(call: &Call<'_>) -> Outcome<Item> {
    let mut own = Vec::new();
    for (at, value) in call.values()?.into_iter().enumerate() {
        own.push(((at + 1).to_string(), value));
    }
    for (key, value) in &call.arguments.pairs {
        if let Ast::Text(name) = key {
            own.push((name.clone(), evaluate(value, call.names)?));
        }
    }
    Ok(Item::Names(Names::over(call.names, own)))
}

fn switch(call: &Call<'_>) -> Outcome<Item> {
    for (condition, value) in &call.arguments.pairs {
        if evaluate(condition, call.names)?.is_true() {
            return evaluate(value, call.names);
        }
    }
    Ok(Item::Null)
}

fn dict(call: &Call<'_>) -> Outcome<Item> {
    let mut dict = Dict::new();
    for value in call.values()? {
        if let Item::Dict(inner) = &value {
            dict.extend(inner.iter().map(|(key, pair)| (key.clone(), pair.clone())));
            continue;
        }
        let Some(pairs) = value.items() else {
            return call.no_match();
        };
        for pair in pairs {
            match pair.items().as_deref() {
                Some([key, value]) => {
                    dict.insert(key.identity(), (key.clone(), value.clone()));
                }
                _ => {
                    return fail(
                        Kind::ValueError,
                        "a pair of key and value is expected for each item",
                    );
                }
            }
        }
    }
    for (key, value) in &call.arguments.pairs {
        let key = evaluate(key, call.names)?;
        dict.insert(key.identity(), (key, evaluate(value, call.names)?));
    }
    Ok(Item::dict(dict))
}

/// A sequence must end; nobody needs one that is longer.
const LONGEST: usize = 1_000_000;

fn range(call: &Call<'_>) -> Outcome<Item> {
    let numbers: Option<Vec<i64>> = call.values()?.iter().map(Item::as_int).collect();
    let (start, stop, step) = match numbers.as_deref() {
        Some([stop]) => (0, *stop, 1),
        Some([start, stop]) => (*start, *stop, 1),
        Some([start, stop, step]) if *step != 0 => (*start, *stop, *step),
        _ => return call.no_match(),
    };
    let mut items = Vec::new();
    let mut number = start;
    while (step > 0 && number < stop) || (step < 0 && number > stop) {
        items.push(Item::Int(number));
        if items.len() > LONGEST {
            return fail(
                Kind::CollectionTooLargeException,
                "Collection length exceeds the limit",
            );
        }
        match number.checked_add(step) {
            Some(next) => number = next,
            None => break,
        }
    }
    Ok(Item::generator(items))
}

fn convert(call: &Call<'_>) -> Outcome<Item> {
    let values = call.values()?;
    let Some(value) = values.first() else {
        return call.no_match();
    };
    match call.name {
        "str" => Ok(Item::text(value.spell())),
        "bool" => Ok(Item::Bool(value.is_true())),
        "int" => match value {
            Item::Null => Ok(Item::Int(0)),
            Item::Float(number) => Ok(Item::Int(*number as i64)),
            Item::Text(text) => match text_to_number(text) {
                Some(crate::value::Value::Int(number)) => Ok(Item::Int(number)),
                _ => fail(
                    Kind::ValueError,
                    format!("invalid literal for int() with base 10: '{text}'"),
                ),
            },
            other => other
                .as_int()
                .map_or_else(|| call.no_match(), |number| Ok(Item::Int(number))),
        },
        "float" => match value {
            Item::Null => Ok(Item::Float(0.0)),
            Item::Text(text) => match text_to_number(text).and_then(|number| number.as_number()) {
                Some(number) => Ok(Item::Float(number)),
                None => fail(
                    Kind::ValueError,
                    format!("could not convert string to float: '{text}'"),
                ),
            },
            other => other
                .as_number()
                .map_or_else(|| call.no_match(), |number| Ok(Item::Float(number))),
        },
        "abs" => match value {
            Item::Int(number) => Ok(Item::Int(number.saturating_abs())),
            Item::Float(number) => Ok(Item::Float(number.abs())),
            _ => call.no_match(),
        },
        _ => match value {
            Item::Int(number) => Ok(Item::Int(*number)),
            Item::Float(number) => Ok(Item::Float(number.round_ties_even())),
            _ => call.no_match(),
        },
    }
}

fn is_kind(call: &Call<'_>) -> Outcome<Item> {
    let values = call.values()?;
    let Some(value) = values.first() else {
        return call.no_match();
    };
    let is = match call.name {
        "isString" => matches!(value, Item::Text(_)),
        "isList" => matches!(value, Item::List(_)),
        "isDict" => matches!(value, Item::Dict(_)),
        "isSet" => matches!(value, Item::Set(_)),
        "isInteger" => matches!(value, Item::Int(_)),
        "isNumber" => matches!(value, Item::Int(_) | Item::Float(_)),
        "isBoolean" => matches!(value, Item::Bool(_)),
        _ => matches!(value, Item::Regex(_)),
    };
    Ok(Item::Bool(is))
}
