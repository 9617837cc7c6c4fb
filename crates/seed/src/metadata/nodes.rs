//! Documents and reports of the engine's servers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use engine::{Engine, EngineError, Report, ServerMetadata};
use jiff::Timestamp;

use super::{Document, Nodes, NodesError};

/// The servers that the engine keeps.
pub struct EngineNodes {
    /// The engine.
    pub engine: Engine,
}

#[async_trait]
impl Nodes for EngineNodes {
    async fn admits(&self, server: &str, secret: &str) -> Result<bool, NodesError> {
        match self.engine.may_read_metadata(server, secret).await {
            Ok(admitted) => Ok(admitted),
            Err(EngineError::NotFound { .. } | EngineError::ResourceNotFound { .. }) => Ok(false),
            Err(error) => Err(absent(server, error)),
        }
    }

    async fn document(&self, server: &str) -> Result<Document, NodesError> {
        let found = self.engine.metadata(server).await;
        found
            .map(|found| document(Arc::new(found)))
            .map_err(|error| absent(server, error))
    }

    async fn changed(
        &self,
        server: &str,
        etag: &str,
        wait: Duration,
    ) -> Result<Option<Document>, NodesError> {
        let until = Timestamp::now() + wait;
        let found = self
            .engine
            .wait_metadata(server, etag.trim_matches('"'), until)
            .await;
        let found = found.map_err(|error| absent(server, error))?;
        Ok(found.map(document))
    }

    async fn report(&self, server: &str, report: serde_json::Value) -> Result<(), NodesError> {
        let report: Report =
            serde_json::from_value(report).map_err(|source| NodesError::Report {
                server: server.to_owned(),
                source,
            })?;
        let kept = self.engine.report(server, report).await;
        kept.map_err(|error| absent(server, error))
    }
}

fn document(metadata: Arc<ServerMetadata>) -> Document {
    Document {
        etag: format!("\"{}\"", metadata.etag),
        text: Bytes::from_owner(Text(metadata)),
    }
}

/// The text of a document that others may share.
struct Text(Arc<ServerMetadata>);

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.text.as_bytes()
    }
}

fn absent(server: &str, error: EngineError) -> NodesError {
    NodesError::Document {
        server: server.to_owned(),
        source: Box::new(error),
    }
}
