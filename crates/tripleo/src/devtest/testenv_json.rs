//! The testenv file: upstream's description of a test environment, read and written.
//!
//! Keys that are not known are named, so that a misspelt one does not pass silently. The file holds passwords and is
//! written with mode 0600, beside its place and then renamed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Why a testenv file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TestenvError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no testenv file.
    #[error("{} is no testenv file", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
}

/// A test environment: machines and networks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Testenv {
    /// Architecture of the machines.
    #[serde(default)]
    pub arch: String,
    /// Address of this host on the provisioning network.
    #[serde(rename = "host-ip", default)]
    pub host_ip: String,
    /// Address of the seed.
    #[serde(rename = "seed-ip", default)]
    pub seed_ip: String,
    /// The machines.
    #[serde(default)]
    pub nodes: Vec<Machine>,
    /// The provisioning network.
    #[serde(rename = "baremetal-network", default)]
    pub baremetal_network: BaremetalNetwork,
    /// Everything else that upstream's tools or others keep in this file.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// One machine and how to drive it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Machine {
    /// A name; upstream has none, then machines are counted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// MiB of memory, as text or number.
    #[serde(default)]
    pub memory: Value,
    /// Processors.
    #[serde(default)]
    pub cpu: Value,
    /// Architecture.
    #[serde(default)]
    pub arch: String,
    /// GiB of the root disk.
    #[serde(default)]
    pub disk: Value,
    /// Network cards, the one to deploy over first.
    #[serde(default)]
    pub mac: Vec<String>,
    /// How it is driven; `redfish` here.
    #[serde(default)]
    pub pm_type: String,
    /// User of the BMC.
    #[serde(default)]
    pub pm_user: String,
    /// Address of the BMC: a URL, or a host for https.
    #[serde(default)]
    pub pm_addr: String,
    /// Password of the BMC.
    #[serde(default)]
    pub pm_password: String,
    /// The machine's path at its BMC, for those with several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pm_system_id: Option<String>,
}

/// Addresses of the provisioning network.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct BaremetalNetwork {
    /// All addresses.
    #[serde(default)]
    pub cidr: String,
    /// Where machines send what is not local.
    #[serde(rename = "gateway-ip", default)]
    pub gateway_ip: String,
    /// What the seed has and may give.
    #[serde(default)]
    pub seed: SeedRange,
    /// Ranges of the other clouds.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl BaremetalNetwork {
    /// The same with what upstream's scripts take where the file names no addresses: 192.0.2.0/24, and the seed as its
    /// machines' gateway.
    pub fn completed(mut self) -> Self {
        if self.cidr.is_empty() {
            "192.0.2.0/24".clone_into(&mut self.cidr);
        }
        if self.gateway_ip.is_empty() {
            self.gateway_ip = match self.cidr.parse::<ipnet::Ipv4Net>() {
                Ok(net) => net
                    .hosts()
                    .next()
                    .map_or_else(String::new, |first| first.to_string()),
                // Whoever takes the network says what is wrong with it.
                Err(_) => String::new(),
            };
        }
        if self.seed.ip.is_empty() {
            self.seed.ip.clone_from(&self.gateway_ip);
        }
        self
    }
}

/// The seed's part of the provisioning network.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SeedRange {
    /// The seed's own address.
    #[serde(default)]
    pub ip: String,
    /// First address for machines.
    #[serde(rename = "range-start", default)]
    pub range_start: String,
    /// Last address for machines.
    #[serde(rename = "range-end", default)]
    pub range_end: String,
}

/// Keys beside the fields above that upstream's files have.
const UPSTREAM: &[&str] = &[
    "ssh-key",
    "ssh-user",
    "power_manager",
    "seed-route-dev",
    "remote-operations",
    "remote-host",
    "env-num",
    "seed",
    "undercloud",
    "overcloud",
];

impl Testenv {
    /// Reads a testenv file; returns with it the names of keys that nobody knows.
    pub fn read(path: &Path) -> Result<(Self, Vec<String>), TestenvError> {
        let text = fs::read_to_string(path).map_err(|source| TestenvError::Read {
            path: path.to_owned(),
            source,
        })?;
        let testenv: Self = serde_json::from_str(&text).map_err(|source| TestenvError::Parse {
            path: path.to_owned(),
            source,
        })?;
        let unknown = testenv
            .other
            .keys()
            .filter(|key| !UPSTREAM.contains(&key.as_str()))
            .cloned()
            .collect();
        Ok((testenv, unknown))
    }

    /// Writes the file whole or not at all, readable by its owner only.
    pub fn write(&self, path: &Path) -> Result<(), TestenvError> {
        let failed = |source| TestenvError::Write {
            path: path.to_owned(),
            source,
        };
        let text = serde_json::to_string_pretty(self).map_err(|source| failed(source.into()))?;
        seed::write_private(path, text.as_bytes()).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn upstreams_file_is_read_and_what_we_do_not_use_survives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("testenv.json");
        fs::write(
            &path,
            r#"{"arch": "amd64", "host-ip": "192.0.2.1", "ssh-user": "me", "nods": [],
                "nodes": [{"memory": "2048", "cpu": 1, "mac": ["52:54:00:00:00:01"], "pm_type": "redfish"}],
                "overcloud": {"password": "p"}}"#,
        )
        .unwrap();
        let (testenv, unknown) = Testenv::read(&path).unwrap();
        assert_eq!(unknown, ["nods"]);
        testenv.write(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let again: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(again["overcloud"]["password"], "p");
        assert_eq!(again["nodes"][0]["memory"], "2048");
    }

    #[test]
    fn a_broken_file_is_named_with_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("testenv.json");
        fs::write(&path, "{\"nodes\": 3}").unwrap();
        let error = Testenv::read(&path).unwrap_err();
        assert!(error.to_string().contains("testenv.json"), "{error}");
    }

    #[test]
    fn addresses_that_a_file_leaves_out_are_upstreams() {
        let read = |text: &str| {
            serde_json::from_str::<BaremetalNetwork>(text)
                .unwrap()
                .completed()
        };
        let usual = read("{}");
        assert_eq!(
            (usual.cidr.as_str(), usual.seed.ip.as_str()),
            ("192.0.2.0/24", "192.0.2.1")
        );
        let own = read(r#"{"cidr": "10.1.0.0/16", "seed": {"ip": "10.1.0.9"}}"#);
        assert_eq!(
            (own.gateway_ip.as_str(), own.seed.ip.as_str()),
            ("10.1.0.1", "10.1.0.9")
        );
    }
}
