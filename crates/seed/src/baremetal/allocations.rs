//! Allocations: claims for nodes.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use baremetal::{Allocation, MetalError, Object};
use http::StatusCode;
use openstack_api::{ApiError, JsonBody};
use serde_json::{Value, json};
use uuid::Uuid;

use super::ask::Ask;
use super::patch::Patch;
use super::ports::{created, filled, patched};
use super::query::{Listing, Shown, fields, known, select};
use super::rights::Act;
use super::schema::{ALLOCATION, creation, too_new, traits_of};
use super::{Api, fault, view};

/// Fields that may be patched, and since when.
const PATCH_SINCE: u16 = 57;

const SHORT: &[&str] = &["uuid", "name", "state", "node_uuid", "resource_class"];

type Answer = Result<Json<Value>, ApiError>;

/// Whether the caller sees an allocation.
fn sees(ask: &Ask, allocation: &Allocation) -> bool {
    ask.caller.is_admin()
        || (allocation.owner.is_some() && allocation.owner.as_deref() == ask.caller.project_id())
}

pub(super) async fn list(ask: Ask, State(api): State<Api>) -> Answer {
    let filters = ["node", "resource_class", "state", "owner"];
    let listing = Listing::read(&ask, ALLOCATION, "allocations", &filters, true)?;
    let node = match ask.params.get("node") {
        None => None,
        Some(ident) => Some(api.node(&ask, ident, Act::See).await?.uuid),
    };
    if let Some(state) = ask.params.get("state")
        && !["allocating", "active", "error"].contains(&state)
    {
        return Err(ApiError::bad_request(format!(
            "Allocation state \"{state}\" is not valid."
        )));
    }
    let same = |name: &str, own: Option<&str>| {
        let wanted = ask.params.get(name);
        wanted.is_none_or(|wanted| own == Some(wanted))
    };
    let all = api.metal.allocations().await.map_err(fault::of)?;
    let documents = all
        .iter()
        .filter(|it| sees(&ask, it) && (node.is_none() || it.node_uuid == node))
        .filter(|it| same("resource_class", it.resource_class.as_deref()))
        .filter(|it| same("state", Some(&it.state)) && same("owner", it.owner.as_deref()))
        .map(|it| view::allocation(&ask, it))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Json(listing.answer(
        &ask,
        "allocations",
        documents,
        SHORT,
    )?))
}

async fn one(api: &Api, ask: &Ask, ident: &str) -> Result<Allocation, ApiError> {
    let found = api.metal.find_allocation(ident).await.map_err(fault::of)?;
    if sees(ask, &found) {
        return Ok(found);
    }
    Err(ApiError::not_found(format!(
        "Allocation {ident} could not be found."
    )))
}

pub(super) async fn show(ask: Ask, State(api): State<Api>, Path(ident): Path<String>) -> Answer {
    known(&ask, &["fields"])?;
    let shown = fields(&ask, ALLOCATION)?.map_or(Shown::All, Shown::These);
    let found = one(&api, &ask, &ident).await?;
    let document = view::allocation(&ask, &found)?;
    Ok(Json(Value::Object(select(document, &shown, SHORT))))
}

pub(super) async fn create(
    ask: Ask,
    State(api): State<Api>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, ApiError> {
    if !ask.caller.is_admin() && !ask.caller.has_role("member") {
        return Err(ApiError::not_allowed("baremetal:allocation:create"));
    }
    let mut given = creation(ALLOCATION, body, ask.version)?;
    let text = |value: Option<Value>| value.and_then(|it| it.as_str().map(str::to_owned));
    let node = text(given.shift_remove("node"));
    let has_class = given.get("resource_class").is_some_and(Value::is_string);
    if node.is_none() && !has_class {
        return Err(ApiError::bad_request(
            "'resource_class' is a required property",
        ));
    }
    let candidates = names(given.shift_remove("candidate_nodes"))?;
    if node.is_some() && (!candidates.is_empty() || given.contains_key("traits")) {
        return Err(ApiError::bad_request(
            "Cannot use \"candidate_nodes\" or \"traits\" together with \"node\".",
        ));
    }
    if let Some(traits) = given.get("traits") {
        let traits = traits_of(traits)?;
        given.insert("traits".into(), json!(traits));
    }
    if !ask.caller.is_admin() {
        let own = ask.caller.project_id();
        if text(given.get("owner").cloned()).is_some_and(|owner| Some(owner.as_str()) != own) {
            return Err(ApiError::forbidden(
                "Cannot create an allocation for another project.",
            ));
        }
        given.insert("owner".into(), json!(own));
    }
    let allocation = filled(&blank(&api), given)?;
    let made = api
        .metal
        .create_allocation(allocation, candidates, node)
        .await
        .map_err(fault::of)?;
    let document = view::allocation(&ask, &made)?;
    Ok(created(
        &ask,
        &format!("allocations/{}", made.uuid),
        document,
    ))
}

fn blank(api: &Api) -> Allocation {
    Allocation {
        uuid: Uuid::new_v4(),
        name: None,
        resource_class: None,
        traits: Vec::new(),
        candidate_nodes: Vec::new(),
        node_uuid: None,
        state: String::new(),
        last_error: None,
        owner: None,
        extra: Object::new(),
        created_at: api.metal.now(),
        updated_at: None,
    }
}

fn names(value: Option<Value>) -> Result<Vec<String>, ApiError> {
    let wrong = || ApiError::bad_request("`candidate_nodes` must be a list of names or UUIDs.");
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let items = value.as_array().ok_or_else(wrong)?;
    items
        .iter()
        .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
        .collect()
}

pub(super) async fn update(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    if !ask.since(PATCH_SINCE) {
        return Err(too_new("PATCH"));
    }
    let patch = Patch::read(ALLOCATION, &body, ask.version)?;
    let found = one(&api, &ask, &ident).await?;
    patched(&patch, &found)?;
    let change = move |it: &mut Allocation| {
        *it = patched(&patch, it).map_err(|error| MetalError::Invalid(error.message))?;
        Ok(())
    };
    let changed = api
        .metal
        .update_allocation(&found.uuid.to_string(), change)
        .await
        .map_err(fault::of)?;
    Ok(Json(Value::Object(view::allocation(&ask, &changed)?)))
}

pub(super) async fn delete(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
) -> Result<StatusCode, ApiError> {
    let found = one(&api, &ask, &ident).await?;
    api.metal
        .delete_allocation(&found.uuid.to_string())
        .await
        .map_err(fault::of)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn of_node(ask: Ask, State(api): State<Api>, Path(ident): Path<String>) -> Answer {
    let found = held(&api, &ask, &ident).await?;
    Ok(Json(Value::Object(view::allocation(&ask, &found)?)))
}

pub(super) async fn free_node(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
) -> Result<StatusCode, ApiError> {
    let found = held(&api, &ask, &ident).await?;
    api.metal
        .delete_allocation(&found.uuid.to_string())
        .await
        .map_err(fault::of)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The allocation that holds the node of a path.
async fn held(api: &Api, ask: &Ask, ident: &str) -> Result<Allocation, ApiError> {
    let node = api.node(ask, ident, Act::See).await?;
    let found = api
        .metal
        .allocation_of(node.uuid)
        .await
        .map_err(fault::of)?;
    found.ok_or_else(|| ApiError::not_found(format!("Node {} has no allocation.", node.uuid)))
}
