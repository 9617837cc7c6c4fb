//! Refusals of the orchestration API in the shape that Heat's clients read.
//!
//! A [`Fault`] is a status, the name of an exception as Heat has it, and a sentence. It becomes
//! the JSON body that `python-heatclient` prints as `ERROR: …`. Refused tokens look different
//! and are written by [`openstack_api::Service`], because upstream's token
//! filter answers before Heat does.

use std::error::Error;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use engine::EngineError;
use serde_json::json;

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// The HTTP status.
    pub status: StatusCode,
    /// The exception class that Heat would name.
    pub kind: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it; our own client prints it.
    pub hint: Option<String>,
}

impl Fault {
    /// A fault of any status.
    pub fn new(status: StatusCode, kind: &str, message: impl Into<String>) -> Fault {
        Fault {
            status,
            kind: kind.to_owned(),
            message: message.into(),
            hint: None,
        }
    }

    /// 400, found before the engine was asked.
    pub fn bad_request(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::BAD_REQUEST, "HTTPBadRequest", message)
    }

    /// 400 without any particular reason: the body is no JSON object.
    pub fn malformed() -> Fault {
        Fault::bad_request(explanation(StatusCode::BAD_REQUEST))
    }

    /// 400 of the engine's validation.
    pub fn invalid(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::BAD_REQUEST, "StackValidationFailed", message)
    }

    /// 400 for what Heat has and this server or this resource has not.
    pub fn not_supported(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::BAD_REQUEST, "NotSupported", message)
    }

    /// 404 for a stack.
    pub fn no_stack(name: &str) -> Fault {
        Fault::no_entity("Stack", name)
    }

    /// 404 for a stack, resource type or other named thing.
    pub fn no_entity(what: &str, name: &str) -> Fault {
        let message = format!("The {what} ({name}) could not be found.");
        Fault::new(StatusCode::NOT_FOUND, "EntityNotFound", message)
    }

    /// 404 for a resource of a stack.
    pub fn no_resource(resource: &str, stack: &str) -> Fault {
        let message = format!("The Resource ({resource}) could not be found in Stack {stack}.");
        Fault::new(StatusCode::NOT_FOUND, "ResourceNotFound", message)
    }

    /// 404 for configs, deployments, snapshots, outputs.
    pub fn not_found(message: impl Into<String>) -> Fault {
        Fault::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// 404 for an address that means nothing.
    pub fn no_route() -> Fault {
        let text = explanation(StatusCode::NOT_FOUND);
        Fault::new(StatusCode::NOT_FOUND, "HTTPNotFound", text)
    }

    /// 403 by policy; `rule` is upstream's name of the rule.
    pub fn forbidden(rule: &str) -> Fault {
        let message = format!("You are not authorized to use {rule}.");
        Fault::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    /// 403 for a path that names another project than the token.
    pub fn other_project() -> Fault {
        let text = explanation(StatusCode::FORBIDDEN);
        Fault::new(StatusCode::FORBIDDEN, "HTTPForbidden", text)
    }

    /// 405.
    pub fn method() -> Fault {
        let text = explanation(StatusCode::METHOD_NOT_ALLOWED);
        Fault::new(StatusCode::METHOD_NOT_ALLOWED, "HTTPMethodNotAllowed", text)
    }

    /// 500; the cause goes to the log, not to the client.
    pub fn internal() -> Fault {
        let text = explanation(StatusCode::INTERNAL_SERVER_ERROR);
        Fault::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "HTTPInternalServerError",
            text,
        )
    }

    /// The same fault with advice.
    #[must_use]
    pub fn advise(mut self, hint: Option<String>) -> Fault {
        self.hint = hint;
        self
    }

    /// The reply.
    pub fn response(&self) -> Response<Body> {
        let mut error = json!({ "type": self.kind, "traceback": null, "message": self.message });
        // Beside the message, which programs compare word by word with Heat's.
        if let Some(hint) = &self.hint {
            error["hint"] = json!(hint);
        }
        let body = json!({
            "code": self.status.as_u16(),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "explanation": explanation(self.status),
            "error": error,
        });
        super::reply::json(self.status, &body)
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Fault {
        let hint = error.hint();
        let (status, kind) = match &error {
            EngineError::StackNotFound { .. } => (StatusCode::NOT_FOUND, "EntityNotFound"),
            EngineError::StackExists { .. } => (StatusCode::CONFLICT, "StackExists"),
            EngineError::ResourceNotFound { .. } => (StatusCode::NOT_FOUND, "ResourceNotFound"),
            EngineError::NotFound { .. } | EngineError::SnapshotNotFound { .. } => {
                (StatusCode::NOT_FOUND, "NotFound")
            }
            EngineError::ActionInProgress { .. } => (StatusCode::CONFLICT, "ActionInProgress"),
            EngineError::NotSupported { .. } => (StatusCode::BAD_REQUEST, "NotSupported"),
            EngineError::ResourceActionNotSupported { .. } => {
                (StatusCode::BAD_REQUEST, "ResourceActionNotSupported")
            }
            EngineError::Invalid { .. } => (StatusCode::BAD_REQUEST, "StackValidationFailed"),
            EngineError::Template(wrong) => (StatusCode::BAD_REQUEST, wrong.kind.as_str()),
            EngineError::Cloud { .. }
            | EngineError::Users { .. }
            | EngineError::Store { .. }
            | EngineError::Record { .. } => {
                tracing::error!(error = chain(&error), "the engine could not answer");
                return Fault::internal();
            }
        };
        Fault::new(status, kind, error.to_string()).advise(hint)
    }
}

impl Fault {
    /// The fault of a lookup, naming what was looked for in the asker's own words.
    pub fn renamed(error: EngineError, what: &str) -> Fault {
        match error {
            EngineError::StackNotFound { .. } => Fault::no_stack(what),
            other => Fault::from(other),
        }
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn explanation(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => {
            "The server could not comply with the request since it is either malformed or \
             otherwise incorrect."
        }
        403 => "Access was denied to this resource.",
        404 => "The resource could not be found.",
        405 => "The method specified is not allowed for this resource.",
        409 => "There was a conflict when trying to complete your request.",
        501 => "The server does not support the functionality required to fulfill the request.",
        _ => "The server has either erred or is incapable of performing the requested operation.",
    }
}
