//! Conditions and `if`.

use super::{Function, value_error};
use crate::expr::{Call, Expr, Outcome, Parser};
use crate::scope::Scope;
use crate::value::Value;

/// Decides a value that stands where a condition is asked for: a boolean, or the name of one.
pub(crate) fn decide(value: &Value, scope: &Scope<'_>) -> Outcome<bool> {
    match value {
        Value::Null => Ok(true),
        Value::Bool(value) => Ok(*value),
        Value::Text(name) => match scope.condition(name)? {
            Some(value) => Ok(value),
            None => value_error(format!("Invalid condition \"{name}\"")),
        },
        other => value_error(format!("Invalid condition \"{}\"", other.python_str())),
    }
}

pub(super) fn check_equals(call: &Call) -> Outcome<()> {
    match call.args.items() {
        Some(items) if items.len() == 2 => Ok(()),
        _ => value_error(format!(
            "Arguments to \"{}\" must be of the form: [value_1, value_2]",
            call.function.name
        )),
    }
}

pub(super) fn equals(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    match &call.args.resolve(scope)? {
        Value::List(items) if items.len() == 2 => Ok(Value::Bool(items[0].equals(&items[1]))),
        _ => Ok(Value::Bool(false)),
    }
}

pub(super) fn check_not(call: &Call) -> Outcome<()> {
    match &call.args {
        Expr::Value(Value::Null) => {
            value_error("Arguments to \"not\" must be of the form: condition")
        }
        _ => Ok(()),
    }
}

pub(super) fn check_cfn_not(call: &Call) -> Outcome<()> {
    match call.args.items() {
        Some(items) if items.len() == 1 => Ok(()),
        _ => value_error("Arguments to \"Fn::Not\" must be of the form: [condition]"),
    }
}

pub(super) fn not(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let mut condition = call.args.resolve(scope)?;
    if call.function.name == "Fn::Not"
        && let Value::List(items) = &condition
    {
        condition = items.first().cloned().unwrap_or_default();
    }
    Ok(Value::Bool(!decide(&condition, scope)?))
}

pub(super) fn check_many(call: &Call) -> Outcome<()> {
    let name = call.function.name;
    match call.args.items() {
        None => value_error(format!(
            "Arguments to \"{name}\" must be a list of conditions"
        )),
        Some(items) if items.len() < 2 => value_error(format!(
            "The minimum number of condition arguments to \"{name}\" is 2."
        )),
        Some(_) => Ok(()),
    }
}

/// Decides one after the other until one is `decisive`; what comes after it is not looked at.
fn any_is(call: &Call, scope: &Scope<'_>, decisive: bool) -> Outcome<bool> {
    for item in call.args.items().unwrap_or_default() {
        if decide(&item.resolve(scope)?, scope)? == decisive {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn and(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    Ok(Value::Bool(!any_is(call, scope, false)?))
}

pub(super) fn or(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    Ok(Value::Bool(any_is(call, scope, true)?))
}

/// Resolves the branch that was taken when the macro was parsed.
pub(super) fn taken(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    call.args.resolve(scope)
}

fn holds(parser: &Parser<'_>, condition: &Value) -> Outcome<bool> {
    let inner = Parser {
        in_condition: true,
        ..*parser
    };
    // Heat parses the condition of an `if` without the path that leads to it.
    let condition = inner.parse(condition, "if")?;
    decide(&condition.resolve(parser.scope)?, parser.scope)
}

pub(super) fn expand_if(
    parser: &Parser<'_>,
    function: &'static Function,
    args: &Value,
    path: &str,
) -> Outcome<(Expr, bool)> {
    let Some([condition, yes, no]) = args.as_list() else {
        return value_error(format!(
            "Arguments to \"{}\" must be of the form: [condition_name, value_if_true, value_if_false]",
            function.name
        ));
    };
    let branch = if holds(parser, condition)? { yes } else { no };
    Ok((parser.parse(branch, path)?, false))
}

pub(super) fn expand_if_or_drop(
    parser: &Parser<'_>,
    function: &'static Function,
    args: &Value,
    path: &str,
) -> Outcome<(Expr, bool)> {
    let Some([condition, yes]) = args.as_list() else {
        return expand_if(parser, function, args, path);
    };
    if holds(parser, condition)? {
        return Ok((parser.parse(yes, path)?, false));
    }
    Ok((Expr::Value(Value::Null), true))
}
