//! Templates as documents: text or JSON in, sections and version out.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::error::{Kind, TemplateError};
use crate::expr::Outcome;
use crate::params::{self, ParameterSchema};
use crate::value::{Map, Value};
use crate::version::{self, Version};

/// A template as it was given. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Template {
    document: Arc<Value>,
    text: Option<Arc<str>>,
}

impl Template {
    /// Reads YAML or JSON text. The text is kept, so errors can name the line.
    pub fn from_text(text: &str) -> Result<Template, TemplateError> {
        let node = yaml::parse(text).map_err(|error| TemplateError {
            span: Some(Box::new(error.span)),
            ..TemplateError::new(Kind::CommandError, error.message)
        })?;
        Ok(Template {
            document: Arc::new(Value::from_yaml(&node)),
            text: Some(text.into()),
        })
    }

    /// Takes a parsed document, as it comes through the API.
    pub fn from_json(json: &serde_json::Value) -> Template {
        Template::from_value(Value::from_json(json))
    }

    /// Takes a document.
    pub fn from_value(document: Value) -> Template {
        Template {
            document: Arc::new(document),
            text: None,
        }
    }

    /// The same template with another document: what a client made of it when it read its files.
    #[must_use]
    pub fn with_document(&self, document: Value) -> Template {
        Template {
            document: Arc::new(document),
            text: self.text.clone(),
        }
    }

    /// The document.
    pub fn to_json(&self) -> serde_json::Value {
        self.document.to_json()
    }

    /// The document.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// The text, where text was given.
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    pub(crate) fn map(&self) -> Outcome<&Map> {
        match &*self.document {
            Value::Map(map) => Ok(map),
            _ => Err(TemplateError::new(
                Kind::InvalidTemplateVersion,
                "The template version is invalid: Template version was not provided",
            )),
        }
    }

    /// Its version.
    pub fn version(&self) -> Result<Version, TemplateError> {
        Version::of(self.map()?)
    }

    /// Its description, if it has one.
    pub fn description(&self) -> Option<&str> {
        let words = self.version().ok()?.words();
        self.document
            .get(words.description)
            .and_then(Value::as_text)
    }

    /// A section; an empty or missing one is none.
    pub(crate) fn section(&self, name: &str) -> Option<&Value> {
        self.document
            .as_map()
            .and_then(|map| version::section(map, name))
    }

    /// The parameters that it defines, with the defaults of an environment over its own.
    pub fn parameter_schemas(
        &self,
        defaults: &Map,
    ) -> Result<IndexMap<String, ParameterSchema>, TemplateError> {
        let version = self.version()?;
        params::definitions(self.section(version.words().parameters), version, defaults)
    }

    /// Finds the place of a path in the text: the nearest part of it that is there.
    pub fn locate(&self, path: &str) -> Option<yaml::Span> {
        let root = yaml::parse(self.text()?).ok()?;
        let mut node = &root;
        let mut span = None;
        // What stands in angle brackets is another file.
        let path = path.split('<').next().unwrap_or(path);
        for step in path.split(['.', '[']) {
            let step = step.trim_end_matches(']');
            if let Some((key, value)) = node.entry(step) {
                (node, span) = (value, Some(key.span));
            } else if let Some(item) = step
                .parse::<usize>()
                .ok()
                .and_then(|at| node.as_seq()?.get(at))
            {
                (node, span) = (item, Some(item.span));
            } else {
                break;
            }
        }
        span
    }

    /// The same error, with its place in the text.
    pub(crate) fn placed(&self, mut error: TemplateError) -> TemplateError {
        if error.span.is_none() && !error.path.is_empty() {
            error.span = self.locate(&error.path).map(Box::new);
        }
        error
    }
}
