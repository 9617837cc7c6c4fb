//! Bare metal: nodes and their life, from enrolment over deploying to cleaning. The words are Ironic's.
//!
//! Records are kept in `store`; verbs move nodes along Ironic's states. What a verb does is a list of steps,
//! decided when it is accepted and kept in the node's row; each is done by one idempotent handler with a
//! deadline, and done again after a restart. This crate speaks no HTTP to clients, knows no networks or
//! flavors, and wipes no disk that nobody named.

mod agent;
mod allocate;
mod choose;
mod deploy;
mod direct;
mod drive;
mod error;
mod hardware;
mod metal;
mod node;
mod parts;
mod registry;
mod rows;
mod run;
mod settings;
mod state;
mod steps;
mod verbs;
mod wait;
mod work;

pub use choose::{Candidate, Wanted, reasons, why_not};
pub use deploy::{
    AgentImage, AgentOrders, AgentReport, CleanOrders, DeployOrder, Image, MediumSettings,
    WriteOrders,
};
pub use drive::config_drive;
pub use error::MetalError;
pub use hardware::{
    BootSetting, FakeHardware, Hardware, HardwareError, INTERFACE_KINDS, Inspection,
    RedfishHardware, Road,
};
pub use metal::Baremetal;
pub use node::{Node, NodeId, Object};
pub use parts::{Allocation, Chassis, HistoryEvent, KeptInventory, Port, PortGroup};
pub use rows::MIGRATIONS;
pub use settings::{AgentSettings, Clock, Deadlines, Images, Settings, SystemClock};
pub use state::{BootDevice, BootMode, Power, PowerTarget, ProvisionState, Verb};
pub use verbs::VerbRequest;
pub use work::{AgentResult, Asked, Purpose, Step, Work};
