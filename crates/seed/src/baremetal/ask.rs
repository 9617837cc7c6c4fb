//! A request on its way to its answer: who asks, in which version, with which parameters, seen from where.

use axum::extract::FromRequestParts;
use http::request::Parts;
use openstack_api::{ApiError, Caller, Microversion, Origin, Params};

/// Who asks, in which version, with which parameters, seen from where.
pub struct Ask {
    pub(super) caller: Caller,
    pub(super) version: Microversion,
    pub(super) params: Params,
    /// `http://host:port/baremetal`.
    pub(super) base: String,
}

impl Ask {
    /// Whether the version is at least 1.`minor`.
    pub(super) fn since(&self, minor: u16) -> bool {
        self.version.minor >= minor
    }

    /// The pair of links that things have.
    pub(super) fn links(&self, path: &str) -> serde_json::Value {
        serde_json::json!([
            {"href": format!("{}/v1/{path}", self.base), "rel": "self"},
            {"href": format!("{}/{path}", self.base), "rel": "bookmark"},
        ])
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Ask {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let version = parts.extensions.get::<Microversion>().copied();
        Ok(Self {
            caller: Caller::from_request_parts(parts, state).await?,
            version: version.unwrap_or(super::VERSIONS.min),
            params: Params::of(&parts.uri)?,
            base: Origin::from_request_parts(parts, state).await?.base(),
        })
    }
}
