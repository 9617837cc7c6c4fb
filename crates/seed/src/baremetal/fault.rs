//! The status of each refusal of the room below, by one match.

use baremetal::MetalError;
use http::StatusCode;
use openstack_api::ApiError;

/// The refusal as this API says it.
pub(super) fn of(error: MetalError) -> ApiError {
    let text = error.to_string();
    match error {
        MetalError::NotFound { .. } => ApiError::not_found(text),
        MetalError::InUse { .. }
        | MetalError::Conflict(_)
        | MetalError::Locked { .. }
        | MetalError::NoneFits { .. } => ApiError::conflict(text),
        MetalError::Invalid(_) | MetalError::WrongState { .. } | MetalError::NoDriver { .. } => {
            ApiError::bad_request(text)
        }
        MetalError::Protected { .. } => ApiError::forbidden(text),
        MetalError::Hardware(ref cause) => match cause {
            baremetal::HardwareError::Bmc(_) => {
                ApiError::new(StatusCode::BAD_REQUEST, cause.text())
            }
            baremetal::HardwareError::Missing { .. }
            | baremetal::HardwareError::Wrong { .. }
            | baremetal::HardwareError::Unsupported { .. } => ApiError::bad_request(text),
        },
        MetalError::NotTheAgent => ApiError::unauthorized(),
        MetalError::Store(_) | MetalError::Row { .. } => ApiError::internal(&error),
    }
}
