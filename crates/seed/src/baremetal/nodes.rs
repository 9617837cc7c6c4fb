//! Nodes: their records, lists, maintenance, history, inventory.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use baremetal::{INTERFACE_KINDS, Node, NodeId, Object, ProvisionState};
use bytes::Bytes;
use http::{StatusCode, header};
use openstack_api::{ApiError, JsonBody, time};
use serde_json::{Value, json};

use super::ask::Ask;
use super::patch::Patch;
use super::query::{Listing, fields, id, known, select};
use super::rights::{Act, admin, check, sees};
use super::schema::{NODE, creation};
use super::{Api, fault, view};
use crate::baremetal::query::Shown;

/// The short form of nodes.
pub(super) const SHORT: &[&str] = &[
    "uuid",
    "instance_uuid",
    "maintenance",
    "name",
    "power_state",
    "provision_state",
];

/// What lists of nodes can be narrowed by.
const FILTERS: &[&str] = &[
    "instance_uuid",
    "chassis_uuid",
    "associated",
    "maintenance",
    "retired",
    "provision_state",
    "driver",
    "resource_class",
    "conductor_group",
    "conductor",
    "owner",
    "lessee",
    "project",
    "fault",
    "description_contains",
];

/// Fields that only admins change: they decide who may use a node.
const RULING: &[&str] = &["owner", "lessee", "chassis_uuid", "instance_uuid", "driver"];

type Answer = Result<Json<Value>, ApiError>;

impl Api {
    /// The node of a path, for what is to be done with it.
    pub(super) async fn node(&self, ask: &Ask, ident: &str, act: Act) -> Result<Node, ApiError> {
        // Old clients end names with this.
        let plain = ident.strip_suffix(".json").unwrap_or(ident);
        let found = match self.metal.find_node(ident).await {
            Err(baremetal::MetalError::NotFound { .. }) if plain != ident => {
                self.metal.find_node(plain).await
            }
            other => other,
        };
        let node = found.map_err(fault::of)?;
        check(ask, &node, ident, act)?;
        Ok(node)
    }
}

pub(super) async fn list(ask: Ask, State(api): State<Api>) -> Answer {
    listed(&api, &ask, "nodes", false, |_| true).await
}

pub(super) async fn detail(ask: Ask, State(api): State<Api>) -> Answer {
    listed(&api, &ask, "nodes/detail", true, |_| true).await
}

/// A list of nodes, narrowed by its parameters and by what is asked for beside them.
pub(super) async fn listed(
    api: &Api,
    ask: &Ask,
    path: &str,
    detail: bool,
    keep: impl Fn(&Node) -> bool,
) -> Answer {
    let listing = Listing::read(ask, NODE, "nodes", FILTERS, detail)?;
    let filter = Filter::read(ask)?;
    let nodes = api.metal.nodes().await.map_err(fault::of)?;
    let host = &api.metal.settings().host;
    let documents = nodes
        .iter()
        .filter(|node| sees(ask, node) && filter.matches(node, host) && keep(node))
        .map(|node| view::node(ask, &api.metal, node))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Json(listing.answer(ask, path, documents, SHORT)?))
}

/// How a list is narrowed.
struct Filter<'a> {
    ask: &'a Ask,
    state: Option<ProvisionState>,
    instance: Option<uuid::Uuid>,
    chassis: Option<uuid::Uuid>,
    associated: Option<bool>,
    maintenance: Option<bool>,
    retired: Option<bool>,
}

impl<'a> Filter<'a> {
    fn read(ask: &'a Ask) -> Result<Self, ApiError> {
        let state = match ask.params.get("provision_state") {
            None => None,
            Some(word) => Some(ProvisionState::parse(word).ok_or_else(|| {
                ApiError::bad_request(format!("Provision state \"{word}\" is not valid."))
            })?),
        };
        if let Some(fault) = ask.params.get("fault")
            && ![
                "none",
                "power failure",
                "clean failure",
                "rescue abort failure",
            ]
            .contains(&fault)
        {
            return Err(ApiError::bad_request(format!(
                "Unrecognized fault \"{fault}\" is specified."
            )));
        }
        Ok(Self {
            ask,
            state,
            instance: id(ask, "instance_uuid")?,
            chassis: id(ask, "chassis_uuid")?,
            associated: ask.params.flag("associated")?,
            maintenance: ask.params.flag("maintenance")?,
            retired: ask.params.flag("retired")?,
        })
    }

    fn matches(&self, node: &Node, host: &str) -> bool {
        let same = |name: &str, own: Option<&str>| {
            self.ask
                .params
                .get(name)
                .is_none_or(|wanted| own == Some(wanted))
        };
        let has = |wanted: Option<bool>, own: bool| wanted.is_none_or(|wanted| wanted == own);
        let words = self.ask.params.get("description_contains");
        let project = self.ask.params.get("project").map(str::to_owned);
        self.state.is_none_or(|state| node.provision_state == state)
            && (self.instance.is_none() || node.instance_uuid == self.instance)
            && (self.chassis.is_none() || node.chassis_uuid == self.chassis)
            && has(self.associated, node.instance_uuid.is_some())
            && has(self.maintenance, node.maintenance)
            && has(self.retired, node.retired)
            && same("driver", Some(&node.driver))
            && same("resource_class", node.resource_class.as_deref())
            && same("conductor_group", Some(&node.conductor_group))
            && same("conductor", Some(host))
            && same("owner", node.owner.as_deref())
            && same("lessee", node.lessee.as_deref())
            && same("fault", Some(node.fault.as_deref().unwrap_or("none")))
            && (project.is_none() || node.owner == project || node.lessee == project)
            && words.is_none_or(|words| {
                let text = node.description.as_deref().unwrap_or_default();
                text.to_lowercase().contains(&words.to_lowercase())
            })
    }
}

pub(super) async fn show(ask: Ask, State(api): State<Api>, Path(ident): Path<String>) -> Answer {
    known(&ask, &["fields"])?;
    let shown = fields(&ask, NODE)?.map_or(Shown::All, Shown::These);
    let node = api.node(&ask, &ident, Act::See).await?;
    let document = view::node(&ask, &api.metal, &node)?;
    Ok(Json(Value::Object(select(document, &shown, SHORT))))
}

pub(super) async fn create(
    ask: Ask,
    State(api): State<Api>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, ApiError> {
    admin(&ask, "node:create")?;
    let given = creation(NODE, body, ask.version)?;
    if !given.contains_key("driver") {
        return Err(ApiError::bad_request("'driver' is a required property"));
    }
    let mut node = Node::default();
    set(&mut node, given)?;
    check_group(&api, &node)?;
    if !ask.since(11) {
        node.provision_state = ProvisionState::Available;
    }
    own(&ask, &mut node)?;
    let node = api.metal.create_node(node).await.map_err(fault::of)?;
    let document = view::node(&ask, &api.metal, &node)?;
    let location = format!("{}/v1/nodes/{}", ask.base, node.uuid);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(Value::Object(document)),
    )
        .into_response())
}

/// A node that a project's admin enrols belongs to the project.
fn own(ask: &Ask, node: &mut Node) -> Result<(), ApiError> {
    let Some(project) = ask.caller.project_id().filter(|_| ask.since(80)) else {
        return Ok(());
    };
    match &node.owner {
        Some(owner) if owner != project => Err(ApiError::bad_request(format!(
            "Cannot create a node as a project scoped admin, or request an owner other than your own project: {owner}"
        ))),
        _ => {
            node.owner = Some(project.to_owned());
            Ok(())
        }
    }
}

fn check_group(api: &Api, node: &Node) -> Result<(), ApiError> {
    if api.metal.driver(&node.driver).is_some() && !node.conductor_group.is_empty() {
        return Err(fault::of(baremetal::MetalError::NoDriver {
            driver: node.driver.clone(),
            group: node.conductor_group.clone(),
        }));
    }
    Ok(())
}

/// Sets checked fields of a node.
fn set(node: &mut Node, fields: Object) -> Result<(), ApiError> {
    let mut stored = view::stored(node)?;
    for (name, value) in fields {
        let kind = name
            .strip_suffix("_interface")
            .filter(|kind| INTERFACE_KINDS.contains(kind));
        match (kind, value) {
            (Some(kind), Value::String(implementation)) => {
                node.interfaces.insert(kind.to_owned(), implementation);
            }
            // Without one it is the driver's default.
            (Some(kind), _) => drop(node.interfaces.remove(kind)),
            (None, value) if name == "conductor_group" => {
                let text = value.as_str().unwrap_or_default();
                stored.insert(name, json!(text.to_lowercase()));
            }
            (None, value) => drop(stored.insert(name, value)),
        }
    }
    stored.insert("interfaces".into(), json!(node.interfaces));
    *node = serde_json::from_value(Value::Object(stored))
        .map_err(|error| ApiError::bad_request(format!("Invalid node: {error}")))?;
    Ok(())
}

pub(super) async fn update(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Answer {
    let patch = Patch::read(NODE, &body, ask.version)?;
    let ruling = patch.fields().any(|name| RULING.contains(&name));
    let act = if ruling { Act::Rule } else { Act::Change };
    let node = api.node(&ask, &ident, act).await?;
    let mut preview = node.clone();
    patched(&patch, &mut preview)?;
    check_group(&api, &preview)?;
    // Inside the transaction the patch meets the record as it is then; refusals of ours are kept for the caller.
    let refused = std::sync::Arc::new(std::sync::Mutex::new(None));
    let keep = refused.clone();
    let changed = api
        .metal
        .update_node(node.uuid, move |node| {
            patched(&patch, node).map_err(|error| {
                let text = error.message.clone();
                if let Ok(mut slot) = keep.lock() {
                    *slot = Some(error);
                }
                baremetal::MetalError::Invalid(text)
            })
        })
        .await;
    let own = refused.lock().ok().and_then(|mut slot| slot.take());
    if let Some(error) = own {
        return Err(error);
    }
    let node = changed.map_err(fault::of)?;
    Ok(Json(Value::Object(view::node(&ask, &api.metal, &node)?)))
}

/// Applies a patch to a node, with the rules that some fields have.
fn patched(patch: &Patch, node: &mut Node) -> Result<(), ApiError> {
    let before = node.clone();
    let stored = view::stored(&before)?;
    let mut document = stored.clone();
    for (kind, implementation) in &before.interfaces {
        document.insert(format!("{kind}_interface"), json!(implementation));
    }
    patch.apply(&mut document)?;
    for name in ["driver_info", "instance_info"] {
        if let (Some(new), Some(old)) = (document.get_mut(name), stored.get(name)) {
            view::unmasked(new, old);
        }
    }
    let touched: Object = patch
        .fields()
        .filter_map(|name| Some((name.to_owned(), document.get(name)?.clone())))
        .collect();
    set(node, touched)?;
    if node.driver != before.driver {
        // What the old driver had the new one may not know.
        let named: Vec<&str> = patch.fields().collect();
        node.interfaces
            .retain(|kind, _| named.contains(&format!("{kind}_interface").as_str()));
    }
    if node.protected
        && !before.protected
        && !matches!(
            node.provision_state,
            ProvisionState::Active | ProvisionState::Rescue
        )
    {
        return Err(ApiError::conflict(format!(
            "Node {} can not be protected in state \"{}\": only active and rescue nodes can.",
            node.uuid, node.provision_state
        )));
    }
    if !node.protected {
        node.protected_reason = None;
    }
    if !node.retired {
        node.retired_reason = None;
    }
    if !node.maintenance {
        node.maintenance_reason = None;
    }
    if node.instance_uuid.is_none() {
        node.allocation_uuid = None;
    }
    Ok(())
}

pub(super) async fn delete(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
) -> Result<StatusCode, ApiError> {
    let node = api.node(&ask, &ident, Act::Rule).await?;
    api.metal.delete_node(node.uuid).await.map_err(fault::of)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn set_maintenance(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    let body: Value = match body.iter().all(u8::is_ascii_whitespace) {
        true => json!({}),
        false => serde_json::from_slice(&body).map_err(|error| {
            ApiError::bad_request(format!("The body is not valid JSON: {error}"))
        })?,
    };
    let reason = match body.get("reason") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => return Err(ApiError::bad_request("`reason` must be a text.")),
    };
    maintenance(&ask, &api, &ident, true, reason).await
}

pub(super) async fn unset_maintenance(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
) -> Result<StatusCode, ApiError> {
    maintenance(&ask, &api, &ident, false, None).await
}

async fn maintenance(
    ask: &Ask,
    api: &Api,
    ident: &str,
    on: bool,
    reason: Option<String>,
) -> Result<StatusCode, ApiError> {
    let node = api.node(ask, ident, Act::Change).await?;
    let change = move |node: &mut Node| {
        node.maintenance = on;
        node.maintenance_reason = reason;
        if !on {
            node.fault = None;
        }
        Ok(())
    };
    api.metal
        .update_node(node.uuid, change)
        .await
        .map_err(fault::of)?;
    Ok(StatusCode::ACCEPTED)
}

/// What the driver's settings are good for, per kind of interface.
pub(super) async fn validate(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
) -> Answer {
    let node = api.node(&ask, &ident, Act::See).await?;
    let hardware = api.metal.hardware_of(&node).map_err(fault::of)?;
    let checked = hardware.check(&node).map_err(|error| error.text());
    let mut body = Object::new();
    for kind in INTERFACE_KINDS {
        let missing = hardware
            .interfaces(kind)
            .first()
            .is_none_or(|name| name.starts_with("no-"));
        let result = match (*kind, missing, &checked) {
            (_, true, _) => json!({"result": null, "reason": "not supported"}),
            ("network" | "storage", false, _) | (_, false, Ok(())) => json!({"result": true}),
            (_, false, Err(reason)) => json!({"result": false, "reason": reason}),
        };
        if *kind != "vendor" {
            body.insert((*kind).to_owned(), result);
        }
    }
    Ok(Json(Value::Object(body)))
}

pub(super) async fn history(ask: Ask, State(api): State<Api>, Path(ident): Path<String>) -> Answer {
    let node = api.node(&ask, &ident, Act::See).await?;
    let events = api.metal.history(node.uuid).await.map_err(fault::of)?;
    let detail = ask.params.flag("detail")?.unwrap_or(false);
    let rows: Vec<Value> = events
        .iter()
        .map(|event| event_view(&ask, node.uuid, event, detail))
        .collect();
    Ok(Json(json!({"history": rows})))
}

pub(super) async fn event(
    ask: Ask,
    State(api): State<Api>,
    Path((ident, wanted)): Path<(String, String)>,
) -> Answer {
    let node = api.node(&ask, &ident, Act::See).await?;
    let events = api.metal.history(node.uuid).await.map_err(fault::of)?;
    events
        .iter()
        .find(|event| event.uuid.to_string() == wanted)
        .map(|event| Json(event_view(&ask, node.uuid, event, true)))
        .ok_or_else(|| {
            ApiError::not_found(format!("Node history record {wanted} could not be found."))
        })
}

fn event_view(ask: &Ask, node: NodeId, event: &baremetal::HistoryEvent, detail: bool) -> Value {
    let mut shown = json!({
        "uuid": event.uuid.to_string(),
        "created_at": time::offset(event.created_at),
        "severity": event.severity,
        "event": event.event,
        "links": ask.links(&format!("nodes/{node}/history/{}", event.uuid)),
    });
    if detail {
        shown["conductor"] = json!(event.conductor);
        shown["event_type"] = json!(event.event_type);
        shown["user"] = json!(event.user);
    }
    shown
}

pub(super) async fn inventory(
    ask: Ask,
    State(api): State<Api>,
    Path(ident): Path<String>,
) -> Answer {
    let node = api.node(&ask, &ident, Act::See).await?;
    let kept = api.metal.inventory(node.uuid).await.map_err(fault::of)?;
    kept.map(|kept| Json(json!({"inventory": kept.inventory, "plugin_data": kept.plugin_data})))
        .ok_or_else(|| {
            ApiError::not_found(format!(
                "Node {} has no inventory: inspect it first.",
                node.uuid
            ))
        })
}

pub(super) async fn bios(ask: Ask, State(api): State<Api>, Path(ident): Path<String>) -> Answer {
    api.node(&ask, &ident, Act::See).await?;
    Ok(Json(json!({"bios": []})))
}

pub(super) async fn bios_setting(
    ask: Ask,
    State(api): State<Api>,
    Path((ident, setting)): Path<(String, String)>,
) -> Answer {
    let node = api.node(&ask, &ident, Act::See).await?;
    Err(ApiError::not_found(format!(
        "Node {} has no BIOS setting {setting}.",
        node.uuid
    )))
}

pub(super) async fn volume(ask: Ask, State(api): State<Api>, Path(ident): Path<String>) -> Answer {
    let node = api.node(&ask, &ident, Act::See).await?;
    let path = format!("nodes/{}/volume", node.uuid);
    Ok(Json(json!({
        "connectors": ask.links(&format!("{path}/connectors")),
        "targets": ask.links(&format!("{path}/targets")),
        "links": ask.links(&path),
    })))
}
