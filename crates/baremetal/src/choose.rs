//! Choosing a node for an instance, and saying of each other node why it is not the one.
//!
//! [`why_not`] is pure. Reserving is one transaction: two that want the same node never both get it.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::deploy::DeployOrder;
use crate::error::MetalError;
use crate::metal::{Baremetal, get};
use crate::node::{Node, NodeId};
use crate::rows;
use crate::state::{ProvisionState, Verb};
use crate::verbs::VerbRequest;

/// What an instance wants of a node. Empty parts want nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The class that the node must have.
    pub resource_class: Option<String>,
    /// Capabilities of `properties` and the values that they must have.
    pub capabilities: BTreeMap<String, String>,
    /// Traits that it must have.
    pub traits: Vec<String>,
    /// Threads at least.
    pub cpus: Option<u64>,
    /// MiB of memory at least.
    pub memory_mb: Option<u64>,
    /// GiB of disk at least.
    pub local_gb: Option<u64>,
    /// The project that it is for: nodes that another project owns are left out.
    pub project: Option<String>,
    /// Only this node will do: name or identity.
    pub node: Option<String>,
}

/// A node, and why it does not fit; none: it does.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The node.
    pub node: Node,
    /// Why it does not fit.
    pub why_not: Option<String>,
    /// Whether it is what is wanted and only has to become free: it is being cleaned, or on its way there.
    pub soon: bool,
}

/// Why a node does not fit; none: it does.
pub fn why_not(node: &Node, wanted: &Wanted) -> Option<String> {
    unfit(node, wanted).or_else(|| unavailable(node))
}

/// Why a node cannot be had now, whatever is wanted.
pub(crate) fn unavailable(node: &Node) -> Option<String> {
    if node.provision_state != ProvisionState::Available {
        return Some(format!("it is `{}`, not available", node.provision_state));
    }
    if node.maintenance {
        let reason = node
            .maintenance_reason
            .as_deref()
            .unwrap_or("no reason given");
        return Some(format!("it is in maintenance ({reason})"));
    }
    if let Some(instance) = node.instance_uuid {
        return Some(format!("instance {instance} holds it"));
    }
    if node.retired {
        return Some("it is retired".into());
    }
    node.work.as_ref().map(|_| "it is being worked on".into())
}

/// Whether a node becomes available without anybody doing anything, if all goes well.
fn becomes_available(node: &Node) -> bool {
    let on_its_way = match node.provision_state {
        // Undeploying goes through cleaning by itself; cleaning by hand ends elsewhere.
        ProvisionState::Deleting | ProvisionState::Cleaning | ProvisionState::CleanWait => {
            node.target_provision_state == Some(ProvisionState::Available)
        }
        _ => false,
    };
    on_its_way && !node.maintenance && !node.retired
}

/// Why a node is not what is wanted, whether it can be had or not.
fn unfit(node: &Node, wanted: &Wanted) -> Option<String> {
    if let Some(only) = &wanted.node
        && node.name.as_ref() != Some(only)
        && node.uuid.to_string() != *only
    {
        return Some(format!("node `{only}` is wanted"));
    }
    if let Some(class) = &wanted.resource_class
        && node.resource_class.as_ref() != Some(class)
    {
        return Some(match &node.resource_class {
            Some(own) => format!("its resource class is `{own}`, not `{class}`"),
            None => format!("it has no resource class, `{class}` is wanted"),
        });
    }
    for (name, value) in &wanted.capabilities {
        match node.capability(name) {
            Some(own) if own == *value => {}
            Some(own) => {
                return Some(format!("its capability `{name}` is `{own}`, not `{value}`"));
            }
            None => return Some(format!("it lacks the capability `{name}:{value}`")),
        }
    }
    if let Some(missing) = wanted
        .traits
        .iter()
        .find(|name| !node.traits.contains(name))
    {
        return Some(format!("it lacks the trait `{missing}`"));
    }
    for (key, unit, least) in [
        ("cpus", "CPUs", wanted.cpus),
        ("memory_mb", "MiB of memory", wanted.memory_mb),
        ("local_gb", "GiB of disk", wanted.local_gb),
    ] {
        // A property that nobody noted is no reason: the resource class is what nodes are chosen by.
        if let (Some(least), Some(own)) = (least, node.number(key))
            && own < least
        {
            return Some(format!("it has {own} {unit}, {least} are wanted"));
        }
    }
    match (&node.owner, &wanted.project) {
        (Some(owner), Some(project))
            if owner != project && node.lessee.as_ref() != Some(project) =>
        {
            Some("it belongs to another project".into())
        }
        _ => None,
    }
}

/// All reasons as one text, nodes in order.
pub fn reasons(candidates: &[Candidate]) -> String {
    if candidates.is_empty() {
        return "there are no nodes".into();
    }
    let told: Vec<String> = candidates
        .iter()
        .filter_map(|it| Some(format!("{}: {}", it.node.label(), it.why_not.as_ref()?)))
        .collect();
    told.join("; ")
}

impl Baremetal {
    /// All nodes, each with why it does not fit.
    pub async fn candidates(&self, wanted: &Wanted) -> Result<Vec<Candidate>, MetalError> {
        let nodes = self.nodes().await?;
        Ok(judge(nodes, wanted))
    }

    /// Reserves a node that fits for an instance. Asked again for the same instance it gives the same node.
    pub async fn reserve(&self, wanted: &Wanted, instance: Uuid) -> Result<Node, MetalError> {
        let (metal, wanted) = (self.clone(), wanted.clone());
        self.write(move |tx| {
            if let Some(node) = rows::node_of(tx, instance)? {
                return Ok(node);
            }
            let judged = judge(rows::nodes(tx)?, &wanted);
            // The smallest that fits: larger ones stay for those who need them.
            let best = judged
                .iter()
                .filter(|it| it.why_not.is_none())
                .min_by_key(|it| it.node.number("memory_mb").unwrap_or(0));
            let Some(best) = best else {
                return Err(MetalError::NoneFits {
                    reasons: reasons(&judged),
                });
            };
            let mut node = best.node.clone();
            node.instance_uuid = Some(instance);
            metal.touch(&mut node);
            rows::update_node(tx, &node)?;
            Ok(node)
        })
        .await
    }

    /// Gives a reserved node back that was never deployed. One that another instance holds is left alone.
    pub async fn release(&self, id: NodeId, instance: Uuid) -> Result<(), MetalError> {
        let metal = self.clone();
        self.write(move |tx| {
            let mut node = get(tx, id)?;
            let untouched = node.provision_state == ProvisionState::Available;
            if node.instance_uuid == Some(instance) && untouched {
                node.instance_uuid = None;
                rows::delete_order(tx, id)?;
                metal.touch(&mut node);
                rows::update_node(tx, &node)?;
            }
            Ok(())
        })
        .await
    }

    /// Puts an image onto the node that an instance holds. A node that is on its way or there is left alone.
    pub async fn deploy(
        &self,
        id: NodeId,
        instance: Uuid,
        order: DeployOrder,
    ) -> Result<Node, MetalError> {
        let node = self.held(id, instance).await?;
        match node.provision_state {
            ProvisionState::Deploying | ProvisionState::DeployWait | ProvisionState::Active => {
                Ok(node)
            }
            _ => self.order(id, Verb::Deploy, order).await,
        }
    }

    /// Puts an image onto a node again that an instance holds and runs on.
    pub async fn rebuild(
        &self,
        id: NodeId,
        instance: Uuid,
        order: DeployOrder,
    ) -> Result<Node, MetalError> {
        self.held(id, instance).await?;
        self.order(id, Verb::Rebuild, order).await
    }

    /// Takes a node back from an instance: off, cleaned, available. Asked again it changes nothing.
    ///
    /// The node is free of the instance as soon as `node_of_instance` does not find it any more.
    pub async fn undeploy(&self, id: NodeId, instance: Uuid) -> Result<(), MetalError> {
        let node = match self.node(id).await {
            Ok(node) => node,
            Err(MetalError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        if node.instance_uuid != Some(instance) {
            return Ok(());
        }
        match node.provision_state {
            ProvisionState::Available => self.release(id, instance).await,
            ProvisionState::Deleting | ProvisionState::Cleaning | ProvisionState::CleanWait => {
                Ok(())
            }
            _ => self.ask(id, Verb::Undeploy.into()).await.map(drop),
        }
    }

    async fn order(&self, id: NodeId, verb: Verb, order: DeployOrder) -> Result<Node, MetalError> {
        let request = VerbRequest {
            order: Some(order),
            ..verb.into()
        };
        self.ask(id, request).await
    }

    async fn held(&self, id: NodeId, instance: Uuid) -> Result<Node, MetalError> {
        let node = self.node(id).await?;
        if node.instance_uuid == Some(instance) {
            return Ok(node);
        }
        Err(MetalError::Conflict(format!(
            "Node {} is not held by instance {instance}.",
            node.label()
        )))
    }
}

fn judge(nodes: Vec<Node>, wanted: &Wanted) -> Vec<Candidate> {
    nodes
        .into_iter()
        .map(|node| Candidate {
            why_not: why_not(&node, wanted),
            soon: becomes_available(&node) && unfit(&node, wanted).is_none(),
            node,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node() -> Node {
        let mut node = Node {
            name: Some("n".into()),
            provision_state: ProvisionState::Available,
            resource_class: Some("baremetal".into()),
            traits: vec!["CUSTOM_A".into()],
            ..Node::default()
        };
        node.properties
            .insert("capabilities".into(), json!("profile:control,a:b"));
        node.properties.insert("memory_mb".into(), json!("1024"));
        node
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Node, &mut Wanted), expect: Option<&str>) {
        let (mut node, mut wanted) = (node(), Wanted::default());
        change(&mut node, &mut wanted);
        assert_eq!(why_not(&node, &wanted).as_deref(), expect);
    }

    #[test]
    fn a_node_that_is_cleaned_for_the_next_one_is_soon_free() {
        let soon = |state, target, change: &dyn Fn(&mut Node)| {
            let mut node = node();
            node.provision_state = state;
            node.target_provision_state = target;
            change(&mut node);
            judge(
                vec![node],
                &Wanted {
                    resource_class: Some("baremetal".into()),
                    ..Wanted::default()
                },
            )[0]
            .soon
        };
        use ProvisionState as P;
        let free = Some(P::Available);
        for state in [P::Deleting, P::Cleaning, P::CleanWait] {
            assert!(soon(state, free, &|_| {}), "{state}");
            assert!(
                !soon(state, Some(P::Manageable), &|_| {}),
                "{state} by hand"
            );
            assert!(!soon(state, free, &|node| node.maintenance = true));
            assert!(!soon(state, free, &|node| node.retired = true));
            assert!(!soon(state, free, &|node| node.resource_class = None));
        }
        for state in [
            P::Active,
            P::CleanFailed,
            P::Manageable,
            P::DeployFailed,
            P::Available,
        ] {
            assert!(!soon(state, free, &|_| {}), "{state}");
        }
    }

    #[test]
    fn reasons_name_what_differs() {
        check(|_, _| {}, None);
        check(
            |_, w| w.resource_class = Some("gold".into()),
            Some("its resource class is `baremetal`, not `gold`"),
        );
        check(
            |_, w| drop(w.capabilities.insert("profile".into(), "control".into())),
            None,
        );
        check(
            |_, w| drop(w.capabilities.insert("profile".into(), "compute".into())),
            Some("its capability `profile` is `control`, not `compute`"),
        );
        check(
            |_, w| w.traits = vec!["CUSTOM_B".into()],
            Some("it lacks the trait `CUSTOM_B`"),
        );
        check(
            |_, w| w.memory_mb = Some(2048),
            Some("it has 1024 MiB of memory, 2048 are wanted"),
        );
        check(|_, w| w.local_gb = Some(10), None);
        check(
            |n, _| n.maintenance = true,
            Some("it is in maintenance (no reason given)"),
        );
        check(
            |n, _| n.provision_state = ProvisionState::Manageable,
            Some("it is `manageable`, not available"),
        );
        check(
            |_, w| w.node = Some("other".into()),
            Some("node `other` is wanted"),
        );
    }
}
