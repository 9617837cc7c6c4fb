//! `fake-hardware`: no machine behind it. Everything is accepted and is so at once.
//!
//! It is what Ironic has under the same name: for trying the API and for tests of what stands above.

use async_trait::async_trait;
use serde_json::json;

use super::{BootSetting, Hardware, HardwareError, Inspection, Road};
use crate::node::{Node, Object};
use crate::state::{BootDevice, BootMode, Power, PowerTarget};

/// Cleaning steps that the fake interfaces have.
const CLEAN_STEPS: &[(&str, &str)] = &[
    ("bios", "factory_reset"),
    ("bios", "apply_configuration"),
    ("deploy", "erase_devices"),
    ("deploy", "erase_devices_metadata"),
    ("raid", "create_configuration"),
    ("raid", "delete_configuration"),
];

/// Drives nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct FakeHardware;

#[async_trait]
impl Hardware for FakeHardware {
    fn name(&self) -> &'static str {
        "fake-hardware"
    }

    fn road(&self) -> Road {
        Road::Immediate
    }

    fn interfaces(&self, kind: &str) -> &'static [&'static str] {
        match kind {
            "network" | "storage" => &["noop"],
            _ => &["fake"],
        }
    }

    fn settings(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn check(&self, _node: &Node) -> Result<(), HardwareError> {
        Ok(())
    }

    async fn power(&self, node: &Node) -> Result<Option<Power>, HardwareError> {
        Ok(node.power_state)
    }

    async fn set_power(&self, _node: &Node, target: PowerTarget) -> Result<Power, HardwareError> {
        Ok(target.end())
    }

    fn boot_devices(&self) -> &'static [BootDevice] {
        &[BootDevice::Pxe, BootDevice::Disk, BootDevice::Cdrom]
    }

    async fn boot_device(&self, node: &Node) -> Result<BootSetting, HardwareError> {
        let noted = &node.driver_internal_info;
        Ok(BootSetting {
            device: noted
                .get("boot_device")
                .and_then(|word| BootDevice::parse(word.as_str()?))
                .or(Some(BootDevice::Pxe)),
            persistent: Some(noted.get("boot_device_persistent") == Some(&json!(true))),
        })
    }

    async fn set_boot_device(
        &self,
        _node: &Node,
        _device: BootDevice,
        _persistent: bool,
    ) -> Result<(), HardwareError> {
        Ok(())
    }

    async fn set_boot_mode(&self, _node: &Node, _mode: BootMode) -> Result<(), HardwareError> {
        Ok(())
    }

    async fn set_secure_boot(&self, _node: &Node, _on: bool) -> Result<(), HardwareError> {
        Ok(())
    }

    async fn inject_nmi(&self, _node: &Node) -> Result<(), HardwareError> {
        Err(HardwareError::Unsupported {
            driver: self.name(),
            what: "injecting an NMI".into(),
        })
    }

    async fn insert_medium(&self, _node: &Node, _url: &str) -> Result<(), HardwareError> {
        Ok(())
    }

    async fn eject_medium(&self, _node: &Node) -> Result<(), HardwareError> {
        Ok(())
    }

    async fn inspect(&self, _node: &Node) -> Result<Inspection, HardwareError> {
        Ok(Inspection {
            inventory: json!({}),
            ..Inspection::default()
        })
    }

    async fn clean_step(&self, _node: &Node, step: &Object) -> Result<(), HardwareError> {
        let word = |key: &str| step.get(key).and_then(|value| value.as_str());
        let asked = (
            word("interface").unwrap_or_default(),
            word("step").unwrap_or_default(),
        );
        if CLEAN_STEPS.contains(&asked) {
            return Ok(());
        }
        Err(HardwareError::Unsupported {
            driver: self.name(),
            what: format!("clean step `{}` of interface `{}`", asked.1, asked.0),
        })
    }
}
