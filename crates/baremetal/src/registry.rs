//! Ports, port groups and chassis: their records, and what ties them to nodes.

use jiff::Timestamp;
use store::{Read, Tx};
use uuid::Uuid;

use crate::error::MetalError;
use crate::metal::{Baremetal, get};
use crate::node::{NodeId, Object};
use crate::parts::{Chassis, Port, PortGroup};
use crate::rows::{self, Part};

impl Port {
    /// A port of `node` with nothing but its address, which is lowered.
    pub fn new(node: NodeId, address: &str, at: Timestamp) -> Self {
        Self {
            uuid: Uuid::new_v4(),
            address: address.to_lowercase(),
            node_uuid: node,
            portgroup_uuid: None,
            name: None,
            pxe_enabled: true,
            local_link_connection: Object::new(),
            physical_network: None,
            is_smartnic: false,
            extra: Object::new(),
            internal_info: Object::new(),
            created_at: at,
            updated_at: None,
        }
    }
}

/// What is checked of a part inside the transaction that writes it.
trait Checked: Part + Clone + Send + Sync + 'static {
    fn check(&self, read: &Read<'_>) -> Result<(), MetalError>;
    fn stamp(&mut self, at: Timestamp);
}

impl Checked for Port {
    fn check(&self, read: &Read<'_>) -> Result<(), MetalError> {
        belongs(read, self.node_uuid)?;
        if let Some(other) = rows::part_by::<Port>(read, "address", &self.address)?
            && other.uuid != self.uuid
        {
            return Err(MetalError::InUse {
                what: "A port with MAC address",
                value: self.address.clone(),
                by: format!(" by port {}", other.uuid),
            });
        }
        if let Some(group) = self.portgroup_uuid {
            let found = rows::part::<PortGroup>(read, group)?;
            if found.is_none_or(|found| found.node_uuid != self.node_uuid) {
                return Err(MetalError::Invalid(format!(
                    "Portgroup {group} of node {} could not be found.",
                    self.node_uuid
                )));
            }
        }
        Ok(())
    }

    fn stamp(&mut self, at: Timestamp) {
        self.updated_at = Some(at);
    }
}

impl Checked for PortGroup {
    fn check(&self, read: &Read<'_>) -> Result<(), MetalError> {
        belongs(read, self.node_uuid)?;
        for (what, column, value) in [
            ("A portgroup with name", "name", &self.name),
            ("A portgroup with MAC address", "address", &self.address),
        ] {
            if let Some(value) = value
                && rows::part_by::<PortGroup>(read, column, value)?
                    .is_some_and(|other| other.uuid != self.uuid)
            {
                return Err(MetalError::InUse {
                    what,
                    value: value.clone(),
                    by: String::new(),
                });
            }
        }
        Ok(())
    }

    fn stamp(&mut self, at: Timestamp) {
        self.updated_at = Some(at);
    }
}

impl Checked for Chassis {
    fn check(&self, _read: &Read<'_>) -> Result<(), MetalError> {
        Ok(())
    }

    fn stamp(&mut self, at: Timestamp) {
        self.updated_at = Some(at);
    }
}

fn belongs(read: &Read<'_>, node: NodeId) -> Result<(), MetalError> {
    match get(read, node) {
        Ok(_) => Ok(()),
        // Of a reference in a body it is said that the body is wrong.
        Err(MetalError::NotFound { .. }) => Err(MetalError::Invalid(format!(
            "Node {node} could not be found."
        ))),
        Err(other) => Err(other),
    }
}

fn missing<P: Part>(id: Uuid) -> MetalError {
    MetalError::NotFound {
        kind: P::KIND,
        id: id.to_string(),
    }
}

impl Baremetal {
    async fn create<P: Checked>(&self, part: P) -> Result<P, MetalError> {
        self.write(move |tx| {
            if rows::part::<P>(tx, part.id())?.is_some() {
                return Err(MetalError::InUse {
                    what: "The UUID",
                    value: part.id().to_string(),
                    by: String::new(),
                });
            }
            part.check(tx)?;
            rows::put_part(tx, &part)?;
            Ok(part)
        })
        .await
    }

    async fn update<P: Checked, F>(&self, id: Uuid, change: F) -> Result<P, MetalError>
    where
        F: FnOnce(&mut P) -> Result<(), MetalError> + Send + 'static,
    {
        let now = self.now();
        self.write(move |tx| {
            let mut part = rows::part::<P>(tx, id)?.ok_or_else(|| missing::<P>(id))?;
            change(&mut part)?;
            part.check(tx)?;
            part.stamp(now);
            rows::put_part(tx, &part)?;
            Ok(part)
        })
        .await
    }

    async fn delete<P: Part>(
        &self,
        id: Uuid,
        check: impl FnOnce(&Tx<'_>) -> Result<(), MetalError> + Send + 'static,
    ) -> Result<(), MetalError> {
        self.write(move |tx| {
            if rows::part::<P>(tx, id)?.is_none() {
                return Err(missing::<P>(id));
            }
            check(tx)?;
            rows::delete_part::<P>(tx, id).map(drop)
        })
        .await
    }

    /// All ports, or those of a node, oldest first.
    pub async fn ports(&self, node: Option<NodeId>) -> Result<Vec<Port>, MetalError> {
        self.read(move |read| rows::parts(read, node)).await
    }

    /// The port with this identity.
    pub async fn port(&self, id: Uuid) -> Result<Port, MetalError> {
        self.read(move |read| rows::part(read, id)?.ok_or_else(|| missing::<Port>(id)))
            .await
    }

    /// Adds a port.
    pub async fn create_port(&self, port: Port) -> Result<Port, MetalError> {
        self.create(port).await
    }

    /// Changes a port.
    pub async fn update_port<F>(&self, id: Uuid, change: F) -> Result<Port, MetalError>
    where
        F: FnOnce(&mut Port) -> Result<(), MetalError> + Send + 'static,
    {
        self.update(id, change).await
    }

    /// Removes a port.
    pub async fn delete_port(&self, id: Uuid) -> Result<(), MetalError> {
        self.delete::<Port>(id, |_| Ok(())).await
    }

    /// All port groups, or those of a node, oldest first.
    pub async fn portgroups(&self, node: Option<NodeId>) -> Result<Vec<PortGroup>, MetalError> {
        self.read(move |read| rows::parts(read, node)).await
    }

    /// The port group with this identity or name.
    pub async fn find_portgroup(&self, ident: &str) -> Result<PortGroup, MetalError> {
        let ident = ident.to_owned();
        self.read(move |read| {
            let found = match Uuid::parse_str(&ident) {
                Ok(id) => rows::part(read, id)?,
                Err(_) => rows::part_by(read, "name", &ident)?,
            };
            found.ok_or(MetalError::NotFound {
                kind: PortGroup::KIND,
                id: ident,
            })
        })
        .await
    }

    /// Adds a port group.
    pub async fn create_portgroup(&self, group: PortGroup) -> Result<PortGroup, MetalError> {
        self.create(group).await
    }

    /// Changes a port group.
    pub async fn update_portgroup<F>(&self, id: Uuid, change: F) -> Result<PortGroup, MetalError>
    where
        F: FnOnce(&mut PortGroup) -> Result<(), MetalError> + Send + 'static,
    {
        self.update(id, change).await
    }

    /// Removes a port group that has no ports.
    pub async fn delete_portgroup(&self, id: Uuid) -> Result<(), MetalError> {
        self.delete::<PortGroup>(id, move |tx| {
            let ports = rows::parts::<Port>(tx, None)?;
            if ports.iter().any(|port| port.portgroup_uuid == Some(id)) {
                return Err(MetalError::Invalid(format!(
                    "Portgroup {id} is not empty: remove its ports first."
                )));
            }
            Ok(())
        })
        .await
    }

    /// All chassis, oldest first.
    pub async fn chassis(&self) -> Result<Vec<Chassis>, MetalError> {
        self.read(|read| rows::parts(read, None)).await
    }

    /// The chassis with this identity.
    pub async fn one_chassis(&self, id: Uuid) -> Result<Chassis, MetalError> {
        self.read(move |read| rows::part(read, id)?.ok_or_else(|| missing::<Chassis>(id)))
            .await
    }

    /// Adds a chassis.
    pub async fn create_chassis(&self, chassis: Chassis) -> Result<Chassis, MetalError> {
        self.create(chassis).await
    }

    /// Changes a chassis.
    pub async fn update_chassis<F>(&self, id: Uuid, change: F) -> Result<Chassis, MetalError>
    where
        F: FnOnce(&mut Chassis) -> Result<(), MetalError> + Send + 'static,
    {
        self.update(id, change).await
    }

    /// Removes a chassis that has no nodes.
    pub async fn delete_chassis(&self, id: Uuid) -> Result<(), MetalError> {
        self.delete::<Chassis>(id, move |tx| {
            let nodes = rows::nodes(tx)?;
            if nodes.iter().any(|node| node.chassis_uuid == Some(id)) {
                return Err(MetalError::Invalid(format!(
                    "Chassis {id} contains nodes: move or remove them first."
                )));
            }
            Ok(())
        })
        .await
    }
}
