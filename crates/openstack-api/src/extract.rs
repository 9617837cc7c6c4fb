//! Takes requests apart: JSON bodies, query parameters, and the address that the caller used.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use http::request::Parts;
use http::{Uri, header};
use serde::de::DeserializeOwned;
use std::error::Error;

use crate::ApiError;

/// How large a JSON body may be. [`crate::Service`] puts it into each request.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimit(pub usize);

impl Default for BodyLimit {
    /// One mebibyte is far above any body that is no template or config drive.
    fn default() -> Self {
        Self(1 << 20)
    }
}

/// A JSON body, whatever content type the client wrote beside it.
#[derive(Debug, Clone)]
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let limit = request
            .extensions()
            .get::<BodyLimit>()
            .copied()
            .unwrap_or_default()
            .0;
        let bytes = read(request.into_body(), limit).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(ApiError::bad_request(
                "The request has no body; a JSON document is expected.",
            ));
        }
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let what = if error.is_data() {
                "does not have the expected form"
            } else {
                "is not valid JSON"
            };
            ApiError::bad_request(format!("The request body {what}: {error}"))
        })
    }
}

async fn read(body: Body, limit: usize) -> Result<bytes::Bytes, ApiError> {
    to_bytes(body, limit).await.map_err(|error| {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(inner) = cause {
            // The type behind is axum's private one; its words are the only mark it has.
            if inner.to_string() == "length limit exceeded" {
                return ApiError::too_large(limit);
            }
            cause = inner.source();
        }
        ApiError::bad_request("The request body ended early.")
    })
}

/// Query parameters in the order given, repeated ones included; an extractor.
#[derive(Debug, Clone, Default)]
pub struct Params(pub Vec<(String, String)>);

impl Params {
    /// Reads the query of `uri`.
    pub fn of(uri: &Uri) -> Result<Self, ApiError> {
        Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map(|Query(pairs)| Self(pairs))
            .map_err(|_| ApiError::bad_request("The query string is malformed."))
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is present, even without a value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A parameter that stands for yes or no; 400 naming it for anything else.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.get(name)
            .map(|text| {
                parse_bool(text).ok_or_else(|| {
                    ApiError::bad_request(format!(
                        "Invalid value `{text}` for `{name}`: a boolean is expected."
                    ))
                })
            })
            .transpose()
    }

    /// All parameters, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        Self::of(&parts.uri)
    }
}

/// Yes or no as upstream's services read it from texts.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "on" | "y" | "yes" => Some(true),
        "0" | "f" | "false" | "off" | "n" | "no" => Some(false),
        _ => None,
    }
}

/// Where the caller sees this service: links in bodies are built from it. An extractor.
///
/// The server puts it into each request, because it alone knows about TLS and the prefix it cut off.
#[derive(Debug, Clone)]
pub struct Origin {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host and port as the caller wrote them, or the server's own where that was no host.
    pub authority: String,
    /// Path under which the service is mounted, such as `/identity`.
    pub prefix: String,
}

impl Origin {
    /// Takes the authority from the `Host` header where it is one, else `fallback`.
    pub fn new(scheme: &'static str, host: Option<&str>, fallback: &str, prefix: &str) -> Self {
        let authority = host
            .filter(|text| is_authority(text))
            .unwrap_or(fallback)
            .to_owned();
        Self {
            scheme,
            authority,
            prefix: prefix.to_owned(),
        }
    }

    /// `http://host:port/prefix`, without a slash at the end.
    pub fn base(&self) -> String {
        format!("{}://{}{}", self.scheme, self.authority, self.prefix)
    }

    /// The same for another service of this server.
    pub fn service(&self, prefix: &str) -> String {
        format!("{}://{}{}", self.scheme, self.authority, prefix)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        Ok(parts
            .extensions
            .get::<Origin>()
            .cloned()
            .unwrap_or_else(|| {
                let host = parts
                    .headers
                    .get(header::HOST)
                    .and_then(|value| value.to_str().ok());
                Origin::new("http", host, "localhost", "")
            }))
    }
}

/// A `Host` header goes into links, so nothing but a host and a port may pass.
fn is_authority(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && text.bytes().all(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(bytes: &'static [u8], limit: usize) -> Result<serde_json::Value, u16> {
        let mut request = Request::new(Body::from(bytes));
        request.extensions_mut().insert(BodyLimit(limit));
        JsonBody::from_request(request, &())
            .await
            .map(|JsonBody(v)| v)
            .map_err(|e| e.status.as_u16())
    }

    #[tokio::test]
    async fn bodies_are_read_or_refused() {
        assert_eq!(
            body(b"{\"a\": 1}", 100).await,
            Ok(serde_json::json!({"a": 1}))
        );
        assert_eq!(body(b"{", 100).await, Err(400));
        assert_eq!(body(b"", 100).await, Err(400));
        assert_eq!(body(b"{\"a\": \"\xff\"}", 100).await, Err(400));
        assert_eq!(body(b"{\"a\": 1}", 4).await, Err(413));
    }

    #[test]
    fn only_a_host_gets_into_links() {
        let origin = |host| Origin::new("http", Some(host), "fall:1", "/image").base();
        assert_eq!(
            origin("seed.example:5000"),
            "http://seed.example:5000/image"
        );
        assert_eq!(origin("[::1]:80"), "http://[::1]:80/image");
        assert_eq!(origin("evil/\"x"), "http://fall:1/image");
        assert_eq!(origin("host:1/identity"), "http://fall:1/image");
    }

    #[test]
    fn params_keep_order_and_decode() {
        let params = Params::of(&"/x?a=1&b=%C3%BC&a=2&c".parse().unwrap()).unwrap();
        assert_eq!(params.get("a"), Some("1"));
        assert_eq!(params.get("b"), Some("ü"));
        assert!(params.has("c"));
        assert_eq!(params.0.len(), 4);
        assert!(params.flag("b").is_err());
        assert_eq!(params.flag("a").unwrap(), Some(true));
    }
}
