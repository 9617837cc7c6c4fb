//! The lab from the outside: through its controllers, its socket, and what it leaves on the host.
//!
//! Each test has a network namespace of its own for the operator. Needs root, as the lab does.

mod lab;
mod medium;

mod boot;
mod controller;
mod leftovers;
