//! Which addresses of a subnet are free. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cloud::{CloudError, Kind, Subnet, SubnetSpec};

/// First and last of a run of addresses.
pub type Run = (IpAddr, IpAddr);

/// The subnet that a specification describes.
pub fn subnet(spec: &SubnetSpec, id: String, network_id: &str) -> Subnet {
    let cidr = spec.cidr.trunc();
    let first = step(cidr.network(), 1);
    let gateway = spec.gateway_enabled.then(|| spec.gateway.unwrap_or(first));
    let last = match cidr.broadcast() {
        last @ IpAddr::V4(_) => step(last, -1),
        // IPv6 has no broadcast address.
        last @ IpAddr::V6(_) => last,
    };
    let pools = if spec.allocation_pools.is_empty() {
        vec![(
            if gateway == Some(first) {
                step(first, 1)
            } else {
                first
            },
            last,
        )]
    } else {
        spec.allocation_pools.clone()
    };
    Subnet {
        id,
        name: spec.name.clone(),
        network_id: network_id.to_owned(),
        cidr,
        gateway,
        dns_nameservers: spec.dns_nameservers.clone(),
        allocation_pools: pools,
        enable_dhcp: spec.enable_dhcp,
        host_routes: spec.host_routes.clone(),
    }
}

/// Why a subnet cannot be.
pub fn fault_of(subnet: &Subnet) -> Option<String> {
    let outside = |address: &IpAddr| !subnet.cidr.contains(address);
    if let Some(gateway) = subnet.gateway.filter(outside) {
        return Some(format!("the gateway {gateway} is not in {}", subnet.cidr));
    }
    let bad = subnet
        .allocation_pools
        .iter()
        .find(|(first, last)| outside(first) || outside(last) || first > last);
    bad.map(|(first, last)| {
        format!(
            "the pool {first}-{last} is not in {} or runs backwards",
            subnet.cidr
        )
    })
}

/// The wanted address, or the first free one of the pools. `reserved` runs are for others.
pub fn choose(
    subnet: &Subnet,
    wanted: Option<IpAddr>,
    taken: &dyn Fn(IpAddr) -> bool,
    reserved: Option<Run>,
    port: &str,
) -> Result<IpAddr, CloudError> {
    let invalid = |why: String| CloudError::Invalid {
        kind: Kind::Port,
        name: port.to_owned(),
        why,
    };
    let kept =
        |address: IpAddr| reserved.is_some_and(|(first, last)| first <= address && address <= last);
    if let Some(address) = wanted {
        if !subnet.cidr.contains(&address) {
            return Err(invalid(format!(
                "the address {address} is not in the subnet {}",
                subnet.cidr
            )));
        }
        if kept(address) {
            return Err(invalid(format!(
                "the address {address} is kept for machines that are being deployed"
            )));
        }
        if taken(address) {
            return Err(invalid(format!("the address {address} is taken")));
        }
        return Ok(address);
    }
    for (first, last) in &subnet.allocation_pools {
        let mut address = *first;
        loop {
            if Some(address) != subnet.gateway && !kept(address) && !taken(address) {
                return Ok(address);
            }
            if address >= *last {
                break;
            }
            address = step(address, 1);
        }
    }
    Err(invalid(format!("no address of {} is free", subnet.cidr)))
}

fn step(address: IpAddr, by: i8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from(
            u32::from(v4).saturating_add_signed(by.into()),
        )),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(
            u128::from(v6).saturating_add_signed(by.into()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(cidr: &str) -> SubnetSpec {
        SubnetSpec {
            name: "s".into(),
            network: "n".into(),
            cidr: cidr.parse().expect("a network"),
            gateway_enabled: true,
            gateway: None,
            dns_nameservers: Vec::new(),
            allocation_pools: Vec::new(),
            enable_dhcp: true,
            host_routes: Vec::new(),
            tags: Vec::new(),
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_first_free_address_is_given() {
        let small = subnet(&spec("192.0.2.0/30"), "1".into(), "n");
        assert_eq!(small.gateway, Some(address("192.0.2.1")));
        let free = choose(&small, None, &|_| false, None, "p");
        assert_eq!(free, Ok(address("192.0.2.2")));
        let error = choose(&small, None, &|_| true, None, "p").expect_err("full");
        assert!(
            error
                .to_string()
                .contains("no address of 192.0.2.0/30 is free"),
            "{error}"
        );
        let large = subnet(&spec("192.0.2.0/24"), "1".into(), "n");
        let kept = Some((address("192.0.2.2"), address("192.0.2.20")));
        assert_eq!(
            choose(&large, None, &|_| false, kept, "p"),
            Ok(address("192.0.2.21"))
        );
        assert!(choose(&large, Some(address("192.0.2.5")), &|_| false, kept, "p").is_err());
        let six = subnet(&spec("2001:db8::/64"), "1".into(), "n");
        assert_eq!(
            choose(&six, None, &|_| false, None, "p"),
            Ok(address("2001:db8::2"))
        );
    }

    #[test]
    fn subnets_that_cannot_be_are_told() {
        let mut wrong = spec("192.0.2.0/24");
        wrong.gateway = Some(address("198.51.100.1"));
        assert!(fault_of(&subnet(&wrong, "1".into(), "n")).is_some());
        let mut wrong = spec("192.0.2.0/24");
        wrong.allocation_pools = vec![(address("192.0.2.9"), address("192.0.2.3"))];
        assert!(fault_of(&subnet(&wrong, "1".into(), "n")).is_some());
        assert_eq!(
            fault_of(&subnet(&spec("192.0.2.0/24"), "1".into(), "n")),
            None
        );
    }
}
