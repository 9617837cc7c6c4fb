//! The data of images: uploaded, staged, imported, downloaded.
//!
//! An upload runs in a task of its own: when the client goes away the request's future is dropped, and the image
//! must still go back to `queued`.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use image_store::{Blob, ImageError};
use jiff::Timestamp;
use openstack_api::{ApiError, Caller, JsonBody};
use serde_json::Value;

use super::record::{self, Record};
use super::{Asker, Images, content_failure, serve};
use crate::Failure;

/// What staged data is used by: this, and the id of the image.
pub(super) const STAGED: &str = "stage:";

/// Body bytes of a refused upload that are still read, so that the client gets to see the refusal.
const DRAIN: usize = 8 << 20;

fn only_octets(headers: &HeaderMap) -> Result<(), ApiError> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if kind == "application/octet-stream" {
        Ok(())
    } else {
        Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("Not supported content type: '{kind}'."),
        ))
    }
}

fn not_queued(record: &Record) -> ApiError {
    ApiError::conflict(format!(
        "Image status transition from {} to saving is not allowed: image {} is not queued.",
        record.status(),
        record.id
    ))
}

fn need_formats(record: &Record) -> Result<(), ApiError> {
    if record.text("disk_format").is_empty() || record.text("container_format").is_empty() {
        let words = "Properties disk_format, container_format must be set prior to saving data.";
        return Err(ApiError::bad_request(words));
    }
    Ok(())
}

/// Moves an image from `queued` to `status`; of several at once one does.
async fn begin(
    images: &Images,
    id: String,
    asker: Asker,
    status: &'static str,
    formats: bool,
) -> Result<(), Failure> {
    images
        .write(move |tx| {
            let mut record = record::visible(tx, &id, &asker)?;
            asker.must_own(&record)?;
            if record.status() != "queued" {
                return Err(not_queued(&record).into());
            }
            if formats {
                need_formats(&record)?;
            }
            record.set("status", status);
            record::save(tx, &mut record, Timestamp::now())
        })
        .await
}

/// Writes what is known of the data once it is there.
fn describe(record: &mut Record, blob: &Blob, virtual_size: Option<u64>) {
    record.set("status", "active");
    record.set("size", blob.size);
    record.set("checksum", blob.md5.clone());
    record.set("os_hash_algo", "sha512");
    record.set("os_hash_value", blob.sha512.clone());
    record.set("virtual_size", virtual_size);
}

impl Images {
    async fn receive(
        &self,
        id: &str,
        owner: &str,
        body: Body,
        saving: bool,
    ) -> Result<(), Failure> {
        let received = self.stream(owner, body).await;
        let outcome = match received {
            Ok(blob) if saving => self.activate(id, &blob).await,
            Ok(_) => Ok(true),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(true) => Ok(()),
            Ok(false) => {
                // It was deleted meanwhile.
                self.content.release(owner).await.map_err(content_failure)?;
                Err(ApiError::new(
                    StatusCode::GONE,
                    format!("Image {id} was deleted during the upload."),
                )
                .into())
            }
            Err(failure) => {
                self.give_up(id).await?;
                self.content.release(owner).await.map_err(content_failure)?;
                Err(failure)
            }
        }
    }

    async fn stream(&self, owner: &str, body: Body) -> Result<Blob, Failure> {
        let mut upload = self.content.upload();
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let Ok(chunk) = chunk else {
                let received = upload.received();
                return Err(content_failure(ImageError::Broken { received }).into());
            };
            upload.push(chunk).await.map_err(content_failure)?;
        }
        Ok(upload.finish(owner).await.map_err(content_failure)?)
    }

    /// False where the image is gone.
    async fn activate(&self, id: &str, blob: &Blob) -> Result<bool, Failure> {
        let wanted = id.to_owned();
        let record = self.read(move |read| record::get(read, &wanted)).await?;
        let Some(record) = record else {
            return Ok(false);
        };
        let format = record.text("disk_format");
        let virtual_size = self
            .content
            .virtual_size(&blob.sha256, format)
            .await
            .map_err(content_failure)?;
        let (wanted, blob) = (id.to_owned(), blob.clone());
        self.write(move |tx| {
            let Some(mut record) = record::get(tx, &wanted)? else {
                return Ok(false);
            };
            describe(&mut record, &blob, virtual_size);
            record::save(tx, &mut record, Timestamp::now())?;
            Ok(true)
        })
        .await
    }

    async fn give_up(&self, id: &str) -> Result<(), Failure> {
        let id = id.to_owned();
        self.write(move |tx| {
            if let Some(mut record) = record::get(tx, &id)? {
                record.set("status", "queued");
                record::save(tx, &mut record, Timestamp::now())?;
            }
            Ok(())
        })
        .await
    }
}

/// Reads a little of what a refused client still sends: else it sees a reset instead of the refusal.
async fn drain(body: Body) {
    let mut chunks = body.into_data_stream();
    let mut read = 0;
    while let Some(Ok(chunk)) = chunks.next().await {
        read += chunk.len();
        if read > DRAIN {
            return;
        }
    }
}

async fn take_in(
    images: Images,
    asker: Asker,
    id: String,
    headers: HeaderMap,
    body: Body,
    saving: bool,
) -> Result<Response, Failure> {
    let (status, owner) = if saving {
        ("saving", id.clone())
    } else {
        ("uploading", format!("{STAGED}{id}"))
    };
    let begun = match only_octets(&headers) {
        Ok(()) => begin(&images, id.clone(), asker, status, saving).await,
        Err(error) => Err(error.into()),
    };
    if let Err(failure) = begun {
        drain(body).await;
        return Err(failure);
    }
    let task = tokio::spawn(async move { images.receive(&id, &owner, body, saving).await });
    task.await.map_err(|error| ApiError::internal(&error))??;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn upload(
    State(images): State<Images>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    take_in(images, Asker::of(&caller), id, headers, body, true).await
}

pub(super) async fn stage(
    State(images): State<Images>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    take_in(images, Asker::of(&caller), id, headers, body, false).await
}

/// `POST /v2/images/{id}/import`: staged data becomes the image's. Nothing is copied, so it is done at once.
pub(super) async fn import(
    State(images): State<Images>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    let method = body
        .get("method")
        .and_then(|method| method.get("name"))
        .and_then(Value::as_str);
    let method = method.ok_or_else(|| {
        ApiError::bad_request("Import request requires a 'method' with a 'name'.")
    })?;
    if method != "glance-direct" {
        return Err(
            ApiError::bad_request(format!("Unknown import method name '{method}'.")).into(),
        );
    }
    let asker = Asker::of(&caller);
    let wanted = id.clone();
    let record = images
        .read(move |read| {
            let record = record::visible(read, &wanted, &asker)?;
            asker.must_own(&record)?;
            Ok(record)
        })
        .await?;
    if record.status() != "uploading" {
        let words = format!(
            "Only images with status 'uploading' can be imported with glance-direct, not '{}'.",
            record.status()
        );
        return Err(ApiError::conflict(words).into());
    }
    need_formats(&record)?;
    let staged = format!("{STAGED}{id}");
    // Without data the upload to the staging area has not ended yet.
    let blob = images
        .content
        .used_by(&staged)
        .await
        .map_err(content_failure)?;
    let blob = blob.ok_or_else(|| {
        ApiError::conflict(format!("The data of image {id} is still being staged."))
    })?;
    images
        .content
        .hand_over(&staged, &id)
        .await
        .map_err(content_failure)?;
    if !images.activate(&id, &blob).await? {
        images.content.release(&id).await.map_err(content_failure)?;
        return Err(record::missing(&id).into());
    }
    Ok((StatusCode::ACCEPTED, axum::Json(record.shown())).into_response())
}

pub(super) async fn download(
    State(images): State<Images>,
    caller: Caller,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let asker = Asker::of(&caller);
    let admin = asker.admin;
    let wanted = id.clone();
    let record = images
        .read(move |read| record::visible(read, &wanted, &asker))
        .await?;
    match record.status() {
        "active" => {}
        "deactivated" if admin => {}
        "deactivated" => {
            return Err(ApiError::forbidden(
                "The requested image has been deactivated. Image data download is forbidden.",
            )
            .into());
        }
        _ => return Ok(StatusCode::NO_CONTENT.into_response()),
    }
    let blob = images.content.used_by(&id).await.map_err(content_failure)?;
    let Some(blob) = blob else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let mut response =
        serve::serve_content(&images.content, &blob.sha256, &method, &headers).await?;
    if response.status() == StatusCode::OK
        && let Ok(value) = HeaderValue::from_str(&blob.md5)
    {
        response
            .headers_mut()
            .insert(HeaderName::from_static("content-md5"), value);
    }
    Ok(response)
}

/// `GET /v2/images/{id}/extents`: where the raw form holds data. Ours; for who writes it to a disk.
pub(super) async fn extents(
    State(images): State<Images>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let asker = Asker::of(&caller);
    let wanted = id.clone();
    let record = images
        .read(move |read| record::visible(read, &wanted, &asker))
        .await?;
    if record.status() != "active" {
        return Err(
            ApiError::conflict(format!("Image {id} is {}, not active.", record.status())).into(),
        );
    }
    let raw = images
        .raw(&id)
        .await
        .map_err(|error| ApiError::bad_request(explain(&error)))?;
    serve::serve_extents(&images.content, &raw.sha256).await
}

/// The error with its causes.
pub(super) fn explain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        words.push_str(": ");
        words.push_str(&inner.to_string());
        cause = inner.source();
    }
    words
}
