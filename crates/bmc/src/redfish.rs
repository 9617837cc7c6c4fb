//! One system of one BMC over Redfish: finding it, reading it, and its boot settings.

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::http::{Answer, Http, ROOT};
use crate::{
    BmcError, BmcSettings, BootFrequency, BootMode, BootOverride, BootTarget, PowerState, System,
    quirks,
};

/// The client of one machine's BMC.
#[derive(Debug)]
pub struct Redfish {
    pub(crate) http: Http,
    path: OnceCell<String>,
}

impl Redfish {
    /// Makes the client; nothing is sent yet.
    pub fn new(settings: BmcSettings) -> Result<Self, BmcError> {
        Ok(Self {
            http: Http::new(settings)?,
            path: OnceCell::new(),
        })
    }

    /// The address, as errors name it.
    pub fn address(&self) -> String {
        self.http.bmc()
    }

    /// What the BMC says of the machine as a whole.
    pub async fn system(&self) -> Result<System, BmcError> {
        let (path, answer) = self.read_system("read the system").await?;
        Ok(system_of(path, &answer.body))
    }

    /// What the next boot will use, and what may be set.
    pub async fn boot_override(&self) -> Result<BootOverride, BmcError> {
        Ok(self.system().await?.boot)
    }

    /// Sets from what the machine boots, once or until it is changed.
    ///
    /// [`BootTarget::Cd`] means virtual media, whatever the maker calls it.
    pub async fn set_boot_override(
        &self,
        target: BootTarget,
        frequency: BootFrequency,
    ) -> Result<(), BmcError> {
        let what = format!("boot from {} ({})", target.word(), frequency.word());
        let (path, answer) = self.read_system(&what).await?;
        let system = system_of(path.clone(), &answer.body);
        let quirks = quirks::of(system.manufacturer.as_deref());
        let wanted = match target {
            BootTarget::Cd => quirks.media_target,
            other => other,
        };
        let target = usable(wanted, &system.boot.allowed).ok_or_else(|| BmcError::Unsupported {
            bmc: self.http.bmc(),
            what: what.clone(),
            offered: words(&system.boot.allowed),
        })?;
        let mut boot = json!({
            "BootSourceOverrideTarget": target.word(),
            "BootSourceOverrideEnabled": frequency.word(),
        });
        if quirks.mode_with_override {
            boot["BootSourceOverrideMode"] = json!(
                answer.body["Boot"]["BootSourceOverrideMode"]
                    .as_str()
                    .unwrap_or(BootMode::Uefi.word())
            );
        }
        self.change_system(&path, &answer, &json!({ "Boot": boot }), &what)
            .await
    }

    /// Sets the firmware's way of booting.
    pub async fn set_boot_mode(&self, mode: BootMode) -> Result<(), BmcError> {
        let what = format!("set the boot mode to {}", mode.word());
        let (path, answer) = self.read_system(&what).await?;
        let boot = json!({ "Boot": { "BootSourceOverrideMode": mode.word() } });
        self.change_system(&path, &answer, &boot, &what).await
    }

    /// Whether secure boot is on; `None` where the BMC does not say.
    pub async fn secure_boot(&self) -> Result<Option<bool>, BmcError> {
        let what = "read the secure boot state";
        let (_, answer) = self.read_system(what).await?;
        let Some(path) = link(&answer.body["SecureBoot"]) else {
            return Ok(None);
        };
        let secure = self.http.get(&path, what).await?;
        Ok(secure.body["SecureBootEnable"].as_bool())
    }

    /// Switches secure boot on or off.
    pub async fn set_secure_boot(&self, on: bool) -> Result<(), BmcError> {
        let what = format!("switch secure boot {}", if on { "on" } else { "off" });
        let (_, answer) = self.read_system(&what).await?;
        let path = link(&answer.body["SecureBoot"]).ok_or_else(|| BmcError::Unsupported {
            bmc: self.http.bmc(),
            what: what.clone(),
            offered: "no secure boot settings".into(),
        })?;
        let before = self.http.get(&path, &what).await?;
        let change = json!({ "SecureBootEnable": on });
        self.http
            .patch(&path, &change, before.etag.as_deref(), &what)
            .await
    }

    /// The path of the system, found once.
    pub(crate) async fn path(&self) -> Result<&str, BmcError> {
        self.path
            .get_or_try_init(|| self.find())
            .await
            .map(String::as_str)
    }

    async fn find(&self) -> Result<String, BmcError> {
        if let Some(given) = &self.http.settings().system {
            return Ok(match given.starts_with('/') {
                true => given.clone(),
                false => format!("{ROOT}Systems/{given}"),
            });
        }
        let what = "list its systems";
        let root = self.http.get(ROOT, what).await?;
        let systems = link(&root.body["Systems"]).unwrap_or_else(|| format!("{ROOT}Systems"));
        let mut found = self.members(&systems, what).await?;
        match (found.pop(), found.is_empty()) {
            (Some(only), true) => Ok(only),
            (None, _) => Err(BmcError::NoSystem {
                bmc: self.http.bmc(),
                system: systems,
            }),
            (Some(last), false) => {
                found.push(last);
                Err(BmcError::WhichSystem {
                    bmc: self.http.bmc(),
                    systems: found,
                })
            }
        }
    }

    pub(crate) async fn read_system(&self, what: &str) -> Result<(String, Answer), BmcError> {
        let path = self.path().await?.to_owned();
        match self.http.get(&path, what).await {
            Ok(answer) => Ok((path, answer)),
            Err(BmcError::Refused { status: 404, .. }) => Err(BmcError::NoSystem {
                bmc: self.http.bmc(),
                system: path,
            }),
            Err(other) => Err(other),
        }
    }

    /// Paths of a collection's members, all pages of it.
    pub(crate) async fn members(
        &self,
        collection: &str,
        what: &str,
    ) -> Result<Vec<String>, BmcError> {
        let mut found = Vec::new();
        let mut next = Some(collection.to_owned());
        while let Some(page) = next {
            let answer = self.http.get(&page, what).await?;
            let members = answer.body["Members"].as_array();
            let before = found.len();
            found.extend(members.into_iter().flatten().filter_map(link));
            // A page that brings nothing new would let a broken BMC hold us for ever.
            next = answer.body["Members@odata.nextLink"]
                .as_str()
                .filter(|_| found.len() > before)
                .map(str::to_owned);
        }
        Ok(found)
    }

    /// Changes the system, by its settings resource where the BMC keeps boot settings there.
    async fn change_system(
        &self,
        path: &str,
        answer: &Answer,
        change: &Value,
        what: &str,
    ) -> Result<(), BmcError> {
        let settings = link(&answer.body["@Redfish.Settings"]["SettingsObject"]);
        if let Some(settings) = settings {
            let pending = self.http.get(&settings, what).await;
            if let Ok(pending) = pending
                && pending.body["Boot"].is_object()
            {
                let etag = pending.etag.as_deref();
                return self.http.patch(&settings, change, etag, what).await;
            }
        }
        self.http
            .patch(path, change, answer.etag.as_deref(), what)
            .await
    }
}

/// The path that a link names.
pub(crate) fn link(value: &Value) -> Option<String> {
    value["@odata.id"].as_str().map(str::to_owned)
}

pub(crate) fn text(value: &Value) -> Option<String> {
    value
        .as_str()
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

fn system_of(path: String, body: &Value) -> System {
    let boot = &body["Boot"];
    System {
        path,
        manufacturer: text(&body["Manufacturer"]),
        model: text(&body["Model"]),
        serial: text(&body["SerialNumber"]),
        uuid: text(&body["UUID"]),
        power: PowerState::parse(body["PowerState"].as_str()),
        boot: BootOverride {
            target: boot["BootSourceOverrideTarget"]
                .as_str()
                .and_then(BootTarget::parse),
            frequency: BootFrequency::parse(boot["BootSourceOverrideEnabled"].as_str()),
            mode: match boot["BootSourceOverrideMode"].as_str() {
                Some("UEFI") => Some(BootMode::Uefi),
                Some("Legacy") => Some(BootMode::Bios),
                Some(_) | None => None,
            },
            allowed: boot["BootSourceOverrideTarget@Redfish.AllowableValues"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|word| BootTarget::parse(word.as_str()?))
                .collect(),
        },
    }
}

/// The target to send: the wanted one, or the other name of virtual media where only that is allowed.
fn usable(wanted: BootTarget, allowed: &[BootTarget]) -> Option<BootTarget> {
    if allowed.is_empty() || allowed.contains(&wanted) {
        return Some(wanted);
    }
    let other = match wanted {
        BootTarget::Cd => BootTarget::UsbCd,
        BootTarget::UsbCd => BootTarget::Cd,
        _ => return None,
    };
    allowed.contains(&other).then_some(other)
}

fn words(targets: &[BootTarget]) -> String {
    let words: Vec<&str> = targets.iter().map(|target| target.word()).collect();
    words.join(", ")
}
