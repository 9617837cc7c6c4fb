//! Parsed values: literals, and calls of functions inside them.
//!
//! Parsing looks a map with one key up in the table of functions, refuses arguments that can not be
//! right, and keeps the rest for [`Expr::resolve`].

use crate::error::{Kind, TemplateError};
use crate::functions::{self, Function, Lookup};
use crate::scope::Scope;
use crate::value::{Map, Value};
use crate::version::Version;

/// Result of anything in a template.
pub(crate) type Outcome<T> = Result<T, TemplateError>;

/// A value that may hold calls of functions.
#[derive(Debug, Clone)]
pub(crate) enum Expr {
    /// No function inside.
    Value(Value),
    /// A list with a function somewhere inside.
    List(Vec<Expr>),
    /// A map with a function somewhere inside.
    Map(Vec<(String, Expr)>),
    /// A call.
    Call(Box<Call>),
}

/// A call of a function.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The function.
    pub function: &'static Function,
    /// Its arguments. Of a macro (`if`): the branch that was taken.
    pub args: Expr,
    /// A macro whose value is left out of the list or map around it.
    pub dropped: bool,
}

/// Which functions may be used, and what conditions are decided by.
#[derive(Clone, Copy)]
pub(crate) struct Parser<'a> {
    /// Version of the template.
    pub version: Version,
    /// Whether this is inside a condition.
    pub in_condition: bool,
    /// Decides conditions for `if`.
    pub scope: &'a Scope<'a>,
}

impl Parser<'_> {
    /// Parses a value that stands at a path.
    pub fn parse(&self, value: &Value, path: &str) -> Outcome<Expr> {
        match value {
            Value::Map(map) => self.parse_map(map, path),
            Value::List(items) => {
                let mut literal = true;
                let mut parsed = Vec::with_capacity(items.len());
                for (at, item) in items.iter().enumerate() {
                    let item = self.parse(item, &format!("{path}[{at}]"))?;
                    literal &= matches!(item, Expr::Value(_));
                    parsed.push(item);
                }
                Ok(if literal {
                    Expr::Value(value.clone())
                } else {
                    Expr::List(parsed)
                })
            }
            _ => Ok(Expr::Value(value.clone())),
        }
    }

    fn parse_map(&self, map: &Map, path: &str) -> Outcome<Expr> {
        if map.len() == 1
            && let Some((name, args)) = map.first()
        {
            match functions::find(self.version, name, self.in_condition) {
                Lookup::Function(function) => return self.parse_call(function, args, path),
                Lookup::Removed => {
                    return Err(TemplateError::invalid(format!(
                        "The template version is invalid: The function {name} is not supported in this version of HOT."
                    ))
                    .at("", join(path, name)));
                }
                Lookup::WrongPlace => {
                    return Err(TemplateError::invalid(format!(
                        "The function \"{name}\" is invalid in this context"
                    ))
                    .at("", join(path, name)));
                }
                Lookup::None => {}
            }
        }
        let mut literal = true;
        let mut parsed = Vec::with_capacity(map.len());
        for (key, item) in map {
            let item = self.parse(item, &join(path, key))?;
            literal &= matches!(item, Expr::Value(_));
            parsed.push((key.clone(), item));
        }
        Ok(if literal {
            Expr::Value(Value::Map(map.clone()))
        } else {
            Expr::Map(parsed)
        })
    }

    fn parse_call(&self, function: &'static Function, args: &Value, path: &str) -> Outcome<Expr> {
        let path = join(path, function.name);
        if let Some(expand) = function.expand {
            let (args, dropped) =
                expand(self, function, args, &path).map_err(|e| place(e, &path))?;
            return Ok(Expr::Call(Box::new(Call {
                function,
                args,
                dropped,
            })));
        }
        let args = self.parse(args, &path)?;
        let call = Call {
            function,
            args,
            dropped: false,
        };
        (function.check)(&call).map_err(|error| place(error, &path))?;
        Ok(Expr::Call(Box::new(call)))
    }
}

/// A bare Python error becomes one of validation at the place of the function.
fn place(error: TemplateError, path: &str) -> TemplateError {
    match error.kind {
        Kind::ValueError | Kind::TypeError | Kind::KeyError => {
            let mut placed = TemplateError::invalid(error.message).at("", path);
            placed.advice = error.advice;
            placed
        }
        _ => error,
    }
}

/// Joins a path and a key with a dot.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

impl Expr {
    /// Whether no function is inside.
    pub fn as_value(&self) -> Option<&Value> {
        match self {
            Expr::Value(value) => Some(value),
            _ => None,
        }
    }

    /// Its items, if it is a list.
    pub fn items(&self) -> Option<Vec<Expr>> {
        match self {
            Expr::List(items) => Some(items.clone()),
            Expr::Value(Value::List(items)) => {
                Some(items.iter().cloned().map(Expr::Value).collect())
            }
            _ => None,
        }
    }

    /// The value under a key, if it is a map that has it.
    pub fn get(&self, key: &str) -> Option<Expr> {
        match self {
            Expr::Map(pairs) => pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone()),
            Expr::Value(Value::Map(map)) => map.get(key).cloned().map(Expr::Value),
            _ => None,
        }
    }

    /// The keys, if it is a map.
    pub fn keys(&self) -> Option<Vec<String>> {
        match self {
            Expr::Map(pairs) => Some(pairs.iter().map(|(key, _)| key.clone()).collect()),
            Expr::Value(Value::Map(map)) => Some(map.keys().cloned().collect()),
            _ => None,
        }
    }

    /// Whether it is a call.
    pub fn is_call(&self) -> bool {
        matches!(self, Expr::Call(_))
    }

    /// The value. None: it is left out (an `if` without a second branch).
    pub fn resolve_or_drop(&self, scope: &Scope<'_>) -> Outcome<Option<Value>> {
        match self {
            Expr::Value(value) => Ok(Some(value.clone())),
            Expr::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.extend(item.resolve_or_drop(scope)?);
                }
                Ok(Some(Value::List(list)))
            }
            Expr::Map(pairs) => {
                let mut map = Map::with_capacity(pairs.len());
                for (key, item) in pairs {
                    if let Some(value) = item.resolve_or_drop(scope)? {
                        map.insert(key.clone(), value);
                    }
                }
                Ok(Some(Value::Map(map)))
            }
            Expr::Call(call) if call.dropped => Ok(None),
            Expr::Call(call) if call.function.expand.is_some() => call.args.resolve_or_drop(scope),
            Expr::Call(call) => (call.function.resolve)(call, scope).map(Some),
        }
    }

    /// The value; what is left out is null.
    pub fn resolve(&self, scope: &Scope<'_>) -> Outcome<Value> {
        Ok(self.resolve_or_drop(scope)?.unwrap_or(Value::Null))
    }

    /// Checks what can be checked without values: attributes, arguments.
    pub fn validate(&self, scope: &Scope<'_>, path: &str) -> Outcome<()> {
        match self {
            Expr::Value(_) => Ok(()),
            Expr::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    item.validate(scope, &format!("{path}[{at}]"))?;
                }
                Ok(())
            }
            Expr::Map(pairs) => {
                for (key, item) in pairs {
                    item.validate(scope, &join(path, key))?;
                }
                Ok(())
            }
            Expr::Call(call) => {
                let at = join(path, call.function.name);
                let result = match call.function.validate {
                    Some(validate) => validate(call, scope),
                    None => call.args.validate(scope, ""),
                };
                // Heat prints the reason into the message of the function around it.
                result.map_err(|error| {
                    let mut placed = TemplateError::invalid(error.full()).at("", at);
                    placed.advice = error.advice;
                    placed
                })
            }
        }
    }

    /// Visits every call, outer ones first.
    pub fn visit_calls<'a>(&'a self, visit: &mut dyn FnMut(&'a Call)) {
        match self {
            Expr::Value(_) => {}
            Expr::List(items) => items.iter().for_each(|item| item.visit_calls(visit)),
            Expr::Map(pairs) => pairs.iter().for_each(|(_, item)| item.visit_calls(visit)),
            Expr::Call(call) => {
                visit(call);
                call.args.visit_calls(visit);
            }
        }
    }
}
