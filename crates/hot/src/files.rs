//! The files that came with a template: texts by name.

use indexmap::IndexMap;

/// Texts by the name under which the template refers to them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Files {
    texts: std::sync::Arc<IndexMap<String, String>>,
}

impl Files {
    /// Takes texts by name.
    pub fn new(texts: IndexMap<String, String>) -> Files {
        Files {
            texts: std::sync::Arc::new(texts),
        }
    }

    /// The text of a file.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// All names and texts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
    }
}
