//! Ordered hook directories: the contract that image builds and nodes share.
//!
//! A hook directory holds executable files; their names decide whether and when they run, and the first
//! failure ends the run. What lies in `environment.d` beside the directory is sourced by bash before.
//! Decides nothing about where output goes: the caller gives a [`Launch`] (how a program starts) and a
//! [`Watch`] (who hears what happens).

mod environment;
mod program;
mod report;
mod run;
mod select;

pub use environment::{environment_files, source};
pub use program::main;
pub use report::{Profile, Stamp, say};
pub use run::{HookDirectory, Launch, RunError, Timing, Watch, spawn_program, status_code};
pub use select::{Hooks, NamePattern, PatternError, numeric_order};
