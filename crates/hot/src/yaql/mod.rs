//! YAQL, the language of the function `yaql`. Not understood yet: every expression is an error.

use crate::error::{Kind, TemplateError};
use crate::expr::Outcome;
use crate::value::Value;

/// Evaluates an expression; `$.data` is `data`.
pub(crate) fn evaluate(text: &str, _data: &Value) -> Outcome<Value> {
    Err(TemplateError::new(
        Kind::Error,
        format!("yaql is not understood yet: {text}"),
    ))
}
