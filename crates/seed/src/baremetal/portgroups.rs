//! Port groups.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use baremetal::{MetalError, NodeId, Object, PortGroup};
use http::StatusCode;
use openstack_api::{ApiError, JsonBody};
use serde_json::Value;
use uuid::Uuid;

use super::ask::Ask;
use super::patch::Patch;
use super::ports::{created, filled, patched, visible};
use super::query::{Listing, Shown, fields, known, select};
use super::rights::{Act, admin};
use super::schema::{PORTGROUP, creation};
use super::{Api, fault, ports, view};

const SHORT: &[&str] = &["uuid", "address", "name"];

type Answer = Result<Json<Value>, ApiError>;

pub(super) async fn list(ask: Ask, State(api): State<Api>) -> Answer {
    listed(&api, &ask, "portgroups", false, None).await
}

pub(super) async fn detail(ask: Ask, State(api): State<Api>) -> Answer {
    listed(&api, &ask, "portgroups/detail", true, None).await
}

pub(super) async fn of_node(ask: Ask, State(api): State<Api>, Path(ident): Path<String>) -> Answer {
    let node = api.node(&ask, &ident, Act::See).await?;
    let path = format!("nodes/{}/portgroups", node.uuid);
    listed(&api, &ask, &path, false, Some(node.uuid)).await
}

pub(super) async fn of_node_detail(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
) -> Answer {
    let node = api.node(&ask, &ident, Act::See).await?;
    let path = format!("nodes/{}/portgroups/detail", node.uuid);
    listed(&api, &ask, &path, true, Some(node.uuid)).await
}

async fn listed(api: &Api, ask: &Ask, path: &str, detail: bool, of: Option<NodeId>) -> Answer {
    let listing = Listing::read(ask, PORTGROUP, "portgroups", &["node", "address"], detail)?;
    let mut node = of;
    if let Some(ident) = ask.params.get("node") {
        node = Some(api.node(ask, ident, Act::See).await?.uuid);
    }
    let address = ask.params.get("address").map(str::to_lowercase);
    let seen = visible(api, ask).await?;
    let groups = api.metal.portgroups(node).await.map_err(fault::of)?;
    let documents = groups
        .iter()
        .filter(|group| {
            seen.as_ref()
                .is_none_or(|them| them.contains(&group.node_uuid))
        })
        .filter(|group| address.is_none() || group.address == address)
        .map(|group| view::portgroup(ask, group))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Json(listing.answer(ask, path, documents, SHORT)?))
}

async fn one(api: &Api, ask: &Ask, ident: &str) -> Result<PortGroup, ApiError> {
    let group = api.metal.find_portgroup(ident).await.map_err(fault::of)?;
    if !ask.caller.is_admin() {
        api.node(ask, &group.node_uuid.to_string(), Act::See)
            .await
            .map_err(|_| ApiError::not_found(format!("Portgroup {ident} could not be found.")))?;
    }
    Ok(group)
}

pub(super) async fn show(ask: Ask, State(api): State<Api>, Path(ident): Path<String>) -> Answer {
    known(&ask, &["fields"])?;
    let shown = fields(&ask, PORTGROUP)?.map_or(Shown::All, Shown::These);
    let group = one(&api, &ask, &ident).await?;
    let document = view::portgroup(&ask, &group)?;
    Ok(Json(Value::Object(select(document, &shown, SHORT))))
}

pub(super) async fn ports(ask: Ask, State(api): State<Api>, Path(ident): Path<String>) -> Answer {
    let id = one(&api, &ask, &ident).await?.uuid;
    let path = format!("portgroups/{id}/ports");
    ports::listed(&api, &ask, &path, false, None, |port| {
        port.portgroup_uuid == Some(id)
    })
    .await
}

pub(super) async fn ports_detail(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
) -> Answer {
    let id = one(&api, &ask, &ident).await?.uuid;
    let path = format!("portgroups/{id}/ports/detail");
    ports::listed(&api, &ask, &path, true, None, |port| {
        port.portgroup_uuid == Some(id)
    })
    .await
}

pub(super) async fn create(
    ask: Ask,
    State(api): State<Api>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, ApiError> {
    admin(&ask, "portgroup:create")?;
    let given = creation(PORTGROUP, body, ask.version)?;
    if !given.contains_key("node_uuid") {
        return Err(ApiError::bad_request("'node_uuid' is a required property"));
    }
    let blank = PortGroup {
        uuid: Uuid::new_v4(),
        address: None,
        node_uuid: NodeId::new(),
        name: None,
        mode: "active-backup".into(),
        properties: Object::new(),
        standalone_ports_supported: true,
        extra: Object::new(),
        internal_info: Object::new(),
        created_at: api.metal.now(),
        updated_at: None,
    };
    let group = filled(&blank, given)?;
    let group = api.metal.create_portgroup(group).await.map_err(fault::of)?;
    let document = view::portgroup(&ask, &group)?;
    Ok(created(
        &ask,
        &format!("portgroups/{}", group.uuid),
        document,
    ))
}

pub(super) async fn update(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    admin(&ask, "portgroup:update")?;
    let patch = Patch::read(PORTGROUP, &body, ask.version)?;
    let group = one(&api, &ask, &ident).await?;
    patched(&patch, &group)?;
    let change = move |group: &mut PortGroup| {
        *group = patched(&patch, group).map_err(|error| MetalError::Invalid(error.message))?;
        Ok(())
    };
    let group = api
        .metal
        .update_portgroup(group.uuid, change)
        .await
        .map_err(fault::of)?;
    Ok(Json(Value::Object(view::portgroup(&ask, &group)?)))
}

pub(super) async fn delete(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
) -> Result<StatusCode, ApiError> {
    admin(&ask, "portgroup:delete")?;
    let id = one(&api, &ask, &ident).await?.uuid;
    api.metal.delete_portgroup(id).await.map_err(fault::of)?;
    Ok(StatusCode::NO_CONTENT)
}
