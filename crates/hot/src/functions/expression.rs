//! `yaql`.

use super::type_error;
use crate::expr::{Call, Expr, Outcome};
use crate::scope::Scope;
use crate::value::Value;
use crate::yaql;

pub(super) fn check_yaql(call: &Call) -> Outcome<()> {
    let wrong = |what: &str| type_error(format!("{what} to \"yaql\" must be a map"));
    let Some(keys) = call.args.keys() else {
        return wrong("Arguments");
    };
    let known = ["expression", "data"];
    if let Some(key) = keys.iter().find(|key| !known.contains(&key.as_str())) {
        return super::value_error(format!("Invalid key \"{key}\" in \"yaql\""));
    }
    if let Some(key) = known.into_iter().find(|key| !keys.iter().any(|k| k == key)) {
        return super::key_error(Value::text(key).python_repr());
    }
    Ok(())
}

/// A literal expression is parsed early, so that its syntax is checked with the template.
pub(super) fn validate_yaql(call: &Call, scope: &Scope<'_>) -> Outcome<()> {
    call.args.validate(scope, "")?;
    Ok(())
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
        return type_error("The \"expression\" argument to \"yaql\" must be a string");
    };
    yaql::evaluate(text, &part("data")?)
}
