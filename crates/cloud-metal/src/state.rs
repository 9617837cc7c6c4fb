//! What a server is at this moment: Nova's word for it, what it waits for, what went wrong.

use baremetal::{MetalError, Node, NodeId, Power, ProvisionState};
use cloud::{CloudError, PhysicalName, Server};

use crate::MetalCloud;
use crate::failure::of_metal;
use crate::rows::{self, Record};

/// A server with its node at this moment.
#[derive(Debug, Clone)]
pub struct ServerState {
    /// What is kept of it; its status is that of this moment.
    pub record: Record<Server>,
    /// The node that it runs on.
    pub node: Option<Node>,
    /// What it waits for.
    pub waits: Option<String>,
    /// What went wrong with it.
    pub fault: Option<String>,
}

impl MetalCloud {
    pub(crate) async fn state_of(
        &self,
        mut record: Record<Server>,
    ) -> Result<ServerState, CloudError> {
        let node = match record.note.node {
            None => None,
            Some(id) => match self.inner.metal.node(NodeId(id)).await {
                Ok(node) => Some(node),
                Err(MetalError::NotFound { .. }) => None,
                Err(error) => return Err(of_metal(&record.thing.name, error)),
            },
        };
        let (status, waits, fault) = look(&record, node.as_ref());
        record.thing.status = status.to_owned();
        Ok(ServerState {
            record,
            node,
            waits,
            fault,
        })
    }

    /// All servers with their nodes.
    pub async fn servers(&self) -> Result<Vec<ServerState>, CloudError> {
        let mut states = Vec::new();
        for record in self.read(rows::all::<Server>).await? {
            states.push(self.state_of(record).await?);
        }
        Ok(states)
    }

    pub(crate) async fn server_now(
        &self,
        name: &PhysicalName,
    ) -> Result<Option<Server>, CloudError> {
        let by = name.clone();
        match self
            .read(move |read| rows::by_physical::<Server>(read, &by))
            .await?
        {
            Some(record) => Ok(Some(self.state_of(record).await?.record.thing)),
            None => Ok(None),
        }
    }
}

/// Nova's word for a server, what it waits for, and what went wrong.
fn look(
    record: &Record<Server>,
    node: Option<&Node>,
) -> (&'static str, Option<String>, Option<String>) {
    let waiting = |status, why: String| (status, Some(why), None);
    let Some(node) = node else {
        return match (record.note.node, record.note.removing) {
            (_, true) => waiting("DELETED", "it is being removed".to_owned()),
            (Some(_), false) => (
                "ERROR",
                None,
                Some("its node is not there any more".to_owned()),
            ),
            (None, false) => waiting("BUILD", "a node is being chosen".to_owned()),
        };
    };
    let label = node.label();
    if record.note.removing {
        return waiting("DELETED", format!("node {label} is being taken back"));
    }
    let rebuilding = record.note.rebuild.is_some();
    let building = if rebuilding { "REBUILD" } else { "BUILD" };
    let due = record.note.ordered.is_none() || record.note.rebuild > record.note.ordered;
    match node.provision_state {
        ProvisionState::DeployFailed | ProvisionState::Error => {
            let said = node
                .last_error
                .clone()
                .unwrap_or_else(|| "it did not say why".to_owned());
            // Most of what goes wrong with a node names it already.
            let why = if said.contains(&label) {
                said
            } else {
                format!("node {label}: {said}")
            };
            ("ERROR", None, Some(why))
        }
        _ if due => waiting(building, format!("node {label} is busy")),
        ProvisionState::Active if record.note.reboot.is_some() || node.work.is_some() => {
            waiting("REBOOT", format!("node {label} is starting"))
        }
        ProvisionState::Active if node.power_state == Some(Power::Off) => ("SHUTOFF", None, None),
        ProvisionState::Active => ("ACTIVE", None, None),
        _ => waiting(
            building,
            format!("writing the image to node {label}{}", progress(node)),
        ),
    }
}

fn progress(node: &Node) -> String {
    let number = |name: &str| node.progress()?.get(name)?.as_u64();
    match (number("done"), number("total")) {
        (Some(done), Some(total)) if total > 0 => format!(": {} %", done * 100 / total),
        (_, _) => String::new(),
    }
}
