//! What changes something: sessions, boot override, power, virtual media.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Controller;
use super::error::Refusal;
use super::fetch::fetch;
use super::resources::{session, system};
use crate::boot::Device;
use crate::machine::{Lasting, Media, Reset, with_causes};

type Shared = State<Arc<Controller>>;

fn object(body: &Bytes) -> Result<Map<String, Value>, Refusal> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(body).map_err(|_| Refusal::malformed())
}

/// A word of an enumeration.
fn word<T: DeserializeOwned>(value: &Value, property: &str) -> Result<T, Refusal> {
    serde_json::from_value(value.clone()).map_err(|_| {
        let shown = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        Refusal::value(&shown, property)
    })
}

fn is_system(controller: &Controller, id: &str, uri: &Uri) -> Result<(), Refusal> {
    let known = controller.machine.spec.uuid.to_string() == id;
    known
        .then_some(())
        .ok_or_else(|| Refusal::missing(uri.path()))
}

fn is_drive(manager: &str, slot: &str, uri: &Uri) -> Result<(), Refusal> {
    let known = manager == super::resources::MANAGER && slot == "Cd";
    known
        .then_some(())
        .ok_or_else(|| Refusal::missing(uri.path()))
}

/// Opens a session.
pub async fn open_session(State(controller): Shared, body: Bytes) -> Result<Response, Refusal> {
    let body = object(&body)?;
    let text = |name: &str| {
        body.get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| Refusal::lacking(name))
    };
    if !controller.knows(text("UserName")?, text("Password")?) {
        return Err(Refusal::unauthorized());
    }
    let (id, token) = controller.sessions.add();
    let shown = session(&id, &controller.credentials.username);
    let place = format!("/redfish/v1/SessionService/Sessions/{id}");
    let headers = [(header::LOCATION.as_str(), place), ("x-auth-token", token)];
    Ok((StatusCode::CREATED, headers, Json(shown)).into_response())
}

/// Closes a session.
pub async fn close_session(
    State(controller): Shared,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<StatusCode, Refusal> {
    let closed = controller.sessions.close(&id);
    closed
        .then_some(StatusCode::NO_CONTENT)
        .ok_or_else(|| Refusal::missing(uri.path()))
}

/// Changes the boot override.
pub async fn change_system(
    State(controller): Shared,
    Path(id): Path<String>,
    uri: Uri,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    is_system(&controller, &id, &uri)?;
    let body = object(&body)?;
    if let Some(other) = body.keys().find(|key| *key != "Boot") {
        return Err(Refusal::read_only(other));
    }
    let boot = body
        .get("Boot")
        .and_then(Value::as_object)
        .ok_or_else(|| Refusal::lacking("Boot"))?;
    let mut wanted = controller.machine.boot_override();
    for (property, value) in boot {
        match property.as_str() {
            "BootSourceOverrideEnabled" => wanted.lasting = word(value, property)?,
            "BootSourceOverrideTarget" if value == "None" => wanted.device = None,
            "BootSourceOverrideTarget" => wanted.device = Some(word::<Device>(value, property)?),
            // A container has no firmware of either kind: both are taken.
            "BootSourceOverrideMode" if value == "UEFI" || value == "Legacy" => {}
            "BootSourceOverrideMode" => return Err(Refusal::value(&value.to_string(), property)),
            other => return Err(Refusal::read_only(other)),
        }
    }
    if wanted.lasting == Lasting::Disabled {
        wanted.device = None;
    }
    controller.machine.set_boot_override(wanted);
    Ok(Json(system(&controller.machine)))
}

/// Does something to the power.
pub async fn reset(
    State(controller): Shared,
    Path(id): Path<String>,
    uri: Uri,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    is_system(&controller, &id, &uri)?;
    let body = object(&body)?;
    let kind = body
        .get("ResetType")
        .ok_or_else(|| Refusal::lacking("ResetType"))?;
    let kind: Reset = word(kind, "ResetType")?;
    controller
        .machine
        .reset(kind)
        .map_err(|error| Refusal::internal(&with_causes(&error)))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Puts an image into the virtual drive.
pub async fn insert_media(
    State(controller): Shared,
    Path((manager, slot)): Path<(String, String)>,
    uri: Uri,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    is_drive(&manager, &slot, &uri)?;
    let body = object(&body)?;
    let url = body
        .get("Image")
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::lacking("Image"))?;
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(Refusal::value(url, "Image"));
    }
    match controller.machine.media() {
        // The same image again: a client that lost the answer asks once more.
        Some(media) if media.url == url => return Ok(StatusCode::NO_CONTENT),
        Some(_) => return Err(Refusal::occupied()),
        None => {}
    }
    let file = controller.machine.media_file();
    // The query of the address may carry a secret; it is not repeated.
    let shown = url.split_once('?').map_or(url, |(front, _)| front);
    fetch(url, &file)
        .await
        .map_err(|why| Refusal::unreachable(shown, &why))?;
    controller.machine.set_media(Some(Media {
        url: url.to_owned(),
        file,
    }));
    Ok(StatusCode::NO_CONTENT)
}

/// Takes the image out of the virtual drive.
pub async fn eject_media(
    State(controller): Shared,
    Path((id, slot)): Path<(String, String)>,
    uri: Uri,
) -> Result<StatusCode, Refusal> {
    is_drive(&id, &slot, &uri)?;
    if let Some(media) = controller.machine.media() {
        controller.machine.set_media(None);
        // An image that is gone already is as good as removed.
        match tokio::fs::remove_file(&media.file).await {
            Ok(()) | Err(_) => {}
        }
    }
    Ok(StatusCode::NO_CONTENT)
}
