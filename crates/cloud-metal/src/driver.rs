//! The [`Cloud`] that the engine sees.

use async_trait::async_trait;
use base64::Engine as _;
use cloud::{
    Cloud, CloudError, Effect, FloatingAddress, FloatingAddressSpec, KeyPair, KeyPairSpec, Kind,
    Named, Network, NetworkSpec, Order, PhysicalName, Port, PortSpec, Revision, Router, RouterSpec,
    SecurityGroup, SecurityGroupSpec, Seen, Server, ServerSpec, Subnet, SubnetSpec,
};
use md5::{Digest, Md5};
use store::Read;

use crate::failure::Failure;
use crate::network::with_subnets;
use crate::rows::{self, Item, Record};
use crate::{Flavor, MetalCloud, flavors};

/// What stands between machines and the wire in other clouds, and here does not.
fn unsupported<T>(what: &str) -> Result<T, CloudError> {
    Err(CloudError::Unsupported {
        what: what.to_owned(),
    })
}

/// The MD5 of a public key, as `ssh-keygen -l -E md5` shows it.
fn fingerprint(key: &KeyPairSpec) -> Result<String, CloudError> {
    let blob = key.public_key.split_whitespace().nth(1);
    let blob = blob.and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
    let blob = blob.ok_or_else(|| CloudError::Invalid {
        kind: Kind::KeyPair,
        name: key.name.clone(),
        why: "its public key is not one of OpenSSH".to_owned(),
    })?;
    let bytes: Vec<_> = Md5::digest(&blob)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(bytes.join(":"))
}

fn names<T: Item>(read: &Read<'_>) -> Result<Vec<Named>, Failure> {
    Ok(rows::all::<T>(read)?.iter().map(Record::named).collect())
}

fn one<T: Item>(read: &Read<'_>, name: &str, project: &str) -> Result<Option<Named>, Failure> {
    Ok(rows::find::<T>(read, name, project)?.map(|record| record.named()))
}

fn flavor_name(flavor: Flavor) -> Named {
    Named {
        id: flavor.id,
        name: flavor.name,
        physical_name: None,
    }
}

#[async_trait]
impl Cloud for MetalCloud {
    async fn ensure_server(
        &self,
        name: &PhysicalName,
        want: &ServerSpec,
        order: &Order,
    ) -> Result<Seen<Server>, CloudError> {
        self.keep_server(name, want, order).await
    }

    async fn remove_server(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Effect>, CloudError> {
        self.drop_server(name, order).await
    }

    async fn rebuild_server(
        &self,
        name: &PhysicalName,
        want: &ServerSpec,
        _preserve_ephemeral: bool,
        order: &Order,
    ) -> Result<Seen<Server>, CloudError> {
        // The image is written to the disk of the system; other disks are never touched.
        self.rebuild(name, want, order).await
    }

    async fn reboot_server(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Server>, CloudError> {
        self.reboot(name, order).await
    }

    async fn ensure_network(
        &self,
        name: &PhysicalName,
        want: &NetworkSpec,
        order: &Order,
    ) -> Result<Seen<Network>, CloudError> {
        self.keep_network(name, want, order).await
    }

    async fn remove_network(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Effect>, CloudError> {
        self.drop_network(name, order).await
    }

    async fn ensure_subnet(
        &self,
        name: &PhysicalName,
        want: &SubnetSpec,
        order: &Order,
    ) -> Result<Seen<Subnet>, CloudError> {
        self.keep_subnet(name, want, order).await
    }

    async fn remove_subnet(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Effect>, CloudError> {
        self.drop_subnet(name, order).await
    }

    async fn ensure_port(
        &self,
        name: &PhysicalName,
        want: &PortSpec,
        order: &Order,
    ) -> Result<Seen<Port>, CloudError> {
        self.keep_port(name, want, order).await
    }

    async fn remove_port(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Effect>, CloudError> {
        self.drop_port(name, order).await
    }

    async fn ensure_router(
        &self,
        _: &PhysicalName,
        _: &RouterSpec,
        _: &Order,
    ) -> Result<Seen<Router>, CloudError> {
        unsupported("route between networks of machines: give the subnet the gateway that does")
    }

    async fn remove_router(&self, _: &PhysicalName, _: &Order) -> Result<Seen<Effect>, CloudError> {
        Ok(Seen::Ready(Effect::Unchanged))
    }

    async fn ensure_floating_address(
        &self,
        _: &PhysicalName,
        _: &FloatingAddressSpec,
        _: &Order,
    ) -> Result<Seen<FloatingAddress>, CloudError> {
        unsupported("give machines floating addresses: they have their own addresses")
    }

    async fn remove_floating_address(
        &self,
        _: &PhysicalName,
        _: &Order,
    ) -> Result<Seen<Effect>, CloudError> {
        Ok(Seen::Ready(Effect::Unchanged))
    }

    async fn ensure_security_group(
        &self,
        _: &PhysicalName,
        _: &SecurityGroupSpec,
        _: &Order,
    ) -> Result<Seen<SecurityGroup>, CloudError> {
        unsupported("filter what machines send: filter on the machines themselves")
    }

    async fn remove_security_group(
        &self,
        _: &PhysicalName,
        _: &Order,
    ) -> Result<Seen<Effect>, CloudError> {
        Ok(Seen::Ready(Effect::Unchanged))
    }

    async fn ensure_key_pair(
        &self,
        name: &PhysicalName,
        want: &KeyPairSpec,
        order: &Order,
    ) -> Result<Seen<KeyPair>, CloudError> {
        let fingerprint = fingerprint(want)?;
        let (name, want, order, now) = (name.clone(), want.clone(), order.clone(), self.now());
        self.write(move |tx| {
            let thing = KeyPair {
                name: want.name.clone(),
                public_key: want.public_key.clone(),
                fingerprint,
            };
            let old = rows::by_physical::<KeyPair>(tx, &name)?;
            let newer = old
                .as_ref()
                .map_or(Ok(true), |record| record.is_newer(&order))?;
            if let (Some(record), false) = (&old, newer) {
                return Ok(Seen::Ready(record.thing.clone()));
            }
            let other = rows::by_id::<KeyPair>(tx, &want.name)?;
            if other.is_some_and(|other| other.physical.as_ref() != Some(&name)) {
                let why = "another key pair has this name".to_owned();
                return Err(CloudError::InUse {
                    kind: Kind::KeyPair,
                    name: want.name,
                    why,
                }
                .into());
            }
            if let Some(old) = old {
                rows::delete::<KeyPair>(tx, &old.thing.name)?;
            }
            rows::put(tx, &Record::new(&name, &order, want, thing.clone(), now))?;
            Ok(Seen::Ready(thing))
        })
        .await
    }

    async fn remove_key_pair(
        &self,
        name: &PhysicalName,
        order: &Order,
    ) -> Result<Seen<Effect>, CloudError> {
        let (name, order) = (name.clone(), order.clone());
        self.write(move |tx| {
            let Some(record) = rows::by_physical::<KeyPair>(tx, &name)? else {
                return Ok(Seen::Ready(Effect::Unchanged));
            };
            record.is_newer(&order)?;
            rows::delete::<KeyPair>(tx, &record.thing.name)?;
            Ok(Seen::Ready(Effect::Changed))
        })
        .await
    }

    async fn server(&self, name: &PhysicalName) -> Result<Option<Server>, CloudError> {
        self.server_now(name).await
    }

    async fn network(&self, name: &PhysicalName) -> Result<Option<Network>, CloudError> {
        let name = name.clone();
        self.read(move |read| {
            let found = rows::by_physical::<Network>(read, &name)?;
            found
                .map(|record| with_subnets(read, record.thing))
                .transpose()
        })
        .await
    }

    async fn subnet(&self, name: &PhysicalName) -> Result<Option<Subnet>, CloudError> {
        let name = name.clone();
        self.read(move |read| {
            Ok(rows::by_physical::<Subnet>(read, &name)?.map(|record| record.thing))
        })
        .await
    }

    async fn port(&self, name: &PhysicalName) -> Result<Option<Port>, CloudError> {
        let name = name.clone();
        self.read(
            move |read| Ok(rows::by_physical::<Port>(read, &name)?.map(|record| record.thing)),
        )
        .await
    }

    async fn find(
        &self,
        kind: Kind,
        name_or_id: &str,
        project: &str,
    ) -> Result<Option<Named>, CloudError> {
        if kind == Kind::Image {
            return only(self.images().await?, kind, name_or_id);
        }
        let (name, project) = (name_or_id.to_owned(), project.to_owned());
        self.read(move |read| match kind {
            Kind::Server => one::<Server>(read, &name, &project),
            Kind::Port => one::<Port>(read, &name, &project),
            Kind::Network => one::<Network>(read, &name, &project),
            Kind::Subnet => one::<Subnet>(read, &name, &project),
            Kind::KeyPair => one::<KeyPair>(read, &name, &project),
            Kind::Flavor => Ok(flavors::find(read, &name)?.map(flavor_name)),
            Kind::Router | Kind::FloatingAddress | Kind::SecurityGroup | Kind::Image => Ok(None),
        })
        .await
    }

    async fn list(&self, kind: Kind) -> Result<Vec<Named>, CloudError> {
        if kind == Kind::Image {
            return self.images().await;
        }
        self.read(move |read| match kind {
            Kind::Server => names::<Server>(read),
            Kind::Port => names::<Port>(read),
            Kind::Network => names::<Network>(read),
            Kind::Subnet => names::<Subnet>(read),
            Kind::KeyPair => names::<KeyPair>(read),
            Kind::Flavor => Ok(flavors::all(read)?.into_iter().map(flavor_name).collect()),
            Kind::Router | Kind::FloatingAddress | Kind::SecurityGroup | Kind::Image => {
                Ok(Vec::new())
            }
        })
        .await
    }

    async fn watch(&self, seen: Revision) -> Revision {
        let mut revision = self.inner.revision.subscribe();
        // The sender lives as long as this cloud does.
        let moved = revision
            .wait_for(|now| *now > seen.0)
            .await
            .map(|now| Revision(*now));
        moved.unwrap_or(seen)
    }
}

impl MetalCloud {
    /// All key pairs.
    pub async fn key_pairs(&self) -> Result<Vec<Record<KeyPair>>, CloudError> {
        self.read(rows::all).await
    }
}

/// The thing with an id, or the only one of a name.
pub(crate) fn only(
    named: Vec<Named>,
    kind: Kind,
    name_or_id: &str,
) -> Result<Option<Named>, CloudError> {
    if let Some(found) = named.iter().find(|one| one.id == name_or_id) {
        return Ok(Some(found.clone()));
    }
    let mut found = named.into_iter().filter(|one| one.name == name_or_id);
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(CloudError::Ambiguous {
            kind,
            name: name_or_id.to_owned(),
        }),
        (found, _) => Ok(found),
    }
}
