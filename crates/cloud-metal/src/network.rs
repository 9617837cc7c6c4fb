//! Networks, subnets and ports: records, and who has which address.

use std::net::IpAddr;

use cloud::{
    CloudError, Effect, FixedAddress, FixedAddressSpec, Kind, Network, NetworkSpec, Order,
    PhysicalName, Port, PortSpec, Seen, Subnet, SubnetSpec,
};
use jiff::Timestamp;
use store::{Read, Tx};
use uuid::Uuid;

use crate::MetalCloud;
use crate::addresses::{Run, choose, fault_of, subnet};
use crate::failure::Failure;
use crate::rows::{self, PortNote, Record};

impl MetalCloud {
    pub(crate) fn now(&self) -> Timestamp {
        (self.inner.settings.now)()
    }

    /// Addresses that machines have while they are deployed; ports never get them.
    pub(crate) fn reserved(&self) -> Option<Run> {
        let range = self.inner.settings.dhcp.as_ref()?.deploy_range?;
        Some((IpAddr::V4(range.0), IpAddr::V4(range.1)))
    }

    pub(crate) async fn keep_network(
        &self,
        name: &PhysicalName,
        want: &NetworkSpec,
        order: &Order,
    ) -> Result<Seen<Network>, CloudError> {
        let (name, want, order, now) = (name.clone(), want.clone(), order.clone(), self.now());
        let network = self
            .write(move |tx| {
                let Some(mut record) = rows::by_physical::<Network>(tx, &name)? else {
                    let network = network_of(&want, Uuid::new_v4().to_string());
                    let record = Record::new(&name, &order, want, network, now);
                    rows::put(tx, &record)?;
                    return Ok(record.thing);
                };
                if record.is_newer(&order)? {
                    record.thing = network_of(&want, record.thing.id.clone());
                    record.spec = want;
                    change(&mut record, &order, now);
                    rows::put(tx, &record)?;
                }
                with_subnets(tx, record.thing)
            })
            .await?;
        self.serve_addresses().await?;
        Ok(Seen::Ready(network))
    }

    pub(crate) async fn drop_network(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Effect>, CloudError> {
        let (name, order) = (name.clone(), order.clone());
        let effect = self
            .write(move |tx| {
                let Some(record) = rows::by_physical::<Network>(tx, &name)? else {
                    return Ok(Effect::Unchanged);
                };
                record.is_newer(&order)?;
                let network = record.thing;
                if let Some(port) = rows::on::<Port>(tx, &network.id)?.first() {
                    return Err(in_use(
                        Kind::Network,
                        &network.name,
                        format!("the port `{}` is on it", label(port)),
                    ));
                }
                for subnet in rows::on::<Subnet>(tx, &network.id)? {
                    rows::delete::<Subnet>(tx, &subnet.thing.id)?;
                }
                rows::delete::<Network>(tx, &network.id)?;
                Ok(Effect::Changed)
            })
            .await?;
        self.serve_addresses().await?;
        Ok(Seen::Ready(effect))
    }

    pub(crate) async fn keep_subnet(
        &self,
        name: &PhysicalName,
        want: &SubnetSpec,
        order: &Order,
    ) -> Result<Seen<Subnet>, CloudError> {
        let (name, want, order, now) = (name.clone(), want.clone(), order.clone(), self.now());
        let made = self
            .write(move |tx| {
                let network = rows::need::<Network>(tx, &want.network, &order.project)?.thing;
                let old = rows::by_physical::<Subnet>(tx, &name)?;
                let newer = old
                    .as_ref()
                    .map_or(Ok(true), |record| record.is_newer(&order))?;
                if let (Some(record), false) = (&old, newer) {
                    return Ok(record.thing.clone());
                }
                let id = old.as_ref().map_or_else(
                    || Uuid::new_v4().to_string(),
                    |record| record.thing.id.clone(),
                );
                let thing = subnet(&want, id, &network.id);
                check_subnet(tx, &thing)?;
                let mut record = Record::new(&name, &order, want, thing, now);
                if let Some(old) = old {
                    record.created_at = old.created_at;
                    change(&mut record, &order, now);
                }
                rows::put(tx, &record)?;
                Ok(record.thing)
            })
            .await?;
        self.serve_addresses().await?;
        Ok(Seen::Ready(made))
    }

    pub(crate) async fn drop_subnet(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Effect>, CloudError> {
        let (name, order) = (name.clone(), order.clone());
        let effect = self
            .write(move |tx| {
                let Some(record) = rows::by_physical::<Subnet>(tx, &name)? else {
                    return Ok(Effect::Unchanged);
                };
                record.is_newer(&order)?;
                let subnet = record.thing;
                let has = |port: &&Record<Port>| {
                    port.thing
                        .fixed_addresses
                        .iter()
                        .any(|fixed| fixed.subnet_id == subnet.id)
                };
                if let Some(port) = rows::on::<Port>(tx, &subnet.network_id)?.iter().find(has) {
                    let why = format!("the port `{}` has an address of it", label(port));
                    return Err(in_use(Kind::Subnet, &subnet.name, why));
                }
                rows::delete::<Subnet>(tx, &subnet.id)?;
                Ok(Effect::Changed)
            })
            .await?;
        self.serve_addresses().await?;
        Ok(Seen::Ready(effect))
    }

    pub(crate) async fn keep_port(
        &self,
        name: &PhysicalName,
        want: &PortSpec,
        order: &Order,
    ) -> Result<Seen<Port>, CloudError> {
        let (name, want, order, now) = (name.clone(), want.clone(), order.clone(), self.now());
        let reserved = self.reserved();
        let port = self
            .write(move |tx| {
                let Some(mut record) = rows::by_physical::<Port>(tx, &name)? else {
                    let record = new_port(tx, &name, &want, &order, reserved, now)?;
                    return Ok(record.thing);
                };
                if record.is_newer(&order)? {
                    if record.spec.fixed_addresses != want.fixed_addresses {
                        let network = record.thing.network_id.clone();
                        record.thing.fixed_addresses.clear();
                        rows::put(tx, &record)?;
                        record.thing.fixed_addresses =
                            fixed(tx, &network, &want, &order.project, reserved)?;
                    }
                    record.thing.name.clone_from(&want.name);
                    record.thing.admin_state_up = want.admin_state_up;
                    record.thing.security_groups = want.security_groups.clone().unwrap_or_default();
                    record.spec = want;
                    change(&mut record, &order, now);
                    rows::put(tx, &record)?;
                }
                Ok(record.thing)
            })
            .await?;
        self.serve_addresses().await?;
        Ok(Seen::Ready(port))
    }

    pub(crate) async fn drop_port(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Effect>, CloudError> {
        let (name, order) = (name.clone(), order.clone());
        let effect = self
            .write(move |tx| {
                let Some(record) = rows::by_physical::<Port>(tx, &name)? else {
                    return Ok(Effect::Unchanged);
                };
                record.is_newer(&order)?;
                if let Some(server) = &record.thing.device_id {
                    return Err(in_use(
                        Kind::Port,
                        label(&record),
                        format!("the server `{server}` has it"),
                    ));
                }
                rows::delete::<Port>(tx, &record.thing.id)?;
                Ok(Effect::Changed)
            })
            .await?;
        self.serve_addresses().await?;
        Ok(Seen::Ready(effect))
    }

    /// All networks, with the ids of their subnets.
    pub async fn networks(&self) -> Result<Vec<Record<Network>>, CloudError> {
        self.read(|read| {
            let mut networks = rows::all::<Network>(read)?;
            for record in &mut networks {
                record.thing = with_subnets(read, record.thing.clone())?;
            }
            Ok(networks)
        })
        .await
    }

    /// All subnets.
    pub async fn subnets(&self) -> Result<Vec<Record<Subnet>>, CloudError> {
        self.read(rows::all).await
    }

    /// All ports.
    pub async fn ports(&self) -> Result<Vec<Record<Port>>, CloudError> {
        self.read(rows::all).await
    }
}

/// Notes who changed a record last.
pub(crate) fn change<T: rows::Item>(record: &mut Record<T>, order: &Order, now: Timestamp) {
    record.generation = order.generation;
    record.updated_at = Some(now);
}

pub(crate) fn in_use(kind: Kind, name: &str, why: String) -> Failure {
    CloudError::InUse {
        kind,
        name: name.to_owned(),
        why,
    }
    .into()
}

/// How a port is called in sentences: most have no name.
fn label(port: &Record<Port>) -> &str {
    if port.thing.name.is_empty() {
        &port.thing.id
    } else {
        &port.thing.name
    }
}

fn network_of(spec: &NetworkSpec, id: String) -> Network {
    Network {
        id,
        name: spec.name.clone(),
        subnets: Vec::new(),
        mtu: spec.mtu,
        admin_state_up: spec.admin_state_up,
        shared: spec.shared,
    }
}

pub(crate) fn with_subnets(read: &Read<'_>, mut network: Network) -> Result<Network, Failure> {
    network.subnets = rows::on::<Subnet>(read, &network.id)?
        .into_iter()
        .map(|subnet| subnet.thing.id)
        .collect();
    Ok(network)
}

/// All networks are on one wire: two subnets with the same addresses cannot be told apart.
fn check_subnet(read: &Read<'_>, subnet: &Subnet) -> Result<(), Failure> {
    let invalid = |why: String| CloudError::Invalid {
        kind: Kind::Subnet,
        name: subnet.name.clone(),
        why,
    };
    if let Some(why) = fault_of(subnet) {
        return Err(invalid(why).into());
    }
    let overlaps = |other: &&Record<Subnet>| {
        let (a, b) = (other.thing.cidr, subnet.cidr);
        other.thing.id != subnet.id && (a.contains(&b.network()) || b.contains(&a.network()))
    };
    match rows::all::<Subnet>(read)?.iter().find(overlaps) {
        Some(other) => {
            let why = format!(
                "{} overlaps {} of the subnet `{}`",
                subnet.cidr, other.thing.cidr, other.thing.name
            );
            Err(invalid(why).into())
        }
        None => Ok(()),
    }
}

/// Makes a port; its addresses are taken from now on.
pub(crate) fn new_port(
    tx: &Tx<'_>,
    name: &PhysicalName,
    want: &PortSpec,
    order: &Order,
    reserved: Option<Run>,
    now: Timestamp,
) -> Result<Record<Port>, Failure> {
    let network = rows::need::<Network>(tx, &want.network, &order.project)?.thing;
    let id = Uuid::new_v4();
    let mac = want
        .mac
        .clone()
        .map_or_else(|| mac_of(id), |mac| mac.to_lowercase());
    let thing = Port {
        id: id.to_string(),
        name: want.name.clone(),
        fixed_addresses: fixed(tx, &network.id, want, &order.project, reserved)?,
        network_id: network.id,
        mac: mac.clone(),
        status: "DOWN".to_owned(),
        device_id: None,
        admin_state_up: want.admin_state_up,
        security_groups: want.security_groups.clone().unwrap_or_default(),
    };
    let mut record = Record::new(name, order, want.clone(), thing, now);
    record.note = PortNote {
        own_mac: mac,
        ..PortNote::default()
    };
    rows::put(tx, &record)?;
    Ok(record)
}

/// A hardware address of Neutron's own kind, for ports that no machine has yet.
fn mac_of(id: Uuid) -> String {
    let bytes = id.as_bytes();
    format!(
        "fa:16:3e:{:02x}:{:02x}:{:02x}",
        bytes[0], bytes[1], bytes[2]
    )
}

/// The addresses of a port: those wanted, or one of the network's first subnet.
fn fixed(
    read: &Read<'_>,
    network: &str,
    want: &PortSpec,
    project: &str,
    reserved: Option<Run>,
) -> Result<Vec<FixedAddress>, Failure> {
    let subnets = rows::on::<Subnet>(read, network)?;
    let any = [FixedAddressSpec::default()];
    let wanted = match want.fixed_addresses.as_slice() {
        [] if subnets.is_empty() => return Ok(Vec::new()),
        [] => &any,
        wanted => wanted,
    };
    let ports = rows::on::<Port>(read, network)?;
    let mut chosen: Vec<FixedAddress> = Vec::new();
    for one in wanted {
        let named = one
            .subnet
            .as_ref()
            .map(|name| rows::need::<Subnet>(read, name, project))
            .transpose()?;
        let fits = |subnet: &&Record<Subnet>| {
            named
                .as_ref()
                .is_none_or(|named| named.thing.id == subnet.thing.id)
                && one
                    .address
                    .is_none_or(|address| subnet.thing.cidr.contains(&address))
        };
        let Some(subnet) = subnets.iter().find(fits) else {
            let why = match one.address {
                Some(address) => format!("no subnet of the network holds {address}"),
                None => "the network has no such subnet".to_owned(),
            };
            return Err(CloudError::Invalid {
                kind: Kind::Port,
                name: want.name.clone(),
                why,
            }
            .into());
        };
        let taken = |address: IpAddr| {
            let others = ports.iter().flat_map(|port| &port.thing.fixed_addresses);
            others.chain(&chosen).any(|fixed| fixed.address == address)
        };
        let address = choose(&subnet.thing, one.address, &taken, reserved, &want.name)?;
        chosen.push(FixedAddress {
            subnet_id: subnet.thing.id.clone(),
            address,
        });
    }
    Ok(chosen)
}
