//! The paths of the image API.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use openstack_api::{
    ApiError, Caller, Dialect, JsonBody, Origin, Page, Params, Service, TokenCheck, new_uuid,
};
use serde_json::{Value, json};

use super::fields::{self, Place};
use super::patch::{self, Form};
use super::record::{self, Doc, Record};
use super::{Asker, Images, actions, content, content_failure, list, members, schemas};
use crate::{CatalogEntry, Failure, Mounted};

/// How an image can be filled besides a plain upload.
const IMPORT_METHODS: &str = "glance-direct";

/// The service under its prefix.
pub(crate) fn mount(images: &Images, tokens: Arc<dyn TokenCheck>) -> Mounted {
    let router = Router::new()
        .route(
            "/",
            get(|origin: Origin| async move { versions(StatusCode::MULTIPLE_CHOICES, &origin) }),
        )
        .route(
            "/versions",
            get(|origin: Origin| async move { versions(StatusCode::OK, &origin) }),
        )
        .route("/v2/images", get(find).post(create))
        .route("/v2/images/{id}", get(show).patch(update).delete(remove))
        .route(
            "/v2/images/{id}/file",
            get(content::download).put(content::upload),
        )
        .route("/v2/images/{id}/stage", put(content::stage))
        .route("/v2/images/{id}/import", post(content::import))
        .route("/v2/images/{id}/extents", get(content::extents))
        .route(
            "/v2/images/{id}/members",
            get(members::list).post(members::create),
        )
        .route(
            "/v2/images/{id}/members/{member}",
            get(members::show)
                .put(members::update)
                .delete(members::delete),
        )
        .route(
            "/v2/images/{id}/tags/{tag}",
            put(actions::add_tag).delete(actions::remove_tag),
        )
        .route(
            "/v2/images/{id}/actions/deactivate",
            post(actions::deactivate),
        )
        .route(
            "/v2/images/{id}/actions/reactivate",
            post(actions::reactivate),
        )
        .route("/v2/schemas/{name}", get(schema))
        .route("/v2/info/import", get(info_import))
        .route("/v2/info/stores", get(info_stores))
        .route("/v2/info/usage", get(info_usage))
        // Without the cache of upstream, there is nothing to delete in it.
        .route("/v2/cache", delete(|| async { StatusCode::NO_CONTENT }))
        .with_state(images.clone());
    let open = |_: &Method, path: &str| path == "/" || path == "/versions";
    Mounted {
        prefix: "/image",
        catalog: Some(CatalogEntry {
            kind: "image",
            name: "glance",
            path: "",
        }),
        router: Service::new(Dialect::Image)
            .tokens(tokens, open)
            .wrap(router),
    }
}

fn versions(status: StatusCode, origin: &Origin) -> Response {
    let one = |id: &str, status: &str| {
        let link = format!("{}/v2/", origin.base());
        json!({"id": id, "status": status, "links": [{"rel": "self", "href": link}]})
    };
    let newest = [
        "v2.15", "v2.9", "v2.8", "v2.7", "v2.6", "v2.5", "v2.4", "v2.3", "v2.2", "v2.1", "v2.0",
    ];
    let list: Vec<_> = newest
        .iter()
        .enumerate()
        .map(|(at, id)| one(id, if at == 0 { "CURRENT" } else { "SUPPORTED" }))
        .collect();
    (status, axum::Json(json!({"versions": list}))).into_response()
}

async fn create(
    State(images): State<Images>,
    caller: Caller,
    origin: Origin,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    let asker = Asker::of(&caller);
    asker.must_write()?;
    let Value::Object(given) = body else {
        return Err(ApiError::bad_request("The body must be an object.").into());
    };
    let record = compose(given, &asker)?;
    let made = record.clone();
    images.write(move |tx| record::insert(tx, &record)).await?;
    let mut response = (StatusCode::CREATED, axum::Json(made.shown())).into_response();
    for (name, value) in [
        (
            "location",
            format!("{}/v2/images/{}", origin.base(), made.id),
        ),
        ("openstack-image-import-methods", IMPORT_METHODS.to_owned()),
        ("openstack-image-store-ids", "file".to_owned()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// The image that a request describes.
fn compose(given: Doc, asker: &Asker) -> Result<Record, ApiError> {
    if let Some((name, _)) = given
        .iter()
        .find(|(name, _)| fields::place(name) == Place::ReadOnly)
    {
        return Err(fields::read_only(name));
    }
    let id = match given.get("id") {
        Some(id) => fields::check("id", id.clone())?
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        None => new_uuid(),
    };
    let mut record = record::new(id, &asker.project, Timestamp::now());
    for (name, value) in given {
        let value = fields::check(&name, value)?;
        if name == "owner" && !asker.admin && value != json!(asker.project) {
            return Err(ApiError::forbidden(
                "You are not permitted to create images owned by another project.",
            ));
        }
        if name == "visibility" && value == "public" && !asker.admin {
            return Err(ApiError::forbidden(
                "You are not authorized to publicize this image.",
            ));
        }
        record.set(&name, value);
    }
    Ok(record)
}

async fn find(
    State(images): State<Images>,
    caller: Caller,
    query: Params,
) -> Result<Response, Failure> {
    let asker = Asker::of(&caller);
    let page = Page::of(&query, list::LIMITS)?;
    let asked = query.clone();
    let found = images
        .read(move |read| list::find(read, &asker, &asked))
        .await?;
    let cut = page.cut(&found, |record| &record.id);
    let (shown, more) = cut.ok_or_else(|| {
        ApiError::bad_request(format!(
            "Marker {} is not an image of this list.",
            page.marker.as_deref().unwrap_or_default()
        ))
    })?;
    let first: Vec<(String, String)> = query
        .0
        .iter()
        .filter(|(key, _)| key != "marker")
        .cloned()
        .collect();
    let mut body = json!({
        "images": shown.iter().map(Record::shown).collect::<Vec<_>>(),
        "first": with_query(&Params(first).to_query()),
        "schema": "/v2/schemas/images",
    });
    if let (true, Some(last)) = (more, shown.last()) {
        body["next"] = json!(with_query(&Page::next_query(&query, &last.id)));
    }
    Ok(axum::Json(body).into_response())
}

fn with_query(query: &str) -> String {
    if query.is_empty() {
        "/v2/images".to_owned()
    } else {
        format!("/v2/images?{query}")
    }
}

async fn show(
    State(images): State<Images>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let asker = Asker::of(&caller);
    let record = images
        .read(move |read| record::visible(read, &id, &asker))
        .await?;
    Ok(axum::Json(record.shown()).into_response())
}

async fn update(
    State(images): State<Images>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let form = Form::of(kind).ok_or_else(|| {
        ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("'{kind}' is not supported: use application/openstack-images-v2.1-json-patch."),
        )
    })?;
    let asker = Asker::of(&caller);
    let record = images
        .write(move |tx| {
            let mut record = record::visible(tx, &id, &asker)?;
            asker.must_own(&record)?;
            let before = record.doc.clone();
            patch::apply(&mut record, form, &body, &asker)?;
            if record.doc != before {
                record::save(tx, &mut record, Timestamp::now())?;
            }
            Ok(record)
        })
        .await?;
    Ok(axum::Json(record.shown()).into_response())
}

async fn remove(
    State(images): State<Images>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let asker = Asker::of(&caller);
    let wanted = id.clone();
    images
        .write(move |tx| {
            let record = record::visible(tx, &wanted, &asker)?;
            asker.must_own(&record)?;
            if record.flag("protected") {
                let words = format!("Image {wanted} is protected and cannot be deleted.");
                return Err(ApiError::forbidden(words).into());
            }
            record::delete(tx, &wanted)
        })
        .await?;
    // An upload that is under way finds the image gone and cleans up after itself.
    images
        .content()
        .release(&id)
        .await
        .map_err(content_failure)?;
    images
        .content()
        .release(&format!("{}{id}", content::STAGED))
        .await
        .map_err(content_failure)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn schema(Path(name): Path<String>) -> Result<Response, Failure> {
    let body = match name.as_str() {
        "image" => schemas::image(),
        "images" => schemas::collection("images", schemas::image()),
        "member" => schemas::member(),
        "members" => schemas::collection("members", schemas::member()),
        _ => return Err(ApiError::not_found(format!("There is no schema {name}.")).into()),
    };
    Ok(axum::Json(body).into_response())
}

async fn info_import() -> Response {
    let methods = json!({"description": "Import methods available.", "type": "array", "value": [IMPORT_METHODS]});
    axum::Json(json!({"import-methods": methods})).into_response()
}

async fn info_stores() -> Response {
    axum::Json(json!({"stores": [{"id": "file", "default": "true"}]})).into_response()
}

async fn info_usage(State(images): State<Images>, caller: Caller) -> Result<Response, Failure> {
    let project = Asker::of(&caller).project;
    let (mut bytes, mut count, mut staging, mut uploading) = (0u64, 0u64, 0u64, 0u64);
    for record in images.read(record::all).await? {
        if record.text("owner") == project {
            bytes += record.doc.get("size").and_then(Value::as_u64).unwrap_or(0);
            count += 1;
            staging += u64::from(record.status() == "uploading");
            uploading += u64::from(matches!(record.status(), "saving" | "uploading"));
        }
    }
    let entry = |usage: u64| json!({"usage": usage, "limit": -1});
    let usage = json!({
        "image_size_total": entry(bytes >> 20),
        "image_stage_total": entry(staging),
        "image_count_total": entry(count),
        "image_count_uploading": entry(uploading),
    });
    Ok(axum::Json(json!({"usage": usage})).into_response())
}
