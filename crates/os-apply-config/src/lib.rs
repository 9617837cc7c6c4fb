//! Metadata and templates become configuration files.
//!
//! Reads documents that os-collect-config keeps, merges them, renders a tree of templates, decides all files as one
//! [`FileSet`] and puts it on disk whole or not at all. Fetches nothing and restarts nothing.

mod accounts;
mod apply;
mod check;
mod command;
mod control;
mod diff;
mod documents;
mod error;
mod file_set;
mod key;
mod log;
pub mod mustache;
mod record;
mod tree;
mod types;

pub use accounts::Accounts;
pub use apply::apply;
pub use command::{metadata, run};
pub use control::Control;
pub use error::{ApplyError, TemplateProblem};
pub use file_set::{Action, Content, FileChange, FileSet};
pub use tree::{Rendered, render};
pub use types::ValueType;
