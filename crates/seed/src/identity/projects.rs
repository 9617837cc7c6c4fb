//! Projects and their tags.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use openstack_api::{ApiError, Caller, JsonBody, Origin, Params, new_id};
use serde_json::{Value, json};
use store::Tx;

use super::object::{self, Doc, Kind, text};
use super::{Identity, access, app_credentials, credentials, fields, routes};
use crate::Failure;

fn check(doc: &Doc, new: bool) -> Result<(), ApiError> {
    fields::name(doc, "name", 64, new)?;
    fields::boolean(doc, "enabled")?;
    if fields::boolean(doc, "is_domain")? == Some(true) {
        return Err(ApiError::bad_request(
            "A project that acts as a domain is made with POST /v3/domains.",
        ));
    }
    for key in ["description", "domain_id", "parent_id"] {
        fields::optional_text(doc, key)?;
    }
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
    caller.require_admin("identity:create_project")?;
    let mut doc = fields::document(body, Kind::Project)?;
    check(&doc, true)?;
    let tags = fields::tags(&doc)?.unwrap_or_default();
    let own = routes::domain_of(&caller);
    let doc = identity
        .write(move |tx| {
            let (domain, parent) = place(tx, &doc, &own)?;
            doc.insert("id".into(), json!(new_id()));
            doc.insert("domain_id".into(), json!(domain));
            doc.insert("parent_id".into(), json!(parent));
            doc.insert("is_domain".into(), json!(false));
            doc.entry("enabled").or_insert(json!(true));
            if fields::optional_text(&doc, "description")?.is_none() {
                doc.insert("description".into(), json!(""));
            }
            doc.entry("options").or_insert(json!({}));
            doc.insert("tags".into(), json!(tags));
            object::put(tx, Kind::Project, &doc, true)?;
            Ok(doc)
        })
        .await?;
    Ok(object::reply(
        StatusCode::CREATED,
        &origin,
        Kind::Project,
        &doc,
    ))
}

/// Domain and parent of a new project.
fn place(tx: &Tx<'_>, doc: &Doc, own: &str) -> Result<(String, String), Failure> {
    let parent = fields::optional_text(doc, "parent_id")?;
    let domain = fields::optional_text(doc, "domain_id")?;
    let parent_project = match &parent {
        Some(id) => object::get(tx, Kind::Project, id)?,
        None => None,
    };
    if let (Some(project), Some(id)) = (&parent_project, &parent) {
        let above = text(project, "domain_id").to_owned();
        if domain.as_ref().is_some_and(|domain| *domain != above) {
            return Err(
                ApiError::bad_request("The project must be in the domain of its parent.").into(),
            );
        }
        return Ok((above, id.clone()));
    }
    // Without a parent project the parent is the domain.
    let named = domain
        .clone()
        .or_else(|| parent.clone())
        .unwrap_or_else(|| own.to_owned());
    if object::get(tx, Kind::Domain, &named)?.is_none() {
        return Err(ApiError::bad_request(format!("Could not find domain: {named}.")).into());
    }
    match parent {
        Some(parent) if parent != named => {
            Err(ApiError::bad_request(format!("Could not find project: {parent}.")).into())
        }
        _ => Ok((named.clone(), named)),
    }
}

pub(crate) async fn list(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    query: Params,
    uri: Uri,
) -> Result<Response, Failure> {
    routes::may_read(&caller, "identity:list_projects")?;
    let mut docs = identity
        .read(|read| object::list(read, Kind::Project))
        .await?;
    object::filter(
        &mut docs,
        &query,
        &["name", "domain_id", "parent_id", "id"],
        &["enabled", "is_domain"],
    );
    filter_tags(&mut docs, &query);
    Ok(object::reply_list(
        &origin,
        &uri.to_string(),
        Kind::Project,
        &docs,
    ))
}

fn filter_tags(docs: &mut Vec<Doc>, query: &Params) {
    for (key, value) in query.iter() {
        let wanted: Vec<&str> = value.split(',').collect();
        let has = |doc: &Doc, tag: &str| {
            doc.get("tags")
                .and_then(Value::as_array)
                .is_some_and(|tags| tags.iter().any(|known| known == tag))
        };
        match key {
            "tags" => docs.retain(|doc| wanted.iter().all(|tag| has(doc, tag))),
            "tags-any" => docs.retain(|doc| wanted.iter().any(|tag| has(doc, tag))),
            "not-tags" => docs.retain(|doc| !wanted.iter().all(|tag| has(doc, tag))),
            "not-tags-any" => docs.retain(|doc| !wanted.iter().any(|tag| has(doc, tag))),
            _ => {}
        }
    }
}

pub(crate) async fn show(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    if caller.project_id() != Some(&id) {
        routes::may_read(&caller, "identity:get_project")?;
    }
    let doc = identity
        .read(move |read| object::need(read, Kind::Project, &id))
        .await?;
    Ok(object::reply(StatusCode::OK, &origin, Kind::Project, &doc))
}

pub(crate) async fn update(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:update_project")?;
    let mut change = fields::document(body, Kind::Project)?;
    check(&change, false)?;
    if let Some(tags) = fields::tags(&change)? {
        change.insert("tags".into(), json!(tags));
    }
    let doc = identity
        .write(move |tx| {
            let mut doc = object::need(tx, Kind::Project, &id)?;
            for key in ["id", "domain_id", "is_domain"] {
                fields::fixed(&doc, &change, key)?;
            }
            if change
                .get("parent_id")
                .is_some_and(|parent| Some(parent) != doc.get("parent_id"))
            {
                return Err(ApiError::forbidden("Update of `parent_id` is not allowed.").into());
            }
            doc.extend(change);
            object::put(tx, Kind::Project, &doc, false)?;
            Ok(doc)
        })
        .await?;
    Ok(object::reply(StatusCode::OK, &origin, Kind::Project, &doc))
}

pub(crate) async fn delete(
    State(identity): State<Identity>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:delete_project")?;
    identity
        .write(move |tx| {
            object::need(tx, Kind::Project, &id)?;
            let children = object::list(tx, Kind::Project)?;
            if children.iter().any(|doc| text(doc, "parent_id") == id) {
                let words = format!(
                    "Cannot delete the project {id} since it is not a leaf in the hierarchy."
                );
                return Err(ApiError::forbidden(words).into());
            }
            erase(tx, &id)
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Deletes a project with all that rests on it.
pub(crate) fn erase(tx: &Tx<'_>, id: &str) -> Result<(), Failure> {
    access::forget(tx, id)?;
    app_credentials::forget(tx, "project_id", id)?;
    credentials::forget(tx, "project_id", id)?;
    object::remove(tx, Kind::Project, id)
}

fn tags_of(doc: &Doc) -> Vec<String> {
    let tags = doc.get("tags").and_then(Value::as_array);
    tags.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

pub(crate) async fn list_tags(
    State(identity): State<Identity>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    if caller.project_id() != Some(&id) {
        routes::may_read(&caller, "identity:list_project_tags")?;
    }
    let doc = identity
        .read(move |read| object::need(read, Kind::Project, &id))
        .await?;
    Ok(axum::Json(json!({"tags": tags_of(&doc)})).into_response())
}

pub(crate) async fn set_tags(
    State(identity): State<Identity>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:update_project_tags")?;
    let Value::Object(body) = body else {
        return Err(ApiError::bad_request("The body must be an object.").into());
    };
    let tags = fields::tags(&body)?
        .ok_or_else(|| ApiError::bad_request("'tags' is a required property"))?;
    let kept = tags.clone();
    identity
        .write(move |tx| change_tags(tx, &id, |_| Ok(kept)))
        .await?;
    Ok(axum::Json(json!({"tags": tags})).into_response())
}

pub(crate) async fn clear_tags(
    State(identity): State<Identity>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:delete_project_tags")?;
    identity
        .write(move |tx| change_tags(tx, &id, |_| Ok(Vec::new())))
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn has_tag(
    State(identity): State<Identity>,
    caller: Caller,
    Path((id, tag)): Path<(String, String)>,
) -> Result<Response, Failure> {
    if caller.project_id() != Some(&id) {
        routes::may_read(&caller, "identity:get_project_tag")?;
    }
    let doc = identity
        .read(move |read| object::need(read, Kind::Project, &id))
        .await?;
    if tags_of(&doc).contains(&tag) {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(missing_tag(&tag).into())
    }
}

pub(crate) async fn add_tag(
    State(identity): State<Identity>,
    caller: Caller,
    Path((id, tag)): Path<(String, String)>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:create_project_tag")?;
    if !fields::is_tag(&tag) {
        return Err(
            ApiError::bad_request("A tag has 1 to 255 characters, no comma and no slash.").into(),
        );
    }
    identity
        .write(move |tx| {
            change_tags(tx, &id, |mut tags| {
                if !tags.contains(&tag) {
                    tags.push(tag);
                }
                Ok(tags)
            })
        })
        .await?;
    Ok(StatusCode::CREATED.into_response())
}

pub(crate) async fn remove_tag(
    State(identity): State<Identity>,
    caller: Caller,
    Path((id, tag)): Path<(String, String)>,
) -> Result<Response, Failure> {
    caller.require_admin("identity:delete_project_tag")?;
    identity
        .write(move |tx| {
            change_tags(tx, &id, |mut tags| {
                let at = tags
                    .iter()
                    .position(|known| *known == tag)
                    .ok_or_else(|| missing_tag(&tag))?;
                tags.remove(at);
                Ok(tags)
            })
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn missing_tag(tag: &str) -> ApiError {
    ApiError::not_found(format!("Could not find project tag: {tag}."))
}

fn change_tags(
    tx: &Tx<'_>,
    id: &str,
    change: impl FnOnce(Vec<String>) -> Result<Vec<String>, Failure>,
) -> Result<(), Failure> {
    let mut doc = object::need(tx, Kind::Project, id)?;
    let tags = change(tags_of(&doc))?;
    if tags.len() > 80 {
        return Err(ApiError::bad_request("A project has at most 80 tags.").into());
    }
    doc.insert("tags".into(), json!(tags));
    object::put(tx, Kind::Project, &doc, false)
}
