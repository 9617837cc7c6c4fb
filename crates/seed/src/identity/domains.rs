//! Domains.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use openstack_api::{ApiError, Caller, JsonBody, Origin, Params, new_id};
use serde_json::{Value, json};
use store::{Tx, params};

use super::object::{self, Doc, Kind, enabled, text};
use super::{Identity, access, fields, projects, users};
use crate::Failure;

/// Id of the domain that is always there.
pub(crate) const DEFAULT: &str = "default";

fn check(doc: &Doc, new: bool) -> Result<(), ApiError> {
    fields::name(doc, "name", 64, new)?;
    fields::boolean(doc, "enabled")?;
    fields::optional_text(doc, "description")?;
    fields::object(doc, "options")?;
    fields::tags(doc)?;
    Ok(())
}

pub(crate) async fn create(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:create_domain")?;
    let mut doc = fields::document(body, Kind::Domain)?;
    check(&doc, true)?;
    if fields::optional_text(&doc, "id")?.is_some() {
        return Err(ApiError::bad_request("The ID of a domain is given by the server.").into());
    }
    let tags = fields::tags(&doc)?.unwrap_or_default();
    doc.insert("id".into(), json!(new_id()));
    doc.entry("enabled").or_insert(json!(true));
    if fields::optional_text(&doc, "description")?.is_none() {
        doc.insert("description".into(), json!(""));
    }
    doc.entry("options").or_insert(json!({}));
    doc.insert("tags".into(), json!(tags));
    let made = doc.clone();
    identity
        .write(move |tx| object::put(tx, Kind::Domain, &doc, true))
        .await?;
    Ok(object::reply(
        StatusCode::CREATED,
        &origin,
        Kind::Domain,
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
    super::routes::may_read(&caller, "identity:list_domains")?;
    let mut docs = identity
        .read(|read| object::list(read, Kind::Domain))
        .await?;
    object::filter(&mut docs, &query, &["name", "id"], &["enabled"]);
    Ok(object::reply_list(
        &origin,
        &uri.to_string(),
        Kind::Domain,
        &docs,
    ))
}

pub(crate) async fn show(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    // A caller may look at the domain that it belongs to or acts in.
    if caller.user_domain.id != id {
        super::routes::may_read(&caller, "identity:get_domain")?;
    }
    let doc = identity
        .read(move |read| object::need(read, Kind::Domain, &id))
        .await?;
    Ok(object::reply(StatusCode::OK, &origin, Kind::Domain, &doc))
}

pub(crate) async fn update(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:update_domain")?;
    let change = fields::document(body, Kind::Domain)?;
    check(&change, false)?;
    let doc = identity
        .write(move |tx| {
            let mut doc = object::need(tx, Kind::Domain, &id)?;
            fields::fixed(&doc, &change, "id")?;
            if id == DEFAULT && change.get("enabled") == Some(&json!(false)) {
                return Err(ApiError::forbidden("The default domain cannot be disabled.").into());
            }
            doc.extend(change);
            object::put(tx, Kind::Domain, &doc, false)?;
            Ok(doc)
        })
        .await?;
    Ok(object::reply(StatusCode::OK, &origin, Kind::Domain, &doc))
}

pub(crate) async fn delete(
    State(identity): State<Identity>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:delete_domain")?;
    identity
        .write(move |tx| {
            let doc = object::need(tx, Kind::Domain, &id)?;
            if id == DEFAULT {
                return Err(ApiError::forbidden("The default domain cannot be deleted.").into());
            }
            if enabled(&doc) {
                let words = "Cannot delete a domain that is enabled, please disable it first.";
                return Err(ApiError::forbidden(words).into());
            }
            empty(tx, &id)?;
            access::forget(tx, &id)?;
            object::remove(tx, Kind::Domain, &id)
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Deletes all that is in a domain.
fn empty(tx: &Tx<'_>, domain: &str) -> Result<(), Failure> {
    for user in object::list_in(tx, Kind::User, domain)? {
        users::erase(tx, text(&user, "id"))?;
    }
    for project in object::list_in(tx, Kind::Project, domain)? {
        projects::erase(tx, text(&project, "id"))?;
    }
    for kind in [Kind::Group, Kind::Role] {
        for doc in object::list_in(tx, kind, domain)? {
            let id = text(&doc, "id");
            access::forget(tx, id)?;
            tx.execute(
                "DELETE FROM identity_member WHERE group_id = ?1",
                params![id],
            )?;
            object::remove(tx, kind, id)?;
        }
    }
    Ok(())
}
