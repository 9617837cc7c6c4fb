//! The database of a server: transactions, migrations, leases.
//!
//! One thread writes. Closures that wait for it share one transaction, each behind a savepoint of
//! its own, and are answered when that transaction is on disk (group commit). Reads run beside it
//! on connections of their own and see what was committed. No table is here beyond those of
//! migrations and leases: each room owns its tables. No type of the SQL driver leaves this crate.

mod error;
mod lease;
mod migrate;
mod row;
mod tx;
mod value;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use tokio::sync::oneshot;

pub use error::StoreError;
pub use migrate::Migrations;
pub use row::{FromValue, Row};
pub use tx::{Read, Tx};
pub use value::Value;

use writer::{Job, Writer};

/// Reading connections that are kept open; more are made when more reads run at once.
const KEPT_READERS: usize = 4;

/// A database. Cheap to clone; all clones are the same database.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    /// Writes that this handle may still make; none: any number.
    budget: Option<Arc<AtomicI64>>,
}

struct Shared {
    writer: Writer,
    /// None: the database is in memory, so the writer's connection reads too.
    readers: Option<Readers>,
}

struct Readers {
    path: std::path::PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database in a file, made if it is not there, and brings all rooms' tables up to date.
    pub fn open(path: &Path, rooms: &[Migrations]) -> Result<Store, StoreError> {
        let connection = Connection::open(path).map_err(|source| StoreError::Open {
            path: path.to_owned(),
            source: Arc::new(source),
        })?;
        restrict(path)?;
        prepare(&connection, true)?;
        migrate::run(&connection, rooms)?;
        Ok(Store {
            shared: Arc::new(Shared {
                writer: Writer::start(connection)?,
                readers: Some(Readers {
                    path: path.to_owned(),
                    idle: Mutex::new(Vec::new()),
                }),
            }),
            budget: None,
        })
    }

    /// A database that is gone with its last handle.
    pub fn memory(rooms: &[Migrations]) -> Result<Store, StoreError> {
        let connection = Connection::open_in_memory().map_err(StoreError::sql("open memory"))?;
        prepare(&connection, false)?;
        migrate::run(&connection, rooms)?;
        Ok(Store {
            shared: Arc::new(Shared {
                writer: Writer::start(connection)?,
                readers: None,
            }),
            budget: None,
        })
    }

    /// A handle on the same database that is cut off after so many writes, as by a kill: the
    /// write after the last one is refused with [`StoreError::Closed`], and so is everything later.
    #[must_use]
    pub fn cut_after(&self, writes: u32) -> Store {
        Store {
            shared: Arc::clone(&self.shared),
            budget: Some(Arc::new(AtomicI64::new(i64::from(writes)))),
        }
    }

    /// Whether this handle has been cut off ([`Store::cut_after`]).
    pub fn is_cut(&self) -> bool {
        self.budget
            .as_ref()
            .is_some_and(|budget| budget.load(Ordering::SeqCst) < 0)
    }

    /// Runs a closure in a transaction; the future ends when that is on disk.
    ///
    /// The closure is handed in at once, before the future is first polled: closures run in the
    /// order in which `write` was called, and a future that is dropped takes nothing back. An error
    /// takes back what the closure wrote, and nothing else. Several closures may share one
    /// transaction of the database.
    pub fn write<T, E, F>(
        &self,
        work: F,
    ) -> impl Future<Output = Result<T, E>> + Send + 'static + use<T, E, F>
    where
        F: FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (send, receive) = oneshot::channel();
        let budget = self.budget.clone();
        let sent = self.shared.writer.send(Job::write(
            move |tx| {
                if let Some(budget) = budget
                    && budget.fetch_sub(1, Ordering::SeqCst) <= 0
                {
                    budget.store(-1, Ordering::SeqCst);
                    return Err(E::from(StoreError::Closed));
                }
                work(tx)
            },
            move |result| {
                // A caller that went away does not want the answer.
                let _ = send.send(result);
            },
        ));
        // The database stays open until the answer is there.
        let shared = Arc::clone(&self.shared);
        async move {
            sent?;
            let result = receive.await.map_err(|_| StoreError::Panicked)?;
            drop(shared);
            result
        }
    }

    /// Runs a closure that reads a consistent state of the database.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Read<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        if self.is_cut() || self.shared.readers.is_none() {
            return self.read_behind_writes(work).await;
        }
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || shared.read(work));
        read.await.map_err(|_| StoreError::Panicked)?
    }

    /// Like [`Store::read`], and sees all that was handed in to be written before this call.
    pub async fn read_behind_writes<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Read<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        if self.is_cut() {
            return Err(StoreError::Closed.into());
        }
        let (send, receive) = oneshot::channel();
        self.shared.writer.send(Job::read(
            move |tx| work(tx),
            move |result| {
                let _ = send.send(result);
            },
        ))?;
        receive.await.map_err(|_| StoreError::Panicked)?
    }
}

impl Shared {
    fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Read<'_>) -> Result<T, E>,
        E: From<StoreError>,
    {
        let readers = self.readers.as_ref().ok_or(StoreError::Closed)?;
        let idle = readers.idle.lock().ok().and_then(|mut idle| idle.pop());
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let open = Connection::open_with_flags(
                    &readers.path,
                    rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE
                        | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX,
                );
                let connection = open.map_err(|source| StoreError::Open {
                    path: readers.path.clone(),
                    source: Arc::new(source),
                })?;
                prepare(&connection, true)?;
                connection
                    .pragma_update(None, "query_only", true)
                    .map_err(StoreError::sql("PRAGMA query_only"))?;
                connection
            }
        };
        let result = tx::snapshot(&connection, work);
        if let Ok(mut idle) = readers.idle.lock()
            && idle.len() < KEPT_READERS
        {
            idle.push(connection);
        }
        result
    }
}

/// Sets what every connection needs: a log beside the file, every commit synced, small caches.
fn prepare(connection: &Connection, file: bool) -> Result<(), StoreError> {
    let set = |name: &'static str, value: &dyn rusqlite::ToSql| {
        connection
            .pragma_update(None, name, value)
            .map_err(StoreError::sql(name))
    };
    connection
        .busy_timeout(std::time::Duration::from_secs(10))
        .map_err(StoreError::sql("busy_timeout"))?;
    if file {
        set("journal_mode", &"wal")?;
        set("synchronous", &"full")?;
    }
    set("foreign_keys", &true)?;
    // KiB when negative. A server at rest stays small; the kernel's page cache does the rest.
    set("cache_size", &-1024)?;
    set("temp_store", &"memory")?;
    connection.set_prepared_statement_cache_capacity(96);
    Ok(())
}

/// The database holds secrets: only its owner may read it.
fn restrict(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(|source| {
        StoreError::Open {
            path: path.to_owned(),
            source: Arc::new(source),
        }
    })
}
