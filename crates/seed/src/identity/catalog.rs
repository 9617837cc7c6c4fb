//! Services, their endpoints and regions; and the catalog that a token carries.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use openstack_api::{ApiError, Caller, JsonBody, Origin, Params, Token, new_id};
use serde_json::{Value, json};
use store::{Read, Tx};

use super::object::{self, Doc, Kind, enabled, text};
use super::{Identity, fields, routes};
use crate::Failure;

/// What an endpoint can be for.
const INTERFACES: [&str; 3] = ["public", "internal", "admin"];

/// The catalog as a token carries it.
pub(crate) fn for_token(read: &Read<'_>, token: &Token) -> Result<Value, Failure> {
    let endpoints = object::list(read, Kind::Endpoint)?;
    let mut catalog = Vec::new();
    for service in object::list(read, Kind::Service)? {
        if !enabled(&service) {
            continue;
        }
        let id = text(&service, "id");
        let own = endpoints
            .iter()
            .filter(|endpoint| text(endpoint, "service_id") == id && enabled(endpoint));
        let shown: Vec<Value> = own
            .filter_map(|endpoint| in_catalog(endpoint, token))
            .collect();
        catalog.push(json!({
            "id": id,
            "type": text(&service, "type"),
            "name": text(&service, "name"),
            "endpoints": shown,
        }));
    }
    Ok(Value::Array(catalog))
}

/// `None` where the URL needs a project and the token has none.
fn in_catalog(endpoint: &Doc, token: &Token) -> Option<Value> {
    Some(json!({
        "id": text(endpoint, "id"),
        "interface": text(endpoint, "interface"),
        "region": endpoint.get("region_id"),
        "region_id": endpoint.get("region_id"),
        "url": fill(text(endpoint, "url"), token)?,
    }))
}

/// Fills `$(project_id)s` and `%(project_id)s`.
fn fill(url: &str, token: &Token) -> Option<String> {
    let mut out = String::with_capacity(url.len() + 32);
    let mut rest = url;
    while let Some(at) = rest.find(['$', '%']) {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        let name = tail
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(")s"));
        match name {
            Some(("project_id" | "tenant_id", after)) => {
                out.push_str(token.project_id()?);
                rest = after;
            }
            Some(("user_id", after)) => {
                out.push_str(&token.user.id);
                rest = after;
            }
            Some(_) | None => {
                out.push_str(&rest[at..=at]);
                rest = tail;
            }
        }
    }
    out.push_str(rest);
    Some(out)
}

/// Writes the endpoint that a service has in this catalog, over the one of an earlier start.
pub(crate) fn register(
    tx: &Tx<'_>,
    kind: &str,
    name: &str,
    region: &str,
    urls: [(&str, String); 3],
) -> Result<(), Failure> {
    let coin = |parts: &[&str]| {
        uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, parts.join("/").as_bytes())
            .simple()
            .to_string()
    };
    let service = coin(&["tripleo", "service", kind]);
    let known = object::get(tx, Kind::Service, &service)?;
    let mut doc =
        known.unwrap_or_else(|| as_doc(json!({"id": service, "enabled": true, "description": ""})));
    doc.insert("type".into(), json!(kind));
    doc.insert("name".into(), json!(name));
    object::put(tx, Kind::Service, &doc, false)?;
    for (interface, url) in urls {
        let doc = as_doc(json!({
            "id": coin(&["tripleo", "endpoint", kind, interface]),
            "service_id": service,
            "interface": interface,
            "region_id": region,
            "region": region,
            "url": url,
            "enabled": true,
        }));
        object::put(tx, Kind::Endpoint, &doc, false)?;
    }
    Ok(())
}

/// Takes a service that is not mounted out of the catalog.
pub(crate) fn unregister_others(tx: &Tx<'_>, mounted: &[&str]) -> Result<(), Failure> {
    for service in object::list(tx, Kind::Service)? {
        let (id, kind) = (text(&service, "id"), text(&service, "type"));
        let own = uuid::Uuid::new_v5(
            &uuid::Uuid::NAMESPACE_URL,
            format!("tripleo/service/{kind}").as_bytes(),
        );
        if own.simple().to_string() == id && !mounted.contains(&kind) {
            erase_service(tx, id)?;
        }
    }
    Ok(())
}

pub(crate) fn as_doc(value: Value) -> Doc {
    match value {
        Value::Object(doc) => doc,
        _ => Doc::new(),
    }
}

fn erase_service(tx: &Tx<'_>, id: &str) -> Result<(), Failure> {
    object::remove(tx, Kind::Service, id)?;
    for endpoint in object::list(tx, Kind::Endpoint)? {
        if text(&endpoint, "service_id") == id {
            object::remove(tx, Kind::Endpoint, text(&endpoint, "id"))?;
        }
    }
    Ok(())
}

/// The three kinds of objects here share their routes.
fn check(tx: &Tx<'_>, kind: Kind, doc: &Doc, new: bool) -> Result<(), Failure> {
    fields::optional_text(doc, "description")?;
    fields::boolean(doc, "enabled")?;
    match kind {
        Kind::Service => {
            fields::name(doc, "type", 255, new)?;
            fields::optional_text(doc, "name")?;
        }
        Kind::Endpoint => check_endpoint(tx, doc, new)?,
        Kind::Region => {
            if let Some(parent) = fields::optional_text(doc, "parent_region_id")? {
                object::need(tx, Kind::Region, &parent)?;
            }
        }
        Kind::Domain
        | Kind::Project
        | Kind::User
        | Kind::Group
        | Kind::Role
        | Kind::Credential
        | Kind::AppCredential => {}
    }
    Ok(())
}

fn check_endpoint(tx: &Tx<'_>, doc: &Doc, new: bool) -> Result<(), Failure> {
    let refuse = |words: String| Err(Failure::Refused(ApiError::bad_request(words)));
    if let Some(interface) = fields::name(doc, "interface", 255, new)?
        && !INTERFACES.contains(&interface.as_str())
    {
        return refuse(format!(
            "Invalid input for field 'interface': '{interface}' is not one of {}.",
            INTERFACES.join(", ")
        ));
    }
    if let Some(url) = fields::name(doc, "url", 2048, new)?
        && (!url.contains("://") || url.contains(char::is_whitespace))
    {
        return refuse(format!(
            "Invalid input for field 'url': `{url}` is not a URL."
        ));
    }
    if let Some(service) = fields::name(doc, "service_id", 255, new)?
        && object::get(tx, Kind::Service, &service)?.is_none()
    {
        return refuse(format!("Could not find service: {service}."));
    }
    let region = fields::optional_text(doc, "region_id")?;
    if let Some(region) = region
        && object::get(tx, Kind::Region, &region)?.is_none()
    {
        return refuse(format!("Could not find region: {region}."));
    }
    Ok(())
}

/// Fills what a new object does not say.
fn complete(tx: &Tx<'_>, kind: Kind, doc: &mut Doc) -> Result<(), Failure> {
    match kind {
        Kind::Region => {
            let given = fields::optional_text(doc, "id")?.filter(|id| !id.is_empty());
            doc.insert("id".into(), json!(given.unwrap_or_else(new_id)));
            doc.entry("parent_region_id").or_insert(Value::Null);
            doc.entry("description").or_insert(json!(""));
            return Ok(());
        }
        Kind::Endpoint => {
            // The old word for it makes the region where it is not there.
            let old = fields::optional_text(doc, "region")?;
            if !doc.contains_key("region_id") {
                if let Some(region) = &old
                    && object::get(tx, Kind::Region, region)?.is_none()
                {
                    let new =
                        as_doc(json!({"id": region, "parent_region_id": null, "description": ""}));
                    object::put(tx, Kind::Region, &new, true)?;
                }
                doc.insert("region_id".into(), json!(old));
            }
            let region = doc.get("region_id").cloned().unwrap_or_default();
            doc.insert("region".into(), region);
        }
        Kind::Service => {
            doc.entry("name").or_insert(json!(""));
            doc.entry("description").or_insert(json!(""));
        }
        Kind::Domain
        | Kind::Project
        | Kind::User
        | Kind::Group
        | Kind::Role
        | Kind::Credential
        | Kind::AppCredential => {}
    }
    doc.insert("id".into(), json!(new_id()));
    doc.entry("enabled").or_insert(json!(true));
    Ok(())
}

pub(crate) async fn create(
    kind: Kind,
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    caller.require_admin(&format!("identity:create_{}", kind.one()))?;
    let mut doc = fields::document(body, kind)?;
    let doc = identity
        .write(move |tx| {
            check(tx, kind, &doc, true)?;
            complete(tx, kind, &mut doc)?;
            object::put(tx, kind, &doc, true)?;
            Ok(doc)
        })
        .await?;
    Ok(object::reply(StatusCode::CREATED, &origin, kind, &doc))
}

pub(crate) async fn list(
    kind: Kind,
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    query: Params,
    uri: Uri,
) -> Result<Response, Failure> {
    // Regions are no secret: everyone who has a token reads them in the catalog.
    if kind != Kind::Region {
        routes::may_read(&caller, &format!("identity:list_{}", kind.many()))?;
    }
    let mut docs = identity.read(move |read| object::list(read, kind)).await?;
    let texts = [
        "name",
        "type",
        "service_id",
        "interface",
        "region_id",
        "region",
        "parent_region_id",
    ];
    object::filter(&mut docs, &query, &texts, &["enabled"]);
    Ok(object::reply_list(&origin, &uri.to_string(), kind, &docs))
}

pub(crate) async fn show(
    kind: Kind,
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    if kind != Kind::Region {
        routes::may_read(&caller, &format!("identity:get_{}", kind.one()))?;
    }
    let doc = identity
        .read(move |read| object::need(read, kind, &id))
        .await?;
    Ok(object::reply(StatusCode::OK, &origin, kind, &doc))
}

pub(crate) async fn update(
    kind: Kind,
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    caller.require_admin(&format!("identity:update_{}", kind.one()))?;
    let change = fields::document(body, kind)?;
    let doc = identity
        .write(move |tx| {
            let mut doc = object::need(tx, kind, &id)?;
            check(tx, kind, &change, false)?;
            fields::fixed(&doc, &change, "id")?;
            doc.extend(change);
            if kind == Kind::Endpoint {
                let region = doc.get("region_id").cloned().unwrap_or_default();
                doc.insert("region".into(), region);
            }
            object::put(tx, kind, &doc, false)?;
            Ok(doc)
        })
        .await?;
    Ok(object::reply(StatusCode::OK, &origin, kind, &doc))
}

pub(crate) async fn delete(
    kind: Kind,
    State(identity): State<Identity>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    caller.require_admin(&format!("identity:delete_{}", kind.one()))?;
    identity
        .write(move |tx| match kind {
            Kind::Service => erase_service(tx, &id),
            Kind::Region => {
                object::need(tx, kind, &id)?;
                let below = object::list(tx, Kind::Region)?;
                if below.iter().any(|doc| text(doc, "parent_region_id") == id) {
                    return Err(ApiError::forbidden(format!(
                        "Unable to delete region {id}: it has child regions."
                    ))
                    .into());
                }
                let used = object::list(tx, Kind::Endpoint)?;
                if used.iter().any(|doc| text(doc, "region_id") == id) {
                    let words = format!(
                        "Unable to delete region {id} because it has associated endpoints."
                    );
                    return Err(ApiError::forbidden(words).into());
                }
                object::remove(tx, kind, &id)
            }
            other => object::remove(tx, other, &id),
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `PUT /v3/regions/{id}`: makes a region with the id of the path.
pub(crate) async fn put_region(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    let mut doc = fields::document(body, Kind::Region)?;
    if doc.get("id").is_some_and(|given| *given != json!(id)) {
        return Err(ApiError::bad_request("The ID in the body is not the one of the path.").into());
    }
    doc.insert("id".into(), json!(id));
    let body = json!({"region": doc});
    create(
        Kind::Region,
        State(identity),
        caller,
        origin,
        JsonBody(body),
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use openstack_api::{Named, Scope};

    #[test]
    fn urls_are_filled() {
        let named = |s: &str| Named {
            id: s.into(),
            name: s.into(),
        };
        let mut token = Token {
            user: named("u"),
            user_domain: named("d"),
            scope: Scope::Project {
                project: named("p"),
                domain: named("d"),
            },
            roles: vec![],
            methods: vec![],
            audit_ids: vec![],
            issued_at: jiff::Timestamp::UNIX_EPOCH,
            expires_at: jiff::Timestamp::UNIX_EPOCH,
            application_credential: None,
        };
        let check = |token: &Token, url: &str| fill(url, token);
        assert_eq!(
            check(&token, "http://h/v1/%(project_id)s/x").as_deref(),
            Some("http://h/v1/p/x")
        );
        assert_eq!(
            check(&token, "http://h/$(tenant_id)s").as_deref(),
            Some("http://h/p")
        );
        assert_eq!(
            check(&token, "http://h/%20/$x/$(user_id)s").as_deref(),
            Some("http://h/%20/$x/u")
        );
        token.scope = Scope::System;
        assert_eq!(check(&token, "http://h/v1/%(project_id)s"), None);
        assert_eq!(check(&token, "http://h").as_deref(), Some("http://h"));
    }
}
