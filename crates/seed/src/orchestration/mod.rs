//! The orchestration API, version 1: Heat's REST API over our engine.
//!
//! A request becomes a [`routes::Call`], the call is allowed or refused ([`access`]), then answered
//! by one function of `stacks`, `resources`, `events`, `configs` or `types`. Everything that
//! happens to stacks is `engine`'s; here are paths, bodies, rights and the words of refusals.

pub mod access;
mod actions;
mod configs;
mod events;
pub mod fault;
mod listing;
mod node_reports;
mod preview;
pub mod query;
pub mod reply;
pub mod request;
mod resources;
pub mod routes;
mod stacks;
mod types;
mod validate;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use cloud::Cloud;
use engine::{Endpoints, Engine, Setup, SystemClock};
use openstack_api::{Caller, Dialect, Origin, Service, TokenCheck};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::metadata::{EngineNodes, Metadata};
use crate::{CatalogEntry, Ctx, Mounted, SeedError, cloudformation, metadata};

use access::Asker;
use fault::Fault;
use query::Query;
use request::{BODY_LIMIT, Document};
use routes::Call;

/// Where the API is mounted.
pub const PREFIX: &str = "/orchestration";

/// What handlers share.
#[derive(Clone)]
pub struct Orchestration {
    /// Keeps the stacks.
    pub engine: Engine,
}

/// A request on its way to its answer.
pub(crate) struct Ask {
    pub(crate) asker: Asker,
    pub(crate) query: Query,
    pub(crate) body: Document,
    /// `http://host:port/orchestration`.
    pub(crate) base: String,
}

/// The answer to a request, or why there is none.
pub(crate) type Answer = Result<Response<Body>, Fault>;

/// Opens the engine on a cloud and mounts all that leads to it.
pub(crate) async fn open(ctx: &Ctx, cloud: Arc<dyn Cloud>) -> Result<Vec<Mounted>, SeedError> {
    let internal = &ctx.internal_url;
    let setup = Setup {
        store: ctx.store.clone(),
        cloud,
        users: Arc::new(ctx.identity.clone()),
        clock: Arc::new(SystemClock),
        endpoints: Endpoints {
            metadata: format!("{internal}{}", metadata::PREFIX),
            auth: format!("{internal}/identity/v3"),
            orchestration: format!("{internal}{PREFIX}/v1"),
            cloudformation: format!("{internal}{}/v1", cloudformation::PREFIX),
            region: ctx.settings.region.clone(),
        },
    };
    let engine = Engine::open(setup)
        .await
        .map_err(|source| SeedError::Service {
            service: "orchestration",
            source: Box::new(source),
        })?;
    let tokens: Arc<dyn TokenCheck> = Arc::new(ctx.identity.clone());
    Ok(mount(&engine, &tokens, &ctx.stop))
}

/// Everything by which stacks and their nodes are reached: this API, its short form, the
/// CloudFormation side, and the metadata of nodes.
pub fn mount(
    engine: &Engine,
    tokens: &Arc<dyn TokenCheck>,
    stop: &CancellationToken,
) -> Vec<Mounted> {
    let entry = |kind, name, path| Some(CatalogEntry { kind, name, path });
    let nodes = Arc::new(EngineNodes {
        engine: engine.clone(),
    });
    vec![
        Mounted {
            prefix: PREFIX,
            catalog: entry("orchestration", "heat", "/v1/%(project_id)s"),
            router: router(engine.clone(), Arc::clone(tokens)),
        },
        Mounted {
            prefix: cloudformation::PREFIX,
            catalog: entry("cloudformation", "heat-cfn", "/v1"),
            router: cloudformation::router(engine.clone()),
        },
        Mounted {
            prefix: metadata::PREFIX,
            catalog: None,
            router: Metadata::new(nodes, stop.clone()).router(),
        },
        Mounted {
            prefix: "/v1",
            catalog: None,
            router: bare_router(engine.clone(), Arc::clone(tokens)),
        },
    ]
}

/// The routes, behind the check of tokens.
pub fn router(engine: Engine, tokens: Arc<dyn TokenCheck>) -> Router {
    let api = Orchestration { engine };
    let routes = Router::new().fallback(move |request: Request<Body>| {
        let api = api.clone();
        async move { api.answer(request).await }
    });
    Service::new(Dialect::Orchestration)
        .tokens(tokens, |_, path| !is_version_1(path))
        .body_limit(BODY_LIMIT)
        .wrap(routes)
}

/// The same routes for those who know no prefix, only the server: `/v1/<project>/…`, as on a
/// server that is Heat and nothing else. Links lead to the prefix.
pub fn bare_router(engine: Engine, tokens: Arc<dyn TokenCheck>) -> Router {
    let inner = router(engine, tokens);
    Router::new().fallback(move |mut request: Request<Body>| {
        use tower::ServiceExt as _;
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str());
        let path = format!("/v1{}", path.strip_suffix('/').unwrap_or(path));
        if let Ok(uri) = path.parse() {
            *request.uri_mut() = uri;
        }
        inner.clone().oneshot(request)
    })
}

fn is_version_1(path: &str) -> bool {
    path == "/v1" || path.starts_with("/v1/")
}

impl Orchestration {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if !is_version_1(parts.uri.path()) {
            return versions(&parts);
        }
        let answer = self.admitted(parts, body).await;
        answer.unwrap_or_else(|fault| fault.response())
    }

    async fn admitted(&self, parts: Parts, body: Body) -> Answer {
        let path = parts.uri.path().trim_start_matches("/v1");
        let path = path.trim_start_matches('/');
        let (project, rest) = path.split_once('/').unwrap_or((path, ""));
        let segments = routes::segments(rest);
        if project.is_empty() || segments.is_empty() {
            return Err(Fault::no_route());
        }
        let caller = parts
            .extensions
            .get::<Caller>()
            .ok_or_else(Fault::internal)?;
        let asker = Asker::of(self, caller).await?;
        asker.may_use_path_of(project)?;
        let method = parts.method.as_str();
        let Some(call) = routes::call(method, &segments) else {
            return other_method(&parts.method, &segments);
        };
        asker.may_try(&call)?;
        let bytes = to_bytes(body, BODY_LIMIT).await.map_err(|_| too_large())?;
        let kind = parts.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok());
        let ask = Ask {
            asker,
            query: Query::parse(parts.uri.query().unwrap_or("")),
            body: Document::read(kind, &bytes)?,
            base: origin(&parts).service(PREFIX),
        };
        self.dispatch(call, ask).await
    }

    async fn dispatch(&self, call: Call, ask: Ask) -> Answer {
        match call {
            Call::ListStacks | Call::DetailStacks => self.list_stacks(&ask).await,
            Call::CreateStack => self.create_stack(ask).await,
            Call::PreviewStack => self.preview_stack(ask).await,
            Call::Lookup { what, rest } => self.lookup(&ask, &what, rest.as_deref()).await,
            Call::ShowStack(at) => self.show_stack(&ask, &at).await,
            Call::UpdateStack(at) => self.update_stack(ask, &at, false).await,
            Call::PatchStack(at) => self.update_stack(ask, &at, true).await,
            Call::DeleteStack(at) => self.delete_stack(&ask, &at).await,
            Call::PreviewUpdate(at) => self.preview_update(ask, &at, false).await,
            Call::PreviewPatch(at) => self.preview_update(ask, &at, true).await,
            Call::Template(at) => self.stack_template(&ask, &at).await,
            Call::Environment(at) => self.stack_environment(&ask, &at).await,
            Call::Files(at) => self.stack_files(&ask, &at).await,
            Call::Outputs(at) => self.list_outputs(&ask, &at).await,
            Call::Output(at, key) => self.show_output(&ask, &at, &key).await,
            Call::Action(at) => self.act(ask, &at).await,
            Call::TakeSnapshot(at) => self.take_snapshot(ask, &at).await,
            Call::Snapshots(at) => self.list_snapshots(&ask, &at).await,
            Call::Snapshot(at, id) => self.show_snapshot(&ask, &at, &id).await,
            Call::DeleteSnapshot(at, id) => self.delete_snapshot(&ask, &at, &id).await,
            Call::RestoreSnapshot(at, id) => self.restore_snapshot(&ask, &at, &id).await,
            Call::Export(at) => self.export(&ask, &at).await,
            Call::Abandon(at) => self.abandon(&ask, &at).await,
            call => self.dispatch_rest(call, ask).await,
        }
    }

    async fn dispatch_rest(&self, call: Call, ask: Ask) -> Answer {
        match call {
            Call::Resources(at) => self.list_resources(&ask, &at).await,
            Call::Resource(at, name) => self.show_resource(&ask, &at, &name).await,
            Call::Metadata(at, name) => self.resource_metadata(&ask, &at, &name).await,
            Call::MarkUnhealthy(at, name) => self.mark_unhealthy(ask, &at, &name).await,
            Call::Signal(at, name) => self.signal(ask, &at, &name).await,
            Call::Events(at) => self.list_events(&ask, &at, None).await,
            Call::ResourceEvents(at, name) => self.list_events(&ask, &at, Some(&name)).await,
            Call::Event(at, name, id) => self.show_event(&ask, &at, &name, &id).await,
            Call::Validate => self.validate(ask).await,
            Call::ResourceTypes => types::list(&ask.query),
            Call::ResourceType(name) => types::show(&name),
            Call::TypeTemplate(name) => types::template(&name, &ask.query),
            Call::TemplateVersions => types::versions(),
            Call::Functions(version) => types::functions(&version, &ask.query),
            Call::Configs => self.list_configs(&ask).await,
            Call::CreateConfig => self.create_config(ask).await,
            Call::Config(id) => self.show_config(&ask, &id).await,
            Call::DeleteConfig(id) => self.delete_config(&ask, &id).await,
            Call::Deployments => self.list_deployments(&ask).await,
            Call::CreateDeployment => self.create_deployment(ask).await,
            Call::Deployment(id) => self.show_deployment(&ask, &id).await,
            Call::UpdateDeployment(id) => self.update_deployment(ask, &id).await,
            Call::DeleteDeployment(id) => self.delete_deployment(&ask, &id).await,
            Call::ServerDeployments(server) => self.server_deployments(&ask, &server).await,
            Call::NodeReports => self.list_node_reports(&ask).await,
            Call::NodeReport(server) => self.show_node_report(&ask, &server).await,
            Call::BuildInfo => Ok(build()),
            Call::Services => Ok(services()),
            // All others are answered by `dispatch`.
            _ => Err(Fault::no_route()),
        }
    }
}

fn origin(parts: &Parts) -> Origin {
    let known = parts.extensions.get::<Origin>().cloned();
    known.unwrap_or_else(|| {
        let host = parts.headers.get(header::HOST);
        let host = host.and_then(|host| host.to_str().ok());
        Origin::new("http", host, "localhost", PREFIX)
    })
}

/// What versions there are. Heat names its root by the host alone, so do we: the server answers
/// there too.
fn versions(parts: &Parts) -> Response<Body> {
    let href = format!("{}/v1/", origin(parts).service(""));
    let link = json!({ "rel": "self", "href": href });
    let version = json!({ "id": "v1.0", "status": "CURRENT", "links": [link] });
    let body = json!({ "versions": [version] });
    reply::json(StatusCode::MULTIPLE_CHOICES, &body)
}

fn other_method(method: &Method, segments: &[String]) -> Answer {
    let allowed = routes::allowed(segments);
    if allowed.is_empty() {
        return Err(Fault::no_route());
    }
    if method != Method::OPTIONS {
        return Err(Fault::method());
    }
    let mut response = reply::no_content();
    if let Ok(value) = HeaderValue::from_str(&allowed.join(",")) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    Ok(response)
}

fn too_large() -> Fault {
    let message = format!(
        "Request limit exceeded: JSON body size exceeds maximum allowed size ({BODY_LIMIT} bytes)."
    );
    Fault::new(StatusCode::BAD_REQUEST, "RequestLimitExceeded", message)
}

fn build() -> Response<Body> {
    let revision = json!({ "revision": env!("CARGO_PKG_VERSION") });
    reply::ok(&json!({ "api": revision, "engine": revision }))
}

/// The one engine that there is: this process.
fn services() -> Response<Body> {
    // The kernel's word, as `hostname` prints it.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().to_owned();
    let now = reply::time(jiff::Timestamp::now());
    // One engine per host keeps one id, whoever asks and however often it was started.
    let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_DNS, host.as_bytes()).to_string();
    let service = json!({
        "id": id, "engine_id": id, "binary": "heat-engine", "topic": "engine",
        "host": host, "hostname": host, "report_interval": 60, "status": "up",
        "created_at": now, "updated_at": now, "deleted_at": Value::Null,
    });
    reply::ok(&json!({ "services": [service] }))
}
