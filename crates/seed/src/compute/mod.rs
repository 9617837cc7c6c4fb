//! The compute API, version 2.1: lists and shows of servers, flavors, key pairs and hypervisors (the nodes).
//!
//! Servers are made, changed and removed by stacks; flavors are made and removed here.

mod flavors;
mod open;
mod servers;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Json, Router};
use cloud::{CloudError, Kind};
use cloud_metal::MetalCloud;
use http::{Method, StatusCode};
use openstack_api::{
    ApiError, Caller, Dialect, HeaderStyle, Microversion, Microversions, Origin, Service,
    TokenCheck,
};
use serde_json::{Value, json};

use crate::{CatalogEntry, Mounted};

pub use open::open;
pub(crate) use open::range;

/// Where the API is mounted.
pub const PREFIX: &str = "/compute";

/// Clients that know more fall back to this version's fields.
const VERSION: Microversion = Microversion { major: 2, minor: 1 };

const VERSIONS: Microversions = Microversions {
    style: HeaderStyle::Common("compute"),
    min: VERSION,
    max: VERSION,
};

/// What handlers answer.
type Answer = Result<Json<Value>, ApiError>;

/// The service under its prefix.
pub fn mount(cloud: &MetalCloud, tokens: Arc<dyn TokenCheck>) -> Mounted {
    let router = Router::new()
        .route("/", get(versions))
        .route("/v2.1", get(version))
        .route("/v2.1/servers", get(servers::index).post(refuse))
        .route("/v2.1/servers/detail", get(servers::detail))
        .route(
            "/v2.1/servers/{id}",
            get(servers::show).put(refuse).delete(refuse),
        )
        .route("/v2.1/servers/{id}/action", any(refuse))
        .route(
            "/v2.1/servers/{id}/os-interface",
            get(servers::interfaces).post(refuse),
        )
        .route("/v2.1/flavors", get(flavors::index).post(flavors::create))
        .route("/v2.1/flavors/detail", get(flavors::detail))
        .route(
            "/v2.1/flavors/{id}",
            get(flavors::show).delete(flavors::delete),
        )
        .route(
            "/v2.1/flavors/{id}/os-extra_specs",
            get(flavors::specs).post(flavors::add_specs),
        )
        .route(
            "/v2.1/flavors/{id}/os-extra_specs/{name}",
            get(flavors::spec).delete(flavors::remove_spec),
        )
        .route("/v2.1/os-keypairs", get(key_pairs).post(refuse))
        .route("/v2.1/os-keypairs/{name}", get(key_pair).delete(refuse))
        .route("/v2.1/os-hypervisors", get(servers::hypervisors))
        .route("/v2.1/os-hypervisors/detail", get(servers::hypervisors))
        .route("/v2.1/os-hypervisors/{id}", get(servers::hypervisor))
        .route("/v2.1/os-availability-zone", get(zones))
        .route(
            "/v2.1/extensions",
            get(async || Json(json!({"extensions": []}))),
        )
        .fallback(any(nowhere))
        .layer(middleware::from_fn(with_version))
        .with_state(cloud.clone());
    let open = |_: &Method, path: &str| path == "/" || path == "/v2.1";
    Mounted {
        prefix: PREFIX,
        catalog: Some(CatalogEntry {
            kind: "compute",
            name: "nova",
            path: "/v2.1",
        }),
        router: Service::new(Dialect::Compute)
            .tokens(tokens, open)
            .wrap(router),
    }
}

async fn with_version(request: axum::extract::Request, next: Next) -> Response {
    let used = match VERSIONS.negotiate(request.headers()) {
        Ok(used) => used,
        Err(error) => return error.into_response(),
    };
    let mut response = next.run(request).await;
    VERSIONS.stamp(response.headers_mut(), used);
    response
}

fn described(origin: &Origin) -> Value {
    let link = json!({"rel": "self", "href": format!("{}/v2.1/", origin.base())});
    json!({
        "id": "v2.1", "status": "CURRENT", "version": VERSION.to_string(), "min_version": VERSION.to_string(),
        "updated": "2013-07-23T11:33:21Z", "links": [link], "media-types": [],
    })
}

async fn versions(Extension(origin): Extension<Origin>) -> Json<Value> {
    Json(json!({"versions": [described(&origin)]}))
}

async fn version(Extension(origin): Extension<Origin>) -> Json<Value> {
    Json(json!({"version": described(&origin)}))
}

async fn refuse() -> ApiError {
    ApiError::not_implemented(
        "changing servers and key pairs one by one",
        "a stack (`openstack stack create`)",
    )
}

async fn nowhere() -> ApiError {
    ApiError::not_found("The resource could not be found.")
}

async fn zones() -> Json<Value> {
    let zone = json!({"zoneName": "nova", "zoneState": {"available": true}, "hosts": null});
    Json(json!({"availabilityZoneInfo": [zone]}))
}

async fn key_pairs(
    State(cloud): State<MetalCloud>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    let pairs = cloud.key_pairs().await.map_err(failed)?;
    let own = pairs
        .iter()
        .filter(|pair| caller.0.project_id() == Some(&pair.project));
    let shown: Vec<_> = own.map(|pair| json!({"keypair": key_row(pair)})).collect();
    Ok(Json(json!({"keypairs": shown})))
}

async fn key_pair(
    State(cloud): State<MetalCloud>,
    Path(name): Path<String>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    let pairs = cloud.key_pairs().await.map_err(failed)?;
    let mut own = pairs
        .iter()
        .filter(|pair| caller.0.project_id() == Some(&pair.project));
    let found = own.find(|pair| pair.thing.name == name);
    let found = found.ok_or_else(|| ApiError::not_found(format!("Keypair {name} not found")))?;
    Ok(Json(json!({"keypair": key_row(found)})))
}

fn key_row(pair: &cloud_metal::Record<cloud::KeyPair>) -> Value {
    json!({
        "name": pair.thing.name, "public_key": pair.thing.public_key, "fingerprint": pair.thing.fingerprint,
        "user_id": pair.spec.user, "created_at": openstack_api::time::seconds(pair.created_at), "deleted": false,
    })
}

/// What the cloud said, as an error of the API.
pub(crate) fn failed(error: CloudError) -> ApiError {
    let status = match &error {
        CloudError::NotFound { .. } => StatusCode::NOT_FOUND,
        CloudError::Ambiguous { .. } | CloudError::InUse { .. } | CloudError::Superseded { .. } => {
            StatusCode::CONFLICT
        }
        CloudError::Invalid { .. } | CloudError::NoFittingNode { .. } => StatusCode::BAD_REQUEST,
        CloudError::Unsupported { .. } => StatusCode::NOT_IMPLEMENTED,
        CloudError::Unreachable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        CloudError::Failed { .. } | CloudError::DeadlinePassed { .. } => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    match &error {
        CloudError::NotFound {
            kind: Kind::Flavor,
            name,
        } => ApiError::not_found(format!("Flavor {name} could not be found.")),
        other => ApiError::new(status, other.to_string()),
    }
}
