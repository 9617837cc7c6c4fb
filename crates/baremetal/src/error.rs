//! Why bare metal did not do what it was asked. The server gives each a status by one `match`.

use store::StoreError;

use crate::state::{ProvisionState, Verb};

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum MetalError {
    /// There is no such thing.
    #[error("{kind} {id} could not be found.")]
    NotFound {
        /// `Node`, `Port` …
        kind: &'static str,
        /// Name or identity as it was asked for.
        id: String,
    },
    /// A unique value is in use.
    #[error("{what} {value} is already in use{by}.")]
    InUse {
        /// What it is: `A node with name` …
        what: &'static str,
        /// The value.
        value: String,
        /// By what, where that helps.
        by: String,
    },
    /// The value is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The thing is in a state that does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// It is forbidden, by protection.
    #[error("Node {node} is protected and can not be undeployed, rebuilt or deleted")]
    Protected {
        /// The node.
        node: String,
    },
    /// Something is being done with the node.
    #[error(
        "Node {node} is locked by host {host}, please retry after the current operation is completed."
    )]
    Locked {
        /// The node.
        node: String,
        /// The server that works on it.
        host: String,
    },
    /// The verb does not fit the state.
    #[error(
        "The requested action \"{verb}\" can not be performed on node \"{node}\" while it is in state \"{state}\"."
    )]
    WrongState {
        /// What was asked.
        verb: String,
        /// The node.
        node: String,
        /// Its state.
        state: ProvisionState,
    },
    /// No driver of this name.
    #[error(
        "No valid host was found. Reason: No conductor service registered which supports driver {driver} for conductor group \"{group}\"."
    )]
    NoDriver {
        /// The driver.
        driver: String,
        /// The group.
        group: String,
    },
    /// No node fits what is wanted.
    #[error("no node fits: {reasons}")]
    NoneFits {
        /// Per node, why it does not.
        reasons: String,
    },
    /// The machine could not be driven.
    #[error("{0}")]
    Hardware(#[source] crate::hardware::HardwareError),
    /// A deploy agent's secret is not the one of the running work.
    #[error("the secret is not that of a deployment that runs")]
    NotTheAgent,
    /// The database did not do it.
    #[error("the database of nodes failed")]
    Store(#[source] StoreError),
    /// A row cannot be read or written.
    #[error("the row of {kind} {id} cannot be read")]
    Row {
        /// `Node`, `Port` …
        kind: &'static str,
        /// Identity.
        id: String,
        /// The cause.
        source: serde_json::Error,
    },
}

impl From<StoreError> for MetalError {
    fn from(source: StoreError) -> Self {
        Self::Store(source)
    }
}

impl MetalError {
    pub(crate) fn wrong_state(verb: Verb, node: &crate::Node) -> Self {
        Self::WrongState {
            verb: verb.word().to_owned(),
            node: node.uuid.to_string(),
            state: node.provision_state,
        }
    }
}

/// An error and what is underneath, as one text.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        // Layers of HTTP clients repeat each other.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = cause.source();
    }
    text
}
