//! Servers and their ports in the database: made, changed, given interfaces, taken off again.

use cloud::{
    Attachment, CloudError, FixedAddressSpec, KeyPair, Kind, Network, Order, PhysicalName, Port,
    PortSpec, Server, ServerAddress, ServerSpec, Subnet,
};
use jiff::Timestamp;
use store::{Read, Tx};
use uuid::Uuid;

use crate::addresses::Run;
use crate::failure::Failure;
use crate::flavors;
use crate::network::{change, in_use, new_port};
use crate::rows::{self, Record};

pub(crate) fn new_server(
    tx: &Tx<'_>,
    name: &PhysicalName,
    want: &ServerSpec,
    order: &Order,
    image_id: Option<String>,
    reserved: Option<Run>,
    now: Timestamp,
) -> Result<Record<Server>, Failure> {
    let flavor = flavors::need(tx, &want.flavor)?;
    if let Some(key) = &want.key_name {
        rows::need::<KeyPair>(tx, key, &order.project)?;
    }
    let id = Uuid::new_v4().to_string();
    plug(tx, name, want, order, &id, reserved, now)?;
    let server = Server {
        name: want.name.clone(),
        status: "BUILD".to_owned(),
        addresses: addresses(tx, &id)?,
        image_id,
        flavor_id: Some(flavor.id),
        host: None,
        metadata: want.metadata.clone(),
        id,
    };
    let mut record = Record::new(name, order, want.clone(), server, now);
    record.note.since = now;
    rows::put(tx, &record)?;
    Ok(record)
}

pub(crate) fn changed_server(
    tx: &Tx<'_>,
    mut record: Record<Server>,
    want: &ServerSpec,
    order: &Order,
    reserved: Option<Run>,
    now: Timestamp,
) -> Result<Record<Server>, Failure> {
    if !record.is_newer(order)? {
        return Ok(record);
    }
    let flavor = flavors::need(tx, &want.flavor)?;
    let id = record.thing.id.clone();
    if record.spec.attachments != want.attachments {
        let macs: Vec<_> = rows::of_server(tx, &id)?
            .into_iter()
            .map(|port| port.thing.mac)
            .collect();
        unplug(tx, &id)?;
        // A port's physical name is taken once; those of this decision have names of their own.
        let name = PhysicalName(format!(
            "{}.{}",
            record.physical.clone().map_or_else(String::new, |n| n.0),
            order.generation
        ));
        plug(tx, &name, want, order, &id, reserved, now)?;
        if record.note.node.is_some() {
            bind(
                tx,
                &record,
                &macs,
                record.thing.host.as_deref().unwrap_or_default(),
            )?;
        }
    }
    record.thing.name.clone_from(&want.name);
    record.thing.metadata.clone_from(&want.metadata);
    record.thing.flavor_id = Some(flavor.id);
    record.thing.addresses = addresses(tx, &id)?;
    record.spec = want.clone();
    change(&mut record, order, now);
    rows::put(tx, &record)?;
    Ok(record)
}

/// Gives the server the ports that it names, and makes those that it does not.
fn plug(
    tx: &Tx<'_>,
    name: &PhysicalName,
    want: &ServerSpec,
    order: &Order,
    server: &str,
    reserved: Option<Run>,
    now: Timestamp,
) -> Result<(), Failure> {
    for (place, attachment) in attachments(tx, want)?.iter().enumerate() {
        let mut port = match &attachment.port {
            Some(port) => rows::need::<Port>(tx, port, &order.project)?,
            None => {
                let spec = port_spec(tx, attachment, want, order)?;
                let own = PhysicalName(format!("{name}/{place}"));
                let mut port = new_port(tx, &own, &spec, order, reserved, now)?;
                port.note.of_server = true;
                port
            }
        };
        if let Some(other) = port
            .thing
            .device_id
            .as_deref()
            .filter(|other| *other != server)
        {
            return Err(in_use(
                Kind::Port,
                &port.thing.name,
                format!("the server `{other}` has it"),
            ));
        }
        port.thing.device_id = Some(server.to_owned());
        port.thing.status = "ACTIVE".to_owned();
        port.note.place = place;
        rows::put(tx, &port)?;
    }
    Ok(())
}

fn attachments(read: &Read<'_>, want: &ServerSpec) -> Result<Vec<Attachment>, Failure> {
    if !want.attachments.is_empty() {
        return Ok(want.attachments.clone());
    }
    let networks = rows::all::<Network>(read)?;
    match networks.as_slice() {
        [] => Ok(Vec::new()),
        [only] => Ok(vec![Attachment {
            network: Some(only.thing.id.clone()),
            ..Attachment::default()
        }]),
        _ => Err(CloudError::Invalid {
            kind: Kind::Server,
            name: want.name.clone(),
            why: "there is more than one network; say which one".to_owned(),
        }
        .into()),
    }
}

fn port_spec(
    read: &Read<'_>,
    attachment: &Attachment,
    want: &ServerSpec,
    order: &Order,
) -> Result<PortSpec, Failure> {
    let subnet = attachment.subnet.as_ref();
    let subnet = subnet
        .map(|subnet| rows::need::<Subnet>(read, subnet, &order.project))
        .transpose()?;
    let network = attachment
        .network
        .clone()
        .or(subnet.map(|subnet| subnet.thing.network_id));
    let network = network.ok_or_else(|| CloudError::Invalid {
        kind: Kind::Server,
        name: want.name.clone(),
        why: "an interface names neither port, network nor subnet".to_owned(),
    })?;
    let fixed = FixedAddressSpec {
        subnet: attachment.subnet.clone(),
        address: attachment.fixed_address,
    };
    Ok(PortSpec {
        name: String::new(),
        network,
        fixed_addresses: Some(fixed)
            .filter(|fixed| *fixed != FixedAddressSpec::default())
            .into_iter()
            .collect(),
        mac: None,
        admin_state_up: true,
        security_groups: Some(attachment.security_groups.clone()),
        port_security: None,
        allowed_address_pairs: Vec::new(),
        vnic_type: Some("baremetal".to_owned()),
        tags: Vec::new(),
    })
}

/// Gives each port of a server the hardware address of one of its node's interfaces.
pub(crate) fn bind(
    tx: &Tx<'_>,
    record: &Record<Server>,
    macs: &[String],
    node: &str,
) -> Result<(), Failure> {
    let ports = rows::of_server(tx, &record.thing.id)?;
    let invalid = |why: String| CloudError::Invalid {
        kind: Kind::Server,
        name: record.thing.name.clone(),
        why,
    };
    if ports.len() > macs.len() {
        let why = format!(
            "node {node} has {} network interfaces, {} are wanted",
            macs.len(),
            ports.len()
        );
        return Err(invalid(why).into());
    }
    let mut free: Vec<&String> = macs.iter().collect();
    let mut given: Vec<(Record<Port>, Option<String>)> = Vec::new();
    // Those that ask for an address come first, so that nobody else takes it.
    for port in ports {
        let asked = port.spec.mac.as_ref().map(|mac| mac.to_lowercase());
        let found = asked
            .as_ref()
            .map(|mac| free.iter().position(|free| *free == mac));
        match found {
            None => given.push((port, None)),
            Some(Some(at)) => given.push((port, Some(free.remove(at).clone()))),
            Some(None) => {
                let why = format!("node {node} has no interface {}", asked.unwrap_or_default());
                return Err(invalid(why).into());
            }
        }
    }
    let mut rest = free.into_iter();
    for (mut port, mac) in given {
        let Some(mac) = mac.or_else(|| rest.next().cloned()) else {
            continue;
        };
        port.thing.mac = mac;
        rows::put(tx, &port)?;
    }
    Ok(())
}

/// Takes a server off its ports; those made for it go.
pub(crate) fn unplug(tx: &Tx<'_>, server: &str) -> Result<(), Failure> {
    for mut port in rows::of_server(tx, server)? {
        if port.note.of_server {
            rows::delete::<Port>(tx, &port.thing.id)?;
            continue;
        }
        port.thing.device_id = None;
        port.thing.status = "DOWN".to_owned();
        port.thing.mac.clone_from(&port.note.own_mac);
        rows::put(tx, &port)?;
    }
    Ok(())
}

pub(crate) fn addresses(read: &Read<'_>, server: &str) -> Result<Vec<ServerAddress>, Failure> {
    let mut addresses = Vec::new();
    for port in rows::of_server(read, server)? {
        let network = rows::by_id::<Network>(read, &port.thing.network_id)?;
        let network = network.map_or_else(String::new, |network| network.thing.name);
        addresses.extend(
            port.thing
                .fixed_addresses
                .iter()
                .map(|fixed| ServerAddress {
                    network: network.clone(),
                    network_id: port.thing.network_id.clone(),
                    address: fixed.address,
                    mac: port.thing.mac.clone(),
                    port_id: port.thing.id.clone(),
                    floating: false,
                }),
        );
    }
    Ok(addresses)
}
