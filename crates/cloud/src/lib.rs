//! What the engine may ask of a cloud: the trait, its plain types, its error.
//!
//! Small words of our own, not a mirror of Nova or Neutron. Nothing here names a driver; every
//! driver passes [`contract`], the one test of what the engine relies on. Refuses to wait: `ensure_*`
//! answers with what is, and the engine asks again when [`Cloud::watch`] says that something moved.

mod contract;
mod error;
mod seen;
mod spec;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use contract::{ContractSetting, contract};
pub use error::{CloudError, Misfit};
pub use secret::Secret;
pub use seen::{
    Effect, FixedAddress, FloatingAddress, KeyPair, Named, Network, Port, Router, SecurityGroup,
    Seen, Server, ServerAddress, Subnet,
};
pub use spec::{
    Attachment, FixedAddressSpec, FloatingAddressSpec, KeyPairSpec, NetworkSpec, PortSpec,
    RouterInterface, RouterSpec, RuleSpec, SecurityGroupSpec, ServerSpec, SubnetSpec,
};

/// The name by which a driver finds its own work again. Coined by the engine once per thing, never
/// used twice, at most 255 of `[A-Za-z0-9._-]`. It is not the name that users see ([`ServerSpec::name`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PhysicalName(pub String);

impl PhysicalName {
    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for PhysicalName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// For whom, how new and how long: what goes with every call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The project that owns the thing.
    pub project: String,
    /// Decisions about one thing are numbered. The same number again is the same decision; a lower
    /// one than the driver has seen is refused ([`CloudError::Superseded`]).
    pub generation: u64,
    /// When the driver gives up: a call after this fails with [`CloudError::DeadlinePassed`]
    /// instead of staying pending.
    pub deadline: Timestamp,
}

/// The kinds of things that can be found by name or id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A server.
    Server,
    /// A port.
    Port,
    /// A network.
    Network,
    /// A subnet.
    Subnet,
    /// A router.
    Router,
    /// A floating address.
    FloatingAddress,
    /// A security group.
    SecurityGroup,
    /// A key pair.
    KeyPair,
    /// An image.
    Image,
    /// A flavor.
    Flavor,
}

impl Kind {
    /// The word for it in sentences.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Server => "server",
            Kind::Port => "port",
            Kind::Network => "network",
            Kind::Subnet => "subnet",
            Kind::Router => "router",
            Kind::FloatingAddress => "floating address",
            Kind::SecurityGroup => "security group",
            Kind::KeyPair => "key pair",
            Kind::Image => "image",
            Kind::Flavor => "flavor",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A count that grows with every change in a cloud. Zero is before all changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Revision(pub u64);

/// What the engine may ask of a cloud. Every call is safe to repeat, and to make again after a kill.
///
/// `ensure_X` makes the thing exist as wanted, changing it in place where that can be done and its
/// generation is newer. It never waits: [`Seen::Pending`] says what is not done yet. `remove_X` makes
/// sure that no such thing is left; when that takes time it answers [`Seen::Pending`] until it is gone.
#[async_trait]
pub trait Cloud: Send + Sync {
    /// Makes the server exist as `want`. What differs in image is not changed here: see [`Cloud::rebuild_server`].
    async fn ensure_server(
        &self,
        name: &PhysicalName,
        want: &ServerSpec,
        order: &Order,
    ) -> Result<Seen<Server>, CloudError>;

    /// Makes sure that no such server is left, its own ports included.
    async fn remove_server(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Effect>, CloudError>;

    /// Writes the image of `want` anew onto the same machine, keeping id, ports and addresses. Done
    /// once per generation.
    async fn rebuild_server(
        &self,
        name: &PhysicalName,
        want: &ServerSpec,
        preserve_ephemeral: bool,
        order: &Order,
    ) -> Result<Seen<Server>, CloudError>;

    /// Restarts the server. Done once per generation.
    async fn reboot_server(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Server>, CloudError>;

    /// Makes the network exist as `want`.
    async fn ensure_network(
        &self,
        name: &PhysicalName,
        want: &NetworkSpec,
        order: &Order,
    ) -> Result<Seen<Network>, CloudError>;

    /// Makes sure that no such network is left.
    async fn remove_network(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Effect>, CloudError>;

    /// Makes the subnet exist as `want`.
    async fn ensure_subnet(
        &self,
        name: &PhysicalName,
        want: &SubnetSpec,
        order: &Order,
    ) -> Result<Seen<Subnet>, CloudError>;

    /// Makes sure that no such subnet is left.
    async fn remove_subnet(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Effect>, CloudError>;

    /// Makes the port exist as `want`.
    async fn ensure_port(
        &self,
        name: &PhysicalName,
        want: &PortSpec,
        order: &Order,
    ) -> Result<Seen<Port>, CloudError>;

    /// Makes sure that no such port is left.
    async fn remove_port(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Effect>, CloudError>;

    /// Makes the router exist as `want`, its interfaces included.
    async fn ensure_router(
        &self,
        name: &PhysicalName,
        want: &RouterSpec,
        order: &Order,
    ) -> Result<Seen<Router>, CloudError>;

    /// Makes sure that no such router is left.
    async fn remove_router(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Effect>, CloudError>;

    /// Makes the floating address exist as `want`.
    async fn ensure_floating_address(
        &self,
        name: &PhysicalName,
        want: &FloatingAddressSpec,
        order: &Order,
    ) -> Result<Seen<FloatingAddress>, CloudError>;

    /// Gives the floating address back.
    async fn remove_floating_address(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Effect>, CloudError>;

    /// Makes the security group exist as `want`, its rules included.
    async fn ensure_security_group(
        &self,
        name: &PhysicalName,
        want: &SecurityGroupSpec,
        order: &Order,
    ) -> Result<Seen<SecurityGroup>, CloudError>;

    /// Makes sure that no such security group is left.
    async fn remove_security_group(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Effect>, CloudError>;

    /// Makes the key pair exist as `want`.
    async fn ensure_key_pair(
        &self,
        name: &PhysicalName,
        want: &KeyPairSpec,
        order: &Order,
    ) -> Result<Seen<KeyPair>, CloudError>;

    /// Makes sure that no such key pair is left.
    async fn remove_key_pair(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Effect>, CloudError>;

    /// The server as it is now.
    async fn server(&self, name: &PhysicalName) -> Result<Option<Server>, CloudError>;

    /// The network as it is now.
    async fn network(&self, name: &PhysicalName) -> Result<Option<Network>, CloudError>;

    /// The subnet as it is now.
    async fn subnet(&self, name: &PhysicalName) -> Result<Option<Subnet>, CloudError>;

    /// The port as it is now.
    async fn port(&self, name: &PhysicalName) -> Result<Option<Port>, CloudError>;

    /// What a template may name: found by id, then by the name that users see, then by physical name,
    /// among what the project may use.
    async fn find(
        &self,
        kind: Kind,
        name_or_id: &str,
        project: &str,
    ) -> Result<Option<Named>, CloudError>;

    /// All things of a kind, those of other makers included.
    async fn list(&self, kind: Kind) -> Result<Vec<Named>, CloudError>;

    /// Waits until something has changed after `seen`; gives the new revision. Changes may be
    /// reported late and once for many, but never lost. A pending thing moves only with a change.
    async fn watch(&self, seen: Revision) -> Revision;
}
