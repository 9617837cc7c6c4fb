//! Tables of identity.
//!
//! What users see of an object is one JSON document: fields that clients add are kept and given back, as upstream
//! does. What decides about access (assignments, passwords, revocations) has columns of its own.

use store::Migrations;

pub(crate) const MIGRATIONS: Migrations = Migrations {
    room: "identity",
    steps: &["
CREATE TABLE identity_object (
    kind TEXT NOT NULL, id TEXT NOT NULL, realm TEXT NOT NULL, name TEXT, doc TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX identity_object_name ON identity_object (kind, realm, name);
CREATE TABLE identity_login (
    user_id TEXT PRIMARY KEY, hash TEXT, valid_from INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE identity_assignment (
    actor TEXT NOT NULL, target TEXT NOT NULL, role TEXT NOT NULL, inherited INTEGER NOT NULL,
    actor_kind TEXT NOT NULL, target_kind TEXT NOT NULL,
    PRIMARY KEY (actor, target, role, inherited)
) WITHOUT ROWID;
CREATE INDEX identity_assignment_target ON identity_assignment (target);
CREATE TABLE identity_member (
    user_id TEXT NOT NULL, group_id TEXT NOT NULL, PRIMARY KEY (user_id, group_id)
) WITHOUT ROWID;
CREATE TABLE identity_implied (
    prior TEXT NOT NULL, implied TEXT NOT NULL, PRIMARY KEY (prior, implied)
) WITHOUT ROWID;
CREATE TABLE identity_revoked (
    audit TEXT PRIMARY KEY, until INTEGER NOT NULL
) WITHOUT ROWID;
"],
};
