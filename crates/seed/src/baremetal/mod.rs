//! The baremetal API, version 1: Ironic's REST API over the room `baremetal`, and the road of deploy agents.
//!
//! Here are paths, wire forms, versions and rights. What nodes do, and what is refused because of their state,
//! is decided by the room below.

mod agent;
mod allocations;
mod ask;
mod chassis;
mod drivers;
mod fault;
mod nodes;
mod patch;
mod portgroups;
mod ports;
mod query;
mod rights;
mod schema;
mod states;
mod traits;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, put};
use baremetal::{
    AgentSettings, Baremetal, Deadlines, FakeHardware, Hardware, Images, RedfishHardware, Settings,
};
use http::{HeaderMap, Method, StatusCode};
use openstack_api::{
    ApiError, Dialect, HeaderStyle, Microversion, Microversions, Origin, Service, TokenCheck,
};
use serde_json::json;

use crate::{CatalogEntry, Ctx, Mounted, SeedError};

pub use agent::{ImageFiles, PREFIX as AGENT_PREFIX, agent_router};
pub use ask::Ask;

/// Where the API is mounted.
pub const PREFIX: &str = "/baremetal";

/// The versions of this API.
const VERSIONS: Microversions = Microversions {
    style: HeaderStyle::Own("x-openstack-ironic-api"),
    min: Microversion::new(1, 1),
    max: Microversion::new(1, 81),
};

/// Config drives travel in bodies, as base64.
const BODY_LIMIT: usize = 96 << 20;

/// What handlers share.
#[derive(Clone)]
pub struct Api {
    pub(crate) metal: Baremetal,
}

/// Opens the nodes of this seed and works on them until it ends.
///
/// `images` finds what `instance_info` names; without it only orders of our own can be deployed.
pub async fn open(ctx: &Ctx, images: Option<Arc<dyn Images>>) -> Result<Baremetal, SeedError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| SeedError::Service {
        service: "baremetal",
        source,
    };
    let url = |text: String| url::Url::parse(&text).map_err(|error| failed(Box::new(error)));
    let settings = &ctx.settings;
    let media = settings.media_url.as_ref().map(ToString::to_string);
    let media = media.unwrap_or_else(|| ctx.internal_url.clone());
    let agent = match &settings.deploy_agent {
        None => None,
        Some(binary) => Some(AgentSettings {
            binary: binary.clone(),
            api: url(format!("{}{AGENT_PREFIX}", ctx.internal_url))?,
            media: url(format!("{}{AGENT_PREFIX}", media.trim_end_matches('/')))?,
            ca: settings
                .tls
                .as_ref()
                .map(|tls| std::fs::read_to_string(&tls.ca))
                .transpose()
                .map_err(|error| failed(Box::new(error)))?,
            folder: settings.state.join("media"),
        }),
    };
    let metal_settings = Settings {
        automated_clean: settings.automated_clean,
        deadlines: Deadlines {
            boot: settings.boot_timeout,
            silence: settings.agent_timeout,
            ..Deadlines::default()
        },
        agent,
        images,
        ..Settings::default()
    };
    let hardware: Vec<Arc<dyn Hardware>> =
        vec![Arc::new(FakeHardware), Arc::new(RedfishHardware::new())];
    let metal = Baremetal::open(ctx.store.clone(), metal_settings, hardware)
        .await
        .map_err(|error| failed(Box::new(error)))?;
    let (runs, stop) = (metal.clone(), ctx.stop.clone());
    tokio::spawn(async move { runs.run(stop.cancelled()).await });
    Ok(metal)
}

/// The API and the road of deploy agents. `images` opens images for agents.
pub fn mount(
    metal: &Baremetal,
    tokens: &Arc<dyn TokenCheck>,
    images: Option<Arc<dyn ImageFiles>>,
) -> Vec<Mounted> {
    vec![
        Mounted {
            prefix: PREFIX,
            catalog: Some(CatalogEntry {
                kind: "baremetal",
                name: "ironic",
                path: "",
            }),
            router: router(metal.clone(), Arc::clone(tokens)),
        },
        Mounted {
            prefix: AGENT_PREFIX,
            catalog: None,
            router: agent_router(metal.clone(), images),
        },
    ]
}

/// The routes of the API, behind the check of tokens.
pub fn router(metal: Baremetal, tokens: Arc<dyn TokenCheck>) -> Router {
    let api = Api { metal };
    let routes = Router::new()
        .route("/", get(root))
        .route("/v1", get(version_document))
        .merge(node_routes())
        .merge(part_routes())
        .with_state(api)
        .layer(middleware::from_fn(negotiate));
    Service::new(Dialect::Baremetal)
        .tokens(tokens, |method, path| {
            method == Method::GET && matches!(path, "/" | "/v1" | "/v1/")
        })
        .body_limit(BODY_LIMIT)
        .wrap(routes)
}

fn node_routes() -> Router<Api> {
    Router::new()
        .route("/v1/nodes", get(nodes::list).post(nodes::create))
        .route("/v1/nodes/detail", get(nodes::detail))
        .route(
            "/v1/nodes/{node}",
            get(nodes::show).patch(nodes::update).delete(nodes::delete),
        )
        .route("/v1/nodes/{node}/validate", get(nodes::validate))
        .route(
            "/v1/nodes/{node}/maintenance",
            put(nodes::set_maintenance).delete(nodes::unset_maintenance),
        )
        .route("/v1/nodes/{node}/history", get(nodes::history))
        .route("/v1/nodes/{node}/history/{event}", get(nodes::event))
        .route("/v1/nodes/{node}/inventory", get(nodes::inventory))
        .route("/v1/nodes/{node}/bios", get(nodes::bios))
        .route("/v1/nodes/{node}/bios/{setting}", get(nodes::bios_setting))
        .route("/v1/nodes/{node}/volume", get(nodes::volume))
        .route("/v1/nodes/{node}/states", get(states::show))
        .route("/v1/nodes/{node}/states/provision", put(states::provision))
        .route("/v1/nodes/{node}/states/power", put(states::power))
        .route("/v1/nodes/{node}/states/raid", put(states::raid))
        .route("/v1/nodes/{node}/states/boot_mode", put(states::boot_mode))
        .route(
            "/v1/nodes/{node}/states/secure_boot",
            put(states::secure_boot),
        )
        .route(
            "/v1/nodes/{node}/states/console",
            get(states::console).put(states::set_console),
        )
        .route(
            "/v1/nodes/{node}/management/boot_device",
            get(states::boot_device).put(states::set_boot_device),
        )
        .route(
            "/v1/nodes/{node}/management/boot_device/supported",
            get(states::boot_devices),
        )
        .route(
            "/v1/nodes/{node}/management/inject_nmi",
            put(states::inject_nmi),
        )
        .route(
            "/v1/nodes/{node}/traits",
            get(traits::list).put(traits::replace).delete(traits::clear),
        )
        .route(
            "/v1/nodes/{node}/traits/{name}",
            put(traits::add).delete(traits::remove),
        )
        .route(
            "/v1/nodes/{node}/vifs",
            get(ports::vifs).post(ports::attach_vif),
        )
        .route("/v1/nodes/{node}/vifs/{vif}", delete(ports::detach_vif))
        .route("/v1/nodes/{node}/ports", get(ports::of_node))
        .route("/v1/nodes/{node}/ports/detail", get(ports::of_node_detail))
        .route("/v1/nodes/{node}/portgroups", get(portgroups::of_node))
        .route(
            "/v1/nodes/{node}/portgroups/detail",
            get(portgroups::of_node_detail),
        )
        .route(
            "/v1/nodes/{node}/allocation",
            get(allocations::of_node).delete(allocations::free_node),
        )
}

fn part_routes() -> Router<Api> {
    Router::new()
        .route("/v1/ports", get(ports::list).post(ports::create))
        .route("/v1/ports/detail", get(ports::detail))
        .route(
            "/v1/ports/{port}",
            get(ports::show).patch(ports::update).delete(ports::delete),
        )
        .route(
            "/v1/portgroups",
            get(portgroups::list).post(portgroups::create),
        )
        .route("/v1/portgroups/detail", get(portgroups::detail))
        .route(
            "/v1/portgroups/{group}",
            get(portgroups::show)
                .patch(portgroups::update)
                .delete(portgroups::delete),
        )
        .route("/v1/portgroups/{group}/ports", get(portgroups::ports))
        .route(
            "/v1/portgroups/{group}/ports/detail",
            get(portgroups::ports_detail),
        )
        .route("/v1/chassis", get(chassis::list).post(chassis::create))
        .route("/v1/chassis/detail", get(chassis::detail))
        .route(
            "/v1/chassis/{chassis}",
            get(chassis::show)
                .patch(chassis::update)
                .delete(chassis::delete),
        )
        .route("/v1/chassis/{chassis}/nodes", get(chassis::nodes))
        .route(
            "/v1/chassis/{chassis}/nodes/detail",
            get(chassis::nodes_detail),
        )
        .route(
            "/v1/allocations",
            get(allocations::list).post(allocations::create),
        )
        .route(
            "/v1/allocations/{allocation}",
            get(allocations::show)
                .patch(allocations::update)
                .delete(allocations::delete),
        )
        .route("/v1/drivers", get(drivers::list))
        .route("/v1/drivers/{driver}", get(drivers::show))
        .route("/v1/drivers/{driver}/properties", get(drivers::properties))
        .route(
            "/v1/drivers/{driver}/raid/logical_disk_properties",
            get(drivers::raid_properties),
        )
        .route("/v1/conductors", get(drivers::conductors))
        .route("/v1/conductors/{host}", get(drivers::conductor))
        .route("/v1/lookup", get(absent))
        .route("/v1/heartbeat/{node}", get(absent))
}

/// Settles the version before any handler, and writes it onto every answer.
async fn negotiate(mut request: Request, next: Next) -> Response {
    let version = match VERSIONS.negotiate(request.headers()) {
        Ok(version) => version,
        Err(error) => return error.into_response(),
    };
    let path = request.uri().path().to_owned();
    let mut response = if schema::has_path(&path, version) {
        request.extensions_mut().insert(version);
        next.run(request).await
    } else {
        ApiError::not_found(format!("The resource could not be found: {path}"))
            .before_handler()
            .into_response()
    };
    stamp(&mut response, version);
    response
}

/// Errors are written down outside of here, so the headers travel inside of them.
fn stamp(response: &mut Response, version: Microversion) {
    let mut headers = HeaderMap::new();
    VERSIONS.stamp(&mut headers, version);
    if let Some(mut error) = response.extensions_mut().remove::<ApiError>() {
        for (name, value) in &headers {
            error = error.header(name.clone(), value.clone());
        }
        response.extensions_mut().insert(error);
    }
    response.headers_mut().extend(headers);
}

/// What agents of Ironic itself ask for: ours go another road.
async fn absent() -> ApiError {
    ApiError::not_implemented(
        "The agent API of ironic-python-agent",
        "machines of this server boot its own deploy agent",
    )
}

async fn root(origin: Origin) -> axum::Json<serde_json::Value> {
    let version = version_object(&origin);
    axum::Json(json!({
        "name": "OpenStack Ironic API",
        "description": "Bare metal of the seed, in the words of Ironic.",
        "default_version": version,
        "versions": [version],
    }))
}

fn version_object(origin: &Origin) -> serde_json::Value {
    json!({
        "id": "v1",
        "links": [{"href": format!("{}/v1/", origin.base()), "rel": "self"}],
        "status": "CURRENT",
        "min_version": VERSIONS.min.to_string(),
        "version": VERSIONS.max.to_string(),
    })
}

async fn version_document(
    origin: Origin,
    axum::Extension(version): axum::Extension<Microversion>,
) -> (StatusCode, axum::Json<serde_json::Value>) {
    let base = origin.base();
    let mut document = json!({
        "id": "v1",
        "links": [
            {"href": format!("{base}/v1/"), "rel": "self"},
            {"href": "https://docs.openstack.org/ironic/latest/contributor/webapi.html", "rel": "describedby", "type": "text/html"},
        ],
        "media_types": [{"base": "application/json", "type": "application/vnd.openstack.ironic.v1+json"}],
        "version": version_object(&origin),
    });
    for name in [
        "nodes",
        "ports",
        "portgroups",
        "chassis",
        "drivers",
        "conductors",
        "allocations",
    ] {
        if schema::has_path(&format!("/v1/{name}"), version) {
            document[name] = json!([
                {"href": format!("{base}/v1/{name}/"), "rel": "self"},
                {"href": format!("{base}/{name}/"), "rel": "bookmark"},
            ]);
        }
    }
    (StatusCode::OK, axum::Json(document))
}
