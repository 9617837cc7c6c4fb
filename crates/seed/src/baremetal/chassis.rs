//! Chassis.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use baremetal::{Chassis, MetalError, Object};
use http::StatusCode;
use openstack_api::{ApiError, JsonBody};
use serde_json::Value;
use uuid::Uuid;

use super::ask::Ask;
use super::patch::Patch;
use super::ports::{created, filled, patched, path_id};
use super::query::{Listing, Shown, fields, known, select};
use super::rights::admin;
use super::schema::{CHASSIS, creation};
use super::{Api, fault, nodes as node_lists, view};

const SHORT: &[&str] = &["uuid", "description"];

type Answer = Result<Json<Value>, ApiError>;

pub(super) async fn list(ask: Ask, State(api): State<Api>) -> Answer {
    listed(&api, &ask, "chassis", false).await
}

pub(super) async fn detail(ask: Ask, State(api): State<Api>) -> Answer {
    listed(&api, &ask, "chassis/detail", true).await
}

async fn listed(api: &Api, ask: &Ask, path: &str, detail: bool) -> Answer {
    admin(ask, "chassis:get")?;
    let listing = Listing::read(ask, CHASSIS, "chassis", &[], detail)?;
    let all = api.metal.chassis().await.map_err(fault::of)?;
    let documents = all
        .iter()
        .map(|chassis| view::chassis(ask, chassis))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Json(listing.answer(ask, path, documents, SHORT)?))
}

async fn one(api: &Api, ask: &Ask, ident: &str, what: &str) -> Result<Chassis, ApiError> {
    admin(ask, what)?;
    let id = path_id("chassis", ident)?;
    api.metal.one_chassis(id).await.map_err(fault::of)
}

pub(super) async fn show(ask: Ask, State(api): State<Api>, Path(ident): Path<String>) -> Answer {
    known(&ask, &["fields"])?;
    let shown = fields(&ask, CHASSIS)?.map_or(Shown::All, Shown::These);
    let chassis = one(&api, &ask, &ident, "chassis:get").await?;
    let document = view::chassis(&ask, &chassis)?;
    Ok(Json(Value::Object(select(document, &shown, SHORT))))
}

pub(super) async fn nodes(ask: Ask, State(api): State<Api>, Path(ident): Path<String>) -> Answer {
    let id = one(&api, &ask, &ident, "chassis:get").await?.uuid;
    let path = format!("chassis/{id}/nodes");
    node_lists::listed(&api, &ask, &path, false, |node| {
        node.chassis_uuid == Some(id)
    })
    .await
}

pub(super) async fn nodes_detail(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
) -> Answer {
    let id = one(&api, &ask, &ident, "chassis:get").await?.uuid;
    let path = format!("chassis/{id}/nodes/detail");
    node_lists::listed(&api, &ask, &path, true, |node| {
        node.chassis_uuid == Some(id)
    })
    .await
}

pub(super) async fn create(
    ask: Ask,
    State(api): State<Api>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, ApiError> {
    admin(&ask, "chassis:create")?;
    let given = creation(CHASSIS, body, ask.version)?;
    let blank = Chassis {
        uuid: Uuid::new_v4(),
        description: None,
        extra: Object::new(),
        created_at: api.metal.now(),
        updated_at: None,
    };
    let chassis = filled(&blank, given)?;
    let chassis = api.metal.create_chassis(chassis).await.map_err(fault::of)?;
    let document = view::chassis(&ask, &chassis)?;
    Ok(created(
        &ask,
        &format!("chassis/{}", chassis.uuid),
        document,
    ))
}

pub(super) async fn update(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    let patch = Patch::read(CHASSIS, &body, ask.version)?;
    let chassis = one(&api, &ask, &ident, "chassis:update").await?;
    patched(&patch, &chassis)?;
    let change = move |chassis: &mut Chassis| {
        *chassis = patched(&patch, chassis).map_err(|error| MetalError::Invalid(error.message))?;
        Ok(())
    };
    let chassis = api
        .metal
        .update_chassis(chassis.uuid, change)
        .await
        .map_err(fault::of)?;
    Ok(Json(Value::Object(view::chassis(&ask, &chassis)?)))
}

pub(super) async fn delete(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = one(&api, &ask, &ident, "chassis:delete").await?.uuid;
    api.metal.delete_chassis(id).await.map_err(fault::of)?;
    Ok(StatusCode::NO_CONTENT)
}
