//! What the cloud over bare metal is told by the server that it is part of.

use std::sync::Arc;

use async_trait::async_trait;
use baremetal::Image;
use jiff::Timestamp;

use crate::dhcp::DhcpSettings;

/// An image of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogImage {
    /// Its id.
    pub id: String,
    /// The name that users see.
    pub name: String,
    /// Its content.
    pub image: Image,
}

/// Where images are found.
#[async_trait]
pub trait Images: Send + Sync {
    /// All images that a project may use and that are ready to be written.
    async fn images(&self, project: &str) -> Result<Vec<CatalogImage>, String>;
}

/// What the cloud over bare metal is told.
#[derive(Clone)]
pub struct Settings {
    /// Where images are found.
    pub images: Arc<dyn Images>,
    /// How addresses are given to machines; without it the network's own DHCP must know them.
    pub dhcp: Option<DhcpSettings>,
    /// PEM of the authority of the metadata's certificate, for the config drive.
    pub ca: Option<String>,
    /// The zone that servers are told to be in.
    pub zone: String,
    /// The clock.
    pub now: fn() -> Timestamp,
}
