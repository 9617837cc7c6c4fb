//! Virtual hardware: machines with disks, network interfaces and a Redfish controller each, and the wires
//! between them. It knows nothing of the cloud that drives them.
//!
//! A lab is one process in namespaces of its own ([`serve`]); its operator talks to it through a socket
//! ([`Client`]), a cloud through the controllers, as with real machines.

mod boot;
mod cgroup;
pub mod cli;
mod container;
mod control;
mod credentials;
mod error;
mod machine;
mod network;
mod outer;
mod program;
mod redfish;
mod serve;
pub mod spec;

pub use boot::Device;
pub use control::{Client, Directory, DirectoryEntry, Listed};
pub use credentials::Credentials;
pub use error::LabError;
pub use machine::{Power, Reset, Snapshot};
pub use serve::{Inherited, Settings, serve};
pub use spec::Specification;
