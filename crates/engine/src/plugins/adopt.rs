//! Taking over: what goes along with a resource into a snapshot or out of an abandoned stack, and back.
//!
//! Nothing is made. A resource keeps its physical id; what its plugin must know beside its
//! properties (a random value, the name in the cloud) is the `resource_data` of Heat's documents.

use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{Started, configs, is_condition, is_deployment, is_handle, is_server};
use crate::api::Action;
use crate::failure::Failure;
use crate::model::{Notes, Row};

/// A resource in the document of a snapshot or an abandoned stack.
#[derive(Clone, Copy)]
pub(crate) struct Seed<'a>(pub &'a Json);

/// Notes that go along.
fn kept(row: &Row) -> &'static [&'static str] {
    match row.plugin.as_str() {
        "OS::Heat::RandomString" => &["value"],
        "OS::Nova::KeyPair" => &["private_key", "public_key"],
        _ if is_deployment(row) => &["derived", "outputs", "outputs_declared"],
        _ if is_server(row) => &["metadata_secret"],
        _ => &[],
    }
}

/// Whether the cloud knows the thing by the row's physical name.
fn is_of_cloud(row: &Row) -> bool {
    row.plugin.starts_with("OS::Neutron::") || row.plugin.starts_with("OS::Nova::")
}

/// The `resource_data` of a row.
pub(crate) fn data(row: &Row) -> Notes {
    let notes = kept(row).iter();
    let mut data: Notes = notes
        .filter_map(|key| Some(((*key).to_owned(), row.notes.get(*key)?.clone())))
        .collect();
    if row.plugin == "OS::Heat::TestResource" {
        let value = row.properties.get("value").cloned().unwrap_or_default();
        data.insert("value".to_owned(), value.to_json());
    }
    if is_of_cloud(row) {
        data.insert("physical_name".to_owned(), row.physical_name.clone().into());
        data.insert("generation".to_owned(), row.generation.into());
    }
    if is_server(row) {
        data.insert("node".to_owned(), row.node_key().into());
    }
    data
}

impl Seed<'_> {
    /// Prepares a row that is to be taken over.
    pub(crate) fn adopt(self, row: &mut Row) {
        row.action = Action::Adopt;
        row.physical_id = self.0["resource_id"].as_str().map(str::to_owned);
        let data = &self.0["resource_data"];
        for key in kept(row).iter().chain(&["node"]) {
            if let Some(note) = data.get(*key) {
                row.notes.insert((*key).to_owned(), note.clone());
            }
        }
        if let Some(name) = data["physical_name"].as_str() {
            row.physical_name = name.to_owned();
            row.notes.insert("named".to_owned(), true.into());
        }
        if let Some(generation) = data["generation"].as_u64() {
            // The cloud refuses orders that are older than what it has.
            row.generation = generation + 1;
        }
        if is_handle(row) && self.0["metadata"].is_object() {
            row.notes
                .insert("signals".to_owned(), self.0["metadata"].clone());
        }
        let id = row.physical_id.clone().unwrap_or_default();
        if is_deployment(row) && Uuid::parse_str(&id).is_ok() {
            row.notes.insert("deployment".to_owned(), id.into());
        } else if is_server(row) && !id.is_empty() {
            row.notes.insert("server_id".to_owned(), id.into());
        }
    }

    /// Gives a resource that a restored stack makes anew what it had: random text is not made twice.
    pub(crate) fn restore(self, row: &mut Row) {
        let value = &self.0["resource_data"]["value"];
        if row.plugin == "OS::Heat::RandomString"
            && self.0["type"] == json!(row.type_name)
            && value.is_string()
        {
            row.notes.insert("value".to_owned(), value.clone());
        }
    }
}

/// Begins to take a row over. None: as it would be made.
pub(super) fn start(row: &mut Row) -> Result<Option<Started>, Failure> {
    if row.physical_id.is_none() {
        return Err(Failure::new("Exception", "Resource ID was not provided."));
    }
    if is_of_cloud(row) {
        if row.notes.contains_key("named") {
            return Ok(None);
        }
        let message = "its `resource_data` has no `physical_name`, so it is not of this cloud; name \
                       it by `external_id` instead";
        return Err(Failure::new("NotSupported", message));
    }
    let as_made = is_server(row) || is_handle(row) || configs::is_config(row);
    debug_assert!(!as_made || !is_condition(row));
    Ok((!as_made).then_some(Started::Done))
}
