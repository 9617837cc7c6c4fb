//! The config drive of a server: who it is, its network, its keys, and where its metadata is. Pure.

use std::net::IpAddr;

use base64::Engine as _;
use cloud::{CloudError, KeyPair, Kind, Network, Port, Secret, Server, ServerSpec, Subnet};
use disk::iso::{Content, IsoImage};
use serde_json::{Value, json};

use crate::dhcp::host_name;

/// Label of the drive.
const LABEL: &str = "config-2";

/// What a drive is made from.
pub struct DriveContent<'a> {
    /// The server.
    pub server: &'a Server,
    /// What it was made from; its metadata's address is beside it.
    pub spec: &'a ServerSpec,
    /// The address of its metadata, with its secret.
    pub metadata_url: Option<&'a Secret>,
    /// Its project.
    pub project: &'a str,
    /// Its zone.
    pub zone: &'a str,
    /// Its key pair.
    pub key: Option<&'a KeyPair>,
    /// Its ports in order, with their networks.
    pub ports: &'a [(Port, Network)],
    /// All subnets of these networks.
    pub subnets: &'a [Subnet],
    /// PEM of the authority of the metadata's certificate.
    pub ca: Option<&'a str>,
    /// Name of the node that it runs on.
    pub node: &'a str,
}

/// Makes the drive.
pub fn make(content: &DriveContent<'_>) -> Result<Vec<u8>, CloudError> {
    let failed = |error: disk::iso::IsoWriteError| CloudError::Failed {
        kind: Kind::Server,
        name: content.server.name.clone(),
        why: format!("its config drive cannot be made: {error}"),
    };
    let mut iso = IsoImage::new(LABEL).map_err(failed)?;
    let json = |value: &Value| Content::Bytes(value.to_string().into_bytes());
    let mut files = vec![
        (
            "openstack/latest/meta_data.json".to_owned(),
            json(&meta_data(content)),
        ),
        (
            "openstack/latest/network_data.json".to_owned(),
            json(&network_data(content)),
        ),
        (
            "openstack/latest/vendor_data.json".to_owned(),
            json(&json!({})),
        ),
        ("ec2/latest/meta-data.json".to_owned(), json(&ec2(content))),
    ];
    if let Some(text) = &content.spec.user_data {
        files.push((
            "openstack/latest/user_data".to_owned(),
            Content::Bytes(user_data(text)),
        ));
    }
    if let Some(url) = content.metadata_url {
        let told =
            json!({"metadata_url": url.expose(), "ca": content.ca, "node": content.server.name});
        files.push(("tripleo/os-collect-config.json".to_owned(), json(&told)));
    }
    for (number, text) in content.spec.personality.values().enumerate() {
        files.push((
            format!("openstack/content/{number:04}"),
            Content::Bytes(text.clone().into_bytes()),
        ));
    }
    for (path, bytes) in files {
        iso.file(&path, 0o600, bytes).map_err(failed)?;
    }
    iso.to_bytes().map_err(failed)
}

/// Clients send it as base64; templates as it is.
fn user_data(text: &str) -> Vec<u8> {
    let decoded = base64::engine::general_purpose::STANDARD.decode(text.trim());
    match decoded {
        Ok(bytes) if !bytes.is_empty() && !text.starts_with('#') => bytes,
        Ok(_) | Err(_) => text.as_bytes().to_owned(),
    }
}

fn meta_data(content: &DriveContent<'_>) -> Value {
    let name = host_name(&content.server.name);
    let mut data = json!({
        "uuid": content.server.id,
        "name": content.server.name,
        "hostname": name,
        "availability_zone": content.zone,
        "project_id": content.project,
        "launch_index": 0,
        "meta": content.server.metadata,
        "devices": [],
        "node": content.node,
    });
    if let Some(key) = content.key {
        data["public_keys"] = json!({&key.name: key.public_key});
        data["keys"] = json!([{"name": key.name, "type": "ssh", "data": key.public_key}]);
    }
    if !content.spec.personality.is_empty() {
        let files = content.spec.personality.keys().enumerate();
        let files: Vec<_> = files.map(|(number, path)| json!({"path": path, "content_path": format!("/content/{number:04}")})).collect();
        data["files"] = Value::Array(files);
    }
    data
}

fn network_data(content: &DriveContent<'_>) -> Value {
    let mut links = Vec::new();
    let mut networks = Vec::new();
    let mut servers: Vec<&IpAddr> = Vec::new();
    for (number, (port, network)) in content.ports.iter().enumerate() {
        let link = format!("interface{number}");
        links.push(json!({"id": link, "vif_id": port.id, "type": "phy", "mtu": network.mtu, "ethernet_mac_address": port.mac}));
        for fixed in &port.fixed_addresses {
            let Some(subnet) = content
                .subnets
                .iter()
                .find(|subnet| subnet.id == fixed.subnet_id)
            else {
                continue;
            };
            servers.extend(&subnet.dns_nameservers);
            let id = format!("network{}", networks.len());
            networks.push(address(&id, &link, &network.id, fixed.address, subnet));
        }
    }
    servers.sort();
    servers.dedup();
    let services: Vec<_> = servers
        .iter()
        .map(|server| json!({"type": "dns", "address": server}))
        .collect();
    json!({"links": links, "networks": networks, "services": services})
}

fn address(id: &str, link: &str, network: &str, address: IpAddr, subnet: &Subnet) -> Value {
    let kind = if address.is_ipv4() { "ipv4" } else { "ipv6" };
    let every = if address.is_ipv4() {
        ("0.0.0.0", "0.0.0.0")
    } else {
        ("::", "::")
    };
    let default = subnet
        .gateway
        .map(|gateway| json!({"network": every.0, "netmask": every.1, "gateway": gateway}));
    let more = subnet.host_routes.iter().map(
        |(net, hop)| json!({"network": net.network(), "netmask": net.netmask(), "gateway": hop}),
    );
    let routes: Vec<_> = default.into_iter().chain(more).collect();
    json!({
        "id": id, "link": link, "network_id": network, "type": kind,
        "ip_address": address, "netmask": subnet.cidr.netmask(), "routes": routes,
        "services": subnet.dns_nameservers.iter().map(|server| json!({"type": "dns", "address": server})).collect::<Vec<_>>(),
    })
}

fn ec2(content: &DriveContent<'_>) -> Value {
    let name = host_name(&content.server.name);
    let first = content
        .server
        .addresses
        .iter()
        .find(|one| one.address.is_ipv4());
    let keys = content.key.map(
        |key| json!({"0": {"_name": format!("0={}", key.name), "openssh-key": key.public_key}}),
    );
    json!({
        "instance-id": content.server.id,
        "hostname": name,
        "local-hostname": name,
        "local-ipv4": first.map(|one| one.address.to_string()),
        "public-keys": keys,
        "placement": {"availability-zone": content.zone},
        "instance-type": content.spec.flavor,
    })
}
