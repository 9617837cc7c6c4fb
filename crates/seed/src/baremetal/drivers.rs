//! Drivers and the server that runs them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use baremetal::{Hardware, INTERFACE_KINDS, Object};
use openstack_api::{ApiError, time};
use serde_json::{Value, json};

use super::Api;
use super::ask::Ask;
use super::rights::admin;

type Answer = Result<Json<Value>, ApiError>;

fn driver(api: &Api, name: &str) -> Result<Arc<dyn Hardware>, ApiError> {
    api.metal
        .driver(name)
        .cloned()
        .ok_or_else(|| ApiError::not_found(format!("Failed to load driver {name}.")))
}

fn view(api: &Api, ask: &Ask, hardware: &dyn Hardware, detail: bool) -> Value {
    let path = format!("drivers/{}", hardware.name());
    let mut shown = Object::from_iter([
        ("name".to_owned(), json!(hardware.name())),
        ("hosts".to_owned(), json!([api.metal.settings().host])),
        ("links".to_owned(), ask.links(&path)),
    ]);
    if ask.since(14) {
        shown.insert(
            "properties".into(),
            ask.links(&format!("{path}/properties")),
        );
    }
    if ask.since(30) {
        shown.insert("type".into(), json!("dynamic"));
    }
    if detail && ask.since(30) {
        for kind in INTERFACE_KINDS.iter().filter(|kind| **kind != "firmware") {
            let names = hardware.interfaces(kind);
            shown.insert(format!("default_{kind}_interface"), json!(names.first()));
            shown.insert(format!("enabled_{kind}_interfaces"), json!(names));
        }
    }
    Value::Object(shown)
}

pub(super) async fn list(ask: Ask, State(api): State<Api>) -> Answer {
    admin(&ask, "driver:get")?;
    let detail = ask.params.flag("detail")?.unwrap_or(false);
    let kind = ask.params.get("type");
    if let Some(kind) = kind
        && !["classic", "dynamic"].contains(&kind)
    {
        return Err(ApiError::bad_request(
            "\"type\" filter must be one of \"classic\" or \"dynamic\", if specified.",
        ));
    }
    let drivers: Vec<Value> = api
        .metal
        .drivers()
        .filter(|_| kind != Some("classic"))
        .map(|hardware| view(&api, &ask, hardware.as_ref(), detail))
        .collect();
    Ok(Json(json!({"drivers": drivers})))
}

pub(super) async fn show(ask: Ask, State(api): State<Api>, Path(name): Path<String>) -> Answer {
    admin(&ask, "driver:get")?;
    let hardware = driver(&api, &name)?;
    Ok(Json(view(&api, &ask, hardware.as_ref(), true)))
}

pub(super) async fn properties(
    ask: Ask,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Answer {
    admin(&ask, "driver:get_properties")?;
    let hardware = driver(&api, &name)?;
    let properties: Object = hardware
        .settings()
        .iter()
        .map(|(key, text)| ((*key).to_owned(), json!(text)))
        .collect();
    Ok(Json(Value::Object(properties)))
}

pub(super) async fn raid_properties(
    ask: Ask,
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Answer {
    admin(&ask, "driver:get_raid_logical_disk_properties")?;
    driver(&api, &name)?;
    Ok(Json(json!({
        "size_gb": "Size in GiB, or MAX. Required.",
        "raid_level": "RAID level. Required.",
        "is_root_volume": "Whether the system is to be put there.",
    })))
}

pub(super) async fn conductors(ask: Ask, State(api): State<Api>) -> Answer {
    admin(&ask, "conductor:get")?;
    Ok(Json(
        json!({"conductors": [conductor_view(&api, &ask, false)]}),
    ))
}

pub(super) async fn conductor(
    ask: Ask,
    State(api): State<Api>,
    Path(host): Path<String>,
) -> Answer {
    admin(&ask, "conductor:get")?;
    if host != api.metal.settings().host {
        return Err(ApiError::not_found(format!(
            "Conductor {host} could not be found."
        )));
    }
    Ok(Json(conductor_view(&api, &ask, true)))
}

fn conductor_view(api: &Api, ask: &Ask, detail: bool) -> Value {
    let host = &api.metal.settings().host;
    let mut shown = json!({
        "hostname": host,
        "conductor_group": "",
        "alive": true,
        "links": ask.links(&format!("conductors/{host}")),
    });
    if detail {
        let names: Vec<&str> = api
            .metal
            .drivers()
            .map(|hardware| hardware.name())
            .collect();
        shown["drivers"] = json!(names);
        shown["created_at"] = json!(time::offset(api.metal.now()));
        shown["updated_at"] = json!(time::offset(api.metal.now()));
    }
    shown
}
