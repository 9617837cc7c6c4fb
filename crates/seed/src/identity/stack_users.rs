//! Users of stack resources: what a node logs in with to ask for its own metadata and to signal.
//!
//! They live in a domain of their own and hold one role that opens nothing else. Their passwords are generated,
//! so the cheap hash is enough.

use async_trait::async_trait;
use engine::{StackUsers, UserError};
use openstack_api::new_id;
use serde_json::json;
use store::Tx;

use super::access::{self, Assignment};
use super::auth::AuthRequest;
use super::object::{self, Kind, text};
use super::{Identity, bootstrap, catalog, logins, now, password, projects, users};
use crate::Failure;
use openstack_api::{ApiError, Secret};

fn wrap(name: &str) -> impl FnOnce(Failure) -> UserError {
    let name = name.to_owned();
    move |failure| UserError {
        name,
        retryable: matches!(failure, Failure::Store(_)),
        why: failure.to_string(),
    }
}

fn ensure_project(tx: &Tx<'_>, name: &str) -> Result<String, Failure> {
    if let Some(doc) = object::find(tx, Kind::Project, bootstrap::STACK_DOMAIN, name)? {
        return Ok(text(&doc, "id").to_owned());
    }
    let id = new_id();
    let doc = catalog::as_doc(json!({
        "id": id, "name": name, "domain_id": bootstrap::STACK_DOMAIN, "parent_id": bootstrap::STACK_DOMAIN,
        "enabled": true, "is_domain": false, "description": "", "options": {}, "tags": [],
    }));
    object::put(tx, Kind::Project, &doc, true)?;
    Ok(id)
}

fn ensure_user(
    tx: &Tx<'_>,
    name: &str,
    project: &str,
    hash: Option<String>,
) -> Result<String, Failure> {
    let id = match object::find(tx, Kind::User, bootstrap::STACK_DOMAIN, name)? {
        Some(doc) => text(&doc, "id").to_owned(),
        None => {
            let id = new_id();
            let doc = catalog::as_doc(json!({
                "id": id, "name": name, "domain_id": bootstrap::STACK_DOMAIN, "default_project_id": project,
                "enabled": true, "options": {}, "password_expires_at": null,
            }));
            object::put(tx, Kind::User, &doc, true)?;
            id
        }
    };
    object::need(tx, Kind::Project, project)?;
    // Tokens of a user that is asked for again stay good: the engine only makes sure.
    let (kept, _) = logins::kept(tx, &id)?;
    if kept != hash {
        logins::set(tx, &id, hash, now())?;
    }
    let role = object::find(tx, Kind::Role, "", bootstrap::STACK_USER_ROLE)?
        .ok_or_else(|| Kind::Role.missing(bootstrap::STACK_USER_ROLE))?;
    let assignment = Assignment {
        actor_kind: "user".to_owned(),
        actor: id.clone(),
        target_kind: "project".to_owned(),
        target: project.to_owned(),
        role: text(&role, "id").to_owned(),
        inherited: false,
    };
    access::assign(tx, &assignment)?;
    Ok(id)
}

#[async_trait]
impl StackUsers for Identity {
    async fn ensure_project(&self, name: &str) -> Result<String, UserError> {
        let wanted = name.to_owned();
        self.write(move |tx| ensure_project(tx, &wanted))
            .await
            .map_err(wrap(name))
    }

    async fn remove_project(&self, id: &str) -> Result<(), UserError> {
        let gone = id.to_owned();
        let done = self.write(move |tx| {
            let Some(doc) = object::get(tx, Kind::Project, &gone)? else {
                return Ok(());
            };
            // Only what is in the domain of stacks may go by this road.
            if text(&doc, "domain_id") != bootstrap::STACK_DOMAIN {
                return Err(ApiError::forbidden("It is not a project of a stack.").into());
            }
            for user in object::list_in(tx, Kind::User, bootstrap::STACK_DOMAIN)? {
                if text(&user, "default_project_id") == gone {
                    users::erase(tx, text(&user, "id"))?;
                }
            }
            projects::erase(tx, &gone)
        });
        done.await.map_err(wrap(id))
    }

    async fn ensure_user(
        &self,
        name: &str,
        project_id: &str,
        password: &cloud::Secret,
    ) -> Result<String, UserError> {
        let (wanted, project, password) =
            (name.to_owned(), project_id.to_owned(), password.clone());
        let done = self.write(move |tx| {
            // A user that has this password already keeps its tokens.
            let known = object::find(tx, Kind::User, bootstrap::STACK_DOMAIN, &wanted)?;
            let kept = match known {
                Some(doc) => logins::kept(tx, text(&doc, "id"))?.0,
                None => None,
            };
            let hash = match kept {
                Some(kept) if password::verify(password.expose(), &kept) => kept,
                _ => password::hash_generated(password.expose())
                    .map_err(|error| ApiError::internal(&error))?,
            };
            ensure_user(tx, &wanted, &project, Some(hash))
        });
        done.await.map_err(wrap(name))
    }

    async fn remove_user(&self, user_id: &str) -> Result<(), UserError> {
        let gone = user_id.to_owned();
        let done = self.write(move |tx| {
            let Some(doc) = object::get(tx, Kind::User, &gone)? else {
                return Ok(());
            };
            if text(&doc, "domain_id") != bootstrap::STACK_DOMAIN {
                return Err(ApiError::forbidden("It is not a user of a stack.").into());
            }
            users::erase(tx, &gone)
        });
        done.await.map_err(wrap(user_id))
    }

    async fn issue_token(
        &self,
        user_id: &str,
        project_id: &str,
        password: &cloud::Secret,
    ) -> Result<Option<cloud::Secret>, UserError> {
        let user = json!({ "id": user_id, "password": password.expose() });
        let body = json!({ "auth": {
            "identity": { "methods": ["password"], "password": { "user": user } },
            "scope": { "project": { "id": project_id } },
        } });
        let request = AuthRequest::parse(&body).map_err(Failure::from);
        let request = request.map_err(wrap(user_id))?;
        let issued = self.authenticate(request, false).await;
        let (token, _) = issued.map_err(wrap(user_id))?;
        Ok(Some(cloud::Secret::new(token.expose())))
    }

    async fn ensure_key_pair(
        &self,
        user_id: &str,
        project_id: &str,
        access: &str,
        secret: &cloud::Secret,
    ) -> Result<(), UserError> {
        let doc = self.ec2_doc(user_id, project_id, access, &Secret::new(secret.expose()));
        let (user, name) = (user_id.to_owned(), user_id.to_owned());
        let done = self.write(move |tx| {
            object::need(tx, Kind::User, &user)?;
            object::put(tx, Kind::Credential, &doc, false)
        });
        done.await.map_err(wrap(&name))
    }
}
