//! The road of deploy agents: orders, reports, images, and the media that BMCs fetch.
//!
//! Agents show the secret of their node's running work as a bearer token; a medium's secret is in its address,
//! since BMCs can show nothing else. Strangers learn nothing: every refusal is the same 401.

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use baremetal::{AgentReport, Baremetal, NodeId};
use http::{HeaderMap, StatusCode, header};
use openstack_api::{ApiError, Dialect, JsonBody, Service};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::fault;

/// Where the road is mounted.
pub const PREFIX: &str = "/agent";

/// How much is read of a file at a time.
const CHUNK: usize = 256 << 10;

/// Opens raw images.
#[async_trait]
pub trait ImageFiles: Send + Sync {
    /// The raw image of this digest.
    async fn open(&self, sha256: &str) -> std::io::Result<std::fs::File>;
}

#[async_trait]
impl ImageFiles for image_store::ImageStore {
    async fn open(&self, sha256: &str) -> std::io::Result<std::fs::File> {
        let opened = self.open_blob(sha256).await;
        opened.map(|(file, _)| file).map_err(std::io::Error::other)
    }
}

#[derive(Clone)]
struct Agents {
    metal: Baremetal,
    images: Option<Arc<dyn ImageFiles>>,
}

/// The routes of the road.
pub fn agent_router(metal: Baremetal, images: Option<Arc<dyn ImageFiles>>) -> Router {
    let routes = Router::new()
        .route("/v1/deploy/{node}", get(orders).post(report))
        .route("/v1/deploy/{node}/image", get(image))
        .route("/v1/deploy/{node}/image/extents", get(extents))
        .route("/v1/media/{secret}/{file}", get(medium))
        .with_state(Agents { metal, images });
    Service::new(Dialect::Baremetal).wrap(routes)
}

/// Who shows which secret.
fn who(ident: &str, headers: &HeaderMap) -> Result<(NodeId, String), ApiError> {
    let id: NodeId = ident.parse().map_err(|_| ApiError::unauthorized())?;
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .ok_or_else(ApiError::unauthorized)?;
    Ok((id, token.trim().to_owned()))
}

async fn orders(
    State(agents): State<Agents>,
    Path(ident): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (id, token) = who(&ident, &headers)?;
    let orders = agents.metal.agent_orders(id, &token).await;
    Ok(Json(orders.map_err(fault::of)?).into_response())
}

async fn report(
    State(agents): State<Agents>,
    Path(ident): Path<String>,
    headers: HeaderMap,
    JsonBody(report): JsonBody<AgentReport>,
) -> Result<StatusCode, ApiError> {
    let (id, token) = who(&ident, &headers)?;
    agents
        .metal
        .agent_report(id, &token, report)
        .await
        .map_err(fault::of)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn open(
    agents: &Agents,
    ident: &str,
    headers: &HeaderMap,
) -> Result<std::fs::File, ApiError> {
    let (id, token) = who(ident, headers)?;
    let image = agents
        .metal
        .agent_image(id, &token)
        .await
        .map_err(fault::of)?;
    let images = agents
        .images
        .as_ref()
        .ok_or_else(|| ApiError::not_found("This server keeps no images."))?;
    images.open(&image.sha256).await.map_err(|error| {
        tracing::error!(image = %image.id, sha256 = %image.sha256, %error, "an image could not be opened");
        ApiError::not_found(format!("Image {} cannot be read: {error}", image.id))
    })
}

async fn image(
    State(agents): State<Agents>,
    Path(ident): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let file = open(&agents, &ident, &headers).await?;
    serve(file, &headers, "application/octet-stream").await
}

async fn extents(
    State(agents): State<Agents>,
    Path(ident): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let file = open(&agents, &ident, &headers).await?;
    let found = tokio::task::spawn_blocking(move || disk::sparse::extents(&file));
    let found = found.await.map_err(|error| ApiError::internal(&error))?;
    let found = found.map_err(|error| ApiError::internal(&error))?;
    let rows: Vec<Value> = found
        .iter()
        .map(|extent| json!({"offset": extent.offset, "length": extent.length}))
        .collect();
    Ok(Json(json!({"extents": rows})))
}

async fn medium(
    State(agents): State<Agents>,
    Path((secret, _)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let path = agents.metal.medium(&secret).await.map_err(fault::of)?;
    let file = std::fs::File::open(path).map_err(|error| ApiError::internal(&error))?;
    serve(file, &headers, "application/x-iso9660-image").await
}

/// A file, or the part of it that is asked for.
async fn serve(
    file: std::fs::File,
    headers: &HeaderMap,
    kind: &'static str,
) -> Result<Response, ApiError> {
    let inside = |error: std::io::Error| ApiError::internal(&error);
    let size = file.metadata().map_err(inside)?.len();
    let mut file = tokio::fs::File::from_std(file);
    let asked = headers.get(header::RANGE).and_then(|it| it.to_str().ok());
    let (start, length, status) = match asked.and_then(|text| text.strip_prefix("bytes=")) {
        None => (0, size, StatusCode::OK),
        Some(range) => match part(range, size) {
            Some((start, length)) => (start, length, StatusCode::PARTIAL_CONTENT),
            None => {
                let range = format!("bytes */{size}");
                let status = StatusCode::RANGE_NOT_SATISFIABLE;
                return Ok((status, [(header::CONTENT_RANGE, range)]).into_response());
            }
        },
    };
    file.seek(std::io::SeekFrom::Start(start))
        .await
        .map_err(inside)?;
    let body = Body::from_stream(ReaderStream::with_capacity(file.take(length), CHUNK));
    let mut response = (
        status,
        [
            (header::CONTENT_TYPE, kind.to_owned()),
            (header::CONTENT_LENGTH, length.to_string()),
            (header::ACCEPT_RANGES, "bytes".to_owned()),
        ],
        body,
    )
        .into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {start}-{}/{size}", start + length - 1);
        if let Ok(value) = range.parse() {
            response.headers_mut().insert(header::CONTENT_RANGE, value);
        }
    }
    Ok(response)
}

/// Start and length of one range; none: it lies outside, or is not one.
fn part(range: &str, size: u64) -> Option<(u64, u64)> {
    let (from, to) = range.trim().split_once('-')?;
    let (start, end) = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(start), Ok(end)) => (start, end.min(size.checked_sub(1)?)),
        (Ok(start), Err(_)) if to.is_empty() => (start, size.checked_sub(1)?),
        (Err(_), Ok(last)) if from.is_empty() && last > 0 => {
            (size.saturating_sub(last), size.checked_sub(1)?)
        }
        _ => return None,
    };
    (start <= end && start < size).then(|| (start, end - start + 1))
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn ranges() {
        assert_eq!(part("0-9", 100), Some((0, 10)));
        assert_eq!(part("90-", 100), Some((90, 10)));
        assert_eq!(part("-5", 100), Some((95, 5)));
        assert_eq!(part("50-999", 100), Some((50, 50)));
        for wrong in ["100-", "9-3", "x", "-", "0-1,3-4", "-0"] {
            assert_eq!(part(wrong, 100), None, "{wrong}");
        }
        assert_eq!(part("0-", 0), None);
    }
}
