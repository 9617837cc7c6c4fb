//! The lab that devtest makes: which networks and machines, and how the testenv file tells of them.
//!
//! Only decides; starting it is the testenv step's.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::json;
use sha2::{Digest, Sha256};
use testenv::spec::{
    BmcNetwork, Bridge, DiskSpec, MachineKind, MachineSpec, Nic, OperatorLink, Specification,
};

use super::settings::DevtestArgs;
use super::testenv_json::{BaremetalNetwork, Machine, SeedRange, Testenv};

/// This host on the provisioning network; upstream's devtest has used this network since 2013.
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// First address for machines.
pub const RANGE_START: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// Last address for machines.
pub const RANGE_END: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 200);
/// Addresses for machines that are being deployed or cleaned.
pub const DEPLOY_RANGE: &str = "192.0.2.201-192.0.2.250";
/// Seconds from power on until a machine's deploy agent calls. Virtual machines have no firmware; a hundred of them at
/// once on two processors still take a while.
pub const BOOT_TIMEOUT: &str = "180";
/// This host's link to the provisioning network.
pub const LINK: &str = "tripleo-prov";
/// All addresses of the provisioning network.
pub const CIDR: &str = "192.0.2.0/24";
/// The lab itself on the provisioning network: it fetches boot media from there.
const LAB: &str = "192.0.2.254/24";
/// The network of the management controllers; this host has its first address, machines follow from the 11th.
const BMC_HOST: &str = "203.0.113.1/24";
const BMC_FIRST: u8 = 11;
/// More machines than this do not fit on the networks above.
pub const MOST: u32 = 150;

/// What the lab consists of.
pub fn specification(args: &DevtestArgs) -> anyhow::Result<Specification> {
    let operator = |link: &str, address: &str| -> anyhow::Result<Option<OperatorLink>> {
        Ok(Some(OperatorLink {
            link: link.to_owned(),
            addresses: vec![address.parse()?],
        }))
    };
    let specification = Specification {
        bridges: vec![
            Bridge {
                name: "ctlplane".to_owned(),
                mtu: 1500,
                addresses: vec![LAB.parse()?],
                operator: operator(LINK, &format!("{HOST}/24"))?,
            },
            Bridge {
                name: "bmc".to_owned(),
                mtu: 1500,
                addresses: Vec::new(),
                operator: operator("tripleo-bmc", BMC_HOST)?,
            },
        ],
        bmc: BmcNetwork {
            bridge: "bmc".to_owned(),
            tls: false,
            port: None,
        },
        machines: (0..args.node_count)
            .map(|number| machine(args, number))
            .collect(),
    };
    specification.check().map_err(anyhow::Error::msg)?;
    Ok(specification)
}

fn machine(args: &DevtestArgs, number: u32) -> MachineSpec {
    let name = format!("node-{number}");
    // The same machine has the same identity each time the lab is made.
    let digest = Sha256::digest(name.as_bytes());
    let mac = format!(
        "52:54:00:{:02x}:{:02x}:{:02x}",
        digest[0],
        digest[1],
        number % 256
    );
    let mut identity = [0; 16];
    identity.copy_from_slice(&digest[..16]);
    let bmc = Ipv4Addr::new(
        203,
        0,
        113,
        BMC_FIRST.saturating_add(u8::try_from(number).unwrap_or(u8::MAX)),
    );
    MachineSpec {
        uuid: uuid::Builder::from_random_bytes(identity).into_uuid(),
        kind: MachineKind::Container,
        nics: vec![Nic {
            bridge: "ctlplane".to_owned(),
            mac,
        }],
        disks: vec![DiskSpec {
            size_mib: args.node_disk * 1024,
        }],
        memory_mib: args.node_memory,
        cpus: args.node_cpus,
        bmc_address: IpAddr::V4(bmc),
        name,
    }
}

/// The lab as upstream's tools know it.
pub fn testenv_file(directory: &testenv::Directory) -> Testenv {
    let machines = directory.machines.iter().map(|entry| Machine {
        name: entry.machine.name.clone(),
        memory: json!(entry.machine.memory_mib),
        cpu: json!(entry.machine.cpus),
        arch: "amd64".to_owned(),
        disk: json!(
            entry
                .machine
                .disks
                .first()
                .map_or(0, |disk| disk.size_mib / 1024)
        ),
        mac: entry
            .machine
            .nics
            .iter()
            .map(|nic| nic.mac.clone())
            .collect(),
        pm_type: "redfish".to_owned(),
        pm_user: directory.username.clone(),
        pm_addr: entry.bmc_url.clone(),
        pm_password: directory.password.clone(),
        pm_system_id: Some(entry.system.clone()),
    });
    Testenv {
        arch: "amd64".to_owned(),
        host_ip: HOST.to_string(),
        seed_ip: HOST.to_string(),
        nodes: machines.collect(),
        baremetal_network: BaremetalNetwork {
            cidr: CIDR.to_owned(),
            gateway_ip: HOST.to_string(),
            seed: SeedRange {
                ip: HOST.to_string(),
                range_start: RANGE_START.to_string(),
                range_end: RANGE_END.to_string(),
            },
            other: serde_json::Map::default(),
        },
        other: serde_json::Map::default(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: DevtestArgs,
    }

    #[test]
    fn machines_are_the_same_each_time_and_differ_from_each_other() {
        let args = Line::parse_from(["devtest", "--node-count", "150"]).args;
        let one = specification(&args).unwrap();
        assert_eq!(one, specification(&args).unwrap());
        assert_eq!(one.machines.len(), 150);
    }
}
