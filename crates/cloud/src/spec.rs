//! What the engine wants of a cloud's things. Where a field names another thing, it holds an id or
//! the name that users see; the driver resolves it as [`Cloud::find`](crate::Cloud::find) does.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::Secret;

/// One network interface of a server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attachment {
    /// A port that exists; else one is made for the server and goes with it.
    pub port: Option<String>,
    /// The network of the port that is made.
    pub network: Option<String>,
    /// The subnet that its address is of.
    pub subnet: Option<String>,
    /// The address that it gets; else one is chosen.
    pub fixed_address: Option<IpAddr>,
    /// Security groups of the port that is made.
    pub security_groups: Vec<String>,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerSpec {
    /// The name that users see, and the host name.
    pub name: String,
    /// The image that is written; none when something else boots.
    pub image: Option<String>,
    /// The flavor: size, resource class, capabilities.
    pub flavor: String,
    /// The key pair whose public half gets in.
    pub key_name: Option<String>,
    /// The interfaces, in order. Empty: one on the only network there is.
    pub attachments: Vec<Attachment>,
    /// Security groups of the ports that are made.
    pub security_groups: Vec<String>,
    /// Given to the machine as it is, in the config drive.
    pub user_data: Option<String>,
    /// Whether a config drive is wanted.
    pub config_drive: bool,
    /// Metadata of the server, as `meta` in the config drive.
    pub metadata: BTreeMap<String, String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Hints for the choice of a machine; `capabilities:NAME` asks for a capability of the node.
    pub scheduler_hints: BTreeMap<String, String>,
    /// The zone, `zone:host:node` included.
    pub availability_zone: Option<String>,
    /// Files of the old kind: text by path.
    pub personality: BTreeMap<String, String>,
    /// The URL of the node document, its secret included: goes into the config drive as
    /// `tripleo/os-collect-config.json`. Never stored or logged; the engine gives it with every call.
    #[serde(skip)]
    pub metadata_url: Option<Secret>,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// The name that users see.
    pub name: String,
    /// Whether it is up.
    pub admin_state_up: bool,
    /// Whether all projects see it.
    pub shared: bool,
    /// The kind of the wire beneath, the name of that wire, and the number of the segment on it.
    pub provider: Option<(String, Option<String>, Option<u32>)>,
    /// Largest packet.
    pub mtu: Option<u32>,
    /// Domain of the names on it.
    pub dns_domain: Option<String>,
    /// Tags.
    pub tags: Vec<String>,
}

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetSpec {
    /// The name that users see.
    pub name: String,
    /// The network.
    pub network: String,
    /// Its addresses.
    pub cidr: IpNet,
    /// Whether it has a gateway.
    pub gateway_enabled: bool,
    /// The gateway; none: the first address.
    pub gateway: Option<IpAddr>,
    /// Name servers.
    pub dns_nameservers: Vec<IpAddr>,
    /// First and last addresses that are given out; empty: all but the gateway.
    pub allocation_pools: Vec<(IpAddr, IpAddr)>,
    /// Whether addresses are given by DHCP.
    pub enable_dhcp: bool,
    /// Routes told to machines: destination, next hop.
    pub host_routes: Vec<(IpNet, IpAddr)>,
    /// Tags.
    pub tags: Vec<String>,
}

/// One address that a port is to have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FixedAddressSpec {
    /// Of this subnet.
    pub subnet: Option<String>,
    /// This one.
    pub address: Option<IpAddr>,
}

/// A port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// The name that users see.
    pub name: String,
    /// The network.
    pub network: String,
    /// Its addresses; empty: one of any subnet.
    pub fixed_addresses: Vec<FixedAddressSpec>,
    /// Hardware address; none: one is chosen.
    pub mac: Option<String>,
    /// Whether it is up.
    pub admin_state_up: bool,
    /// Security groups; none: the project's own.
    pub security_groups: Option<Vec<String>>,
    /// Whether filters apply; none: as the network has it.
    pub port_security: Option<bool>,
    /// Other addresses that may come from it: address or network, hardware address.
    pub allowed_address_pairs: Vec<(String, Option<String>)>,
    /// Kind of the interface: `normal`, `direct`, `baremetal`.
    pub vnic_type: Option<String>,
    /// Tags.
    pub tags: Vec<String>,
}

/// One leg of a router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouterInterface {
    /// On the gateway address of a subnet.
    Subnet(String),
    /// A port that exists.
    Port(String),
}

/// A router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterSpec {
    /// The name that users see.
    pub name: String,
    /// Whether it is up.
    pub admin_state_up: bool,
    /// The network outside.
    pub external_network: Option<String>,
    /// Whether it hides what is inside behind its own address.
    pub enable_snat: Option<bool>,
    /// Its legs.
    pub interfaces: Vec<RouterInterface>,
}

/// A floating address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloatingAddressSpec {
    /// The network outside.
    pub network: String,
    /// The address that is wanted; none: any.
    pub address: Option<IpAddr>,
    /// The port that it leads to.
    pub port: Option<String>,
    /// The address of that port; none: its first.
    pub fixed_address: Option<IpAddr>,
}

/// One rule of a security group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSpec {
    /// `ingress` or `egress`.
    pub direction: String,
    /// `IPv4` or `IPv6`.
    pub ethertype: String,
    /// Protocol; none: all.
    pub protocol: Option<String>,
    /// First and last port.
    pub ports: Option<(u16, u16)>,
    /// Addresses at the other end.
    pub remote: Option<IpNet>,
    /// Group at the other end.
    pub remote_group: Option<String>,
}

/// A security group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroupSpec {
    /// The name that users see.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// All its rules.
    pub rules: Vec<RuleSpec>,
}

/// A key pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPairSpec {
    /// Its name, unique within the user's key pairs.
    pub name: String,
    /// The public half. The private half never crosses this seam.
    pub public_key: String,
    /// The user whose key pair it is; none: of the project's owner.
    pub user: Option<String>,
}
