//! What is kept of a node. Names of fields are Ironic's, since its API, stored rows and JSON patches all name them.
//!
//! Plain values: who may change what is decided by `Baremetal`, and in which API version a field shows by
//! the server.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::state::{BootMode, Power, PowerTarget, ProvisionState};
use crate::work::Work;

/// A JSON object.
pub type Object = Map<String, Value>;

/// Identifies a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub Uuid);

impl NodeId {
    /// Coins one.
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }
}

impl Default for NodeId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for NodeId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
    }
}

/// A machine, as it is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Identity.
    pub uuid: NodeId,
    /// Name; unique.
    pub name: Option<String>,
    /// The hardware type that drives it.
    pub driver: String,
    /// Interfaces by kind (`boot`, `deploy` …), all set.
    pub interfaces: BTreeMap<String, String>,
    /// How the driver reaches it; holds secrets.
    pub driver_info: Object,
    /// What drivers and handlers note for themselves.
    pub driver_internal_info: Object,
    /// What it is: memory, capabilities …
    pub properties: Object,
    /// The operator's own words.
    pub extra: Object,
    /// What it is to become.
    pub instance_info: Object,
    /// The instance that holds it; unique.
    pub instance_uuid: Option<Uuid>,
    /// The chassis that it is in.
    pub chassis_uuid: Option<Uuid>,
    /// Being worked on by people.
    pub maintenance: bool,
    /// Why.
    pub maintenance_reason: Option<String>,
    /// What is wrong with it.
    pub fault: Option<String>,
    /// Power, as last seen.
    pub power_state: Option<Power>,
    /// Power, as asked for.
    pub target_power_state: Option<PowerTarget>,
    /// Where it is in its life.
    pub provision_state: ProvisionState,
    /// Where it is going, or was to go when it failed.
    pub target_provision_state: Option<ProvisionState>,
    /// When that changed.
    pub provision_updated_at: Option<Timestamp>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// Whether a console is open.
    pub console_enabled: bool,
    /// RAID as it is.
    pub raid_config: Object,
    /// RAID as wanted.
    pub target_raid_config: Object,
    /// The cleaning step that runs.
    pub clean_step: Object,
    /// The deploy step that runs.
    pub deploy_step: Object,
    /// When its hardware was last looked at.
    pub inspection_started_at: Option<Timestamp>,
    /// When that ended.
    pub inspection_finished_at: Option<Timestamp>,
    /// When it was enrolled.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Option<Timestamp>,
    /// The class by which it is chosen.
    pub resource_class: Option<String>,
    /// The group of servers that drive it.
    pub conductor_group: String,
    /// Whether it is cleaned when it is taken back; unset: as the server does.
    pub automated_clean: Option<bool>,
    /// May not be taken back.
    pub protected: bool,
    /// Why.
    pub protected_reason: Option<String>,
    /// Project that owns it.
    pub owner: Option<String>,
    /// Project that may use it.
    pub lessee: Option<String>,
    /// The operator's words for people.
    pub description: Option<String>,
    /// The allocation that holds it.
    pub allocation_uuid: Option<Uuid>,
    /// Not to be used again.
    pub retired: bool,
    /// Why.
    pub retired_reason: Option<String>,
    /// Static network configuration for the machine.
    pub network_data: Object,
    /// How its firmware boots.
    pub boot_mode: Option<BootMode>,
    /// Whether its firmware boots signed systems only.
    pub secure_boot: Option<bool>,
    /// Traits.
    pub traits: Vec<String>,
    /// What is being done with it.
    pub work: Option<Work>,
    /// Raised by every change.
    pub revision: i64,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            uuid: NodeId(Uuid::nil()),
            name: None,
            driver: String::new(),
            interfaces: BTreeMap::new(),
            driver_info: Object::new(),
            driver_internal_info: Object::new(),
            properties: Object::new(),
            extra: Object::new(),
            instance_info: Object::new(),
            instance_uuid: None,
            chassis_uuid: None,
            maintenance: false,
            maintenance_reason: None,
            fault: None,
            power_state: None,
            target_power_state: None,
            provision_state: ProvisionState::Enroll,
            target_provision_state: None,
            provision_updated_at: None,
            last_error: None,
            console_enabled: false,
            raid_config: Object::new(),
            target_raid_config: Object::new(),
            clean_step: Object::new(),
            deploy_step: Object::new(),
            inspection_started_at: None,
            inspection_finished_at: None,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: None,
            resource_class: None,
            conductor_group: String::new(),
            automated_clean: None,
            protected: false,
            protected_reason: None,
            owner: None,
            lessee: None,
            description: None,
            allocation_uuid: None,
            retired: false,
            retired_reason: None,
            network_data: Object::new(),
            boot_mode: None,
            secure_boot: None,
            traits: Vec::new(),
            work: None,
            revision: 0,
        }
    }
}

impl Node {
    /// The name, or the identity where it has none: for messages.
    pub fn label(&self) -> String {
        match &self.name {
            Some(name) => name.clone(),
            None => self.uuid.to_string(),
        }
    }

    /// Whether something is being done with it that nobody may interrupt.
    pub fn is_locked(&self) -> bool {
        self.work.as_ref().is_some_and(|work| !work.is_waiting())
    }

    /// A capability of `properties`: both Ironic's `a:b,c:d` text and an object are read.
    pub fn capability(&self, name: &str) -> Option<String> {
        match self.properties.get("capabilities")? {
            Value::String(text) => text.split(',').find_map(|pair| {
                let (key, value) = pair.split_once(':')?;
                (key.trim() == name).then(|| value.trim().to_owned())
            }),
            Value::Object(pairs) => match pairs.get(name)? {
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            },
            _ => None,
        }
    }

    /// A number of `properties`: clients write them as numbers or as texts.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.properties.get(name)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// How far the running deployment or cleaning is, as the machine says: shown to people.
    pub fn progress(&self) -> Option<&Value> {
        self.driver_internal_info.get("progress")
    }
}
