//! Errors of a transaction: those of the cloud, and what the database says turned into one of them.

use std::error::Error;

use baremetal::MetalError;
use cloud::{CloudError, Kind};
use store::StoreError;

/// Why a transaction was taken back.
#[derive(Debug)]
pub struct Failure(CloudError);

impl Failure {
    pub fn into_cloud(self) -> CloudError {
        self.0
    }
}

impl From<CloudError> for Failure {
    fn from(error: CloudError) -> Self {
        Self(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self(CloudError::Unreachable { why: chain(&error) })
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self(CloudError::Unreachable {
            why: format!("a row cannot be read: {error}"),
        })
    }
}

/// What bare metal said about a server, in the cloud's words.
pub fn of_metal(server: &str, error: MetalError) -> CloudError {
    let why = chain(&error);
    match error {
        // Another one works on the node or the database is away: asking again helps.
        MetalError::Locked { .. } | MetalError::Store(_) | MetalError::Row { .. } => {
            CloudError::Unreachable { why }
        }
        MetalError::NotFound { .. }
        | MetalError::InUse { .. }
        | MetalError::Invalid(_)
        | MetalError::Conflict(_)
        | MetalError::Protected { .. }
        | MetalError::WrongState { .. }
        | MetalError::NoDriver { .. }
        | MetalError::NoneFits { .. }
        | MetalError::Hardware(_)
        | MetalError::NotTheAgent => CloudError::Failed {
            kind: Kind::Server,
            name: server.to_owned(),
            why,
        },
    }
}

/// An error and its causes in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        said = format!("{said}: {inner}");
        cause = inner.source();
    }
    said
}
