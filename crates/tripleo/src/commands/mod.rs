//! One file per command: parse, call, print.

pub mod failures;
pub mod image;
pub mod machines;
pub mod node;
pub mod node_config;
pub mod preview;
pub mod seed;
pub mod stack;
pub mod template_place;
pub mod testenv;
