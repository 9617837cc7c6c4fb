//! What a token is worth now, and how it is told to clients.

use std::collections::BTreeSet;

use jiff::Timestamp;
use openstack_api::{Named, Scope, Token, time};
use serde_json::{Value, json};
use store::{Read, Tx, params};

use super::access::{self, SYSTEM};
use super::fernet::{Claims, Target};
use super::object::{self, Doc, Kind, enabled, text};
use super::{app_credentials, catalog, logins};
use crate::Failure;

/// A token that holds, with what only its body shows.
pub(crate) struct Resolved {
    pub(crate) token: Token,
    app_credential: Option<Doc>,
}

/// Looks up everything that a token rests on; `None` where any of it is gone.
pub(crate) fn resolve(
    read: &Read<'_>,
    claims: &Claims,
    now: Timestamp,
) -> Result<Option<Resolved>, Failure> {
    if claims.expires <= now.as_microsecond() || revoked(read, claims)? {
        return Ok(None);
    }
    let Some(user) = live(read, Kind::User, &claims.user)? else {
        return Ok(None);
    };
    let Some(user_domain) = live(read, Kind::Domain, text(&user, "domain_id"))? else {
        return Ok(None);
    };
    let (_, valid_from) = logins::kept(read, &claims.user)?;
    if claims.issued < valid_from {
        return Ok(None);
    }
    let app_credential = match &claims.app_credential {
        None => None,
        Some(id) => match app_credentials::live(read, id, now)? {
            Some(doc) => Some(doc),
            None => return Ok(None),
        },
    };
    let Some((scope, target)) = scope(read, &claims.target)? else {
        return Ok(None);
    };
    let mut roles = BTreeSet::new();
    if let Some(target) = target {
        roles = access::role_ids(read, &claims.user, &target)?;
        if let Some(doc) = &app_credential {
            let held = access::with_implied(read, app_credentials::role_ids(doc))?;
            roles.retain(|role| held.contains(role));
        }
        if roles.is_empty() {
            return Ok(None);
        }
    }
    let at = |micros| Timestamp::from_microsecond(micros).unwrap_or_default();
    let token = Token {
        user: named(&user),
        user_domain: named(&user_domain),
        scope,
        roles: access::named_roles(read, &roles)?,
        methods: claims.method_names(),
        audit_ids: claims.audit_ids(),
        issued_at: at(claims.issued),
        expires_at: at(claims.expires),
        application_credential: claims.app_credential.clone(),
    };
    Ok(Some(Resolved {
        token,
        app_credential,
    }))
}

/// The scope, and the id that assignments have for it. `None` where it is gone or disabled.
type Found = Option<(Scope, Option<String>)>;

fn scope(read: &Read<'_>, target: &Target) -> Result<Found, Failure> {
    Ok(match target {
        Target::Unscoped => Some((Scope::Unscoped, None)),
        Target::System => Some((Scope::System, Some(SYSTEM.to_owned()))),
        Target::Domain(id) => {
            live(read, Kind::Domain, id)?.map(|doc| (Scope::Domain(named(&doc)), Some(id.clone())))
        }
        Target::Project(id) => {
            let Some(project) = live(read, Kind::Project, id)? else {
                return Ok(None);
            };
            let Some(domain) = live(read, Kind::Domain, text(&project, "domain_id"))? else {
                return Ok(None);
            };
            Some((
                Scope::Project {
                    project: named(&project),
                    domain: named(&domain),
                },
                Some(id.clone()),
            ))
        }
    })
}

/// An object that exists and is enabled.
pub(crate) fn live(read: &Read<'_>, kind: Kind, id: &str) -> Result<Option<Doc>, Failure> {
    Ok(object::get(read, kind, id)?.filter(enabled))
}

fn named(doc: &Doc) -> Named {
    Named {
        id: text(doc, "id").to_owned(),
        name: text(doc, "name").to_owned(),
    }
}

fn revoked(read: &Read<'_>, claims: &Claims) -> Result<bool, Failure> {
    let Some(own) = claims.audit_ids().into_iter().next() else {
        return Ok(true);
    };
    let row = read.query_one(
        "SELECT until FROM identity_revoked WHERE audit = ?1",
        params![own],
    )?;
    Ok(row.is_some())
}

/// Ends a token, and forgets revocations of tokens that have ended by themselves.
pub(crate) fn revoke(tx: &Tx<'_>, claims: &Claims, now: Timestamp) -> Result<(), Failure> {
    tx.execute(
        "DELETE FROM identity_revoked WHERE until < ?1",
        params![now.as_microsecond()],
    )?;
    if let Some(own) = claims.audit_ids().into_iter().next() {
        tx.execute(
            "INSERT OR IGNORE INTO identity_revoked (audit, until) VALUES (?1, ?2)",
            params![own, claims.expires],
        )?;
    }
    Ok(())
}

/// The body `{"token": …}` of a token.
pub(crate) fn body(
    read: &Read<'_>,
    resolved: &Resolved,
    with_catalog: bool,
) -> Result<Value, Failure> {
    let token = &resolved.token;
    let mut out = json!({
        "methods": token.methods,
        "user": {
            "domain": pair(&token.user_domain),
            "id": token.user.id,
            "name": token.user.name,
            "password_expires_at": null,
        },
        "audit_ids": token.audit_ids,
        "expires_at": time::micros(token.expires_at),
        "issued_at": time::micros(token.issued_at),
    });
    match &token.scope {
        Scope::Unscoped => {}
        Scope::System => out["system"] = json!({"all": true}),
        Scope::Domain(domain) => out["domain"] = pair(domain),
        Scope::Project { project, domain } => {
            out["project"] =
                json!({"domain": pair(domain), "id": project.id, "name": project.name});
            out["is_domain"] = json!(false);
        }
    }
    if token.scope != Scope::Unscoped {
        out["roles"] = token.roles.iter().map(pair).collect();
        if with_catalog {
            out["catalog"] = catalog::for_token(read, token)?;
        }
    }
    if let Some(doc) = &resolved.app_credential {
        let unrestricted = doc
            .get("unrestricted")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        out["application_credential"] =
            json!({"id": text(doc, "id"), "name": text(doc, "name"), "restricted": !unrestricted});
    }
    Ok(json!({"token": out}))
}

fn pair(named: &Named) -> Value {
    json!({"id": named.id, "name": named.name})
}
