//! The network API, version 2.0: lists and shows of networks, subnets and ports of the cloud over bare metal.
//!
//! What exists is made by stacks; requests that would change it are refused with the way to do it.

pub(crate) mod list;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::{any, get};
use axum::{Json, Router};
use cloud::{Network, Port, Subnet};
use cloud_metal::{MetalCloud, Record};
use http::{Method, StatusCode};
use openstack_api::time::seconds;
use openstack_api::{ApiError, Caller, Dialect, Origin, Params, Service, TokenCheck};
use serde_json::{Value, json};

use crate::compute::failed;
use crate::{CatalogEntry, Mounted};
use list::chosen;

/// Where the API is mounted.
pub const PREFIX: &str = "/network";

type Answer = Result<Json<Value>, ApiError>;

/// The service under its prefix.
pub fn mount(cloud: &MetalCloud, tokens: Arc<dyn TokenCheck>) -> Mounted {
    let router = Router::new()
        .route("/", get(versions))
        .route("/v2.0", get(resources))
        .route(
            "/v2.0/extensions",
            get(async || Json(json!({"extensions": []}))),
        )
        .route("/v2.0/extensions/{alias}", get(no_extension))
        .route("/v2.0/{kind}", get(index).post(refuse))
        .route("/v2.0/{kind}/{id}", get(show).put(refuse).delete(refuse))
        .fallback(any(nowhere))
        .with_state(cloud.clone());
    let open = |_: &Method, path: &str| path == "/";
    Mounted {
        prefix: PREFIX,
        catalog: Some(CatalogEntry {
            kind: "network",
            name: "neutron",
            path: "",
        }),
        router: Service::new(Dialect::Network)
            .tokens(tokens, open)
            .wrap(router),
    }
}

async fn versions(axum::Extension(origin): axum::Extension<Origin>) -> Json<Value> {
    let link = json!({"rel": "self", "href": format!("{}/v2.0/", origin.base())});
    Json(json!({"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]}))
}

async fn resources() -> Json<Value> {
    let one = |name: &str| json!({"name": name.trim_end_matches('s'), "collection": name});
    let all = ["networks", "subnets", "ports"].map(one);
    Json(json!({"resources": all}))
}

async fn no_extension(Path(alias): Path<String>) -> ApiError {
    ApiError::not_found(format!("Extension with alias {alias} does not exist"))
        .kind("ExtensionNotFound")
}

async fn refuse(Path(words): Path<Vec<(String, String)>>) -> ApiError {
    let kind = words.first().map_or("things", |(_, kind)| kind.as_str());
    ApiError::not_implemented(
        &format!("changing {kind} one by one"),
        "a stack (`openstack stack create`)",
    )
}

async fn nowhere() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "The resource could not be found.").kind("HTTPNotFound")
}

async fn index(
    State(cloud): State<MetalCloud>,
    Path(kind): Path<String>,
    axum::Extension(caller): axum::Extension<Caller>,
    params: Params,
) -> Answer {
    let rows = rows(&cloud, &kind, &caller).await?;
    Ok(Json(json!({&kind: chosen(rows, &params)?})))
}

async fn show(
    State(cloud): State<MetalCloud>,
    Path((kind, id)): Path<(String, String)>,
    axum::Extension(caller): axum::Extension<Caller>,
) -> Answer {
    let one = kind.trim_end_matches('s').to_owned();
    let rows = rows(&cloud, &kind, &caller).await?;
    let row = rows
        .into_iter()
        .find(|row| row["id"] == json!(id))
        .ok_or_else(|| {
            let word = format!("{}{}", one[..1].to_uppercase(), &one[1..]);
            ApiError::not_found(format!("{word} {id} could not be found."))
                .kind(format!("{word}NotFound"))
        })?;
    Ok(Json(json!({one: row})))
}

/// All rows of a kind that the caller may see. Kinds that no machine has are empty, not missing: clients list
/// them on the way.
async fn rows(cloud: &MetalCloud, kind: &str, caller: &Caller) -> Result<Vec<Value>, ApiError> {
    let networks = cloud.networks().await.map_err(failed)?;
    let sees = |project: &str| caller.0.is_admin() || caller.0.project_id() == Some(project);
    let shared = |id: &str| {
        networks
            .iter()
            .any(|one| one.thing.id == id && (one.thing.shared || sees(&one.project)))
    };
    Ok(match kind {
        "networks" => networks
            .iter()
            .filter(|one| shared(&one.thing.id))
            .map(network)
            .collect(),
        "subnets" => {
            let subnets = cloud.subnets().await.map_err(failed)?;
            subnets
                .iter()
                .filter(|one| shared(&one.thing.network_id))
                .map(subnet)
                .collect()
        }
        "ports" => {
            let ports = cloud.ports().await.map_err(failed)?;
            ports
                .iter()
                .filter(|one| sees(&one.project))
                .map(port)
                .collect()
        }
        "routers"
        | "floatingips"
        | "security-groups"
        | "security-group-rules"
        | "agents"
        | "availability_zones"
        | "subnetpools"
        | "trunks" => Vec::new(),
        other => {
            return Err(
                ApiError::not_found(format!("The resource {other} could not be found."))
                    .kind("HTTPNotFound"),
            );
        }
    })
}

/// What all rows have.
fn common<T: cloud_metal::Item>(record: &Record<T>, more: Value) -> Value {
    let made = seconds(record.created_at);
    let mut row = json!({
        "id": record.thing.id(),
        "name": record.thing.name(),
        "project_id": record.project,
        "tenant_id": record.project,
        "description": "",
        "tags": [],
        "revision_number": record.generation,
        "created_at": made,
        "updated_at": record.updated_at.map_or_else(|| made.clone(), seconds),
    });
    if let (Value::Object(row), Value::Object(more)) = (&mut row, more) {
        row.extend(more);
    }
    row
}

fn network(record: &Record<Network>) -> Value {
    let network = &record.thing;
    let provider = record.spec.provider.as_ref();
    common(
        record,
        json!({
            "admin_state_up": network.admin_state_up,
            "status": if network.admin_state_up { "ACTIVE" } else { "DOWN" },
            "shared": network.shared,
            "router:external": false,
            "mtu": network.mtu.unwrap_or(1500),
            "subnets": network.subnets,
            "dns_domain": record.spec.dns_domain.clone().unwrap_or_default(),
            "tags": record.spec.tags,
            "port_security_enabled": false,
            "is_default": false,
            "availability_zones": ["nova"],
            "availability_zone_hints": [],
            // All networks are on the wire of the machines.
            "provider:network_type": provider.map_or("flat", |provider| provider.0.as_str()),
            "provider:physical_network": provider.and_then(|provider| provider.1.clone()),
            "provider:segmentation_id": provider.and_then(|provider| provider.2),
        }),
    )
}

fn subnet(record: &Record<Subnet>) -> Value {
    let subnet = &record.thing;
    let pools: Vec<_> = subnet
        .allocation_pools
        .iter()
        .map(|(first, last)| json!({"start": first, "end": last}))
        .collect();
    let routes: Vec<_> = subnet
        .host_routes
        .iter()
        .map(|(net, hop)| json!({"destination": net, "nexthop": hop}))
        .collect();
    common(
        record,
        json!({
            "network_id": subnet.network_id,
            "ip_version": if subnet.cidr.addr().is_ipv4() { 4 } else { 6 },
            "cidr": subnet.cidr,
            "gateway_ip": subnet.gateway,
            "enable_dhcp": subnet.enable_dhcp,
            "dns_nameservers": subnet.dns_nameservers,
            "allocation_pools": pools,
            "host_routes": routes,
            "tags": record.spec.tags,
            "ipv6_address_mode": null,
            "ipv6_ra_mode": null,
            "subnetpool_id": null,
            "segment_id": null,
            "service_types": [],
        }),
    )
}

fn port(record: &Record<Port>) -> Value {
    let port = &record.thing;
    let fixed = port.fixed_addresses.iter();
    let fixed: Vec<_> = fixed
        .map(|one| json!({"subnet_id": one.subnet_id, "ip_address": one.address}))
        .collect();
    let pairs = record.spec.allowed_address_pairs.iter();
    let pairs: Vec<_> = pairs
        .map(|(address, mac)| json!({"ip_address": address, "mac_address": mac}))
        .collect();
    common(
        record,
        json!({
            "network_id": port.network_id,
            "mac_address": port.mac,
            "fixed_ips": fixed,
            "status": port.status,
            "admin_state_up": port.admin_state_up,
            "device_id": port.device_id.clone().unwrap_or_default(),
            "device_owner": if port.device_id.is_some() { "compute:nova" } else { "" },
            "security_groups": port.security_groups,
            "allowed_address_pairs": pairs,
            "port_security_enabled": false,
            "binding:vnic_type": record.spec.vnic_type.as_deref().unwrap_or("baremetal"),
            "extra_dhcp_opts": [],
            "tags": record.spec.tags,
        }),
    )
}
