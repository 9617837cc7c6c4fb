//! Projects that a shared image is shared with.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;
use openstack_api::{ApiError, Caller, JsonBody, time};
use serde_json::{Value, json};
use store::{Read, Row, params};

use super::record::{self, Record};
use super::{Asker, Images};
use crate::Failure;

const STATUSES: [&str; 3] = ["pending", "accepted", "rejected"];

fn shown(mut row: Row) -> Result<Value, Failure> {
    let at = |micros: i64| time::seconds(Timestamp::from_microsecond(micros).unwrap_or_default());
    Ok(json!({
        "image_id": row.take::<String>(0)?,
        "member_id": row.take::<String>(1)?,
        "status": row.take::<String>(2)?,
        "created_at": at(row.take(3)?),
        "updated_at": at(row.take(4)?),
        "schema": "/v2/schemas/member",
    }))
}

const COLUMNS: &str =
    "SELECT image_id, member, status, created, updated FROM image_member WHERE image_id = ?1";

fn one(read: &Read<'_>, id: &str, member: &str) -> Result<Option<Value>, Failure> {
    let row = read.query_one(&format!("{COLUMNS} AND member = ?2"), params![id, member])?;
    row.map(shown).transpose()
}

fn missing(id: &str, member: &str) -> ApiError {
    ApiError::not_found(format!("Image {id} is not shared with project {member}."))
}

fn shared(record: &Record) -> Result<(), ApiError> {
    if record.text("visibility") == "shared" {
        Ok(())
    } else {
        Err(ApiError::forbidden("Only shared images have members."))
    }
}

pub(super) async fn create(
    State(images): State<Images>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    let member = body
        .get("member")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if member.is_empty() || member.chars().count() > 255 {
        return Err(
            ApiError::bad_request("The body must name a 'member' of 1 to 255 characters.").into(),
        );
    }
    let asker = Asker::of(&caller);
    let value = images
        .write(move |tx| {
            let record = record::visible(tx, &id, &asker)?;
            asker.must_own(&record)?;
            shared(&record)?;
            if one(tx, &id, &member)?.is_some() {
                let words = format!("The target member {member} is already associated with image {id}.");
                return Err(ApiError::conflict(words).into());
            }
            let now = Timestamp::now().as_microsecond();
            tx.execute(
                "INSERT INTO image_member (image_id, member, status, created, updated) VALUES (?1, ?2, 'pending', ?3, ?3)",
                params![&id, &member, now],
            )?;
            one(tx, &id, &member)?.ok_or_else(|| missing(&id, &member).into())
        })
        .await?;
    Ok(axum::Json(value).into_response())
}

pub(super) async fn list(
    State(images): State<Images>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let asker = Asker::of(&caller);
    let members = images
        .read(move |read| {
            let record = record::visible(read, &id, &asker)?;
            if record.text("visibility") != "shared" {
                return Ok(Vec::new());
            }
            let rows = read.query(&format!("{COLUMNS} ORDER BY created, member"), params![&id])?;
            let members = rows
                .into_iter()
                .map(shown)
                .collect::<Result<Vec<_>, Failure>>()?;
            let owns = asker.owns(&record);
            Ok(members
                .into_iter()
                .filter(|member| owns || member["member_id"] == asker.project)
                .collect())
        })
        .await?;
    Ok(axum::Json(json!({"members": members, "schema": "/v2/schemas/members"})).into_response())
}

pub(super) async fn show(
    State(images): State<Images>,
    caller: Caller,
    Path((id, member)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let asker = Asker::of(&caller);
    let value = images
        .read(move |read| {
            let record = record::visible(read, &id, &asker)?;
            let found =
                one(read, &id, &member)?.filter(|_| asker.owns(&record) || asker.project == member);
            found.ok_or_else(|| missing(&id, &member).into())
        })
        .await?;
    Ok(axum::Json(value).into_response())
}

pub(super) async fn update(
    State(images): State<Images>,
    caller: Caller,
    Path((id, member)): Path<(String, String)>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    let status = body
        .get("status")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if !STATUSES.contains(&status.as_str()) {
        return Err(ApiError::bad_request(format!(
            "The 'status' must be one of {}.",
            STATUSES.join(", ")
        ))
        .into());
    }
    let asker = Asker::of(&caller);
    let value = images
        .write(move |tx| {
            record::visible(tx, &id, &asker)?;
            asker.must_write()?;
            if one(tx, &id, &member)?.is_none() {
                return Err(missing(&id, &member).into());
            }
            // The owner offers, the member decides.
            if asker.project != member && !asker.admin {
                return Err(ApiError::forbidden("Only the member itself accepts or rejects an image.").into());
            }
            tx.execute(
                "UPDATE image_member SET status = ?3, updated = ?4 WHERE image_id = ?1 AND member = ?2",
                params![&id, &member, status, Timestamp::now().as_microsecond()],
            )?;
            one(tx, &id, &member)?.ok_or_else(|| missing(&id, &member).into())
        })
        .await?;
    Ok(axum::Json(value).into_response())
}

pub(super) async fn delete(
    State(images): State<Images>,
    caller: Caller,
    Path((id, member)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let asker = Asker::of(&caller);
    images
        .write(move |tx| {
            let record = record::visible(tx, &id, &asker)?;
            asker.must_own(&record)?;
            shared(&record)?;
            let gone = tx.execute(
                "DELETE FROM image_member WHERE image_id = ?1 AND member = ?2",
                params![&id, &member],
            )?;
            if gone == 0 {
                Err(missing(&id, &member).into())
            } else {
                Ok(())
            }
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
