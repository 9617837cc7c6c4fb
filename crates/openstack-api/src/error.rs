//! What a request is refused with, and how each service writes it down.
//!
//! Handlers return [`ApiError`] and know nothing of bodies: [`crate::Service`] renders it in the [`Dialect`] of
//! the service, because clients parse each one differently.

use std::borrow::Cow;
use std::error::Error;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// The words of every 401, whatever the reason: a caller learns nothing about which part was wrong.
pub(crate) const UNAUTHORIZED: &str = "The request you have made requires authentication.";

/// How a service writes errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `{"error": {"code", "message", "title"}}`.
    Identity,
    /// `{"error_message": "<JSON>"}`: JSON inside a JSON string.
    Baremetal,
    /// `{"message", "code", "title"}`, or HTML for those who ask for it.
    Image,
    /// `{"explanation", "code", "error": {"message", "traceback", "type"}, "title"}`.
    Orchestration,
    /// `{"<kind>": {"code", "message"}}`.
    Compute,
    /// `{"NeutronError": {"type", "message", "detail"}}`.
    Network,
}

/// Why a request is refused.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// What the caller is told.
    pub message: String,
    /// Upstream's exception class, where the dialect shows one.
    pub kind: Option<Cow<'static, str>>,
    /// Found out by routing or version checks, before any handler: baremetal writes these differently.
    pub before_handler: bool,
    // Boxed: results that carry this error stay small.
    headers: Option<Box<HeaderMap>>,
}

impl ApiError {
    /// An error with this status and these words.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            kind: None,
            before_handler: false,
            headers: None,
        }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 401: the words are the same whatever was wrong.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, UNAUTHORIZED)
    }

    /// 403.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 403 with the words that policy has for `action`, for example `identity:create_user`.
    pub fn not_allowed(action: &str) -> Self {
        Self::forbidden(format!(
            "You are not authorized to perform the requested action: {action}."
        ))
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 409.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 413.
    pub fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("The request body is larger than {limit} bytes."),
        )
    }

    /// 501 for a call that we lack; `instead` says what to use.
    pub fn not_implemented(what: &str, instead: &str) -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            format!("{what} is not implemented here: {instead}"),
        )
    }

    /// 500. The cause goes to the log, not to the caller.
    pub fn internal(error: &(dyn Error + 'static)) -> Self {
        let mut chain = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            chain.push_str(": ");
            chain.push_str(&cause.to_string());
            source = cause.source();
        }
        tracing::error!(error = %chain, "a request failed inside the server");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "An unexpected error prevented the server from fulfilling your request; its log says more.",
        )
    }

    /// Names upstream's exception class.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<Cow<'static, str>>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Marks the error as found before any handler ran.
    #[must_use]
    pub fn before_handler(mut self) -> Self {
        self.before_handler = true;
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.get_or_insert_default().append(name, value);
        self
    }

    /// The standard words for the status, such as `Not Found`.
    pub fn title(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or("Error")
    }

    /// Writes the error down in `dialect`; `accept` is the request's header of that name.
    pub fn render(&self, dialect: Dialect, accept: Option<&str>) -> Response {
        let wants_html = dialect == Dialect::Image
            && self.status != StatusCode::UNAUTHORIZED
            && accept.is_some_and(|a| a.contains("text/html") && !a.contains("application/json"));
        let (kind, body) = if wants_html {
            ("text/html; charset=UTF-8", self.html())
        } else {
            ("application/json", self.body(dialect).to_string())
        };
        let mut response = (self.status, body).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        for (name, value) in self.headers.iter().flat_map(|headers| headers.iter()) {
            response.headers_mut().append(name, value.clone());
        }
        response
    }

    fn body(&self, dialect: Dialect) -> Value {
        let code = self.status.as_u16();
        // The layer that checks tokens is the same in front of all services, and so is its body.
        if self.status == StatusCode::UNAUTHORIZED {
            return json!({"error": {"code": code, "title": self.title(), "message": self.message}});
        }
        match dialect {
            Dialect::Identity => {
                json!({"error": {"code": code, "message": self.message, "title": self.title()}})
            }
            Dialect::Baremetal if self.before_handler => {
                let inner =
                    json!({"code": code, "title": self.title(), "description": self.message});
                json!({"error_message": inner.to_string()})
            }
            Dialect::Baremetal => {
                let side = if self.status.is_server_error() {
                    "Server"
                } else {
                    "Client"
                };
                let inner =
                    json!({"faultcode": side, "faultstring": self.message, "debuginfo": null});
                json!({"error_message": inner.to_string()})
            }
            Dialect::Image => json!({
                "message": format!("{}<br /><br />\n\n\n", escape(&self.message)),
                "code": format!("{code} {}", self.title()),
                "title": self.title(),
            }),
            Dialect::Orchestration => json!({
                "explanation": explanation(self.status),
                "code": code,
                "error": {
                    "message": self.message,
                    "traceback": null,
                    "type": self.kind.as_deref().unwrap_or_else(|| exception(self.status)),
                },
                "title": self.title(),
            }),
            Dialect::Compute => {
                let name = self
                    .kind
                    .as_deref()
                    .unwrap_or_else(|| compute_fault(self.status));
                json!({name: {"code": code, "message": self.message}})
            }
            Dialect::Network => json!({"NeutronError": {
                "type": self.kind.as_deref().unwrap_or_else(|| exception(self.status)),
                "message": self.message,
                "detail": "",
            }}),
        }
    }

    fn html(&self) -> String {
        let head = format!("{} {}", self.status.as_u16(), self.title());
        format!(
            "<html>\n <head>\n  <title>{head}</title>\n </head>\n <body>\n  <h1>{head}</h1>\n  {}<br /><br />\n\n\n </body>\n</html>",
            escape(&self.message)
        )
    }
}

impl IntoResponse for ApiError {
    /// Leaves the error in the response for [`crate::Service`] to render.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// What the WSGI library of upstream says for each status.
fn explanation(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => {
            "The server could not comply with the request since it is either malformed or otherwise incorrect."
        }
        StatusCode::FORBIDDEN => "Access was denied to this resource.",
        StatusCode::NOT_FOUND => "The resource could not be found.",
        StatusCode::CONFLICT => "There was a conflict when trying to complete your request.",
        StatusCode::METHOD_NOT_ALLOWED => "The method is not allowed for this resource.",
        StatusCode::NOT_IMPLEMENTED => "The server does not support this function.",
        _ => "The server has either erred or is incapable of performing the requested operation.",
    }
}

fn exception(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "HTTPBadRequest",
        StatusCode::FORBIDDEN => "HTTPForbidden",
        StatusCode::NOT_FOUND => "HTTPNotFound",
        StatusCode::CONFLICT => "HTTPConflict",
        StatusCode::METHOD_NOT_ALLOWED => "HTTPMethodNotAllowed",
        StatusCode::NOT_IMPLEMENTED => "HTTPNotImplemented",
        _ => "HTTPInternalServerError",
    }
}

fn compute_fault(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "badRequest",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::NOT_FOUND => "itemNotFound",
        StatusCode::METHOD_NOT_ALLOWED => "badMethod",
        StatusCode::CONFLICT => "conflictingRequest",
        StatusCode::PAYLOAD_TOO_LARGE => "overLimit",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "badMediaType",
        StatusCode::NOT_IMPLEMENTED => "notImplemented",
        StatusCode::SERVICE_UNAVAILABLE => "serviceUnavailable",
        _ => "computeFault",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn text(error: &ApiError, dialect: Dialect, accept: Option<&str>) -> String {
        let body = error
            .render(dialect, accept)
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn each_dialect_has_its_form() {
        let e = ApiError::not_found("no `x`").kind("EntityNotFound");
        let parse = |s: String| serde_json::from_str::<Value>(&s).unwrap();
        assert_eq!(
            parse(text(&e, Dialect::Identity, None).await),
            json!({"error": {"code": 404, "message": "no `x`", "title": "Not Found"}})
        );
        let outer = parse(text(&e, Dialect::Baremetal, None).await);
        assert_eq!(
            parse(outer["error_message"].as_str().unwrap().to_owned()),
            json!({"faultcode": "Client", "faultstring": "no `x`", "debuginfo": null})
        );
        let outer = parse(text(&e.clone().before_handler(), Dialect::Baremetal, None).await);
        assert_eq!(
            parse(outer["error_message"].as_str().unwrap().to_owned()),
            json!({"code": 404, "title": "Not Found", "description": "no `x`"})
        );
        assert_eq!(
            parse(text(&e, Dialect::Image, Some("application/json")).await)["code"],
            "404 Not Found"
        );
        assert_eq!(
            parse(text(&e, Dialect::Orchestration, None).await)["error"]["type"],
            "EntityNotFound"
        );
        assert_eq!(
            parse(text(&e, Dialect::Network, None).await)["NeutronError"]["type"],
            "EntityNotFound"
        );
        assert_eq!(
            parse(text(&ApiError::not_found("x"), Dialect::Compute, None).await)["itemNotFound"]["code"],
            404
        );
    }

    #[tokio::test]
    async fn html_is_escaped() {
        let page = text(
            &ApiError::bad_request("<script>"),
            Dialect::Image,
            Some("text/html"),
        )
        .await;
        assert!(page.contains("&lt;script&gt;") && page.contains("<h1>400 Bad Request</h1>"));
    }
}
