//! Runs the phases that bring a node to its configuration.
//!
//! Each phase is a directory of hooks, run by the `dib-run-parts` found in `PATH`; the first failure calls the hooks
//! for errors and ends the run. Knows nothing of metadata and writes no configuration.

mod command;
mod descendants;
mod lock;
mod log;
mod phases;
mod record;
mod status;

pub use command::run;
pub use lock::{Lock, LockError};
pub use phases::{PHASES, PhaseError};
