//! `OS::Neutron::*`: networks, subnets, ports, routers, floating addresses, security groups.

use std::net::IpAddr;

use cloud::{
    FixedAddressSpec, FloatingAddress, FloatingAddressSpec, Network, NetworkSpec, Port, PortSpec,
    Router, RouterInterface, RouterSpec, RuleSpec, SecurityGroup, SecurityGroupSpec, Subnet,
    SubnetSpec,
};
use hot::{Map, Value};
use ipnet::IpNet;
use serde_json::{Value as Json, json};

use super::{Outcome, Started, Work, gone, parse, seen, text, texts};
use crate::api::Action;
use crate::failure::Failure;
use crate::model::Row;

pub(super) fn start(row: &Row) -> Started {
    match row.action {
        Action::Create | Action::Adopt | Action::Update | Action::Delete | Action::Check => {
            Started::Call
        }
        _ => Started::Done,
    }
}

pub(super) async fn step(work: &Work) -> Result<Outcome, Failure> {
    match work.row.action {
        Action::Delete => remove(work).await,
        Action::Check => check(work).await,
        _ => ensure(work).await,
    }
}

async fn remove(work: &Work) -> Result<Outcome, Failure> {
    let (cloud, name, order) = (work.cloud(), work.physical(), work.order());
    gone(match work.row.plugin.as_str() {
        "OS::Neutron::Net" => cloud.remove_network(&name, &order).await,
        "OS::Neutron::Subnet" => cloud.remove_subnet(&name, &order).await,
        "OS::Neutron::Port" => cloud.remove_port(&name, &order).await,
        "OS::Neutron::FloatingIP" => cloud.remove_floating_address(&name, &order).await,
        "OS::Neutron::SecurityGroup" => cloud.remove_security_group(&name, &order).await,
        _ => cloud.remove_router(&name, &order).await,
    })
}

async fn check(work: &Work) -> Result<Outcome, Failure> {
    let (cloud, name) = (work.cloud(), work.physical());
    let there = match work.row.plugin.as_str() {
        "OS::Neutron::Net" => cloud.network(&name).await.map(|one| one.is_some()),
        "OS::Neutron::Subnet" => cloud.subnet(&name).await.map(|one| one.is_some()),
        "OS::Neutron::Port" => cloud.port(&name).await.map(|one| one.is_some()),
        _ => Ok(true),
    };
    if there.map_err(Failure::from)? {
        return Ok(Outcome::default());
    }
    Err(Failure::new("NotFound", "it is not there any more"))
}

async fn ensure(work: &Work) -> Result<Outcome, Failure> {
    let (cloud, name, order) = (work.cloud(), work.physical(), work.order());
    let row = &work.row;
    match row.plugin.as_str() {
        "OS::Neutron::Net" => {
            let answer = cloud.ensure_network(&name, &network(row), &order).await;
            seen(answer, "thing", |one: &Network| one.id.clone())
        }
        "OS::Neutron::Subnet" => {
            let answer = cloud.ensure_subnet(&name, &subnet(row)?, &order).await;
            seen(answer, "thing", |one: &Subnet| one.id.clone())
        }
        "OS::Neutron::Port" => {
            let answer = cloud.ensure_port(&name, &port(row)?, &order).await;
            seen(answer, "thing", |one: &Port| one.id.clone())
        }
        "OS::Neutron::FloatingIP" => {
            let answer = cloud
                .ensure_floating_address(&name, &floating(row)?, &order)
                .await;
            seen(answer, "thing", |one: &FloatingAddress| one.id.clone())
        }
        "OS::Neutron::SecurityGroup" => {
            let answer = cloud
                .ensure_security_group(&name, &group(row)?, &order)
                .await;
            seen(answer, "thing", |one: &SecurityGroup| one.id.clone())
        }
        "OS::Neutron::RouterInterface" => Err(Failure::new(
            "NotSupported",
            "interfaces of routers are not made one by one here; list them in `interfaces` of the router",
        )),
        _ => {
            let answer = cloud.ensure_router(&name, &router(row), &order).await;
            seen(answer, "thing", |one: &Router| one.id.clone())
        }
    }
}

fn visible(row: &Row) -> String {
    text(&row.properties, "name")
        .unwrap_or(&row.physical_name)
        .to_owned()
}

fn flag(properties: &Map, name: &str) -> Option<bool> {
    properties.get(name).and_then(Value::as_bool)
}

fn number(properties: &Map, name: &str) -> Option<u32> {
    let number = properties.get(name).and_then(Value::as_number)?;
    (number >= 0.0 && number <= f64::from(u32::MAX)).then_some(number as u32)
}

/// A property that goes by two names, the older one last.
fn either(properties: &Map, names: [&str; 2]) -> String {
    let found = names.iter().find_map(|name| text(properties, name));
    found.unwrap_or_default().to_owned()
}

fn network(row: &Row) -> NetworkSpec {
    let properties = &row.properties;
    let specs = properties.get("value_specs").and_then(Value::as_map);
    let spec = |name: &str| specs.and_then(|specs| text(specs, name)).map(str::to_owned);
    let kind = spec("provider:network_type");
    NetworkSpec {
        name: visible(row),
        admin_state_up: flag(properties, "admin_state_up").unwrap_or(true),
        shared: flag(properties, "shared").unwrap_or(false),
        provider: kind.map(|kind| {
            let segment = specs.and_then(|specs| specs.get("provider:segmentation_id"));
            let segment = segment
                .map(Value::python_str)
                .and_then(|text| text.parse().ok());
            (kind, spec("provider:physical_network"), segment)
        }),
        mtu: specs.and_then(|specs| number(specs, "mtu")),
        dns_domain: text(properties, "dns_domain").map(str::to_owned),
        tags: texts(properties, "tags"),
    }
}

fn subnet(row: &Row) -> Result<SubnetSpec, Failure> {
    let properties = &row.properties;
    let address = |given: String| parse::<IpAddr>("an address", &given);
    let items = |name: &str| {
        let items = properties
            .get(name)
            .and_then(Value::as_list)
            .unwrap_or_default();
        items
            .iter()
            .filter_map(Value::as_map)
            .cloned()
            .collect::<Vec<Map>>()
    };
    let word = |map: &Map, key: &str| text(map, key).unwrap_or_default().to_owned();
    let gateway = match properties.get("gateway_ip") {
        None | Some(Value::Null) => None,
        Some(given) => Some(given.python_str()),
    };
    let pools = items("allocation_pools").into_iter();
    let pools =
        pools.map(|pool| Ok((address(word(&pool, "start"))?, address(word(&pool, "end"))?)));
    let routes = items("host_routes").into_iter().map(|route| {
        let destination = parse::<IpNet>("a network", &word(&route, "destination"))?;
        Ok((destination, address(word(&route, "nexthop"))?))
    });
    let cidr = text(properties, "cidr").unwrap_or_default();
    Ok(SubnetSpec {
        name: visible(row),
        network: either(properties, ["network", "network_id"]),
        cidr: parse("a network", cidr)?,
        // An empty text, or `~`, says that there is none.
        gateway_enabled: gateway.as_deref() != Some(""),
        gateway: gateway
            .filter(|given| !given.is_empty())
            .map(address)
            .transpose()?,
        dns_nameservers: texts(properties, "dns_nameservers")
            .into_iter()
            .map(address)
            .collect::<Result<_, _>>()?,
        allocation_pools: pools.collect::<Result<_, Failure>>()?,
        enable_dhcp: flag(properties, "enable_dhcp").unwrap_or(true),
        host_routes: routes.collect::<Result<_, Failure>>()?,
        tags: texts(properties, "tags"),
    })
}

fn port(row: &Row) -> Result<PortSpec, Failure> {
    let properties = &row.properties;
    let items = |name: &str| {
        let items = properties
            .get(name)
            .and_then(Value::as_list)
            .unwrap_or_default();
        items
            .iter()
            .filter_map(Value::as_map)
            .cloned()
            .collect::<Vec<Map>>()
    };
    let fixed = items("fixed_ips").into_iter().map(|item| {
        let address = text(&item, "ip_address").map(|given| parse::<IpAddr>("an address", given));
        let subnet = either(&item, ["subnet", "subnet_id"]);
        Ok(FixedAddressSpec {
            subnet: (!subnet.is_empty()).then_some(subnet),
            address: address.transpose()?,
        })
    });
    let pairs = items("allowed_address_pairs").into_iter().map(|pair| {
        let address = text(&pair, "ip_address").unwrap_or_default().to_owned();
        (address, text(&pair, "mac_address").map(str::to_owned))
    });
    let groups = properties
        .get("security_groups")
        .filter(|groups| !groups.is_null());
    Ok(PortSpec {
        name: visible(row),
        network: either(properties, ["network", "network_id"]),
        fixed_addresses: fixed.collect::<Result<_, Failure>>()?,
        mac: text(properties, "mac_address").map(str::to_owned),
        admin_state_up: flag(properties, "admin_state_up").unwrap_or(true),
        security_groups: groups.map(|_| texts(properties, "security_groups")),
        port_security: flag(properties, "port_security_enabled"),
        allowed_address_pairs: pairs.collect(),
        vnic_type: text(properties, "binding:vnic_type").map(str::to_owned),
        tags: texts(properties, "tags"),
    })
}

fn router(row: &Row) -> RouterSpec {
    let properties = &row.properties;
    let gateway = properties
        .get("external_gateway_info")
        .and_then(Value::as_map);
    let interfaces = properties
        .get("interfaces")
        .and_then(Value::as_list)
        .unwrap_or_default();
    let leg = |item: &Value| {
        let map = item.as_map()?;
        let port = text(map, "port").map(|port| RouterInterface::Port(port.to_owned()));
        port.or_else(|| Some(RouterInterface::Subnet(text(map, "subnet")?.to_owned())))
    };
    RouterSpec {
        name: visible(row),
        admin_state_up: flag(properties, "admin_state_up").unwrap_or(true),
        external_network: gateway
            .and_then(|map| text(map, "network"))
            .map(str::to_owned),
        enable_snat: gateway.and_then(|map| flag(map, "enable_snat")),
        interfaces: interfaces.iter().filter_map(leg).collect(),
    }
}

fn floating(row: &Row) -> Result<FloatingAddressSpec, Failure> {
    let properties = &row.properties;
    let address = |name: &str| {
        let given = text(properties, name);
        given
            .map(|given| parse::<IpAddr>("an address", given))
            .transpose()
    };
    Ok(FloatingAddressSpec {
        network: either(properties, ["floating_network", "floating_network_id"]),
        address: address("floating_ip_address")?,
        port: text(properties, "port_id").map(str::to_owned),
        fixed_address: address("fixed_ip_address")?,
    })
}

fn group(row: &Row) -> Result<SecurityGroupSpec, Failure> {
    let properties = &row.properties;
    let rules = properties
        .get("rules")
        .and_then(Value::as_list)
        .unwrap_or_default();
    let rule = |item: &Value| {
        let map = item.as_map().cloned().unwrap_or_default();
        let word = |name: &str| text(&map, name).map(str::to_owned);
        let port = |name: &str| number(&map, name).and_then(|port| u16::try_from(port).ok());
        let remote = word("remote_ip_prefix").map(|given| parse::<IpNet>("a network", &given));
        Ok(RuleSpec {
            direction: word("direction").unwrap_or_else(|| "ingress".to_owned()),
            ethertype: word("ethertype").unwrap_or_else(|| "IPv4".to_owned()),
            protocol: word("protocol"),
            ports: port("port_range_min").zip(port("port_range_max")),
            remote: remote.transpose()?,
            remote_group: word("remote_group_id"),
        })
    };
    Ok(SecurityGroupSpec {
        name: visible(row),
        description: text(properties, "description")
            .unwrap_or_default()
            .to_owned(),
        rules: rules.iter().map(rule).collect::<Result<_, Failure>>()?,
    })
}

pub(super) fn attribute(row: &Row, name: &str) -> Option<Value> {
    let shown = show(row)?;
    if name == "show" {
        return Some(Value::from_json(&shown));
    }
    shown.get(name).map(Value::from_json)
}

/// The thing as Neutron shows it, as far as the seam tells.
fn show(row: &Row) -> Option<Json> {
    let thing = row.notes.get("thing")?.clone();
    Some(match row.plugin.as_str() {
        "OS::Neutron::Net" => {
            let one: Network = serde_json::from_value(thing).ok()?;
            json!({
                "id": one.id, "name": one.name, "status": "ACTIVE", "subnets": one.subnets,
                "admin_state_up": one.admin_state_up, "shared": one.shared, "mtu": one.mtu,
            })
        }
        "OS::Neutron::Subnet" => {
            let one: Subnet = serde_json::from_value(thing).ok()?;
            let pools = one.allocation_pools.iter();
            let routes = one.host_routes.iter();
            json!({
                "id": one.id, "name": one.name, "network_id": one.network_id, "cidr": one.cidr,
                "gateway_ip": one.gateway, "dns_nameservers": one.dns_nameservers,
                "allocation_pools": pools
                    .map(|(start, end)| json!({"start": start, "end": end}))
                    .collect::<Vec<Json>>(),
                "enable_dhcp": one.enable_dhcp,
                "ip_version": if one.cidr.network().is_ipv4() { 4 } else { 6 },
                "host_routes": routes
                    .map(|(to, via)| json!({"destination": to, "nexthop": via}))
                    .collect::<Vec<Json>>(),
            })
        }
        "OS::Neutron::Port" => {
            let one: Port = serde_json::from_value(thing).ok()?;
            let fixed = one.fixed_addresses.iter();
            json!({
                "id": one.id, "name": one.name, "network_id": one.network_id,
                "mac_address": one.mac, "status": one.status, "device_id": one.device_id,
                "admin_state_up": one.admin_state_up, "security_groups": one.security_groups,
                "fixed_ips": fixed
                    .map(|fixed| json!({
                        "subnet_id": fixed.subnet_id, "ip_address": fixed.address,
                    }))
                    .collect::<Vec<Json>>(),
            })
        }
        "OS::Neutron::FloatingIP" => {
            let one: FloatingAddress = serde_json::from_value(thing).ok()?;
            json!({
                "id": one.id, "floating_ip_address": one.address, "port_id": one.port_id,
                "fixed_ip_address": one.fixed_address,
            })
        }
        _ => thing,
    })
}
