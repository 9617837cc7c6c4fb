//! What the sim keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use cloud::{
    CloudError, FixedAddress, FixedAddressSpec, FloatingAddress, FloatingAddressSpec, KeyPair,
    KeyPairSpec, Kind, Named, Network, NetworkSpec, Order, PhysicalName, Port, PortSpec, Router,
    RouterSpec, SecurityGroup, SecurityGroupSpec, Seen, Server, ServerSpec, Subnet, SubnetSpec,
};
use jiff::Timestamp;

use crate::addresses;
use crate::faults::Fault;
use crate::{Node, Options};

/// A thing with what it was made from.
#[derive(Debug, Clone)]
pub(crate) struct Shelf<S, T> {
    pub(crate) spec: S,
    pub(crate) thing: T,
    pub(crate) generation: u64,
    pub(crate) work: Option<Work>,
}

/// What a pending thing waits for.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) what: &'static str,
    pub(crate) since: Timestamp,
    pub(crate) ready_at: Timestamp,
    pub(crate) asks_left: u32,
    pub(crate) hangs: bool,
}

pub(crate) type Shelves<S, T> = BTreeMap<PhysicalName, Shelf<S, T>>;

/// All of the cloud.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) calls: u64,
    pub(crate) faults: Vec<Fault>,
    pub(crate) servers: Shelves<ServerSpec, Server>,
    pub(crate) ports: Shelves<PortSpec, Port>,
    pub(crate) networks: Shelves<NetworkSpec, Network>,
    pub(crate) subnets: Shelves<SubnetSpec, Subnet>,
    pub(crate) routers: Shelves<RouterSpec, Router>,
    pub(crate) floating: Shelves<FloatingAddressSpec, FloatingAddress>,
    pub(crate) groups: Shelves<SecurityGroupSpec, SecurityGroup>,
    pub(crate) keys: Shelves<KeyPairSpec, KeyPair>,
    pub(crate) images: Vec<Named>,
    pub(crate) flavors: Vec<(Named, String)>,
    pub(crate) nodes: Vec<(Node, Option<PhysicalName>)>,
    /// Ids of things that were there before the engine made any.
    pub(crate) given: BTreeSet<String>,
    next_mac: u32,
}

fn id() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn plain(name: &str) -> Named {
    Named {
        id: id(),
        name: name.to_owned(),
        physical_name: None,
    }
}

impl State {
    pub(crate) fn new(options: &Options) -> State {
        let flavor = |(name, class): &(String, String)| (plain(name), class.clone());
        let mut state = State {
            calls: 0,
            faults: Vec::new(),
            servers: BTreeMap::new(),
            ports: BTreeMap::new(),
            networks: BTreeMap::new(),
            subnets: BTreeMap::new(),
            routers: BTreeMap::new(),
            floating: BTreeMap::new(),
            groups: BTreeMap::new(),
            keys: BTreeMap::new(),
            images: options.images.iter().map(|name| plain(name)).collect(),
            flavors: options.flavors.iter().map(flavor).collect(),
            nodes: options
                .nodes
                .iter()
                .map(|node| (node.clone(), None))
                .collect(),
            given: BTreeSet::new(),
            next_mac: 1,
        };
        for (name, cidr) in &options.networks {
            state.give_network(name, *cidr);
        }
        state
    }

    fn give_network(&mut self, name: &str, cidr: ipnet::IpNet) {
        let spec = NetworkSpec {
            name: name.to_owned(),
            admin_state_up: true,
            shared: true,
            provider: None,
            mtu: None,
            dns_domain: None,
            tags: Vec::new(),
        };
        let network = new_network(&spec);
        let subnet_spec = SubnetSpec {
            name: format!("{name}-subnet"),
            network: network.id.clone(),
            cidr,
            gateway_enabled: true,
            gateway: None,
            dns_nameservers: Vec::new(),
            allocation_pools: Vec::new(),
            enable_dhcp: true,
            host_routes: Vec::new(),
            tags: Vec::new(),
        };
        let subnet = new_subnet(&subnet_spec, &network.id);
        self.given.insert(network.id.clone());
        self.given.insert(subnet.id.clone());
        let shelf = |name: &str| PhysicalName(name.to_owned());
        self.networks
            .insert(shelf(name), Shelf::ready(spec, network, 0));
        self.subnets.insert(
            shelf(&subnet_spec.name.clone()),
            Shelf::ready(subnet_spec, subnet, 0),
        );
    }

    /// All things of a kind.
    pub(crate) fn named(&self, kind: Kind) -> Vec<Named> {
        fn all<S, T>(shelves: &Shelves<S, T>, name: impl Fn(&T) -> (&str, &str)) -> Vec<Named> {
            let one = |(physical, shelf): (&PhysicalName, &Shelf<S, T>)| {
                let (id, name) = name(&shelf.thing);
                Named {
                    id: id.to_owned(),
                    name: name.to_owned(),
                    physical_name: Some(physical.clone()),
                }
            };
            shelves.iter().map(one).collect()
        }
        match kind {
            Kind::Server => all(&self.servers, |one| (&one.id, &one.name)),
            Kind::Port => all(&self.ports, |one| (&one.id, &one.name)),
            Kind::Network => all(&self.networks, |one| (&one.id, &one.name)),
            Kind::Subnet => all(&self.subnets, |one| (&one.id, &one.name)),
            Kind::Router => all(&self.routers, |one| (&one.id, &one.name)),
            Kind::FloatingAddress => all(&self.floating, |one| (&one.id, &one.id)),
            Kind::SecurityGroup => all(&self.groups, |one| (&one.id, &one.name)),
            Kind::KeyPair => all(&self.keys, |one| (&one.name, &one.name)),
            Kind::Image => self.images.clone(),
            Kind::Flavor => self
                .flavors
                .iter()
                .map(|(named, _)| named.clone())
                .collect(),
        }
    }

    pub(crate) fn find(&self, kind: Kind, name_or_id: &str) -> Result<Option<Named>, CloudError> {
        let all = self.named(kind);
        if let Some(one) = all.iter().find(|one| one.id == name_or_id) {
            return Ok(Some(one.clone()));
        }
        let mut found = all.iter().filter(|one| one.name == name_or_id);
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(CloudError::Ambiguous {
                kind,
                name: name_or_id.to_owned(),
            }),
            (Some(one), None) => Ok(Some(one.clone())),
            (None, _) => {
                let physical = |one: &&Named| {
                    one.physical_name
                        .as_ref()
                        .is_some_and(|physical| physical.as_str() == name_or_id)
                };
                Ok(all.iter().find(physical).cloned())
            }
        }
    }

    /// The same, where it must be there.
    pub(crate) fn need(&self, kind: Kind, name_or_id: &str) -> Result<Named, CloudError> {
        self.find(kind, name_or_id)?
            .ok_or_else(|| CloudError::NotFound {
                kind,
                name: name_or_id.to_owned(),
            })
    }

    /// How long until the first pending thing is ready by time alone.
    pub(crate) fn next_ready(&self, now: Timestamp) -> Option<Duration> {
        let pending = self
            .servers
            .values()
            .filter_map(|shelf| shelf.work.as_ref());
        let times = pending.filter(|work| !work.hangs && work.asks_left == 0);
        let next = times.map(|work| work.ready_at).min()?;
        Some(Duration::try_from(next.duration_since(now)).unwrap_or_default())
    }

    /// Work that begins now, as faults have it.
    pub(crate) fn begin(
        &self,
        kind: Kind,
        name: &str,
        what: &'static str,
        time: Duration,
        now: Timestamp,
    ) -> Option<Work> {
        let mut asks_left = 0;
        let mut hangs = false;
        for fault in &self.faults {
            match fault {
                Fault::Slow { kind: of, asks } if *of == kind => asks_left = *asks,
                Fault::Hang {
                    kind: of,
                    name: prefix,
                } if *of == kind && name.starts_with(prefix) => {
                    hangs = true;
                }
                Fault::Slow { .. }
                | Fault::Hang { .. }
                | Fault::FailAt { .. }
                | Fault::Fail { .. } => {}
            }
        }
        let work = Work {
            what,
            since: now,
            ready_at: now.checked_add(time).unwrap_or(now),
            asks_left,
            hangs,
        };
        (asks_left > 0 || hangs || !time.is_zero()).then_some(work)
    }

    /// Makes the port of a specification; its addresses are taken from now on.
    pub(crate) fn new_port(&mut self, spec: &PortSpec) -> Result<Port, CloudError> {
        let network = self.need(Kind::Network, &spec.network)?;
        let mut fixed_addresses = Vec::new();
        let any = [FixedAddressSpec::default()];
        let wanted = if spec.fixed_addresses.is_empty() {
            &any[..]
        } else {
            &spec.fixed_addresses[..]
        };
        let has_subnets = self
            .subnets
            .values()
            .any(|shelf| shelf.thing.network_id == network.id);
        for want in wanted {
            if !has_subnets && spec.fixed_addresses.is_empty() {
                break;
            }
            fixed_addresses.push(self.address(&network.id, want, &spec.name)?);
        }
        self.next_mac += 1;
        let mac = self.next_mac.to_be_bytes();
        let mac = format!("fa:16:3e:{:02x}:{:02x}:{:02x}", mac[1], mac[2], mac[3]);
        let groups = spec.security_groups.clone().unwrap_or_default();
        Ok(Port {
            id: id(),
            name: spec.name.clone(),
            network_id: network.id,
            mac: spec.mac.clone().unwrap_or(mac),
            fixed_addresses,
            status: "DOWN".to_owned(),
            device_id: None,
            admin_state_up: spec.admin_state_up,
            security_groups: groups,
        })
    }

    fn address(
        &self,
        network_id: &str,
        want: &FixedAddressSpec,
        port: &str,
    ) -> Result<FixedAddress, CloudError> {
        let subnet_id = match &want.subnet {
            Some(name) => Some(self.need(Kind::Subnet, name)?.id),
            None => None,
        };
        let fits = |subnet: &&Subnet| {
            subnet.network_id == network_id
                && subnet_id.as_ref().is_none_or(|id| *id == subnet.id)
                && want
                    .address
                    .is_none_or(|address| subnet.cidr.contains(&address))
        };
        let subnet = self.subnets.values().map(|shelf| &shelf.thing).find(fits);
        let subnet = subnet.ok_or_else(|| CloudError::Invalid {
            kind: Kind::Port,
            name: port.to_owned(),
            why: match want.address {
                Some(address) => format!("no subnet of the network holds {address}"),
                None => "the network has no such subnet".to_owned(),
            },
        })?;
        let taken = |address: IpAddr| {
            let mut ports = self
                .ports
                .values()
                .flat_map(|shelf| &shelf.thing.fixed_addresses);
            ports.any(|fixed| fixed.subnet_id == subnet.id && fixed.address == address)
        };
        Ok(FixedAddress {
            subnet_id: subnet.id.clone(),
            address: addresses::choose(subnet, want.address, taken, port)?,
        })
    }
}

impl<S, T> Shelf<S, T> {
    pub(crate) fn ready(spec: S, thing: T, generation: u64) -> Shelf<S, T> {
        Shelf {
            spec,
            thing,
            generation,
            work: None,
        }
    }
}

impl<S, T: Clone> Shelf<S, T> {
    /// What the asker gets now; a pending thing comes one ask nearer. True: someone should ask again.
    pub(crate) fn seen(
        &mut self,
        kind: Kind,
        name: &str,
        order: &Order,
        now: Timestamp,
    ) -> (Result<Seen<T>, CloudError>, bool) {
        let Some(work) = &mut self.work else {
            return (Ok(Seen::Ready(self.thing.clone())), false);
        };
        if !work.hangs && work.asks_left == 0 && work.ready_at <= now {
            self.work = None;
            return (Ok(Seen::Ready(self.thing.clone())), true);
        }
        if now > order.deadline {
            let error = CloudError::DeadlinePassed {
                kind,
                name: name.to_owned(),
                why: work.what.to_owned(),
            };
            return (Err(error), false);
        }
        let again = work.asks_left > 0;
        work.asks_left = work.asks_left.saturating_sub(1);
        let pending = Seen::Pending {
            why: work.what.to_owned(),
            since: work.since,
            so_far: Some(self.thing.clone()),
        };
        (Ok(pending), again)
    }
}

pub(crate) fn new_network(spec: &NetworkSpec) -> Network {
    Network {
        id: id(),
        name: spec.name.clone(),
        subnets: Vec::new(),
        mtu: spec.mtu,
        admin_state_up: spec.admin_state_up,
        shared: spec.shared,
    }
}

pub(crate) fn new_subnet(spec: &SubnetSpec, network_id: &str) -> Subnet {
    let cidr = spec.cidr.trunc();
    let gateway = spec
        .gateway_enabled
        .then(|| spec.gateway.unwrap_or_else(|| addresses::first(&cidr)));
    let pools = if spec.allocation_pools.is_empty() {
        addresses::pools(&cidr, gateway)
    } else {
        spec.allocation_pools.clone()
    };
    Subnet {
        id: id(),
        name: spec.name.clone(),
        network_id: network_id.to_owned(),
        cidr,
        gateway,
        dns_nameservers: spec.dns_nameservers.clone(),
        allocation_pools: pools,
        enable_dhcp: spec.enable_dhcp,
        host_routes: spec.host_routes.clone(),
    }
}

pub(crate) fn new_id() -> String {
    id()
}
