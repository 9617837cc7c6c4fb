//! Templates as documents: text or JSON in, sections and version out.

use std::sync::Arc;

use crate::error::TemplateError;
use crate::value::Value;

/// A template as it was given. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Template {
    document: Arc<Value>,
    text: Option<Arc<str>>,
}

impl Template {
    /// Reads YAML or JSON text. The text is kept, so errors can name the line.
    pub fn from_text(text: &str) -> Result<Template, TemplateError> {
        let node = yaml::parse(text).map_err(|error| {
            let mut wrong = TemplateError::new(crate::Kind::CommandError, error.message.clone());
            wrong.span = Some(Box::new(error.span));
            wrong
        })?;
        Ok(Template {
            document: Arc::new(Value::from_yaml(&node)),
            text: Some(text.into()),
        })
    }

    /// Takes a parsed document, as it comes through the API.
    pub fn from_json(json: &serde_json::Value) -> Template {
        Template {
            document: Arc::new(Value::from_json(json)),
            text: None,
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
}
