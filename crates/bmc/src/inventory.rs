//! What a machine is made of: memory, processors, network ports, disks.
//!
//! A part that the BMC does not list, or refuses to show, is left out: half an inventory is better than
//! none. A BMC that does not answer at all is an error.

use serde_json::Value;

use crate::redfish::{link, text};
use crate::{BmcError, Cpu, Disk, Inventory, Nic, Redfish};

impl Redfish {
    /// Reads what the machine is made of. May take a minute on slow controllers.
    pub async fn inventory(&self) -> Result<Inventory, BmcError> {
        let what = "read its inventory";
        let (_, answer) = self.read_system(what).await?;
        let body = &answer.body;
        let cpus = self.parts(&body["Processors"], what).await?;
        let nics = self.parts(&body["EthernetInterfaces"], what).await?;
        let mut cpus: Vec<Cpu> = cpus.iter().filter_map(cpu_of).collect();
        if cpus.is_empty() {
            cpus.extend(summary_of(&body["ProcessorSummary"]));
        }
        Ok(Inventory {
            system: self.system().await?,
            memory_mib: memory_of(&body["MemorySummary"]),
            cpus,
            nics: nics.iter().filter_map(nic_of).collect(),
            disks: self.disks(body, what).await?,
        })
    }

    async fn disks(&self, system: &Value, what: &str) -> Result<Vec<Disk>, BmcError> {
        let mut disks = Vec::new();
        for storage in self.parts(&system["Storage"], what).await? {
            for drive in storage["Drives"].as_array().into_iter().flatten() {
                if let Some(path) = link(drive)
                    && let Some(body) = self.part(&path, what).await?
                {
                    disks.extend(drive_of(&body));
                }
            }
        }
        if disks.is_empty() {
            for storage in self.parts(&system["SimpleStorage"], what).await? {
                let devices = storage["Devices"].as_array().into_iter().flatten();
                disks.extend(devices.filter_map(drive_of));
            }
        }
        Ok(disks)
    }

    /// The members of the collection that `from` links to.
    async fn parts(&self, from: &Value, what: &str) -> Result<Vec<Value>, BmcError> {
        let Some(collection) = link(from) else {
            return Ok(Vec::new());
        };
        let members = match self.members(&collection, what).await {
            Ok(members) => members,
            Err(BmcError::Refused { .. } | BmcError::Malformed { .. }) => return Ok(Vec::new()),
            Err(other) => return Err(other),
        };
        let mut parts = Vec::new();
        for member in members {
            parts.extend(self.part(&member, what).await?);
        }
        Ok(parts)
    }

    async fn part(&self, path: &str, what: &str) -> Result<Option<Value>, BmcError> {
        match self.http.get(path, what).await {
            Ok(answer) => Ok(Some(answer.body)),
            Err(BmcError::Refused { .. } | BmcError::Malformed { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }
}

fn memory_of(summary: &Value) -> u64 {
    let gib = summary["TotalSystemMemoryGiB"].as_f64().unwrap_or(0.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a size in MiB is far below 2^53, and is clamped"
    )]
    let mib = (gib.max(0.0) * 1024.0).round() as u64;
    mib
}

fn present(part: &Value) -> bool {
    part["Status"]["State"] != "Absent"
}

fn cpu_of(body: &Value) -> Option<Cpu> {
    let kind = body["ProcessorType"].as_str().unwrap_or("CPU");
    if kind != "CPU" || !present(body) {
        return None;
    }
    let cores = body["TotalCores"].as_u64().unwrap_or(0);
    let words = [
        body["InstructionSet"].as_str(),
        body["ProcessorArchitecture"].as_str(),
    ];
    Some(Cpu {
        model: text(&body["Model"]),
        cores,
        threads: body["TotalThreads"].as_u64().unwrap_or(cores),
        arch: words.into_iter().flatten().find_map(arch_of),
    })
}

fn summary_of(summary: &Value) -> Option<Cpu> {
    let cores = summary["CoreCount"]
        .as_u64()
        .or(summary["Count"].as_u64())
        .filter(|cores| *cores > 0)?;
    Some(Cpu {
        model: text(&summary["Model"]),
        cores,
        threads: summary["LogicalProcessorCount"].as_u64().unwrap_or(cores),
        arch: None,
    })
}

fn arch_of(word: &str) -> Option<String> {
    let arch = match word {
        "x86-64" | "x86" => "x86_64",
        "ARM-A64" | "ARM" => "aarch64",
        "PowerISA" | "Power" => "ppc64le",
        _ => return None,
    };
    Some(arch.to_owned())
}

fn nic_of(body: &Value) -> Option<Nic> {
    let mac = text(&body["MACAddress"]).or(text(&body["PermanentMACAddress"]))?;
    Some(Nic {
        name: text(&body["Name"])
            .or(text(&body["Id"]))
            .unwrap_or_default(),
        mac: mac.to_lowercase().replace('-', ":"),
        enabled: present(body) && body["InterfaceEnabled"].as_bool().unwrap_or(true),
        speed_mbps: body["SpeedMbps"].as_u64(),
    })
}

fn drive_of(body: &Value) -> Option<Disk> {
    let bytes = body["CapacityBytes"].as_u64().filter(|bytes| *bytes > 0)?;
    Some(Disk {
        name: text(&body["Name"])
            .or(text(&body["Id"]))
            .unwrap_or_default(),
        bytes,
        model: text(&body["Model"]),
        serial: text(&body["SerialNumber"]),
        rotational: match body["MediaType"].as_str() {
            Some("HDD") => Some(true),
            Some("SSD") => Some(false),
            Some(_) | None => None,
        },
    })
}
