//! How things look from outside: documents with all fields of the version.

use baremetal::{Allocation, Baremetal, Chassis, Node, Object, Port, PortGroup};
use jiff::Timestamp;
use openstack_api::{ApiError, time};
use serde::Serialize;
use serde_json::{Value, json};

use super::ask::Ask;
use super::schema::{ALLOCATION, CHASSIS, Field, Kind, NODE, PORT, PORTGROUP};

/// What stands for a secret.
pub(super) const MASK: &str = "******";

/// The stored fields of something.
pub(super) fn stored(thing: &impl Serialize) -> Result<Object, ApiError> {
    match serde_json::to_value(thing) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(ApiError::bad_request("not an object")),
        Err(error) => Err(ApiError::internal(&error)),
    }
}

/// Shows the fields of `table` that the version has; `special` answers for those that are not stored so.
fn document(
    ask: &Ask,
    table: &[Field],
    stored: &Object,
    special: impl Fn(&str) -> Option<Value>,
) -> Object {
    let mut shown = Object::new();
    for field in table.iter().filter(|field| ask.since(field.since)) {
        let value = special(field.name).or_else(|| {
            let value = stored.get(field.name)?.clone();
            Some(match (field.kind, &value) {
                (Kind::Time, Value::String(text)) => json!(at(text)),
                _ => value,
            })
        });
        if let Some(value) = value {
            shown.insert(field.name.to_owned(), value);
        }
    }
    shown
}

/// A stored time as the API writes it.
fn at(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(at) => time::offset(at),
        Err(_) => text.to_owned(),
    }
}

/// A node.
pub(super) fn node(ask: &Ask, metal: &Baremetal, node: &Node) -> Result<Object, ApiError> {
    let stored = stored(node)?;
    let host = &metal.settings().host;
    let path = format!("nodes/{}", node.uuid);
    Ok(document(ask, NODE, &stored, |name| {
        Some(match name {
            "reservation" if node.is_locked() => json!(host),
            "reservation" => Value::Null,
            "conductor" => json!(host),
            "driver_info" | "instance_info" => masked(stored.get(name)?),
            "provision_state" | "target_provision_state" => {
                let value = stored.get(name)?.clone();
                if value == "available" && !ask.since(2) {
                    Value::Null
                } else {
                    value
                }
            }
            "links" => ask.links(&path),
            "ports" | "portgroups" | "states" | "volume" => ask.links(&format!("{path}/{name}")),
            other => {
                let kind = other.strip_suffix("_interface")?;
                json!(node.interfaces.get(kind))
            }
        })
    }))
}

/// A port.
pub(super) fn port(ask: &Ask, port: &Port) -> Result<Object, ApiError> {
    Ok(document(ask, PORT, &stored(port)?, |name| match name {
        "links" => Some(ask.links(&format!("ports/{}", port.uuid))),
        _ => None,
    }))
}

/// A port group.
pub(super) fn portgroup(ask: &Ask, group: &PortGroup) -> Result<Object, ApiError> {
    let path = format!("portgroups/{}", group.uuid);
    Ok(document(
        ask,
        PORTGROUP,
        &stored(group)?,
        |name| match name {
            "links" => Some(ask.links(&path)),
            "ports" => Some(ask.links(&format!("{path}/ports"))),
            _ => None,
        },
    ))
}

/// A chassis. Its `nodes` is a list of one list of links, as clients expect it.
pub(super) fn chassis(ask: &Ask, chassis: &Chassis) -> Result<Object, ApiError> {
    let path = format!("chassis/{}", chassis.uuid);
    Ok(document(
        ask,
        CHASSIS,
        &stored(chassis)?,
        |name| match name {
            "links" => Some(ask.links(&path)),
            "nodes" => Some(json!([ask.links(&format!("{path}/nodes"))])),
            _ => None,
        },
    ))
}

/// An allocation.
pub(super) fn allocation(ask: &Ask, allocation: &Allocation) -> Result<Object, ApiError> {
    let mut shown = document(ask, ALLOCATION, &stored(allocation)?, |name| match name {
        "links" => Some(ask.links(&format!("allocations/{}", allocation.uuid))),
        _ => None,
    });
    shown.shift_remove("node");
    Ok(shown)
}

/// Covers what is secret, at any depth.
pub(super) fn masked(value: &Value) -> Value {
    match value {
        Value::Object(pairs) => Value::Object(
            pairs
                .iter()
                .map(|(key, value)| {
                    let shown = match value {
                        Value::String(_) | Value::Number(_) if is_secret(key) => json!(MASK),
                        other => masked(other),
                    };
                    (key.clone(), shown)
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(masked).collect()),
        other => other.clone(),
    }
}

/// Whether the value under this key is a secret.
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    [
        "password",
        "secret",
        "token",
        "configdrive",
        "private_key",
        "snmp_community",
    ]
    .iter()
    .any(|word| key.contains(word))
}

/// Puts the secrets back that a client sent back covered.
pub(super) fn unmasked(new: &mut Value, old: &Value) {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            for (key, value) in new.iter_mut() {
                match old.get(key) {
                    Some(before) if is_secret(key) && value == MASK => *value = before.clone(),
                    Some(before) => unmasked(value, before),
                    None => {}
                }
            }
        }
        (Value::Array(new), Value::Array(old)) => {
            for (value, before) in new.iter_mut().zip(old) {
                unmasked(value, before);
            }
        }
        _ => {}
    }
}
