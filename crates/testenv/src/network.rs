//! The wires: bridges, links to the operator, interfaces of machines.
//!
//! All of it lives in the lab's network namespace and ends with it. The operator's namespace gets links and
//! addresses only; forwarding and filtering there are the operator's own.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::error::LabError;
use crate::program::{ip_batch, run};
use crate::spec::{Bridge, MachineSpec, Specification};

/// How long the kernel may take to remove the links of a lab that was killed a moment ago.
const VANISHING: Duration = Duration::from_secs(10);

/// Makes the bridges and joins them to the operator's network namespace, an open file at `operator`.
pub fn connect(specification: &Specification, operator: &str) -> Result<(), LabError> {
    let mut lines = vec!["link set lo up".to_owned()];
    for bridge in &specification.bridges {
        let Bridge { name, mtu, .. } = bridge;
        lines.push(format!("link add {name} type bridge mcast_snooping 0"));
        lines.push(format!("link set {name} mtu {mtu} up"));
        for address in &bridge.addresses {
            lines.push(format!(
                "addr add {address} dev {name}{}",
                no_waiting(address)
            ));
        }
    }
    for machine in &specification.machines {
        let (bridge, address) = (&specification.bmc.bridge, machine.bmc_address);
        let bits = specification
            .bridge(bridge)
            .and_then(|bridge| {
                let links = bridge
                    .operator
                    .iter()
                    .flat_map(|operator| &operator.addresses);
                let mut nets = bridge.addresses.iter().chain(links);
                nets.find(|net| net.contains(&address))
                    .map(ipnet::IpNet::prefix_len)
            })
            .unwrap_or(if address.is_ipv4() { 32 } else { 128 });
        let net = ipnet::IpNet::new(address, bits).map_err(|_| LabError::NoMachine {
            machine: machine.name.clone(),
        })?;
        lines.push(format!(
            "addr replace {net} dev {bridge}{}",
            no_waiting(&net)
        ));
    }
    ip_batch(None, &lines)?;
    for (index, bridge) in specification.bridges.iter().enumerate() {
        join_operator(index, bridge, operator)?;
    }
    // Controllers fetch their media from any address of the operator, as through a router.
    let gateway = specification
        .bridge(&specification.bmc.bridge)
        .and_then(|bridge| {
            let addresses = &bridge.operator.as_ref()?.addresses;
            addresses
                .iter()
                .find(|address| address.addr().is_ipv4())
                .or(addresses.first())
        });
    if let Some(gateway) = gateway {
        let family = if gateway.addr().is_ipv4() { "-4" } else { "-6" };
        run(Command::new("ip")
            .args([family, "route", "add", "default", "via"])
            .arg(gateway.addr().to_string()))?;
    }
    Ok(())
}

/// Waiting for duplicate address detection would make new addresses of IPv6 unusable for two seconds.
fn no_waiting(address: &ipnet::IpNet) -> &'static str {
    if address.addr().is_ipv6() {
        " nodad"
    } else {
        ""
    }
}

fn join_operator(index: usize, bridge: &Bridge, operator: &str) -> Result<(), LabError> {
    let Some(wire) = &bridge.operator else {
        return Ok(());
    };
    let (inner, link, mtu) = (format!("op{index}"), &wire.link, bridge.mtu);
    let until = Instant::now() + VANISHING;
    loop {
        let lines = [
            format!(
                "link add {inner} mtu {mtu} type veth peer name {link} mtu {mtu} netns {operator}"
            ),
            format!("link set {inner} master {} up", bridge.name),
        ];
        match ip_batch(None, &lines) {
            Ok(()) => break,
            Err(LabError::Command { said, .. })
                if said.contains("File exists") && Instant::now() < until =>
            {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(error) => return Err(error),
        }
    }
    let mut lines = vec![format!("link set {link} up")];
    for address in &wire.addresses {
        lines.push(format!(
            "addr add {address} dev {link}{}",
            no_waiting(address)
        ));
    }
    ip_batch(Some(operator), &lines)
}

/// Makes a machine's network namespace with its interfaces plugged in; gives the namespace's path.
pub fn plug(
    specification: &Specification,
    number: usize,
    machine: &MachineSpec,
) -> Result<String, LabError> {
    unplug(number, machine)?;
    let name = &machine.name;
    run(Command::new("ip").args(["netns", "add", name]))?;
    let mut lines = Vec::new();
    for (index, nic) in machine.nics.iter().enumerate() {
        let mtu = specification
            .bridge(&nic.bridge)
            .map_or(1500, |bridge| bridge.mtu);
        let (outer, mac, bridge) = (format!("m{number}n{index}"), &nic.mac, &nic.bridge);
        lines.push(format!(
            "link add {outer} mtu {mtu} type veth peer name host{index} address {mac} mtu {mtu} netns {name}"
        ));
        lines.push(format!("link set {outer} master {bridge} up"));
    }
    ip_batch(None, &lines)?;
    Ok(format!("/run/netns/{name}"))
}

/// Unplugs a machine. A namespace that outlives its machine would keep answering for its addresses.
pub fn unplug(number: usize, machine: &MachineSpec) -> Result<(), LabError> {
    // The kernel takes its time to empty a namespace; links removed by name are gone at once.
    for index in 0..machine.nics.len() {
        let outer = format!("m{number}n{index}");
        if exists(&outer) {
            run(Command::new("ip").args(["link", "delete", &outer]))?;
        }
    }
    if std::path::Path::new("/run/netns")
        .join(&machine.name)
        .exists()
    {
        run(Command::new("ip").args(["netns", "delete", &machine.name]))?;
    }
    Ok(())
}

fn exists(link: &str) -> bool {
    run(Command::new("ip").args(["link", "show", link])).is_ok()
}
