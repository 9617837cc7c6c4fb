//! Hardware types: how machines of a kind are driven. Each is a trait object behind a driver's name.
//!
//! A hardware type does one thing to one machine when told so, and keeps nothing; every call is safe to
//! repeat. What happens in which order is decided in `work`.

mod fake;
mod redfish;

use async_trait::async_trait;
use serde_json::Value;

use crate::node::{Node, Object};
use crate::state::{BootDevice, BootMode, Power, PowerTarget};

pub use fake::FakeHardware;
pub use redfish::RedfishHardware;

/// How an image comes onto machines of a hardware type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Road {
    /// There is no machine: it is said to be there at once.
    Immediate,
    /// The machine boots the deploy agent from virtual media.
    Agent,
}

/// Kinds of interfaces that a node has, in the order in which they are shown.
pub const INTERFACE_KINDS: &[&str] = &[
    "bios",
    "boot",
    "console",
    "deploy",
    "firmware",
    "inspect",
    "management",
    "network",
    "power",
    "raid",
    "rescue",
    "storage",
    "vendor",
];

/// What a look at the hardware brought.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inspection {
    /// Properties that the node gets.
    pub properties: Object,
    /// MAC addresses of its network ports.
    pub macs: Vec<String>,
    /// The inventory, in the form of ironic-python-agent.
    pub inventory: Value,
}

/// From what a machine boots next, as its BMC says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootSetting {
    /// From what, where it is one that has a word.
    pub device: Option<BootDevice>,
    /// For good, or for the next boot; unknown where the BMC does not say.
    pub persistent: Option<bool>,
}

/// Why a machine could not be driven.
#[derive(Debug, thiserror::Error)]
pub enum HardwareError {
    /// The node lacks a setting.
    #[error("missing `{key}` in driver_info")]
    Missing {
        /// Its key.
        key: &'static str,
    },
    /// A setting cannot be used.
    #[error("`{key}` in driver_info is wrong: {reason}")]
    Wrong {
        /// Its key.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The BMC did not do it.
    #[error("the BMC did not do it")]
    Bmc(#[source] bmc::BmcError),
    /// This hardware type cannot do it.
    #[error("driver `{driver}` does not support {what}")]
    Unsupported {
        /// The hardware type.
        driver: &'static str,
        /// What was asked.
        what: String,
    },
}

impl HardwareError {
    /// Whether the same call may go well later by itself.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Bmc(error) => error.is_retryable(),
            Self::Missing { .. } | Self::Wrong { .. } | Self::Unsupported { .. } => false,
        }
    }

    /// The error and what is underneath, as one text for `last_error`.
    pub fn text(&self) -> String {
        match self {
            Self::Bmc(error) => crate::error::chain(error),
            Self::Missing { .. } | Self::Wrong { .. } | Self::Unsupported { .. } => {
                self.to_string()
            }
        }
    }
}

/// A hardware type.
#[async_trait]
pub trait Hardware: Send + Sync {
    /// The driver's name.
    fn name(&self) -> &'static str;

    /// How an image comes onto its machines.
    fn road(&self) -> Road;

    /// The names that each kind of interface may have; the first is the default.
    fn interfaces(&self, kind: &str) -> &'static [&'static str];

    /// Keys of `driver_info` that it reads, with a description.
    fn settings(&self) -> &'static [(&'static str, &'static str)];

    /// Checks `driver_info` without asking the machine.
    fn check(&self, node: &Node) -> Result<(), HardwareError>;

    /// Reads the power state; none where it was never set.
    async fn power(&self, node: &Node) -> Result<Option<Power>, HardwareError>;

    /// Brings the power to `target` and returns when it is so.
    async fn set_power(&self, node: &Node, target: PowerTarget) -> Result<Power, HardwareError>;

    /// The devices that can be booted from.
    fn boot_devices(&self) -> &'static [BootDevice];

    /// From what it boots.
    async fn boot_device(&self, node: &Node) -> Result<BootSetting, HardwareError>;

    /// Sets from what it boots.
    async fn set_boot_device(
        &self,
        node: &Node,
        device: BootDevice,
        persistent: bool,
    ) -> Result<(), HardwareError>;

    /// Sets how its firmware boots.
    async fn set_boot_mode(&self, node: &Node, mode: BootMode) -> Result<(), HardwareError>;

    /// Switches secure boot.
    async fn set_secure_boot(&self, node: &Node, on: bool) -> Result<(), HardwareError>;

    /// Sends a non-maskable interrupt.
    async fn inject_nmi(&self, node: &Node) -> Result<(), HardwareError>;

    /// Shows the machine the image at `url` as a CD.
    async fn insert_medium(&self, node: &Node, url: &str) -> Result<(), HardwareError>;

    /// Takes it out.
    async fn eject_medium(&self, node: &Node) -> Result<(), HardwareError>;

    /// Looks at the hardware.
    async fn inspect(&self, node: &Node) -> Result<Inspection, HardwareError>;

    /// Does one step of a manual cleaning.
    async fn clean_step(&self, node: &Node, step: &Object) -> Result<(), HardwareError>;
}
