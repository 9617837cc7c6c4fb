//! Evaluates parsed expressions: names, properties, indexes, calls.

use std::rc::Rc;

use super::arithmetic;
use super::collections;
use super::functions;
use super::item::{Dict, Item, fail};
use super::maps;
use super::parse::{Arguments, Ast, Operator};
use super::queries;
use super::text;
use crate::error::Kind;
use crate::expr::Outcome;

/// Variables, inner ones before outer ones.
#[derive(Debug)]
pub(super) struct Names {
    outer: Option<Rc<Names>>,
    own: Vec<(String, Item)>,
}

impl Names {
    /// `$` is the whole of the data.
    pub fn root(data: Item) -> Rc<Names> {
        Rc::new(Names {
            outer: None,
            own: vec![("1".to_owned(), data)],
        })
    }

    /// Names over others.
    pub fn over(outer: &Rc<Names>, own: Vec<(String, Item)>) -> Rc<Names> {
        Rc::new(Names {
            outer: Some(outer.clone()),
            own,
        })
    }

    fn find(&self, name: &str) -> Item {
        let mut names = self;
        loop {
            if let Some((_, item)) = names.own.iter().find(|(own, _)| own == name) {
                return item.clone();
            }
            match &names.outer {
                Some(outer) => names = outer,
                None => return Item::Null,
            }
        }
    }
}

/// A call with its arguments unevaluated: some are values, some are run once per item.
pub(super) struct Call<'a> {
    pub name: &'a str,
    pub arguments: &'a Arguments,
    pub names: &'a Rc<Names>,
}

impl Call<'_> {
    fn argument(&self, at: usize, keyword: &str) -> Option<&Ast> {
        let named = self
            .arguments
            .pairs
            .iter()
            .find(|(key, _)| matches!(key, Ast::Text(word) if word == keyword));
        self.arguments
            .positional
            .get(at)
            .or(named.map(|(_, value)| value))
    }

    /// A value, by place or by keyword.
    pub fn value(&self, at: usize, keyword: &str) -> Outcome<Option<Item>> {
        self.argument(at, keyword)
            .map(|ast| evaluate(ast, self.names))
            .transpose()
    }

    /// All positional values.
    pub fn values(&self) -> Outcome<Vec<Item>> {
        self.arguments
            .positional
            .iter()
            .map(|ast| evaluate(ast, self.names))
            .collect()
    }

    /// Runs an argument for an item; without the argument the item itself.
    pub fn run(&self, at: usize, keyword: &str, item: &Item) -> Outcome<Item> {
        match self.argument(at, keyword) {
            Some(_) => self.run_with(at, keyword, std::slice::from_ref(item)),
            None => Ok(item.clone()),
        }
    }

    /// Runs an argument with `$1`, `$2` ….
    pub fn run_with(&self, at: usize, keyword: &str, items: &[Item]) -> Outcome<Item> {
        let Some(ast) = self.argument(at, keyword) else {
            return Ok(Item::Null);
        };
        let own = items
            .iter()
            .enumerate()
            .map(|(at, item)| ((at + 1).to_string(), item.clone()));
        evaluate(ast, &Names::over(self.names, own.collect()))
    }

    /// Whether an argument is there.
    pub fn has(&self, at: usize, keyword: &str) -> bool {
        self.argument(at, keyword).is_some()
    }

    /// The arguments do not fit the receiver.
    pub fn mismatch<T>(&self, receiver: &Item) -> Outcome<T> {
        fail(
            Kind::NoMatchingMethodException,
            format!(
                "No method \"{}\" for receiver {} matches supplied arguments",
                self.name,
                receiver.shown()
            ),
        )
    }

    /// The arguments do not fit the function.
    pub fn no_match<T>(&self) -> Outcome<T> {
        fail(
            Kind::NoMatchingFunctionException,
            format!("No function \"{}\" matches supplied arguments", self.name),
        )
    }
}

/// Evaluates an expression.
pub(super) fn evaluate(ast: &Ast, names: &Rc<Names>) -> Outcome<Item> {
    Ok(match ast {
        Ast::Null => Item::Null,
        Ast::Bool(value) => Item::Bool(*value),
        Ast::Int(number) => Item::Int(*number),
        Ast::Float(number) => Item::Float(*number),
        Ast::Text(text) => Item::text(text),
        Ast::Variable(name) => names.find(name),
        Ast::List(items) => {
            let items: Outcome<Vec<_>> = items.iter().map(|item| evaluate(item, names)).collect();
            Item::list(items?)
        }
        Ast::Dict(pairs) => {
            let mut dict = Dict::new();
            for (key, value) in pairs {
                let key = evaluate(key, names)?;
                dict.insert(key.identity(), (key, evaluate(value, names)?));
            }
            Item::dict(dict)
        }
        Ast::Function(name, arguments) => functions::call(&Call {
            name,
            arguments,
            names,
        })?,
        Ast::Method(receiver, name, arguments, safe) => {
            let receiver = evaluate(receiver, names)?;
            if *safe && receiver.is_null() {
                return Ok(Item::Null);
            }
            method(
                &receiver,
                &Call {
                    name,
                    arguments,
                    names,
                },
            )?
        }
        Ast::Property(receiver, name, safe) => {
            let receiver = evaluate(receiver, names)?;
            if *safe && receiver.is_null() {
                return Ok(Item::Null);
            }
            property(&receiver, name)?
        }
        Ast::Index(receiver, keys) => {
            let receiver = evaluate(receiver, names)?;
            index(&receiver, keys, names)?
        }
        Ast::Unary(operator, inner) => arithmetic::unary(*operator, evaluate(inner, names)?)?,
        Ast::Binary(operator, left, right) => binary(*operator, left, right, names)?,
    })
}

fn binary(operator: Operator, left: &Ast, right: &Ast, names: &Rc<Names>) -> Outcome<Item> {
    let left = evaluate(left, names)?;
    match operator {
        Operator::And if !left.is_true() => Ok(left),
        Operator::Or if left.is_true() => Ok(left),
        Operator::And | Operator::Or => evaluate(right, names),
        Operator::Arrow => match &left {
            Item::Names(inner) => evaluate(right, inner),
            _ => fail(
                Kind::NoMatchingFunctionException,
                "No function \"#operator_->\" matches supplied arguments",
            ),
        },
        _ => arithmetic::binary(operator, left, evaluate(right, names)?),
    }
}

/// `receiver.name`: the value of a map's key, or that of every item of a list.
fn property(receiver: &Item, name: &str) -> Outcome<Item> {
    if let Some(dict) = receiver.as_dict() {
        return match dict.get(&Item::text(name).identity()) {
            Some((_, value)) => Ok(value.clone()),
            None => fail(Kind::KeyError, format!("'{name}'")),
        };
    }
    match receiver.items() {
        Some(items) => {
            let values: Outcome<Vec<_>> = items.iter().map(|item| property(item, name)).collect();
            values.map(Item::generator)
        }
        None => fail(
            Kind::NoFunctionRegisteredException,
            format!("Unknown function \"#property#{name}\""),
        ),
    }
}

fn index(receiver: &Item, keys: &[Ast], names: &Rc<Names>) -> Outcome<Item> {
    let [key] = keys else {
        return fail(Kind::TypeError, "one index is expected");
    };
    if let Some(dict) = receiver.as_dict() {
        let key = evaluate(key, names)?;
        return match dict.get(&key.identity()) {
            Some((_, value)) => Ok(value.clone()),
            None => fail(Kind::KeyError, key.to_value().python_repr()),
        };
    }
    let Some(items) = receiver.items() else {
        return fail(
            Kind::NoMatchingFunctionException,
            "No function \"#indexer\" matches supplied arguments",
        );
    };
    let value = evaluate(key, names)?;
    let Some(number) = value.as_int() else {
        return fail(
            Kind::NoMatchingFunctionException,
            "No function \"#indexer\" matches supplied arguments",
        );
    };
    let place = if number < 0 {
        number + items.len() as i64
    } else {
        number
    };
    match usize::try_from(place)
        .ok()
        .and_then(|place| items.get(place))
    {
        Some(item) => Ok(item.clone()),
        None => fail(Kind::IndexError, "tuple index out of range"),
    }
}

/// Methods of one kind of receiver; none: the name or receiver is not of this family.
type Family = fn(&Item, &Call<'_>) -> Outcome<Option<Item>>;

/// Calls a method: the first family that knows the name for this receiver answers.
fn method(receiver: &Item, call: &Call<'_>) -> Outcome<Item> {
    let families: [Family; 4] = [
        text::method,
        maps::method,
        collections::method,
        queries::method,
    ];
    for family in families {
        if let Some(result) = family(receiver, call)? {
            return Ok(result);
        }
    }
    if functions::is_method(call.name) {
        return call.mismatch(receiver);
    }
    fail(
        Kind::NoMethodRegisteredException,
        format!(
            "Unknown method \"{}\" for receiver {}",
            call.name,
            receiver.to_value().python_repr()
        ),
    )
}
