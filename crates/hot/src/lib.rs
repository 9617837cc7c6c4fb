//! Heat Orchestration Templates: parse, environments, functions, conditions, validation.
//!
//! Pure: no async, no I/O, no clock. A [`Frame`] is a template with the parameters it was given; it
//! says which resources there are, what they depend on and which properties they get. Making them
//! is `engine`'s job, comparing with what is there `changes`'.

mod attributes;
mod body;
mod constraints;
mod edges;
pub mod environment;
mod error;
mod expr;
mod facts;
mod files;
mod frame;
mod functions;
mod groups;
mod implied;
mod json;
mod nested;
mod params;
pub mod plugins;
mod properties;
mod registry;
pub mod schema;
mod scope;
mod summary;
mod template;
pub mod types;
mod unknown;
mod validate;
mod value;
mod version;
mod yaql;

pub use environment::Environment;
pub use error::{Kind, Phase, TemplateError, nearest};
pub use facts::{Facts, Member, NoFacts};
pub use files::Files;
pub use frame::{DeletionPolicy, Frame, Output, Resource, ResourceKind, StackInput};
pub use functions::names as function_names;
pub use nested::{GroupRecord, physical_name, short_id};
pub use params::{ParameterKind, ParameterSchema};
pub use summary::template_summary;
pub use template::Template;
pub use types::{Nature, TypeSchema};
pub use unknown::{is_inside as is_unknown, unknown};
pub use value::{Map, Value, map_from_json, map_to_json};
pub use version::Version;
