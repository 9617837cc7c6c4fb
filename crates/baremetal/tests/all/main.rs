//! Nodes and their life, on a database and on hardware that tells what it was asked.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod kill;
mod life;
mod redfish;
mod road;
mod support;
