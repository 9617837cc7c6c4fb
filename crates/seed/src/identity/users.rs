//! Users and their passwords.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use openstack_api::{ApiError, Caller, JsonBody, Origin, Params, Secret, new_id};
use serde_json::{Value, json};
use store::{Tx, params};

use super::object::{self, Doc, Kind, text};
use super::{Identity, access, app_credentials, credentials, fields, logins, now, routes};
use crate::Failure;

fn check(doc: &Doc, new: bool) -> Result<(), ApiError> {
    fields::name(doc, "name", 255, new)?;
    fields::boolean(doc, "enabled")?;
    for key in ["description", "domain_id", "default_project_id", "password"] {
        fields::optional_text(doc, key)?;
    }
    fields::object(doc, "options")
}

/// Takes the password out of a document, so that it is kept nowhere else.
fn take_password(doc: &mut Doc) -> Option<Secret> {
    match doc.remove("password") {
        Some(Value::String(text)) => Some(Secret::new(text)),
        _ => None,
    }
}

pub(crate) async fn create(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:create_user")?;
    let mut doc = fields::document(body, Kind::User)?;
    check(&doc, true)?;
    let hash = match take_password(&mut doc) {
        Some(password) => Some(identity.0.logins.hash_chosen(&password).await?),
        None => None,
    };
    let domain =
        fields::optional_text(&doc, "domain_id")?.unwrap_or_else(|| routes::domain_of(&caller));
    doc.insert("id".into(), json!(new_id()));
    doc.insert("domain_id".into(), json!(domain));
    doc.entry("enabled").or_insert(json!(true));
    doc.entry("options").or_insert(json!({}));
    doc.insert("password_expires_at".into(), Value::Null);
    let made = doc.clone();
    identity
        .write(move |tx| {
            object::need(tx, Kind::Domain, &domain)?;
            object::put(tx, Kind::User, &doc, true)?;
            logins::set(tx, text(&doc, "id"), hash, now())
        })
        .await?;
    Ok(object::reply(
        StatusCode::CREATED,
        &origin,
        Kind::User,
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
    routes::may_read(&caller, "identity:list_users")?;
    let mut docs = identity.read(|read| object::list(read, Kind::User)).await?;
    object::filter(
        &mut docs,
        &query,
        &["name", "domain_id", "id"],
        &["enabled"],
    );
    Ok(object::reply_list(
        &origin,
        &uri.to_string(),
        Kind::User,
        &docs,
    ))
}

pub(crate) async fn show(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    routes::self_or_reader(&caller, &id, "identity:get_user")?;
    let doc = identity
        .read(move |read| object::need(read, Kind::User, &id))
        .await?;
    Ok(object::reply(StatusCode::OK, &origin, Kind::User, &doc))
}

pub(crate) async fn update(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:update_user")?;
    let mut change = fields::document(body, Kind::User)?;
    check(&change, false)?;
    let hash = match take_password(&mut change) {
        Some(password) => Some(identity.0.logins.hash_chosen(&password).await?),
        None => None,
    };
    change.remove("password_expires_at");
    let doc = identity
        .write(move |tx| {
            let mut doc = object::need(tx, Kind::User, &id)?;
            for key in ["id", "domain_id"] {
                fields::fixed(&doc, &change, key)?;
            }
            if let Some(hash) = hash {
                logins::set(tx, &id, Some(hash), now())?;
            }
            if change.get("enabled") == Some(&json!(false)) {
                logins::end_tokens(tx, &id, now())?;
            }
            doc.extend(change);
            object::put(tx, Kind::User, &doc, false)?;
            Ok(doc)
        })
        .await?;
    Ok(object::reply(StatusCode::OK, &origin, Kind::User, &doc))
}

pub(crate) async fn delete(
    State(identity): State<Identity>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:delete_user")?;
    identity.write(move |tx| erase(tx, &id)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Deletes a user with all that is the user's.
pub(crate) fn erase(tx: &Tx<'_>, id: &str) -> Result<(), Failure> {
    object::remove(tx, Kind::User, id)?;
    access::forget(tx, id)?;
    app_credentials::forget(tx, "user_id", id)?;
    credentials::forget(tx, "user_id", id)?;
    tx.execute(
        "DELETE FROM identity_member WHERE user_id = ?1",
        params![id],
    )?;
    tx.execute("DELETE FROM identity_login WHERE user_id = ?1", params![id])?;
    Ok(())
}

/// Needs no token: who knows the old password may set a new one.
pub(crate) async fn change_password(
    State(identity): State<Identity>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    let mut doc = fields::document(body, Kind::User)?;
    let mut take = |key: &str| match doc.remove(key) {
        Some(Value::String(text)) => Ok(Secret::new(text)),
        Some(_) => Err(ApiError::bad_request(format!(
            "Invalid input for field '{key}': it is not a text."
        ))),
        None => Err(ApiError::bad_request(format!(
            "'{key}' is a required property"
        ))),
    };
    let (old, new) = (take("original_password")?, take("password")?);
    let user = id.clone();
    let kept = identity
        .read(move |read| Ok(logins::kept(read, &user)?.0))
        .await?;
    if !identity.0.logins.verify(&old, kept).await? {
        return Err(ApiError::unauthorized().into());
    }
    let hash = identity.0.logins.hash_chosen(&new).await?;
    identity
        .write(move |tx| {
            object::need(tx, Kind::User, &id)?;
            logins::set(tx, &id, Some(hash), now())
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn projects(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    query: Params,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Failure> {
    routes::self_or_reader(&caller, &id, "identity:list_user_projects")?;
    let mut docs = identity
        .read(move |read| {
            object::need(read, Kind::User, &id)?;
            routes::targets_of(read, &id, Kind::Project)
        })
        .await?;
    object::filter(&mut docs, &query, &["name", "domain_id"], &["enabled"]);
    Ok(object::reply_list(
        &origin,
        &uri.to_string(),
        Kind::Project,
        &docs,
    ))
}

pub(crate) async fn groups(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Failure> {
    routes::self_or_reader(&caller, &id, "identity:list_groups_for_user")?;
    let docs = identity
        .read(move |read| {
            object::need(read, Kind::User, &id)?;
            let mut docs = Vec::new();
            for group in access::groups(read, &id)? {
                docs.extend(object::get(read, Kind::Group, &group)?);
            }
            Ok(docs)
        })
        .await?;
    Ok(object::reply_list(
        &origin,
        &uri.to_string(),
        Kind::Group,
        &docs,
    ))
}
