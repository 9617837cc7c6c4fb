//! Who has which role where.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use openstack_api::{ApiError, Caller, Origin, Params};
use serde_json::{Value, json};
use store::{Read, params};

use super::access::{self, Assignment, SYSTEM};
use super::object::{self, Doc, Kind, text};
use super::{Identity, routes};
use crate::Failure;

/// Where a family of grant paths is: on what, for whom, and whether projects below inherit it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) target: Target,
    pub(crate) actor: Kind,
    pub(crate) inherited: bool,
}

/// What a role is granted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Project,
    Domain,
    System,
}

impl Target {
    fn word(self) -> &'static str {
        match self {
            Target::Project => "project",
            Target::Domain => "domain",
            Target::System => SYSTEM,
        }
    }

    fn need(self, read: &Read<'_>, id: &str) -> Result<(), Failure> {
        match self {
            Target::Project => object::need(read, Kind::Project, id).map(drop),
            Target::Domain => object::need(read, Kind::Domain, id).map(drop),
            Target::System => Ok(()),
        }
    }
}

/// Path parameters: target (not for the system), actor, role (not for lists).
type Ids = Path<Vec<(String, String)>>;

struct Named {
    target: String,
    actor: String,
    role: String,
}

fn named(place: Place, ids: Vec<(String, String)>) -> Named {
    let take = |key: &str| {
        ids.iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.clone())
            .unwrap_or_default()
    };
    let target = if place.target == Target::System {
        SYSTEM.to_owned()
    } else {
        take("target")
    };
    Named {
        target,
        actor: take("actor"),
        role: take("role"),
    }
}

fn check(read: &Read<'_>, place: Place, named: &Named) -> Result<(), Failure> {
    object::need(read, place.actor, &named.actor)?;
    place.target.need(read, &named.target)?;
    if !named.role.is_empty() {
        object::need(read, Kind::Role, &named.role)?;
    }
    Ok(())
}

pub(crate) async fn list(
    place: Place,
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    Path(ids): Ids,
    uri: Uri,
) -> Result<Response, Failure> {
    routes::may_read(&caller, "identity:list_grants")?;
    let named = named(place, ids);
    let docs = identity
        .read(move |read| {
            check(read, place, &named)?;
            let rows = read.query(
                "SELECT role FROM identity_assignment WHERE actor = ?1 AND target = ?2 AND inherited = ?3",
                params![&named.actor, &named.target, place.inherited],
            )?;
            let mut docs = Vec::new();
            for mut row in rows {
                docs.extend(object::get(read, Kind::Role, &row.take::<String>(0)?)?);
            }
            Ok(docs)
        })
        .await?;
    Ok(object::reply_list(
        &origin,
        &uri.to_string(),
        Kind::Role,
        &docs,
    ))
}

pub(crate) async fn grant(
    place: Place,
    State(identity): State<Identity>,
    caller: Caller,
    Path(ids): Ids,
) -> Result<Response, Failure> {
    caller.require_admin("identity:create_grant")?;
    let named = named(place, ids);
    identity
        .write(move |tx| {
            check(tx, place, &named)?;
            let new = Assignment {
                actor_kind: place.actor.one().to_owned(),
                actor: named.actor,
                target_kind: place.target.word().to_owned(),
                target: named.target,
                role: named.role,
                inherited: place.inherited,
            };
            access::assign(tx, &new)
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn no_grant(named: &Named) -> ApiError {
    ApiError::not_found(format!(
        "Could not find role assignment with role: {}, user or group: {}, project, domain, or system: {}.",
        named.role, named.actor, named.target
    ))
}

pub(crate) async fn has(
    place: Place,
    State(identity): State<Identity>,
    caller: Caller,
    Path(ids): Ids,
) -> Result<Response, Failure> {
    routes::may_read(&caller, "identity:check_grant")?;
    let named = named(place, ids);
    identity
        .read(move |read| {
            check(read, place, &named)?;
            let row = read.query_one(
                "SELECT role FROM identity_assignment WHERE actor = ?1 AND target = ?2 AND role = ?3 AND inherited = ?4",
                params![&named.actor, &named.target, &named.role, place.inherited],
            )?;
            row.map(drop).ok_or_else(|| no_grant(&named).into())
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn revoke(
    place: Place,
    State(identity): State<Identity>,
    caller: Caller,
    Path(ids): Ids,
) -> Result<Response, Failure> {
    caller.require_admin("identity:revoke_grant")?;
    let named = named(place, ids);
    identity
        .write(move |tx| {
            let gone = tx.execute(
                "DELETE FROM identity_assignment WHERE actor = ?1 AND target = ?2 AND role = ?3 AND inherited = ?4",
                params![&named.actor, &named.target, &named.role, place.inherited],
            )?;
            if gone == 0 { Err(no_grant(&named).into()) } else { Ok(()) }
        })
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /v3/role_assignments`.
pub(crate) async fn assignments(
    State(identity): State<Identity>,
    caller: Caller,
    origin: Origin,
    query: Params,
    uri: Uri,
) -> Result<Response, Failure> {
    routes::may_read(&caller, "identity:list_role_assignments")?;
    let flag = |name: &str| {
        query
            .get(name)
            .is_some_and(|text| openstack_api::parse_bool(text) != Some(false))
    };
    let (effective, names) = (flag("effective"), flag("include_names"));
    if query.has("group.id") && effective {
        return Err(ApiError::bad_request(
            "Combining `effective` and `group.id` can never have a result.",
        )
        .into());
    }
    let base = origin.clone();
    let values = identity
        .read(move |read| {
            let mut all = access::assignments(read)?;
            if effective {
                all = expand(read, all)?;
            }
            all.retain(|row| wanted(row, &query));
            all.iter()
                .map(|row| told(read, &base, row, names))
                .collect::<Result<Vec<_>, Failure>>()
        })
        .await?;
    Ok(object::reply_values(
        &origin,
        &uri.to_string(),
        "role_assignments",
        values,
    ))
}

fn wanted(row: &Assignment, query: &Params) -> bool {
    query.iter().all(|(key, value)| match key {
        "user.id" => row.actor_kind == "user" && row.actor == value,
        "group.id" => row.actor_kind == "group" && row.actor == value,
        "role.id" => row.role == value,
        "scope.project.id" => row.target_kind == "project" && row.target == value,
        "scope.domain.id" => row.target_kind == "domain" && row.target == value,
        "scope.system" => row.target_kind == SYSTEM,
        "scope.OS-INHERIT:inherited_to" => row.inherited == (value == "projects"),
        _ => true,
    })
}

/// Groups become their members, inheritance becomes projects, roles bring those that they imply.
fn expand(read: &Read<'_>, all: Vec<Assignment>) -> Result<Vec<Assignment>, Failure> {
    let projects = object::list(read, Kind::Project)?;
    let mut found = std::collections::BTreeSet::new();
    for row in all {
        let actors: Vec<String> = if row.actor_kind == "group" {
            let rows = read.query(
                "SELECT user_id FROM identity_member WHERE group_id = ?1",
                params![&row.actor],
            )?;
            rows.into_iter()
                .map(|mut row| row.take(0))
                .collect::<Result<_, _>>()?
        } else {
            vec![row.actor.clone()]
        };
        let mut targets = Vec::new();
        if row.inherited {
            for project in &projects {
                if access::ancestors(read, text(project, "id"))?.contains(&row.target) {
                    targets.push(("project".to_owned(), text(project, "id").to_owned()));
                }
            }
        } else {
            targets.push((row.target_kind.clone(), row.target.clone()));
        }
        for role in access::with_implied(read, [row.role.clone()].into())? {
            for actor in &actors {
                for (target_kind, target) in &targets {
                    found.insert(Assignment {
                        actor_kind: "user".to_owned(),
                        actor: actor.clone(),
                        target_kind: target_kind.clone(),
                        target: target.clone(),
                        role: role.clone(),
                        inherited: false,
                    });
                }
            }
        }
    }
    Ok(found.into_iter().collect())
}

fn told(read: &Read<'_>, origin: &Origin, row: &Assignment, names: bool) -> Result<Value, Failure> {
    let describe = |kind: Kind, id: &str| -> Result<Value, Failure> {
        let mut out = json!({"id": id});
        if names {
            let doc = object::get(read, kind, id)?.unwrap_or_default();
            out["name"] = json!(text(&doc, "name"));
            if matches!(kind, Kind::User | Kind::Group | Kind::Project) {
                out["domain"] = domain(read, &doc)?;
            }
        }
        Ok(out)
    };
    let actor = if row.actor_kind == "group" {
        Kind::Group
    } else {
        Kind::User
    };
    let (mut scope, place) = match row.target_kind.as_str() {
        "project" => (
            json!({"project": describe(Kind::Project, &row.target)?}),
            format!("projects/{}", row.target),
        ),
        "domain" => (
            json!({"domain": describe(Kind::Domain, &row.target)?}),
            format!("domains/{}", row.target),
        ),
        _ => (json!({"system": {"all": true}}), SYSTEM.to_owned()),
    };
    if row.inherited {
        scope["OS-INHERIT:inherited_to"] = json!("projects");
    }
    let tail = if row.inherited {
        "/inherited_to_projects"
    } else {
        ""
    };
    let head = if row.inherited { "OS-INHERIT/" } else { "" };
    let link = format!(
        "{}/v3/{head}{place}/{}/{}/roles/{}{tail}",
        origin.base(),
        actor.many(),
        row.actor,
        row.role
    );
    Ok(json!({
        "role": describe(Kind::Role, &row.role)?,
        actor.one(): describe(actor, &row.actor)?,
        "scope": scope,
        "links": {"assignment": link},
    }))
}

fn domain(read: &Read<'_>, doc: &Doc) -> Result<Value, Failure> {
    let id = text(doc, "domain_id");
    let domain = object::get(read, Kind::Domain, id)?.unwrap_or_default();
    Ok(json!({"id": id, "name": text(&domain, "name")}))
}
