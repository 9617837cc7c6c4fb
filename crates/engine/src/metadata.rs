//! Node documents, and who waits for them.

use std::collections::HashMap;
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
    bells: Mutex<HashMap<String, Weak<Notify>>>,
}

impl Bells {
    /// The bell of a server.
    fn of(&self, server: &str) -> Arc<Notify> {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get(server).and_then(Weak::upgrade) {
            return bell;
        }
        if bells.len() > 64 && bells.len().is_power_of_two() {
            bells.retain(|_, bell| bell.strong_count() > 0);
        }
        let bell = Arc::new(Notify::new());
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
                bell.notify_waiters();
            }
        }
    }
}

/// A server's row.
pub(crate) struct Found {
    pub live: Arc<Live>,
    pub row: Uuid,
    pub server_id: String,
    pub name: String,
    pub secret: Option<String>,
    metadata: Json,
}

impl Core {
    /// Finds the row of a server by its own id (the node's key in metadata URLs) or the physical id.
    pub fn server(&self, key: &str) -> Option<Found> {
        let row_id = Uuid::parse_str(key).ok();
        for live in self.all() {
            let root = live.lock();
            let mut found = None;
            root.node.each_row(&mut |_, row| {
                let is_it = row.physical_id.as_deref() == Some(key)
                    || Some(row.id) == row_id
                    || row.note("node") == Some(key);
                if is_it && plugins::is_server(row) && found.is_none() {
                    found = Some(row.clone());
                }
            });
            drop(root);
            if let Some(row) = found {
                return Some(Found {
                    live,
                    row: row.id,
                    server_id: row.physical_id.clone().unwrap_or_default(),
                    name: plugins::server_name(&row).to_owned(),
                    secret: row.note("metadata_secret").map(str::to_owned),
                    metadata: own_metadata(&row),
                });
            }
        }
        None
    }

    /// The node document of a server.
    pub async fn document(&self, key: &str) -> Result<ServerMetadata, EngineError> {
        let found = self.server(key).ok_or_else(|| EngineError::NotFound {
            what: "The Server",
            name: key.to_owned(),
        })?;
        let id = found.server_id.clone();
        let read = self
            .setup
            .store
            .read(move |tx| deployments::of_server(tx, None, &id))
            .await;
        let mut document = found.metadata;
        document["deployments"] = Json::Array(read?);
        let digest = Sha256::digest(document.to_string().as_bytes());
        Ok(ServerMetadata {
            document,
            etag: hex::encode(&digest[..16]),
        })
    }

    /// The node document as soon as it is another one.
    pub async fn wait_document(
        &self,
        key: &str,
        etag: &str,
        until: Timestamp,
    ) -> Result<Option<ServerMetadata>, EngineError> {
        let found = self.server(key).ok_or_else(|| EngineError::NotFound {
            what: "The Server",
            name: key.to_owned(),
        })?;
        let bell = self.bells.of(&found.server_id);
        drop(found);
        loop {
            // The place in the queue is taken before the look, so nothing falls in between.
            let mut rung = std::pin::pin!(bell.notified());
            rung.as_mut().enable();
            {
                let document = self.document(key).await?;
                if document.etag != etag {
                    return Ok(Some(document));
                }
                // Let go of here: thousands wait below, and a document takes kilobytes.
            }
            tokio::select! {
                () = rung => {}
                () = self.setup.clock.sleep_until(until) => return Ok(None),
            }
        }
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
