//! What is kept: one row per thing, with what it was made from.
//!
//! A thing of the engine has its physical name; one that somebody made by the API has none.

use cloud::{
    CloudError, KeyPair, KeyPairSpec, Kind, Named, Network, NetworkSpec, Order, PhysicalName, Port,
    PortSpec, Server, ServerSpec, Subnet, SubnetSpec,
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::{Migrations, Read, Row, Tx, params};
use uuid::Uuid;

use crate::failure::Failure;

/// The tables of this room.
pub const MIGRATIONS: Migrations = Migrations {
    room: "cloud_metal",
    steps: &["CREATE TABLE cloud_metal_thing (
        kind TEXT NOT NULL, id TEXT NOT NULL, physical TEXT, project TEXT NOT NULL, parent TEXT, owner TEXT,
        generation INTEGER NOT NULL, created_at TEXT NOT NULL, updated_at TEXT,
        spec TEXT NOT NULL, thing TEXT NOT NULL, note TEXT NOT NULL, PRIMARY KEY (kind, id)
    ) WITHOUT ROWID;
    CREATE UNIQUE INDEX cloud_metal_physical ON cloud_metal_thing (kind, physical) WHERE physical IS NOT NULL;
    CREATE INDEX cloud_metal_parent ON cloud_metal_thing (parent) WHERE parent IS NOT NULL;
    CREATE INDEX cloud_metal_owner ON cloud_metal_thing (owner) WHERE owner IS NOT NULL;
    CREATE TABLE cloud_metal_flavor (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, flavor TEXT NOT NULL) WITHOUT ROWID;"],
};

const COLUMNS: &str = "physical, project, generation, created_at, updated_at, spec, thing, note";

/// A kind of things that are kept here.
pub trait Item: Serialize + DeserializeOwned + Clone + Send + 'static {
    /// Its kind.
    const KIND: Kind;
    /// What it is made from.
    type Spec: Serialize + DeserializeOwned + Clone + Send + 'static;
    /// What is remembered beside it.
    type Note: Serialize + DeserializeOwned + Clone + Default + Send + 'static;
    /// Its id.
    fn id(&self) -> &str;
    /// The name that users see.
    fn name(&self) -> &str;
    /// The network that it is on.
    fn parent(&self) -> Option<&str> {
        None
    }
    /// The server that it belongs to.
    fn owner(&self) -> Option<&str> {
        None
    }
}

/// A thing with what is known of it.
#[derive(Debug, Clone)]
pub struct Record<T: Item> {
    /// The engine's name.
    pub physical: Option<PhysicalName>,
    /// The project that owns it.
    pub project: String,
    /// The last decision about it.
    pub generation: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed.
    pub updated_at: Option<Timestamp>,
    /// What it was made from.
    pub spec: T::Spec,
    /// The thing.
    pub thing: T,
    /// What is remembered beside it.
    pub note: T::Note,
}

/// What is remembered of a port.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PortNote {
    /// Its hardware address while no machine has it.
    pub own_mac: String,
    /// Whether it was made for its server and goes with it.
    pub of_server: bool,
    /// Its place among the server's interfaces.
    pub place: usize,
}

/// What is remembered of a server.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ServerNote {
    /// The node that it runs on.
    pub node: Option<Uuid>,
    /// Whether the image was ordered, for which generation of a rebuild.
    pub ordered: Option<u64>,
    /// A rebuild that is to be ordered, or was.
    pub rebuild: Option<u64>,
    /// A restart that is to be ordered.
    pub reboot: Option<u64>,
    /// Whether it is going away.
    pub removing: bool,
    /// When the present work began.
    pub since: Timestamp,
}

macro_rules! item {
    ($thing:ty, $spec:ty, $note:ty, $kind:ident $(, $name:ident => $body:expr)*) => {
        impl Item for $thing {
            const KIND: Kind = Kind::$kind;
            type Spec = $spec;
            type Note = $note;
            fn id(&self) -> &str {
                item!(@id $kind self)
            }
            fn name(&self) -> &str {
                &self.name
            }
            $(fn $name(&self) -> Option<&str> {
                let get: fn(&Self) -> Option<&str> = $body;
                get(self)
            })*
        }
    };
    // A key pair's name is its id.
    (@id KeyPair $this:ident) => { &$this.name };
    (@id $kind:ident $this:ident) => { &$this.id };
}

item!(Server, ServerSpec, ServerNote, Server);
item!(Network, NetworkSpec, (), Network);
item!(Subnet, SubnetSpec, (), Subnet, parent => |subnet| Some(&subnet.network_id));
item!(Port, PortSpec, PortNote, Port, parent => |port| Some(&port.network_id), owner => |port| port.device_id.as_deref());
item!(KeyPair, KeyPairSpec, (), KeyPair);

impl<T: Item> Record<T> {
    /// A record that was not there.
    pub(crate) fn new(
        name: &PhysicalName,
        order: &Order,
        spec: T::Spec,
        thing: T,
        now: Timestamp,
    ) -> Self {
        Self {
            physical: Some(name.clone()),
            project: order.project.clone(),
            generation: order.generation,
            created_at: now,
            updated_at: None,
            spec,
            thing,
            note: T::Note::default(),
        }
    }

    /// Refuses an older decision; tells whether this one is newer.
    pub(crate) fn is_newer(&self, order: &Order) -> Result<bool, Failure> {
        if order.generation < self.generation {
            let name = self
                .physical
                .as_ref()
                .map_or_else(String::new, |name| name.0.clone());
            return Err(CloudError::Superseded {
                kind: T::KIND,
                name,
            }
            .into());
        }
        Ok(order.generation > self.generation)
    }

    pub(crate) fn named(&self) -> Named {
        Named {
            id: self.thing.id().to_owned(),
            name: self.thing.name().to_owned(),
            physical_name: self.physical.clone(),
        }
    }
}

fn record<T: Item>(mut row: Row) -> Result<Record<T>, Failure> {
    let physical: Option<String> = row.take(0)?;
    let time = |text: String| text.parse::<Timestamp>().unwrap_or(Timestamp::UNIX_EPOCH);
    let updated: Option<String> = row.take(4)?;
    Ok(Record {
        physical: physical.map(PhysicalName),
        project: row.take(1)?,
        generation: u64::try_from(row.take::<i64>(2)?).unwrap_or_default(),
        created_at: time(row.take(3)?),
        updated_at: updated.map(time),
        spec: serde_json::from_str(&row.take::<String>(5)?)?,
        thing: serde_json::from_str(&row.take::<String>(6)?)?,
        note: serde_json::from_str(&row.take::<String>(7)?)?,
    })
}

fn select<T: Item>(read: &Read<'_>, filter: &str, value: &str) -> Result<Vec<Record<T>>, Failure> {
    let sql = format!(
        "SELECT {COLUMNS} FROM cloud_metal_thing WHERE kind = ?1 AND {filter} = ?2 ORDER BY created_at, id"
    );
    let rows = read.query(&sql, params![T::KIND.as_str(), value])?;
    rows.into_iter().map(record).collect()
}

/// All things of a kind, oldest first.
pub fn all<T: Item>(read: &Read<'_>) -> Result<Vec<Record<T>>, Failure> {
    select(read, "kind", T::KIND.as_str())
}

/// The things on a network.
pub fn on<T: Item>(read: &Read<'_>, network: &str) -> Result<Vec<Record<T>>, Failure> {
    select(read, "parent", network)
}

/// The ports of a server, in their order.
pub fn of_server(read: &Read<'_>, server: &str) -> Result<Vec<Record<Port>>, Failure> {
    let mut ports: Vec<Record<Port>> = select(read, "owner", server)?;
    ports.sort_by_key(|port| port.note.place);
    Ok(ports)
}

/// The thing with this physical name.
pub fn by_physical<T: Item>(
    read: &Read<'_>,
    name: &PhysicalName,
) -> Result<Option<Record<T>>, Failure> {
    Ok(select(read, "physical", name.as_str())?.pop())
}

/// The thing with this id.
pub fn by_id<T: Item>(read: &Read<'_>, id: &str) -> Result<Option<Record<T>>, Failure> {
    Ok(select(read, "id", id)?.pop())
}

/// What a project may name: by id, by the visible name, by the physical name.
pub fn find<T: Item>(
    read: &Read<'_>,
    name_or_id: &str,
    project: &str,
) -> Result<Option<Record<T>>, Failure> {
    if let Some(found) = by_id(read, name_or_id)? {
        return Ok(Some(found));
    }
    let mut named: Vec<Record<T>> = all::<T>(read)?
        .into_iter()
        .filter(|one| one.thing.name() == name_or_id)
        .collect();
    // A name of the project's own hides those of others.
    if named.iter().any(|one| one.project == project) {
        named.retain(|one| one.project == project);
    }
    if named.len() > 1 {
        return Err(CloudError::Ambiguous {
            kind: T::KIND,
            name: name_or_id.to_owned(),
        }
        .into());
    }
    match named.pop() {
        Some(found) => Ok(Some(found)),
        None => by_physical(read, &PhysicalName(name_or_id.to_owned())),
    }
}

/// The same, where it must be there.
pub fn need<T: Item>(
    read: &Read<'_>,
    name_or_id: &str,
    project: &str,
) -> Result<Record<T>, Failure> {
    find(read, name_or_id, project)?.ok_or_else(|| {
        CloudError::NotFound {
            kind: T::KIND,
            name: name_or_id.to_owned(),
        }
        .into()
    })
}

/// Writes a record, new or changed.
pub fn put<T: Item>(tx: &Tx<'_>, record: &Record<T>) -> Result<(), Failure> {
    let thing = &record.thing;
    let sql = format!(
        "INSERT OR REPLACE INTO cloud_metal_thing (kind, id, parent, owner, {COLUMNS})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
    );
    tx.execute(
        &sql,
        params![
            T::KIND.as_str(),
            thing.id(),
            thing.parent(),
            thing.owner(),
            record.physical.as_ref().map(|name| name.0.clone()),
            record.project.as_str(),
            i64::try_from(record.generation).unwrap_or(i64::MAX),
            record.created_at.to_string(),
            record.updated_at.map(|at| at.to_string()),
            serde_json::to_string(&record.spec)?,
            serde_json::to_string(thing)?,
            serde_json::to_string(&record.note)?,
        ],
    )?;
    Ok(())
}

/// Forgets a thing.
pub fn delete<T: Item>(tx: &Tx<'_>, id: &str) -> Result<(), Failure> {
    tx.execute(
        "DELETE FROM cloud_metal_thing WHERE kind = ?1 AND id = ?2",
        params![T::KIND.as_str(), id],
    )?;
    Ok(())
}
