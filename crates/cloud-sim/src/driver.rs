//! The [`Cloud`] that the engine sees.

use async_trait::async_trait;
use cloud::{
    Cloud, CloudError, Effect, FloatingAddress, FloatingAddressSpec, KeyPair, KeyPairSpec, Kind,
    Named, Network, NetworkSpec, Order, PhysicalName, Port, PortSpec, Revision, Router, RouterSpec,
    SecurityGroup, SecurityGroupSpec, Seen, Server, ServerSpec, Subnet, SubnetSpec,
};

use crate::Sim;
use crate::faults::Fault;
use crate::state::{Shelf, Shelves, State, new_id, new_network, new_subnet};

impl Sim {
    /// Runs a call that changes something: counts it, lets faults strike, tells the watchers.
    pub(crate) fn call<T>(
        &self,
        visible: &str,
        work: impl FnOnce(&mut State) -> Result<T, CloudError>,
    ) -> Result<T, CloudError> {
        let mut state = self.lock();
        state.calls += 1;
        let number = state.calls;
        let mut late = None;
        let strike = state
            .faults
            .iter()
            .position(|fault| matches!(fault, Fault::FailAt { call, .. } if *call == number));
        if let Some(at) = strike
            && let Fault::FailAt { error, after, .. } = state.faults.remove(at)
        {
            if !after {
                return Err(error);
            }
            late = Some(error);
        }
        for fault in &state.faults {
            if let Fault::Fail { name, error } = fault
                && visible.starts_with(name.as_str())
            {
                return Err(error.clone());
            }
        }
        let result = work(&mut state);
        drop(state);
        if let Some(error) = late {
            return Err(error);
        }
        result
    }
}

/// Refuses an order that is older than the last one.
pub(crate) fn fresh<S, T>(
    shelves: &Shelves<S, T>,
    kind: Kind,
    name: &PhysicalName,
    order: &Order,
) -> Result<bool, CloudError> {
    match shelves.get(name) {
        Some(shelf) if shelf.generation > order.generation => Err(CloudError::Superseded {
            kind,
            name: name.0.clone(),
        }),
        Some(shelf) => Ok(shelf.generation < order.generation),
        None => Ok(true),
    }
}

/// Makes a thing, or changes what is there.
fn keep<S, T>(
    shelves: &mut Shelves<S, T>,
    name: &PhysicalName,
    want: &S,
    order: &Order,
    made: impl FnOnce() -> T,
    change: impl FnOnce(&mut T),
) -> Seen<T>
where
    S: Clone,
    T: Clone,
{
    let shelf = shelves
        .entry(name.clone())
        .or_insert_with(|| Shelf::ready(want.clone(), made(), order.generation));
    if shelf.generation < order.generation {
        change(&mut shelf.thing);
        shelf.spec = want.clone();
        shelf.generation = order.generation;
    }
    Seen::Ready(shelf.thing.clone())
}

fn effect(gone: bool) -> Seen<Effect> {
    Seen::Ready(if gone {
        Effect::Changed
    } else {
        Effect::Unchanged
    })
}

fn in_use(kind: Kind, name: &str, why: String) -> CloudError {
    CloudError::InUse {
        kind,
        name: name.to_owned(),
        why,
    }
}

#[async_trait]
impl Cloud for Sim {
    async fn ensure_server(
        &self,
        name: &PhysicalName,
        want: &ServerSpec,
        order: &Order,
    ) -> Result<Seen<Server>, CloudError> {
        self.keep_server(name, want, order)
    }

    async fn remove_server(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Effect>, CloudError> {
        self.drop_server(name, order)
    }

    async fn rebuild_server(
        &self,
        name: &PhysicalName,
        want: &ServerSpec,
        _preserve_ephemeral: bool,
        order: &Order,
    ) -> Result<Seen<Server>, CloudError> {
        self.restart_server(name, Some(want), order)
    }

    async fn reboot_server(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Server>, CloudError> {
        self.restart_server(name, None, order)
    }

    async fn ensure_network(
        &self,
        name: &PhysicalName,
        want: &NetworkSpec,
        order: &Order,
    ) -> Result<Seen<Network>, CloudError> {
        self.call(&want.name, |state| {
            fresh(&state.networks, Kind::Network, name, order)?;
            let change = |network: &mut Network| {
                network.name.clone_from(&want.name);
                network.admin_state_up = want.admin_state_up;
                network.shared = want.shared;
                network.mtu = want.mtu;
            };
            let seen = keep(
                &mut state.networks,
                name,
                want,
                order,
                || new_network(want),
                change,
            );
            Ok(seen)
        })
    }

    async fn remove_network(
        &self,
        name: &PhysicalName,
        _order: &Order,
    ) -> Result<Seen<Effect>, CloudError> {
        self.call(name.as_str(), |state| {
            if let Some(shelf) = state.networks.get(name) {
                let id = &shelf.thing.id;
                let port = state
                    .ports
                    .values()
                    .find(|port| port.thing.network_id == *id);
                if let Some(port) = port {
                    let why = format!("the port `{}` is on it", port.thing.name);
                    return Err(in_use(Kind::Network, &shelf.thing.name, why));
                }
                let id = id.clone();
                state
                    .subnets
                    .retain(|_, subnet| subnet.thing.network_id != id);
            }
            Ok(effect(state.networks.remove(name).is_some()))
        })
    }

    async fn ensure_subnet(
        &self,
        name: &PhysicalName,
        want: &SubnetSpec,
        order: &Order,
    ) -> Result<Seen<Subnet>, CloudError> {
        self.call(&want.name, |state| {
            fresh(&state.subnets, Kind::Subnet, name, order)?;
            let network = state.need(Kind::Network, &want.network)?;
            let other = state.subnets.iter().find(|(other, shelf)| {
                let (a, b) = (shelf.thing.cidr, want.cidr);
                *other != name
                    && shelf.thing.network_id == network.id
                    && (a.contains(&b.network()) || b.contains(&a.network()))
            });
            if let Some((_, other)) = other {
                return Err(CloudError::Invalid {
                    kind: Kind::Subnet,
                    name: want.name.clone(),
                    why: format!("{} overlaps the subnet `{}`", want.cidr, other.thing.name),
                });
            }
            let change = |subnet: &mut Subnet| {
                let new = new_subnet(want, &subnet.network_id);
                *subnet = Subnet {
                    id: subnet.id.clone(),
                    ..new
                };
            };
            let made = || new_subnet(want, &network.id);
            Ok(keep(&mut state.subnets, name, want, order, made, change))
        })
    }

    async fn remove_subnet(
        &self,
        name: &PhysicalName,
        _order: &Order,
    ) -> Result<Seen<Effect>, CloudError> {
        self.call(name.as_str(), |state| {
            if let Some(shelf) = state.subnets.get(name) {
                let id = &shelf.thing.id;
                let port = state.ports.values().find(|port| {
                    let mut fixed = port.thing.fixed_addresses.iter();
                    fixed.any(|fixed| fixed.subnet_id == *id)
                });
                if let Some(port) = port {
                    let why = format!("the port `{}` has an address of it", port.thing.name);
                    return Err(in_use(Kind::Subnet, &shelf.thing.name, why));
                }
            }
            Ok(effect(state.subnets.remove(name).is_some()))
        })
    }

    async fn ensure_port(
        &self,
        name: &PhysicalName,
        want: &PortSpec,
        order: &Order,
    ) -> Result<Seen<Port>, CloudError> {
        self.call(&want.name, |state| {
            fresh(&state.ports, Kind::Port, name, order)?;
            let made = match state.ports.get(name) {
                Some(shelf) => shelf.thing.clone(),
                None => state.new_port(want)?,
            };
            let change = |port: &mut Port| {
                port.name.clone_from(&want.name);
                port.admin_state_up = want.admin_state_up;
                port.security_groups = want.security_groups.clone().unwrap_or_default();
            };
            Ok(keep(&mut state.ports, name, want, order, || made, change))
        })
    }

    async fn remove_port(
        &self,
        name: &PhysicalName,
        _order: &Order,
    ) -> Result<Seen<Effect>, CloudError> {
        self.call(name.as_str(), |state| {
            if let Some(shelf) = state.ports.get(name)
                && let Some(device) = &shelf.thing.device_id
            {
                let why = format!("the server {device} has it");
                return Err(in_use(Kind::Port, &shelf.thing.name, why));
            }
            Ok(effect(state.ports.remove(name).is_some()))
        })
    }

    async fn ensure_router(
        &self,
        name: &PhysicalName,
        want: &RouterSpec,
        order: &Order,
    ) -> Result<Seen<Router>, CloudError> {
        self.call(&want.name, |state| {
            fresh(&state.routers, Kind::Router, name, order)?;
            if let Some(network) = &want.external_network {
                state.need(Kind::Network, network)?;
            }
            for leg in &want.interfaces {
                match leg {
                    cloud::RouterInterface::Subnet(subnet) => state.need(Kind::Subnet, subnet)?,
                    cloud::RouterInterface::Port(port) => state.need(Kind::Port, port)?,
                };
            }
            let made = || Router {
                id: new_id(),
                name: want.name.clone(),
                status: "ACTIVE".to_owned(),
                external_address: None,
            };
            let change = |router: &mut Router| router.name.clone_from(&want.name);
            Ok(keep(&mut state.routers, name, want, order, made, change))
        })
    }

    async fn remove_router(
        &self,
        name: &PhysicalName,
        _order: &Order,
    ) -> Result<Seen<Effect>, CloudError> {
        self.call(name.as_str(), |state| {
            Ok(effect(state.routers.remove(name).is_some()))
        })
    }

    async fn ensure_floating_address(
        &self,
        name: &PhysicalName,
        want: &FloatingAddressSpec,
        order: &Order,
    ) -> Result<Seen<FloatingAddress>, CloudError> {
        self.call(name.as_str(), |state| {
            fresh(&state.floating, Kind::FloatingAddress, name, order)?;
            let port_id = match &want.port {
                Some(port) => Some(state.need(Kind::Port, port)?.id),
                None => None,
            };
            let made = match state.floating.get(name) {
                Some(shelf) => shelf.thing.clone(),
                None => {
                    // The outside end is a port on the outside network, as in Neutron.
                    let port = state.new_port(&outside(name, want))?;
                    let address = port.fixed_addresses.first().map(|fixed| fixed.address);
                    let address = address.ok_or_else(|| CloudError::Invalid {
                        kind: Kind::FloatingAddress,
                        name: name.0.clone(),
                        why: "the network outside has no subnet".to_owned(),
                    })?;
                    FloatingAddress {
                        id: new_id(),
                        address,
                        port_id: port_id.clone(),
                        fixed_address: want.fixed_address,
                    }
                }
            };
            let change = |floating: &mut FloatingAddress| {
                floating.port_id.clone_from(&port_id);
                floating.fixed_address = want.fixed_address;
            };
            Ok(keep(
                &mut state.floating,
                name,
                want,
                order,
                || made,
                change,
            ))
        })
    }

    async fn remove_floating_address(
        &self,
        name: &PhysicalName,
        _order: &Order,
    ) -> Result<Seen<Effect>, CloudError> {
        self.call(name.as_str(), |state| {
            Ok(effect(state.floating.remove(name).is_some()))
        })
    }

    async fn ensure_security_group(
        &self,
        name: &PhysicalName,
        want: &SecurityGroupSpec,
        order: &Order,
    ) -> Result<Seen<SecurityGroup>, CloudError> {
        self.call(&want.name, |state| {
            fresh(&state.groups, Kind::SecurityGroup, name, order)?;
            let made = || SecurityGroup {
                id: new_id(),
                name: want.name.clone(),
            };
            let change = |group: &mut SecurityGroup| group.name.clone_from(&want.name);
            Ok(keep(&mut state.groups, name, want, order, made, change))
        })
    }

    async fn remove_security_group(
        &self,
        name: &PhysicalName,
        _order: &Order,
    ) -> Result<Seen<Effect>, CloudError> {
        self.call(name.as_str(), |state| {
            Ok(effect(state.groups.remove(name).is_some()))
        })
    }

    async fn ensure_key_pair(
        &self,
        name: &PhysicalName,
        want: &KeyPairSpec,
        order: &Order,
    ) -> Result<Seen<KeyPair>, CloudError> {
        self.call(&want.name, |state| {
            fresh(&state.keys, Kind::KeyPair, name, order)?;
            let taken = state
                .keys
                .iter()
                .any(|(other, shelf)| other != name && shelf.thing.name == want.name);
            if taken {
                let why = "there is a key pair of this name".to_owned();
                return Err(CloudError::Invalid {
                    kind: Kind::KeyPair,
                    name: want.name.clone(),
                    why,
                });
            }
            let made = || KeyPair {
                name: want.name.clone(),
                public_key: want.public_key.clone(),
                fingerprint: String::new(),
            };
            let change = |pair: &mut KeyPair| pair.public_key.clone_from(&want.public_key);
            Ok(keep(&mut state.keys, name, want, order, made, change))
        })
    }

    async fn remove_key_pair(
        &self,
        name: &PhysicalName,
        _order: &Order,
    ) -> Result<Seen<Effect>, CloudError> {
        self.call(name.as_str(), |state| {
            Ok(effect(state.keys.remove(name).is_some()))
        })
    }

    async fn server(&self, name: &PhysicalName) -> Result<Option<Server>, CloudError> {
        Ok(self
            .lock()
            .servers
            .get(name)
            .map(|shelf| shelf.thing.clone()))
    }

    async fn network(&self, name: &PhysicalName) -> Result<Option<Network>, CloudError> {
        let state = self.lock();
        Ok(state.networks.get(name).map(|shelf| {
            let mut network = shelf.thing.clone();
            let subnets = state.subnets.values().map(|subnet| &subnet.thing);
            network.subnets = subnets
                .filter(|subnet| subnet.network_id == network.id)
                .map(|subnet| subnet.id.clone())
                .collect();
            network
        }))
    }

    async fn subnet(&self, name: &PhysicalName) -> Result<Option<Subnet>, CloudError> {
        Ok(self
            .lock()
            .subnets
            .get(name)
            .map(|shelf| shelf.thing.clone()))
    }

    async fn port(&self, name: &PhysicalName) -> Result<Option<Port>, CloudError> {
        Ok(self.lock().ports.get(name).map(|shelf| shelf.thing.clone()))
    }

    async fn find(
        &self,
        kind: Kind,
        name_or_id: &str,
        _project: &str,
    ) -> Result<Option<Named>, CloudError> {
        self.find_named(kind, name_or_id)
    }

    async fn list(&self, kind: Kind) -> Result<Vec<Named>, CloudError> {
        Ok(self.lock().named(kind))
    }

    async fn watch(&self, seen: Revision) -> Revision {
        self.wait(seen).await
    }
}

fn outside(name: &PhysicalName, want: &FloatingAddressSpec) -> PortSpec {
    let fixed = cloud::FixedAddressSpec {
        subnet: None,
        address: want.address,
    };
    PortSpec {
        name: name.0.clone(),
        network: want.network.clone(),
        fixed_addresses: vec![fixed],
        mac: None,
        admin_state_up: true,
        security_groups: None,
        port_security: None,
        allowed_address_pairs: Vec::new(),
        vnic_type: None,
        tags: Vec::new(),
    }
}
