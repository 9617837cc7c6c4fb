//! Tags, and taking an image out of use and back.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;
use openstack_api::{ApiError, Caller};

use super::record::{self, Record};
use super::{Asker, Images, fields};
use crate::Failure;

/// Changes an image that the caller may change.
async fn change(
    images: &Images,
    caller: &Caller,
    id: String,
    work: impl FnOnce(&mut Record) -> Result<(), ApiError> + Send + 'static,
) -> Result<Response, Failure> {
    let asker = Asker::of(caller);
    images
        .write(move |tx| {
            let mut record = record::visible(tx, &id, &asker)?;
            asker.must_own(&record)?;
            work(&mut record)?;
            record::save(tx, &mut record, Timestamp::now())
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn add_tag(
    State(images): State<Images>,
    caller: Caller,
    Path((id, tag)): Path<(String, String)>,
) -> Result<Response, Failure> {
    change(&images, &caller, id, move |record| {
        let mut tags = record.tags();
        fields::check_tag(&tags, &tag)?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
        record.set("tags", tags);
        Ok(())
    })
    .await
}

pub(super) async fn remove_tag(
    State(images): State<Images>,
    caller: Caller,
    Path((id, tag)): Path<(String, String)>,
) -> Result<Response, Failure> {
    change(&images, &caller, id, move |record| {
        let mut tags = record.tags();
        let at = tags.iter().position(|known| *known == tag);
        let at = at
            .ok_or_else(|| ApiError::not_found(format!("Image {} has no tag {tag}.", record.id)))?;
        tags.remove(at);
        record.set("tags", tags);
        Ok(())
    })
    .await
}

async fn turn(
    images: Images,
    caller: Caller,
    id: String,
    to: &'static str,
) -> Result<Response, Failure> {
    change(&images, &caller, id, move |record| match record.status() {
        "active" | "deactivated" => {
            record.set("status", to);
            Ok(())
        }
        other => Err(ApiError::forbidden(format!(
            "Not allowed to change an image from status '{other}' to '{to}'."
        ))),
    })
    .await
}

pub(super) async fn deactivate(
    State(images): State<Images>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    turn(images, caller, id, "deactivated").await
}

pub(super) async fn reactivate(
    State(images): State<Images>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    turn(images, caller, id, "active").await
}
