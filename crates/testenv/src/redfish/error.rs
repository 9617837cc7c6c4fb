//! Refusals in the form of Redfish: a message of the Base registry, with its arguments.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request is refused.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    id: &'static str,
    message: String,
    arguments: Vec<String>,
}

impl Refusal {
    fn new(status: StatusCode, id: &'static str, message: String, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
        Self {
            status,
            id,
            message,
            arguments,
        }
    }

    /// No or wrong credentials.
    pub fn unauthorized() -> Self {
        let message = "The request lacks valid authentication credentials.".to_owned();
        Self::new(
            StatusCode::UNAUTHORIZED,
            "InsufficientPrivilege",
            message,
            &[],
        )
    }

    /// There is no such resource.
    pub fn missing(path: &str) -> Self {
        let message = format!("The resource at the URI '{path}' was not found.");
        Self::new(
            StatusCode::NOT_FOUND,
            "ResourceMissingAtURI",
            message,
            &[path],
        )
    }

    /// The resource does not know this method.
    pub fn method() -> Self {
        let message = "The HTTP method is not allowed on this resource.".to_owned();
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "OperationNotAllowed",
            message,
            &[],
        )
    }

    /// The body is not JSON, or not an object.
    pub fn malformed() -> Self {
        let message = "The request body is not a JSON object.".to_owned();
        Self::new(StatusCode::BAD_REQUEST, "MalformedJSON", message, &[])
    }

    /// A parameter is missing.
    pub fn lacking(property: &str) -> Self {
        let message = format!("The property '{property}' is required and is not in the request.");
        Self::new(
            StatusCode::BAD_REQUEST,
            "PropertyMissing",
            message,
            &[property],
        )
    }

    /// A value is not one of those allowed.
    pub fn value(value: &str, property: &str) -> Self {
        let message = format!("The value '{value}' for the property '{property}' is not allowed.");
        Self::new(
            StatusCode::BAD_REQUEST,
            "PropertyValueNotInList",
            message,
            &[value, property],
        )
    }

    /// A property cannot be changed.
    pub fn read_only(property: &str) -> Self {
        let message = format!("The property '{property}' is unknown or cannot be changed.");
        Self::new(
            StatusCode::BAD_REQUEST,
            "PropertyNotWritable",
            message,
            &[property],
        )
    }

    /// An image cannot be fetched.
    pub fn unreachable(url: &str, why: &str) -> Self {
        let message = format!("The image at '{url}' cannot be fetched: {why}.");
        Self::new(
            StatusCode::BAD_REQUEST,
            "CouldNotEstablishConnection",
            message,
            &[url],
        )
    }

    /// The drive is in use.
    pub fn occupied() -> Self {
        let message = "The virtual drive holds an image: eject it first.".to_owned();
        Self::new(StatusCode::CONFLICT, "ResourceInUse", message, &[])
    }

    /// The lab failed.
    pub fn internal(why: &str) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            format!("The request failed: {why}."),
            &[],
        )
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let id = format!("Base.1.18.{}", self.id);
        let body = json!({"error": {
            "code": id,
            "message": self.message,
            "@Message.ExtendedInfo": [{
                "@odata.type": "#Message.v1_1_2.Message",
                "MessageId": id,
                "Message": self.message,
                "MessageArgs": self.arguments,
                "Severity": "Critical",
                "Resolution": "Correct the request and send it again.",
            }],
        }});
        (self.status, Json(body)).into_response()
    }
}
