//! Which addresses are free.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cloud::{CloudError, Kind, Subnet};
use ipnet::IpNet;

/// The first address after the network's own.
pub(crate) fn first(cidr: &IpNet) -> IpAddr {
    after(cidr.network())
}

/// The pools of a subnet that was given none: all but the network, broadcast and gateway.
pub(crate) fn pools(cidr: &IpNet, gateway: Option<IpAddr>) -> Vec<(IpAddr, IpAddr)> {
    let mut begin = first(cidr);
    if gateway == Some(begin) {
        begin = after(begin);
    }
    let end = match cidr.broadcast() {
        IpAddr::V4(last) => IpAddr::V4(Ipv4Addr::from(u32::from(last).saturating_sub(1))),
        last => last,
    };
    vec![(begin, end)]
}

/// Takes the wanted address, or the first free one of the pools.
pub(crate) fn choose(
    subnet: &Subnet,
    wanted: Option<IpAddr>,
    taken: impl Fn(IpAddr) -> bool,
    port: &str,
) -> Result<IpAddr, CloudError> {
    let invalid = |why: String| CloudError::Invalid {
        kind: Kind::Port,
        name: port.to_owned(),
        why,
    };
    if let Some(address) = wanted {
        if !subnet.cidr.contains(&address) {
            return Err(invalid(format!(
                "the address {address} is not in the subnet {}",
                subnet.cidr
            )));
        }
        if taken(address) {
            return Err(invalid(format!("the address {address} is taken")));
        }
        return Ok(address);
    }
    for (begin, end) in &subnet.allocation_pools {
        let mut address = *begin;
        while address <= *end {
            if Some(address) != subnet.gateway && !taken(address) {
                return Ok(address);
            }
            address = after(address);
        }
    }
    Err(invalid(format!("no address of {} is free", subnet.cidr)))
}

fn after(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from(u32::from(v4).saturating_add(1))),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6).saturating_add(1))),
    }
}
