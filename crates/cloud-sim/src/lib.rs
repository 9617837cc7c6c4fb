//! A cloud in memory: real state, thousands of nodes, latencies, and faults on request.
//!
//! It keeps what it was told, gives out addresses and machines, refuses what a cloud would refuse,
//! and passes [`cloud::contract`]. It reaches no machine and forgets all when it is dropped.

mod addresses;
mod driver;
mod faults;
mod server;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloud::{CloudError, Kind, Named, PhysicalName, Revision};
use jiff::Timestamp;
use tokio::sync::watch;

pub use faults::Fault;

use state::State;

/// A machine of the sim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What a flavor asks for.
    pub resource_class: String,
    /// Capabilities that scheduler hints may ask for: `node`, `profile`.
    pub capabilities: Vec<(String, String)>,
}

/// What a sim is made of.
#[derive(Clone)]
pub struct Options {
    /// Images by name.
    pub images: Vec<String>,
    /// Flavors: name and the resource class of the machines that fit.
    pub flavors: Vec<(String, String)>,
    /// Networks that are there from the first: name and addresses of the subnet.
    pub networks: Vec<(String, ipnet::IpNet)>,
    /// The machines.
    pub nodes: Vec<Node>,
    /// How long a server takes to come up or to be rebuilt.
    pub server_time: Duration,
    /// The clock.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Options {
    /// A cloud of so many equal machines, one image `image`, one flavor `baremetal` and the network
    /// `ctlplane` (192.0.2.0/24).
    pub fn with_nodes(count: usize) -> Options {
        let node = |at: usize| Node {
            name: format!("node-{at}"),
            resource_class: "baremetal".to_owned(),
            capabilities: Vec::new(),
        };
        let ctlplane =
            ipnet::Ipv4Net::new(std::net::Ipv4Addr::new(192, 0, 2, 0), 24).unwrap_or_default();
        Options {
            images: vec!["image".to_owned()],
            flavors: vec![("baremetal".to_owned(), "baremetal".to_owned())],
            networks: vec![("ctlplane".to_owned(), ctlplane.into())],
            nodes: (0..count).map(node).collect(),
            server_time: Duration::ZERO,
            now: Arc::new(Timestamp::now),
        }
    }
}

/// A cloud in memory.
pub struct Sim {
    state: Mutex<State>,
    moved: watch::Sender<u64>,
    options: Options,
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sim").finish_non_exhaustive()
    }
}

impl Sim {
    /// Makes a cloud.
    pub fn new(options: Options) -> Sim {
        Sim {
            state: Mutex::new(State::new(&options)),
            moved: watch::Sender::new(1),
            options,
        }
    }

    /// How many calls that change something have come.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Adds a fault.
    pub fn inject(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// Takes all faults away; hanging things go on.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.faults.clear();
        let servers = state.servers.values_mut().map(|shelf| &mut shelf.work);
        for work in servers.flatten() {
            work.hangs = false;
        }
        drop(state);
        self.touch();
    }

    /// All that the engine made and that is still there, `kind name`, sorted.
    pub fn inventory(&self) -> Vec<String> {
        let state = self.lock();
        let kinds = [
            Kind::Server,
            Kind::Port,
            Kind::Network,
            Kind::Subnet,
            Kind::Router,
            Kind::FloatingAddress,
            Kind::SecurityGroup,
            Kind::KeyPair,
        ];
        let mut all: Vec<String> = kinds
            .into_iter()
            .flat_map(|kind| state.named(kind).into_iter().map(move |one| (kind, one)))
            .filter(|(_, one)| !state.given.contains(&one.id))
            .map(|(kind, one)| format!("{kind} {}", one.name))
            .collect();
        all.sort();
        all
    }

    /// What a server was made from, to see that it got what it should.
    pub fn server_spec(&self, name: &PhysicalName) -> Option<cloud::ServerSpec> {
        let state = self.lock();
        state.servers.get(name).map(|shelf| shelf.spec.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the watchers that something moved.
    fn touch(&self) {
        self.moved.send_modify(|revision| *revision += 1);
    }

    async fn wait(&self, seen: Revision) -> Revision {
        let mut moved = self.moved.subscribe();
        loop {
            let now = *moved.borrow_and_update();
            if now > seen.0 {
                return Revision(now);
            }
            let next = self.lock().next_ready((self.options.now)());
            let pause = next.unwrap_or(Duration::from_secs(3600));
            tokio::select! {
                changed = moved.changed() => {
                    if changed.is_err() {
                        return Revision(now);
                    }
                }
                () = tokio::time::sleep(pause) => self.touch(),
            }
        }
    }

    fn find_named(&self, kind: Kind, name_or_id: &str) -> Result<Option<Named>, CloudError> {
        self.lock().find(kind, name_or_id)
    }
}
