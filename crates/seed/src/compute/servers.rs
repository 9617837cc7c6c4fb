//! Servers, and the nodes that they run on.

use axum::extract::{Path, State};
use axum::{Extension, Json};
use baremetal::{Node, Power};
use cloud_metal::{MetalCloud, ServerState};
use openstack_api::time::seconds;
use openstack_api::{ApiError, Caller, Origin, Params};
use serde_json::{Map, Value, json};

use super::{Answer, failed};
use crate::network::list::chosen;

/// The servers that a caller may see: those of its project, and all for an admin who asks for all.
async fn rows(
    cloud: &MetalCloud,
    caller: &Caller,
    origin: &Origin,
    params: &Params,
) -> Result<Vec<Value>, ApiError> {
    let all = params.flag("all_tenants")?.unwrap_or_default();
    if all {
        caller
            .0
            .require_admin("os_compute_api:servers:index:get_all_tenants")?;
    }
    let servers = cloud.servers().await.map_err(failed)?;
    let seen = servers
        .iter()
        .filter(|one| all || caller.0.project_id() == Some(&one.record.project));
    let rows: Vec<Value> = seen.map(|one| row(one, origin)).collect();
    // Nova reads names as patterns and states in any case; anything else that it filters by is a field here.
    let name = params
        .get("name")
        .unwrap_or_default()
        .trim_start_matches('^')
        .trim_end_matches('$');
    let status = params.get("status").map(str::to_uppercase);
    let fits = |row: &Value| {
        row["name"].as_str().unwrap_or_default().contains(name)
            && status
                .as_ref()
                .is_none_or(|status| row["status"] == json!(status))
    };
    let rows = rows.into_iter().filter(fits).collect();
    let rest = params
        .iter()
        .filter(|(name, _)| !matches!(*name, "name" | "status" | "changes-since"));
    let rest = Params(
        rest.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    );
    chosen(rows, &rest)
}

/// Ids and names.
pub async fn index(
    State(cloud): State<MetalCloud>,
    Extension(caller): Extension<Caller>,
    Extension(origin): Extension<Origin>,
    params: Params,
) -> Answer {
    let rows = rows(&cloud, &caller, &origin, &params).await?;
    let short = rows
        .iter()
        .map(|row| json!({"id": row["id"], "name": row["name"], "links": row["links"]}));
    Ok(Json(json!({"servers": short.collect::<Vec<_>>()})))
}

/// All fields.
pub async fn detail(
    State(cloud): State<MetalCloud>,
    Extension(caller): Extension<Caller>,
    Extension(origin): Extension<Origin>,
    params: Params,
) -> Answer {
    Ok(Json(
        json!({"servers": rows(&cloud, &caller, &origin, &params).await?}),
    ))
}

async fn one(cloud: &MetalCloud, id: &str, caller: &Caller) -> Result<ServerState, ApiError> {
    let servers = cloud.servers().await.map_err(failed)?;
    let sees = |one: &ServerState| {
        caller.0.is_admin() || caller.0.project_id() == Some(&one.record.project)
    };
    let found = servers
        .into_iter()
        .find(|one| one.record.thing.id == id && sees(one));
    found.ok_or_else(|| ApiError::not_found(format!("Instance {id} could not be found.")))
}

/// One server.
pub async fn show(
    State(cloud): State<MetalCloud>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    Extension(origin): Extension<Origin>,
) -> Answer {
    Ok(Json(
        json!({"server": row(&one(&cloud, &id, &caller).await?, &origin)}),
    ))
}

/// The ports of a server.
pub async fn interfaces(
    State(cloud): State<MetalCloud>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    let server = one(&cloud, &id, &caller).await?;
    let ports = cloud.ports().await.map_err(failed)?;
    let own = ports
        .iter()
        .filter(|port| port.thing.device_id.as_ref() == Some(&server.record.thing.id));
    let shown = own.map(|port| {
        let fixed = port.thing.fixed_addresses.iter();
        let fixed: Vec<_> = fixed.map(|one| json!({"subnet_id": one.subnet_id, "ip_address": one.address})).collect();
        json!({"port_id": port.thing.id, "net_id": port.thing.network_id, "mac_addr": port.thing.mac,
            "port_state": port.thing.status, "fixed_ips": fixed})
    });
    Ok(Json(
        json!({"interfaceAttachments": shown.collect::<Vec<_>>()}),
    ))
}

fn row(state: &ServerState, origin: &Origin) -> Value {
    let (record, server, base) = (&state.record, &state.record.thing, origin.base());
    let links =
        |kind: &str, id: &str| json!([{"rel": "bookmark", "href": format!("{base}/{kind}/{id}")}]);
    let named = |kind: &str, id: &Option<String>| match id {
        Some(id) => json!({"id": id, "links": links(kind, id)}),
        None => json!(""),
    };
    let made = seconds(record.created_at);
    let (vm, power) = words(state);
    let host = json!(server.host);
    let mut row = json!({
        "id": server.id,
        "name": server.name,
        "status": server.status,
        "tenant_id": record.project,
        "user_id": "",
        "created": made,
        "updated": record.updated_at.map_or(made, seconds),
        "metadata": server.metadata,
        "addresses": addresses(state),
        "image": named("images", &server.image_id),
        "flavor": named("flavors", &server.flavor_id),
        "key_name": record.spec.key_name,
        "hostId": state.node.as_ref().map_or_else(String::new, |node| node.uuid.to_string()),
        "accessIPv4": "",
        "accessIPv6": "",
        "config_drive": "True",
        "progress": 0,
        "OS-DCF:diskConfig": "MANUAL",
        "OS-EXT-AZ:availability_zone": "nova",
        "OS-EXT-SRV-ATTR:host": host,
        "OS-EXT-SRV-ATTR:hypervisor_hostname": host,
        "OS-EXT-SRV-ATTR:instance_name": server.name,
        "OS-EXT-STS:vm_state": vm,
        "OS-EXT-STS:power_state": power,
        "OS-EXT-STS:task_state": state.waits,
        "OS-SRV-USG:launched_at": null,
        "OS-SRV-USG:terminated_at": null,
        "os-extended-volumes:volumes_attached": [],
        "links": [
            {"rel": "self", "href": format!("{base}/v2.1/servers/{}", server.id)},
            {"rel": "bookmark", "href": format!("{base}/servers/{}", server.id)},
        ],
    });
    if let Some(why) = &state.fault {
        row["fault"] = json!({"code": 500, "message": why, "created": row["updated"]});
    }
    row
}

/// Nova's words for what a server is, and its number for the power.
fn words(state: &ServerState) -> (&'static str, u8) {
    let vm = match state.record.thing.status.as_str() {
        "ACTIVE" | "REBOOT" => "active",
        "SHUTOFF" => "stopped",
        "ERROR" => "error",
        "DELETED" => "deleted",
        _ => "building",
    };
    let power = match state.node.as_ref().and_then(|node| node.power_state) {
        Some(Power::On) => 1,
        Some(Power::Off) => 4,
        Some(Power::Error) | None => 0,
    };
    (vm, power)
}

fn addresses(state: &ServerState) -> Value {
    let mut networks = Map::new();
    for one in &state.record.thing.addresses {
        let shown = json!({
            "addr": one.address,
            "version": if one.address.is_ipv4() { 4 } else { 6 },
            "OS-EXT-IPS:type": if one.floating { "floating" } else { "fixed" },
            "OS-EXT-IPS-MAC:mac_addr": one.mac,
        });
        let list = networks
            .entry(one.network.clone())
            .or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.push(shown);
        }
    }
    Value::Object(networks)
}

async fn machines(cloud: &MetalCloud, caller: &Caller) -> Result<Vec<Value>, ApiError> {
    caller.0.require_admin("os_compute_api:os-hypervisors")?;
    let nodes = cloud
        .nodes()
        .nodes()
        .await
        .map_err(|error| ApiError::internal(&error))?;
    Ok(nodes
        .iter()
        .enumerate()
        .map(|(number, node)| machine(number + 1, node))
        .collect())
}

/// Nodes as hypervisors.
pub async fn hypervisors(
    State(cloud): State<MetalCloud>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    Ok(Json(
        json!({"hypervisors": machines(&cloud, &caller).await?}),
    ))
}

/// One node as a hypervisor: by its number, its identity or its name.
pub async fn hypervisor(
    State(cloud): State<MetalCloud>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    let rows = machines(&cloud, &caller).await?;
    let number = id.parse::<u64>().ok();
    let is = |row: &&Value| {
        number.is_some() && row["id"].as_u64() == number || row["hypervisor_hostname"] == json!(id)
    };
    match rows.iter().find(is) {
        Some(row) => Ok(Json(json!({"hypervisor": row}))),
        None => Err(ApiError::not_found(format!(
            "Hypervisor with ID '{id}' could not be found."
        ))),
    }
}

fn machine(number: usize, node: &Node) -> Value {
    let count = |name: &str| node.number(name).unwrap_or(0);
    let used = u64::from(node.instance_uuid.is_some());
    let (cpus, memory, disk) = (count("cpus"), count("memory_mb"), count("local_gb"));
    json!({
        "id": number,
        "hypervisor_hostname": node.name.clone().unwrap_or_else(|| node.uuid.to_string()),
        "hypervisor_type": "ironic",
        "hypervisor_version": 1,
        "state": "up",
        "status": if node.maintenance { "disabled" } else { "enabled" },
        "host_ip": "",
        "vcpus": cpus,
        "vcpus_used": cpus * used,
        "memory_mb": memory,
        "memory_mb_used": memory * used,
        "free_ram_mb": memory * (1 - used),
        "local_gb": disk,
        "local_gb_used": disk * used,
        "free_disk_gb": disk * (1 - used),
        "disk_available_least": disk * (1 - used),
        "running_vms": used,
        "current_workload": 0,
        "cpu_info": "{}",
        "service": {"id": number, "host": "seed", "disabled_reason": node.maintenance_reason},
    })
}
