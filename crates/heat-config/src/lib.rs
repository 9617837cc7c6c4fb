//! Software deployments on a node: each is run once per change by its group's hook, and signalled once.
//!
//! Reads the `deployments` of the metadata. Those for os-apply-config are configuration, not programs: they are only
//! signalled, after the refresh that applied them. What was run and what was signalled is kept on disk, so that a node
//! which stops in between neither runs a deployment twice nor forgets its signal.

mod command;
mod deployment;
mod hook;
mod refreshed;
mod signal;
mod state;

pub use command::{notify, run, signal_refreshed};
pub use deployment::{Deployment, Malformed, Road};
pub use hook::Hooks;
pub use signal::{SignalError, Signals};
pub use state::{Progress, State, StateError};
