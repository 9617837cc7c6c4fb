//! The lab that devtest makes: which networks and machines, and how the testenv file tells of them.
//!
//! Only decides; starting it is the testenv step's.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::{Context as _, bail};
use ipnet::IpNet;
use serde_json::json;
use sha2::{Digest, Sha256};
use testenv::spec::{
    BmcNetwork, Bridge, DiskSpec, MachineKind, MachineSpec, Nic, OperatorLink, Specification,
};

use super::networks::{self, Networks};
use super::settings::{DevtestArgs, Machines, Size};
use super::testenv_json::{BaremetalNetwork, Machine, SeedRange, Testenv};

/// More machines than this do not fit on the networks above.
pub fn most(size: Size) -> u32 {
    match size {
        Size::Hello => 150,
        Size::Overcloud => 90,
    }
}
/// Frames of the provisioning network. Tunnels between the nodes of an overcloud add 58 bytes to the packets of its instances.
fn mtu(size: Size) -> u32 {
    match size {
        Size::Hello => 1500,
        Size::Overcloud => 1600,
    }
}

/// What the lab consists of.
pub fn specification(args: &DevtestArgs, networks: &Networks) -> anyhow::Result<Specification> {
    let net = |address: Ipv4Addr| IpNet::new(IpAddr::V4(address), networks.cidr().prefix_len());
    let operator = |link: &str, address: Ipv4Addr| -> anyhow::Result<Option<OperatorLink>> {
        Ok(Some(OperatorLink {
            link: link.to_owned(),
            addresses: vec![net(address)?],
        }))
    };
    let machines = args.machines();
    let specification = Specification {
        bridges: vec![
            Bridge {
                name: "ctlplane".to_owned(),
                mtu: mtu(args.size),
                addresses: vec![net(networks.lab())?],
                operator: operator(networks::PROVISIONING_LINK, networks.host())?,
            },
            Bridge {
                name: "bmc".to_owned(),
                mtu: 1500,
                addresses: Vec::new(),
                operator: operator(networks::BMC_LINK, networks.bmc_host())?,
            },
        ],
        bmc: BmcNetwork {
            bridge: "bmc".to_owned(),
            tls: false,
            port: None,
        },
        machines: (0..machines.count)
            .map(|number| machine(args.size, machines, networks.bmc(number), number))
            .collect(),
    };
    specification.check().map_err(anyhow::Error::msg)?;
    Ok(specification)
}

fn machine(size: Size, machines: Machines, bmc: Ipv4Addr, number: u32) -> MachineSpec {
    let name = format!("node-{number}");
    // The same machine has the same identity each time the lab is made.
    let digest = Sha256::digest(name.as_bytes());
    let nic = |vendor: u8| Nic {
        bridge: "ctlplane".to_owned(),
        mac: format!(
            "52:54:{vendor:02x}:{:02x}:{:02x}:{:02x}",
            digest[0],
            digest[1],
            number % 256
        ),
    };
    let nics = match size {
        Size::Hello => vec![nic(0)],
        // The second one carries tunnels and the provider network: it belongs to the virtual switch of the node.
        Size::Overcloud => vec![nic(0), nic(1)],
    };
    let mut identity = [0; 16];
    identity.copy_from_slice(&digest[..16]);
    MachineSpec {
        uuid: uuid::Builder::from_random_bytes(identity).into_uuid(),
        kind: MachineKind::Container,
        nics,
        disks: vec![DiskSpec {
            size_mib: machines.disk * 1024,
        }],
        memory_mib: machines.memory,
        cpus: machines.cpus,
        bmc_address: IpAddr::V4(bmc),
        name,
    }
}

/// The specification that a lab was made from.
pub fn read(file: &Path) -> anyhow::Result<Specification> {
    let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{} is no specification of a lab", file.display()))
}

/// Whether the lab that runs, made from the specification in `file`, is one for this story.
pub fn suits(file: &Path, args: &DevtestArgs) -> anyhow::Result<()> {
    let has = read(file)?;
    let networks = Networks::of(&has)?;
    if let Some(wish) = args
        .baremetal_network
        .filter(|wish| *wish != networks.cidr())
    {
        bail!(
            "the lab that runs has the network {}, not {wish}; end it first: ./devtest --down",
            networks.cidr()
        );
    }
    let wants = specification(args, &networks)?;
    let kind = |lab: &Specification| lab.machines.first().map_or(0, |machine| machine.nics.len());
    if kind(&has) != kind(&wants) || has.bridges != wants.bridges {
        bail!("the lab that runs is of another size; end it first: ./devtest --down");
    }
    if has.machines.len() < wants.machines.len() {
        bail!(
            "the lab that runs has {} machines, this story needs {}; end it first (./devtest --down), and start with --node-count {}",
            has.machines.len(),
            wants.machines.len(),
            wants.machines.len()
        );
    }
    Ok(())
}

/// The lab as upstream's tools know it.
pub fn testenv_file(directory: &testenv::Directory, networks: &Networks, size: Size) -> Testenv {
    let host = networks.host().to_string();
    let (first, last) = networks.machines(size);
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
        host_ip: host.clone(),
        seed_ip: host.clone(),
        nodes: machines.collect(),
        baremetal_network: BaremetalNetwork {
            cidr: networks.cidr().to_string(),
            gateway_ip: host.clone(),
            seed: SeedRange {
                ip: host,
                range_start: first.to_string(),
                range_end: last.to_string(),
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

    fn usual() -> Networks {
        Networks::choose(None, &[]).unwrap()
    }

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: DevtestArgs,
    }

    #[test]
    fn machines_are_the_same_each_time_and_differ_from_each_other() {
        let args = Line::parse_from(["devtest", "--node-count", "150"]).args;
        let one = specification(&args, &usual()).unwrap();
        assert_eq!(one, specification(&args, &usual()).unwrap());
        assert_eq!(one.machines.len(), 150);
    }

    #[test]
    fn a_lab_that_runs_is_kept_only_for_a_story_that_fits_in() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("spec.json");
        let args = |line: &[&str]| Line::parse_from(["devtest"].iter().chain(line)).args;
        let made = args(&["--size", "overcloud", "--node-count", "3"]);
        fs::write(
            &file,
            serde_json::to_vec(&specification(&made, &usual()).unwrap()).unwrap(),
        )
        .unwrap();
        suits(&file, &args(&["--size", "overcloud"])).unwrap();
        suits(
            &file,
            &args(&["--size", "overcloud", "--compute-count", "2"]),
        )
        .unwrap();
        let many = args(&["--size", "overcloud", "--compute-count", "3"]);
        let error = suits(&file, &many).unwrap_err().to_string();
        assert!(error.contains("--node-count 4"), "{error}");
        let error = suits(&file, &args(&["--size", "hello"])).unwrap_err();
        assert!(error.to_string().contains("another size"), "{error}");
        let elsewhere = args(&["--size", "overcloud", "--baremetal-network", "10.0.0.0/24"]);
        let error = suits(&file, &elsewhere).unwrap_err().to_string();
        assert!(error.contains("192.0.2.0/24, not 10.0.0.0/24"), "{error}");
    }

    #[test]
    fn machines_of_an_overcloud_have_a_second_card_of_their_own() {
        let line = ["devtest", "--size", "overcloud", "--compute-count", "2"];
        let args = Line::parse_from(line).args;
        args.check().unwrap();
        let lab = specification(&args, &usual()).unwrap();
        assert_eq!(lab.machines.len(), 3);
        let macs: std::collections::BTreeSet<&str> = lab
            .machines
            .iter()
            .flat_map(|machine| &machine.nics)
            .map(|nic| nic.mac.as_str())
            .collect();
        assert_eq!(macs.len(), 6);
        let (_, last) = usual().machines(args.size);
        let (floating, _) = networks::floating(usual().cidr()).unwrap();
        assert!(last < floating);
    }

    #[test]
    fn too_few_machines_and_several_controllers_are_refused() {
        for (line, word) in [
            (&["--compute-count", "3", "--node-count", "2"], "4 machines"),
            (&["--controller-count", "3", "--node-count", "9"], "only 1"),
        ] {
            let line = ["devtest", "--size", "overcloud"].iter().chain(line);
            let error = Line::parse_from(line).args.check().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
