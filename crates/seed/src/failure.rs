//! The error of handlers and of the closures that they run on the database.

use axum::response::{IntoResponse, Response};
use openstack_api::ApiError;
use store::StoreError;

/// Why a request failed: refused with a reason, or the database did not work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The request is refused.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The database did not work.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => error,
            Failure::Store(error) => ApiError::internal(&error),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        ApiError::from(self).into_response()
    }
}
