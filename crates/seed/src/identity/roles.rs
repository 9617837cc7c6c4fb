//! Roles, and which role implies which.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use openstack_api::{ApiError, Caller, JsonBody, Origin, Params, new_id};
use serde_json::{Value, json};
use store::{Read, params};

use super::object::{self, Doc, Kind, text};
use super::{Identity, access, fields, routes};
use crate::Failure;

fn check(doc: &Doc, new: bool) -> Result<(), ApiError> {
    fields::name(doc, "name", 255, new)?;
    fields::optional_text(doc, "description")?;
    fields::optional_text(doc, "domain_id")?;
    fields::object(doc, "options")
}

pub(crate) async fn create(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:create_role")?;
    let mut doc = fields::document(body, Kind::Role)?;
    check(&doc, true)?;
    doc.insert("id".into(), json!(new_id()));
    for key in ["domain_id", "description"] {
        doc.entry(key).or_insert(Value::Null);
    }
    doc.entry("options").or_insert(json!({}));
    let made = doc.clone();
    identity
        .write(move |tx| {
            if let Some(domain) = fields::optional_text(&doc, "domain_id")? {
                object::need(tx, Kind::Domain, &domain)?;
            }
            object::put(tx, Kind::Role, &doc, true)
        })
        .await?;
    Ok(object::reply(
        StatusCode::CREATED,
        &origin,
        Kind::Role,
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
    routes::may_read(&caller, "identity:list_roles")?;
    let mut docs = identity.read(|read| object::list(read, Kind::Role)).await?;
    // Roles of a domain are listed only for those who name it.
    let domain = query.get("domain_id").unwrap_or_default().to_owned();
    docs.retain(|doc| text(doc, "domain_id") == domain);
    object::filter(&mut docs, &query, &["name"], &[]);
    Ok(object::reply_list(
        &origin,
        &uri.to_string(),
        Kind::Role,
        &docs,
    ))
}

pub(crate) async fn show(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    routes::may_read(&caller, "identity:get_role")?;
    let doc = identity
        .read(move |read| object::need(read, Kind::Role, &id))
        .await?;
    Ok(object::reply(StatusCode::OK, &origin, Kind::Role, &doc))
}

pub(crate) async fn update(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:update_role")?;
    let change = fields::document(body, Kind::Role)?;
    check(&change, false)?;
    let doc = identity
        .write(move |tx| {
            let mut doc = object::need(tx, Kind::Role, &id)?;
            for key in ["id", "domain_id"] {
                fields::fixed(&doc, &change, key)?;
            }
            doc.extend(change);
            object::put(tx, Kind::Role, &doc, false)?;
            Ok(doc)
        })
        .await?;
    Ok(object::reply(StatusCode::OK, &origin, Kind::Role, &doc))
}

pub(crate) async fn delete(
    State(identity): State<Identity>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:delete_role")?;
    identity
        .write(move |tx| {
            object::remove(tx, Kind::Role, &id)?;
            access::forget(tx, &id)?;
            tx.execute(
                "DELETE FROM identity_implied WHERE prior = ?1 OR implied = ?1",
                params![&id],
            )?;
            Ok(())
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn small(origin: &Origin, doc: &Doc) -> Value {
    let link = format!("{}/v3/roles/{}", origin.base(), text(doc, "id"));
    json!({"id": text(doc, "id"), "name": text(doc, "name"), "links": {"self": link}})
}

fn implied_by(read: &Read<'_>, prior: &str) -> Result<Vec<Doc>, Failure> {
    let mut docs = Vec::new();
    for mut row in read.query(
        "SELECT implied FROM identity_implied WHERE prior = ?1",
        params![prior],
    )? {
        docs.extend(object::get(read, Kind::Role, &row.take::<String>(0)?)?);
    }
    Ok(docs)
}

pub(crate) async fn inferences(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
) -> Result<Response, Failure> {
    routes::may_read(&caller, "identity:list_role_inference_rules")?;
    let rules = identity
        .read(move |read| {
            let mut rules = Vec::new();
            for prior in object::list(read, Kind::Role)? {
                let implies = implied_by(read, text(&prior, "id"))?;
                if !implies.is_empty() {
                    let implies: Vec<_> = implies.iter().map(|doc| small(&origin, doc)).collect();
                    rules.push(json!({"prior_role": small(&origin, &prior), "implies": implies}));
                }
            }
            Ok(rules)
        })
        .await?;
    Ok(axum::Json(json!({"role_inferences": rules})).into_response())
}

pub(crate) async fn implies(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path(prior): Path<String>,
) -> Result<Response, Failure> {
    routes::may_read(&caller, "identity:list_implied_roles")?;
    let body = identity
        .read(move |read| {
            let doc = object::need(read, Kind::Role, &prior)?;
            let implies: Vec<_> = implied_by(read, &prior)?
                .iter()
                .map(|doc| small(&origin, doc))
                .collect();
            let link = format!("{}/v3/roles/{prior}/implies", origin.base());
            Ok(json!({
                "role_inference": {"prior_role": small(&origin, &doc), "implies": implies},
                "links": {"self": link},
            }))
        })
        .await?;
    Ok(axum::Json(body).into_response())
}

fn rule(origin: &Origin, prior: &Doc, implied: &Doc) -> Value {
    let link = format!(
        "{}/v3/roles/{}/implies/{}",
        origin.base(),
        text(prior, "id"),
        text(implied, "id")
    );
    json!({
        "role_inference": {"prior_role": small(origin, prior), "implies": small(origin, implied)},
        "links": {"self": link},
    })
}

pub(crate) async fn imply(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path((prior, implied)): Path<(String, String)>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:create_implied_role")?;
    let body = identity
        .write(move |tx| {
            let (above, below) = (
                object::need(tx, Kind::Role, &prior)?,
                object::need(tx, Kind::Role, &implied)?,
            );
            if text(&below, "name") == "admin" {
                return Err(
                    ApiError::forbidden("The role admin cannot be implied by another.").into(),
                );
            }
            tx.execute(
                "INSERT OR IGNORE INTO identity_implied (prior, implied) VALUES (?1, ?2)",
                params![&prior, &implied],
            )?;
            Ok(rule(&origin, &above, &below))
        })
        .await?;
    Ok((StatusCode::CREATED, axum::Json(body)).into_response())
}

fn no_rule(prior: &str, implied: &str) -> ApiError {
    ApiError::not_found(format!("{prior} does not imply {implied}."))
}

pub(crate) async fn implication(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path((prior, implied)): Path<(String, String)>,
) -> Result<Response, Failure> {
    routes::may_read(&caller, "identity:get_implied_role")?;
    let body = identity
        .read(move |read| {
            let above = object::need(read, Kind::Role, &prior)?;
            let below = implied_by(read, &prior)?
                .into_iter()
                .find(|doc| text(doc, "id") == implied);
            let below = below.ok_or_else(|| no_rule(&prior, &implied))?;
            Ok(rule(&origin, &above, &below))
        })
        .await?;
    Ok(axum::Json(body).into_response())
}

pub(crate) async fn stop_implying(
    State(identity): State<Identity>,
    caller: Caller,
    Path((prior, implied)): Path<(String, String)>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:delete_implied_role")?;
    identity
        .write(move |tx| {
            let gone = tx.execute(
                "DELETE FROM identity_implied WHERE prior = ?1 AND implied = ?2",
                params![&prior, &implied],
            )?;
            if gone == 0 {
                Err(no_rule(&prior, &implied).into())
            } else {
                Ok(())
            }
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
