//! Application credentials: a user's own login for a program, for one project and a choice of roles.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use jiff::Timestamp;
use openstack_api::{ApiError, Caller, JsonBody, Origin, Params, Secret, new_id};
use serde_json::{Value, json};
use store::{Read, Tx, params};

use super::object::{self, Doc, Kind, text};
use super::{Identity, access, fields, now, password, routes};
use crate::Failure;

/// Whether it ended.
pub(crate) fn expired(doc: &Doc, now: Timestamp) -> bool {
    // The stored form is checked when it is made.
    doc.get("expires_at")
        .and_then(Value::as_str)
        .and_then(parse_time)
        .is_some_and(|end| end <= now)
}

/// The credential, where it exists and has not ended.
pub(crate) fn live(read: &Read<'_>, id: &str, now: Timestamp) -> Result<Option<Doc>, Failure> {
    Ok(object::get(read, Kind::AppCredential, id)?.filter(|doc| !expired(doc, now)))
}

/// Ids of the roles that were chosen.
pub(crate) fn role_ids(doc: &Doc) -> BTreeSet<String> {
    let roles = doc.get("roles").and_then(Value::as_array);
    roles
        .into_iter()
        .flatten()
        .filter_map(|role| role["id"].as_str())
        .map(str::to_owned)
        .collect()
}

/// Deletes those of a user or a project.
pub(crate) fn forget(tx: &Tx<'_>, key: &str, id: &str) -> Result<(), Failure> {
    tx.execute(
        "DELETE FROM identity_object WHERE kind = 'application_credential' AND json_extract(doc, '$.' || ?1) = ?2",
        params![key, id],
    )?;
    Ok(())
}

fn parse_time(text: &str) -> Option<Timestamp> {
    let zoned = if text.ends_with('Z') || text.contains('+') {
        text.to_owned()
    } else {
        format!("{text}Z")
    };
    zoned.parse().ok()
}

/// A user's credentials belong to the user alone.
fn own(caller: &Caller, user: &str, action: &str) -> Result<(), ApiError> {
    if caller.user.id == user {
        Ok(())
    } else {
        Err(ApiError::not_allowed(action))
    }
}

/// 403 for callers whose own credential may not make others.
pub(crate) async fn require_unrestricted(
    identity: &Identity,
    caller: &Caller,
    action: &str,
) -> Result<(), Failure> {
    let Some(id) = caller.application_credential.clone() else {
        return Ok(());
    };
    let doc = identity
        .read(move |read| object::get(read, Kind::AppCredential, &id))
        .await?;
    let free = doc.is_some_and(|doc| {
        doc.get("unrestricted")
            .and_then(Value::as_bool)
            .unwrap_or(false)
    });
    if free {
        Ok(())
    } else {
        Err(ApiError::not_allowed(action).into())
    }
}

pub(crate) async fn create(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path(user): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    const ACTION: &str = "identity:create_application_credential";
    own(&caller, &user, ACTION)?;
    require_unrestricted(&identity, &caller, ACTION).await?;
    let mut doc = fields::document(body, Kind::AppCredential)?;
    fields::name(&doc, "name", 255, true)?;
    let description = fields::optional_text(&doc, "description")?;
    let unrestricted = fields::boolean(&doc, "unrestricted")?.unwrap_or(false);
    let expires = match fields::optional_text(&doc, "expires_at")? {
        None => None,
        Some(text) => {
            let end = parse_time(&text).filter(|end| *end > now());
            let words = "Invalid input for field 'expires_at': a time in the future is expected.";
            Some(end.ok_or_else(|| ApiError::bad_request(words))?)
        }
    };
    let Some(project) = caller.project_id().map(str::to_owned) else {
        return Err(ApiError::bad_request(
            "An application credential is made with a token for a project.",
        )
        .into());
    };
    let given = match doc.remove("secret") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if !text.is_empty() => Some(Secret::new(text)),
        Some(_) => {
            return Err(ApiError::bad_request(
                "Invalid input for field 'secret': it is not a text.",
            )
            .into());
        }
    };
    let (secret, hash) = match given {
        Some(secret) => {
            let hash = identity.0.logins.hash_chosen(&secret).await?;
            (secret, hash)
        }
        None => {
            let secret = Secret::generate(32);
            let hash = password::hash_generated(secret.expose())
                .map_err(|error| ApiError::internal(&error))?;
            (secret, hash)
        }
    };
    let wanted = doc.remove("roles");
    let rules = doc.remove("access_rules").filter(|rules| !rules.is_null());
    if rules.is_some_and(|rules| rules.as_array().is_none_or(|list| !list.is_empty())) {
        let words = "choose roles that allow only what the program needs";
        return Err(ApiError::not_implemented(
            "An application credential with access rules",
            words,
        )
        .into());
    }
    doc.insert("id".into(), json!(new_id()));
    doc.insert("user_id".into(), json!(user));
    doc.insert("project_id".into(), json!(project));
    doc.insert("description".into(), json!(description));
    doc.insert("unrestricted".into(), json!(unrestricted));
    doc.insert(
        "expires_at".into(),
        json!(expires.map(openstack_api::time::micros)),
    );
    doc.insert("secret_hash".into(), json!(hash));
    let doc = identity
        .write(move |tx| {
            doc.insert("roles".into(), chosen(tx, &user, &project, wanted)?);
            object::put(tx, Kind::AppCredential, &doc, true)?;
            Ok(doc)
        })
        .await?;
    let mut shown = object::shown(&origin, Kind::AppCredential, &doc);
    shown["secret"] = json!(secret.expose());
    Ok((
        StatusCode::CREATED,
        axum::Json(json!({"application_credential": shown})),
    )
        .into_response())
}

/// The roles named, or all that the user has on the project.
fn chosen(tx: &Tx<'_>, user: &str, project: &str, wanted: Option<Value>) -> Result<Value, Failure> {
    let held = access::role_ids(tx, user, project)?;
    let wanted = match wanted {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => list,
        Some(_) => {
            return Err(ApiError::bad_request(
                "Invalid input for field 'roles': it is not a list.",
            )
            .into());
        }
    };
    let mut ids = BTreeSet::new();
    for role in &wanted {
        let found = match (role["id"].as_str(), role["name"].as_str()) {
            (Some(id), _) => Some(id.to_owned()),
            (None, Some(name)) => {
                object::find(tx, Kind::Role, "", name)?.map(|doc| text(&doc, "id").to_owned())
            }
            (None, None) => None,
        };
        match found {
            Some(id) if held.contains(&id) => drop(ids.insert(id)),
            _ => {
                let words = format!(
                    "Invalid application credential: the role {role} is not held on the project."
                );
                return Err(ApiError::bad_request(words).into());
            }
        }
    }
    let ids = if wanted.is_empty() { held } else { ids };
    let named = access::named_roles(tx, &ids)?;
    Ok(named
        .iter()
        .map(|role| json!({"id": role.id, "name": role.name, "domain_id": null}))
        .collect())
}

pub(crate) async fn list(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    query: Params,
    Path(user): Path<String>,
    uri: Uri,
) -> Result<Response, Failure> {
    routes::self_or_reader(&caller, &user, "identity:list_application_credentials")?;
    let mut docs = identity
        .read(move |read| object::list_in(read, Kind::AppCredential, &user))
        .await?;
    object::filter(&mut docs, &query, &["name"], &[]);
    Ok(object::reply_list(
        &origin,
        &uri.to_string(),
        Kind::AppCredential,
        &docs,
    ))
}

fn need(read: &Read<'_>, user: &str, id: &str) -> Result<Doc, Failure> {
    let doc = object::need(read, Kind::AppCredential, id)?;
    if text(&doc, "user_id") == user {
        Ok(doc)
    } else {
        Err(Kind::AppCredential.missing(id).into())
    }
}

pub(crate) async fn show(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path((user, id)): Path<(String, String)>,
) -> Result<Response, Failure> {
    routes::self_or_reader(&caller, &user, "identity:get_application_credential")?;
    let doc = identity.read(move |read| need(read, &user, &id)).await?;
    Ok(object::reply(
        StatusCode::OK,
        &origin,
        Kind::AppCredential,
        &doc,
    ))
}

pub(crate) async fn delete(
    State(identity): State<Identity>,
    caller: Caller,
    Path((user, id)): Path<(String, String)>,
) -> Result<Response, Failure> {
    const ACTION: &str = "identity:delete_application_credential";
    if !caller.is_admin() {
        own(&caller, &user, ACTION)?;
    }
    require_unrestricted(&identity, &caller, ACTION).await?;
    identity
        .write(move |tx| {
            need(tx, &user, &id)?;
            object::remove(tx, Kind::AppCredential, &id)
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
