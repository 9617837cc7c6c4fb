//! `OS::Nova::Server` and `OS::Heat::DeployedServer`.
//!
//! A server with a software configuration transport gets an account or a key pair, and each one with
//! `user_data_format: SOFTWARE_CONFIG` a metadata URL with a secret, coined with the row.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cloud::{Attachment, Secret, Server, ServerSpec};
use hot::{Map, Value};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{Outcome, Started, Work, accounts, coin, gone, pairs, parse, seen, text, texts};
use crate::api::Action;
use crate::failure::Failure;
use crate::model::{ALPHANUMERIC, Row, random_text};

const SOFTWARE: &str = "SOFTWARE_CONFIG";

pub(super) fn start(row: &mut Row) -> Started {
    let deployed = row.plugin == "OS::Heat::DeployedServer";
    let software = deployed || text(&row.properties, "user_data_format") == Some(SOFTWARE);
    if software && matches!(row.action, Action::Create | Action::Adopt) {
        coin(row, "metadata_secret", || random_text(40, ALPHANUMERIC));
        accounts::coin_account(row);
    }
    if deployed {
        coin(row, "server_id", || Uuid::new_v4().to_string());
        row.physical_id = row.note("server_id").map(str::to_owned);
    }
    match row.action {
        // There is nothing to be put to sleep that a cloud of this kind could wake again.
        Action::Suspend | Action::Resume => Started::Done,
        _ => Started::Call,
    }
}

/// Whether two servers want the same port.
pub(super) fn shares_port(old: &Map, new: &Map) -> bool {
    let ports = |properties: &Map| -> Vec<String> {
        let networks = properties
            .get("networks")
            .and_then(Value::as_list)
            .unwrap_or_default();
        let ports = networks
            .iter()
            .filter_map(|item| item.get("port").and_then(Value::as_text));
        ports
            .filter(|port| !port.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let wanted = ports(new);
    ports(old).iter().any(|port| wanted.contains(port))
}

pub(super) async fn step(work: &Work) -> Result<Outcome, Failure> {
    let row = &work.row;
    let cloud = work.cloud();
    let name = work.physical();
    match row.action {
        Action::Delete => {
            let mut outcome = gone(cloud.remove_server(&name, &work.order()).await)?;
            if outcome.wait.is_none() {
                accounts::remove(work, &mut outcome).await?;
            }
            return Ok(outcome);
        }
        Action::Check => {
            let found = cloud.server(&name).await.map_err(Failure::from)?;
            let message = "the server is not there any more";
            return match found {
                Some(_) => Ok(Outcome::default()),
                None => Err(Failure::new("NotFound", message)),
            };
        }
        _ => {}
    }
    let mut account = Outcome::default();
    let collect = collect_config(work, &mut account).await?;
    if row.action == Action::Adopt {
        return adopted(work, account, collect).await;
    }
    let want = spec(work).await?;
    let order = work.order();
    let before = work.before();
    let rebuilds =
        row.action == Action::Update && before.get("image") != row.properties.get("image");
    let answer = if rebuilds {
        let preserve =
            text(&row.properties, "image_update_policy") == Some("REBUILD_PRESERVE_EPHEMERAL");
        cloud.rebuild_server(&name, &want, preserve, &order).await
    } else {
        cloud.ensure_server(&name, &want, &order).await
    };
    let mut outcome = seen(answer, "server", |server: &Server| server.id.clone())?;
    outcome.notes.extend(account.notes);
    outcome.puts.extend(account.puts);
    if let Some(collect) = collect {
        outcome
            .notes
            .insert("os_collect_config".to_owned(), collect);
    }
    Ok(outcome)
}

/// A server that is taken over must be there; nothing of it is changed.
async fn adopted(
    work: &Work,
    mut outcome: Outcome,
    collect: Option<Json>,
) -> Result<Outcome, Failure> {
    let found = work.cloud().server(&work.physical()).await;
    let Some(server) = found.map_err(Failure::from)? else {
        return Err(Failure::new(
            "NotFound",
            "there is no such server to be taken over",
        ));
    };
    let shown = serde_json::to_value(&server).unwrap_or_default();
    outcome.notes.insert("server".to_owned(), shown);
    outcome.physical_id = Some(server.id);
    let collect = collect.map(|collect| ("os_collect_config".to_owned(), collect));
    outcome.notes.extend(collect);
    Ok(outcome)
}

pub(super) async fn step_deployed(work: &Work) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    if work.row.action == Action::Delete {
        accounts::remove(work, &mut outcome).await?;
        return Ok(outcome);
    }
    if let Some(collect) = collect_config(work, &mut outcome).await? {
        outcome
            .notes
            .insert("os_collect_config".to_owned(), collect);
    }
    Ok(outcome)
}

/// What os-collect-config on the server is told, and the account that goes with it.
async fn collect_config(work: &Work, outcome: &mut Outcome) -> Result<Option<Json>, Failure> {
    let row = &work.row;
    let Some(secret) = row.note("metadata_secret") else {
        return Ok(None);
    };
    let endpoints = &work.setup.endpoints;
    let transport = text(&row.properties, "software_config_transport").unwrap_or_default();
    let note = |key: &str| row.note(key).unwrap_or_default().to_owned();
    let collect = match transport {
        "POLL_SERVER_HEAT" => {
            let user_id = accounts::make(work, false, outcome).await?;
            json!({"collectors": ["heat", "local"], "heat": {
                "user_id": user_id, "password": note("password"), "auth_url": endpoints.auth,
                "project_id": work.user_project, "stack_id": work.stack_path(),
                "resource_name": row.name, "region_name": endpoints.region,
            }})
        }
        "POLL_SERVER_CFN" => {
            accounts::make(work, true, outcome).await?;
            json!({"collectors": ["cfn", "local"], "cfn": {
                "metadata_url": format!("{}/", endpoints.cloudformation),
                "access_key_id": note("access_key"), "secret_access_key": note("secret_key"),
                "stack_name": work.stack_name, "path": format!("{}.Metadata", row.name),
            }})
        }
        _ => json!({"collectors": ["request", "local"]}),
    };
    let mut collect = collect;
    let polls = matches!(transport, "POLL_SERVER_HEAT" | "POLL_SERVER_CFN");
    if row.plugin == "OS::Nova::Server" || !polls {
        // Our own agents hold this one open, whatever the transport of upstream's is.
        collect["request"] = json!({"metadata_url": metadata_url(work, secret)});
    }
    Ok(Some(collect))
}

fn metadata_url(work: &Work, secret: &str) -> String {
    format!(
        "{}/{}/{secret}",
        work.setup.endpoints.metadata,
        work.row.node_key()
    )
}

/// The name of a server.
pub(crate) fn server_name(row: &Row) -> &str {
    text(&row.properties, "name").unwrap_or(&row.physical_name)
}

/// The server that the properties describe.
async fn spec(work: &Work) -> Result<ServerSpec, Failure> {
    let row = &work.row;
    let properties = &row.properties;
    let flavor = text(properties, "flavor").unwrap_or_default().to_owned();
    let name = server_name(row).to_owned();
    let secret = row.note("metadata_secret");
    Ok(ServerSpec {
        name,
        image: text(properties, "image").map(str::to_owned),
        flavor,
        key_name: text(properties, "key_name").map(str::to_owned),
        attachments: attachments(properties)?,
        security_groups: texts(properties, "security_groups"),
        user_data: user_data(work).await?,
        config_drive: properties
            .get("config_drive")
            .and_then(Value::as_bool)
            .unwrap_or(true),
        metadata: pairs(properties, "metadata"),
        tags: texts(properties, "tags"),
        scheduler_hints: pairs(properties, "scheduler_hints"),
        availability_zone: text(properties, "availability_zone").map(str::to_owned),
        personality: pairs(properties, "personality"),
        metadata_url: secret.map(|secret| Secret::new(metadata_url(work, secret))),
    })
}

fn attachments(properties: &Map) -> Result<Vec<Attachment>, Failure> {
    let networks = properties
        .get("networks")
        .and_then(Value::as_list)
        .unwrap_or_default();
    let attachment = |item: &Value| {
        let map = item.as_map().cloned().unwrap_or_default();
        let word = |key: &str| text(&map, key).map(str::to_owned);
        let address = word("fixed_ip").map(|given| parse::<IpAddr>("an address", &given));
        Ok(Attachment {
            port: word("port"),
            network: word("network").or_else(|| word("uuid")),
            subnet: word("subnet"),
            fixed_address: address.transpose()?,
            security_groups: Vec::new(),
        })
    };
    networks
        .iter()
        .filter(|item| !item.is_null())
        .map(attachment)
        .collect()
}

/// User data: text, or the text of the software configuration that it names.
async fn user_data(work: &Work) -> Result<Option<String>, Failure> {
    let Some(given) = text(&work.row.properties, "user_data").map(str::to_owned) else {
        return Ok(None);
    };
    if Uuid::parse_str(&given).is_err() {
        return Ok(Some(given));
    }
    let id = given.clone();
    let read = work
        .setup
        .store
        .read(move |tx| crate::deployments::config(tx, None, &id))
        .await;
    Ok(Some(match read {
        Ok(config) => match config.config.config {
            Json::String(text) => text,
            document => document.to_string(),
        },
        Err(crate::EngineError::NotFound { .. }) => given,
        Err(error) => return Err(Failure::new("Error", error.to_string())),
    }))
}

pub(super) fn attribute(row: &Row, name: &str) -> Option<Value> {
    if name == "os_collect_config" {
        return row.notes.get("os_collect_config").map(Value::from_json);
    }
    if row.plugin == "OS::Heat::DeployedServer" {
        return match name {
            "name" => Some(Value::text(server_name(row))),
            _ => None,
        };
    }
    let server: Server = serde_json::from_value(row.notes.get("server")?.clone()).ok()?;
    Some(match name {
        "name" => Value::text(server.name),
        "show" => Value::from_json(&show(&server)),
        "addresses" => Value::from_json(&addresses(&server, true)),
        "networks" => networks(&server),
        "first_address" => {
            let first = server.addresses.first();
            Value::text(first.map(|one| one.address.to_string()).unwrap_or_default())
        }
        "instance_name" => Value::text(row.physical_name.clone()),
        "accessIPv4" | "accessIPv6" => Value::text(""),
        "tags" => Value::List(
            texts(&row.properties, "tags")
                .into_iter()
                .map(Value::Text)
                .collect(),
        ),
        "console_urls" => Value::Map(Map::new()),
        _ => return None,
    })
}

/// Addresses by the network's name, and again by its id.
fn networks(server: &Server) -> Value {
    let mut by_network = Map::new();
    for names in [true, false] {
        for one in &server.addresses {
            let key = if names { &one.network } else { &one.network_id };
            let entry = by_network
                .entry(key.clone())
                .or_insert_with(|| Value::List(Vec::new()));
            let address = Value::text(one.address.to_string());
            if let Value::List(list) = entry
                && !list.contains(&address)
            {
                list.push(address);
            }
        }
    }
    Value::Map(by_network)
}

fn addresses(server: &Server, with_ids: bool) -> Json {
    let mut by_network: BTreeMap<&str, Vec<Json>> = BTreeMap::new();
    for one in &server.addresses {
        let mut address = json!({
            "addr": one.address.to_string(),
            "version": if one.address.is_ipv4() { 4 } else { 6 },
            "OS-EXT-IPS-MAC:mac_addr": one.mac,
            "OS-EXT-IPS:type": if one.floating { "floating" } else { "fixed" },
        });
        if with_ids {
            address["port"] = one.port_id.clone().into();
        }
        by_network
            .entry(&one.network)
            .or_default()
            .push(address.clone());
        if with_ids {
            by_network.entry(&one.network_id).or_default().push(address);
        }
    }
    json!(by_network)
}

/// The server as Nova shows it, as far as the seam tells.
fn show(server: &Server) -> Json {
    json!({
        "id": server.id,
        "name": server.name,
        "status": server.status,
        "addresses": addresses(server, false),
        "image": server.image_id.as_ref().map(|id| json!({"id": id})),
        "flavor": server.flavor_id.as_ref().map(|id| json!({"id": id})),
        "metadata": server.metadata,
        "OS-EXT-SRV-ATTR:host": server.host,
        "OS-EXT-SRV-ATTR:hypervisor_hostname": server.host,
    })
}
