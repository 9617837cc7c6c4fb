//! Flavors and what they ask for.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use cloud_metal::{Flavor, MetalCloud};
use http::StatusCode;
use openstack_api::{ApiError, Caller, JsonBody, Origin, Params, new_uuid};
use serde_json::{Map, Value, json};

use super::{Answer, failed};
use crate::network::list::chosen;

fn row(flavor: &Flavor, origin: &Origin) -> Value {
    let base = origin.base();
    json!({
        "id": flavor.id,
        "name": flavor.name,
        "vcpus": flavor.vcpus,
        "ram": flavor.ram,
        "disk": flavor.disk,
        "swap": "",
        "rxtx_factor": 1.0,
        "OS-FLV-EXT-DATA:ephemeral": 0,
        "OS-FLV-DISABLED:disabled": false,
        "os-flavor-access:is_public": true,
        "links": [
            {"rel": "self", "href": format!("{base}/v2.1/flavors/{}", flavor.id)},
            {"rel": "bookmark", "href": format!("{base}/flavors/{}", flavor.id)},
        ],
    })
}

/// Paging by `marker` and `limit`; all flavors are for everybody.
fn page(flavors: &[Flavor], origin: &Origin, params: &Params) -> Result<Vec<Value>, ApiError> {
    let kept = params
        .iter()
        .filter(|(name, _)| matches!(*name, "limit" | "marker"));
    let kept = Params(
        kept.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    );
    chosen(
        flavors.iter().map(|flavor| row(flavor, origin)).collect(),
        &kept,
    )
}

/// Ids and names.
pub async fn index(
    State(cloud): State<MetalCloud>,
    Extension(origin): Extension<Origin>,
    params: Params,
) -> Answer {
    let rows = page(&cloud.flavors().await.map_err(failed)?, &origin, &params)?;
    let short = rows
        .iter()
        .map(|row| json!({"id": row["id"], "name": row["name"], "links": row["links"]}));
    Ok(Json(json!({"flavors": short.collect::<Vec<_>>()})))
}

/// All fields.
pub async fn detail(
    State(cloud): State<MetalCloud>,
    Extension(origin): Extension<Origin>,
    params: Params,
) -> Answer {
    Ok(Json(
        json!({"flavors": page(&cloud.flavors().await.map_err(failed)?, &origin, &params)?}),
    ))
}

/// One flavor, by its id.
pub async fn show(
    State(cloud): State<MetalCloud>,
    Path(id): Path<String>,
    Extension(origin): Extension<Origin>,
) -> Answer {
    let flavor = by_id(&cloud, &id).await?;
    Ok(Json(json!({"flavor": row(&flavor, &origin)})))
}

/// Nova shows flavors by id only; clients take a 404 as the word to look among the names.
async fn by_id(cloud: &MetalCloud, id: &str) -> Result<Flavor, ApiError> {
    let flavors = cloud.flavors().await.map_err(failed)?;
    let found = flavors.into_iter().find(|flavor| flavor.id == id);
    found.ok_or_else(|| ApiError::not_found(format!("Flavor {id} could not be found.")))
}

/// Makes a flavor.
pub async fn create(
    State(cloud): State<MetalCloud>,
    Extension(caller): Extension<Caller>,
    Extension(origin): Extension<Origin>,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    caller
        .0
        .require_admin("os_compute_api:os-flavor-manage:create")?;
    let asked = &body["flavor"];
    let number = |name: &str| {
        let value = &asked[name];
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        number.ok_or_else(|| {
            ApiError::bad_request(format!(
                "Invalid input for field/attribute {name}: an integer is expected."
            ))
        })
    };
    let name = asked["name"].as_str().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| {
        ApiError::bad_request("Invalid input for field/attribute name: a text is expected.")
    })?;
    let id = asked["id"]
        .as_str()
        .filter(|id| *id != "auto")
        .map_or_else(new_uuid, str::to_owned);
    let flavor = Flavor {
        id,
        name: name.to_owned(),
        vcpus: number("vcpus")?,
        ram: number("ram")?,
        disk: number("disk")?,
        extra_specs: BTreeMap::new(),
        description: asked["description"].as_str().map(str::to_owned),
    };
    let made = cloud.create_flavor(flavor).await.map_err(failed)?;
    Ok(Json(json!({"flavor": row(&made, &origin)})))
}

/// Removes a flavor.
pub async fn delete(
    State(cloud): State<MetalCloud>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Result<StatusCode, ApiError> {
    caller
        .0
        .require_admin("os_compute_api:os-flavor-manage:delete")?;
    let flavor = by_id(&cloud, &id).await?;
    cloud.delete_flavor(&flavor.id).await.map_err(failed)?;
    Ok(StatusCode::ACCEPTED)
}

/// What a flavor asks for.
pub async fn specs(State(cloud): State<MetalCloud>, Path(id): Path<String>) -> Answer {
    Ok(Json(
        json!({"extra_specs": by_id(&cloud, &id).await?.extra_specs}),
    ))
}

/// One thing that a flavor asks for.
pub async fn spec(
    State(cloud): State<MetalCloud>,
    Path((id, name)): Path<(String, String)>,
) -> Answer {
    let flavor = by_id(&cloud, &id).await?;
    match flavor.extra_specs.get(&name) {
        Some(value) => Ok(Json(json!({name: value}))),
        None => Err(no_spec(&id, &name)),
    }
}

fn no_spec(id: &str, name: &str) -> ApiError {
    ApiError::not_found(format!("Flavor {id} has no extra specs with key {name}."))
}

/// Lets a flavor ask for more.
pub async fn add_specs(
    State(cloud): State<MetalCloud>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    caller
        .0
        .require_admin("os_compute_api:os-flavor-extra-specs:create")?;
    let asked = body["extra_specs"].as_object();
    let asked =
        asked.ok_or_else(|| ApiError::bad_request("'extra_specs' is a required property"))?;
    let text = |(name, value): (&String, &Value)| {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        (name.clone(), value)
    };
    let more: BTreeMap<String, String> = asked.iter().map(text).collect();
    let shown: Map<String, Value> = more
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    let flavor = by_id(&cloud, &id).await?;
    cloud
        .change_flavor_specs(&flavor.id, |specs| specs.extend(more))
        .await
        .map_err(failed)?;
    Ok(Json(json!({"extra_specs": shown})))
}

/// Lets a flavor ask for less.
pub async fn remove_spec(
    State(cloud): State<MetalCloud>,
    Path((id, name)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
) -> Result<StatusCode, ApiError> {
    caller
        .0
        .require_admin("os_compute_api:os-flavor-extra-specs:delete")?;
    let flavor = by_id(&cloud, &id).await?;
    if !flavor.extra_specs.contains_key(&name) {
        return Err(no_spec(&id, &name));
    }
    let gone = name.clone();
    let changed = cloud
        .change_flavor_specs(&flavor.id, move |specs| drop(specs.remove(&gone)))
        .await;
    changed.map(|_| StatusCode::OK).map_err(failed)
}
