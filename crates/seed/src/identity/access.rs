//! Which roles someone has: assignments, groups, inheritance and implied roles together.

use std::collections::{BTreeMap, BTreeSet};

use openstack_api::Named;
use store::{Read, Tx, params};

use super::object::{self, Kind, text};
use crate::Failure;

/// The target of assignments on the whole system.
pub(crate) const SYSTEM: &str = "system";

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Assignment {
    pub(crate) actor_kind: String,
    pub(crate) actor: String,
    pub(crate) target_kind: String,
    pub(crate) target: String,
    pub(crate) role: String,
    pub(crate) inherited: bool,
}

/// All assignments.
pub(crate) fn assignments(read: &Read<'_>) -> Result<Vec<Assignment>, Failure> {
    let mut all = Vec::new();
    read.query_each::<Failure>(
        "SELECT actor_kind, actor, target_kind, target, role, inherited FROM identity_assignment
         ORDER BY actor, target, role",
        &[],
        |mut row| {
            all.push(Assignment {
                actor_kind: row.take(0)?,
                actor: row.take(1)?,
                target_kind: row.take(2)?,
                target: row.take(3)?,
                role: row.take(4)?,
                inherited: row.take(5)?,
            });
            Ok(())
        },
    )?;
    Ok(all)
}

/// Assigns a role; again is fine.
pub(crate) fn assign(tx: &Tx<'_>, new: &Assignment) -> Result<(), Failure> {
    tx.execute(
        "INSERT OR IGNORE INTO identity_assignment (actor, target, role, inherited, actor_kind, target_kind)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![&new.actor, &new.target, &new.role, new.inherited, &new.actor_kind, &new.target_kind],
    )?;
    Ok(())
}

/// The groups of a user.
pub(crate) fn groups(read: &Read<'_>, user: &str) -> Result<Vec<String>, Failure> {
    let rows = read.query(
        "SELECT group_id FROM identity_member WHERE user_id = ?1",
        params![user],
    )?;
    rows.into_iter().map(|mut row| Ok(row.take(0)?)).collect()
}

/// The project's parents, nearest first, its domain last.
pub(crate) fn ancestors(read: &Read<'_>, project: &str) -> Result<Vec<String>, Failure> {
    let mut found: Vec<String> = Vec::new();
    let mut at = project.to_owned();
    while let Some(doc) = object::get(read, Kind::Project, &at)? {
        at = text(&doc, "parent_id").to_owned();
        if at.is_empty() || found.contains(&at) {
            break;
        }
        found.push(at.clone());
    }
    Ok(found)
}

/// The roles that these imply, themselves included.
pub(crate) fn with_implied(
    read: &Read<'_>,
    roles: BTreeSet<String>,
) -> Result<BTreeSet<String>, Failure> {
    let mut all = roles;
    let mut todo: Vec<String> = all.iter().cloned().collect();
    while let Some(prior) = todo.pop() {
        for mut row in read.query(
            "SELECT implied FROM identity_implied WHERE prior = ?1",
            params![prior],
        )? {
            let implied: String = row.take(0)?;
            if all.insert(implied.clone()) {
                todo.push(implied);
            }
        }
    }
    Ok(all)
}

/// Ids of the roles that a user has on a project, domain or the system.
pub(crate) fn role_ids(
    read: &Read<'_>,
    user: &str,
    target: &str,
) -> Result<BTreeSet<String>, Failure> {
    let mut actors = groups(read, user)?;
    actors.push(user.to_owned());
    let above = ancestors(read, target)?;
    let mut roles = BTreeSet::new();
    for actor in &actors {
        let rows = read.query(
            "SELECT role, target, inherited FROM identity_assignment WHERE actor = ?1",
            params![actor],
        )?;
        for mut row in rows {
            let (role, at, inherited): (String, String, bool) =
                (row.take(0)?, row.take(1)?, row.take(2)?);
            if (!inherited && at == target) || (inherited && above.contains(&at)) {
                roles.insert(role);
            }
        }
    }
    with_implied(read, roles)
}

/// Names for role ids, by name.
pub(crate) fn named_roles(read: &Read<'_>, ids: &BTreeSet<String>) -> Result<Vec<Named>, Failure> {
    let mut roles = Vec::new();
    for id in ids {
        if let Some(doc) = object::get(read, Kind::Role, id)? {
            roles.push(Named {
                id: id.clone(),
                name: text(&doc, "name").to_owned(),
            });
        }
    }
    roles.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(roles)
}

/// All targets that a user has roles on: kind and id.
pub(crate) fn targets(read: &Read<'_>, user: &str) -> Result<BTreeMap<String, String>, Failure> {
    let mut actors = groups(read, user)?;
    actors.push(user.to_owned());
    let mut found = BTreeMap::new();
    let mut inherited_from = Vec::new();
    for actor in &actors {
        let rows = read.query(
            "SELECT target, target_kind, inherited FROM identity_assignment WHERE actor = ?1",
            params![actor],
        )?;
        for mut row in rows {
            let (target, kind, inherited): (String, String, bool) =
                (row.take(0)?, row.take(1)?, row.take(2)?);
            if inherited {
                inherited_from.push(target);
            } else {
                found.insert(target, kind);
            }
        }
    }
    if !inherited_from.is_empty() {
        for project in object::list(read, Kind::Project)? {
            let id = text(&project, "id");
            if ancestors(read, id)?
                .iter()
                .any(|above| inherited_from.contains(above))
            {
                found.insert(id.to_owned(), "project".to_owned());
            }
        }
    }
    Ok(found)
}

/// Forgets all assignments on or of something that is deleted.
pub(crate) fn forget(tx: &Tx<'_>, id: &str) -> Result<(), Failure> {
    tx.execute(
        "DELETE FROM identity_assignment WHERE actor = ?1 OR target = ?1 OR role = ?1",
        params![id],
    )?;
    Ok(())
}
