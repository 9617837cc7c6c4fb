//! What each resource type does: begins at once, calls a cloud, waits for a signal.
//!
//! A plugin reads the resolved properties of its row and keeps what it needs later in the row's
//! notes. [`start`] may be called again for the same action after a kill, so it coins nothing twice.

mod accounts;
mod adopt;
mod configs;
mod deployment;
mod keys;
mod network;
mod random;
mod server;
mod signed;
mod small;
mod wait;

use std::sync::Arc;

use cloud::{Cloud, CloudError, Order, PhysicalName, Seen};
use hot::{Frame, GroupRecord, Map, TemplateError, Value};
use jiff::Timestamp;
use serde::Serialize;

use crate::api::{Action, StackId};
use crate::engine::Setup;
use crate::failure::Failure;
use crate::model::{Notes, Row, Wait};
use crate::record::{Ledger, Put};

pub(crate) use adopt::{Seed, data as resource_data};
pub(crate) use deployment::{deployed_to, is_fine, signal as signal_deployment};
pub(crate) use server::server_name;
pub(crate) use wait::{
    handle_of, is_condition, is_handle, note_data, signal as signal_handle,
    signals as handle_signals,
};

/// What surrounds a row: the stack's own data, for plugins.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    pub now: Timestamp,
    pub project: &'a str,
    /// The wait conditions ask their handles.
    pub handles: &'a dyn Fn(&str) -> Option<Notes>,
}

/// How an action began.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Started {
    /// It is done already.
    Done,
    /// It waits.
    Wait(Wait),
    /// Something outside must be asked: [`step`] does that.
    Call,
}

/// What a step works with.
#[derive(Clone)]
pub(crate) struct Work {
    pub setup: Arc<Setup>,
    pub row: Row,
    pub stack: StackId,
    pub stack_name: String,
    pub project: String,
    pub user_project: String,
    pub deadline: Timestamp,
}

/// What came of a step.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The physical id, as soon as it is known.
    pub physical_id: Option<String>,
    /// Notes to keep.
    pub notes: Notes,
    /// Records that change together with the row.
    pub puts: Vec<Put>,
    /// What it waits for; none: it is done.
    pub wait: Option<Wait>,
    /// What it waits for, in words.
    pub why: Option<String>,
    /// Servers whose node document changed.
    pub servers: Vec<String>,
}

impl Work {
    /// The order that goes with calls to the cloud.
    pub fn order(&self) -> Order {
        Order {
            project: self.project.clone(),
            generation: self.row.generation,
            deadline: self.deadline,
        }
    }

    pub fn physical(&self) -> PhysicalName {
        PhysicalName(self.row.physical_name.clone())
    }

    /// `name/id` of the stack.
    pub fn stack_path(&self) -> String {
        format!("{}/{}", self.stack_name, self.stack)
    }

    fn cloud(&self) -> &dyn Cloud {
        self.setup.cloud.as_ref()
    }

    /// The properties before the update that runs.
    fn before(&self) -> Map {
        self.row
            .notes
            .get("before")
            .map(hot::map_from_json)
            .unwrap_or_default()
    }
}

/// The outcome of asking for a thing that has an id.
fn seen<T: Serialize>(
    seen: Result<Seen<T>, CloudError>,
    key: &str,
    id: impl Fn(&T) -> String,
) -> Result<Outcome, Failure> {
    let (thing, wait, why) = match seen.map_err(Failure::from)? {
        Seen::Ready(thing) => (Some(thing), None, None),
        Seen::Pending { why, so_far, .. } => (so_far, Some(Wait::Cloud), Some(why)),
    };
    let mut notes = Notes::new();
    if let Some(thing) = &thing {
        let json = serde_json::to_value(thing).unwrap_or_default();
        notes.insert(key.to_owned(), json);
    }
    Ok(Outcome {
        physical_id: thing.as_ref().map(id),
        notes,
        wait,
        why,
        ..Outcome::default()
    })
}

/// The outcome of removing a thing.
fn gone(seen: Result<Seen<cloud::Effect>, CloudError>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    if let Seen::Pending { why, .. } = seen.map_err(Failure::from)? {
        outcome.wait = Some(Wait::Cloud);
        outcome.why = Some(why);
    }
    Ok(outcome)
}

/// The frame inside a row with members. A group goes on counting where it stands.
pub(crate) fn member(
    frame: &Frame,
    row: &Row,
    id: StackId,
) -> Result<Option<Frame>, TemplateError> {
    let mut record = GroupRecord {
        removed: removed_members(row),
        ..GroupRecord::default()
    };
    if let Some(child) = &row.child {
        record.exists = true;
        let known = child
            .rows
            .values()
            .filter_map(|one| Some((one.name.clone(), one.reference()?)));
        record.members = known
            .map(|(name, value)| (name, value.python_str()))
            .collect();
    }
    frame.member_after(&row.name, &id.to_string(), &row.properties, &record)
}

/// Of a group: names that are never used again.
pub(crate) fn removed_members(row: &Row) -> Vec<String> {
    let removed = row
        .notes
        .get("removed")
        .and_then(serde_json::Value::as_array);
    let names = removed
        .into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_str);
    names.map(str::to_owned).collect()
}

/// Whether a replaced resource must be gone before the new one can be made.
pub(crate) fn stands_in_the_way(old: &Row, new: &Row) -> bool {
    old.plugin == "OS::Nova::Server"
        && new.plugin == old.plugin
        && (old.broken || server::shares_port(&old.properties, &new.properties))
}

/// What `get_resource` gives for a resource that is made.
pub(crate) fn reference(row: &Row) -> Option<Value> {
    match row.plugin.as_str() {
        "OS::Heat::RandomString" => row.note("value").map(Value::text),
        _ if is_handle(row) => Some(wait::endpoint(row)),
        _ => row.physical_id.clone().map(Value::Text),
    }
}

/// An attribute of a resource that is made; none: it is not known.
pub(crate) fn attribute(row: &Row, name: &str) -> Option<Value> {
    match row.plugin.as_str() {
        "OS::Heat::RandomString" => random::attribute(row, name),
        "OS::Heat::Value" | "OS::Heat::TestResource" => small::attribute(row, name),
        "OS::Heat::SoftwareConfig"
        | "OS::Heat::StructuredConfig"
        | "OS::Heat::CloudConfig"
        | "OS::Heat::MultipartMime" => configs::attribute(row, name),
        "OS::Heat::SoftwareDeployment" | "OS::Heat::StructuredDeployment" => {
            deployment::attribute(row, name)
        }
        _ if is_condition(row) || is_handle(row) => wait::attribute(row, name),
        "OS::Nova::Server" | "OS::Heat::DeployedServer" => server::attribute(row, name),
        "OS::Nova::KeyPair" => keys::attribute(row, name),
        _ => network::attribute(row, name),
    }
}

/// Begins an action on a row, or goes on with it.
pub(crate) fn start(
    row: &mut Row,
    around: &Around<'_>,
    ledger: &mut Ledger,
) -> Result<Started, Failure> {
    if row.retain && row.action == Action::Delete {
        return Ok(Started::Call);
    }
    // A snapshot only writes down what is there.
    if row.external || row.action == Action::Snapshot && row.plugin != "OS::Heat::Delay" {
        return Ok(Started::Done);
    }
    if row.action == Action::Adopt
        && let Some(started) = adopt::start(row)?
    {
        return Ok(started);
    }
    match row.plugin.as_str() {
        "OS::Heat::RandomString" => random::start(row),
        "OS::Heat::Value" | "OS::Heat::None" => small::start(row),
        "OS::Heat::TestResource" => small::start_test(row, around),
        "OS::Heat::Delay" => small::start_delay(row, around),
        "OS::Heat::SoftwareConfig"
        | "OS::Heat::StructuredConfig"
        | "OS::Heat::CloudConfig"
        | "OS::Heat::MultipartMime" => configs::start(row, around, ledger),
        "OS::Heat::SoftwareDeployment" | "OS::Heat::StructuredDeployment" => deployment::start(row),
        _ if is_condition(row) => wait::start_condition(row, around),
        _ if is_handle(row) => wait::start_handle(row),
        "OS::Nova::Server" | "OS::Heat::DeployedServer" => Ok(server::start(row)),
        "OS::Nova::KeyPair" => keys::start(row),
        "OS::Neutron::Net"
        | "OS::Neutron::Subnet"
        | "OS::Neutron::Port"
        | "OS::Neutron::Router"
        | "OS::Neutron::RouterInterface"
        | "OS::Neutron::FloatingIP"
        | "OS::Neutron::SecurityGroup" => Ok(network::start(row)),
        other => Err(Failure::new(
            "ResourceTypeUnavailable",
            format!("the resource type `{other}` is known but cannot be made here"),
        )),
    }
}

/// Whether a check of such a resource finds anything out. Of others Heat only says that it does not.
pub(crate) fn can_check(row: &Row) -> bool {
    row.plugin.starts_with("OS::Neutron::")
        || matches!(
            row.plugin.as_str(),
            "" | "OS::Nova::Server" | "OS::Nova::KeyPair"
        )
        || row.child.is_some()
}

/// Takes one step outside of the tree.
pub(crate) async fn step(work: &Work) -> Result<Outcome, Failure> {
    if work.row.retain && work.row.action == Action::Delete {
        let mut outcome = Outcome::default();
        accounts::remove(work, &mut outcome).await?;
        return Ok(outcome);
    }
    match work.row.plugin.as_str() {
        "OS::Heat::SoftwareDeployment" | "OS::Heat::StructuredDeployment" => {
            deployment::step(work).await
        }
        _ if is_handle(&work.row) => wait::step(work).await,
        "OS::Nova::Server" => server::step(work).await,
        "OS::Heat::DeployedServer" => server::step_deployed(work).await,
        "OS::Nova::KeyPair" => keys::step(work).await,
        _ => network::step(work).await,
    }
}

/// The server whose node document shows the row.
pub(crate) fn server_of(row: &Row) -> Option<String> {
    match row.plugin.as_str() {
        "OS::Nova::Server" | "OS::Heat::DeployedServer" => row.physical_id.clone(),
        _ => None,
    }
}

/// Whether a row is a server, which has a node document.
pub(crate) fn is_server(row: &Row) -> bool {
    matches!(
        row.plugin.as_str(),
        "OS::Nova::Server" | "OS::Heat::DeployedServer"
    )
}

/// Whether a row is a deployment.
pub(crate) fn is_deployment(row: &Row) -> bool {
    matches!(
        row.plugin.as_str(),
        "OS::Heat::SoftwareDeployment" | "OS::Heat::StructuredDeployment"
    )
}

fn text<'a>(properties: &'a Map, name: &str) -> Option<&'a str> {
    let text = properties.get(name).and_then(Value::as_text);
    text.filter(|text| !text.is_empty())
}

/// Texts of a list property; other items are spelled as text.
fn texts(properties: &Map, name: &str) -> Vec<String> {
    let items = properties
        .get(name)
        .and_then(Value::as_list)
        .unwrap_or_default();
    let items = items.iter().filter(|item| !item.is_null());
    items.map(Value::python_str).collect()
}

/// Pairs of a map property as text.
fn pairs(properties: &Map, name: &str) -> std::collections::BTreeMap<String, String> {
    let map = properties.get(name).and_then(Value::as_map);
    let pairs = map.into_iter().flatten();
    pairs
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.clone(), plain(value)))
        .collect()
}

/// A value as text: text as it is, all else as JSON, as Nova's metadata has it.
fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => other.python_json(false),
    }
}

/// Coins a note unless it is there already.
fn coin(row: &mut Row, key: &str, make: impl FnOnce() -> String) {
    if row.note(key).is_none() {
        row.notes.insert(key.to_owned(), make().into());
    }
}

/// A value that the properties name must be an address or network.
fn parse<T: std::str::FromStr>(what: &str, given: &str) -> Result<T, Failure> {
    given
        .parse()
        .map_err(|_| Failure::new("StackValidationFailed", format!("`{given}` is not {what}")))
}

/// Whether an action deletes.
fn deletes(row: &Row) -> bool {
    row.action == Action::Delete
}
