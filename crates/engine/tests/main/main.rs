//! The engine on a cloud in memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod keys;
mod kill;
mod lab;
mod life;
mod nodes;
mod overcloud;
mod preview;
mod signals;
mod snapshots;
