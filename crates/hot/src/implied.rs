//! Edges that no function shows: a port waits for the subnets of its network.
//!
//! Networks are compared as the template has them: by the resource that they refer to, or by
//! equal text.

use std::collections::{BTreeSet, HashMap};

use crate::expr::Expr;
use crate::frame::Frame;
use crate::value::Value;

/// A network as the template has it, so that two mentions of one network compare equal.
fn mention(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(Value::Text(text)) => Some(format!("text {text}")),
        Expr::Call(call) => {
            let args = call.args.as_value()?;
            Some(format!("{} {}", call.function.name, args.python_repr()))
        }
        _ => None,
    }
}

/// The resource that a value refers to by `get_resource`.
fn target(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Call(call) if matches!(call.function.name, "get_resource" | "Ref") => {
            call.args.as_value()?.as_text().map(str::to_owned)
        }
        _ => None,
    }
}

struct Things<'a> {
    frame: &'a Frame,
    subnets: HashMap<String, Vec<String>>,
}

impl Things<'_> {
    fn property(&self, name: &str, keys: &[&str]) -> Option<Expr> {
        let parts = self.frame.inner.body.resources.get(name)?;
        keys.iter().find_map(|key| parts.properties.get(key))
    }

    /// The network that a port is on.
    fn port_network(&self, port: &Expr) -> Option<String> {
        let name = target(port)?;
        mention(&self.property(&name, &["network", "network_id"])?)
    }

    fn server_networks(&self, server: &str) -> Vec<String> {
        let networks = self
            .property(server, &["networks"])
            .and_then(|list| list.items());
        let mention_of = |network: &Expr| {
            let named = network.get("network").or_else(|| network.get("uuid"));
            let by_port = || {
                network
                    .get("port")
                    .and_then(|port| self.port_network(&port))
            };
            named.and_then(|named| mention(&named)).or_else(by_port)
        };
        networks
            .unwrap_or_default()
            .iter()
            .filter_map(mention_of)
            .collect()
    }

    fn subnets_of(&self, network: &str) -> &[String] {
        self.subnets.get(network).map_or(&[], Vec::as_slice)
    }
}

fn of_type<'a>(frame: &'a Frame, name: &'a str) -> impl Iterator<Item = &'a str> {
    frame
        .resources()
        .filter(move |resource| resource.schema().is_some_and(|schema| schema.name == name))
        .map(|resource| resource.name.as_str())
}

/// Adds the implied edges of a frame.
pub(crate) fn add(frame: &Frame, edges: &mut BTreeSet<(String, String)>) {
    let mut things = Things {
        frame,
        subnets: HashMap::new(),
    };
    for subnet in of_type(frame, "OS::Neutron::Subnet") {
        if let Some(network) = things
            .property(subnet, &["network", "network_id"])
            .and_then(|n| mention(&n))
        {
            things
                .subnets
                .entry(network)
                .or_default()
                .push(subnet.to_owned());
        }
    }
    let mut found = Vec::new();
    for port in of_type(frame, "OS::Neutron::Port") {
        let network = things
            .property(port, &["network", "network_id"])
            .and_then(|n| mention(&n));
        for subnet in things.subnets_of(&network.unwrap_or_default()) {
            found.push((port.to_owned(), subnet.clone()));
        }
    }
    for server in of_type(frame, "OS::Nova::Server") {
        for network in things.server_networks(server) {
            for subnet in things.subnets_of(&network) {
                found.push((server.to_owned(), subnet.clone()));
            }
        }
    }
    for address in of_type(frame, "OS::Neutron::FloatingIP") {
        found.extend(floating(&things, address));
    }
    edges.extend(
        found
            .into_iter()
            .filter(|(requirer, required)| requirer != required),
    );
}

/// A floating address waits for the router that leads to its port, and for that router's gateway.
fn floating(things: &Things<'_>, address: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let port = things.property(address, &["port_id"]);
    let network = port
        .and_then(|port| things.port_network(&port))
        .unwrap_or_default();
    for interface in of_type(things.frame, "OS::Neutron::RouterInterface") {
        let subnet = things
            .property(interface, &["subnet", "subnet_id"])
            .and_then(|s| target(&s));
        if subnet.is_some_and(|subnet| things.subnets_of(&network).contains(&subnet)) {
            found.push((address.to_owned(), interface.to_owned()));
        }
    }
    let wanted = things
        .property(address, &["floating_network", "floating_network_id"])
        .and_then(|network| mention(&network));
    for router in of_type(things.frame, "OS::Neutron::Router") {
        let gateway = things
            .property(router, &["external_gateway_info"])
            .and_then(|gateway| gateway.get("network"))
            .and_then(|network| mention(&network));
        if gateway.is_some() && gateway == wanted {
            found.push((address.to_owned(), router.to_owned()));
        }
    }
    found
}
