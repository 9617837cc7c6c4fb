//! What the cloud over bare metal is told by the server that it is part of.

use std::sync::Arc;

use async_trait::async_trait;
use baremetal::Image;
use cloud::Named;
use jiff::Timestamp;

use crate::dhcp::DhcpSettings;

/// Where images are found.
#[async_trait]
pub trait Images: Send + Sync {
    /// All images, by id and visible name.
    async fn names(&self) -> Result<Vec<Named>, String>;

    /// What is written to disks for the image with this id; the error says why it cannot be.
    async fn raw(&self, id: &str) -> Result<Image, String>;
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
