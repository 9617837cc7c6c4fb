//! Environments: parameters, their defaults, and what stands behind the names of types.

use crate::error::TemplateError;
use crate::files::Files;
use crate::template::Template;
use crate::value::{Map, Value};

/// A merged environment: what Heat keeps of a stack beside its template and files.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Environment {
    /// Values of parameters of the root template.
    pub parameters: Map,
    /// Defaults of parameters of every template of the stack.
    pub parameter_defaults: Map,
    /// What stands behind the names of types; `resources` holds entries for single resources.
    pub resource_registry: Map,
    /// Names of parameters that are stored encrypted.
    pub encrypted_param_names: Vec<Value>,
    /// Where events go.
    pub event_sinks: Vec<Value>,
}

impl Environment {
    /// Reads an environment from an object with Heat's sections.
    pub fn from_value(value: &Value) -> Result<Environment, TemplateError> {
        let _ = value;
        Ok(Environment::default())
    }

    /// Reads an environment from YAML or JSON text.
    pub fn from_text(text: &str) -> Result<Environment, TemplateError> {
        let _ = text;
        Ok(Environment::default())
    }

    /// The environment as Heat stores and shows it.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Merges environment files by Heat's rules (the last one wins, or `parameter_merge_strategies`)
    /// over the parameters of the request, which they beat.
    pub fn merge_files(
        parameters: &Map,
        names: &[String],
        files: &Files,
        template: &Template,
    ) -> Result<Environment, TemplateError> {
        let _ = (parameters, names, files, template);
        Ok(Environment::default())
    }

    /// The environment of an update that keeps what is not given (PATCH): `self` over `old`, the
    /// parameters named by `clear` taken from neither.
    #[must_use]
    pub fn over(self, old: &Environment, clear: &[String]) -> Environment {
        let _ = (old, clear);
        self
    }
}
