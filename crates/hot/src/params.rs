//! Parameters: their definitions, the values given for them, and what `get_param` makes of those.

use indexmap::IndexMap;

use crate::constraints::{self, Subject, schema_error};
use crate::error::{Kind, TemplateError, nearest};
use crate::expr::Outcome;
use crate::json::parse_json;
use crate::schema::Constraint;
use crate::value::{Map, Value};
use crate::version::Version;

/// The kind of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    /// Text; everything else is spelled as Python spells it.
    String,
    /// A number.
    Number,
    /// A list, or text split at commas.
    CommaDelimitedList,
    /// Any JSON.
    Json,
    /// A boolean in any of its spellings.
    Boolean,
}

impl ParameterKind {
    /// The name that template-validate shows.
    pub fn cfn_name(self) -> &'static str {
        match self {
            ParameterKind::String => "String",
            ParameterKind::Number => "Number",
            ParameterKind::CommaDelimitedList => "CommaDelimitedList",
            ParameterKind::Json => "Json",
            ParameterKind::Boolean => "Boolean",
        }
    }

    fn find(name: &str, cfn: bool) -> Option<ParameterKind> {
        let kinds = [
            ("string", ParameterKind::String),
            ("number", ParameterKind::Number),
            ("comma_delimited_list", ParameterKind::CommaDelimitedList),
            ("json", ParameterKind::Json),
            ("boolean", ParameterKind::Boolean),
        ];
        let mut kinds = kinds.into_iter();
        kinds
            .find(|(hot, kind)| {
                if cfn {
                    kind.cfn_name() == name
                } else {
                    *hot == name
                }
            })
            .map(|(_, kind)| kind)
    }

    fn subject(self) -> Subject {
        match self {
            ParameterKind::String => Subject::Text,
            ParameterKind::Number => Subject::Number,
            ParameterKind::CommaDelimitedList => Subject::List,
            ParameterKind::Json => Subject::Map,
            ParameterKind::Boolean => Subject::Boolean,
        }
    }
}

/// A parameter as the template defines it.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterSchema {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: ParameterKind,
    /// What it is for.
    pub description: Option<Value>,
    /// Its label.
    pub label: Option<Value>,
    /// The default of the template, or the environment's `parameter_defaults`.
    pub default: Option<Value>,
    /// Rules.
    pub constraints: Vec<Constraint>,
    /// Whether its value is not shown.
    pub hidden: bool,
    /// Whether an update may not change it.
    pub immutable: bool,
    /// Tags.
    pub tags: Vec<Value>,
}

const HOT_KEYS: [&str; 9] = [
    "type",
    "description",
    "default",
    "schema",
    "constraints",
    "hidden",
    "label",
    "immutable",
    "tags",
];
const CFN_KEYS: [&str; 13] = [
    "Type",
    "Description",
    "Default",
    "NoEcho",
    "AllowedValues",
    "AllowedPattern",
    "MaxLength",
    "MinLength",
    "MaxValue",
    "MinValue",
    "Label",
    "ConstraintDescription",
    "Tags",
];

/// Reads the definition of a parameter.
fn definition(name: &str, value: &Value, version: Version) -> Outcome<ParameterSchema> {
    let Some(map) = value.as_map() else {
        return schema_error(format!("Invalid parameter ({name}), expected a mapping"));
    };
    let cfn = version.is_cfn();
    let keys: &[&str] = if cfn { &CFN_KEYS } else { &HOT_KEYS };
    if let Some(key) = map.keys().find(|key| !keys.contains(&key.as_str())) {
        return Err(TemplateError {
            advice: nearest(key, keys.iter().copied())
                .map(|near| format!("did you mean `{near}`?").into_boxed_str()),
            ..TemplateError::new(
                Kind::InvalidSchemaError,
                format!("Invalid key '{key}' for parameter ({name})"),
            )
        });
    }
    let word =
        |hot: &'static str, cfn_word: &'static str| map.get(if cfn { cfn_word } else { hot });
    let Some(kind) = word("type", "Type") else {
        return schema_error(format!("Missing parameter type for parameter: {name}"));
    };
    let tags = match word("tags", "Tags") {
        None => Vec::new(),
        Some(Value::List(tags)) => tags.clone(),
        Some(_) => {
            return schema_error(format!(
                "Tags property should be a list for parameter: {name}"
            ));
        }
    };
    let constraints = rules(name, map, version)?;
    let Some(kind) = ParameterKind::find(&kind.python_str(), cfn) else {
        return schema_error(format!("Invalid type ({})", kind.python_str()))
            .map_err(|error| named(error, name));
    };
    let given = |hot, cfn_word| {
        word(hot, cfn_word)
            .filter(|value| !value.is_null())
            .cloned()
    };
    let hidden = match word("hidden", "NoEcho") {
        Some(Value::Text(text)) if cfn => text.to_lowercase() == "true",
        Some(value) => value.is_true(),
        None => false,
    };
    Ok(ParameterSchema {
        name: name.to_owned(),
        kind,
        description: given("description", "Description"),
        label: given("label", "Label"),
        default: given("default", "Default"),
        constraints,
        hidden,
        immutable: !cfn && map.get("immutable").is_some_and(Value::is_true),
        tags,
    })
}

/// Reads the rules of a parameter.
fn rules(name: &str, map: &Map, version: Version) -> Outcome<Vec<Constraint>> {
    if version.is_cfn() {
        return constraints::from_cfn(map);
    }
    match map.get("constraints") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::List(items)) => items
            .iter()
            .map(|item| constraints::from_item(item, version >= Version::Ocata))
            .collect::<Outcome<_>>()
            .map_err(|error| named(error, name)),
        Some(_) => schema_error(format!(
            "Invalid parameter constraints for parameter {name}, expected a list"
        )),
    }
}

/// Heat does not say which parameter a wrong constraint belongs to: the path does.
fn named(mut error: TemplateError, name: &str) -> TemplateError {
    if error.path.is_empty() {
        error.advice = Some(format!("look at the parameter `{name}`").into_boxed_str());
    }
    error
}

/// Reads all definitions of a template.
pub(crate) fn definitions(
    section: Option<&Value>,
    version: Version,
    defaults: &Map,
) -> Outcome<IndexMap<String, ParameterSchema>> {
    let mut schemas = IndexMap::new();
    let map = match section {
        None => return Ok(schemas),
        Some(Value::Map(map)) => map,
        Some(other) => {
            return Err(TemplateError::new(
                Kind::AttributeError,
                format!("'{}' object has no attribute 'items'", other.python_type()),
            )
            .advise("`parameters` is a map of definitions"));
        }
    };
    for (name, value) in map {
        let mut schema = definition(name, value, version)?;
        if let Some(default) = defaults.get(name).filter(|value| !value.is_null()) {
            schema.default = Some(default.clone());
        }
        schemas.insert(name.clone(), schema);
    }
    Ok(schemas)
}

/// Python's `int()`, then `float()`.
pub(crate) fn text_to_number(text: &str) -> Option<Value> {
    let trimmed = text.trim();
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    let grouped = !digits.starts_with('_') && !digits.ends_with('_') && !digits.contains("__");
    if digits.is_empty() || !grouped {
        return None;
    }
    let plain: String = trimmed.chars().filter(|c| *c != '_').collect();
    if let Ok(number) = plain.parse::<i64>() {
        return Some(Value::Int(number));
    }
    let lower = plain.to_lowercase();
    match lower.trim_start_matches(['+', '-']) {
        "inf" | "infinity" | "nan" => {}
        number if number.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {}
        _ => return None,
    }
    lower.parse::<f64>().ok().map(Value::Float)
}

const BOOLEANS: &str = "'0', '1', 'f', 'false', 'n', 'no', 'off', 'on', 't', 'true', 'y', 'yes'";

/// Any of the spellings of a boolean.
pub(crate) fn to_boolean(value: &Value) -> Outcome<bool> {
    let text = value.python_str();
    match text.trim().to_lowercase().as_str() {
        "1" | "t" | "true" | "on" | "y" | "yes" => Ok(true),
        "0" | "f" | "false" | "off" | "n" | "no" => Ok(false),
        _ => Err(TemplateError::invalid(format!(
            "Unrecognized value '{text}', acceptable values are: {BOOLEANS}"
        ))),
    }
}

impl ParameterSchema {
    /// What `get_param` gives for a raw value.
    fn parse(&self, raw: &Value) -> Outcome<Value> {
        match self.kind {
            ParameterKind::String => Ok(Value::Text(raw.python_str())),
            ParameterKind::Number => match raw {
                Value::Bool(_) | Value::Int(_) | Value::Float(_) => Ok(raw.clone()),
                Value::Text(text) => text_to_number(text).ok_or_else(|| {
                    TemplateError::invalid(format!("could not convert string to float: '{text}'"))
                }),
                other => Err(TemplateError::invalid(format!(
                    "float() argument must be a string or a real number, not '{}'",
                    other.python_type()
                ))),
            },
            ParameterKind::CommaDelimitedList => parse_list(raw),
            ParameterKind::Json => parse_json_value(raw),
            ParameterKind::Boolean => to_boolean(raw).map(Value::Bool),
        }
    }

    /// What the rules of it look at.
    fn checked<'a>(&self, raw: &'a Value, parsed: &'a Value) -> &'a Value {
        if self.kind == ParameterKind::String {
            raw
        } else {
            parsed
        }
    }

    fn check_rules(&self, raw: &Value, parsed: &Value) -> Outcome<()> {
        let subject = self.kind.subject();
        let value = self.checked(raw, parsed);
        self.constraints
            .iter()
            .try_for_each(|rule| constraints::check(rule, value, subject))
    }

    /// Checks the definition: rules that fit the kind, a default that holds them.
    fn check_definition(&self, template_default: Option<&Value>) -> Outcome<()> {
        for constraint in &self.constraints {
            constraints::check_rule(&constraint.rule, self.kind.subject())?;
        }
        let Some(default) = template_default else {
            return Ok(());
        };
        let Ok(parsed) = self.parse(default) else {
            return Ok(());
        };
        match self.check_rules(default, &parsed) {
            Err(error) if error.kind == Kind::StackValidationFailed => schema_error(format!(
                "Invalid default {} ({})",
                default.python_str(),
                error.message
            )),
            other => other,
        }
    }
}

fn parse_list(raw: &Value) -> Outcome<Value> {
    match raw {
        Value::List(items) => Ok(Value::List(
            items
                .iter()
                .map(|item| Value::Text(item.python_str()))
                .collect(),
        )),
        Value::Text(text) if text.is_empty() => Ok(Value::List(Vec::new())),
        Value::Text(text) => Ok(Value::List(text.split(',').map(Value::from).collect())),
        other => Err(TemplateError::invalid(format!(
            "Value must be a comma-delimited list string: '{}' object has no attribute 'split'",
            other.python_type()
        ))),
    }
}

fn parse_json_value(raw: &Value) -> Outcome<Value> {
    match raw {
        Value::Text(text) if text.is_empty() => Ok(raw.clone()),
        Value::Text(text) => parse_json(text)
            .map_err(|why| TemplateError::invalid(format!("Value must be valid JSON: {why}"))),
        other => Ok(other.clone()),
    }
}

/// A parameter with its value.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub schema: ParameterSchema,
    /// The value as given, if one was.
    pub given: Option<Value>,
    /// The default of the template itself, which must hold the rules even if it is not used.
    template_default: Option<Value>,
    parsed: Option<Outcome<Value>>,
}

impl Parameter {
    fn raw(&self) -> Option<&Value> {
        self.given.as_ref().or(self.schema.default.as_ref())
    }
}

/// The parameters of a frame with their values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters {
    parameters: IndexMap<String, Parameter>,
    pseudo: IndexMap<&'static str, String>,
    unknown: Option<String>,
}

impl Parameters {
    /// Puts definitions and values together. Wrong values are found by [`Parameters::validate`].
    pub fn new(
        schemas: IndexMap<String, ParameterSchema>,
        section: Option<&Value>,
        given: &Map,
        pseudo: IndexMap<&'static str, String>,
    ) -> Parameters {
        let unknown = given
            .keys()
            .find(|name| !schemas.contains_key(*name))
            .cloned();
        let parameters = schemas.into_iter().map(|(name, schema)| {
            let given = given.get(&name).filter(|value| !value.is_null()).cloned();
            let own = section.and_then(|section| section.get(&name));
            let template_default = own
                .and_then(|own| own.get("default").or_else(|| own.get("Default")))
                .filter(|default| !default.is_null() && schema.default.as_ref() == Some(default))
                .cloned();
            let parsed = given
                .as_ref()
                .or(schema.default.as_ref())
                .map(|raw| schema.parse(raw));
            (
                name,
                Parameter {
                    schema,
                    given,
                    template_default,
                    parsed,
                },
            )
        });
        Parameters {
            parameters: parameters.collect(),
            pseudo,
            unknown,
        }
    }

    /// The parameters by name.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.values()
    }

    /// Names of template and pseudo parameters.
    pub fn has(&self, name: &str) -> bool {
        self.parameters.contains_key(name) || self.pseudo.contains_key(name)
    }

    /// Whether the template itself defines it.
    pub fn defines(&self, name: &str) -> bool {
        self.parameters.contains_key(name)
    }

    /// The value that `get_param` gives.
    pub fn value(&self, name: &str) -> Outcome<Value> {
        let missing = || {
            let mut error = TemplateError::new(
                Kind::UserParameterMissing,
                format!("The Parameter ({name}) was not provided."),
            );
            error.advice = nearest(name, self.parameters.keys().map(String::as_str))
                .filter(|near| *near != name)
                .map(|near| format!("did you mean `{near}`?").into_boxed_str());
            error
        };
        match self.parameters.get(name) {
            Some(Parameter {
                parsed: Some(parsed),
                ..
            }) => parsed.clone(),
            Some(_) => Err(missing()),
            None => match self.pseudo.get(name) {
                Some(text) => Ok(Value::text(text)),
                None => Err(missing()),
            },
        }
    }

    /// Checks definitions, and on request values.
    pub fn validate(&self, values: bool) -> Outcome<()> {
        if let Some(name) = &self.unknown {
            let mut error = TemplateError::new(
                Kind::UnknownUserParameter,
                format!("The Parameter ({name}) was not defined in template."),
            );
            error.advice = nearest(name, self.parameters.keys().map(String::as_str))
                .map(|near| format!("did you mean `{near}`?").into_boxed_str());
            return Err(error);
        }
        for (name, parameter) in &self.parameters {
            parameter
                .validate(values)
                .map_err(|error| match error.kind {
                    Kind::StackValidationFailed | Kind::InvalidSchemaError => TemplateError {
                        message: format!("Parameter '{name}' is invalid: {}", error.message),
                        ..error
                    },
                    _ => error,
                })?;
        }
        Ok(())
    }

    /// The parameters as Heat shows them.
    pub fn shown(&self) -> IndexMap<String, String> {
        let mut shown: IndexMap<String, String> = IndexMap::new();
        for (name, parameter) in &self.parameters {
            let Some(Ok(parsed)) = &parameter.parsed else {
                continue;
            };
            let text = if parameter.schema.hidden {
                "******".to_owned()
            } else {
                spell(parameter.schema.kind, parsed)
            };
            shown.insert(name.clone(), text);
        }
        for (name, text) in &self.pseudo {
            shown
                .entry((*name).to_owned())
                .or_insert_with(|| text.clone());
        }
        shown
    }
}

/// A parsed value as text.
fn spell(kind: ParameterKind, value: &Value) -> String {
    match (kind, value) {
        (ParameterKind::CommaDelimitedList, Value::List(items)) => items
            .iter()
            .map(Value::python_str)
            .collect::<Vec<_>>()
            .join(","),
        (ParameterKind::Json, value) => value.python_json(false),
        (_, value) => value.python_str(),
    }
}

impl Parameter {
    fn validate(&self, values: bool) -> Outcome<()> {
        self.schema
            .check_definition(self.template_default.as_ref())?;
        if !values {
            return Ok(());
        }
        let (Some(raw), Some(parsed)) = (self.raw(), &self.parsed) else {
            return Err(TemplateError::new(
                Kind::UserParameterMissing,
                format!("The Parameter ({}) was not provided.", self.schema.name),
            ));
        };
        self.schema.check_rules(raw, &parsed.clone()?)
    }
}
