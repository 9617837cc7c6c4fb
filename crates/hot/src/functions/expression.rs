//! `yaql`.

use super::text::syntax;
use super::{key_error, type_error};
use crate::expr::{Call, Expr, Outcome};
use crate::scope::Scope;
use crate::value::Value;
use crate::yaql;

const SYNTAX: &str = "\"yaql\" syntax should be yaql:\n              expression: $.data.var1.sum()\n              data:\n                var1: [3, 2, 1]";
const NOT_TEXT: &str = "The \"expression\" argument to yaql must contain a string.";

/// A literal expression is parsed here, so that its syntax is checked with the template.
pub(super) fn check_yaql(call: &Call) -> Outcome<()> {
    let Some(keys) = call.args.keys() else {
        return type_error("Arguments to \"yaql\" must be a map.");
    };
    if keys.iter().any(|key| key != "expression" && key != "data") {
        return key_error(syntax(SYNTAX));
    }
    match call.args.get("expression") {
        None => key_error(syntax(SYNTAX)),
        Some(Expr::Value(Value::Text(text))) => yaql::check(&text),
        Some(Expr::Call(_)) => Ok(()),
        Some(_) => type_error(NOT_TEXT),
    }
}

pub(super) fn yaql(call: &Call, scope: &Scope<'_>) -> Outcome<Value> {
    let part = |key| {
        call.args
            .get(key)
            .unwrap_or(Expr::Value(Value::Null))
            .resolve(scope)
    };
    let expression = part("expression")?;
    let Some(text) = expression.as_text() else {
        return type_error(NOT_TEXT);
    };
    yaql::evaluate(text, &part("data")?)
}
