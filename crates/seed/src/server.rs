//! Listens, and hands each request to the service whose prefix it has.
//!
//! What happens on a connection is in [`crate::connection`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Request, StatusCode, Uri, header, uri::PathAndQuery};
use openstack_api::Origin;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::connection::Connection;
use crate::{SeedError, unread};

/// How long open requests may go on when the seed is told to stop.
const FAREWELL: Duration = Duration::from_secs(5);

/// A service under its prefix.
pub struct Mounted {
    /// First part of the path, such as `/image`.
    pub prefix: &'static str,
    /// Its entry in the catalog, if it has one.
    pub catalog: Option<CatalogEntry>,
    /// Its routes, without the prefix.
    pub router: Router,
}

/// How a service is listed in the catalog.
#[derive(Debug, Clone, Copy)]
pub struct CatalogEntry {
    /// Type, such as `image`.
    pub kind: &'static str,
    /// Name, such as `glance`.
    pub name: &'static str,
    /// What follows the prefix in endpoint URLs, such as `/v1/%(project_id)s`.
    pub path: &'static str,
}

/// All services, by prefix.
pub(crate) struct Services {
    mounted: Vec<Mounted>,
}

impl Services {
    pub(crate) fn new(mounted: Vec<Mounted>) -> Self {
        Self { mounted }
    }

    /// Cuts the prefix off and asks the service behind it.
    pub(crate) async fn answer<B>(
        &self,
        mut request: Request<B>,
        scheme: &'static str,
        local: &str,
    ) -> Response
    where
        B: axum::body::HttpBody<Data = bytes::Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let path = request.uri().path();
        let found = self.mounted.iter().find_map(|service| {
            let rest = path.strip_prefix(service.prefix)?;
            (rest.is_empty() || rest.starts_with('/')).then_some((service, rest))
        });
        let Some((service, rest)) = found else {
            let mut response = self.outside(path);
            let (_, unread) = unread::lend(request.into_body(), &HeaderMap::new());
            unread.settle(&mut response).await;
            return response;
        };
        // Clients end paths with a slash at will, and no service gives that a meaning.
        let rest = match rest.trim_end_matches('/') {
            "" => "/",
            trimmed => trimmed,
        };
        let inner = match request.uri().query() {
            Some(query) => format!("{rest}?{query}"),
            None => rest.to_owned(),
        };
        let Ok(inner) = inner.parse::<PathAndQuery>() else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        let host = request
            .headers()
            .get(header::HOST)
            .and_then(|value| value.to_str().ok());
        let origin = Origin::new(scheme, host, local, service.prefix);
        *request.uri_mut() = Uri::from(inner);
        request.extensions_mut().insert(origin);
        let (parts, body) = request.into_parts();
        let (body, unread) = unread::lend(body, &parts.headers);
        let request = Request::from_parts(parts, body);
        let mut response = match service.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        unread.settle(&mut response).await;
        response
    }

    /// The root lists what is here; everything else outside the prefixes is nowhere.
    fn outside(&self, path: &str) -> Response {
        let prefixes: Vec<_> = self.mounted.iter().map(|service| service.prefix).collect();
        let (status, body) = if path == "/" {
            (StatusCode::OK, json!({"services": prefixes}))
        } else {
            let message = format!(
                "nothing is at {path}; services are at {}",
                prefixes.join(", ")
            );
            (
                StatusCode::NOT_FOUND,
                json!({"error": {"code": 404, "title": "Not Found", "message": message}}),
            )
        };
        let mut response = (status, body.to_string()).into_response();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        );
        response
    }
}

/// A bound socket.
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    small: bool,
}

impl Listener {
    /// Binds; `small` for listeners that nodes hold connections to.
    pub(crate) async fn bind(address: SocketAddr, small: bool) -> Result<Self, SeedError> {
        let wrap = |source| SeedError::Listen { address, source };
        let socket = TcpListener::bind(address).await.map_err(wrap)?;
        let address = socket.local_addr().map_err(wrap)?;
        Ok(Self {
            socket,
            address,
            small,
        })
    }

    /// The address with the port that was really bound.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then lets open requests finish.
    pub(crate) async fn serve(
        self,
        services: Arc<Services>,
        tls: Option<TlsAcceptor>,
        stop: CancellationToken,
    ) {
        let open = TaskTracker::new();
        let ends = CancellationToken::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let connection = Connection {
                        services: Arc::clone(&services),
                        local: self.address.to_string(),
                        small: self.small,
                        stop: stop.clone(),
                        ends: ends.clone(),
                    };
                    let tls = tls.clone();
                    open.spawn(async move { connection.accept(stream, tls).await });
                }
                Err(error) => {
                    // Most likely no file descriptor is left: others close theirs meanwhile.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(self.socket);
        ends.cancel();
        open.close();
        if tokio::time::timeout(FAREWELL, open.wait()).await.is_err() {
            tracing::warn!(open = open.len(), "requests were cut off at the end");
        }
    }
}

/// Raises the soft limit of open files to the hard one: each held connection takes one.
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
