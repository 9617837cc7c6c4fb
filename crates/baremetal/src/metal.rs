//! The front of this room: nodes are created, read, changed and deleted here, and everybody who waits for a
//! change is woken.
//!
//! All rules that keep a node's record sound are here or in the modules that extend [`Baremetal`]; the
//! server above adds only wire forms and policy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;
use store::{Read, Store, Tx};
use tokio::sync::{Notify, Semaphore, watch};
use uuid::Uuid;

use crate::error::MetalError;
use crate::hardware::{Hardware, INTERFACE_KINDS};
use crate::node::{Node, NodeId};
use crate::parts::{HistoryEvent, KeptInventory};
use crate::rows;
use crate::settings::Settings;
use crate::state::ProvisionState;

/// All nodes of this server, and what drives them. Cheap to clone.
#[derive(Clone)]
pub struct Baremetal {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    pub(crate) hardware: BTreeMap<&'static str, Arc<dyn Hardware>>,
    pub(crate) changed: watch::Sender<u64>,
    pub(crate) wake: Notify,
    pub(crate) slots: Arc<Semaphore>,
    /// Since when machines can be heard.
    pub(crate) since: Timestamp,
    /// Whether allocations may wait to be settled.
    pub(crate) allocating: AtomicBool,
}

impl Baremetal {
    /// Opens what is kept in `store`, whose migrations include [`crate::MIGRATIONS`]. Nothing is done with
    /// machines until [`Baremetal::run`] runs.
    pub async fn open(
        store: Store,
        settings: Settings,
        hardware: Vec<Arc<dyn Hardware>>,
    ) -> Result<Self, MetalError> {
        let host = settings.host.clone();
        // Whoever had this name before is gone, and so is what it was doing.
        store
            .write(move |tx| rows::forget_leases(tx, &host))
            .await?;
        let slots = Arc::new(Semaphore::new(settings.concurrency));
        let since = settings.clock.now();
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                settings,
                hardware: hardware.into_iter().map(|it| (it.name(), it)).collect(),
                changed: watch::channel(0).0,
                wake: Notify::new(),
                slots,
                since,
                allocating: AtomicBool::new(true),
            }),
        })
    }

    /// What the server decided for all nodes.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The hardware types, by driver name.
    pub fn drivers(&self) -> impl Iterator<Item = &Arc<dyn Hardware>> {
        self.inner.hardware.values()
    }

    /// The hardware type of this name.
    pub fn driver(&self, name: &str) -> Option<&Arc<dyn Hardware>> {
        self.inner.hardware.get(name)
    }

    /// The hardware type of a node.
    pub fn hardware_of(&self, node: &Node) -> Result<Arc<dyn Hardware>, MetalError> {
        self.driver(&node.driver)
            .cloned()
            .ok_or_else(|| MetalError::NoDriver {
                driver: node.driver.clone(),
                group: node.conductor_group.clone(),
            })
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.inner.settings.clock.now()
    }

    /// Wakes up with each change of a node that this process made.
    ///
    /// Two servers on one database do not see each other's changes here: look again after a pause, too.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// Says that something changed, and lets the scheduler look.
    pub fn wake(&self) {
        self.inner.changed.send_modify(|count| *count += 1);
        self.inner.wake.notify_one();
    }

    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T, MetalError>
    where
        F: FnOnce(&Read<'_>) -> Result<T, MetalError> + Send + 'static,
        T: Send + 'static,
    {
        self.inner.store.read(work).await
    }

    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, MetalError>
    where
        F: FnOnce(&Tx<'_>) -> Result<T, MetalError> + Send + 'static,
        T: Send + 'static,
    {
        let result = self.inner.store.write(work).await;
        if result.is_ok() {
            self.wake();
        }
        result
    }

    // ------------------------------------------------------------ nodes

    /// All nodes, oldest first.
    pub async fn nodes(&self) -> Result<Vec<Node>, MetalError> {
        self.read(rows::nodes).await
    }

    /// The node with this identity.
    pub async fn node(&self, id: NodeId) -> Result<Node, MetalError> {
        self.read(move |read| get(read, id)).await
    }

    /// The node with this identity or name.
    pub async fn find_node(&self, ident: &str) -> Result<Node, MetalError> {
        let ident = ident.to_owned();
        self.read(move |read| find(read, &ident)).await
    }

    /// The node that an instance holds.
    pub async fn node_of_instance(&self, instance: Uuid) -> Result<Option<Node>, MetalError> {
        self.read(move |read| rows::node_of(read, instance)).await
    }

    /// Enrols a node. Interfaces that are not named get the driver's defaults.
    pub async fn create_node(&self, mut node: Node) -> Result<Node, MetalError> {
        let hardware = self.hardware_of(&node)?;
        check_interfaces(&mut node, hardware.as_ref())?;
        if node.uuid.0.is_nil() {
            node.uuid = NodeId::new();
        }
        node.created_at = self.now();
        self.write(move |tx| {
            if rows::node(tx, node.uuid)?.is_some() {
                return Err(MetalError::InUse {
                    what: "A node with UUID",
                    value: node.uuid.to_string(),
                    by: String::new(),
                });
            }
            check_unique(tx, &node)?;
            rows::insert_node(tx, &node)?;
            Ok(node)
        })
        .await
    }

    /// Changes a node, waiting a moment for one that is being worked on.
    ///
    /// `change` sees the node as it is inside the transaction; what it refuses is not written. The driver,
    /// interfaces and unique values are checked afterwards, so that no change can break them.
    pub async fn update_node<F>(&self, id: NodeId, change: F) -> Result<Node, MetalError>
    where
        F: FnOnce(&mut Node) -> Result<(), MetalError> + Send + 'static,
    {
        self.unlocked(id).await?;
        let metal = self.clone();
        self.write(move |tx| {
            let before = get(tx, id)?;
            if before.is_locked() {
                return Err(metal.locked(&before));
            }
            let mut node = before.clone();
            change(&mut node)?;
            let hardware = metal.hardware_of(&node)?;
            check_interfaces(&mut node, hardware.as_ref())?;
            check_unique(tx, &node)?;
            metal.touch(&mut node);
            rows::update_node(tx, &node)?;
            Ok(node)
        })
        .await
    }

    /// Forgets a node and all that goes with it.
    pub async fn delete_node(&self, id: NodeId) -> Result<(), MetalError> {
        self.unlocked(id).await?;
        let metal = self.clone();
        self.write(move |tx| {
            let node = get(tx, id)?;
            if node.is_locked() {
                return Err(metal.locked(&node));
            }
            check_deletable(&node)?;
            rows::delete_node(tx, id)
        })
        .await
    }

    /// What happened to a node, newest first.
    pub async fn history(&self, id: NodeId) -> Result<Vec<HistoryEvent>, MetalError> {
        self.read(move |read| rows::events(read, id)).await
    }

    /// What the last look at the hardware brought.
    pub async fn inventory(&self, id: NodeId) -> Result<Option<KeptInventory>, MetalError> {
        self.read(move |read| rows::inventory(read, id)).await
    }

    /// Waits a moment until nobody works on the node. The answer may be old when it arrives.
    pub(crate) async fn unlocked(&self, id: NodeId) -> Result<(), MetalError> {
        let mut changes = self.watch();
        let wait = async {
            loop {
                changes.borrow_and_update();
                if !self.node(id).await?.is_locked() {
                    return Ok(());
                }
                if changes.changed().await.is_err() {
                    return Ok(());
                }
            }
        };
        match tokio::time::timeout(self.inner.settings.lock_wait, wait).await {
            Ok(result) => result,
            Err(_) => Err(self.locked(&self.node(id).await?)),
        }
    }

    pub(crate) fn locked(&self, node: &Node) -> MetalError {
        MetalError::Locked {
            node: node.uuid.to_string(),
            host: self.inner.settings.host.clone(),
        }
    }

    pub(crate) fn touch(&self, node: &mut Node) {
        node.revision += 1;
        node.updated_at = Some(self.now());
    }
}

/// The node, or the error that names it.
pub(crate) fn get(read: &Read<'_>, id: NodeId) -> Result<Node, MetalError> {
    rows::node(read, id)?.ok_or_else(|| MetalError::NotFound {
        kind: "Node",
        id: id.to_string(),
    })
}

/// The node with this identity or name, or the error that names it.
pub(crate) fn find(read: &Read<'_>, ident: &str) -> Result<Node, MetalError> {
    let found = match ident.parse::<NodeId>() {
        Ok(id) => rows::node(read, id)?,
        Err(_) => rows::node_named(read, ident)?,
    };
    found.ok_or_else(|| MetalError::NotFound {
        kind: "Node",
        id: ident.to_owned(),
    })
}

/// Fills in the driver's defaults and refuses interfaces that it does not have.
fn check_interfaces(node: &mut Node, hardware: &dyn Hardware) -> Result<(), MetalError> {
    for kind in INTERFACE_KINDS {
        let offered = hardware.interfaces(kind);
        match node.interfaces.get(*kind) {
            Some(name) if offered.contains(&name.as_str()) => {}
            Some(name) => {
                return Err(MetalError::Invalid(format!(
                    "Could not find the following interface in the '{kind}' entrypoint of driver `{}`: {name}. Valid interfaces are {}.",
                    hardware.name(),
                    offered.join(", ")
                )));
            }
            None => {
                if let Some(default) = offered.first() {
                    node.interfaces
                        .insert((*kind).to_owned(), (*default).to_owned());
                }
            }
        }
    }
    Ok(())
}

fn check_unique(read: &Read<'_>, node: &Node) -> Result<(), MetalError> {
    if let Some(name) = &node.name
        && rows::node_named(read, name)?.is_some_and(|other| other.uuid != node.uuid)
    {
        return Err(MetalError::InUse {
            what: "A node with name",
            value: name.clone(),
            by: String::new(),
        });
    }
    if let Some(instance) = node.instance_uuid
        && let Some(other) = rows::node_of(read, instance)?
        && other.uuid != node.uuid
    {
        return Err(MetalError::InUse {
            what: "Instance",
            value: instance.to_string(),
            by: format!(" by node {}", other.uuid),
        });
    }
    if let Some(chassis) = node.chassis_uuid
        && rows::part::<crate::parts::Chassis>(read, chassis)?.is_none()
    {
        return Err(MetalError::Invalid(format!(
            "Chassis {chassis} could not be found."
        )));
    }
    Ok(())
}

fn check_deletable(node: &Node) -> Result<(), MetalError> {
    if node.protected {
        return Err(MetalError::Protected {
            node: node.uuid.to_string(),
        });
    }
    if let Some(instance) = node.instance_uuid
        && !node.maintenance
    {
        return Err(MetalError::Conflict(format!(
            "Node {} is associated with instance {instance}.",
            node.uuid
        )));
    }
    if node.maintenance || node.provision_state.may_be_deleted() {
        return Ok(());
    }
    Err(MetalError::Conflict(format!(
        "Can not delete node \"{}\" while it is in provision state \"{}\". Valid provision states to perform deletion are: \"{}\"",
        node.uuid,
        node.provision_state,
        ProvisionState::ALL
            .iter()
            .filter(|state| state.may_be_deleted())
            .map(|state| state.word())
            .collect::<Vec<_>>()
            .join(", ")
    )))
}
