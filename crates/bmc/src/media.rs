//! Virtual media: showing the machine an image as a CD, and taking it out again.

use serde_json::{Value, json};

use crate::redfish::{link, text};
use crate::{BmcError, Redfish};

/// A slot for virtual media.
struct Slot {
    path: String,
    body: Value,
}

impl Slot {
    /// The action's address. A slot without it takes media from its web page only and is of no use.
    fn action(&self, name: &str) -> Option<String> {
        let action = &self.body["Actions"][format!("#VirtualMedia.{name}")];
        action.as_object()?;
        Some(
            text(&action["target"])
                .unwrap_or_else(|| format!("{}/Actions/VirtualMedia.{name}", self.path)),
        )
    }

    fn takes_cd(&self) -> bool {
        let types = self.body["MediaTypes"].as_array();
        types.is_none_or(|types| types.iter().any(|kind| kind == "CD" || kind == "DVD"))
    }

    fn image(&self) -> Option<&str> {
        self.body["Image"]
            .as_str()
            .filter(|image| !image.is_empty())
    }

    fn inserted(&self) -> bool {
        self.body["Inserted"]
            .as_bool()
            .unwrap_or(self.image().is_some())
    }
}

impl Redfish {
    /// Shows the machine the image at `url` as a CD. A different image that is in the slot is ejected first.
    pub async fn insert_media(&self, url: &str) -> Result<(), BmcError> {
        let what = "insert virtual media";
        let slots = self.slots(what).await?;
        let offered = slots.len();
        let mut refused = None;
        for slot in slots.iter().filter(|slot| slot.takes_cd()) {
            if slot.inserted() && slot.image() == Some(url) {
                return Ok(());
            }
            let Some(insert) = slot.action("InsertMedia") else {
                continue;
            };
            if slot.inserted() {
                self.eject(slot, what).await?;
            }
            match self.insert(&insert, url, what).await {
                Ok(()) => return Ok(()),
                // This slot is for the web console only; another may do.
                Err(error @ BmcError::Refused { status: 405, .. }) => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(|| BmcError::Unsupported {
            bmc: self.http.bmc(),
            what: what.to_owned(),
            offered: format!("{offered} slots, none for a CD by URL"),
        }))
    }

    /// Takes every CD out that is in a slot. Nothing in it is fine.
    pub async fn eject_media(&self) -> Result<(), BmcError> {
        let what = "eject virtual media";
        for slot in self.slots(what).await? {
            if slot.takes_cd() && slot.inserted() && slot.action("EjectMedia").is_some() {
                self.eject(&slot, what).await?;
            }
        }
        Ok(())
    }

    /// The URLs of the images that are in.
    pub async fn media(&self) -> Result<Vec<String>, BmcError> {
        let slots = self.slots("read virtual media").await?;
        Ok(slots
            .iter()
            .filter(|slot| slot.takes_cd() && slot.inserted())
            .filter_map(|slot| slot.image().map(str::to_owned))
            .collect())
    }

    async fn insert(&self, action: &str, url: &str, what: &str) -> Result<(), BmcError> {
        let full = json!({ "Image": url, "Inserted": true, "WriteProtected": true });
        let complaint = match self.http.post(action, &full, what).await {
            Err(BmcError::Refused {
                status: 400,
                message,
                ..
            }) => message,
            other => return other,
        };
        // Some know only the image; some insist on being told the protocol that the URL says anyway.
        let mut other = json!({ "Image": url });
        if complaint.contains("TransferProtocolType") {
            let https = url.starts_with("https:");
            other["TransferProtocolType"] = json!(if https { "HTTPS" } else { "HTTP" });
            other["TransferMethod"] = json!("Stream");
        }
        self.http.post(action, &other, what).await
    }

    async fn eject(&self, slot: &Slot, what: &str) -> Result<(), BmcError> {
        match slot.action("EjectMedia") {
            Some(action) => self.http.post(&action, &json!({}), what).await,
            None => Err(BmcError::Unsupported {
                bmc: self.http.bmc(),
                what: what.to_owned(),
                offered: "no way to eject".into(),
            }),
        }
    }

    /// All slots: those of the system, and those of the managers that answer for it.
    async fn slots(&self, what: &str) -> Result<Vec<Slot>, BmcError> {
        let (_, system) = self.read_system(what).await?;
        let mut collections: Vec<String> = link(&system.body["VirtualMedia"]).into_iter().collect();
        let managers = system.body["Links"]["ManagedBy"].as_array();
        for manager in managers.into_iter().flatten().filter_map(link) {
            let manager = self.http.get(&manager, what).await?;
            collections.extend(link(&manager.body["VirtualMedia"]));
        }
        let mut slots: Vec<Slot> = Vec::new();
        for collection in collections {
            for path in self.members(&collection, what).await? {
                if slots.iter().all(|slot| slot.path != path) {
                    let body = self.http.get(&path, what).await?.body;
                    slots.push(Slot { path, body });
                }
            }
        }
        Ok(slots)
    }
}
