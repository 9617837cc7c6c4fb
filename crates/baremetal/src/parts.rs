//! What belongs to nodes: ports, port groups, chassis, allocations, history. Plain values with Ironic's field names.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::node::{NodeId, Object};

/// A network port of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// Identity.
    pub uuid: Uuid,
    /// MAC address; unique.
    pub address: String,
    /// Its node.
    pub node_uuid: NodeId,
    /// Its port group.
    pub portgroup_uuid: Option<Uuid>,
    /// Name.
    pub name: Option<String>,
    /// Whether it boots from the network.
    pub pxe_enabled: bool,
    /// Where it is plugged in.
    pub local_link_connection: Object,
    /// The physical network that it reaches.
    pub physical_network: Option<String>,
    /// Whether it is on a smart card.
    pub is_smartnic: bool,
    /// The operator's own words.
    pub extra: Object,
    /// What handlers note: `tenant_vif_port_id` …
    pub internal_info: Object,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed.
    pub updated_at: Option<Timestamp>,
}

/// Ports that act as one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PortGroup {
    /// Identity.
    pub uuid: Uuid,
    /// MAC address.
    pub address: Option<String>,
    /// Its node.
    pub node_uuid: NodeId,
    /// Name; unique.
    pub name: Option<String>,
    /// How the ports act together.
    pub mode: String,
    /// Parameters of the mode.
    pub properties: Object,
    /// Whether its ports may be used one by one.
    pub standalone_ports_supported: bool,
    /// The operator's own words.
    pub extra: Object,
    /// What handlers note.
    pub internal_info: Object,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed.
    pub updated_at: Option<Timestamp>,
}

/// A chassis: nodes that stand together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chassis {
    /// Identity.
    pub uuid: Uuid,
    /// The operator's words for people.
    pub description: Option<String>,
    /// The operator's own words.
    pub extra: Object,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed.
    pub updated_at: Option<Timestamp>,
}

/// A claim for a node that fits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Allocation {
    /// Identity.
    pub uuid: Uuid,
    /// Name; unique.
    pub name: Option<String>,
    /// The class that is wanted.
    pub resource_class: Option<String>,
    /// Traits that are wanted.
    pub traits: Vec<String>,
    /// Nodes to choose among; empty: all.
    pub candidate_nodes: Vec<NodeId>,
    /// The node that it got.
    pub node_uuid: Option<NodeId>,
    /// `allocating`, `active` or `error`.
    pub state: String,
    /// Why it got none.
    pub last_error: Option<String>,
    /// Project that it is for.
    pub owner: Option<String>,
    /// The operator's own words.
    pub extra: Object,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed.
    pub updated_at: Option<Timestamp>,
}

/// Something that happened to a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryEvent {
    /// Identity.
    pub uuid: Uuid,
    /// The node.
    pub node: NodeId,
    /// When.
    pub created_at: Timestamp,
    /// `ERROR` or `INFO`.
    pub severity: String,
    /// What it was about: `cleaning`, `deploying` …
    pub event_type: String,
    /// What happened.
    pub event: String,
    /// The server that saw it.
    pub conductor: String,
    /// Who asked, where it was somebody.
    pub user: Option<String>,
}

/// What a look at the hardware brought, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptInventory {
    /// In the form of ironic-python-agent.
    pub inventory: Value,
    /// What plugins added.
    pub plugin_data: Value,
}
