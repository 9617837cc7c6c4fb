//! YAML 1.1 as PyYAML reads it, every node with its position.
//!
//! Octal and sexagesimal numbers, `yes` and `off`, merge keys and duplicate keys (the last one
//! wins) come out as Python programs have always seen them. Dates stay text, as Heat reads them.
//! One document only; unknown tags, tabs and recursive aliases are errors. Writes nothing.

mod load;
mod scalar;

pub use load::parse;
pub use scalar::{resolve_plain, spell_float};

/// Where a node stands in its text. Lines and columns count from one, offsets in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Span {
    /// Line of the first character.
    pub line: usize,
    /// Column of the first character.
    pub column: usize,
    /// Offset of the first character.
    pub start: usize,
    /// Offset behind the last character.
    pub end: usize,
}

/// A value with its position.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What is there.
    pub value: Yaml,
    /// Where it is.
    pub span: Span,
}

/// What a node can be.
#[derive(Debug, Clone, PartialEq)]
pub enum Yaml {
    /// `null`, `~` or nothing.
    Null,
    /// A boolean in any of the YAML 1.1 spellings.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction, or one too large for [`Yaml::Int`].
    Float(f64),
    /// Text.
    Text(String),
    /// A sequence.
    Seq(Vec<Node>),
    /// A mapping in the order of its keys; no key is there twice.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// The value under a text key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    /// Key and value under a text key of a mapping.
    pub fn entry(&self, key: &str) -> Option<(&Node, &Node)> {
        match &self.value {
            Yaml::Map(pairs) => pairs
                .iter()
                .find(|(name, _)| matches!(&name.value, Yaml::Text(text) if text == key))
                .map(|(name, value)| (name, value)),
            _ => None,
        }
    }

    /// The text of a scalar that is text.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Yaml::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a sequence.
    pub fn as_seq(&self) -> Option<&[Node]> {
        match &self.value {
            Yaml::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// The pairs of a mapping.
    pub fn as_map(&self) -> Option<&[(Node, Node)]> {
        match &self.value {
            Yaml::Map(pairs) => Some(pairs),
            _ => None,
        }
    }
}

/// Why a text is not YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at line {line}, column {column}", line = span.line, column = span.column)]
pub struct YamlError {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub span: Span,
}
