//! Talks to the management controllers of machines: power, boot device, virtual media, inventory.
//!
//! One [`Redfish`] speaks for one system of one BMC. It keeps no state of the machine, knows nothing of
//! nodes, images or deployments, and never decides what a machine should do: it does what it is told,
//! waits until the BMC says that it is so, or says which BMC refused what.

mod error;
mod http;
mod inventory;
mod media;
mod model;
mod power;
mod quirks;
mod redfish;
mod settings;
mod tls;

pub use error::BmcError;
pub use model::{
    BootFrequency, BootMode, BootOverride, BootTarget, Cpu, Disk, Inventory, Nic, PowerAction,
    PowerState, System,
};
pub use redfish::Redfish;
pub use secret::Secret;
pub use settings::{Auth, BmcSettings, Limits, Verify};
