//! Servers: a node is chosen, its interfaces take the ports, the image is ordered, and what the node does is
//! told as what the server waits for.
//!
//! Everything is written down before it is asked of bare metal, and everything that is asked may be asked
//! again: a call that was cut off anywhere goes on where it was.

use baremetal::{
    Candidate, DeployOrder, Image, MetalError, Node, NodeId, PowerTarget, ProvisionState, reasons,
};
use cloud::{
    CloudError, Effect, KeyPair, Kind, Misfit, Named, Network, Order, PhysicalName, Seen, Server,
    ServerSpec, Subnet,
};
use store::Read;
use uuid::Uuid;

use crate::MetalCloud;
use crate::config_drive::{DriveContent, make};
use crate::driver::only;
use crate::failure::{Failure, of_metal};
use crate::network::change;
use crate::plug::{addresses, bind, changed_server, new_server, unplug};
use crate::rows::{self, Record};
use crate::wanted::wanted;

impl MetalCloud {
    pub(crate) async fn keep_server(
        &self,
        name: &PhysicalName,
        want: &ServerSpec,
        order: &Order,
    ) -> Result<Seen<Server>, CloudError> {
        let (by, kept) = (name.clone(), order.clone());
        let old = self
            .read(move |read| rows::by_physical::<Server>(read, &by))
            .await?;
        if let Some(record) = &old {
            record.is_newer(&kept).map_err(Failure::into_cloud)?;
        }
        let image = match &old {
            Some(record) if record.note.ordered.is_some() => None,
            Some(_) | None => Some(self.image(want).await?),
        };
        let (by, spec, kept, now, reserved) = (
            name.clone(),
            want.clone(),
            order.clone(),
            self.now(),
            self.reserved(),
        );
        let image_id = image.as_ref().map(|image| image.id.clone());
        let record = self
            .write(move |tx| match rows::by_physical::<Server>(tx, &by)? {
                None => new_server(tx, &by, &spec, &kept, image_id, reserved, now),
                Some(record) => changed_server(tx, record, &spec, &kept, reserved, now),
            })
            .await?;
        let record = match self.with_node(record, want, order).await? {
            Chosen::Node(record) => record,
            Chosen::Later { record, why } => return self.pending(record, why, order),
        };
        self.serve_addresses().await?;
        let record = self.with_image(record, want, order, image).await?;
        self.tell(record, order).await
    }

    /// Chooses a node and gives its interfaces to the ports.
    async fn with_node(
        &self,
        record: Record<Server>,
        want: &ServerSpec,
        order: &Order,
    ) -> Result<Chosen, CloudError> {
        if record.note.node.is_some() {
            return Ok(Chosen::Node(record));
        }
        let metal = &self.inner.metal;
        let failed = |error| of_metal(&want.name, error);
        let id = instance(&record);
        let flavor = self.flavor(&want.flavor).await?;
        let nodes = metal.nodes().await.map_err(failed)?;
        let wanted = wanted(want, &flavor, &order.project, &nodes);
        let node = match metal.reserve(&wanted, id).await {
            Ok(node) => node,
            Err(MetalError::NoneFits { .. }) => {
                let candidates = metal.candidates(&wanted).await.map_err(failed)?;
                if candidates
                    .iter()
                    .any(|one| one.soon || one.why_not.is_none())
                {
                    let why = format!("no node is free yet: {}", reasons(&candidates));
                    return Ok(Chosen::Later { record, why });
                }
                // Nothing of a server that cannot be stays behind.
                self.forget(record).await?;
                return Err(CloudError::NoFittingNode {
                    server: want.name.clone(),
                    misfits: misfits(&candidates),
                });
            }
            Err(error) => return Err(failed(error)),
        };
        self.take(record, node).await.map(Chosen::Node)
    }

    /// Gives the interfaces of a node that was reserved to the ports of its server.
    async fn take(&self, record: Record<Server>, node: Node) -> Result<Record<Server>, CloudError> {
        let metal = &self.inner.metal;
        let (id, name) = (instance(&record), record.thing.name.clone());
        let failed = |error| of_metal(&name, error);
        let mut nics = metal.ports(Some(node.uuid)).await.map_err(failed)?;
        nics.sort_by_key(|nic| (!nic.pxe_enabled, nic.created_at, nic.address.clone()));
        let macs: Vec<String> = nics
            .into_iter()
            .map(|nic| nic.address.to_lowercase())
            .collect();
        let (server, label, uuid, now) = (
            record.thing.id.clone(),
            node.label(),
            node.uuid.0,
            self.now(),
        );
        let bound = self
            .write(move |tx| {
                let mut record =
                    rows::by_id::<Server>(tx, &server)?.ok_or_else(|| CloudError::NotFound {
                        kind: Kind::Server,
                        name: server.clone(),
                    })?;
                bind(tx, &record, &macs, &label)?;
                record.note.node = Some(uuid);
                record.note.since = now;
                record.thing.host = Some(label);
                record.thing.addresses = addresses(tx, &record.thing.id)?;
                rows::put(tx, &record)?;
                Ok(record)
            })
            .await;
        if let Err(CloudError::Invalid { .. }) = &bound {
            metal.release(node.uuid, id).await.map_err(failed)?;
            self.forget(record).await?;
        }
        bound
    }

    /// Orders the image, for the first time or anew.
    async fn with_image(
        &self,
        record: Record<Server>,
        want: &ServerSpec,
        order: &Order,
        image: Option<Named>,
    ) -> Result<Record<Server>, CloudError> {
        let due = match (record.note.ordered, record.note.rebuild) {
            (None, _) => true,
            (Some(ordered), Some(wanted)) => ordered < wanted,
            (Some(_), None) => false,
        };
        let (Some(node), true) = (record.note.node.map(NodeId), due) else {
            return Ok(record);
        };
        let image = match image {
            Some(image) => image,
            None => self.image(want).await?,
        };
        let metal = &self.inner.metal;
        let id = instance(&record);
        let deploy = DeployOrder {
            image: self.content(&image).await?,
            config_drive: Some(self.drive(&record, want, node).await?),
            root_grow: true,
            disk: None,
        };
        let again = record.note.ordered.is_some();
        let asked = if again {
            match metal.node(node).await.map(|node| node.provision_state) {
                // It was asked and this call did not live to write that down.
                Ok(ProvisionState::Deploying | ProvisionState::DeployWait) => Ok(()),
                Ok(_) => metal.rebuild(node, id, deploy).await.map(drop),
                Err(error) => Err(error),
            }
        } else {
            metal.deploy(node, id, deploy).await.map(drop)
        };
        match asked {
            Ok(()) => {}
            // Whoever works on the node ends some time; the next call asks again.
            Err(MetalError::Locked { .. }) => return Ok(record),
            Err(error) => return Err(of_metal(&want.name, error)),
        }
        let (server, generation, now) = (record.thing.id.clone(), order.generation, self.now());
        let image_id = image.id;
        self.write(move |tx| {
            let mut record = record;
            if let Some(kept) = rows::by_id::<Server>(tx, &server)? {
                record = kept;
                record.note.ordered = Some(generation);
                record.note.since = now;
                record.thing.image_id = Some(image_id);
                rows::put(tx, &record)?;
            }
            Ok(record)
        })
        .await
    }

    /// The config drive of a server.
    async fn drive(
        &self,
        record: &Record<Server>,
        want: &ServerSpec,
        node: NodeId,
    ) -> Result<Vec<u8>, CloudError> {
        let (server, key, project) = (
            record.thing.id.clone(),
            want.key_name.clone(),
            record.project.clone(),
        );
        let by = record.project.clone();
        let (ports, subnets, key) = self
            .read(move |read| {
                let mut ports = Vec::new();
                for port in rows::of_server(read, &server)? {
                    let network = rows::need::<Network>(read, &port.thing.network_id, &by)?;
                    ports.push((port.thing, network.thing));
                }
                let subnets = rows::all::<Subnet>(read)?
                    .into_iter()
                    .map(|subnet| subnet.thing)
                    .collect::<Vec<_>>();
                let key = key
                    .map(|key| rows::need::<KeyPair>(read, &key, &by))
                    .transpose()?;
                Ok((ports, subnets, key.map(|key| key.thing)))
            })
            .await?;
        let node = self
            .inner
            .metal
            .node(node)
            .await
            .map_err(|error| of_metal(&want.name, error))?;
        make(&DriveContent {
            server: &record.thing,
            spec: want,
            metadata_url: want.metadata_url.as_ref(),
            project: &project,
            zone: &self.inner.settings.zone,
            key: key.as_ref(),
            ports: &ports,
            subnets: &subnets,
            ca: self.inner.settings.ca.as_deref(),
            node: &node.label(),
        })
    }

    /// What the caller gets now.
    async fn tell(
        &self,
        record: Record<Server>,
        order: &Order,
    ) -> Result<Seen<Server>, CloudError> {
        let state = self.state_of(record).await?;
        let name = state.record.thing.name.clone();
        if let Some(why) = state.fault {
            return Err(CloudError::Failed {
                kind: Kind::Server,
                name,
                why,
            });
        }
        match state.waits {
            None => Ok(Seen::Ready(state.record.thing)),
            Some(why) => self.pending(state.record, why, order),
        }
    }

    fn pending(
        &self,
        record: Record<Server>,
        why: String,
        order: &Order,
    ) -> Result<Seen<Server>, CloudError> {
        if self.now() > order.deadline {
            return Err(CloudError::DeadlinePassed {
                kind: Kind::Server,
                name: record.thing.name,
                why,
            });
        }
        Ok(Seen::Pending {
            why,
            since: record.note.since,
            so_far: Some(record.thing),
        })
    }

    pub(crate) async fn rebuild(
        &self,
        name: &PhysicalName,
        want: &ServerSpec,
        order: &Order,
    ) -> Result<Seen<Server>, CloudError> {
        if let Some(image) = &want.image {
            self.image_named(image).await?;
        }
        let (by, spec, kept, now) = (name.clone(), want.clone(), order.clone(), self.now());
        let record = self
            .write(move |tx| {
                let mut record = existing(tx, &by)?;
                if record.is_newer(&kept)? {
                    record.note.rebuild = Some(kept.generation);
                    record.note.since = now;
                    record.spec = spec;
                    change(&mut record, &kept, now);
                    rows::put(tx, &record)?;
                }
                Ok(record)
            })
            .await?;
        let record = self.with_image(record, want, order, None).await?;
        self.tell(record, order).await
    }

    pub(crate) async fn reboot(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Server>, CloudError> {
        let (by, kept, now) = (name.clone(), order.clone(), self.now());
        let record = self
            .write(move |tx| {
                let mut record = existing(tx, &by)?;
                if record.is_newer(&kept)? {
                    record.note.reboot = Some(kept.generation);
                    record.note.since = now;
                    change(&mut record, &kept, now);
                    rows::put(tx, &record)?;
                }
                Ok(record)
            })
            .await?;
        let record = match (record.note.reboot, record.note.node) {
            (Some(_), Some(node)) => match self
                .inner
                .metal
                .ask_power(NodeId(node), PowerTarget::Reboot)
                .await
            {
                Ok(_) => self.rebooting(record).await?,
                Err(MetalError::Locked { .. }) => record,
                Err(error) => return Err(of_metal(&record.thing.name, error)),
            },
            (_, _) => record,
        };
        self.tell(record, order).await
    }

    async fn rebooting(&self, record: Record<Server>) -> Result<Record<Server>, CloudError> {
        self.write(move |tx| {
            let mut record = record;
            record.note.reboot = None;
            rows::put(tx, &record)?;
            Ok(record)
        })
        .await
    }

    pub(crate) async fn drop_server(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Effect>, CloudError> {
        let (by, kept, now) = (name.clone(), order.clone(), self.now());
        let record = self
            .write(move |tx| {
                let Some(mut record) = rows::by_physical::<Server>(tx, &by)? else {
                    return Ok(None);
                };
                record.is_newer(&kept)?;
                if !record.note.removing {
                    record.note.removing = true;
                    record.note.since = now;
                    change(&mut record, &kept, now);
                    rows::put(tx, &record)?;
                }
                Ok(Some(record))
            })
            .await?;
        let Some(record) = record else {
            return Ok(Seen::Ready(Effect::Unchanged));
        };
        let (metal, id) = (&self.inner.metal, instance(&record));
        let failed = |error| of_metal(&record.thing.name, error);
        // Also a node that was reserved by a call that did not live to write it down.
        if let Some(node) = metal.node_of_instance(id).await.map_err(failed)? {
            match metal.undeploy(node.uuid, id).await {
                Ok(()) | Err(MetalError::Locked { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
            if metal.node_of_instance(id).await.map_err(failed)?.is_some() {
                let why = format!("node {} is being taken back", node.label());
                if self.now() > order.deadline {
                    return Err(CloudError::DeadlinePassed {
                        kind: Kind::Server,
                        name: record.thing.name,
                        why,
                    });
                }
                return Ok(Seen::Pending {
                    why,
                    since: record.note.since,
                    so_far: None,
                });
            }
        }
        self.forget(record).await?;
        Ok(Seen::Ready(Effect::Changed))
    }

    /// Forgets a server that holds no node any more; the ports that were made for it go with it.
    async fn forget(&self, record: Record<Server>) -> Result<(), CloudError> {
        self.write(move |tx| {
            unplug(tx, &record.thing.id)?;
            rows::delete::<Server>(tx, &record.thing.id)
        })
        .await?;
        self.serve_addresses().await
    }

    async fn image(&self, want: &ServerSpec) -> Result<Named, CloudError> {
        match &want.image {
            Some(image) => self.image_named(image).await,
            None => Err(CloudError::Invalid {
                kind: Kind::Server,
                name: want.name.clone(),
                why: "a machine needs an image to be written".to_owned(),
            }),
        }
    }

    /// All images, by id and name.
    pub(crate) async fn images(&self) -> Result<Vec<Named>, CloudError> {
        let images = self.inner.settings.images.names().await;
        images.map_err(|why| CloudError::Unreachable { why })
    }

    async fn image_named(&self, name_or_id: &str) -> Result<Named, CloudError> {
        let name = name_or_id.to_owned();
        let found = only(self.images().await?, Kind::Image, name_or_id)?;
        found.ok_or(CloudError::NotFound {
            kind: Kind::Image,
            name,
        })
    }

    /// What is written to disks for an image.
    async fn content(&self, image: &Named) -> Result<Image, CloudError> {
        let raw = self.inner.settings.images.raw(&image.id).await;
        raw.map_err(|why| CloudError::Invalid {
            kind: Kind::Image,
            name: image.name.clone(),
            why,
        })
    }
}

/// What choosing a node for a server came to.
enum Chosen {
    /// It has one.
    Node(Record<Server>),
    /// One that fits is not free yet.
    Later { record: Record<Server>, why: String },
}

/// The identity by which bare metal knows a server.
fn instance(record: &Record<Server>) -> Uuid {
    // All ids are coined here; one that cannot be read belongs to nobody.
    record.thing.id.parse().unwrap_or_default()
}

fn existing(read: &Read<'_>, name: &PhysicalName) -> Result<Record<Server>, Failure> {
    let missing = || CloudError::NotFound {
        kind: Kind::Server,
        name: name.0.clone(),
    };
    Ok(rows::by_physical(read, name)?.ok_or_else(missing)?)
}

fn misfits(candidates: &[Candidate]) -> Vec<Misfit> {
    let told = candidates.iter().filter_map(|one| {
        Some(Misfit {
            node: one.node.label(),
            why: one.why_not.clone()?,
        })
    });
    told.collect()
}
