//! What is done with a machine at once, within the request: boot device, boot mode, secure boot, NMI.
//!
//! None of it moves a node along its life; a node that is being worked on is waited for.

use serde_json::json;

use crate::error::MetalError;
use crate::hardware::BootSetting;
use crate::metal::Baremetal;
use crate::node::{Node, NodeId};
use crate::state::{BootDevice, BootMode};

impl Baremetal {
    /// From what the machine boots, as its BMC says.
    pub async fn boot_device(&self, id: NodeId) -> Result<BootSetting, MetalError> {
        let node = self.node(id).await?;
        let hardware = self.hardware_of(&node)?;
        hardware
            .boot_device(&node)
            .await
            .map_err(MetalError::Hardware)
    }

    /// Sets from what the machine boots.
    pub async fn set_boot_device(
        &self,
        id: NodeId,
        device: BootDevice,
        persistent: bool,
    ) -> Result<(), MetalError> {
        let node = self.free(id).await?;
        self.hardware_of(&node)?
            .set_boot_device(&node, device, persistent)
            .await
            .map_err(MetalError::Hardware)?;
        self.note(id, move |node| {
            let noted = &mut node.driver_internal_info;
            noted.insert("boot_device".into(), json!(device.word()));
            noted.insert("boot_device_persistent".into(), json!(persistent));
        })
        .await
    }

    /// Sets how the machine's firmware boots.
    pub async fn set_boot_mode(&self, id: NodeId, mode: BootMode) -> Result<(), MetalError> {
        let node = self.free(id).await?;
        self.hardware_of(&node)?
            .set_boot_mode(&node, mode)
            .await
            .map_err(MetalError::Hardware)?;
        self.note(id, move |node| node.boot_mode = Some(mode)).await
    }

    /// Switches secure boot.
    pub async fn set_secure_boot(&self, id: NodeId, on: bool) -> Result<(), MetalError> {
        let node = self.free(id).await?;
        self.hardware_of(&node)?
            .set_secure_boot(&node, on)
            .await
            .map_err(MetalError::Hardware)?;
        self.note(id, move |node| node.secure_boot = Some(on)).await
    }

    /// Sends a non-maskable interrupt.
    pub async fn inject_nmi(&self, id: NodeId) -> Result<(), MetalError> {
        let node = self.free(id).await?;
        self.hardware_of(&node)?
            .inject_nmi(&node)
            .await
            .map_err(MetalError::Hardware)
    }

    async fn free(&self, id: NodeId) -> Result<Node, MetalError> {
        self.unlocked(id).await?;
        self.node(id).await
    }

    async fn note(
        &self,
        id: NodeId,
        change: impl FnOnce(&mut Node) + Send + 'static,
    ) -> Result<(), MetalError> {
        let note = move |node: &mut Node| {
            change(node);
            Ok(())
        };
        self.update_node(id, note).await.map(drop)
    }
}
