//! Why a resource failed, in the words that Heat would use.

use cloud::CloudError;
use hot::TemplateError;

/// Why a resource failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The class of the error: `ValueError`, `ResourceInError`.
    pub kind: String,
    /// From the stack that is looked at down to the resource: `resources.g`, `resources[0]`.
    pub path: Vec<String>,
    /// What went wrong.
    pub message: String,
    /// Whether the same step may go well later.
    pub retry: bool,
}

impl Failure {
    pub fn new(kind: &str, message: impl Into<String>) -> Failure {
        Failure {
            kind: kind.to_owned(),
            path: Vec::new(),
            message: message.into(),
            retry: false,
        }
    }

    /// The same, seen from one stack further out.
    pub fn within(&self, piece: String) -> Failure {
        let mut path = vec![piece];
        path.extend(self.path.iter().cloned());
        Failure {
            path,
            ..self.clone()
        }
    }

    /// The reason of a resource: `ValueError: resources.g.resources[0]: text`.
    pub fn reason(&self) -> String {
        format!("{}: {}: {}", self.kind, self.path.join("."), self.message)
    }
}

impl From<TemplateError> for Failure {
    fn from(error: TemplateError) -> Failure {
        Failure::new(error.kind.as_str(), error.full())
    }
}

impl From<CloudError> for Failure {
    fn from(error: CloudError) -> Failure {
        let kind = match &error {
            CloudError::NotFound { .. } => "EntityNotFound",
            CloudError::Ambiguous { .. } => "PhysicalResourceNameAmbiguity",
            CloudError::NoFittingNode { .. } | CloudError::Failed { .. } => "ResourceInError",
            CloudError::Invalid { .. } => "BadRequest",
            CloudError::InUse { .. } => "Conflict",
            CloudError::Superseded { .. } => "Conflict",
            CloudError::DeadlinePassed { .. } => "Timeout",
            CloudError::Unsupported { .. } => "NotSupported",
            CloudError::Unreachable { .. } => "ConnectFailure",
        };
        let mut message = error.to_string();
        if let Some(hint) = error.hint() {
            message = format!("{message} ({hint})");
        }
        Failure {
            retry: error.is_retryable(),
            ..Failure::new(kind, message)
        }
    }
}
