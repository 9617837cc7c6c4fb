//! Why the engine did not do what it was asked. The words are Heat's where its clients read them.

use cloud::CloudError;
use hot::TemplateError;
use store::StoreError;

use crate::users::UserError;

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no such stack.
    #[error("The Stack ({name}) could not be found.")]
    StackNotFound {
        /// Its name or id.
        name: String,
    },
    /// There is a stack of this name.
    #[error("The Stack ({name}) already exists.")]
    StackExists {
        /// Its name.
        name: String,
    },
    /// There is no such resource.
    #[error("The Resource ({resource}) could not be found in Stack {stack}.")]
    ResourceNotFound {
        /// Its name.
        resource: String,
        /// Name of the stack.
        stack: String,
    },
    /// There is no such snapshot.
    #[error("The Snapshot ({id}) for Stack ({stack}) could not be found.")]
    SnapshotNotFound {
        /// Its id.
        id: String,
        /// Name of the stack.
        stack: String,
    },
    /// Something else is not there.
    #[error("{what} ({name}) could not be found.")]
    NotFound {
        /// What it is: `The Output`, `Software config with id`.
        what: &'static str,
        /// Its name or id.
        name: String,
    },
    /// The stack is busy.
    #[error("Stack {stack} already has an action ({action}) in progress.")]
    ActionInProgress {
        /// Name of the stack.
        stack: String,
        /// What is being done.
        action: String,
    },
    /// The stack's state does not allow it.
    #[error("{what} is not supported.")]
    NotSupported {
        /// What was asked.
        what: String,
    },
    /// The resource does not take what was asked of it.
    #[error("{action} is not supported for resource.")]
    ResourceActionNotSupported {
        /// What was asked.
        action: String,
    },
    /// A request that no state of the stack would allow.
    #[error("{why}")]
    Invalid {
        /// What is wrong with it.
        why: String,
    },
    /// The template, environment or a parameter is wrong.
    #[error("{0}")]
    Template(Box<TemplateError>),
    /// The cloud refused.
    #[error("the cloud refused")]
    Cloud {
        /// Why.
        source: CloudError,
    },
    /// The keeper of users refused.
    #[error("the users of stack `{stack}` cannot be kept")]
    Users {
        /// Name of the stack.
        stack: String,
        /// Why.
        source: UserError,
    },
    /// The database refused.
    #[error("the engine's state cannot be kept")]
    Store {
        /// Why.
        source: StoreError,
    },
    /// What the database holds is not what this program wrote.
    #[error("the record of {what} cannot be read")]
    Record {
        /// Whose record.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
}

impl EngineError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            EngineError::Template(error) => error.hint(),
            EngineError::Cloud { source } => source.hint(),
            EngineError::Store { source } => source.hint(),
            EngineError::StackNotFound { .. }
            | EngineError::StackExists { .. }
            | EngineError::ResourceNotFound { .. }
            | EngineError::SnapshotNotFound { .. }
            | EngineError::NotFound { .. }
            | EngineError::ActionInProgress { .. }
            | EngineError::NotSupported { .. }
            | EngineError::ResourceActionNotSupported { .. }
            | EngineError::Invalid { .. }
            | EngineError::Users { .. }
            | EngineError::Record { .. } => None,
        }
    }
}

impl From<StoreError> for EngineError {
    fn from(source: StoreError) -> EngineError {
        EngineError::Store { source }
    }
}

impl From<TemplateError> for EngineError {
    fn from(error: TemplateError) -> EngineError {
        EngineError::Template(Box::new(error))
    }
}

impl From<CloudError> for EngineError {
    fn from(source: CloudError) -> EngineError {
        EngineError::Cloud { source }
    }
}
