//! Gives machines their addresses: one dnsmasq with fixed leases for ports, and a few addresses for machines
//! that are being deployed or cleaned.
//!
//! The configuration is a value ([`Leases`]); when it changes, the server is started anew with it, which takes
//! milliseconds, forgets leases of machines that have moved, and cannot be half done.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use cloud::{CloudError, Network, Port, Server, Subnet};

use crate::MetalCloud;
use crate::failure::chain;
use crate::rows::{self, Record};

/// How addresses are given to machines.
#[derive(Debug, Clone)]
pub struct DhcpSettings {
    /// The interface on the provisioning network. The subnets that it has an address of are served.
    pub interface: String,
    /// Where configuration and leases lie.
    pub directory: PathBuf,
    /// First and last address for machines that are being deployed or cleaned.
    pub deploy_range: Option<(Ipv4Addr, Ipv4Addr)>,
    /// The network of those addresses.
    pub deploy_prefix: u8,
}

/// Why addresses are not given.
#[derive(Debug, thiserror::Error)]
pub enum DhcpError {
    /// A file cannot be written.
    #[error("cannot write {path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// dnsmasq cannot be started.
    #[error("cannot start `dnsmasq`")]
    Start {
        /// What the kernel said.
        source: io::Error,
    },
    /// dnsmasq ended at once.
    #[error("`dnsmasq` ended at once: {said}")]
    Ended {
        /// Its words.
        said: String,
    },
}

impl DhcpError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Start { .. } => Some("install it: apt-get install dnsmasq-base".to_owned()),
            Self::Ended { said } if said.contains("Address already in use") => {
                Some("another DHCP server runs on this interface: end it".to_owned())
            }
            Self::File { .. } | Self::Ended { .. } => None,
        }
    }
}

/// What is served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Leases {
    ranges: String,
    hosts: String,
}

/// The DHCP server.
pub struct Dhcp {
    settings: DhcpSettings,
    running: Mutex<Option<(Leases, Running)>>,
}

impl MetalCloud {
    /// Serves what the ports are now. Does nothing where nothing has changed.
    pub(crate) async fn serve_addresses(&self) -> Result<(), CloudError> {
        if self.inner.dhcp.is_none() {
            return Ok(());
        }
        let (networks, subnets, ports, servers) = self
            .read(|read| {
                Ok((
                    rows::all::<Network>(read)?,
                    rows::all::<Subnet>(read)?,
                    rows::all::<Port>(read)?,
                    rows::all::<Server>(read)?,
                ))
            })
            .await?;
        let cloud = self.clone();
        let served = tokio::task::spawn_blocking(move || match &cloud.inner.dhcp {
            Some(dhcp) => dhcp.serve(&leases(
                &networks,
                &subnets,
                &ports,
                &servers,
                &dhcp.settings,
            )),
            None => Ok(()),
        });
        match served.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(CloudError::Unreachable { why: chain(&error) }),
            Err(error) => Err(CloudError::Unreachable {
                why: error.to_string(),
            }),
        }
    }
}

/// What dnsmasq is to serve.
fn leases(
    networks: &[Record<Network>],
    subnets: &[Record<Subnet>],
    ports: &[Record<Port>],
    servers: &[Record<Server>],
    settings: &DhcpSettings,
) -> Leases {
    let mut leases = Leases::default();
    if let Some((first, last)) = settings.deploy_range {
        let mask = ipnet::Ipv4Net::new(first, settings.deploy_prefix)
            .map_or(Ipv4Addr::BROADCAST, |net| net.netmask());
        let _ = writeln!(
            leases.ranges,
            "dhcp-range=set:deploy,{first},{last},{mask},1h"
        );
    }
    let served: BTreeMap<&str, &Subnet> = subnets
        .iter()
        .filter(|subnet| subnet.thing.enable_dhcp)
        .map(|subnet| (subnet.thing.id.as_str(), &subnet.thing))
        .collect();
    for subnet in served.values() {
        let network = networks
            .iter()
            .find(|network| network.thing.id == subnet.network_id);
        range(
            &mut leases.ranges,
            subnet,
            network.and_then(|network| network.thing.mtu),
        );
    }
    let names: BTreeMap<&str, &str> = servers
        .iter()
        .map(|server| (server.thing.id.as_str(), server.thing.name.as_str()))
        .collect();
    for port in ports.iter().map(|port| &port.thing) {
        let owner = port
            .device_id
            .as_deref()
            .and_then(|server| names.get(server));
        let Some(name) = owner else {
            continue;
        };
        let mut line = port.mac.clone();
        let fixed: Vec<_> = port
            .fixed_addresses
            .iter()
            .filter(|fixed| served.contains_key(fixed.subnet_id.as_str()))
            .collect();
        for fixed in &fixed {
            let _ = match fixed.address {
                IpAddr::V4(v4) => write!(line, ",{v4}"),
                IpAddr::V6(v6) => write!(line, ",[{v6}]"),
            };
        }
        if !fixed.is_empty() {
            let _ = writeln!(leases.hosts, "{line},{}", host_name(name));
        }
    }
    leases
}

fn range(out: &mut String, subnet: &Subnet, mtu: Option<u32>) {
    // Tags have no dashes in common; the id's first part is unique enough within a seed and readable in logs.
    let tag = subnet.id.replace('-', "");
    let option = |out: &mut String, name: &str, value: &str| {
        let comma = if value.is_empty() { "" } else { "," };
        let _ = writeln!(out, "dhcp-option=tag:{tag},{name}{comma}{value}");
    };
    let list = |addresses: &[IpAddr]| {
        addresses
            .iter()
            .map(IpAddr::to_string)
            .collect::<Vec<_>>()
            .join(",")
    };
    match subnet.cidr {
        ipnet::IpNet::V4(net) => {
            let _ = writeln!(
                out,
                "dhcp-range=set:{tag},{},static,{},12h",
                net.network(),
                net.netmask()
            );
            let gateway = subnet
                .gateway
                .map(|gateway| gateway.to_string())
                .unwrap_or_default();
            // Without a value dnsmasq does not offer itself as router.
            option(out, "option:router", &gateway);
            option(out, "option:dns-server", &list(&subnet.dns_nameservers));
            if let Some(mtu) = mtu {
                option(out, "option:mtu", &mtu.to_string());
            }
            if !subnet.host_routes.is_empty() {
                // Clients that take these routes ignore the router: it is one of them.
                let default = subnet.gateway.map(|gateway| format!("0.0.0.0/0,{gateway}"));
                let routes = subnet
                    .host_routes
                    .iter()
                    .map(|(net, hop)| format!("{net},{hop}"));
                option(
                    out,
                    "option:classless-static-route",
                    &routes.chain(default).collect::<Vec<_>>().join(","),
                );
            }
        }
        ipnet::IpNet::V6(net) => {
            let _ = writeln!(
                out,
                "dhcp-range=set:{tag},{},static,{},12h",
                net.network(),
                net.prefix_len()
            );
            let servers: Vec<_> = subnet
                .dns_nameservers
                .iter()
                .map(|server| format!("[{server}]"))
                .collect();
            option(out, "option6:dns-server", &servers.join(","));
        }
    }
}

/// A name that DHCP may carry.
pub(crate) fn host_name(name: &str) -> String {
    let good = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(good).take(63).collect();
    let name = name.trim_matches('-');
    if name.is_empty() {
        "server".to_owned()
    } else {
        name.to_owned()
    }
}

impl Dhcp {
    /// A server that does not run yet.
    pub fn new(settings: DhcpSettings) -> Self {
        Self {
            settings,
            running: Mutex::new(None),
        }
    }

    fn serve(&self, leases: &Leases) -> Result<(), DhcpError> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running
            .as_ref()
            .is_some_and(|(served, child)| served == leases && child.is_alive())
        {
            return Ok(());
        }
        *running = None;
        self.write(leases)?;
        *running = Some((leases.clone(), self.start()?));
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.settings.directory.join(name)
    }

    fn write(&self, leases: &Leases) -> Result<(), DhcpError> {
        let directory = &self.settings.directory;
        fs::create_dir_all(directory).map_err(|source| DhcpError::File {
            path: directory.clone(),
            source,
        })?;
        let shown = |name: &str| self.path(name).display().to_string();
        let text = format!(
            "port=0\ninterface={}\nexcept-interface=lo\nbind-dynamic\ndhcp-authoritative\nno-ping\nno-hosts\nno-resolv\n\
             pid-file=\nuser=root\ngroup=root\nlog-facility=-\nenable-ra\ndhcp-leasefile={}\ndhcp-hostsfile={}\n{}",
            self.settings.interface,
            shown("leases"),
            shown("hosts"),
            leases.ranges
        );
        put(&self.path("dnsmasq.conf"), &text)?;
        put(&self.path("hosts"), &leases.hosts)?;
        // A lease outlives the machine that had it, and its address could not be given to the next one. Those
        // of fixed addresses follow from the hosts file; only the others have to be remembered.
        let old = fs::read_to_string(self.path("leases")).unwrap_or_default();
        let kept = old.lines().filter(|line| {
            let address = line
                .split(' ')
                .nth(2)
                .and_then(|text| text.parse::<Ipv4Addr>().ok());
            let range = self.settings.deploy_range;
            address.is_some_and(|address| {
                range.is_some_and(|(first, last)| first <= address && address <= last)
            })
        });
        let kept: String = kept.map(|line| format!("{line}\n")).collect();
        put(&self.path("leases"), &kept)
    }

    fn start(&self) -> Result<Running, DhcpError> {
        let log = self.path("dnsmasq.log");
        let mut options = File::options();
        let opened = options
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&log);
        let out = opened.map_err(|source| DhcpError::File {
            path: log.clone(),
            source,
        })?;
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "--",
            "dnsmasq",
            "--keep-in-foreground",
        ]);
        command.arg(format!(
            "--conf-file={}",
            self.path("dnsmasq.conf").display()
        ));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(out);
        let running = Running::start(command)?;
        loop {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if !running.is_alive() {
                let said = fs::read_to_string(&log).unwrap_or(said);
                let last = said.lines().last().unwrap_or("it said nothing");
                return Err(DhcpError::Ended {
                    said: last.trim().to_owned(),
                });
            }
            // Said after its sockets are bound.
            if said.contains("started") {
                return Ok(running);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

type Question = Box<dyn FnOnce(&mut Child) + Send>;

/// A child process with the thread that started it. The kernel ends the child with that thread, so the thread
/// lives until the child is to end.
struct Running {
    ask: Option<Sender<Question>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(mut command: Command) -> Result<Self, DhcpError> {
        let (ask, asked) = channel::<Question>();
        let (tell, told) = channel();
        let live = move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => {
                    // Whoever started this waits for the answer.
                    let _ = tell.send(Err(error));
                    return;
                }
            };
            let _ = tell.send(Ok(()));
            asked.iter().for_each(|question| question(&mut child));
            // One that has ended by itself is as good.
            match child.kill().and_then(|()| child.wait()) {
                Ok(_) | Err(_) => {}
            }
        };
        let thread = std::thread::Builder::new()
            .name("dnsmasq".to_owned())
            .spawn(live);
        let thread = thread.map_err(|source| DhcpError::Start { source })?;
        let started = told
            .recv()
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        started.map_err(|source| DhcpError::Start { source })?;
        Ok(Self {
            ask: Some(ask),
            thread: Some(thread),
        })
    }

    fn is_alive(&self) -> bool {
        let (tell, told) = channel();
        let question: Question = Box::new(move |child| {
            let _ = tell.send(matches!(child.try_wait(), Ok(None)));
        });
        let asked = self
            .ask
            .as_ref()
            .is_some_and(|ask| ask.send(question).is_ok());
        asked && told.recv().unwrap_or(false)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            // It only waits for the child that it has just killed.
            let _ = thread.join();
        }
    }
}

/// Writes beside and renames: dnsmasq never reads half of a file.
fn put(path: &Path, text: &str) -> Result<(), DhcpError> {
    let beside = path.with_extension("new");
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|source| DhcpError::File {
            path: path.to_owned(),
            source,
        })
}
