//! Why a cloud did not do what it was asked.

use crate::Kind;

/// Why one node was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The node's name, or its id.
    pub node: String,
    /// What is wrong with it: `resource class is baremetal, not control`.
    pub why: String,
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.node, self.why)
    }
}

/// Why a cloud did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudError {
    /// Something that the call names is not there.
    #[error("the {kind} `{name}` could not be found")]
    NotFound {
        /// What it is.
        kind: Kind,
        /// How the call named it.
        name: String,
    },
    /// Several things have the name, so it does not say which one.
    #[error("more than one {kind} is named `{name}`")]
    Ambiguous {
        /// What it is.
        kind: Kind,
        /// How the call named it.
        name: String,
    },
    /// No machine fits. One sentence per machine says why.
    #[error("no node fits the server `{server}`{}", each(misfits))]
    NoFittingNode {
        /// The server's visible name.
        server: String,
        /// All nodes that were looked at.
        misfits: Vec<Misfit>,
    },
    /// The wanted thing cannot be: overlapping addresses, an address outside its subnet.
    #[error("the {kind} `{name}` cannot be made: {why}")]
    Invalid {
        /// What it is.
        kind: Kind,
        /// Its visible name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Another thing stands in the way: still used, or taken by someone else.
    #[error("the {kind} `{name}` is in use: {why}")]
    InUse {
        /// What it is.
        kind: Kind,
        /// Its name.
        name: String,
        /// By what.
        why: String,
    },
    /// The work was begun and went wrong; asking again changes nothing.
    #[error("the {kind} `{name}` failed: {why}")]
    Failed {
        /// What it is.
        kind: Kind,
        /// Its visible name.
        name: String,
        /// What went wrong, with the last words of the one who knows.
        why: String,
    },
    /// The driver has seen a newer decision about this thing.
    #[error("a newer decision about the {kind} `{name}` was made")]
    Superseded {
        /// What it is.
        kind: Kind,
        /// Its physical name.
        name: String,
    },
    /// The order's deadline is past, and the thing is not there.
    #[error("the {kind} `{name}` was not ready in time: {why}")]
    DeadlinePassed {
        /// What it is.
        kind: Kind,
        /// Its visible name.
        name: String,
        /// What it was waiting for.
        why: String,
    },
    /// The driver cannot do this at all.
    #[error("this cloud cannot {what}")]
    Unsupported {
        /// What was asked, and what to use instead where there is something.
        what: String,
    },
    /// The cloud did not answer, or not now. Asking again may help.
    #[error("the cloud did not answer: {why}")]
    Unreachable {
        /// What happened.
        why: String,
    },
}

impl CloudError {
    /// Whether asking again later may help.
    pub fn is_retryable(&self) -> bool {
        match self {
            CloudError::Unreachable { .. } | CloudError::InUse { .. } => true,
            CloudError::NotFound { .. }
            | CloudError::Ambiguous { .. }
            | CloudError::NoFittingNode { .. }
            | CloudError::Invalid { .. }
            | CloudError::Failed { .. }
            | CloudError::Superseded { .. }
            | CloudError::DeadlinePassed { .. }
            | CloudError::Unsupported { .. } => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            CloudError::NotFound { kind, .. } => Some(format!(
                "`openstack {} list` shows what there is",
                command(*kind)
            )),
            CloudError::Ambiguous { .. } => Some("use its id".to_owned()),
            CloudError::NoFittingNode { misfits, .. } if misfits.is_empty() => {
                Some("enrol a node first: `tripleo node import`".to_owned())
            }
            CloudError::NoFittingNode { .. } => {
                Some("`tripleo node list` shows all nodes".to_owned())
            }
            CloudError::Invalid { .. }
            | CloudError::InUse { .. }
            | CloudError::Failed { .. }
            | CloudError::Superseded { .. }
            | CloudError::DeadlinePassed { .. }
            | CloudError::Unsupported { .. }
            | CloudError::Unreachable { .. } => None,
        }
    }
}

fn command(kind: Kind) -> &'static str {
    match kind {
        Kind::Server => "server",
        Kind::Port => "port",
        Kind::Network => "network",
        Kind::Subnet => "subnet",
        Kind::Router => "router",
        Kind::FloatingAddress => "floating ip",
        Kind::SecurityGroup => "security group",
        Kind::KeyPair => "keypair",
        Kind::Image => "image",
        Kind::Flavor => "flavor",
    }
}

fn each(misfits: &[Misfit]) -> String {
    if misfits.is_empty() {
        return ": there is no node".to_owned();
    }
    let all: Vec<String> = misfits.iter().map(ToString::to_string).collect();
    format!(": {}", all.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_fitting_node_says_why_for_each_node() {
        let error = CloudError::NoFittingNode {
            server: "ctl".into(),
            misfits: vec![Misfit {
                node: "n1".into(),
                why: "is in maintenance".into(),
            }],
        };
        assert_eq!(
            error.to_string(),
            "no node fits the server `ctl`: n1: is in maintenance"
        );
        assert!(!error.is_retryable());
    }
}
