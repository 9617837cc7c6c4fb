//! `OS::Heat::SoftwareConfig`, `StructuredConfig`, `CloudConfig` and `MultipartMime`.

use hot::{Map, Value};
use serde_json::Value as Json;
use uuid::Uuid;

use super::{Around, Started, deletes};
use crate::api::{Action, Config, Field, NewConfig};
use crate::failure::Failure;
use crate::model::Row;
use crate::record::{Ledger, Put};

pub(super) fn start(
    row: &mut Row,
    around: &Around<'_>,
    ledger: &mut Ledger,
) -> Result<Started, Failure> {
    match row.action {
        Action::Create | Action::Adopt => {
            let id = row
                .physical_id
                .as_deref()
                .and_then(|id| Uuid::parse_str(id).ok());
            let id = id.unwrap_or_else(Uuid::new_v4);
            row.physical_id = Some(id.to_string());
            let config = Config {
                id,
                project: around.project.to_owned(),
                created: around.now,
                config: made(row),
            };
            ledger.puts.push(Put::Config(Box::new(config)));
        }
        Action::Delete => {
            if let Some(id) = row
                .physical_id
                .as_deref()
                .and_then(|id| Uuid::parse_str(id).ok())
            {
                ledger.puts.push(Put::DropConfig(id));
            }
        }
        _ => {}
    }
    debug_assert!(deletes(row) || row.physical_id.is_some() || row.action != Action::Create);
    Ok(Started::Done)
}

/// Whether a row is a configuration.
pub(super) fn is_config(row: &Row) -> bool {
    matches!(
        row.plugin.as_str(),
        "OS::Heat::SoftwareConfig"
            | "OS::Heat::StructuredConfig"
            | "OS::Heat::CloudConfig"
            | "OS::Heat::MultipartMime"
    )
}

fn made(row: &Row) -> NewConfig {
    let properties = &row.properties;
    let structured = row.plugin == "OS::Heat::StructuredConfig";
    let (group, config) = match row.plugin.as_str() {
        "OS::Heat::CloudConfig" => ("Heat::Ungrouped", Json::String(cloud_config(properties))),
        "OS::Heat::MultipartMime" => ("Heat::Ungrouped", Json::String(multipart(properties))),
        _ => {
            let group = super::text(properties, "group");
            let config = properties.get("config").cloned().unwrap_or_default();
            let config = match config {
                Value::Null if structured => Json::Object(Default::default()),
                Value::Null => Json::String(String::new()),
                other => other.to_json(),
            };
            (group.unwrap_or("Heat::Ungrouped"), config)
        }
    };
    let options = properties.get("options").and_then(Value::as_map);
    let mut options = match options.map(hot::map_to_json) {
        Some(Json::Object(options)) => options,
        _ => Default::default(),
    };
    if structured {
        // The deployment needs to know by which words the document asks for inputs.
        for (key, default) in [("input_key", "get_input"), ("input_values_validate", "LAX")] {
            let given = super::text(properties, key).unwrap_or(default);
            options.entry(key).or_insert_with(|| given.into());
        }
    }
    NewConfig {
        name: row.physical_name.clone(),
        group: group.to_owned(),
        config,
        inputs: fields(properties, "inputs"),
        outputs: fields(properties, "outputs"),
        options,
    }
}

/// Declared inputs or outputs: what is not said has its default.
fn fields(properties: &Map, name: &str) -> Vec<Field> {
    let items = properties
        .get(name)
        .and_then(Value::as_list)
        .unwrap_or_default();
    let field = |item: &Value| match item.to_json() {
        Json::Object(mut field) => {
            field.retain(|_, value| !value.is_null());
            field.entry("type").or_insert_with(|| "String".into());
            Some(field)
        }
        _ => None,
    };
    items.iter().filter_map(field).collect()
}

fn cloud_config(properties: &Map) -> String {
    let document = properties.get("cloud_config").cloned().unwrap_or_default();
    // JSON is YAML too, so cloud-init reads it.
    format!("#cloud-config\n{}", document.to_json())
}

/// A message of parts, as cloud-init reads it.
fn multipart(properties: &Map) -> String {
    let boundary = "===============tripleo-part==";
    let mut text =
        format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\nMIME-Version: 1.0\n\n");
    let parts = properties
        .get("parts")
        .and_then(Value::as_list)
        .unwrap_or_default();
    for part in parts {
        let Some(config) = part.get("config").and_then(Value::as_text) else {
            continue;
        };
        let subtype = part
            .get("subtype")
            .and_then(Value::as_text)
            .unwrap_or("plain");
        text.push_str(&format!("--{boundary}\nContent-Type: text/{subtype}\n"));
        if let Some(file) = part.get("filename").and_then(Value::as_text) {
            text.push_str(&format!(
                "Content-Disposition: attachment; filename=\"{file}\"\n"
            ));
        }
        text.push_str(&format!("\n{config}\n"));
    }
    text.push_str(&format!("--{boundary}--\n"));
    text
}

pub(super) fn attribute(row: &Row, name: &str) -> Option<Value> {
    match name {
        "config" => row.properties.get("config").cloned(),
        _ => None,
    }
}
