//! Servers: choosing a machine, ports, coming up.

use cloud::{
    Attachment, CloudError, Effect, FixedAddressSpec, Kind, Misfit, Order, PhysicalName, Port,
    PortSpec, Seen, Server, ServerAddress, ServerSpec,
};

use crate::Sim;
use crate::driver::fresh;
use crate::state::{Shelf, State, new_id};

impl Sim {
    pub(crate) fn keep_server(
        &self,
        name: &PhysicalName,
        want: &ServerSpec,
        order: &Order,
    ) -> Result<Seen<Server>, CloudError> {
        let now = (self.options.now)();
        let (result, again) = self.call(&want.name, |state| {
            let newer = fresh(&state.servers, Kind::Server, name, order)?;
            if !state.servers.contains_key(name) {
                state.new_server(name, want, order)?;
                let work = state.begin(
                    Kind::Server,
                    &want.name,
                    "is building",
                    self.options.server_time,
                    now,
                );
                if let Some(shelf) = state.servers.get_mut(name) {
                    shelf.work = work;
                }
            } else if newer {
                state.change_server(name, want, order)?;
            }
            Ok(state.server_seen(name, order, now))
        })?;
        if again {
            self.touch();
        }
        result
    }

    pub(crate) fn restart_server(
        &self,
        name: &PhysicalName,
        want: Option<&ServerSpec>,
        order: &Order,
    ) -> Result<Seen<Server>, CloudError> {
        let now = (self.options.now)();
        let visible = want
            .map_or(name.as_str(), |want| want.name.as_str())
            .to_owned();
        let (result, again) = self.call(&visible, |state| {
            let newer = fresh(&state.servers, Kind::Server, name, order)?;
            let image = match want.and_then(|want| want.image.as_ref()) {
                Some(image) => Some(state.need(Kind::Image, image)?.id),
                None => None,
            };
            let time = self.options.server_time;
            let work = state.begin(Kind::Server, &visible, "is starting again", time, now);
            let shelf = state
                .servers
                .get_mut(name)
                .ok_or_else(|| CloudError::NotFound {
                    kind: Kind::Server,
                    name: visible.clone(),
                })?;
            if newer {
                if let Some(want) = want {
                    shelf.spec = want.clone();
                    shelf.thing.image_id = image;
                }
                shelf.generation = order.generation;
                shelf.work = work;
            }
            Ok(state.server_seen(name, order, now))
        })?;
        if again {
            self.touch();
        }
        result
    }

    pub(crate) fn drop_server(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Effect>, CloudError> {
        let result = self.call(name.as_str(), |state| {
            fresh(&state.servers, Kind::Server, name, order)?;
            let Some(shelf) = state.servers.remove(name) else {
                return Ok(Seen::Ready(Effect::Unchanged));
            };
            let own = format!("{name}/");
            state
                .ports
                .retain(|port, _| !port.as_str().starts_with(&own));
            for port in state.ports.values_mut() {
                if port.thing.device_id.as_ref() == Some(&shelf.thing.id) {
                    port.thing.device_id = None;
                }
            }
            for (_, tenant) in &mut state.nodes {
                if tenant.as_ref() == Some(name) {
                    *tenant = None;
                }
            }
            Ok(Seen::Ready(Effect::Changed))
        });
        self.touch();
        result
    }
}

impl State {
    fn server_seen(
        &mut self,
        name: &PhysicalName,
        order: &Order,
        now: jiff::Timestamp,
    ) -> (Result<Seen<Server>, CloudError>, bool) {
        let Some(shelf) = self.servers.get_mut(name) else {
            let error = CloudError::NotFound {
                kind: Kind::Server,
                name: name.0.clone(),
            };
            return (Err(error), false);
        };
        let visible = shelf.thing.name.clone();
        shelf.thing.status = "BUILD".to_owned();
        let (mut result, again) = shelf.seen(Kind::Server, &visible, order, now);
        if let Ok(Seen::Ready(server)) = &mut result {
            server.status = "ACTIVE".to_owned();
            shelf.thing.status = "ACTIVE".to_owned();
        }
        (result, again)
    }

    fn new_server(
        &mut self,
        name: &PhysicalName,
        want: &ServerSpec,
        order: &Order,
    ) -> Result<(), CloudError> {
        let image_id = match &want.image {
            Some(image) => Some(self.need(Kind::Image, image)?.id),
            None => None,
        };
        let flavor = self.need(Kind::Flavor, &want.flavor)?;
        if let Some(key) = &want.key_name {
            self.need(Kind::KeyPair, key)?;
        }
        let node = self.choose_node(want, &flavor.id)?;
        let id = new_id();
        let mut addresses = Vec::new();
        for (at, attachment) in self.attachments(want)?.iter().enumerate() {
            match self.plug(name, at, attachment, &id) {
                Ok(port) => addresses.extend(self.addresses_of(&port)),
                Err(error) => {
                    self.unplug(name, &id);
                    return Err(error);
                }
            }
        }
        let host = self.nodes.get_mut(node).map(|(node, tenant)| {
            *tenant = Some(name.clone());
            node.name.clone()
        });
        let server = Server {
            id,
            name: want.name.clone(),
            status: "BUILD".to_owned(),
            addresses,
            image_id,
            flavor_id: Some(flavor.id),
            host,
            metadata: want.metadata.clone(),
        };
        let shelf = Shelf::ready(want.clone(), server, order.generation);
        self.servers.insert(name.clone(), shelf);
        Ok(())
    }

    fn change_server(
        &mut self,
        name: &PhysicalName,
        want: &ServerSpec,
        order: &Order,
    ) -> Result<(), CloudError> {
        let flavor = self.need(Kind::Flavor, &want.flavor)?;
        let Some(old) = self.servers.get(name).cloned() else {
            return Ok(());
        };
        let mut addresses = old.thing.addresses.clone();
        if old.spec.attachments != want.attachments {
            let own = format!("{name}/");
            self.ports
                .retain(|port, _| !port.as_str().starts_with(&own));
            for port in self.ports.values_mut() {
                if port.thing.device_id.as_ref() == Some(&old.thing.id) {
                    port.thing.device_id = None;
                }
            }
            addresses.clear();
            for (at, attachment) in self.attachments(want)?.iter().enumerate() {
                let port = self.plug(name, at, attachment, &old.thing.id)?;
                addresses.extend(self.addresses_of(&port));
            }
        }
        if let Some(shelf) = self.servers.get_mut(name) {
            shelf.spec = want.clone();
            shelf.generation = order.generation;
            shelf.thing.name.clone_from(&want.name);
            shelf.thing.metadata.clone_from(&want.metadata);
            shelf.thing.flavor_id = Some(flavor.id);
            shelf.thing.addresses = addresses;
        }
        Ok(())
    }

    fn attachments(&self, want: &ServerSpec) -> Result<Vec<Attachment>, CloudError> {
        if !want.attachments.is_empty() {
            return Ok(want.attachments.clone());
        }
        let mut networks = self.networks.values();
        match (networks.next(), networks.next()) {
            (Some(network), None) => Ok(vec![Attachment {
                network: Some(network.thing.id.clone()),
                ..Attachment::default()
            }]),
            (Some(_), Some(_)) => Err(CloudError::Invalid {
                kind: Kind::Server,
                name: want.name.clone(),
                why: "there is more than one network; say which one".to_owned(),
            }),
            (None, _) => Ok(Vec::new()),
        }
    }

    /// The first free machine that fits; else why none does.
    fn choose_node(&self, want: &ServerSpec, flavor_id: &str) -> Result<usize, CloudError> {
        let class = self.flavors.iter().find(|(named, _)| named.id == flavor_id);
        let class = class.map_or("", |(_, class)| class.as_str());
        let mut misfits = Vec::new();
        for (at, (node, tenant)) in self.nodes.iter().enumerate() {
            let mut why = None;
            if let Some(tenant) = tenant {
                why = Some(format!("is used by {tenant}"));
            } else if node.resource_class != class {
                why = Some(format!(
                    "resource class is {}, not {class}",
                    node.resource_class
                ));
            }
            for (hint, value) in &want.scheduler_hints {
                let Some(wanted) = hint.strip_prefix("capabilities:") else {
                    continue;
                };
                let pair = (wanted.to_owned(), value.clone());
                if why.is_none() && !node.capabilities.contains(&pair) {
                    why = Some(format!("has no capability {wanted}:{value}"));
                }
            }
            match why {
                None => return Ok(at),
                Some(why) => misfits.push(Misfit {
                    node: node.name.clone(),
                    why,
                }),
            }
        }
        Err(CloudError::NoFittingNode {
            server: want.name.clone(),
            misfits,
        })
    }

    /// Gives the server the port that it names, or makes one that goes with the server.
    fn plug(
        &mut self,
        name: &PhysicalName,
        at: usize,
        attachment: &Attachment,
        server_id: &str,
    ) -> Result<Port, CloudError> {
        if let Some(wanted) = &attachment.port {
            let port = self.need(Kind::Port, wanted)?;
            let shelf = self
                .ports
                .values_mut()
                .find(|shelf| shelf.thing.id == port.id);
            let shelf = shelf.ok_or_else(|| CloudError::NotFound {
                kind: Kind::Port,
                name: wanted.clone(),
            })?;
            if shelf
                .thing
                .device_id
                .as_deref()
                .is_some_and(|other| other != server_id)
            {
                return Err(CloudError::InUse {
                    kind: Kind::Port,
                    name: shelf.thing.name.clone(),
                    why: "another server has it".to_owned(),
                });
            }
            shelf.thing.device_id = Some(server_id.to_owned());
            shelf.thing.status = "ACTIVE".to_owned();
            return Ok(shelf.thing.clone());
        }
        let network = match (&attachment.network, &attachment.subnet) {
            (Some(network), _) => network.clone(),
            (None, Some(subnet)) => {
                let subnet = self.need(Kind::Subnet, subnet)?;
                let of = self
                    .subnets
                    .values()
                    .find(|shelf| shelf.thing.id == subnet.id);
                of.map(|shelf| shelf.thing.network_id.clone())
                    .unwrap_or_default()
            }
            (None, None) => String::new(),
        };
        let fixed = FixedAddressSpec {
            subnet: attachment.subnet.clone(),
            address: attachment.fixed_address,
        };
        let spec = PortSpec {
            name: String::new(),
            network,
            fixed_addresses: if fixed == FixedAddressSpec::default() {
                Vec::new()
            } else {
                vec![fixed]
            },
            mac: None,
            admin_state_up: true,
            security_groups: Some(attachment.security_groups.clone()),
            port_security: None,
            allowed_address_pairs: Vec::new(),
            vnic_type: None,
            tags: Vec::new(),
        };
        let mut port = self.new_port(&spec)?;
        port.device_id = Some(server_id.to_owned());
        port.status = "ACTIVE".to_owned();
        let own = PhysicalName(format!("{name}/{at}"));
        self.ports.insert(own, Shelf::ready(spec, port.clone(), 0));
        Ok(port)
    }

    /// Takes the server off its ports; those made for it go.
    fn unplug(&mut self, name: &PhysicalName, server_id: &str) {
        let own = format!("{name}/");
        self.ports
            .retain(|port, _| !port.as_str().starts_with(&own));
        for port in self.ports.values_mut() {
            if port.thing.device_id.as_deref() == Some(server_id) {
                port.thing.device_id = None;
            }
        }
    }

    fn addresses_of(&self, port: &Port) -> Vec<ServerAddress> {
        let network = self
            .networks
            .values()
            .find(|shelf| shelf.thing.id == port.network_id)
            .map(|shelf| shelf.thing.name.clone())
            .unwrap_or_default();
        port.fixed_addresses
            .iter()
            .map(|fixed| ServerAddress {
                network: network.clone(),
                network_id: port.network_id.clone(),
                address: fixed.address,
                mac: port.mac.clone(),
                port_id: port.id.clone(),
                floating: false,
            })
            .collect()
    }
}
