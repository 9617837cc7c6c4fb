//! Groups and who is in them.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use openstack_api::{ApiError, Caller, JsonBody, Origin, Params, new_id};
use serde_json::{Value, json};
use store::params;

use super::object::{self, Doc, Kind};
use super::{Identity, access, fields, routes};
use crate::Failure;

fn check(doc: &Doc, new: bool) -> Result<(), ApiError> {
    fields::name(doc, "name", 64, new)?;
    fields::optional_text(doc, "description")?;
    fields::optional_text(doc, "domain_id")?;
    Ok(())
}

pub(crate) async fn create(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:create_group")?;
    let mut doc = fields::document(body, Kind::Group)?;
    check(&doc, true)?;
    let domain =
        fields::optional_text(&doc, "domain_id")?.unwrap_or_else(|| routes::domain_of(&caller));
    doc.insert("id".into(), json!(new_id()));
    doc.insert("domain_id".into(), json!(domain));
    doc.entry("description").or_insert(json!(""));
    let made = doc.clone();
    identity
        .write(move |tx| {
            object::need(tx, Kind::Domain, &domain)?;
            object::put(tx, Kind::Group, &doc, true)
        })
        .await?;
    Ok(object::reply(
        StatusCode::CREATED,
        &origin,
        Kind::Group,
        &made,
    ))
}

pub(crate) async fn list(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    query: Params,
    uri: Uri,
) -> Result<Response, Failure> {
    routes::may_read(&caller, "identity:list_groups")?;
    let mut docs = identity
        .read(|read| object::list(read, Kind::Group))
        .await?;
    object::filter(&mut docs, &query, &["name", "domain_id"], &[]);
    Ok(object::reply_list(
        &origin,
        &uri.to_string(),
        Kind::Group,
        &docs,
    ))
}

pub(crate) async fn show(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    routes::may_read(&caller, "identity:get_group")?;
    let doc = identity
        .read(move |read| object::need(read, Kind::Group, &id))
        .await?;
    Ok(object::reply(StatusCode::OK, &origin, Kind::Group, &doc))
}

pub(crate) async fn update(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:update_group")?;
    let change = fields::document(body, Kind::Group)?;
    check(&change, false)?;
    let doc = identity
        .write(move |tx| {
            let mut doc = object::need(tx, Kind::Group, &id)?;
            for key in ["id", "domain_id"] {
                fields::fixed(&doc, &change, key)?;
            }
            doc.extend(change);
            object::put(tx, Kind::Group, &doc, false)?;
            Ok(doc)
        })
        .await?;
    Ok(object::reply(StatusCode::OK, &origin, Kind::Group, &doc))
}

pub(crate) async fn delete(
    State(identity): State<Identity>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:delete_group")?;
    identity
        .write(move |tx| {
            object::remove(tx, Kind::Group, &id)?;
            access::forget(tx, &id)?;
            tx.execute(
                "DELETE FROM identity_member WHERE group_id = ?1",
                params![&id],
            )?;
            Ok(())
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn members(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    query: Params,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Failure> {
    routes::may_read(&caller, "identity:list_users_in_group")?;
    let mut docs = identity
        .read(move |read| {
            object::need(read, Kind::Group, &id)?;
            let mut docs = Vec::new();
            for mut row in read.query(
                "SELECT user_id FROM identity_member WHERE group_id = ?1",
                params![&id],
            )? {
                docs.extend(object::get(read, Kind::User, &row.take::<String>(0)?)?);
            }
            Ok(docs)
        })
        .await?;
    object::filter(&mut docs, &query, &["name"], &["enabled"]);
    Ok(object::reply_list(
        &origin,
        &uri.to_string(),
        Kind::User,
        &docs,
    ))
}

pub(crate) async fn add(
    State(identity): State<Identity>,
    caller: Caller,
    Path((group, user)): Path<(String, String)>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:add_user_to_group")?;
    identity
        .write(move |tx| {
            object::need(tx, Kind::Group, &group)?;
            object::need(tx, Kind::User, &user)?;
            tx.execute(
                "INSERT OR IGNORE INTO identity_member (user_id, group_id) VALUES (?1, ?2)",
                params![&user, &group],
            )?;
            Ok(())
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn not_in(user: &str, group: &str) -> ApiError {
    ApiError::not_found(format!("User '{user}' not found in group '{group}'."))
}

pub(crate) async fn has(
    State(identity): State<Identity>,
    caller: Caller,
    Path((group, user)): Path<(String, String)>,
) -> Result<Response, Failure> {
    routes::may_read(&caller, "identity:check_user_in_group")?;
    identity
        .read(move |read| {
            object::need(read, Kind::Group, &group)?;
            object::need(read, Kind::User, &user)?;
            if access::groups(read, &user)?.contains(&group) {
                Ok(())
            } else {
                Err(not_in(&user, &group).into())
            }
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn remove(
    State(identity): State<Identity>,
    caller: Caller,
    Path((group, user)): Path<(String, String)>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:remove_user_from_group")?;
    identity
        .write(move |tx| {
            let gone = tx.execute(
                "DELETE FROM identity_member WHERE user_id = ?1 AND group_id = ?2",
                params![&user, &group],
            )?;
            if gone == 0 {
                Err(not_in(&user, &group).into())
            } else {
                Ok(())
            }
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
