//! What a cloud says of its things.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::PhysicalName;

/// Whether a call had anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// All was so already.
    Unchanged,
    /// Something was done.
    Changed,
}

/// What there is now.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen<T> {
    /// It is as wanted.
    Ready(T),
    /// It is on its way.
    Pending {
        /// What it waits for, in words for the user: `writing the image to node-3: 40 %`.
        why: String,
        /// Since when it waits for that.
        since: Timestamp,
        /// What is known of it already, its id above all.
        so_far: Option<T>,
    },
}

impl<T> Seen<T> {
    /// The thing, if it is as wanted.
    pub fn ready(self) -> Option<T> {
        match self {
            Seen::Ready(thing) => Some(thing),
            Seen::Pending { .. } => None,
        }
    }
}

/// A thing by its id and names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The id that users and APIs use.
    pub id: String,
    /// The name that users see.
    pub name: String,
    /// The engine's name, if the engine made it.
    pub physical_name: Option<PhysicalName>,
}

/// One address of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAddress {
    /// Name of the network.
    pub network: String,
    /// Id of the network.
    pub network_id: String,
    /// The address.
    pub address: IpAddr,
    /// Hardware address of the port.
    pub mac: String,
    /// Id of the port.
    pub port_id: String,
    /// Whether it is a floating address.
    pub floating: bool,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Its id.
    pub id: String,
    /// The name that users see.
    pub name: String,
    /// Nova's word: `ACTIVE`, `BUILD`, `REBUILD`, `REBOOT`, `ERROR`.
    pub status: String,
    /// Its addresses, in the order of its networks.
    pub addresses: Vec<ServerAddress>,
    /// Id of its image.
    pub image_id: Option<String>,
    /// Id of its flavor.
    pub flavor_id: Option<String>,
    /// The machine that it runs on.
    pub host: Option<String>,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its id.
    pub id: String,
    /// The name that users see.
    pub name: String,
    /// Ids of its subnets.
    pub subnets: Vec<String>,
    /// Largest packet.
    pub mtu: Option<u32>,
    /// Whether it is up.
    pub admin_state_up: bool,
    /// Whether all projects see it.
    pub shared: bool,
}

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Its id.
    pub id: String,
    /// The name that users see.
    pub name: String,
    /// Id of its network.
    pub network_id: String,
    /// Its addresses.
    pub cidr: IpNet,
    /// Its gateway.
    pub gateway: Option<IpAddr>,
    /// Name servers.
    pub dns_nameservers: Vec<IpAddr>,
    /// First and last addresses that are given out.
    pub allocation_pools: Vec<(IpAddr, IpAddr)>,
    /// Whether addresses are given by DHCP.
    pub enable_dhcp: bool,
    /// Routes told to machines: destination, next hop.
    pub host_routes: Vec<(IpNet, IpAddr)>,
}

/// One address of a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedAddress {
    /// Id of the subnet.
    pub subnet_id: String,
    /// The address.
    pub address: IpAddr,
}

/// A port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its id.
    pub id: String,
    /// The name that users see.
    pub name: String,
    /// Id of its network.
    pub network_id: String,
    /// Hardware address.
    pub mac: String,
    /// Its addresses.
    pub fixed_addresses: Vec<FixedAddress>,
    /// Neutron's word: `ACTIVE`, `DOWN`.
    pub status: String,
    /// The server that it belongs to.
    pub device_id: Option<String>,
    /// Whether it is up.
    pub admin_state_up: bool,
    /// Ids of its security groups.
    pub security_groups: Vec<String>,
}

/// A router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Router {
    /// Its id.
    pub id: String,
    /// The name that users see.
    pub name: String,
    /// Neutron's word.
    pub status: String,
    /// The address that it has outside.
    pub external_address: Option<IpAddr>,
}

/// A floating address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloatingAddress {
    /// Its id.
    pub id: String,
    /// The address.
    pub address: IpAddr,
    /// The port that it leads to.
    pub port_id: Option<String>,
    /// The address inside.
    pub fixed_address: Option<IpAddr>,
}

/// A security group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// Its id.
    pub id: String,
    /// The name that users see.
    pub name: String,
}

/// A key pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPair {
    /// Its name, which is its id too.
    pub name: String,
    /// The public half.
    pub public_key: String,
    /// The colon-separated MD5 of the public half.
    pub fingerprint: String,
}
