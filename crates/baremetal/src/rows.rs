//! The tables of this room: a document per row, and columns for what must be unique or is searched by.
//!
//! SQL is only here. Everything runs inside a transaction that the caller opened.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::{Migrations, Read, Tx, params};
use uuid::Uuid;

use crate::deploy::DeployOrder;
use crate::error::MetalError;
use crate::node::{Node, NodeId};
use crate::parts::{Allocation, Chassis, HistoryEvent, KeptInventory, Port, PortGroup};

/// The tables of this room.
pub const MIGRATIONS: Migrations = Migrations {
    room: "baremetal",
    steps: &["
CREATE TABLE baremetal_node (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid TEXT NOT NULL UNIQUE,
    name TEXT UNIQUE,
    instance_uuid TEXT UNIQUE,
    due INTEGER,
    lease_owner TEXT,
    lease_until INTEGER NOT NULL DEFAULT 0,
    doc TEXT NOT NULL
);
CREATE INDEX baremetal_node_due ON baremetal_node (due) WHERE due IS NOT NULL;
CREATE TABLE baremetal_port (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid TEXT NOT NULL UNIQUE,
    name TEXT,
    node TEXT NOT NULL,
    address TEXT UNIQUE,
    doc TEXT NOT NULL
);
CREATE INDEX baremetal_port_node ON baremetal_port (node);
CREATE TABLE baremetal_portgroup (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid TEXT NOT NULL UNIQUE,
    name TEXT UNIQUE,
    node TEXT NOT NULL,
    address TEXT UNIQUE,
    doc TEXT NOT NULL
);
CREATE TABLE baremetal_chassis (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid TEXT NOT NULL UNIQUE,
    name TEXT,
    node TEXT,
    address TEXT,
    doc TEXT NOT NULL
);
CREATE TABLE baremetal_allocation (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid TEXT NOT NULL UNIQUE,
    name TEXT UNIQUE,
    node TEXT,
    address TEXT,
    doc TEXT NOT NULL
);
CREATE TABLE baremetal_history (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid TEXT NOT NULL UNIQUE,
    node TEXT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX baremetal_history_node ON baremetal_history (node);
CREATE TABLE baremetal_order (
    node TEXT PRIMARY KEY,
    doc TEXT NOT NULL,
    config_drive BLOB
) WITHOUT ROWID;
CREATE TABLE baremetal_inventory (
    node TEXT PRIMARY KEY,
    doc TEXT NOT NULL
) WITHOUT ROWID;
"],
};

/// History events that are kept per node; older ones go.
const KEPT_EVENTS: i64 = 300;

fn read_doc<T: DeserializeOwned>(kind: &'static str, id: &str, doc: &str) -> Result<T, MetalError> {
    serde_json::from_str(doc).map_err(|source| MetalError::Row {
        kind,
        id: id.to_owned(),
        source,
    })
}

fn write_doc<T: Serialize>(kind: &'static str, id: &str, value: &T) -> Result<String, MetalError> {
    serde_json::to_string(value).map_err(|source| MetalError::Row {
        kind,
        id: id.to_owned(),
        source,
    })
}

/// Milliseconds since 1970, as columns hold times.
pub(crate) fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

// ---------------------------------------------------------------- nodes

/// The node with this identity.
pub(crate) fn node(read: &Read<'_>, id: NodeId) -> Result<Option<Node>, MetalError> {
    one_node(
        read,
        "SELECT doc FROM baremetal_node WHERE uuid = ?1",
        &id.to_string(),
    )
}

/// The node with this name.
pub(crate) fn node_named(read: &Read<'_>, name: &str) -> Result<Option<Node>, MetalError> {
    one_node(read, "SELECT doc FROM baremetal_node WHERE name = ?1", name)
}

/// The node that an instance holds.
pub(crate) fn node_of(read: &Read<'_>, instance: Uuid) -> Result<Option<Node>, MetalError> {
    one_node(
        read,
        "SELECT doc FROM baremetal_node WHERE instance_uuid = ?1",
        &instance.to_string(),
    )
}

fn one_node(read: &Read<'_>, sql: &str, key: &str) -> Result<Option<Node>, MetalError> {
    let row = read.query_one(sql, params![key])?;
    row.map(|mut row| read_doc("Node", key, &row.take::<String>(0)?))
        .transpose()
}

/// All nodes, oldest first.
pub(crate) fn nodes(read: &Read<'_>) -> Result<Vec<Node>, MetalError> {
    let rows = read.query("SELECT uuid, doc FROM baremetal_node ORDER BY seq", &[])?;
    rows.into_iter()
        .map(|mut row| read_doc("Node", &row.take::<String>(0)?, &row.take::<String>(1)?))
        .collect()
}

/// Adds a node.
pub(crate) fn insert_node(tx: &Tx<'_>, node: &Node) -> Result<(), MetalError> {
    let id = node.uuid.to_string();
    tx.execute(
        "INSERT INTO baremetal_node (uuid, name, instance_uuid, due, doc) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            &id,
            node.name.clone(),
            node.instance_uuid.map(|id| id.to_string()),
            due(node),
            write_doc("Node", &id, node)?,
        ],
    )?;
    Ok(())
}

/// Writes a node back.
pub(crate) fn update_node(tx: &Tx<'_>, node: &Node) -> Result<(), MetalError> {
    let id = node.uuid.to_string();
    tx.execute(
        "UPDATE baremetal_node SET name = ?2, instance_uuid = ?3, due = ?4, doc = ?5 WHERE uuid = ?1",
        params![
            &id,
            node.name.clone(),
            node.instance_uuid.map(|id| id.to_string()),
            due(node),
            write_doc("Node", &id, node)?,
        ],
    )?;
    Ok(())
}

/// When somebody must look at the node's work; none: it has none.
fn due(node: &Node) -> Option<i64> {
    let work = node.work.as_ref()?;
    Some(millis(if work.is_waiting() {
        // Between reports of the agent, the power is looked at.
        work.deadline.min(work.not_before)
    } else {
        work.not_before
    }))
}

/// Removes a node and all that goes with it.
pub(crate) fn delete_node(tx: &Tx<'_>, id: NodeId) -> Result<(), MetalError> {
    let id = id.to_string();
    for sql in [
        "DELETE FROM baremetal_node WHERE uuid = ?1",
        "DELETE FROM baremetal_port WHERE node = ?1",
        "DELETE FROM baremetal_portgroup WHERE node = ?1",
        "DELETE FROM baremetal_history WHERE node = ?1",
        "DELETE FROM baremetal_order WHERE node = ?1",
        "DELETE FROM baremetal_inventory WHERE node = ?1",
        "DELETE FROM baremetal_allocation WHERE node = ?1",
    ] {
        tx.execute(sql, params![&id])?;
    }
    Ok(())
}

/// Gives up the leases of a server that was started again.
pub(crate) fn forget_leases(tx: &Tx<'_>, host: &str) -> Result<(), MetalError> {
    tx.execute(
        "UPDATE baremetal_node SET lease_owner = NULL, lease_until = 0 WHERE lease_owner = ?1",
        params![host],
    )?;
    Ok(())
}

/// Nodes whose work is due and that nobody holds.
pub(crate) fn due_nodes(
    read: &Read<'_>,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<NodeId>, MetalError> {
    let rows = read.query(
        "SELECT uuid FROM baremetal_node WHERE due <= ?1 AND (lease_owner IS NULL OR lease_until <= ?1)
         ORDER BY due LIMIT ?2",
        params![millis(now), i64::try_from(limit).unwrap_or(i64::MAX)],
    )?;
    rows.into_iter()
        .map(|mut row| {
            let text: String = row.take(0)?;
            text.parse()
                .map_err(|_| MetalError::Invalid(format!("`{text}` is no node id")))
        })
        .collect()
}

/// When the next node is due that is not yet.
pub(crate) fn next_due(read: &Read<'_>, now: Timestamp) -> Result<Option<Timestamp>, MetalError> {
    let row = read.query_one(
        "SELECT min(CASE WHEN lease_owner IS NULL OR lease_until <= ?1 THEN due ELSE max(due, lease_until) END)
         FROM baremetal_node WHERE due IS NOT NULL",
        params![millis(now)],
    )?;
    let at: Option<i64> = row.map(|mut row| row.take(0)).transpose()?.flatten();
    Ok(at.and_then(|at| Timestamp::from_millisecond(at).ok()))
}

/// Takes the lease of a node; false: somebody has it.
pub(crate) fn claim(
    tx: &Tx<'_>,
    id: NodeId,
    host: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool, MetalError> {
    let touched = tx.execute(
        "UPDATE baremetal_node SET lease_owner = ?2, lease_until = ?4
         WHERE uuid = ?1 AND (lease_owner IS NULL OR lease_until <= ?3)",
        params![id.to_string(), host, millis(now), millis(until)],
    )?;
    Ok(touched == 1)
}

/// Prolongs a lease, or gives it back.
pub(crate) fn release(tx: &Tx<'_>, id: NodeId, host: &str) -> Result<(), MetalError> {
    tx.execute(
        "UPDATE baremetal_node SET lease_owner = NULL, lease_until = 0 WHERE uuid = ?1 AND lease_owner = ?2",
        params![id.to_string(), host],
    )?;
    Ok(())
}

// ---------------------------------------------------------------- parts

/// A kind of row that is a document with an identity, perhaps a name, a node, an address.
pub(crate) trait Part: Serialize + DeserializeOwned {
    const KIND: &'static str;
    const TABLE: &'static str;
    fn id(&self) -> Uuid;
    fn name(&self) -> Option<String> {
        None
    }
    fn node(&self) -> Option<String> {
        None
    }
    fn address(&self) -> Option<String> {
        None
    }
}

impl Part for Port {
    const KIND: &'static str = "Port";
    const TABLE: &'static str = "baremetal_port";
    fn id(&self) -> Uuid {
        self.uuid
    }
    fn name(&self) -> Option<String> {
        self.name.clone()
    }
    fn node(&self) -> Option<String> {
        Some(self.node_uuid.to_string())
    }
    fn address(&self) -> Option<String> {
        Some(self.address.clone())
    }
}

impl Part for PortGroup {
    const KIND: &'static str = "Portgroup";
    const TABLE: &'static str = "baremetal_portgroup";
    fn id(&self) -> Uuid {
        self.uuid
    }
    fn name(&self) -> Option<String> {
        self.name.clone()
    }
    fn node(&self) -> Option<String> {
        Some(self.node_uuid.to_string())
    }
    fn address(&self) -> Option<String> {
        self.address.clone()
    }
}

impl Part for Chassis {
    const KIND: &'static str = "Chassis";
    const TABLE: &'static str = "baremetal_chassis";
    fn id(&self) -> Uuid {
        self.uuid
    }
}

impl Part for Allocation {
    const KIND: &'static str = "Allocation";
    const TABLE: &'static str = "baremetal_allocation";
    fn id(&self) -> Uuid {
        self.uuid
    }
    fn name(&self) -> Option<String> {
        self.name.clone()
    }
    fn node(&self) -> Option<String> {
        self.node_uuid.map(|id| id.to_string())
    }
}

/// The part with this identity.
pub(crate) fn part<P: Part>(read: &Read<'_>, id: Uuid) -> Result<Option<P>, MetalError> {
    part_by(read, "uuid", &id.to_string())
}

/// The part whose column has this value. Columns are named by this crate only.
pub(crate) fn part_by<P: Part>(
    read: &Read<'_>,
    column: &'static str,
    value: &str,
) -> Result<Option<P>, MetalError> {
    let sql = format!("SELECT doc FROM {} WHERE {column} = ?1", P::TABLE);
    let row = read.query_one(&sql, params![value])?;
    row.map(|mut row| read_doc(P::KIND, value, &row.take::<String>(0)?))
        .transpose()
}

/// All parts, or those of a node, oldest first.
pub(crate) fn parts<P: Part>(read: &Read<'_>, node: Option<NodeId>) -> Result<Vec<P>, MetalError> {
    let rows = match node {
        None => read.query(
            &format!("SELECT uuid, doc FROM {} ORDER BY seq", P::TABLE),
            &[],
        )?,
        Some(node) => read.query(
            &format!(
                "SELECT uuid, doc FROM {} WHERE node = ?1 ORDER BY seq",
                P::TABLE
            ),
            params![node.to_string()],
        )?,
    };
    rows.into_iter()
        .map(|mut row| read_doc(P::KIND, &row.take::<String>(0)?, &row.take::<String>(1)?))
        .collect()
}

/// Adds a part, or writes it back.
pub(crate) fn put_part<P: Part>(tx: &Tx<'_>, part: &P) -> Result<(), MetalError> {
    let id = part.id().to_string();
    let sql = format!(
        "INSERT INTO {} (uuid, name, node, address, doc) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (uuid) DO UPDATE SET name = ?2, node = ?3, address = ?4, doc = ?5",
        P::TABLE
    );
    let doc = write_doc(P::KIND, &id, part)?;
    tx.execute(
        &sql,
        params![&id, part.name(), part.node(), part.address(), doc],
    )?;
    Ok(())
}

/// Removes a part; false: it was not there.
pub(crate) fn delete_part<P: Part>(tx: &Tx<'_>, id: Uuid) -> Result<bool, MetalError> {
    let sql = format!("DELETE FROM {} WHERE uuid = ?1", P::TABLE);
    Ok(tx.execute(&sql, params![id.to_string()])? == 1)
}

// ---------------------------------------------------------------- history, orders, inventory

/// Notes an event; the oldest ones go.
pub(crate) fn add_event(tx: &Tx<'_>, event: &HistoryEvent) -> Result<(), MetalError> {
    let (id, node) = (event.uuid.to_string(), event.node.to_string());
    let doc = write_doc("History", &id, event)?;
    tx.execute(
        "INSERT INTO baremetal_history (uuid, node, doc) VALUES (?1, ?2, ?3)",
        params![&id, &node, doc],
    )?;
    tx.execute(
        "DELETE FROM baremetal_history WHERE node = ?1 AND seq <= (
            SELECT seq FROM baremetal_history WHERE node = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
        params![&node, KEPT_EVENTS],
    )?;
    Ok(())
}

/// What happened to a node, newest first.
pub(crate) fn events(read: &Read<'_>, node: NodeId) -> Result<Vec<HistoryEvent>, MetalError> {
    let rows = read.query(
        "SELECT uuid, doc FROM baremetal_history WHERE node = ?1 ORDER BY seq DESC",
        params![node.to_string()],
    )?;
    rows.into_iter()
        .map(|mut row| read_doc("History", &row.take::<String>(0)?, &row.take::<String>(1)?))
        .collect()
}

/// Keeps what is to be put onto a node.
pub(crate) fn put_order(tx: &Tx<'_>, node: NodeId, order: &DeployOrder) -> Result<(), MetalError> {
    let id = node.to_string();
    let doc = write_doc("Order of node", &id, order)?;
    tx.execute(
        "INSERT INTO baremetal_order (node, doc, config_drive) VALUES (?1, ?2, ?3)
         ON CONFLICT (node) DO UPDATE SET doc = ?2, config_drive = ?3",
        params![&id, doc, order.config_drive.clone()],
    )?;
    Ok(())
}

/// What is to be put onto a node.
pub(crate) fn order(read: &Read<'_>, node: NodeId) -> Result<Option<DeployOrder>, MetalError> {
    let id = node.to_string();
    let row = read.query_one(
        "SELECT doc, config_drive FROM baremetal_order WHERE node = ?1",
        params![&id],
    )?;
    let Some(mut row) = row else { return Ok(None) };
    let mut order: DeployOrder = read_doc("Order of node", &id, &row.take::<String>(0)?)?;
    order.config_drive = row.take(1)?;
    Ok(Some(order))
}

/// Forgets it.
pub(crate) fn delete_order(tx: &Tx<'_>, node: NodeId) -> Result<(), MetalError> {
    tx.execute(
        "DELETE FROM baremetal_order WHERE node = ?1",
        params![node.to_string()],
    )?;
    Ok(())
}

/// Keeps what a look at the hardware brought.
pub(crate) fn put_inventory(
    tx: &Tx<'_>,
    node: NodeId,
    inventory: &KeptInventory,
) -> Result<(), MetalError> {
    let id = node.to_string();
    let doc = write_doc("Inventory of node", &id, inventory)?;
    tx.execute(
        "INSERT INTO baremetal_inventory (node, doc) VALUES (?1, ?2)
         ON CONFLICT (node) DO UPDATE SET doc = ?2",
        params![&id, doc],
    )?;
    Ok(())
}

/// What the last look at the hardware brought.
pub(crate) fn inventory(
    read: &Read<'_>,
    node: NodeId,
) -> Result<Option<KeptInventory>, MetalError> {
    let id = node.to_string();
    let row = read.query_one(
        "SELECT doc FROM baremetal_inventory WHERE node = ?1",
        params![&id],
    )?;
    row.map(|mut row| read_doc("Inventory of node", &id, &row.take::<String>(0)?))
        .transpose()
}
