//! The lab's two networks, of 256 addresses each, and what each address is for.
//!
//! Upstream's devtest has used 192.0.2.0/24 since 2013. A host that has this network already (many virtual machines do)
//! would lose its way to the rest of the world, so its own routes are looked at first, and where its package mirrors,
//! proxies and name servers are; the next free network is taken. A network asked for by name is refused where the host
//! has it, never replaced silently.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use ipnet::Ipv4Net;
use testenv::spec::Specification;

use super::settings::Size;
use super::testenv_json::BaremetalNetwork;

/// This host's link to the provisioning network.
pub const PROVISIONING_LINK: &str = "tripleo-prov";
/// This host's link to the network of the management controllers.
pub const BMC_LINK: &str = "tripleo-bmc";

/// Networks for machines, most wanted first: one that RFC 5737 keeps for examples, then private ones.
const PROVISIONING: [Ipv4Addr; 3] = [
    Ipv4Addr::new(192, 0, 2, 0),
    Ipv4Addr::new(172, 30, 254, 0),
    Ipv4Addr::new(192, 168, 254, 0),
];
/// Networks for the tunnels between an overcloud's nodes, of which only these nodes know; the first is the template's
/// default. A node that has one network twice sends its tunnels the wrong way.
const TUNNELS: [Ipv4Addr; 2] = [
    Ipv4Addr::new(198, 51, 100, 0),
    Ipv4Addr::new(172, 30, 253, 0),
];
/// Networks for management controllers: of RFC 5737, of RFC 2544, private.
const BMC: [Ipv4Addr; 3] = [
    Ipv4Addr::new(203, 0, 113, 0),
    Ipv4Addr::new(198, 18, 113, 0),
    Ipv4Addr::new(172, 30, 255, 0),
];
/// Bits of a network's name; the places below count on it.
const PREFIX: u8 = 24;

/// A network of 256 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network(Ipv4Net);

impl Network {
    fn new(net: Ipv4Net) -> anyhow::Result<Self> {
        if net.prefix_len() != PREFIX {
            bail!("{net} has not 256 addresses; give a network such as 192.0.2.0/{PREFIX}");
        }
        Ok(Self(net.trunc()))
    }

    fn at(self, place: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.0.network().octets();
        Ipv4Addr::new(a, b, c, place)
    }

    fn collides(self, taken: &Ipv4Net) -> bool {
        taken.contains(&self.0) || self.0.contains(taken)
    }
}

/// Which networks the lab has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Networks {
    provisioning: Network,
    bmc: Network,
}

impl Networks {
    /// The first networks of which the host has no part, or the provisioning network asked for.
    pub fn choose(wish: Option<Ipv4Net>, taken: &[Taken]) -> anyhow::Result<Self> {
        let free = |network: Network| taken.iter().find(|taken| network.collides(&taken.net));
        let provisioning = match wish {
            Some(wish) => {
                let network = Network::new(wish)?;
                if let Some(taken) = free(network) {
                    bail!(
                        "--baremetal-network (BM_NETWORK_CIDR) {wish}: {} is {} of this host; give another, or leave it out",
                        taken.net,
                        taken.by
                    );
                }
                network
            }
            None => first(&PROVISIONING, |network| free(network).is_none()).with_context(|| {
                let tried = PROVISIONING.map(|address| format!("{address}/{PREFIX}"));
                format!(
                    "this host has all of {}; give the machines another network: --baremetal-network CIDR",
                    tried.join(", ")
                )
            })?,
        };
        let bmc = first(&BMC, |network| {
            free(network).is_none() && !network.collides(&provisioning.0)
        })
        .with_context(|| {
            let tried = BMC.map(|address| format!("{address}/{PREFIX}"));
            format!(
                "this host has all of {}, no network is left for management controllers; look closer: ip route",
                tried.join(", ")
            )
        })?;
        Ok(Self { provisioning, bmc })
    }

    /// The networks of a lab that runs.
    pub fn of(lab: &Specification) -> anyhow::Result<Self> {
        let network = |link: &str| -> anyhow::Result<Network> {
            let address = lab
                .bridges
                .iter()
                .filter_map(|bridge| bridge.operator.as_ref())
                .filter(|operator| operator.link == link)
                .flat_map(|operator| &operator.addresses)
                .find_map(|address| match address {
                    ipnet::IpNet::V4(net) => Some(*net),
                    ipnet::IpNet::V6(_) => None,
                });
            Network::new(address.with_context(|| format!("the lab has no network on {link}"))?)
        };
        Ok(Self {
            provisioning: network(PROVISIONING_LINK)?,
            bmc: network(BMC_LINK)?,
        })
    }

    /// All addresses of the provisioning network.
    pub fn cidr(&self) -> Ipv4Net {
        self.provisioning.0
    }

    /// This host, and with it the seed, on the provisioning network.
    pub fn host(&self) -> Ipv4Addr {
        self.provisioning.at(1)
    }

    /// First and last address for machines. With an overcloud the upper half is for its instances.
    pub fn machines(&self, size: Size) -> (Ipv4Addr, Ipv4Addr) {
        let last = match size {
            Size::Hello => 200,
            Size::Overcloud => 99,
        };
        (self.provisioning.at(2), self.provisioning.at(last))
    }

    /// The lab itself on the provisioning network: it fetches boot media from there.
    pub fn lab(&self) -> Ipv4Addr {
        self.provisioning.at(254)
    }

    /// This host on the network of the management controllers.
    pub fn bmc_host(&self) -> Ipv4Addr {
        self.bmc.at(1)
    }

    /// The management controller of a machine, counted from 0.
    pub fn bmc(&self, machine: u32) -> Ipv4Addr {
        let machine = u8::try_from(machine).unwrap_or(u8::MAX);
        self.bmc.at(machine.saturating_add(11))
    }
}

/// First and last floating address of an overcloud's instances on a provisioning network.
pub fn floating(cidr: Ipv4Net) -> anyhow::Result<(Ipv4Addr, Ipv4Addr)> {
    let network = Network::new(cidr)?;
    Ok((network.at(100), network.at(200)))
}

/// The network for the tunnels of an overcloud on a provisioning network.
pub fn tunnels(cidr: Ipv4Net) -> Option<Ipv4Net> {
    first(&TUNNELS, |network| !network.collides(&cidr)).map(|network| network.0)
}

/// Addresses for machines that are being deployed or cleaned: those that a lab leaves for it. None where the network has another
/// size, or where they are told to be for machines; then the seed chooses.
pub fn deploy_range(network: &BaremetalNetwork) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let lab = Network::new(network.cidr.parse().ok()?).ok()?;
    let (first, last) = (lab.at(201), lab.at(250));
    let machines: Result<Ipv4Addr, _> = network.seed.range_end.parse();
    machines
        .map_or(true, |end| end < first)
        .then_some((first, last))
}

fn first(candidates: &[Ipv4Addr], fits: impl Fn(Network) -> bool) -> Option<Network> {
    candidates
        .iter()
        .filter_map(|address| Ipv4Net::new(*address, PREFIX).ok().map(Network))
        .find(|network| fits(*network))
}

/// Addresses that are not the lab's to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The addresses.
    pub net: Ipv4Net,
    /// What has them, such as `the network on eth0`.
    pub by: String,
}

/// What the lab must keep out of: this host's routes as the kernel tells them (proc(5), `/proc/net/route`), without
/// those to a lab, and the servers by which it installs.
#[expect(
    clippy::disallowed_methods,
    reason = "the rule is for the node's static program; this one must find what the host's own installers find"
)]
pub fn taken() -> anyhow::Result<Vec<Taken>> {
    let path = "/proc/net/route";
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let mut taken = parse(&text);
    for (host, what) in servers() {
        // A name that cannot be found now is no server that could be lost.
        let addresses = (host.as_str(), 0).to_socket_addrs().into_iter().flatten();
        taken.extend(addresses.filter_map(|address| match address.ip() {
            IpAddr::V4(address) if !address.is_loopback() => Some(Taken {
                net: address.into(),
                by: format!("the {what} {host}"),
            }),
            _ => None,
        }));
    }
    Ok(taken)
}

/// Package mirrors, proxies and name servers that this host's configuration names, with what each is.
fn servers() -> BTreeSet<(String, &'static str)> {
    let mut found = BTreeSet::new();
    let variables = [
        ("DIB_DISTRIBUTION_MIRROR", "mirror"),
        ("http_proxy", "proxy"),
        ("https_proxy", "proxy"),
    ];
    for (name, what) in variables {
        let value = std::env::var(name).unwrap_or_default();
        found.extend(hosts(&value).map(|host| (host, what)));
    }
    let folder = Path::new("/etc/apt/sources.list.d");
    let listed = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = listed
        .map(|entry| entry.path())
        .chain(["/etc/apt/sources.list".into()]);
    for file in files {
        // A host may have either, both or none.
        let text = fs::read_to_string(file).unwrap_or_default();
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        found.extend(lines.flat_map(hosts).map(|host| (host, "mirror")));
    }
    let resolvers = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let resolvers = resolvers
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver "));
    found.extend(resolvers.map(|host| (host.trim().to_owned(), "name server")));
    found
}

/// The hosts of the URLs in a text.
fn hosts(text: &str) -> impl Iterator<Item = String> {
    text.split_whitespace().filter_map(|word| {
        let url = reqwest::Url::parse(word).ok()?;
        Some(url.host_str()?.to_owned())
    })
}

/// Rows of link, destination, gateway, four numbers, mask …; addresses are hexadecimal in the host's byte order.
fn parse(table: &str) -> Vec<Taken> {
    let address = |word: &str| {
        u32::from_str_radix(word, 16)
            .ok()
            .map(|raw| Ipv4Addr::from(raw.to_ne_bytes()))
    };
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let link = *words.first()?;
            if link == PROVISIONING_LINK || link == BMC_LINK {
                return None;
            }
            let net =
                Ipv4Net::with_netmask(address(words.get(1)?)?, address(words.get(7)?)?).ok()?;
            let by = format!("the network on {link}");
            (net.prefix_len() > 0).then_some(Taken { net, by })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(net: &str) -> Taken {
        Taken {
            net: net.parse().unwrap(),
            by: "the network on eth0".to_owned(),
        }
    }

    fn chosen(wish: Option<&str>, taken: &[&str]) -> Result<String, String> {
        let taken: Vec<Taken> = taken.iter().map(|net| route(net)).collect();
        Networks::choose(wish.map(|net| net.parse().unwrap()), &taken)
            .map(|nets| format!("{} {} {}", nets.cidr(), nets.host(), nets.bmc(0)))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_hosts_own_networks_are_left_alone() {
        for (taken, expected) in [
            (&[][..], "192.0.2.0/24 192.0.2.1 203.0.113.11"),
            (
                &["192.0.2.0/24"],
                "172.30.254.0/24 172.30.254.1 203.0.113.11",
            ),
            (
                &["192.0.2.128/25", "203.0.0.0/16"],
                "172.30.254.0/24 172.30.254.1 198.18.113.11",
            ),
            (&["203.0.113.80/32"], "192.0.2.0/24 192.0.2.1 198.18.113.11"),
            (
                &["192.0.0.0/16", "172.16.0.0/12"],
                "192.168.254.0/24 192.168.254.1 203.0.113.11",
            ),
        ] {
            assert_eq!(chosen(None, taken).as_deref(), Ok(expected), "{taken:?}");
        }
        let error = chosen(None, &["128.0.0.0/1"]).unwrap_err();
        assert!(
            error.contains("192.0.2.0/24") && error.contains("--baremetal-network"),
            "{error}"
        );
    }

    #[test]
    fn machines_that_are_deployed_keep_out_of_the_machines_addresses() {
        let range = |cidr: &str, end: &str| {
            let mut network = BaremetalNetwork {
                cidr: cidr.to_owned(),
                ..BaremetalNetwork::default()
            };
            end.clone_into(&mut network.seed.range_end);
            deploy_range(&network).map(|(first, last)| format!("{first}-{last}"))
        };
        let lab = Some("10.0.0.201-10.0.0.250".to_owned());
        assert_eq!(range("10.0.0.0/24", "10.0.0.200"), lab);
        assert_eq!(range("10.0.0.0/24", ""), lab);
        assert_eq!(range("10.0.0.0/24", "10.0.0.220"), None);
        assert_eq!(range("10.0.0.0/22", "10.0.0.20"), None);
        assert_eq!(range("", ""), None);
    }

    #[test]
    fn a_network_asked_for_is_taken_or_refused_by_name() {
        assert_eq!(
            chosen(Some("10.9.8.0/24"), &["192.0.2.0/24"]).as_deref(),
            Ok("10.9.8.0/24 10.9.8.1 203.0.113.11")
        );
        assert_eq!(
            chosen(Some("203.0.113.0/24"), &[]).as_deref(),
            Ok("203.0.113.0/24 203.0.113.1 198.18.113.11"),
            "the controllers make room"
        );
        let error = chosen(Some("10.9.8.0/24"), &["10.0.0.0/8"]).unwrap_err();
        assert!(
            error.contains("10.0.0.0/8 is the network on eth0"),
            "{error}"
        );
        let error = chosen(Some("10.9.8.0/25"), &[]).unwrap_err();
        assert!(error.contains("10.9.8.0/25"), "{error}");
    }

    #[test]
    fn servers_are_found_in_sources_and_proxies() {
        let line = "deb [arch=amd64 signed-by=/a.gpg] http://mirror.test:3142/debian trixie main";
        assert_eq!(hosts(line).collect::<Vec<_>>(), ["mirror.test"]);
        let line = "URIs: http://10.1.2.3/debian https://other.test/d";
        assert_eq!(hosts(line).collect::<Vec<_>>(), ["10.1.2.3", "other.test"]);
        assert_eq!(hosts("file:/var/mirror none").count(), 0);
    }

    #[test]
    fn tunnels_have_a_network_of_their_own() {
        for (cidr, expected) in [
            ("192.0.2.0/24", "198.51.100.0/24"),
            ("198.51.100.0/24", "172.30.253.0/24"),
        ] {
            let found = tunnels(cidr.parse().unwrap()).unwrap();
            assert_eq!(found.to_string(), expected);
        }
    }

    #[test]
    fn the_kernels_table_is_read_without_default_route_and_labs() {
        let row = |link: &str, net: [u8; 4], mask: [u8; 4]| {
            let word = |octets| format!("{:08X}", u32::from_ne_bytes(octets));
            format!(
                "{link}\t{}\t00000000\t0001\t0\t0\t0\t{}\t0\t0\t0\n",
                word(net),
                word(mask)
            )
        };
        let table = [
            "Iface\tDestination\tGateway\n".to_owned(),
            row("eth0", [0; 4], [0; 4]),
            row("eth0", [10, 1, 0, 0], [255, 255, 0, 0]),
            row(PROVISIONING_LINK, [192, 0, 2, 0], [255, 255, 255, 0]),
        ]
        .concat();
        assert_eq!(parse(&table), [route("10.1.0.0/16")]);
        taken().unwrap();
    }
}
