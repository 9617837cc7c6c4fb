//! What a property or parameter may be: kind, default, constraints.
//!
//! The same words describe the properties of resource types, the parameters of templates and the
//! properties of a nested template. Checking a value against them is `constraints` and `properties`.

use indexmap::IndexMap;

use crate::value::Value;

/// The kind of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropertyKind {
    /// Text; whole numbers and booleans are spelled as text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A list.
    List,
    /// A map.
    Map,
    /// Anything.
    Any,
}

impl PropertyKind {
    /// The name that the API shows.
    pub fn as_str(self) -> &'static str {
        match self {
            PropertyKind::String => "string",
            PropertyKind::Integer => "integer",
            PropertyKind::Number => "number",
            PropertyKind::Boolean => "boolean",
            PropertyKind::List => "list",
            PropertyKind::Map => "map",
            PropertyKind::Any => "any",
        }
    }
}

/// One rule that a value must hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// Number of characters, items or keys.
    Length {
        /// Least.
        min: Option<f64>,
        /// Most.
        max: Option<f64>,
    },
    /// A number within limits.
    Range {
        /// Least.
        min: Option<Value>,
        /// Most.
        max: Option<Value>,
    },
    /// A number on a grid.
    Modulo {
        /// Distance of the grid's lines.
        step: i64,
        /// The first line.
        offset: i64,
    },
    /// One of these.
    AllowedValues(Vec<Value>),
    /// Text that matches a regular expression from end to end.
    AllowedPattern(String),
    /// Something that only the cloud knows: `nova.flavor`, `glance.image`.
    Custom(String),
}

/// A rule with the words that explain it.
#[derive(Debug, Clone, PartialEq)]
pub struct Constraint {
    /// The rule.
    pub rule: Rule,
    /// Shown instead of the rule when a value breaks it.
    pub description: Option<String>,
}

/// What a property may be and what follows when it changes.
#[derive(Debug, Clone, PartialEq)]
pub struct PropertySchema {
    /// Its kind.
    pub kind: PropertyKind,
    /// What it is for.
    pub description: String,
    /// The value when none is given.
    pub default: Option<Value>,
    /// Whether a value must be given.
    pub required: bool,
    /// Whether a change is an update; else it is a replacement.
    pub update_allowed: bool,
    /// Whether a change is refused.
    pub immutable: bool,
    /// Rules.
    pub constraints: Vec<Constraint>,
    /// Of a list: what each item may be.
    pub items: Option<Box<PropertySchema>>,
    /// Of a map: its keys. None: any keys.
    pub fields: Option<IndexMap<String, PropertySchema>>,
    /// Whether null, numbers and lists pass for text, as parameters of nested templates have it.
    pub allow_conversion: bool,
    /// Whether the plugin implements it; setting one that is not is an error.
    pub implemented: bool,
}

impl PropertySchema {
    /// An optional property of a kind; a change replaces the resource.
    pub fn new(kind: PropertyKind) -> PropertySchema {
        PropertySchema {
            kind,
            description: String::new(),
            default: None,
            required: false,
            update_allowed: false,
            immutable: false,
            constraints: Vec::new(),
            items: None,
            fields: None,
            allow_conversion: false,
            implemented: true,
        }
    }

    /// The same, required.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The same, changed without a replacement.
    #[must_use]
    pub fn updatable(mut self) -> Self {
        self.update_allowed = true;
        self
    }

    /// The same, with a default.
    #[must_use]
    pub fn or(mut self, default: impl Into<Value>) -> Self {
        self.default = Some(default.into());
        self
    }

    /// The same, with a description.
    #[must_use]
    pub fn about(mut self, description: &str) -> Self {
        self.description = description.to_owned();
        self
    }

    /// The same, with a rule.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.constraints.push(Constraint {
            rule,
            description: None,
        });
        self
    }

    /// The same, one of these texts only.
    #[must_use]
    pub fn one_of(self, values: &[&str]) -> Self {
        self.rule(Rule::AllowedValues(
            values.iter().map(|value| Value::from(*value)).collect(),
        ))
    }

    /// The same, at least and at most so much.
    #[must_use]
    pub fn range(self, min: Option<i64>, max: Option<i64>) -> Self {
        self.rule(Rule::Range {
            min: min.map(Value::Int),
            max: max.map(Value::Int),
        })
    }

    /// The same, checked by the cloud.
    #[must_use]
    pub fn custom(self, name: &str) -> Self {
        self.rule(Rule::Custom(name.to_owned()))
    }

    /// A list with items of a schema.
    #[must_use]
    pub fn of(mut self, items: PropertySchema) -> Self {
        self.items = Some(Box::new(items));
        self
    }

    /// A map with these keys.
    #[must_use]
    pub fn with<const N: usize>(mut self, fields: [(&str, PropertySchema); N]) -> Self {
        self.fields = Some(
            fields
                .into_iter()
                .map(|(name, field)| (name.to_owned(), field))
                .collect(),
        );
        self
    }
}

/// An attribute that `get_attr` may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeSchema {
    /// What it tells.
    pub description: String,
    /// Its kind, where known.
    pub kind: Option<PropertyKind>,
}
