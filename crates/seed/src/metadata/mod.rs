//! The metadata listener: what nodes ask, held open until something changes, and what they report.
//!
//! `GET /metadata/<server>/<secret>` answers at once, with an `ETag`. With that in `If-None-Match`
//! and `Prefer: wait=N` the request is held until the document changes; 304 says that it did not.
//! `HEAD` never waits. `POST …/report` takes what a node says of its last run. The secret in the
//! address is all the authority there is, and it reaches this one server's document only.

mod crowd;
mod nodes;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::later::{Holds, Later};
use crowd::Crowd;

pub use nodes::EngineNodes;

/// Where it is mounted.
pub const PREFIX: &str = "/metadata";

/// The longest that a request is held, whatever it asks.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// The most bytes of a report: the tail of a script's output and some words.
const REPORT_LIMIT: usize = 256 * 1024;

/// A node's document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Changes when and only when the text does.
    pub etag: String,
    /// JSON.
    pub text: Bytes,
}

/// Where documents come from and reports go to.
#[async_trait]
pub trait Nodes: Send + Sync + 'static {
    /// Whether there is such a server and this is its secret.
    async fn admits(&self, server: &str, secret: &str) -> Result<bool, NodesError>;

    /// The document of a server.
    async fn document(&self, server: &str) -> Result<Document, NodesError>;

    /// The document as soon as its tag is not `etag`; none when it still is after `wait`.
    async fn changed(
        &self,
        server: &str,
        etag: &str,
        wait: Duration,
    ) -> Result<Option<Document>, NodesError>;

    /// Keeps a report of a server.
    async fn report(&self, server: &str, report: serde_json::Value) -> Result<(), NodesError>;
}

/// Why a node could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum NodesError {
    /// The document cannot be had now.
    #[error("metadata of server `{server}` is not at hand")]
    Document {
        /// The server.
        server: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The report is not one.
    #[error("a report of server `{server}` cannot be read")]
    Report {
        /// The server.
        server: String,
        /// The cause.
        source: serde_json::Error,
    },
}

type Reply = Response<Body>;

/// The metadata service.
pub struct Metadata {
    nodes: Arc<dyn Nodes>,
    stop: CancellationToken,
    crowd: Crowd,
}

impl Metadata {
    /// A service over `nodes`. When `stop` is cancelled, held requests are answered.
    pub fn new(nodes: Arc<dyn Nodes>, stop: CancellationToken) -> Metadata {
        Metadata {
            nodes,
            stop,
            crowd: Crowd::default(),
        }
    }

    /// Its routes, without the prefix `/metadata`.
    pub fn router(self) -> Router {
        let metadata = Arc::new(self);
        Router::new().fallback(move |request: Request<Body>| {
            let metadata = Arc::clone(&metadata);
            async move { answer(metadata, request).await }
        })
    }

    /// The document as it is.
    async fn show(&self, server: &str, secret: &str) -> Result<Reply, NodesError> {
        if !self.nodes.admits(server, secret).await? {
            return Ok(plain(StatusCode::NOT_FOUND));
        }
        Ok(full(self.nodes.document(server).await?))
    }

    /// The document if it is not the one that the node has.
    async fn compare(&self, server: &str, secret: &str, etag: &str) -> Result<Reply, NodesError> {
        if !self.nodes.admits(server, secret).await? {
            return Ok(plain(StatusCode::NOT_FOUND));
        }
        let document = self.nodes.document(server).await?;
        Ok(if document.etag == etag {
            unchanged(etag)
        } else {
            full(document)
        })
    }

    /// Waits for another document than the one that the node has.
    async fn wait(&self, server: &str, held: &Held) -> Result<Reply, NodesError> {
        let began = Instant::now();
        let changed = tokio::select! {
            changed = self.nodes.changed(server, &held.etag, held.wait) => changed?,
            () = self.stop.cancelled() => None,
        };
        let Some(document) = changed else {
            return Ok(unchanged(&held.etag));
        };
        // Who was answered at once was not woken with others.
        if began.elapsed() > Duration::from_millis(1) {
            self.crowd.turn().await;
        }
        Ok(full(document))
    }

    async fn report(&self, server: &str, secret: &str, body: Body) -> Result<Reply, NodesError> {
        if !self.nodes.admits(server, secret).await? {
            return Ok(plain(StatusCode::NOT_FOUND));
        }
        let Ok(body) = to_bytes(body, REPORT_LIMIT).await else {
            return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE));
        };
        let report: serde_json::Value = match serde_json::from_slice(&body) {
            Ok(report @ serde_json::Value::Object(_)) => report,
            Ok(_) | Err(_) => return Ok(plain(StatusCode::BAD_REQUEST)),
        };
        match self.nodes.report(server, report).await {
            Ok(()) => Ok(plain(StatusCode::NO_CONTENT)),
            Err(NodesError::Report { .. }) => Ok(plain(StatusCode::BAD_REQUEST)),
            Err(error) => Err(error),
        }
    }
}

/// Answers a node.
async fn answer(metadata: Arc<Metadata>, request: Request<Body>) -> Reply {
    let path = request.uri().path().to_owned();
    let mut words = path.trim_start_matches('/').split('/');
    let (server, secret, rest) = (words.next(), words.next(), words.next());
    let (Some(server), Some(secret), None) = (server, secret, words.next()) else {
        return plain(StatusCode::NOT_FOUND);
    };
    let answer = match (request.method(), rest) {
        (&Method::HEAD, None) => metadata.show(server, secret).await,
        (&Method::GET, None) => match Held::asked(request.headers()) {
            None => metadata.show(server, secret).await,
            Some(held) if held.wait.is_zero() => metadata.compare(server, secret, &held.etag).await,
            Some(held) => {
                let holds = request.extensions().get().copied();
                hold(&metadata, (server, secret), held, holds).await
            }
        },
        (&Method::POST, Some("report")) => {
            metadata.report(server, secret, request.into_body()).await
        }
        (_, None | Some("report")) => Ok(plain(StatusCode::METHOD_NOT_ALLOWED)),
        _ => Ok(plain(StatusCode::NOT_FOUND)),
    };
    answer.unwrap_or_else(failed)
}

/// Holds a request; where its connection does that, hands the wait over to it.
async fn hold(
    metadata: &Arc<Metadata>,
    (server, secret): (&str, &str),
    held: Held,
    holds: Option<Holds>,
) -> Result<Reply, NodesError> {
    if !metadata.nodes.admits(server, secret).await? {
        return Ok(plain(StatusCode::NOT_FOUND));
    }
    let (metadata, server) = (Arc::clone(metadata), server.to_owned());
    let etag = held.etag.clone();
    let later = Later {
        answer: Box::pin(async move {
            let answer = metadata.wait(&server, &held).await;
            answer.unwrap_or_else(failed)
        }),
        early: Box::new(move || unchanged(&etag)),
    };
    Ok(match holds {
        Some(Holds) => later.into_response(),
        None => later.answer.await,
    })
}

#[expect(clippy::needless_pass_by_value, reason = "it is where the error ends")]
fn failed(error: NodesError) -> Reply {
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    tracing::error!(%error, cause, "a node was not answered");
    plain(StatusCode::SERVICE_UNAVAILABLE)
}

/// What a request that may be held asks.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    etag: String,
    wait: Duration,
}

impl Held {
    fn asked(headers: &HeaderMap) -> Option<Held> {
        let etag = headers.get(header::IF_NONE_MATCH)?.to_str().ok()?;
        let wait = headers.get_all("prefer").iter();
        let wait = wait
            .filter_map(|value| wait_of(value.to_str().ok()?))
            .next();
        Some(Held {
            etag: etag.trim_start_matches("W/").to_owned(),
            wait: wait.unwrap_or(Duration::ZERO).min(LONGEST_WAIT),
        })
    }
}

/// The seconds of `wait=N` among the preferences of RFC 7240.
fn wait_of(preferences: &str) -> Option<Duration> {
    let mut preferences = preferences.split([',', ';']).map(str::trim);
    let seconds = preferences.find_map(|one| one.strip_prefix("wait="))?;
    seconds
        .trim_matches('"')
        .parse()
        .ok()
        .map(Duration::from_secs)
}

fn full(document: Document) -> Reply {
    let mut response = Response::new(Body::from(document.text));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, kind);
    with_etag(headers, &document.etag);
    response
}

fn unchanged(etag: &str) -> Reply {
    let mut response = plain(StatusCode::NOT_MODIFIED);
    with_etag(response.headers_mut(), etag);
    response
}

fn with_etag(headers: &mut HeaderMap, etag: &str) {
    if let Ok(value) = HeaderValue::from_str(etag) {
        headers.insert(header::ETAG, value);
    }
    // The document holds credentials; nothing on the way may keep it.
    let never = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, never);
}

fn plain(status: StatusCode) -> Reply {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
pub(crate) mod tests;
