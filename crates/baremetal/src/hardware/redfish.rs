//! `redfish`: machines with a Redfish BMC.
//!
//! Settings come from `driver_info` under Ironic's keys. Clients of BMCs are kept, so that sessions are, and
//! are made anew when the settings change.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bmc::{
    BmcError, BmcSettings, BootFrequency, BootTarget, Limits, PowerAction, PowerState, Redfish,
    Secret, Verify,
};
use serde_json::{Value, json};

use super::{BootSetting, Hardware, HardwareError, Inspection, Road};
use crate::node::{Node, NodeId, Object};
use crate::state::{BootDevice, BootMode, Power, PowerTarget};

const SETTINGS: &[(&str, &str)] = &[
    (
        "redfish_address",
        "Scheme and host of the BMC, such as https://192.0.2.10. Required.",
    ),
    (
        "redfish_system_id",
        "Path of the system, such as /redfish/v1/Systems/1. Not needed where the BMC has one system.",
    ),
    ("redfish_username", "User name at the BMC."),
    ("redfish_password", "Password of that user."),
    (
        "redfish_verify_ca",
        "Whether the BMC's certificate is checked, or a file of certificate authorities. Default: true.",
    ),
    (
        "redfish_auth_type",
        "How to log in: auto, basic or session. Default: auto.",
    ),
];

const BOOT_DEVICES: &[(BootDevice, BootTarget)] = &[
    (BootDevice::Pxe, BootTarget::Pxe),
    (BootDevice::Disk, BootTarget::Hdd),
    (BootDevice::Cdrom, BootTarget::Cd),
    (BootDevice::Bios, BootTarget::BiosSetup),
    (BootDevice::UefiHttp, BootTarget::UefiHttp),
];

/// Drives machines over Redfish.
#[derive(Debug, Default)]
pub struct RedfishHardware {
    limits: Option<Limits>,
    clients: Mutex<HashMap<NodeId, (Object, Arc<Redfish>)>>,
}

impl RedfishHardware {
    /// With the usual patience.
    pub fn new() -> Self {
        Self::default()
    }

    /// With other limits of time and tries.
    pub fn with_limits(limits: Limits) -> Self {
        Self {
            limits: Some(limits),
            clients: Mutex::default(),
        }
    }

    fn client(&self, node: &Node) -> Result<Arc<Redfish>, HardwareError> {
        let mut clients = self
            .clients
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((with, client)) = clients.get(&node.uuid)
            && *with == node.driver_info
        {
            return Ok(client.clone());
        }
        let mut settings = settings_of(&node.driver_info)?;
        if let Some(limits) = self.limits {
            settings.limits = limits;
        }
        let client = Arc::new(Redfish::new(settings).map_err(HardwareError::Bmc)?);
        clients.insert(node.uuid, (node.driver_info.clone(), client.clone()));
        Ok(client)
    }
}

#[async_trait]
impl Hardware for RedfishHardware {
    fn name(&self) -> &'static str {
        "redfish"
    }

    fn road(&self) -> Road {
        Road::Agent
    }

    fn interfaces(&self, kind: &str) -> &'static [&'static str] {
        match kind {
            "boot" => &["redfish-virtual-media"],
            "inspect" | "management" | "power" => &["redfish"],
            "deploy" => &["direct"],
            "network" | "storage" => &["noop"],
            "bios" => &["no-bios"],
            "console" => &["no-console"],
            "firmware" => &["no-firmware"],
            "raid" => &["no-raid"],
            "rescue" => &["no-rescue"],
            "vendor" => &["no-vendor"],
            _ => &[],
        }
    }

    fn settings(&self) -> &'static [(&'static str, &'static str)] {
        SETTINGS
    }

    fn check(&self, node: &Node) -> Result<(), HardwareError> {
        self.client(node).map(drop)
    }

    async fn power(&self, node: &Node) -> Result<Option<Power>, HardwareError> {
        let state = self
            .client(node)?
            .power_state()
            .await
            .map_err(HardwareError::Bmc)?;
        Ok(Some(power_of(state)))
    }

    async fn set_power(&self, node: &Node, target: PowerTarget) -> Result<Power, HardwareError> {
        let action = match target {
            PowerTarget::On => PowerAction::On,
            PowerTarget::Off => PowerAction::Off,
            PowerTarget::Reboot => PowerAction::Reboot,
            PowerTarget::SoftOff => PowerAction::SoftOff,
            PowerTarget::SoftReboot => PowerAction::SoftReboot,
        };
        let state = self
            .client(node)?
            .set_power(action)
            .await
            .map_err(HardwareError::Bmc)?;
        Ok(power_of(state))
    }

    fn boot_devices(&self) -> &'static [BootDevice] {
        &[
            BootDevice::Pxe,
            BootDevice::Disk,
            BootDevice::Cdrom,
            BootDevice::Bios,
            BootDevice::UefiHttp,
        ]
    }

    async fn boot_device(&self, node: &Node) -> Result<BootSetting, HardwareError> {
        let boot = self
            .client(node)?
            .boot_override()
            .await
            .map_err(HardwareError::Bmc)?;
        let target = match boot.target {
            Some(BootTarget::UsbCd) => Some(BootTarget::Cd),
            other => other,
        };
        Ok(BootSetting {
            device: BOOT_DEVICES
                .iter()
                .find(|(_, word)| Some(*word) == target)
                .map(|(device, _)| *device),
            persistent: match boot.frequency {
                BootFrequency::Once => Some(false),
                BootFrequency::Continuous => Some(true),
                BootFrequency::Disabled => None,
            },
        })
    }

    async fn set_boot_device(
        &self,
        node: &Node,
        device: BootDevice,
        persistent: bool,
    ) -> Result<(), HardwareError> {
        let (_, target) = BOOT_DEVICES
            .iter()
            .find(|(known, _)| *known == device)
            .ok_or_else(|| HardwareError::Unsupported {
                driver: self.name(),
                what: format!("boot device `{device}`"),
            })?;
        let frequency = if persistent {
            BootFrequency::Continuous
        } else {
            BootFrequency::Once
        };
        self.client(node)?
            .set_boot_override(*target, frequency)
            .await
            .map_err(HardwareError::Bmc)
    }

    async fn set_boot_mode(&self, node: &Node, mode: BootMode) -> Result<(), HardwareError> {
        let mode = match mode {
            BootMode::Bios => bmc::BootMode::Bios,
            BootMode::Uefi => bmc::BootMode::Uefi,
        };
        self.client(node)?
            .set_boot_mode(mode)
            .await
            .map_err(HardwareError::Bmc)
    }

    async fn set_secure_boot(&self, node: &Node, on: bool) -> Result<(), HardwareError> {
        self.client(node)?
            .set_secure_boot(on)
            .await
            .map_err(HardwareError::Bmc)
    }

    async fn inject_nmi(&self, node: &Node) -> Result<(), HardwareError> {
        self.client(node)?
            .inject_nmi()
            .await
            .map_err(HardwareError::Bmc)
    }

    async fn insert_medium(&self, node: &Node, url: &str) -> Result<(), HardwareError> {
        self.client(node)?
            .insert_media(url)
            .await
            .map_err(HardwareError::Bmc)
    }

    async fn eject_medium(&self, node: &Node) -> Result<(), HardwareError> {
        match self.client(node)?.eject_media().await {
            // A machine without virtual media has nothing in it.
            Ok(()) | Err(BmcError::Unsupported { .. }) => Ok(()),
            Err(error) => Err(HardwareError::Bmc(error)),
        }
    }

    async fn inspect(&self, node: &Node) -> Result<Inspection, HardwareError> {
        let seen = self
            .client(node)?
            .inventory()
            .await
            .map_err(HardwareError::Bmc)?;
        let mut properties = Object::new();
        if seen.memory_mib > 0 {
            properties.insert("memory_mb".into(), json!(seen.memory_mib));
        }
        if seen.threads() > 0 {
            properties.insert("cpus".into(), json!(seen.threads()));
        }
        if let Some(arch) = seen.arch() {
            properties.insert("cpu_arch".into(), json!(arch));
        }
        // The smallest disk: what fits there fits on whichever is chosen.
        if let Some(smallest) = seen.disks.iter().map(|disk| disk.bytes).min() {
            properties.insert("local_gb".into(), json!(smallest >> 30));
        }
        let macs = seen.nics.iter().map(|nic| nic.mac.clone()).collect();
        Ok(Inspection {
            properties,
            macs,
            inventory: inventory(&seen),
        })
    }

    async fn clean_step(&self, _node: &Node, step: &Object) -> Result<(), HardwareError> {
        let word = |key: &str| step.get(key).and_then(Value::as_str).unwrap_or_default();
        Err(HardwareError::Unsupported {
            driver: self.name(),
            what: format!(
                "clean step `{}` of interface `{}`",
                word("step"),
                word("interface")
            ),
        })
    }
}

fn power_of(state: PowerState) -> Power {
    match state {
        PowerState::On | PowerState::PoweringOff => Power::On,
        PowerState::Off | PowerState::PoweringOn => Power::Off,
        PowerState::Unknown => Power::Error,
    }
}

/// The inventory in the form that ironic-python-agent gives it, as far as a BMC knows.
fn inventory(seen: &bmc::Inventory) -> Value {
    let interfaces: Vec<Value> = seen
        .nics
        .iter()
        .map(|nic| json!({"name": nic.name, "mac_address": nic.mac, "has_carrier": nic.enabled, "speed_mbps": nic.speed_mbps}))
        .collect();
    let disks: Vec<Value> = seen
        .disks
        .iter()
        .map(|disk| json!({"name": disk.name, "size": disk.bytes, "model": disk.model, "serial": disk.serial, "rotational": disk.rotational}))
        .collect();
    json!({
        "cpu": {
            "architecture": seen.arch(),
            "count": seen.threads(),
            "model_name": seen.cpus.first().and_then(|cpu| cpu.model.clone()),
        },
        "memory": {"physical_mb": seen.memory_mib},
        "interfaces": interfaces,
        "disks": disks,
        "system_vendor": {
            "manufacturer": seen.system.manufacturer,
            "product_name": seen.system.model,
            "serial_number": seen.system.serial,
        },
        "boot": {"current_boot_mode": seen.system.boot.mode.map(|mode| match mode {
            bmc::BootMode::Bios => "bios",
            bmc::BootMode::Uefi => "uefi",
        })},
    })
}

/// Reads `driver_info`.
fn settings_of(info: &Object) -> Result<BmcSettings, HardwareError> {
    let text = |key: &'static str| match info.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(HardwareError::Wrong {
            key,
            reason: format!("a text is expected, not {other}"),
        }),
    };
    let address = text("redfish_address")?.ok_or(HardwareError::Missing {
        key: "redfish_address",
    })?;
    // A bare host means HTTPS, as Ironic reads it.
    let address = if address.contains("://") {
        address
    } else {
        format!("https://{address}")
    };
    let mut settings = BmcSettings::new(address.parse().map_err(|error| HardwareError::Wrong {
        key: "redfish_address",
        reason: format!("{error}"),
    })?);
    settings.system = text("redfish_system_id")?;
    settings.username = text("redfish_username")?;
    settings.password = text("redfish_password")?.map(Secret::new);
    settings.verify = verify_of(info.get("redfish_verify_ca"))?;
    settings.auth = match text("redfish_auth_type")?.as_deref() {
        None | Some("auto") => bmc::Auth::Auto,
        Some("basic") => bmc::Auth::Basic,
        Some("session") => bmc::Auth::Session,
        Some(other) => {
            return Err(HardwareError::Wrong {
                key: "redfish_auth_type",
                reason: format!("`{other}` is none of auto, basic, session"),
            });
        }
    };
    Ok(settings)
}

fn verify_of(value: Option<&Value>) -> Result<Verify, HardwareError> {
    let wrong = |reason: String| HardwareError::Wrong {
        key: "redfish_verify_ca",
        reason,
    };
    match value {
        None | Some(Value::Null | Value::Bool(true)) => Ok(Verify::System),
        Some(Value::Bool(false)) => Ok(Verify::No),
        Some(Value::String(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(Verify::System),
            "false" | "0" | "no" | "off" => Ok(Verify::No),
            _ => {
                let path = PathBuf::from(text);
                if path.is_file() {
                    Ok(Verify::CaFile(path))
                } else {
                    Err(wrong(format!("there is no file `{text}`")))
                }
            }
        },
        Some(other) => Err(wrong(format!(
            "a boolean or the path of a file is expected, not {other}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(info: Value) -> Result<BmcSettings, HardwareError> {
        settings_of(info.as_object().expect("an object"))
    }

    #[test]
    fn settings_are_read_as_ironic_reads_them() {
        let missing = of(json!({})).expect_err("no address");
        assert!(missing.to_string().contains("redfish_address"));
        let bare = of(json!({"redfish_address": "192.0.2.1"})).expect("a bare host");
        assert_eq!(bare.address.scheme(), "https");
        assert_eq!(bare.verify, Verify::System);
        let open =
            of(json!({"redfish_address": "http://h", "redfish_verify_ca": "False"})).expect("text");
        assert_eq!(open.verify, Verify::No);
        let file = of(json!({"redfish_address": "http://h", "redfish_verify_ca": "/no/such"}));
        assert!(file.is_err());
        assert!(of(json!({"redfish_address": 3})).is_err());
    }
}
