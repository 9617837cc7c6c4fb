//! What functions see: parameters, conditions, resources and what is known of them.

use std::collections::HashMap;
use std::sync::Mutex;

use indexmap::IndexMap;

use crate::body::Body;
use crate::error::{Kind, TemplateError, nearest};
use crate::expr::{Expr, Outcome, Parser, join};
use crate::facts::Facts;
use crate::frame::{DeletionPolicy, StackInput};
use crate::functions;
use crate::params::Parameters;
use crate::value::Value;
use crate::version::Version;

/// What a nested frame knows of the resource that it is the inside of.
#[derive(Debug, Clone)]
pub(crate) struct Parent {
    pub metadata: Value,
    pub deletion_policy: DeletionPolicy,
    pub update_policy: Value,
}

/// A frame before its resources are read.
#[derive(Debug)]
pub(crate) struct Base {
    pub input: StackInput,
    pub version: Version,
    pub parameters: Parameters,
    pub conditions: Conditions,
    pub parent: Option<Parent>,
}

/// Conditions by name; each is decided when it is first asked for.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    definitions: IndexMap<String, Expr>,
    decided: Mutex<HashMap<String, Option<bool>>>,
}

impl Conditions {
    /// Parses the definitions of a template.
    pub fn parse(section: &Value, version: Version, scope: &Scope<'_>) -> Outcome<Conditions> {
        let Value::Map(map) = section else {
            return Err(TemplateError::invalid(format!(
                "Condition definitions must be a map. Found a {} instead",
                section.python_type()
            ))
            .at("Conditions validation error", ""));
        };
        let parser = Parser {
            version,
            in_condition: true,
            scope,
        };
        let mut definitions = IndexMap::new();
        for (name, definition) in map {
            let path = join(version.words().conditions, name);
            definitions.insert(name.clone(), parser.parse(definition, &path)?);
        }
        Ok(Conditions {
            definitions,
            decided: Mutex::default(),
        })
    }

    /// Refuses definitions that can not be conditions, used or not.
    pub fn validate(&self) -> Outcome<()> {
        for (name, definition) in &self.definitions {
            match definition {
                Expr::Call(_) | Expr::Value(Value::Bool(_)) => {}
                Expr::Value(value) => return Err(invalid(name, value)),
                Expr::List(_) | Expr::Map(_) => return Err(invalid(name, &Value::Null)),
            }
        }
        Ok(())
    }
}

fn invalid(name: &str, value: &Value) -> TemplateError {
    TemplateError::invalid(format!(
        "The definition of condition \"{name}\" is invalid: {}",
        value.python_str()
    ))
    .at("Condition validation error", "")
}

/// What functions see.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub base: &'a Base,
    pub body: Option<&'a Body>,
    pub facts: &'a dyn Facts,
}

impl Scope<'_> {
    pub fn parameter(&self, name: &str) -> Outcome<Value> {
        self.base.parameters.value(name)
    }

    pub fn has_parameter(&self, name: &str) -> bool {
        self.base.parameters.has(name)
    }

    pub fn has_resource(&self, name: &str) -> bool {
        self.body
            .is_some_and(|body| body.resources.contains_key(name))
    }

    /// Decides a condition. None: there is no condition of this name.
    pub fn condition(&self, name: &str) -> Outcome<Option<bool>> {
        let conditions = &self.base.conditions;
        let Some(definition) = conditions.definitions.get(name) else {
            return Ok(None);
        };
        let lock = || {
            conditions
                .decided
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner())
        };
        match lock().get(name) {
            Some(Some(decided)) => return Ok(Some(*decided)),
            Some(None) => {
                return Err(TemplateError::invalid(format!(
                    "Circular definition for condition \"{name}\""
                ))
                .at("Condition validation error", ""));
            }
            None => {}
        }
        lock().insert(name.to_owned(), None);
        let value = definition.resolve(self);
        lock().remove(name);
        match value? {
            Value::Bool(decided) => {
                lock().insert(name.to_owned(), Some(decided));
                Ok(Some(decided))
            }
            other => Err(invalid(name, &other)),
        }
    }

    /// Refuses a reference to a resource that is not there, or whose condition is false.
    pub fn check_resource(&self, name: &Value, place: &str) -> Outcome<()> {
        let text = name.python_str();
        if name.as_text().is_some() && self.has_resource(&text) {
            return Ok(());
        }
        let mut error = TemplateError::new(
            Kind::InvalidTemplateReference,
            format!("The specified reference \"{text}\" (in {place}) is incorrect."),
        );
        error.advice = self.body.and_then(|body| {
            nearest(&text, body.resources.keys().map(String::as_str))
                .map(|near| format!("did you mean `{near}`?").into_boxed_str())
        });
        Err(error)
    }

    /// Refuses an attribute that the type does not have.
    pub fn check_attribute(&self, resource: &str, attribute: &str) -> Outcome<()> {
        let Some(body) = self.body else { return Ok(()) };
        body.check_attribute(resource, attribute)
    }

    /// What `get_resource` gives.
    pub fn reference(&self, name: &Value) -> Outcome<Value> {
        self.check_resource(name, "unknown")?;
        let name = name.python_str();
        Ok(self.facts.reference(&name).unwrap_or(Value::Text(name)))
    }

    /// What `get_attr` gives; its path is followed. Null asks for all attributes.
    pub fn attribute(&self, name: &str, attribute: &Value, path: &[Value]) -> Outcome<Value> {
        let Some(body) = self.body else {
            return Ok(Value::Null);
        };
        if attribute.is_null() {
            let names = body.attribute_names(name).into_iter();
            return functions::all_attributes(names, |attribute| {
                body.attribute(self, name, attribute, &[])
            });
        }
        body.attribute(self, name, &attribute.python_str(), path)
    }
}
