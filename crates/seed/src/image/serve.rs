//! Hands content out, whole or in one range. Whoever calls has checked who asks.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use image_store::ImageStore;
use openstack_api::ApiError;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::content_failure;
use crate::Failure;

/// Read at a time.
const CHUNK: usize = 256 << 10;

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part { start: u64, end: u64 },
    Nothing,
}

/// Reads `bytes=a-b`, `bytes=a-` and `bytes=-n`. What is malformed or has several ranges is ignored, as HTTP allows.
fn range(text: Option<&str>, size: u64) -> Wanted {
    let Some(spec) = text.and_then(|text| text.trim().strip_prefix("bytes=")) else {
        return Wanted::All;
    };
    let Some((from, to)) = spec.trim().split_once('-') else {
        return Wanted::All;
    };
    let number = |text: &str| {
        (text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse::<u64>().ok())
            .flatten()
    };
    let (start, end) = match (from.is_empty(), to.is_empty()) {
        (true, true) => return Wanted::All,
        (true, false) => match number(to) {
            Some(0) => return Wanted::Nothing,
            Some(last) => (size.saturating_sub(last), size),
            None => return Wanted::All,
        },
        (false, open) => match (number(from), if open { Some(u64::MAX) } else { number(to) }) {
            (Some(start), Some(last)) if last >= start => (start, last.saturating_add(1).min(size)),
            _ => return Wanted::All,
        },
    };
    if start >= size {
        Wanted::Nothing
    } else {
        Wanted::Part { start, end }
    }
}

/// Content by its digest: 200, 206 for one range, 416 for a range outside, 404 where it is not here.
pub async fn serve_content(
    content: &ImageStore,
    sha256: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let (file, size) = content.open_blob(sha256).await.map_err(content_failure)?;
    let asked = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok());
    let (status, start, end) = match range(asked, size) {
        Wanted::All => (StatusCode::OK, 0, size),
        Wanted::Part { start, end } => (StatusCode::PARTIAL_CONTENT, start, end),
        Wanted::Nothing => {
            let words = format!("The range is outside of the {size} bytes.");
            let mut error = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, words);
            if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
                error = error.header(header::CONTENT_RANGE, value);
            }
            return Err(error.into());
        }
    };
    let body = if *method == Method::HEAD {
        Body::empty()
    } else {
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(CHUNK);
        file.seek(std::io::SeekFrom::Start(start))
            .await
            .map_err(|error| ApiError::internal(&error))?;
        Body::from_stream(ReaderStream::with_capacity(file.take(end - start), CHUNK))
    };
    let mut response = (status, body).into_response();
    let out = response.headers_mut();
    out.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    out.insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(value) =
            HeaderValue::from_str(&format!("bytes {start}-{}/{size}", end.saturating_sub(1)))
    {
        out.insert(header::CONTENT_RANGE, value);
    }
    Ok(response)
}

/// `{"size", "sha256", "extents": [{"offset", "length"}]}`: the runs of bytes that hold data. The digest is of all
/// `size` bytes, zeros included.
pub async fn serve_extents(content: &ImageStore, sha256: &str) -> Result<Response, Failure> {
    let (_, size) = content.open_blob(sha256).await.map_err(content_failure)?;
    let extents = content.extents(sha256).await.map_err(content_failure)?;
    let extents: Vec<_> = extents
        .iter()
        .map(|extent| json!({"offset": extent.offset, "length": extent.length}))
        .collect();
    Ok(axum::Json(json!({"size": size, "sha256": sha256, "extents": extents})).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let part = |start, end| Wanted::Part { start, end };
        for (text, wanted) in [
            ("bytes=0-4", part(0, 5)),
            ("bytes=2-", part(2, 10)),
            ("bytes=-3", part(7, 10)),
            ("bytes=-30", part(0, 10)),
            ("bytes=5-100", part(5, 10)),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=50-60", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=4-2", Wanted::All),
            ("bytes=0-1,3-4", Wanted::All),
            ("lines=0-1", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=x-2", Wanted::All),
        ] {
            assert_eq!(range(Some(text), 10), wanted, "{text}");
        }
        assert_eq!(range(None, 10), Wanted::All);
    }
}
