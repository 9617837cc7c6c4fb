//! Checks values against rules, and reads rules from templates.

use fancy_regex::Regex;

use crate::error::{Kind, TemplateError};
use crate::expr::Outcome;
use crate::schema::{Constraint, Rule};
use crate::value::{Map, Value};

/// The values that a rule may be put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Text,
    Number,
    List,
    Map,
    Boolean,
    Any,
}

impl Subject {
    /// Its name in a parameter of HOT.
    fn name(self) -> &'static str {
        match self {
            Subject::Text => "string",
            Subject::Number => "number",
            Subject::List => "comma_delimited_list",
            Subject::Map => "json",
            Subject::Boolean => "boolean",
            Subject::Any => "any",
        }
    }
}

pub(crate) fn schema_error<T>(message: impl Into<String>) -> Outcome<T> {
    Err(TemplateError::new(Kind::InvalidSchemaError, message))
}

/// Refuses a rule on a kind of value that it says nothing about.
pub(crate) fn check_rule(rule: &Rule, subject: Subject) -> Outcome<()> {
    use Subject::{Boolean, List, Map, Number, Text};
    let (name, valid): (_, &[Subject]) = match rule {
        Rule::Length { .. } => ("Length", &[Text, List, Map]),
        Rule::Range { .. } => ("Range", &[Number]),
        Rule::Modulo { .. } => ("Modulo", &[Number]),
        Rule::AllowedValues(_) => ("AllowedValues", &[Text, Number, Boolean, List]),
        Rule::AllowedPattern(_) => ("AllowedPattern", &[Text]),
        Rule::Custom(_) => return Ok(()),
    };
    if valid.contains(&subject) || subject == Subject::Any {
        return Ok(());
    }
    schema_error(format!("{name} constraint invalid for {}", subject.name()))
}

/// Checks a value; the error is the constraint's description where it has one.
pub(crate) fn check(constraint: &Constraint, value: &Value, subject: Subject) -> Outcome<()> {
    let Some(message) = broken(&constraint.rule, value, subject)? else {
        return Ok(());
    };
    Err(TemplateError::invalid(
        constraint.description.clone().unwrap_or(message),
    ))
}

fn bound<T: std::fmt::Display>(bound: &Option<T>) -> String {
    bound
        .as_ref()
        .map_or("None".to_owned(), ToString::to_string)
}

/// What is wrong with a value, if something is.
fn broken(rule: &Rule, value: &Value, subject: Subject) -> Outcome<Option<String>> {
    Ok(match rule {
        Rule::Length { min, max } => broken_length(*min, *max, value)?,
        Rule::Range { min, max } => {
            let number = value.as_number().unwrap_or(f64::NAN);
            let low = min
                .as_ref()
                .and_then(Value::as_number)
                .is_some_and(|min| number < min);
            let high = max
                .as_ref()
                .and_then(Value::as_number)
                .is_some_and(|max| number > max);
            (low || high).then(|| {
                let value = value.python_str();
                format!(
                    "{value} is out of range (min: {}, max: {})",
                    bound(min),
                    bound(max)
                )
            })
        }
        Rule::Modulo { step, offset } => {
            let number = value.as_number().unwrap_or_default();
            // Python's remainder has the sign of the divisor.
            let step_number = *step as f64;
            let rest = number - step_number * (number / step_number).floor();
            (rest != *offset as f64).then(|| {
                let value = value.python_str();
                format!("{value} is not a multiple of {step} with an offset of {offset}")
            })
        }
        Rule::AllowedValues(allowed) => (!is_allowed(allowed, value, subject)).then(|| {
            format!(
                "{} is not an allowed value {}",
                value.python_json(false),
                Value::List(allowed.clone()).python_json(false)
            )
        }),
        Rule::AllowedPattern(pattern) => {
            let Some(text) = value.as_text() else {
                return Err(TemplateError::new(
                    Kind::TypeError,
                    format!(
                        "expected string or bytes-like object, got '{}'",
                        value.python_type()
                    ),
                )
                .advise("put the value in quotes"));
            };
            (!matches_whole(pattern, text)?)
                .then(|| format!("\"{text}\" does not match pattern \"{pattern}\""))
        }
        // Only the cloud knows: the engine asks it.
        Rule::Custom(_) => None,
    })
}

/// What is wrong with the length of a value.
fn broken_length(min: Option<f64>, max: Option<f64>, value: &Value) -> Outcome<Option<String>> {
    let length = match value {
        Value::Text(text) => text.chars().count(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.len(),
        other => {
            return Err(TemplateError::new(
                Kind::TypeError,
                format!("object of type '{}' has no len()", other.python_type()),
            ));
        }
    } as f64;
    let good = min.is_none_or(|min| length >= min) && max.is_none_or(|max| length <= max);
    Ok((!good).then(|| {
        format!(
            "length ({length}) is out of range (min: {}, max: {})",
            bound(&min),
            bound(&max)
        )
    }))
}

fn is_allowed(allowed: &[Value], value: &Value, subject: Subject) -> bool {
    let has = |value: &Value| allowed.iter().any(|allowed| allowed.equals(value));
    match (value, subject) {
        (Value::List(items), _) => items.iter().all(has),
        (value, Subject::Text) => {
            let text = value.python_str();
            allowed.iter().any(|allowed| allowed.python_str() == text)
        }
        (value, _) => has(value),
    }
}

/// Python's `match`, then a look whether all was matched: `a|ab` does not match `ab`.
fn matches_whole(pattern: &str, text: &str) -> Outcome<bool> {
    let regex = Regex::new(&format!(r"\A(?:{})", python_pattern(pattern)))
        .map_err(|_| invalid_pattern(pattern))?;
    let found = regex.find(text).map_err(|_| invalid_pattern(pattern))?;
    Ok(found.is_some_and(|found| found.end() == text.len()))
}

/// Rewrites what Python's patterns spell otherwise.
pub(crate) fn python_pattern(pattern: &str) -> String {
    pattern.replace(r"\Z", r"\z")
}

fn invalid_pattern(pattern: &str) -> TemplateError {
    TemplateError::new(
        Kind::InvalidSchemaError,
        format!("Invalid pattern \"{pattern}\""),
    )
}

/// A number as a bound has it: text is taken too.
fn number(map: &Map, key: &str) -> Outcome<Option<Value>> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(text)) => match crate::params::text_to_number(text) {
            Some(number) => Ok(Some(number)),
            None => Err(TemplateError::new(
                Kind::ValueError,
                format!("could not convert string to float: '{text}'"),
            )),
        },
        Some(value) => Ok(Some(value.clone())),
    }
}

fn check_keys(map: &Map, keys: &[&str], entity: &str) -> Outcome<()> {
    match map.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(key) => schema_error(format!("Invalid key '{key}' for {entity}")),
        None => Ok(()),
    }
}

pub(crate) fn length(min: Option<Value>, max: Option<Value>) -> Outcome<Rule> {
    if min.is_none() && max.is_none() {
        return schema_error(
            "A length constraint must have a min value and/or a max value specified.",
        );
    }
    let whole = |bound: &Option<Value>| matches!(bound, None | Some(Value::Int(_)));
    if !whole(&min) || !whole(&max) {
        return schema_error("min/max length must be integral");
    }
    let number = |bound: Option<Value>| bound.and_then(|bound| bound.as_number());
    Ok(Rule::Length {
        min: number(min),
        max: number(max),
    })
}

pub(crate) fn range(min: Option<Value>, max: Option<Value>) -> Outcome<Rule> {
    if min.is_none() && max.is_none() {
        return schema_error(
            "A range constraint must have a min value and/or a max value specified.",
        );
    }
    let numeric = |bound: &Option<Value>| bound.as_ref().is_none_or(|b| b.as_number().is_some());
    if !numeric(&min) || !numeric(&max) {
        return schema_error("min/max must be numeric");
    }
    Ok(Rule::Range { min, max })
}

pub(crate) fn allowed_values(value: &Value) -> Outcome<Rule> {
    match value {
        Value::List(items) => Ok(Rule::AllowedValues(items.clone())),
        _ => schema_error("AllowedValues must be a list"),
    }
}

pub(crate) fn allowed_pattern(value: &Value) -> Outcome<Rule> {
    match value {
        Value::Text(pattern) => {
            matches_whole(pattern, "")?;
            Ok(Rule::AllowedPattern(pattern.clone()))
        }
        _ => schema_error("AllowedPattern must be a string"),
    }
}

fn modulo(map: &Map) -> Outcome<Rule> {
    let (step, offset) = (number(map, "step")?, number(map, "offset")?);
    let (Some(step), Some(offset)) = (step, offset) else {
        return schema_error(
            "A modulo constraint must have a step value and an offset value specified.",
        );
    };
    let (Value::Int(step), Value::Int(offset)) = (step, offset) else {
        return schema_error("step/offset must be integer");
    };
    if step == 0 {
        return schema_error("step cannot be 0.");
    }
    if offset.abs() >= step.abs() {
        return schema_error("offset must be smaller (by absolute value) than step.");
    }
    // An offset of zero fits both signs.
    if (step > 0 && offset < 0) || (step < 0 && offset > 0) {
        return schema_error("step and offset must be both positive or both negative.");
    }
    Ok(Rule::Modulo { step, offset })
}

/// Reads one item of `constraints`. Of two rules in one item only the first of this order counts.
pub(crate) fn from_item(item: &Value, has_modulo: bool) -> Outcome<Constraint> {
    let Some(map) = item.as_map() else {
        return schema_error("Invalid parameter constraints, expected a mapping");
    };
    check_keys(
        map,
        &[
            "length",
            "range",
            "modulo",
            "allowed_values",
            "allowed_pattern",
            "custom_constraint",
            "description",
        ],
        "parameter constraints",
    )?;
    let description = map
        .get("description")
        .filter(|text| text.is_true())
        .map(Value::python_str);
    let part = |key: &str, keys: &[&str]| -> Outcome<Map> {
        let Some(part) = map[key].as_map() else {
            return schema_error(format!("Invalid {key} constraint, expected a mapping"));
        };
        check_keys(part, keys, &format!("{key} constraint"))?;
        Ok(part.clone())
    };
    let rule = if has_modulo && map.contains_key("modulo") {
        modulo(&part("modulo", &["step", "offset"])?)?
    } else if map.contains_key("range") {
        let bounds = part("range", &["min", "max"])?;
        range(number(&bounds, "min")?, number(&bounds, "max")?)?
    } else if map.contains_key("length") {
        let bounds = part("length", &["min", "max"])?;
        length(number(&bounds, "min")?, number(&bounds, "max")?)?
    } else if let Some(values) = map.get("allowed_values") {
        allowed_values(values)?
    } else if let Some(pattern) = map.get("allowed_pattern") {
        allowed_pattern(pattern)?
    } else if let Some(name) = map.get("custom_constraint") {
        Rule::Custom(name.python_str())
    } else {
        return schema_error("No constraint expressed");
    };
    Ok(Constraint { rule, description })
}

/// Reads the constraints of a CFN parameter, which are keys of the parameter itself.
pub(crate) fn from_cfn(map: &Map) -> Outcome<Vec<Constraint>> {
    let description = map.get("ConstraintDescription").map(Value::python_str);
    let mut rules = Vec::new();
    let has = |key: &str| map.contains_key(key);
    if has("MinValue") || has("MaxValue") {
        rules.push(range(number(map, "MinValue")?, number(map, "MaxValue")?)?);
    }
    if has("MinLength") || has("MaxLength") {
        rules.push(length(
            number(map, "MinLength")?,
            number(map, "MaxLength")?,
        )?);
    }
    if let Some(values) = map.get("AllowedValues") {
        rules.push(allowed_values(values)?);
    }
    if let Some(pattern) = map.get("AllowedPattern") {
        rules.push(allowed_pattern(pattern)?);
    }
    Ok(rules
        .into_iter()
        .map(|rule| Constraint {
            rule,
            description: description.clone(),
        })
        .collect())
}
