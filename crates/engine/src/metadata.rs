//! Node documents, and who waits for them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use jiff::Timestamp;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::api::ServerMetadata;
use crate::core::{Core, Live};
use crate::deployments;
use crate::error::EngineError;
use crate::model::Row;
use crate::plugins;

/// One bell per server that someone waits for. A waiter costs one entry in a list, no task.
#[derive(Default)]
pub(crate) struct Bells {
    bells: Mutex<HashMap<String, Weak<Bell>>>,
}

/// What all who wait for one server share.
#[derive(Default)]
struct Bell {
    rung: Notify,
    /// How often it was rung.
    count: AtomicU64,
    seen: tokio::sync::Mutex<Option<Seen>>,
}

/// A document as it was seen after a number of rings, so that it is made once for all who wait.
struct Seen {
    count: u64,
    key: String,
    etag: String,
    /// Kept by who takes it only: documents of ten thousand nodes are not to stay in memory.
    document: Weak<ServerMetadata>,
}

impl Bells {
    /// The bell of a server.
    fn of(&self, server: &str) -> Arc<Bell> {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get(server).and_then(Weak::upgrade) {
            return bell;
        }
        if bells.len() > 64 && bells.len().is_power_of_two() {
            bells.retain(|_, bell| bell.strong_count() > 0);
        }
        let bell = Arc::new(Bell::default());
        bells.insert(server.to_owned(), Arc::downgrade(&bell));
        bell
    }

    /// Wakes all who wait for one of these servers.
    pub fn ring(&self, servers: &[String]) {
        if servers.is_empty() {
            return;
        }
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        for server in servers {
            if let Some(bell) = bells.get(server).and_then(Weak::upgrade) {
                bell.count.fetch_add(1, Ordering::SeqCst);
                bell.rung.notify_waiters();
            }
        }
    }
}

/// A server's row, as far as reports need it.
pub(crate) struct Found {
    pub live: Arc<Live>,
    pub row: Uuid,
    pub server_id: String,
    pub name: String,
}

pub(crate) fn no_server(key: &str) -> EngineError {
    EngineError::NotFound {
        what: "The Server",
        name: key.to_owned(),
    }
}

impl Core {
    /// Finds the row of a server by its own id (the node's key in metadata URLs) or the physical id.
    pub fn server(&self, key: &str) -> Option<Found> {
        self.at_server(key, |live, row| Found {
            live: Arc::clone(live),
            row: row.id,
            server_id: row.physical_id.clone().unwrap_or_default(),
            name: plugins::server_name(row).to_owned(),
        })
    }

    /// The secret in the metadata URL of a server.
    pub fn metadata_secret(&self, key: &str) -> Option<String> {
        self.at_server(key, |_, row| row.note("metadata_secret").map(str::to_owned))
            .flatten()
    }

    /// The node document of a server.
    pub async fn document(&self, key: &str) -> Result<ServerMetadata, EngineError> {
        let found = self.at_server(key, |_, row| {
            let id = row.physical_id.clone().unwrap_or_default();
            (id, own_metadata(row))
        });
        let (id, mut document) = found.ok_or_else(|| no_server(key))?;
        let read = self
            .setup
            .store
            .read(move |tx| deployments::of_server(tx, None, &id))
            .await;
        document["deployments"] = Json::Array(read?);
        let text = document.to_string();
        let digest = Sha256::digest(text.as_bytes());
        Ok(ServerMetadata {
            document,
            text,
            etag: hex::encode(&digest[..16]),
        })
    }

    /// The node document as soon as it is another one.
    pub async fn wait_document(
        &self,
        key: &str,
        etag: &str,
        until: Timestamp,
    ) -> Result<Option<Arc<ServerMetadata>>, EngineError> {
        let server = self.server(key).ok_or_else(|| no_server(key))?.server_id;
        let bell = self.bells.of(&server);
        drop(server);
        loop {
            // The place in the queue is taken before the look, so nothing falls in between.
            let mut rung = std::pin::pin!(bell.rung.notified());
            rung.as_mut().enable();
            // Boxed: what a look takes is not to be kept while waiting.
            let other = Box::pin(self.other_document(key, etag, &bell)).await?;
            if other.is_some() {
                return Ok(other);
            }
            tokio::select! {
                () = rung => {}
                () = self.setup.clock.sleep_until(until) => return Ok(None),
            }
        }
    }

    /// The document if it is not that of `etag`.
    async fn other_document(
        &self,
        key: &str,
        etag: &str,
        bell: &Bell,
    ) -> Result<Option<Arc<ServerMetadata>>, EngineError> {
        let mut seen = bell.seen.lock().await;
        // Read before the document is: a ring meanwhile makes what is seen here old.
        let count = bell.count.load(Ordering::SeqCst);
        if let Some(seen) = &*seen
            && (seen.count, seen.key.as_str()) == (count, key)
        {
            if seen.etag == etag {
                return Ok(None);
            }
            if let Some(document) = seen.document.upgrade() {
                return Ok(Some(document));
            }
        }
        let document = Arc::new(self.document(key).await?);
        *seen = Some(Seen {
            count,
            key: key.to_owned(),
            etag: document.etag.clone(),
            document: Arc::downgrade(&document),
        });
        Ok((document.etag != etag).then_some(document))
    }
}

/// The metadata of a row as the template has it, with what its agents are told.
pub(crate) fn own_metadata(row: &Row) -> Json {
    let mut metadata = match row.metadata.to_json() {
        Json::Object(metadata) => metadata,
        _ => serde_json::Map::new(),
    };
    if plugins::is_handle(row) {
        metadata.extend(plugins::handle_signals(row));
    }
    if let Some(collect) = row.notes.get("os_collect_config") {
        metadata.insert("os-collect-config".to_owned(), collect.clone());
    }
    json!(metadata)
}
