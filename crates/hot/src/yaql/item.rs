//! Values inside YAQL: those of templates, and sets, generators, expressions beside them.

use std::cmp::Ordering;
use std::rc::Rc;

use fancy_regex::Regex;
use indexmap::IndexMap;
use yaml::spell_float;

use super::eval::Names;
use crate::error::{Kind, TemplateError};
use crate::expr::Outcome;
use crate::value::{Map, Value};

/// A map that can have any key: by the identity of the key, the key and its value.
pub(super) type Dict = IndexMap<String, (Item, Item)>;

/// A value inside YAQL. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    List(Rc<Vec<Item>>),
    /// The items of a generator: a sequence that is never equal to a list.
    Generator(Rc<Vec<Item>>),
    Dict(Rc<Dict>),
    Set(Rc<Dict>),
    Regex(Rc<Regex>),
    /// What `let` gives to the arrow.
    Names(Rc<Names>),
}

/// A bare Python error.
pub(super) fn fail<T>(kind: Kind, message: impl Into<String>) -> Outcome<T> {
    Err(TemplateError::new(kind, message))
}

impl Item {
    pub fn text(text: impl AsRef<str>) -> Item {
        Item::Text(text.as_ref().into())
    }

    pub fn list(items: Vec<Item>) -> Item {
        Item::List(Rc::new(items))
    }

    pub fn generator(items: Vec<Item>) -> Item {
        Item::Generator(Rc::new(items))
    }

    pub fn dict(dict: Dict) -> Item {
        Item::Dict(Rc::new(dict))
    }

    pub fn set(items: impl IntoIterator<Item = Item>) -> Item {
        let pairs = items
            .into_iter()
            .map(|item| (item.identity(), (item, Item::Null)));
        let mut dict = Dict::new();
        for (identity, pair) in pairs {
            dict.entry(identity).or_insert(pair);
        }
        Item::Set(Rc::new(dict))
    }

    pub fn from_value(value: &Value) -> Item {
        match value {
            Value::Null => Item::Null,
            Value::Bool(value) => Item::Bool(*value),
            Value::Int(number) => Item::Int(*number),
            Value::Float(number) => Item::Float(*number),
            Value::Text(text) => Item::text(text),
            Value::List(items) => Item::list(items.iter().map(Item::from_value).collect()),
            Value::Map(map) => Item::dict(
                map.iter()
                    .map(|(key, value)| {
                        let key = Item::text(key);
                        (key.identity(), (key, Item::from_value(value)))
                    })
                    .collect(),
            ),
        }
    }

    pub fn to_value(&self) -> Value {
        match self {
            Item::Null | Item::Names(_) => Value::Null,
            Item::Bool(value) => Value::Bool(*value),
            Item::Int(number) => Value::Int(*number),
            Item::Float(number) => Value::Float(*number),
            Item::Text(text) => Value::text(&**text),
            Item::List(items) | Item::Generator(items) => {
                Value::List(items.iter().map(Item::to_value).collect())
            }
            Item::Set(items) => {
                Value::List(items.values().map(|(item, _)| item.to_value()).collect())
            }
            Item::Dict(dict) => {
                let pairs = dict
                    .values()
                    .map(|(key, value)| (key.json_key(), value.to_value()));
                Value::Map(pairs.collect::<Map>())
            }
            Item::Regex(regex) => Value::text(regex.as_str()),
        }
    }

    fn json_key(&self) -> String {
        match self {
            Item::Null => "null".to_owned(),
            Item::Bool(value) => value.to_string(),
            other => other.to_value().python_str(),
        }
    }

    /// Whether Python holds it for true.
    pub fn is_true(&self) -> bool {
        match self {
            Item::Null => false,
            Item::Bool(value) => *value,
            Item::Int(number) => *number != 0,
            Item::Float(number) => *number != 0.0,
            Item::Text(text) => !text.is_empty(),
            Item::List(items) => !items.is_empty(),
            Item::Dict(dict) | Item::Set(dict) => !dict.is_empty(),
            Item::Generator(_) | Item::Regex(_) | Item::Names(_) => true,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Item::Null)
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            Item::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_int(&self) -> Option<i64> {
        match self {
            Item::Int(number) => Some(*number),
            Item::Bool(value) => Some(i64::from(*value)),
            _ => None,
        }
    }

    pub fn as_number(&self) -> Option<f64> {
        match self {
            Item::Bool(value) => Some(f64::from(u8::from(*value))),
            Item::Int(number) => Some(*number as f64),
            Item::Float(number) => Some(*number),
            _ => None,
        }
    }

    pub fn as_dict(&self) -> Option<&Dict> {
        match self {
            Item::Dict(dict) => Some(dict),
            _ => None,
        }
    }

    /// The items of what YAQL iterates: lists, generators and sets, neither text nor maps.
    pub fn items(&self) -> Option<Vec<Item>> {
        match self {
            Item::List(items) | Item::Generator(items) => Some(items.to_vec()),
            Item::Set(items) => Some(items.values().map(|(item, _)| item.clone()).collect()),
            _ => None,
        }
    }

    /// Things that are equal have the same identity.
    pub fn identity(&self) -> String {
        match self {
            Item::Null => "null".to_owned(),
            Item::Bool(_) | Item::Int(_) | Item::Float(_) => match (self, self.as_number()) {
                (Item::Int(number), _) if number.abs() >= 1 << 53 => format!("n{number}"),
                (_, number) => format!("n{}", spell_float(number.unwrap_or_default())),
            },
            Item::Text(text) => format!("t{}:{text}", text.len()),
            Item::List(items) => {
                let inner: Vec<String> = items.iter().map(Item::identity).collect();
                format!("l[{}]", inner.join(","))
            }
            Item::Dict(dict) => {
                let mut inner: Vec<String> = dict
                    .iter()
                    .map(|(key, (_, value))| format!("{key}={}", value.identity()))
                    .collect();
                inner.sort_unstable();
                format!("d{{{}}}", inner.join(","))
            }
            Item::Set(dict) => {
                let mut inner: Vec<&str> = dict.keys().map(String::as_str).collect();
                inner.sort_unstable();
                format!("s{{{}}}", inner.join(","))
            }
            Item::Generator(items) => format!("g{:p}", Rc::as_ptr(items)),
            Item::Regex(regex) => format!("r{}", regex.as_str()),
            Item::Names(names) => format!("c{:p}", Rc::as_ptr(names)),
        }
    }

    pub fn equals(&self, other: &Item) -> bool {
        match (self, other) {
            (Item::Text(a), Item::Text(b)) => a == b,
            (Item::Int(a), Item::Int(b)) => a == b,
            _ => self.identity() == other.identity(),
        }
    }

    /// Python's order; an error for what has none.
    pub fn order(&self, other: &Item) -> Outcome<Ordering> {
        match (self, other) {
            (Item::Text(a), Item::Text(b)) => Ok(a.cmp(b)),
            (Item::Int(a), Item::Int(b)) => Ok(a.cmp(b)),
            (Item::List(a), Item::List(b)) => {
                for (a, b) in std::iter::zip(a.iter(), b.iter()) {
                    if !a.equals(b) {
                        return a.order(b);
                    }
                }
                Ok(a.len().cmp(&b.len()))
            }
            _ => match (self.as_number(), other.as_number()) {
                (Some(a), Some(b)) => Ok(a.partial_cmp(&b).unwrap_or(Ordering::Equal)),
                _ => fail(
                    Kind::TypeError,
                    format!(
                        "'<' not supported between instances of '{}' and '{}'",
                        self.to_value().python_type(),
                        other.to_value().python_type()
                    ),
                ),
            },
        }
    }

    /// What `str()` makes of it.
    pub fn spell(&self) -> String {
        match self {
            Item::Null => "null".to_owned(),
            Item::Bool(value) => value.to_string(),
            other => other.shown(),
        }
    }

    /// Its `repr`, as messages show a receiver: lists are tuples.
    pub fn shown(&self) -> String {
        match self {
            Item::List(items) => {
                let inner: Vec<String> = items.iter().map(Item::repr).collect();
                let comma = if inner.len() == 1 { "," } else { "" };
                format!("({}{comma})", inner.join(", "))
            }
            Item::Generator(_) => "<generator object>".to_owned(),
            other => other.to_value().python_str(),
        }
    }

    fn repr(&self) -> String {
        match self {
            Item::List(_) | Item::Generator(_) => self.shown(),
            other => other.to_value().python_repr(),
        }
    }
}
