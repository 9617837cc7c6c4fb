//! Ports, and the virtual interfaces that are attached to them.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use baremetal::{MetalError, Node, NodeId, Object, Port};
use http::{StatusCode, header};
use openstack_api::{ApiError, JsonBody};
use serde_json::{Value, json};
use uuid::Uuid;

use super::ask::Ask;
use super::patch::Patch;
use super::query::{Listing, Shown, fields, id, known, select};
use super::rights::{Act, admin, sees};
use super::schema::{PORT, creation};
use super::{Api, fault, view};

/// The short form of ports.
pub(super) const SHORT: &[&str] = &["uuid", "address"];

type Answer = Result<Json<Value>, ApiError>;

/// The identity that a path names.
pub(super) fn path_id(kind: &str, ident: &str) -> Result<Uuid, ApiError> {
    Uuid::parse_str(ident).map_err(|_| {
        ApiError::bad_request(format!("Expected a UUID of a {kind} but received {ident}."))
    })
}

/// Fills a stored thing with checked fields.
pub(super) fn filled<T>(thing: &T, given: Object) -> Result<T, ApiError>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let mut stored = view::stored(thing)?;
    stored.extend(given);
    serde_json::from_value(Value::Object(stored))
        .map_err(|error| ApiError::bad_request(format!("Invalid value: {error}")))
}

/// 201, where it is, and what it is.
pub(super) fn created(ask: &Ask, path: &str, document: Object) -> Response {
    let location = format!("{}/v1/{path}", ask.base);
    let body = Json(Value::Object(document));
    (StatusCode::CREATED, [(header::LOCATION, location)], body).into_response()
}

pub(super) async fn list(ask: Ask, State(api): State<Api>) -> Answer {
    listed(&api, &ask, "ports", false, None, |_| true).await
}

pub(super) async fn detail(ask: Ask, State(api): State<Api>) -> Answer {
    listed(&api, &ask, "ports/detail", true, None, |_| true).await
}

pub(super) async fn of_node(ask: Ask, State(api): State<Api>, Path(ident): Path<String>) -> Answer {
    node_list(&api, &ask, &ident, false).await
}

pub(super) async fn of_node_detail(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
) -> Answer {
    node_list(&api, &ask, &ident, true).await
}

async fn node_list(api: &Api, ask: &Ask, ident: &str, detail: bool) -> Answer {
    let node = api.node(ask, ident, Act::See).await?;
    let path = format!("nodes/{}/ports", node.uuid);
    listed(api, ask, &path, detail, Some(node.uuid), |_| true).await
}

/// A list of ports, narrowed by its parameters and by what is asked for beside them.
pub(super) async fn listed(
    api: &Api,
    ask: &Ask,
    path: &str,
    detail: bool,
    of: Option<NodeId>,
    keep: impl Fn(&Port) -> bool,
) -> Answer {
    let filters = ["node", "node_uuid", "address", "portgroup", "shard"];
    let listing = Listing::read(ask, PORT, "ports", &filters, detail)?;
    let mut node = of;
    if let Some(ident) = ask.params.get("node") {
        node = Some(api.node(ask, ident, Act::See).await?.uuid);
    }
    if let Some(id) = id(ask, "node_uuid")? {
        node = Some(api.node(ask, &id.to_string(), Act::See).await?.uuid);
    }
    let group = match ask.params.get("portgroup") {
        None => None,
        Some(ident) => Some(
            api.metal
                .find_portgroup(ident)
                .await
                .map_err(fault::of)?
                .uuid,
        ),
    };
    let address = ask.params.get("address").map(str::to_lowercase);
    let visible = visible(api, ask).await?;
    let ports = api.metal.ports(node).await.map_err(fault::of)?;
    let documents = ports
        .iter()
        .filter(|port| {
            visible
                .as_ref()
                .is_none_or(|them| them.contains(&port.node_uuid))
        })
        .filter(|port| {
            address
                .as_ref()
                .is_none_or(|address| port.address == *address)
        })
        .filter(|port| group.is_none() || port.portgroup_uuid == group)
        .filter(|port| keep(port))
        .map(|port| view::port(ask, port))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Json(listing.answer(ask, path, documents, SHORT)?))
}

/// The nodes that somebody sees who does not see all.
pub(super) async fn visible(api: &Api, ask: &Ask) -> Result<Option<Vec<NodeId>>, ApiError> {
    if ask.caller.is_admin() {
        return Ok(None);
    }
    let nodes = api.metal.nodes().await.map_err(fault::of)?;
    let seen = |node: &&Node| sees(ask, node);
    Ok(Some(
        nodes.iter().filter(seen).map(|node| node.uuid).collect(),
    ))
}

async fn one(api: &Api, ask: &Ask, ident: &str) -> Result<Port, ApiError> {
    let id = path_id("port", ident)?;
    let port = api.metal.port(id).await.map_err(fault::of)?;
    if !ask.caller.is_admin() {
        api.node(ask, &port.node_uuid.to_string(), Act::See)
            .await
            .map_err(|_| ApiError::not_found(format!("Port {ident} could not be found.")))?;
    }
    Ok(port)
}

pub(super) async fn show(ask: Ask, State(api): State<Api>, Path(ident): Path<String>) -> Answer {
    known(&ask, &["fields"])?;
    let shown = fields(&ask, PORT)?.map_or(Shown::All, Shown::These);
    let port = one(&api, &ask, &ident).await?;
    Ok(Json(Value::Object(select(
        view::port(&ask, &port)?,
        &shown,
        SHORT,
    ))))
}

pub(super) async fn create(
    ask: Ask,
    State(api): State<Api>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, ApiError> {
    admin(&ask, "port:create")?;
    let given = creation(PORT, body, ask.version)?;
    for key in ["address", "node_uuid"] {
        if !given.contains_key(key) {
            return Err(ApiError::bad_request(format!(
                "'{key}' is a required property"
            )));
        }
    }
    let blank = Port::new(NodeId::new(), "", api.metal.now());
    let port = filled(&blank, given)?;
    let port = api.metal.create_port(port).await.map_err(fault::of)?;
    Ok(created(
        &ask,
        &format!("ports/{}", port.uuid),
        view::port(&ask, &port)?,
    ))
}

pub(super) async fn update(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    admin(&ask, "port:update")?;
    let patch = Patch::read(PORT, &body, ask.version)?;
    let port = one(&api, &ask, &ident).await?;
    patched(&patch, &port)?;
    let change = move |port: &mut Port| {
        *port = patched(&patch, port).map_err(|error| MetalError::Invalid(error.message))?;
        Ok(())
    };
    let port = api
        .metal
        .update_port(port.uuid, change)
        .await
        .map_err(fault::of)?;
    Ok(Json(Value::Object(view::port(&ask, &port)?)))
}

/// Something with a patch applied.
pub(super) fn patched<T>(patch: &Patch, thing: &T) -> Result<T, ApiError>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let mut document = view::stored(thing)?;
    patch.apply(&mut document)?;
    filled(thing, document)
}

pub(super) async fn delete(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
) -> Result<StatusCode, ApiError> {
    admin(&ask, "port:delete")?;
    let port = one(&api, &ask, &ident).await?;
    api.metal.delete_port(port.uuid).await.map_err(fault::of)?;
    Ok(StatusCode::NO_CONTENT)
}

// The network interface of our drivers is `noop`: it takes virtual interfaces and keeps none of them.

pub(super) async fn vifs(ask: Ask, State(api): State<Api>, Path(ident): Path<String>) -> Answer {
    api.node(&ask, &ident, Act::See).await?;
    Ok(Json(json!({"vifs": []})))
}

pub(super) async fn attach_vif(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<StatusCode, ApiError> {
    api.node(&ask, &ident, Act::Drive).await?;
    match body.get("id") {
        Some(Value::String(id)) if !id.is_empty() => Ok(StatusCode::NO_CONTENT),
        _ => Err(ApiError::bad_request("'id' is a required property")),
    }
}

pub(super) async fn detach_vif(
    ask: Ask,
    State(api): State<Api>,
    Path((ident, _)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    api.node(&ask, &ident, Act::Drive).await?;
    Ok(StatusCode::NO_CONTENT)
}
