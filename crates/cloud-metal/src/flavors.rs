//! Flavors: what a server asks of a node.

use std::collections::BTreeMap;

use cloud::{CloudError, Kind};
use serde::{Deserialize, Serialize};
use store::{Read, Tx, params};

use crate::MetalCloud;
use crate::failure::Failure;

/// What a server asks of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flavor {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Processors; asked for only where no resource class is.
    pub vcpus: u64,
    /// MiB of memory; likewise.
    pub ram: u64,
    /// GiB of disk; likewise.
    pub disk: u64,
    /// `resources:CUSTOM_…`, `capabilities:…`, `trait:…`.
    pub extra_specs: BTreeMap<String, String>,
    /// Words for people.
    pub description: Option<String>,
}

/// A seed has one flavor from the start, which every node of the usual class fits.
pub(crate) fn make_default(tx: &Tx<'_>) -> Result<(), Failure> {
    if !all(tx)?.is_empty() {
        return Ok(());
    }
    let none_of =
        ["VCPU", "MEMORY_MB", "DISK_GB"].map(|name| (format!("resources:{name}"), "0".to_owned()));
    let class = ("resources:CUSTOM_BAREMETAL".to_owned(), "1".to_owned());
    put(
        tx,
        &Flavor {
            id: uuid::Uuid::new_v4().to_string(),
            name: "baremetal".to_owned(),
            vcpus: 1,
            ram: 1024,
            disk: 4,
            extra_specs: none_of.into_iter().chain([class]).collect(),
            description: Some("any node of the resource class baremetal".to_owned()),
        },
    )
}

pub(crate) fn all(read: &Read<'_>) -> Result<Vec<Flavor>, Failure> {
    let rows = read.query(
        "SELECT flavor FROM cloud_metal_flavor ORDER BY name",
        params![],
    )?;
    rows.into_iter()
        .map(|mut row| Ok(serde_json::from_str(&row.take::<String>(0)?)?))
        .collect()
}

pub(crate) fn put(tx: &Tx<'_>, flavor: &Flavor) -> Result<(), Failure> {
    let text = serde_json::to_string(flavor)?;
    tx.execute(
        "INSERT OR REPLACE INTO cloud_metal_flavor (id, name, flavor) VALUES (?1, ?2, ?3)",
        params![flavor.id.as_str(), flavor.name.as_str(), text],
    )?;
    Ok(())
}

pub(crate) fn find(read: &Read<'_>, name_or_id: &str) -> Result<Option<Flavor>, Failure> {
    let all = all(read)?;
    let by_id = all.iter().find(|flavor| flavor.id == name_or_id);
    Ok(by_id
        .or_else(|| all.iter().find(|flavor| flavor.name == name_or_id))
        .cloned())
}

pub(crate) fn need(read: &Read<'_>, name_or_id: &str) -> Result<Flavor, Failure> {
    let missing = || CloudError::NotFound {
        kind: Kind::Flavor,
        name: name_or_id.to_owned(),
    };
    Ok(find(read, name_or_id)?.ok_or_else(missing)?)
}

impl MetalCloud {
    /// All flavors, by name.
    pub async fn flavors(&self) -> Result<Vec<Flavor>, CloudError> {
        self.read(all).await
    }

    /// The flavor with this id or name.
    pub async fn flavor(&self, name_or_id: &str) -> Result<Flavor, CloudError> {
        let name = name_or_id.to_owned();
        self.read(move |read| need(read, &name)).await
    }

    /// Makes a flavor; its id and name must be free.
    pub async fn create_flavor(&self, flavor: Flavor) -> Result<Flavor, CloudError> {
        self.write(move |tx| {
            let taken = all(tx)?
                .iter()
                .any(|other| other.id == flavor.id || other.name == flavor.name);
            if taken {
                let why = "another flavor has this name or id".to_owned();
                return Err(CloudError::InUse {
                    kind: Kind::Flavor,
                    name: flavor.name,
                    why,
                }
                .into());
            }
            put(tx, &flavor)?;
            Ok(flavor)
        })
        .await
    }

    /// Changes what a flavor asks for beside its sizes.
    pub async fn change_flavor_specs<F>(
        &self,
        name_or_id: &str,
        change: F,
    ) -> Result<Flavor, CloudError>
    where
        F: FnOnce(&mut BTreeMap<String, String>) + Send + 'static,
    {
        let name = name_or_id.to_owned();
        self.write(move |tx| {
            let mut flavor = need(tx, &name)?;
            change(&mut flavor.extra_specs);
            put(tx, &flavor)?;
            Ok(flavor)
        })
        .await
    }

    /// Forgets a flavor. Servers that were made with it keep what they have.
    pub async fn delete_flavor(&self, name_or_id: &str) -> Result<(), CloudError> {
        let name = name_or_id.to_owned();
        self.write(move |tx| {
            let flavor = need(tx, &name)?;
            tx.execute(
                "DELETE FROM cloud_metal_flavor WHERE id = ?1",
                params![flavor.id],
            )?;
            Ok(())
        })
        .await
    }
}
