//! Brings the machine onto the network: links up, an address by DHCP, the default route. By netlink, since
//! there is no program to call.

use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, send, socket};

use crate::dhcp::{Lease, ask};
use crate::error::AgentError;
use crate::say;

/// How long a network may take to come up: switches forward half a minute after a link came up.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long one interface is listened to before the next one has its turn.
const TURN: Duration = Duration::from_secs(3);

/// Between two rounds over all interfaces.
const PAUSE: Duration = Duration::from_millis(200);

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
/// A request that wants an answer.
const REQUEST: u16 = 0x1 | 0x4;
/// It makes what is missing, or replaces what is there. Links refuse this.
const MAKE: u16 = 0x100 | 0x400;

struct Interface {
    name: String,
    index: u32,
    mac: [u8; 6],
}

/// Gets an address on the first interface where there is one.
pub fn connect() -> Result<(), AgentError> {
    let end = Instant::now() + PATIENCE;
    let mut tried = Vec::new();
    let mut said = String::new();
    while tried.is_empty() || Instant::now() < end {
        tried.clear();
        // Looked for each time: drivers of real machines find their cards late.
        for interface in interfaces() {
            let name = interface.name.clone();
            match try_one(&interface) {
                Ok(lease) => {
                    say(&format!(
                        "{name} has the address {}/{}",
                        lease.address, lease.prefix
                    ));
                    return Ok(());
                }
                Err(why) => tried.push(format!("{name}: {why}")),
            }
        }
        if tried.is_empty() {
            tried.push("no interface found".to_owned());
        }
        // Whoever reads the console of a machine that never calls wants to know what it waits for, once.
        let now = tried.join(", ");
        if said != now {
            say(&format!("no address yet: {now}"));
            said = now;
        }
        // A link that is refused at once must not keep the processor busy.
        std::thread::sleep(PAUSE);
    }
    Err(AgentError::NoAddress {
        tried: tried.join(", "),
    })
}

fn interfaces() -> Vec<Interface> {
    let Ok(entries) = fs::read_dir("/sys/class/net") else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names.into_iter().filter_map(interface).collect()
}

fn interface(name: String) -> Option<Interface> {
    let text = |file: &str| fs::read_to_string(format!("/sys/class/net/{name}/{file}")).ok();
    // Ethernet only: the loop of the machine and tunnels have other types.
    if text("type")?.trim() != "1" {
        return None;
    }
    let mac: Vec<u8> = text("address")?
        .trim()
        .split(':')
        .filter_map(|part| u8::from_str_radix(part, 16).ok())
        .collect();
    Some(Interface {
        index: text("ifindex")?.trim().parse().ok()?,
        mac: mac.try_into().ok()?,
        name,
    })
}

fn try_one(interface: &Interface) -> Result<Lease, String> {
    let said = |error: Errno| error.to_string();
    set_up(interface.index).map_err(said)?;
    for scope in ["all", &interface.name] {
        // Answers come from an address that is not routed yet; the filter would drop them.
        match fs::write(format!("/proc/sys/net/ipv4/conf/{scope}/rp_filter"), "0") {
            Ok(()) | Err(_) => {}
        }
    }
    let lease = ask(&interface.name, interface.mac, TURN).map_err(|error| error.to_string())?;
    if let Some(mtu) = lease.mtu {
        set_mtu(interface.index, u32::from(mtu)).map_err(said)?;
    }
    add_address(interface.index, lease.address, lease.prefix).map_err(said)?;
    if let Some(router) = lease.router {
        add_default_route(interface.index, router).map_err(said)?;
    }
    Ok(lease)
}

fn set_up(index: u32) -> Result<(), Errno> {
    let mut body = vec![0, 0, 0, 0];
    body.extend(index.to_ne_bytes());
    // The flag "up", and that this one is to change.
    body.extend(1_u32.to_ne_bytes());
    body.extend(1_u32.to_ne_bytes());
    request(NEW_LINK, &body, &[])
}

fn set_mtu(index: u32, mtu: u32) -> Result<(), Errno> {
    let mut body = vec![0, 0, 0, 0];
    body.extend(index.to_ne_bytes());
    body.extend([0; 8]);
    request(NEW_LINK, &body, &[(4, mtu.to_ne_bytes().to_vec())])
}

fn add_address(index: u32, address: Ipv4Addr, prefix: u8) -> Result<(), Errno> {
    let mut body = vec![2, prefix, 0, 0];
    body.extend(index.to_ne_bytes());
    let octets = address.octets().to_vec();
    request(NEW_ADDRESS, &body, &[(2, octets.clone()), (1, octets)])
}

fn add_default_route(index: u32, router: Ipv4Addr) -> Result<(), Errno> {
    // IPv4, to everywhere; main table, set at boot, valid everywhere, by a gateway.
    let mut body = vec![2, 0, 0, 0, 254, 3, 0, 1];
    body.extend([0; 4]);
    request(
        NEW_ROUTE,
        &body,
        &[
            (5, router.octets().to_vec()),
            (4, index.to_ne_bytes().to_vec()),
        ],
    )
}

/// Sends one request to the kernel and takes its answer.
fn request(kind: u16, body: &[u8], attributes: &[(u16, Vec<u8>)]) -> Result<(), Errno> {
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    send(
        &socket,
        &message(kind, body, attributes),
        SendFlags::empty(),
    )?;
    let mut answer = [0; 4096];
    let (_, count) = recv(&socket, answer.as_mut_slice(), RecvFlags::empty())?;
    let code = answer[..count]
        .get(16..20)
        .and_then(|four| four.first_chunk::<4>());
    match code.map(|four| i32::from_ne_bytes(*four)) {
        Some(0) => Ok(()),
        Some(code) => Err(Errno::from_raw_os_error(-code)),
        None => Err(Errno::PROTO),
    }
}

fn message(kind: u16, body: &[u8], attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0; 16];
    bytes.extend(body);
    for (name, value) in attributes {
        let length = u16::try_from(value.len() + 4).unwrap_or(4);
        bytes.extend(length.to_ne_bytes());
        bytes.extend(name.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
    let flags = if kind == NEW_LINK {
        REQUEST
    } else {
        REQUEST | MAKE
    };
    bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
    bytes[8..12].copy_from_slice(&1_u32.to_ne_bytes());
    bytes
}
