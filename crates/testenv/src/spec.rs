//! The specification of a lab: bridges, machines, and how the operator reaches them.
//!
//! Read and checked as a whole before anything is made. Says nothing about images, clouds or addresses of
//! nodes: what a machine is told over its wires is not the lab's affair.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::LabError;

/// The kernel takes names of network interfaces up to this length.
const LONGEST_LINK: usize = 15;

/// All that a lab consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Specification {
    /// The wires.
    pub bridges: Vec<Bridge>,
    /// Where the management controllers listen.
    pub bmc: BmcNetwork,
    /// The machines.
    pub machines: Vec<MachineSpec>,
}

/// A network of the lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    /// Its name, also of the kernel's bridge inside of the lab.
    pub name: String,
    /// The longest frame, of the bridge and of all that is plugged in.
    #[serde(default = "usual_mtu")]
    pub mtu: u32,
    /// Addresses of the lab itself on this bridge.
    #[serde(default)]
    pub addresses: Vec<IpNet>,
    /// The wire from this bridge to where the operator is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorLink>,
}

/// A link in the operator's network namespace that leads to a bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorLink {
    /// Name of the interface.
    pub link: String,
    /// Its addresses.
    #[serde(default)]
    pub addresses: Vec<IpNet>,
}

/// Where the management controllers listen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BmcNetwork {
    /// The bridge that they are plugged into.
    pub bridge: String,
    /// Whether they speak HTTPS (with a certificate of their own making) instead of HTTP.
    #[serde(default)]
    pub tls: bool,
    /// The port; without it 443 or 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl BmcNetwork {
    /// The port on which each controller listens.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.tls { 443 } else { 80 })
    }

    /// The address of the Redfish service at `address`.
    pub fn url(&self, address: IpAddr) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let host = match address {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        let usual = if self.tls { 443 } else { 80 };
        match self.port() {
            port if port == usual => format!("{scheme}://{host}"),
            port => format!("{scheme}://{host}:{port}"),
        }
    }
}

/// How a machine is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MachineKind {
    /// Namespaces of its own on the host's kernel.
    #[default]
    Container,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineSpec {
    /// Its name, unique in the lab.
    pub name: String,
    /// The identity that its firmware tells.
    pub uuid: Uuid,
    /// How it is made.
    #[serde(default)]
    pub kind: MachineKind,
    /// Network interfaces, in order: `host0`, `host1`.
    pub nics: Vec<Nic>,
    /// Disks, in order.
    pub disks: Vec<DiskSpec>,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Number of processors.
    pub cpus: u32,
    /// Address of its management controller.
    pub bmc_address: IpAddr,
}

/// A network interface of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nic {
    /// The bridge that it is plugged into.
    pub bridge: String,
    /// Its hardware address.
    pub mac: String,
}

/// A disk of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskSpec {
    /// Size in MiB.
    pub size_mib: u64,
}

fn usual_mtu() -> u32 {
    1500
}

impl Specification {
    /// Reads and checks the specification in `path`.
    pub fn read(path: &Path) -> Result<Self, LabError> {
        let unreadable = |reason: String| LabError::Specification {
            path: path.to_owned(),
            reason,
        };
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        let specification: Self =
            serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
        specification.check().map_err(unreadable)?;
        Ok(specification)
    }

    /// Finds what contradicts itself; gives a sentence that names it.
    pub fn check(&self) -> Result<(), String> {
        let mut bridges = BTreeSet::new();
        for bridge in &self.bridges {
            link_name("bridge", &bridge.name)?;
            if !bridges.insert(bridge.name.as_str()) {
                return Err(format!("bridge `{}` is there twice", bridge.name));
            }
            if let Some(operator) = &bridge.operator {
                link_name("operator link", &operator.link)?;
            }
        }
        let known = |what: &str, name: &str| {
            let names: Vec<_> = bridges.iter().map(|name| format!("`{name}`")).collect();
            if bridges.contains(name) {
                return Ok(());
            }
            Err(format!(
                "{what} is on bridge `{name}`, which is not among {}",
                names.join(", ")
            ))
        };
        known("the bmc network", &self.bmc.bridge)?;
        let mut names = BTreeSet::new();
        let mut macs = BTreeSet::new();
        let mut bmcs = BTreeSet::new();
        for machine in &self.machines {
            let name = &machine.name;
            host_name(name)?;
            if !names.insert(name) {
                return Err(format!("machine `{name}` is there twice"));
            }
            if !bmcs.insert(machine.bmc_address) {
                return Err(format!(
                    "machine `{name}`: another has the bmc address {}",
                    machine.bmc_address
                ));
            }
            if !matches!(machine.nics.len(), 1..=2) {
                return Err(format!("machine `{name}` must have one or two nics"));
            }
            if machine.disks.is_empty() {
                return Err(format!("machine `{name}` has no disk"));
            }
            for nic in &machine.nics {
                known(&format!("a nic of machine `{name}`"), &nic.bridge)?;
                hardware_address(name, &nic.mac)?;
                if !macs.insert(nic.mac.to_ascii_lowercase()) {
                    return Err(format!(
                        "machine `{name}`: another nic has the mac {}",
                        nic.mac
                    ));
                }
            }
        }
        Ok(())
    }

    /// The bridge of that name.
    pub fn bridge(&self, name: &str) -> Option<&Bridge> {
        self.bridges.iter().find(|bridge| bridge.name == name)
    }
}

fn link_name(what: &str, name: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > LONGEST_LINK || !name.chars().all(good) {
        return Err(format!(
            "{what} `{name}`: a name has 1 to {LONGEST_LINK} letters, digits, `-` or `_`"
        ));
    }
    Ok(())
}

fn host_name(name: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 40 || !name.chars().all(good) || name.starts_with('-') {
        return Err(format!(
            "machine `{name}`: a name has 1 to 40 small letters, digits or `-`"
        ));
    }
    Ok(())
}

fn hardware_address(machine: &str, mac: &str) -> Result<(), String> {
    let bytes: Option<Vec<u8>> = mac
        .split(':')
        .map(|part| (part.len() == 2).then(|| u8::from_str_radix(part, 16).ok())?)
        .collect();
    match bytes {
        // The lowest bit of the first byte marks a group, which no interface can have.
        Some(bytes) if bytes.len() == 6 && bytes[0] & 1 == 0 => Ok(()),
        Some(_) | None => Err(format!(
            "machine `{machine}`: `{mac}` is no hardware address of an interface"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> serde_json::Value {
        serde_json::json!({
            "bridges": [{"name": "prov", "addresses": ["192.0.2.254/24"], "operator": {"link": "t-prov", "addresses": ["192.0.2.1/24"]}},
                        {"name": "bmc"}],
            "bmc": {"bridge": "bmc", "port": 8000},
            "machines": [{"name": "node0", "uuid": "b1a6f9b4-4f4f-4f2e-8a5a-5d0a31a4b7c1", "memory_mib": 512, "cpus": 1,
                "nics": [{"bridge": "prov", "mac": "52:54:00:00:00:01"}], "disks": [{"size_mib": 64}], "bmc_address": "172.16.9.11"}]
        })
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut serde_json::Value), expect: &str) {
        let mut value = good();
        change(&mut value);
        let said = serde_json::from_value::<Specification>(value)
            .map_err(|error| error.to_string())
            .and_then(|spec| spec.check());
        assert!(
            said.as_ref().is_err_and(|said| said.contains(expect)),
            "{said:?}"
        );
    }

    #[test]
    fn contradictions_are_named() {
        let spec: Specification = serde_json::from_value(good()).expect("parses");
        spec.check().expect("is good");
        assert_eq!(
            spec.bmc.url(spec.machines[0].bmc_address),
            "http://172.16.9.11:8000"
        );
        check(
            |v| v["machines"][0]["nics"][0]["bridge"] = "x".into(),
            "bridge `x`",
        );
        check(
            |v| v["machines"][0]["nics"][0]["mac"] = "53:54:00:00:00:01".into(),
            "no hardware address",
        );
        check(
            |v| v["machines"][0]["nics"] = serde_json::json!([]),
            "one or two nics",
        );
        check(
            |v| v["machines"][0]["colour"] = 1.into(),
            "unknown field `colour`",
        );
        check(
            |v| v["bridges"][0]["name"] = "a-name-far-too-long".into(),
            "1 to 15",
        );
        check(
            |v| {
                let again = v["machines"][0].clone();
                v["machines"].as_array_mut().expect("list").push(again);
            },
            "machine `node0` is there twice",
        );
    }
}
