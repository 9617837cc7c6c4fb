//! Who is calling, and the trait by which a service asks.

use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::FromRequestParts;
use http::request::Parts;
use jiff::Timestamp;

use crate::ApiError;

/// An id with the name that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Identifier.
    pub id: String,
    /// Name.
    pub name: String,
}

/// What a token is valid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Nothing but asking for a scoped token.
    Unscoped,
    /// The whole system.
    System,
    /// A domain.
    Domain(Named),
    /// A project and its domain.
    Project {
        /// The project.
        project: Named,
        /// The domain that it is in.
        domain: Named,
    },
}

/// What a valid token says.
#[derive(Debug, Clone)]
pub struct Token {
    /// The user.
    pub user: Named,
    /// The user's domain.
    pub user_domain: Named,
    /// What it is valid for.
    pub scope: Scope,
    /// Roles on the scope, implied ones included.
    pub roles: Vec<Named>,
    /// How the user proved who it is.
    pub methods: Vec<String>,
    /// Audit ids, the token's own first.
    pub audit_ids: Vec<String>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Id of the application credential that it was made with.
    pub application_credential: Option<String>,
}

impl Token {
    /// Whether a role of this name is held on the scope.
    pub fn has_role(&self, name: &str) -> bool {
        self.roles.iter().any(|role| role.name == name)
    }

    /// Whether the caller may do everything: role `admin` on a project or on the system.
    pub fn is_admin(&self) -> bool {
        self.has_role("admin") && matches!(self.scope, Scope::System | Scope::Project { .. })
    }

    /// Whether the token is for the whole system.
    pub fn is_system(&self) -> bool {
        self.scope == Scope::System
    }

    /// The project's id, where the token has one.
    pub fn project_id(&self) -> Option<&str> {
        match &self.scope {
            Scope::Project { project, .. } => Some(&project.id),
            Scope::Unscoped | Scope::System | Scope::Domain(_) => None,
        }
    }

    /// 403 in the words of policy for `action`, unless the caller is an admin.
    pub fn require_admin(&self, action: &str) -> Result<(), ApiError> {
        if self.is_admin() {
            Ok(())
        } else {
            Err(ApiError::not_allowed(action))
        }
    }
}

/// Why a token could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Not a token of ours, or not valid any more.
    #[error("the token is not valid")]
    Invalid,
    /// It cannot be told now.
    #[error("tokens cannot be checked now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Tells who a token belongs to. Identity fulfils it in the same process.
#[async_trait]
pub trait TokenCheck: Send + Sync {
    /// Looks at a token as it came in `X-Auth-Token`.
    async fn check(&self, token: &str) -> Result<Arc<Token>, CheckError>;
}

/// The caller of a request behind a token check; an extractor.
#[derive(Debug, Clone)]
pub struct Caller(pub Arc<Token>);

impl Deref for Caller {
    type Target = Token;

    fn deref(&self) -> &Token {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parts
            .extensions
            .get::<Caller>()
            .cloned()
            .ok_or_else(ApiError::unauthorized)
    }
}
