//! The cloud that the engine sees, over bare metal: networks, subnets, ports with fixed addresses, key pairs,
//! and servers that are nodes with an image.
//!
//! What is wanted is kept in the database; a server moves on each time that it is asked for, by calls that may
//! be made again. Addresses reach machines by a DHCP server of ours ([`DhcpSettings`]) and by the config drive.
//! Routers, floating addresses and filters are not made: no machine stands between the nodes and the wire.

mod addresses;
mod config_drive;
mod dhcp;
mod driver;
mod failure;
mod flavors;
mod network;
mod plug;
mod rows;
mod servers;
mod settings;
mod state;
mod wanted;

use std::sync::Arc;

use baremetal::Baremetal;
use store::{Read, Store, Tx};
use tokio::sync::watch;

pub use dhcp::{DhcpError, DhcpSettings};
pub use flavors::Flavor;
pub use rows::{Item, MIGRATIONS, PortNote, Record, ServerNote};
pub use settings::{Images, Settings};
pub use state::ServerState;

use cloud::CloudError;
use dhcp::Dhcp;
use failure::Failure;

/// The cloud over bare metal. Cheap to clone.
#[derive(Clone)]
pub struct MetalCloud {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    metal: Baremetal,
    settings: Settings,
    dhcp: Option<Dhcp>,
    revision: watch::Sender<u64>,
}

impl MetalCloud {
    /// Opens what is kept in `store`, whose migrations include [`MIGRATIONS`], and starts the DHCP server.
    pub async fn open(
        store: Store,
        metal: Baremetal,
        settings: Settings,
    ) -> Result<Self, CloudError> {
        let dhcp = settings.dhcp.clone().map(Dhcp::new);
        let inner = Inner {
            store,
            metal,
            settings,
            dhcp,
            revision: watch::channel(1).0,
        };
        let cloud = Self {
            inner: Arc::new(inner),
        };
        cloud.write(flavors::make_default).await?;
        cloud.serve_addresses().await?;
        cloud.follow_nodes();
        Ok(cloud)
    }

    /// The nodes beneath.
    pub fn nodes(&self) -> &Baremetal {
        &self.inner.metal
    }

    /// Tells watchers of each change of a node, as long as this cloud lives.
    fn follow_nodes(&self) {
        let mut changes = self.inner.metal.watch();
        let cloud = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                let Some(inner) = cloud.upgrade() else {
                    return;
                };
                inner.revision.send_modify(|count| *count += 1);
            }
        });
    }

    async fn read<T, F>(&self, work: F) -> Result<T, CloudError>
    where
        F: FnOnce(&Read<'_>) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        self.inner
            .store
            .read(work)
            .await
            .map_err(Failure::into_cloud)
    }

    async fn write<T, F>(&self, work: F) -> Result<T, CloudError>
    where
        F: FnOnce(&Tx<'_>) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        let result = self
            .inner
            .store
            .write(work)
            .await
            .map_err(Failure::into_cloud);
        if result.is_ok() {
            self.inner.revision.send_modify(|count| *count += 1);
        }
        result
    }
}
