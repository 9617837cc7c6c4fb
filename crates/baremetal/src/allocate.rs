//! Allocations: claims for a node that are written at once and settled in the background.

use std::sync::atomic::Ordering;

use serde_json::json;
use store::Tx;
use uuid::Uuid;

use crate::choose::{Wanted, unavailable, why_not};
use crate::error::MetalError;
use crate::metal::{Baremetal, find, get};
use crate::node::{Node, NodeId};
use crate::parts::Allocation;
use crate::rows;
use crate::state::ProvisionState;

/// The states of an allocation.
const ALLOCATING: &str = "allocating";
const ACTIVE: &str = "active";
const ERROR: &str = "error";

impl Baremetal {
    /// Asks for a node. `candidates` are names or identities; with `backfill` an active node is taken as it is.
    pub async fn create_allocation(
        &self,
        mut allocation: Allocation,
        candidates: Vec<String>,
        backfill: Option<String>,
    ) -> Result<Allocation, MetalError> {
        let metal = self.clone();
        allocation.state = ALLOCATING.into();
        allocation.created_at = self.now();
        let made = self
            .write(move |tx| {
                check_name(tx, &allocation)?;
                if rows::part::<Allocation>(tx, allocation.uuid)?.is_some() {
                    return Err(MetalError::InUse {
                        what: "An allocation with UUID",
                        value: allocation.uuid.to_string(),
                        by: String::new(),
                    });
                }
                for ident in &candidates {
                    let node = find(tx, ident).map_err(|_| {
                        MetalError::Invalid(format!(
                            "Invalid candidate_nodes: node {ident} could not be found."
                        ))
                    })?;
                    allocation.candidate_nodes.push(node.uuid);
                }
                if let Some(ident) = &backfill {
                    metal.backfill(tx, &mut allocation, ident)?;
                }
                rows::put_part(tx, &allocation)?;
                Ok(allocation)
            })
            .await?;
        self.inner.allocating.store(true, Ordering::SeqCst);
        self.wake();
        Ok(made)
    }

    fn backfill(
        &self,
        tx: &Tx<'_>,
        allocation: &mut Allocation,
        ident: &str,
    ) -> Result<(), MetalError> {
        let mut node = find(tx, ident)
            .map_err(|_| MetalError::Invalid(format!("Node {ident} could not be found.")))?;
        if node.provision_state != ProvisionState::Active {
            return Err(MetalError::Conflict(format!(
                "Cannot backfill an allocation for node {}: it is in state \"{}\", not active.",
                node.uuid, node.provision_state
            )));
        }
        if node
            .instance_uuid
            .is_some_and(|held| held != allocation.uuid)
        {
            return Err(MetalError::Conflict(format!(
                "Cannot backfill an allocation for node {}: it is associated with an instance.",
                node.uuid
            )));
        }
        if let Some(class) = &allocation.resource_class
            && node.resource_class.as_ref() != Some(class)
        {
            return Err(MetalError::Invalid(format!(
                "Cannot backfill an allocation for node {}: its resource class is not {class}.",
                node.uuid
            )));
        }
        allocation.resource_class = node.resource_class.clone();
        allocation.candidate_nodes = vec![node.uuid];
        self.take(tx, allocation, &mut node)
    }

    /// Gives the allocation its node.
    fn take(
        &self,
        tx: &Tx<'_>,
        allocation: &mut Allocation,
        node: &mut Node,
    ) -> Result<(), MetalError> {
        node.instance_uuid = Some(allocation.uuid);
        node.allocation_uuid = Some(allocation.uuid);
        if !allocation.traits.is_empty() {
            node.instance_info
                .insert("traits".into(), json!(allocation.traits));
        }
        self.touch(node);
        rows::update_node(tx, node)?;
        allocation.node_uuid = Some(node.uuid);
        allocation.state = ACTIVE.into();
        allocation.last_error = None;
        Ok(())
    }

    /// Settles all allocations that wait, oldest first.
    pub(crate) async fn settle_allocations(&self) -> Result<(), MetalError> {
        let metal = self.clone();
        let settled = self
            .inner
            .store
            .write(move |tx| {
                let waiting = rows::parts::<Allocation>(tx, None)?
                    .into_iter()
                    .filter(|it| it.state == ALLOCATING);
                let mut settled = 0;
                for mut allocation in waiting {
                    metal.settle(tx, &mut allocation)?;
                    rows::put_part(tx, &allocation)?;
                    settled += 1;
                }
                Ok::<_, MetalError>(settled)
            })
            .await?;
        if settled > 0 {
            self.inner.changed.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    fn settle(&self, tx: &Tx<'_>, allocation: &mut Allocation) -> Result<(), MetalError> {
        let wanted = Wanted {
            resource_class: allocation.resource_class.clone(),
            traits: allocation.traits.clone(),
            ..Wanted::default()
        };
        let mut node = rows::nodes(tx)?.into_iter().find(|node| {
            let named = allocation.candidate_nodes.is_empty()
                || allocation.candidate_nodes.contains(&node.uuid);
            let theirs = allocation.owner.is_none() || node.owner == allocation.owner;
            // A machine whose power was never seen is not known to be there.
            named && theirs && node.power_state.is_some() && why_not(node, &wanted).is_none()
        });
        allocation.updated_at = Some(self.now());
        if let Some(node) = &mut node {
            return self.take(tx, allocation, node);
        }
        allocation.state = ERROR.into();
        allocation.last_error = Some(self.explain(tx, allocation)?);
        Ok(())
    }

    fn explain(&self, tx: &Tx<'_>, allocation: &Allocation) -> Result<String, MetalError> {
        let class = allocation.resource_class.as_deref().unwrap_or_default();
        let of_class: Vec<Node> = rows::nodes(tx)?
            .into_iter()
            .filter(|node| node.resource_class.as_deref() == Some(class))
            .collect();
        let free = of_class.iter().any(|node| unavailable(node).is_none());
        let why = match (of_class.is_empty() || !free, allocation.traits.is_empty()) {
            (true, _) => format!("no available nodes match the resource class {class}"),
            (false, false) => format!(
                "no suitable nodes of resource class {class} have the traits {}",
                allocation.traits.join(", ")
            ),
            (false, true) => {
                format!("none of the candidates of resource class {class} can be used")
            }
        };
        Ok(format!(
            "Failed to process allocation {}: {why}",
            allocation.uuid
        ))
    }

    /// All allocations, oldest first.
    pub async fn allocations(&self) -> Result<Vec<Allocation>, MetalError> {
        self.read(|read| rows::parts(read, None)).await
    }

    /// The allocation with this identity or name.
    pub async fn find_allocation(&self, ident: &str) -> Result<Allocation, MetalError> {
        let ident = ident.to_owned();
        self.read(move |read| find_allocation(read, &ident)).await
    }

    /// The allocation that holds a node.
    pub async fn allocation_of(&self, id: NodeId) -> Result<Option<Allocation>, MetalError> {
        self.read(move |read| match get(read, id)?.allocation_uuid {
            Some(allocation) => rows::part(read, allocation),
            None => Ok(None),
        })
        .await
    }

    /// Changes name and notes of an allocation.
    pub async fn update_allocation<F>(
        &self,
        ident: &str,
        change: F,
    ) -> Result<Allocation, MetalError>
    where
        F: FnOnce(&mut Allocation) -> Result<(), MetalError> + Send + 'static,
    {
        let (ident, now) = (ident.to_owned(), self.now());
        self.write(move |tx| {
            let mut allocation = find_allocation(tx, &ident)?;
            change(&mut allocation)?;
            check_name(tx, &allocation)?;
            allocation.updated_at = Some(now);
            rows::put_part(tx, &allocation)?;
            Ok(allocation)
        })
        .await
    }

    /// Removes an allocation and frees its node, unless that is in use.
    pub async fn delete_allocation(&self, ident: &str) -> Result<(), MetalError> {
        let (metal, ident) = (self.clone(), ident.to_owned());
        self.write(move |tx| {
            let allocation = find_allocation(tx, &ident)?;
            if let Some(mut node) = allocation
                .node_uuid
                .map(|id| rows::node(tx, id))
                .transpose()?
                .flatten()
            {
                if node.provision_state.is_in_use() && !node.maintenance {
                    return Err(MetalError::Conflict(format!(
                        "Cannot remove allocation {} for node {}, because the node is in state {} where it cannot be freed.",
                        allocation.uuid, node.uuid, node.provision_state
                    )));
                }
                node.instance_uuid = None;
                node.allocation_uuid = None;
                node.instance_info.remove("traits");
                metal.touch(&mut node);
                rows::update_node(tx, &node)?;
            }
            rows::delete_part::<Allocation>(tx, allocation.uuid)?;
            Ok(())
        })
        .await
    }
}

fn find_allocation(read: &store::Read<'_>, ident: &str) -> Result<Allocation, MetalError> {
    let found = match Uuid::parse_str(ident) {
        Ok(id) => rows::part(read, id)?,
        Err(_) => rows::part_by(read, "name", ident)?,
    };
    found.ok_or_else(|| MetalError::NotFound {
        kind: "Allocation",
        id: ident.to_owned(),
    })
}

fn check_name(read: &store::Read<'_>, allocation: &Allocation) -> Result<(), MetalError> {
    if let Some(name) = &allocation.name
        && rows::part_by::<Allocation>(read, "name", name)?
            .is_some_and(|other| other.uuid != allocation.uuid)
    {
        return Err(MetalError::InUse {
            what: "An allocation with name",
            value: name.clone(),
            by: String::new(),
        });
    }
    Ok(())
}
