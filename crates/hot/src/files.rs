//! The files that came with a template: texts by name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use indexmap::IndexMap;

use crate::expr::Outcome;
use crate::template::Template;

/// Texts by the name under which the template refers to them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Files {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    texts: IndexMap<String, String>,
    /// A file that many resources nest is parsed once.
    templates: Mutex<HashMap<String, Outcome<Template>>>,
}

impl Files {
    /// Takes texts by name.
    pub fn new(texts: IndexMap<String, String>) -> Files {
        Files {
            shared: Arc::new(Shared {
                texts,
                templates: Mutex::default(),
            }),
        }
    }

    /// The text of a file.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.shared.texts.get(name).map(String::as_str)
    }

    /// All names and texts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.shared
            .texts
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// A file as a template.
    pub(crate) fn template(&self, name: &str) -> Option<Outcome<Template>> {
        let text = self.get(name)?;
        let mut templates = self
            .shared
            .templates
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let parse = || Template::from_text(text);
        Some(
            templates
                .entry(name.to_owned())
                .or_insert_with(parse)
                .clone(),
        )
    }
}
