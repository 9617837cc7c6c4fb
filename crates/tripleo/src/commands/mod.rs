//! One file per command: parse, call, print.

pub mod image;
pub mod node;
pub mod seed;
pub mod stack;
pub mod testenv;
