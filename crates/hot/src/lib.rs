//! Heat Orchestration Templates: parse, environments, functions, conditions, validation.
//!
//! Pure: no async, no I/O, no clock. A [`Frame`] is a template with the parameters it was given; it
//! says which resources there are, what they depend on and which properties they get. Making them
//! is `engine`'s job, comparing with what is there `changes`'.

pub mod environment;
mod error;
mod facts;
mod files;
mod frame;
pub mod schema;
mod template;
pub mod types;
mod value;

pub use environment::Environment;
pub use error::{Kind, Phase, TemplateError, nearest};
pub use facts::{Facts, Member, NoFacts};
pub use files::Files;
pub use frame::{DeletionPolicy, Frame, Output, Resource, ResourceKind, StackInput};
pub use template::Template;
pub use types::TypeSchema;
pub use value::{Map, Value, map_from_json, map_to_json};
