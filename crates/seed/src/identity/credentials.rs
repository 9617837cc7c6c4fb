//! Credentials that must be read again: key pairs by which EC2 and CloudFormation requests are signed.
//!
//! Their secrets lie in the database sealed with a key of the state directory.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use openstack_api::{ApiError, Caller, JsonBody, Origin, Params, Secret};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::{Read, Tx, params};

use super::object::{self, Doc, Kind, text};
use super::{Identity, access, app_credentials, fields, routes};
use crate::Failure;

/// A key pair and whom it stands for.
#[derive(Debug, Clone)]
pub struct Ec2Key {
    /// The user.
    pub user_id: String,
    /// The project that signed requests act in.
    pub project_id: String,
    /// What requests are signed with.
    pub secret: Secret,
}

/// Upstream derives the id so; clients that know an access key find it.
fn id_of(access: &str) -> String {
    hex::encode(Sha256::digest(access.as_bytes()))
}

impl Identity {
    /// Finds the key pair of an access key.
    pub async fn ec2_key(&self, access: &str) -> Result<Option<Ec2Key>, Failure> {
        let (id, vault) = (id_of(access), self.clone());
        self.read(
            move |read| match object::get(read, Kind::Credential, &id)? {
                Some(doc) if text(&doc, "type") == "ec2" => {
                    let blob: Value =
                        serde_json::from_str(vault.unsealed(&doc)?.expose()).unwrap_or_default();
                    let project_id = text(&doc, "project_id").to_owned();
                    let secret = blob["secret"].as_str().map(Secret::new);
                    Ok(secret.map(|secret| Ec2Key {
                        user_id: text(&doc, "user_id").to_owned(),
                        project_id,
                        secret,
                    }))
                }
                _ => Ok(None),
            },
        )
        .await
    }

    /// The document of a new key pair.
    pub(crate) fn ec2_doc(&self, user: &str, project: &str, access: &str, secret: &Secret) -> Doc {
        let blob = Secret::new(
            json!({"access": access, "secret": secret.expose(), "trust_id": null}).to_string(),
        );
        self.sealed(id_of(access), "ec2", user, Some(project), &blob)
    }

    fn sealed(
        &self,
        id: String,
        kind: &str,
        user: &str,
        project: Option<&str>,
        blob: &Secret,
    ) -> Doc {
        super::catalog::as_doc(json!({
            "id": id,
            "type": kind,
            "user_id": user,
            "project_id": project,
            "sealed": self.0.vault.seal_bytes(blob.expose().as_bytes()),
        }))
    }

    fn unsealed(&self, doc: &Doc) -> Result<Secret, Failure> {
        let bytes = self.0.vault.unseal_bytes(text(doc, "sealed"));
        let blob = bytes
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .map(Secret::new);
        Ok(blob.ok_or_else(|| {
            ApiError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The key that sealed this credential is gone.",
            )
        })?)
    }

    fn shown(&self, origin: &Origin, doc: &Doc) -> Result<Value, Failure> {
        let mut shown = object::shown(origin, Kind::Credential, doc);
        shown["blob"] = json!(self.unsealed(doc)?.expose());
        if let Some(map) = shown.as_object_mut() {
            map.remove("sealed");
        }
        Ok(shown)
    }

    /// A key pair as the EC2 paths show it.
    fn shown_ec2(&self, origin: &Origin, doc: &Doc) -> Result<Value, Failure> {
        let blob: Value = serde_json::from_str(self.unsealed(doc)?.expose()).unwrap_or_default();
        let (user, access) = (
            text(doc, "user_id"),
            blob["access"].as_str().unwrap_or_default(),
        );
        let link = format!(
            "{}/v3/users/{user}/credentials/OS-EC2/{access}",
            origin.base()
        );
        Ok(json!({
            "user_id": user,
            "tenant_id": text(doc, "project_id"),
            "access": access,
            "secret": blob["secret"],
            "trust_id": null,
            "links": {"self": link},
        }))
    }
}

/// Deletes those of a user or a project.
pub(crate) fn forget(tx: &Tx<'_>, key: &str, id: &str) -> Result<(), Failure> {
    tx.execute(
        "DELETE FROM identity_object WHERE kind = 'credential' AND json_extract(doc, '$.' || ?1) = ?2",
        params![key, id],
    )?;
    Ok(())
}

fn of_user(read: &Read<'_>, user: &str) -> Result<Vec<Doc>, Failure> {
    let mut docs = object::list(read, Kind::Credential)?;
    docs.retain(|doc| text(doc, "user_id") == user);
    Ok(docs)
}

pub(crate) async fn create_ec2(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path(user): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    const ACTION: &str = "identity:ec2_create_credential";
    if caller.user.id != user {
        caller.require_admin(ACTION)?;
    }
    app_credentials::require_unrestricted(&identity, &caller, ACTION).await?;
    let project = body["tenant_id"].as_str().map(str::to_owned);
    let project =
        project.ok_or_else(|| ApiError::bad_request("'tenant_id' is a required property"))?;
    let (access, secret) = (Secret::generate(16), Secret::generate(16));
    let doc = identity.ec2_doc(&user, &project, access.expose(), &secret);
    let made = doc.clone();
    identity
        .write(move |tx| {
            object::need(tx, Kind::User, &user)?;
            object::need(tx, Kind::Project, &project)?;
            if access::role_ids(tx, &user, &project)?.is_empty() {
                return Err(ApiError::not_allowed(ACTION).into());
            }
            object::put(tx, Kind::Credential, &doc, true)
        })
        .await?;
    Ok((
        StatusCode::CREATED,
        axum::Json(json!({"credential": identity.shown_ec2(&origin, &made)?})),
    )
        .into_response())
}

pub(crate) async fn list_ec2(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path(user): Path<String>,
    uri: Uri,
) -> Result<Response, Failure> {
    routes::self_or_reader(&caller, &user, "identity:ec2_list_credentials")?;
    let docs = identity.read(move |read| of_user(read, &user)).await?;
    let pairs = docs.iter().filter(|doc| text(doc, "type") == "ec2");
    let shown = pairs
        .map(|doc| identity.shown_ec2(&origin, doc))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(object::reply_values(
        &origin,
        &uri.to_string(),
        "credentials",
        shown,
    ))
}

fn need_ec2(read: &Read<'_>, user: &str, access: &str) -> Result<Doc, Failure> {
    let doc = object::get(read, Kind::Credential, &id_of(access))?;
    doc.filter(|doc| text(doc, "user_id") == user)
        .ok_or_else(|| Kind::Credential.missing(access).into())
}

pub(crate) async fn show_ec2(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path((user, access)): Path<(String, String)>,
) -> Result<Response, Failure> {
    routes::self_or_reader(&caller, &user, "identity:ec2_get_credential")?;
    let doc = identity
        .read(move |read| need_ec2(read, &user, &access))
        .await?;
    Ok(axum::Json(json!({"credential": identity.shown_ec2(&origin, &doc)?})).into_response())
}

pub(crate) async fn delete_ec2(
    State(identity): State<Identity>,
    caller: Caller,
    Path((user, access)): Path<(String, String)>,
) -> Result<Response, Failure> {
    if caller.user.id != user {
        caller.require_admin("identity:ec2_delete_credential")?;
    }
    identity
        .write(move |tx| {
            let doc = need_ec2(tx, &user, &access)?;
            object::remove(tx, Kind::Credential, text(&doc, "id"))
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn create(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, Failure> {
    const ACTION: &str = "identity:create_credential";
    app_credentials::require_unrestricted(&identity, &caller, ACTION).await?;
    let doc = fields::document(body, Kind::Credential)?;
    let kind = fields::name(&doc, "type", 255, true)?.unwrap_or_default();
    let blob = fields::optional_text(&doc, "blob")?;
    let blob =
        Secret::new(blob.ok_or_else(|| ApiError::bad_request("'blob' is a required property"))?);
    let user = fields::optional_text(&doc, "user_id")?.unwrap_or_else(|| caller.user.id.clone());
    if user != caller.user.id {
        caller.require_admin(ACTION)?;
    }
    let project = fields::optional_text(&doc, "project_id")?;
    let id = if kind == "ec2" {
        let parsed: Value = serde_json::from_str(blob.expose()).unwrap_or_default();
        let access = parsed["access"].as_str().map(id_of);
        access.ok_or_else(|| {
            ApiError::bad_request(
                "The blob of an ec2 credential is JSON with `access` and `secret`.",
            )
        })?
    } else {
        openstack_api::new_id()
    };
    if kind == "ec2" && project.is_none() {
        return Err(ApiError::bad_request("'project_id' is a required property").into());
    }
    let doc = identity.sealed(id, &kind, &user, project.as_deref(), &blob);
    let made = doc.clone();
    identity
        .write(move |tx| {
            object::need(tx, Kind::User, &user)?;
            object::put(tx, Kind::Credential, &doc, true)
        })
        .await?;
    let shown = identity.shown(&origin, &made)?;
    Ok((
        StatusCode::CREATED,
        axum::Json(json!({"credential": shown})),
    )
        .into_response())
}

pub(crate) async fn list(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    query: Params,
    uri: Uri,
) -> Result<Response, Failure> {
    let mut docs = identity
        .read(|read| object::list(read, Kind::Credential))
        .await?;
    if routes::may_read(&caller, "identity:list_credentials").is_err() {
        docs.retain(|doc| text(doc, "user_id") == caller.user.id);
    }
    object::filter(&mut docs, &query, &["type", "user_id"], &[]);
    let shown = docs
        .iter()
        .map(|doc| identity.shown(&origin, doc))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(object::reply_values(
        &origin,
        &uri.to_string(),
        "credentials",
        shown,
    ))
}

pub(crate) async fn show(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let doc = visible(&identity, &caller, id, "identity:get_credential").await?;
    Ok(axum::Json(json!({"credential": identity.shown(&origin, &doc)?})).into_response())
}

/// The caller's own, or anyone's for those who may read all.
async fn visible(
    identity: &Identity,
    caller: &Caller,
    id: String,
    action: &str,
) -> Result<Doc, Failure> {
    let missing = Kind::Credential.missing(&id);
    let doc = identity
        .read(move |read| object::get(read, Kind::Credential, &id))
        .await?;
    match doc {
        Some(doc) if text(&doc, "user_id") == caller.user.id => Ok(doc),
        found => {
            routes::may_read(caller, action)?;
            found.ok_or_else(|| missing.into())
        }
    }
}

pub(crate) async fn delete(
    State(identity): State<Identity>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let doc = visible(&identity, &caller, id, "identity:delete_credential").await?;
    if text(&doc, "user_id") != caller.user.id {
        caller.require_admin("identity:delete_credential")?;
    }
    identity
        .write(move |tx| object::remove(tx, Kind::Credential, text(&doc, "id")))
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
