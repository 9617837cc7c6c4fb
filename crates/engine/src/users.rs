//! Stack users: the accounts by which nodes reach the metadata of their own resource and signal.
//!
//! The engine coins names and passwords and remembers them; who keeps accounts fulfils the trait.

use async_trait::async_trait;
use cloud::Secret;

/// Why an account could not be made or removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the account of `{name}` cannot be kept: {why}")]
pub struct UserError {
    /// Name of the user or project.
    pub name: String,
    /// What happened.
    pub why: String,
    /// Whether asking again may help.
    pub retryable: bool,
}

/// Keeps the accounts of stacks. Every call is safe to repeat.
#[async_trait]
pub trait StackUsers: Send + Sync {
    /// Makes a project of this name in the domain of stack users; gives its id (32 hex digits).
    async fn ensure_project(&self, name: &str) -> Result<String, UserError>;

    /// Removes a project with all that is in it. A project that is not there is no error.
    async fn remove_project(&self, id: &str) -> Result<(), UserError>;

    /// Makes a user of this name in a project, with the role `heat_stack_user` on it; gives its id.
    /// A user that is there gets the password.
    async fn ensure_user(
        &self,
        name: &str,
        project_id: &str,
        password: &Secret,
    ) -> Result<String, UserError>;

    /// Removes a user with its key pairs. A user that is not there is no error.
    async fn remove_user(&self, user_id: &str) -> Result<(), UserError>;

    /// Logs a user in for its project; gives the token. None: tokens are not given here.
    async fn issue_token(
        &self,
        user_id: &str,
        project_id: &str,
        password: &Secret,
    ) -> Result<Option<Secret>, UserError> {
        let _ = (user_id, project_id, password);
        Ok(None)
    }

    /// Makes an EC2 key pair of a user for a project, by which it signs requests.
    async fn ensure_key_pair(
        &self,
        user_id: &str,
        project_id: &str,
        access: &str,
        secret: &Secret,
    ) -> Result<(), UserError>;
}
