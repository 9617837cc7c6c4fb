//! The engine's tables, and what goes into them.
//!
//! A [`Ledger`] collects what a tick changed; [`Ledger::write`] puts all of it into one transaction,
//! after it made sure that this engine still owns the stack.

use jiff::Timestamp;
use store::{Migrations, StoreError, Tx, params};
use uuid::Uuid;

use crate::api::{Action, Config, Deployment, StackId, Status};
use crate::model::{Node, Root, Row};

/// The engine's tables.
pub(crate) const MIGRATIONS: Migrations = Migrations {
    room: "engine",
    steps: &["
CREATE TABLE engine_stack (
    id TEXT PRIMARY KEY, root TEXT NOT NULL, parent TEXT, resource TEXT,
    project TEXT NOT NULL, name TEXT NOT NULL,
    action TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL,
    created INTEGER NOT NULL, updated INTEGER, deleted INTEGER,
    owner TEXT, pass INTEGER NOT NULL DEFAULT 0, body TEXT
) WITHOUT ROWID;
CREATE INDEX engine_stack_root ON engine_stack (root);
CREATE UNIQUE INDEX engine_stack_name ON engine_stack (project, name)
    WHERE deleted IS NULL AND parent IS NULL;
CREATE TABLE engine_resource (
    id TEXT PRIMARY KEY, root TEXT NOT NULL, stack TEXT NOT NULL, name TEXT NOT NULL,
    type TEXT NOT NULL, action TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL,
    physical_id TEXT, created INTEGER NOT NULL, updated INTEGER NOT NULL,
    pass INTEGER NOT NULL, generation INTEGER NOT NULL, current INTEGER NOT NULL,
    position INTEGER NOT NULL, input TEXT NOT NULL, output TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX engine_resource_root ON engine_resource (root);
CREATE TABLE engine_event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, root TEXT NOT NULL, stack TEXT NOT NULL,
    stack_name TEXT NOT NULL, time INTEGER NOT NULL, resource TEXT NOT NULL, physical_id TEXT,
    action TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL, type TEXT NOT NULL,
    properties TEXT
);
CREATE INDEX engine_event_root ON engine_event (root, seq);
CREATE INDEX engine_event_stack ON engine_event (stack, seq);
CREATE TABLE engine_config (
    id TEXT PRIMARY KEY, project TEXT NOT NULL, created INTEGER NOT NULL, seq INTEGER NOT NULL,
    body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX engine_config_seq ON engine_config (seq);
CREATE TABLE engine_deployment (
    id TEXT PRIMARY KEY, project TEXT NOT NULL, user_project TEXT, server TEXT NOT NULL,
    config TEXT, inputs TEXT NOT NULL, outputs TEXT NOT NULL, action TEXT NOT NULL,
    status TEXT NOT NULL, reason TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER,
    root TEXT, resource TEXT
) WITHOUT ROWID;
CREATE INDEX engine_deployment_server ON engine_deployment (server);
CREATE INDEX engine_deployment_config ON engine_deployment (config);
CREATE TABLE engine_user (
    id TEXT PRIMARY KEY, access TEXT, root TEXT NOT NULL, resource TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX engine_user_access ON engine_user (access);
CREATE INDEX engine_user_root ON engine_user (root);
CREATE TABLE engine_report (
    server TEXT PRIMARY KEY, time INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE engine_snapshot (
    id TEXT PRIMARY KEY, stack TEXT NOT NULL, name TEXT, status TEXT NOT NULL, reason TEXT NOT NULL,
    created INTEGER NOT NULL, data TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX engine_snapshot_stack ON engine_snapshot (stack);
"],
};

/// One thing to write.
#[derive(Debug)]
pub(crate) enum Put {
    /// What a root stack is made from.
    Root { body: String },
    /// The state of a stack.
    Stack {
        id: StackId,
        parent: Option<StackId>,
        resource: Option<Uuid>,
        project: String,
        name: String,
        action: Action,
        status: Status,
        reason: String,
        created: Timestamp,
        updated: Option<Timestamp>,
        deleted: Option<Timestamp>,
        pass: u64,
    },
    /// A resource.
    Row(Box<RowPut>),
    /// A resource that is no more.
    DropRow(Uuid),
    /// A nested stack that is no more.
    DropStack(StackId),
    /// A snapshot that is being made.
    Snapshot {
        id: Uuid,
        name: Option<String>,
        created: Timestamp,
    },
    /// The end of the snapshot that is being made.
    SnapshotEnd {
        status: Status,
        reason: String,
        data: String,
    },
    /// All snapshots of a stack are no more.
    DropSnapshots,
    /// Something happened.
    Event(Box<EventPut>),
    /// A configuration.
    Config(Box<Config>),
    /// A configuration that is no more.
    DropConfig(Uuid),
    /// A deployment, and the resource that it belongs to.
    Deployment(Box<Deployment>, Option<Uuid>),
    /// A deployment that is no more.
    DropDeployment(Uuid),
    /// A stack user of a resource.
    User {
        id: String,
        access: Option<String>,
        resource: Uuid,
    },
    /// A stack user that is no more.
    DropUser(String),
}

/// A resource to write.
#[derive(Debug)]
pub(crate) struct RowPut {
    pub id: Uuid,
    pub stack: StackId,
    pub name: String,
    pub type_name: String,
    pub action: Action,
    pub status: Status,
    pub reason: String,
    pub physical_id: Option<String>,
    pub created: Timestamp,
    pub updated: Timestamp,
    pub pass: u64,
    pub generation: u64,
    pub current: bool,
    pub position: usize,
    pub input: String,
    pub output: String,
}

/// An event to write.
#[derive(Debug)]
pub(crate) struct EventPut {
    pub stack: StackId,
    pub stack_name: String,
    pub time: Timestamp,
    pub resource: String,
    pub physical_id: Option<String>,
    pub action: Action,
    pub status: Status,
    pub reason: String,
    pub type_name: String,
    pub properties: Option<String>,
}

/// What a tick changed and the database does not know yet.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub puts: Vec<Put>,
    /// Whether the root's document (inputs) changed.
    pub body: bool,
}

impl Ledger {
    /// Notes an event of a resource.
    pub fn row_event(&mut self, node: &Node, row: &Row, now: Timestamp) {
        self.event_of(node.id, &node.name, row, now);
    }

    /// Notes an event of a resource.
    pub fn event_of(&mut self, stack: StackId, stack_name: &str, row: &Row, now: Timestamp) {
        let properties = hot::map_to_json(&row.properties);
        self.puts.push(Put::Event(Box::new(EventPut {
            stack,
            stack_name: stack_name.to_owned(),
            time: now,
            resource: row.name.clone(),
            physical_id: row.physical_id.clone(),
            action: row.action,
            status: row.status,
            reason: row.reason.clone(),
            type_name: row.type_name.clone(),
            properties: Some(properties.to_string()),
        })));
    }

    /// Notes an event of a stack.
    pub fn stack_event(&mut self, node: &Node, now: Timestamp) {
        self.puts.push(Put::Event(Box::new(EventPut {
            stack: node.id,
            stack_name: node.name.clone(),
            time: now,
            resource: node.name.clone(),
            physical_id: Some(node.id.to_string()),
            action: node.action,
            status: node.status,
            reason: node.reason.clone(),
            type_name: "OS::Heat::Stack".to_owned(),
            properties: None,
        })));
    }
}

/// Takes all that is to be written out of a root.
pub(crate) fn collect(root: &mut Root, deleted: Option<Timestamp>) -> Vec<Put> {
    let mut puts = Vec::new();
    let body = std::mem::take(&mut root.ledger.body);
    let (project, pass) = (root.project.clone(), root.pass);
    if root.node.dirty || body || deleted.is_some() {
        puts.push(stack_put(&root.node, None, None, &project, pass, deleted));
        root.node.dirty = false;
    }
    if body {
        puts.push(Put::Root {
            body: root_body(root),
        });
    }
    collect_rows(&mut root.node, &project, pass, &mut puts);
    puts.append(&mut root.ledger.puts);
    puts
}

fn root_body(root: &Root) -> String {
    serde_json::json!({
        "owner": root.owner,
        "owner_id": root.owner_id,
        "user_project": root.user_project,
        "input": root.input.to_json(),
        "previous": root.previous.as_ref().map(crate::model::Input::to_json),
        "deadline": root.deadline.as_millisecond(),
        "active": root.active,
        "empty": root.empty,
        "seeds": root.seeds,
    })
    .to_string()
}

fn stack_put(
    node: &Node,
    parent: Option<StackId>,
    resource: Option<Uuid>,
    project: &str,
    pass: u64,
    deleted: Option<Timestamp>,
) -> Put {
    Put::Stack {
        id: node.id,
        parent,
        resource,
        project: project.to_owned(),
        name: node.name.clone(),
        action: node.action,
        status: node.status,
        reason: node.reason.clone(),
        created: node.created,
        updated: node.updated,
        deleted,
        pass,
    }
}

fn collect_rows(node: &mut Node, project: &str, pass: u64, puts: &mut Vec<Put>) {
    let stack = node.id;
    let current = node.rows.values_mut().map(|row| (true, row));
    let old = node.old.iter_mut().map(|row| (false, row));
    for (position, (current, row)) in current.chain(old).enumerate() {
        if row.dirty {
            row.dirty = false;
            puts.push(Put::Row(Box::new(row_put(row, stack, current, position))));
        }
        let id = row.id;
        if let Some(child) = &mut row.child {
            if child.dirty {
                child.dirty = false;
                puts.push(stack_put(child, Some(stack), Some(id), project, pass, None));
            }
            collect_rows(child, project, pass, puts);
        }
    }
}

fn row_put(row: &Row, stack: StackId, current: bool, position: usize) -> RowPut {
    // Both documents are made of maps with text keys, which always become JSON.
    let input = serde_json::to_string(&row.input()).unwrap_or_default();
    RowPut {
        id: row.id,
        stack,
        name: row.name.clone(),
        type_name: row.type_name.clone(),
        action: row.action,
        status: row.status,
        reason: row.reason.clone(),
        physical_id: row.physical_id.clone(),
        created: row.created,
        updated: row.updated,
        pass: row.pass,
        generation: row.generation,
        current,
        position,
        input,
        output: serde_json::to_string(&row.notes).unwrap_or_default(),
    }
}

fn id(uuid: Uuid) -> String {
    uuid.to_string()
}

/// Writes what was collected, if `owner` still owns the root. False: another engine took it over.
pub(crate) fn write(
    tx: &Tx<'_>,
    root: StackId,
    owner: &str,
    puts: &[Put],
) -> Result<bool, StoreError> {
    let root = root.to_string();
    let mut first = true;
    for put in puts {
        put_one(tx, &root, owner, put)?;
        if first {
            first = false;
            let owned = tx.query_one(
                "SELECT 1 FROM engine_stack WHERE id = ?1 AND owner = ?2",
                params![&root, owner],
            )?;
            if owned.is_none() {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn put_one(tx: &Tx<'_>, root: &str, owner: &str, put: &Put) -> Result<(), StoreError> {
    match put {
        Put::Root { body } => {
            tx.execute(
                "UPDATE engine_stack SET body = ?2 WHERE id = ?1",
                params![root, body],
            )?;
        }
        Put::Stack { .. } => put_stack(tx, root, owner, put)?,
        Put::Row(row) => put_row(tx, root, row)?,
        Put::DropRow(row) => {
            tx.execute(
                "DELETE FROM engine_report WHERE server = (SELECT physical_id FROM engine_resource WHERE id = ?1)",
                params![id(*row)],
            )?;
            tx.execute(
                "DELETE FROM engine_resource WHERE id = ?1",
                params![id(*row)],
            )?;
        }
        Put::DropStack(stack) => {
            let stack = stack.to_string();
            tx.execute("DELETE FROM engine_stack WHERE id = ?1", params![&stack])?;
        }
        Put::Snapshot { .. } | Put::SnapshotEnd { .. } | Put::DropSnapshots => {
            put_snapshot(tx, root, put)?;
        }
        Put::Event(event) => put_event(tx, root, event)?,
        Put::Config(config) => put_config(tx, config)?,
        Put::DropConfig(config) => {
            tx.execute(
                "DELETE FROM engine_config WHERE id = ?1",
                params![id(*config)],
            )?;
        }
        Put::Deployment(deployment, resource) => {
            put_deployment(tx, deployment, resource.map(|row| (root, row)))?;
        }
        Put::DropDeployment(deployment) => {
            tx.execute(
                "DELETE FROM engine_deployment WHERE id = ?1",
                params![id(*deployment)],
            )?;
        }
        Put::User {
            id: user,
            access,
            resource,
        } => {
            tx.execute(
                "INSERT INTO engine_user VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (id) DO UPDATE SET access = ?2",
                params![user, access.as_ref(), root, id(*resource)],
            )?;
        }
        Put::DropUser(user) => {
            tx.execute("DELETE FROM engine_user WHERE id = ?1", params![user])?;
        }
    }
    Ok(())
}

fn put_stack(tx: &Tx<'_>, root: &str, owner: &str, put: &Put) -> Result<(), StoreError> {
    // The others are written by `put_one` itself.
    if let Put::Stack {
        id: stack,
        parent,
        resource,
        project,
        name,
        action,
        status,
        reason,
        created,
        updated,
        deleted,
        pass,
    } = put
    {
        let owner = parent.is_none().then_some(owner);
        tx.execute(
            "INSERT INTO engine_stack (id, root, parent, resource, project, name, action, status,
                     reason, created, updated, deleted, owner, pass)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
                 ON CONFLICT (id) DO UPDATE SET name = ?6, action = ?7, status = ?8, reason = ?9,
                     updated = ?11, deleted = ?12, pass = ?14",
            params![
                stack.to_string(),
                root,
                parent.map(|one| one.to_string()),
                resource.map(id),
                project,
                name,
                action.as_str(),
                status.as_str(),
                reason,
                created.as_millisecond(),
                updated.map(Timestamp::as_millisecond),
                deleted.map(Timestamp::as_millisecond),
                owner,
                *pass as i64
            ],
        )?;
    }
    Ok(())
}

fn put_snapshot(tx: &Tx<'_>, root: &str, put: &Put) -> Result<(), StoreError> {
    match put {
        Put::Snapshot {
            id: snapshot,
            name,
            created,
        } => {
            tx.execute(
                "INSERT INTO engine_snapshot VALUES (?1, ?2, ?3, 'IN_PROGRESS', '', ?4, 'null')",
                params![id(*snapshot), root, name.as_ref(), created.as_millisecond()],
            )?;
        }
        Put::SnapshotEnd {
            status,
            reason,
            data,
        } => {
            tx.execute(
                "UPDATE engine_snapshot SET status = ?2, reason = ?3, data = ?4
                 WHERE stack = ?1 AND status = 'IN_PROGRESS'",
                params![root, status.as_str(), reason, data],
            )?;
        }
        // The others are written by `put_one` itself.
        _ => {
            tx.execute(
                "DELETE FROM engine_snapshot WHERE stack = ?1",
                params![root],
            )?;
        }
    }
    Ok(())
}

fn put_row(tx: &Tx<'_>, root: &str, row: &RowPut) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO engine_resource VALUES
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
         ON CONFLICT (id) DO UPDATE SET type = ?5, action = ?6, status = ?7, reason = ?8,
             physical_id = ?9, updated = ?11, pass = ?12, generation = ?13, current = ?14,
             position = ?15, input = ?16, output = ?17",
        params![
            id(row.id),
            root,
            row.stack.to_string(),
            &row.name,
            &row.type_name,
            row.action.as_str(),
            row.status.as_str(),
            &row.reason,
            row.physical_id.as_ref(),
            row.created.as_millisecond(),
            row.updated.as_millisecond(),
            row.pass as i64,
            row.generation as i64,
            row.current,
            row.position as i64,
            &row.input,
            &row.output
        ],
    )?;
    Ok(())
}

fn put_event(tx: &Tx<'_>, root: &str, event: &EventPut) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO engine_event (id, root, stack, stack_name, time, resource, physical_id,
             action, status, reason, type, properties)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            id(Uuid::new_v4()),
            root,
            event.stack.to_string(),
            &event.stack_name,
            event.time.as_millisecond(),
            &event.resource,
            event.physical_id.as_ref(),
            event.action.as_str(),
            event.status.as_str(),
            &event.reason,
            &event.type_name,
            event.properties.as_ref()
        ],
    )?;
    Ok(())
}

/// Writes a configuration.
pub(crate) fn put_config(tx: &Tx<'_>, config: &Config) -> Result<(), StoreError> {
    let body = serde_json::json!({
        "name": config.config.name,
        "group": config.config.group,
        "config": config.config.config,
        "inputs": config.config.inputs,
        "outputs": config.config.outputs,
        "options": config.config.options,
    });
    tx.execute(
        "INSERT INTO engine_config VALUES
             (?1, ?2, ?3, (SELECT coalesce(max(seq), 0) + 1 FROM engine_config), ?4)
         ON CONFLICT (id) DO UPDATE SET body = ?4",
        params![
            id(config.id),
            &config.project,
            config.created.as_millisecond(),
            body.to_string()
        ],
    )?;
    Ok(())
}

/// Writes a deployment and, where it has one, the resource that it belongs to.
pub(crate) fn put_deployment(
    tx: &Tx<'_>,
    deployment: &Deployment,
    resource: Option<(&str, Uuid)>,
) -> Result<(), StoreError> {
    let text = |map: &serde_json::Map<String, serde_json::Value>| {
        serde_json::to_string(map).unwrap_or_default()
    };
    tx.execute(
        "INSERT INTO engine_deployment VALUES
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
         ON CONFLICT (id) DO UPDATE SET user_project = ?3, config = ?5, inputs = ?6, outputs = ?7,
             action = ?8, status = ?9, reason = ?10, updated = ?12",
        params![
            id(deployment.id),
            &deployment.project,
            deployment.stack_user_project.as_ref(),
            &deployment.server_id,
            deployment.config_id.map(id),
            text(&deployment.input_values),
            text(&deployment.output_values),
            &deployment.action,
            &deployment.status,
            &deployment.status_reason,
            deployment.created.as_millisecond(),
            deployment.updated.map(Timestamp::as_millisecond),
            resource.map(|(root, _)| root),
            resource.map(|(_, row)| id(row))
        ],
    )?;
    Ok(())
}
