//! What every cloud has from its first second: the default domain, roles, and an admin with a generated password.

use std::fs;
use std::io;
use std::path::Path;

use openstack_api::{Secret, new_id};
use serde_json::{Value, json};
use store::{Tx, params};

use super::access::{self, Assignment, SYSTEM};
use super::domains::DEFAULT;
use super::object::{self, Doc, Kind, text};
use super::{Identity, catalog, logins, now, password};
use crate::{Failure, SeedError, files};

/// Domain of the users of stack resources.
pub(crate) const STACK_DOMAIN: &str = "heat";
/// Their role.
pub(crate) const STACK_USER_ROLE: &str = "heat_stack_user";

/// Name of the first user and of its project.
const ADMIN: &str = "admin";

/// Roles, and which each implies.
const ROLES: [(&str, Option<&str>); 6] = [
    ("reader", None),
    ("member", Some("reader")),
    ("manager", Some("member")),
    ("admin", Some("manager")),
    ("heat_stack_owner", None),
    (STACK_USER_ROLE, None),
];

/// What the operator logs in with.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) password: Secret,
    pub(crate) project: String,
    /// Whether the password is still the generated one.
    pub(crate) current: bool,
}

/// Makes what is missing. Safe to repeat: nothing that an operator changed is changed back.
pub(crate) async fn run(
    identity: &Identity,
    password_file: &Path,
    region: &str,
) -> Result<Credentials, SeedError> {
    let state = |source| SeedError::State {
        path: password_file.to_owned(),
        source,
    };
    let (password, fresh) = match fs::read_to_string(password_file) {
        Ok(text) => (Secret::new(text.trim()), false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Secret::generate(24), true),
        Err(error) => return Err(state(error)),
    };
    let hash = password::hash_generated(password.expose()).map_err(|error| SeedError::Service {
        service: "identity",
        source: Box::new(error),
    })?;
    if fresh {
        // On disk before the database knows it: else a crash here would lock the operator out.
        files::write_private(password_file, format!("{}\n", password.expose()).as_bytes())
            .map_err(state)?;
    }
    let region = region.to_owned();
    let kept = identity
        .write(move |tx| fill(tx, &region, hash, fresh))
        .await;
    let kept = kept.map_err(|failure| SeedError::Service {
        service: "identity",
        source: Box::new(failure),
    })?;
    let current = kept.is_some_and(|kept| password::verify(password.expose(), &kept));
    Ok(Credentials {
        username: ADMIN.to_owned(),
        password,
        project: ADMIN.to_owned(),
        current,
    })
}

/// Gives what is kept of the admin's password.
fn fill(tx: &Tx<'_>, region: &str, hash: String, fresh: bool) -> Result<Option<String>, Failure> {
    let domain = |id: &str, name: &str, about: &str| json!({"id": id, "name": name, "enabled": true, "description": about, "options": {}, "tags": []});
    ensure(
        tx,
        Kind::Domain,
        domain(DEFAULT, "Default", "The default domain"),
    )?;
    ensure(
        tx,
        Kind::Domain,
        domain(STACK_DOMAIN, STACK_DOMAIN, "Users of stack resources"),
    )?;
    ensure(
        tx,
        Kind::Region,
        json!({"id": region, "parent_region_id": null, "description": ""}),
    )?;
    for (name, implied) in ROLES {
        let id = role(tx, name)?;
        if let Some(implied) = implied {
            let below = role(tx, implied)?;
            tx.execute(
                "INSERT OR IGNORE INTO identity_implied (prior, implied) VALUES (?1, ?2)",
                params![id, below],
            )?;
        }
    }
    let project = named(tx, Kind::Project, |id| {
        json!({"id": id, "name": ADMIN, "domain_id": DEFAULT, "parent_id": DEFAULT, "enabled": true,
               "is_domain": false, "description": "Project of the operator", "options": {}, "tags": []})
    })?;
    let user = named(
        tx,
        Kind::User,
        |id| json!({"id": id, "name": ADMIN, "domain_id": DEFAULT, "enabled": true, "options": {}, "password_expires_at": null}),
    )?;
    for (target_kind, target, role_name) in [
        ("project", project.as_str(), "admin"),
        ("project", project.as_str(), "heat_stack_owner"),
        (SYSTEM, SYSTEM, "admin"),
    ] {
        let assignment = Assignment {
            actor_kind: "user".to_owned(),
            actor: user.clone(),
            target_kind: target_kind.to_owned(),
            target: target.to_owned(),
            role: role(tx, role_name)?,
            inherited: false,
        };
        access::assign(tx, &assignment)?;
    }
    let (kept, _) = logins::kept(tx, &user)?;
    if fresh || kept.is_none() {
        logins::set(tx, &user, Some(hash.clone()), now())?;
        return Ok(Some(hash));
    }
    Ok(kept)
}

fn ensure(tx: &Tx<'_>, kind: Kind, value: Value) -> Result<(), Failure> {
    let doc = catalog::as_doc(value);
    if object::get(tx, kind, text(&doc, "id"))?.is_none() {
        object::put(tx, kind, &doc, true)?;
    }
    Ok(())
}

/// The admin's own user and project in the default domain.
fn named(tx: &Tx<'_>, kind: Kind, make: impl FnOnce(&str) -> Value) -> Result<String, Failure> {
    if let Some(doc) = object::find(tx, kind, DEFAULT, ADMIN)? {
        return Ok(text(&doc, "id").to_owned());
    }
    let id = new_id();
    object::put(tx, kind, &catalog::as_doc(make(&id)), true)?;
    Ok(id)
}

fn role(tx: &Tx<'_>, name: &str) -> Result<String, Failure> {
    if let Some(doc) = object::find(tx, Kind::Role, "", name)? {
        return Ok(text(&doc, "id").to_owned());
    }
    let id = new_id();
    let doc: Doc = catalog::as_doc(
        json!({"id": id, "name": name, "domain_id": null, "description": null, "options": {}}),
    );
    object::put(tx, Kind::Role, &doc, true)?;
    Ok(id)
}
