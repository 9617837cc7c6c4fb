//! Objects of identity as documents: read, written, listed, told to clients.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use openstack_api::{ApiError, Origin, Params, parse_bool};
use serde_json::{Map, Value, json};
use store::{Read, Tx, params};

use crate::Failure;

/// A document.
pub(crate) type Doc = Map<String, Value>;

/// Kinds of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Domain,
    Project,
    User,
    Group,
    Role,
    Region,
    Service,
    Endpoint,
    Credential,
    AppCredential,
}

impl Kind {
    /// Name of one of them, in bodies.
    pub(crate) fn one(self) -> &'static str {
        match self {
            Kind::Domain => "domain",
            Kind::Project => "project",
            Kind::User => "user",
            Kind::Group => "group",
            Kind::Role => "role",
            Kind::Region => "region",
            Kind::Service => "service",
            Kind::Endpoint => "endpoint",
            Kind::Credential => "credential",
            Kind::AppCredential => "application_credential",
        }
    }

    /// Name of several, in bodies and paths.
    pub(crate) fn many(self) -> &'static str {
        match self {
            Kind::Domain => "domains",
            Kind::Project => "projects",
            Kind::User => "users",
            Kind::Group => "groups",
            Kind::Role => "roles",
            Kind::Region => "regions",
            Kind::Service => "services",
            Kind::Endpoint => "endpoints",
            Kind::Credential => "credentials",
            Kind::AppCredential => "application_credentials",
        }
    }

    /// The 404 for an id.
    pub(crate) fn missing(self, id: &str) -> ApiError {
        let word = match self {
            Kind::AppCredential => "Application Credential",
            other => other.one(),
        };
        ApiError::not_found(format!("Could not find {word}: {id}."))
    }
}

fn parse(text: &str) -> Result<Doc, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::Refused(ApiError::internal(&error)))
}

/// The object with this id.
pub(crate) fn get(read: &Read<'_>, kind: Kind, id: &str) -> Result<Option<Doc>, Failure> {
    let row = read.query_one(
        "SELECT doc FROM identity_object WHERE kind = ?1 AND id = ?2",
        params![kind.one(), id],
    )?;
    row.map(|mut row| parse(&row.take::<String>(0)?))
        .transpose()
}

/// The object with this id, or 404.
pub(crate) fn need(read: &Read<'_>, kind: Kind, id: &str) -> Result<Doc, Failure> {
    get(read, kind, id)?.ok_or_else(|| kind.missing(id).into())
}

/// The object with this name in a realm (a domain, mostly).
pub(crate) fn find(
    read: &Read<'_>,
    kind: Kind,
    realm: &str,
    name: &str,
) -> Result<Option<Doc>, Failure> {
    let row = read.query_one(
        "SELECT doc FROM identity_object WHERE kind = ?1 AND realm = ?2 AND name = ?3",
        params![kind.one(), realm, name],
    )?;
    row.map(|mut row| parse(&row.take::<String>(0)?))
        .transpose()
}

/// All objects of a kind, by name.
pub(crate) fn list(read: &Read<'_>, kind: Kind) -> Result<Vec<Doc>, Failure> {
    let mut docs = Vec::new();
    read.query_each::<Failure>(
        "SELECT doc FROM identity_object WHERE kind = ?1 ORDER BY name, id",
        params![kind.one()],
        |mut row| {
            docs.push(parse(&row.take::<String>(0)?)?);
            Ok(())
        },
    )?;
    Ok(docs)
}

/// All objects of a kind in a realm.
pub(crate) fn list_in(read: &Read<'_>, kind: Kind, realm: &str) -> Result<Vec<Doc>, Failure> {
    let mut docs = Vec::new();
    read.query_each::<Failure>(
        "SELECT doc FROM identity_object WHERE kind = ?1 AND realm = ?2 ORDER BY name, id",
        params![kind.one(), realm],
        |mut row| {
            docs.push(parse(&row.take::<String>(0)?)?);
            Ok(())
        },
    )?;
    Ok(docs)
}

/// Where a name must be unique.
fn realm(kind: Kind, doc: &Doc) -> String {
    match kind {
        Kind::Domain | Kind::Region | Kind::Service | Kind::Endpoint | Kind::Credential => {
            String::new()
        }
        Kind::Project | Kind::User | Kind::Group | Kind::Role => text(doc, "domain_id").to_owned(),
        Kind::AppCredential => text(doc, "user_id").to_owned(),
    }
}

/// The name that must be unique; services and endpoints have none.
fn unique_name(kind: Kind, doc: &Doc) -> Option<&str> {
    match kind {
        Kind::Region | Kind::Service | Kind::Endpoint | Kind::Credential => None,
        Kind::Domain
        | Kind::Project
        | Kind::User
        | Kind::Group
        | Kind::Role
        | Kind::AppCredential => Some(text(doc, "name")),
    }
}

/// Writes an object; `new` refuses an id that exists. A name in use is 409.
pub(crate) fn put(tx: &Tx<'_>, kind: Kind, doc: &Doc, new: bool) -> Result<(), Failure> {
    let sql = if new {
        "INSERT INTO identity_object (kind, id, realm, name, doc) VALUES (?1, ?2, ?3, ?4, ?5)"
    } else {
        "INSERT INTO identity_object (kind, id, realm, name, doc) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (kind, id) DO UPDATE SET realm = ?3, name = ?4, doc = ?5"
    };
    let body = Value::Object(doc.clone()).to_string();
    let name = unique_name(kind, doc);
    let done = tx.execute(
        sql,
        params![kind.one(), text(doc, "id"), realm(kind, doc), name, body],
    );
    match done {
        Ok(_) => Ok(()),
        Err(error) if error.is_constraint() => {
            let what = match name {
                Some(name) => format!("name {name}"),
                None => format!("ID {}", text(doc, "id")),
            };
            let words = format!(
                "Conflict occurred attempting to store {} - Duplicate entry found with {what}.",
                kind.one()
            );
            Err(ApiError::conflict(words).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Deletes an object, or 404.
pub(crate) fn remove(tx: &Tx<'_>, kind: Kind, id: &str) -> Result<(), Failure> {
    let gone = tx.execute(
        "DELETE FROM identity_object WHERE kind = ?1 AND id = ?2",
        params![kind.one(), id],
    )?;
    if gone == 0 {
        Err(kind.missing(id).into())
    } else {
        Ok(())
    }
}

/// A text of a document, empty where there is none.
pub(crate) fn text<'a>(doc: &'a Doc, key: &str) -> &'a str {
    doc.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Whether an object is enabled.
pub(crate) fn enabled(doc: &Doc) -> bool {
    doc.get("enabled").and_then(Value::as_bool).unwrap_or(true)
}

/// The object as clients see it.
pub(crate) fn shown(origin: &Origin, kind: Kind, doc: &Doc) -> Value {
    let mut doc = doc.clone();
    doc.remove("secret_hash");
    let path = match kind {
        Kind::AppCredential => format!("users/{}/{}", text(&doc, "user_id"), kind.many()),
        other => other.many().to_owned(),
    };
    let link = format!("{}/v3/{path}/{}", origin.base(), text(&doc, "id"));
    doc.insert("links".to_owned(), json!({"self": link}));
    Value::Object(doc)
}

/// 200 or 201 with one object.
pub(crate) fn reply(status: StatusCode, origin: &Origin, kind: Kind, doc: &Doc) -> Response {
    (
        status,
        axum::Json(json!({kind.one(): shown(origin, kind, doc)})),
    )
        .into_response()
}

/// 200 with a list.
pub(crate) fn reply_list(origin: &Origin, path: &str, kind: Kind, docs: &[Doc]) -> Response {
    let shown: Vec<_> = docs.iter().map(|doc| shown(origin, kind, doc)).collect();
    reply_values(origin, path, kind.many(), shown)
}

/// 200 with a list of ready values.
pub(crate) fn reply_values(
    origin: &Origin,
    path: &str,
    plural: &str,
    values: Vec<Value>,
) -> Response {
    let links = json!({"next": null, "self": format!("{}{path}", origin.base()), "previous": null});
    axum::Json(json!({plural: values, "links": links})).into_response()
}

/// Keeps what the filters of a query name. `flags` are booleans, `texts` are compared; `name__contains` and
/// such are understood for texts.
pub(crate) fn filter(docs: &mut Vec<Doc>, query: &Params, texts: &[&str], flags: &[&str]) {
    for (key, value) in query.iter() {
        if flags.contains(&key) {
            // Upstream reads anything that is not a no as a yes.
            let wanted = parse_bool(value).unwrap_or(true);
            docs.retain(|doc| {
                doc.get(key)
                    .and_then(Value::as_bool)
                    .unwrap_or(key == "enabled")
                    == wanted
            });
            continue;
        }
        let (field, how) = key.split_once("__").unwrap_or((key, "equals"));
        if texts.contains(&field) {
            docs.retain(|doc| compare(text(doc, field), how, value));
        }
    }
}

fn compare(found: &str, how: &str, wanted: &str) -> bool {
    let lower = || (found.to_lowercase(), wanted.to_lowercase());
    match how {
        "contains" => found.contains(wanted),
        "startswith" => found.starts_with(wanted),
        "endswith" => found.ends_with(wanted),
        "icontains" => lower().0.contains(&lower().1),
        "istartswith" => lower().0.starts_with(&lower().1),
        "iendswith" => lower().0.ends_with(&lower().1),
        "iequals" => lower().0 == lower().1,
        _ => found == wanted,
    }
}
