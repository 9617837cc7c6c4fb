//! Elements become images.
//!
//! `options` and `settings` read what the user wants, `element` and `plan` decide all that will be done,
//! `stage` makes processes that leave nothing behind, `build` executes the plan phase by phase and layer by
//! layer, `output` writes images. Binaries only call [`front::main`], [`tools`] and the like.

pub mod block;
pub mod build;
pub mod cache;
pub mod digest;
pub mod disk_image;
pub mod element;
pub mod front;
pub mod hooks;
pub mod layers;
pub mod layout;
pub mod lint;
pub mod log;
pub mod multi;
pub mod options;
pub mod output;
pub mod packages;
pub mod phases;
pub mod place;
pub mod plan;
pub mod rootless;
pub mod settings;
pub mod stage;
pub mod surroundings;
pub mod tools;
pub mod variables;
