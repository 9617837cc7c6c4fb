//! Replies of the orchestration API: JSON without a charset, redirects, empty ones, times.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

/// A JSON reply. Heat sends no charset and neither do we: old clients compare the type as text.
pub fn json(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// 200 with JSON.
pub fn ok(body: &Value) -> Response<Body> {
    json(StatusCode::OK, body)
}

/// 204.
pub fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// 202 with the body of the framework that upstream uses.
pub fn accepted() -> Response<Body> {
    let message = "The request is accepted for processing.\n\n\n";
    json(
        StatusCode::ACCEPTED,
        &json!({ "message": message, "code": "202 Accepted", "title": "Accepted" }),
    )
}

/// 302 to an absolute address.
pub fn found(location: &str) -> Response<Body> {
    let message = format!(
        "The resource was found at <a href=\"{location}\">{location}</a>;\n\
         you should be redirected automatically.\n\n\n"
    );
    let body = json!({ "message": message, "code": "302 Found", "title": "Found" });
    with_location(json(StatusCode::FOUND, &body), location)
}

/// 201 with the address of what was made.
pub fn created(location: &str, body: &Value) -> Response<Body> {
    with_location(json(StatusCode::CREATED, body), location)
}

fn with_location(mut response: Response<Body>, location: &str) -> Response<Body> {
    if let Ok(value) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

/// A moment as Heat writes it: UTC, whole seconds.
pub fn time(moment: jiff::Timestamp) -> Value {
    Value::String(moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A moment that may not have come yet.
pub fn time_or_null(moment: Option<jiff::Timestamp>) -> Value {
    moment.map_or(Value::Null, time)
}
