//! The tables of this API: for each kind of thing its fields, since which minor version each exists, what
//! values it takes, and whether it may be given at creation and patched.
//!
//! Reading, writing and showing all look here; no other place compares names of fields with versions.

use baremetal::Object;
use openstack_api::{ApiError, Microversion, parse_bool};
use serde_json::{Value, json};

/// What values a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name: letters, digits, `-._~`; or null.
    Name,
    /// A text up to so many characters; or null.
    Text(usize),
    /// A text that must be there.
    Word,
    /// An object.
    Object,
    /// A list.
    List,
    /// Yes or no.
    Bool,
    /// Yes, no or null.
    MaybeBool,
    /// A UUID that must be one.
    Id,
    /// A UUID or null.
    MaybeId,
    /// A MAC address, or null where `true`.
    Mac(bool),
    /// Where a port is plugged in.
    LocalLink,
    /// A time; shown only.
    Time,
}

/// A field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) name: &'static str,
    /// First minor version.
    pub(super) since: u16,
    pub(super) kind: Kind,
    /// May be given at creation.
    pub(super) create: bool,
    /// May be patched.
    pub(super) patch: bool,
}

const fn both(name: &'static str, since: u16, kind: Kind) -> Field {
    Field {
        name,
        since,
        kind,
        create: true,
        patch: true,
    }
}

const fn new(name: &'static str, since: u16, kind: Kind) -> Field {
    Field {
        name,
        since,
        kind,
        create: true,
        patch: false,
    }
}

const fn late(name: &'static str, since: u16, kind: Kind) -> Field {
    Field {
        name,
        since,
        kind,
        create: false,
        patch: true,
    }
}

const fn shown(name: &'static str, since: u16, kind: Kind) -> Field {
    Field {
        name,
        since,
        kind,
        create: false,
        patch: false,
    }
}

/// Fields of nodes.
pub(super) const NODE: &[Field] = &[
    new("uuid", 1, Kind::Id),
    shown("created_at", 1, Kind::Time),
    shown("updated_at", 1, Kind::Time),
    shown("allocation_uuid", 52, Kind::MaybeId),
    both("automated_clean", 47, Kind::MaybeBool),
    both("bios_interface", 40, Kind::Text(255)),
    both("boot_interface", 31, Kind::Text(255)),
    shown("boot_mode", 75, Kind::Text(255)),
    both("chassis_uuid", 1, Kind::MaybeId),
    shown("clean_step", 7, Kind::Object),
    shown("conductor", 49, Kind::Text(255)),
    both("conductor_group", 46, Kind::Text(255)),
    shown("console_enabled", 1, Kind::Bool),
    both("console_interface", 31, Kind::Text(255)),
    both("deploy_interface", 31, Kind::Text(255)),
    shown("deploy_step", 44, Kind::Object),
    both("description", 51, Kind::Text(4096)),
    both("driver", 1, Kind::Word),
    both("driver_info", 1, Kind::Object),
    shown("driver_internal_info", 3, Kind::Object),
    both("extra", 1, Kind::Object),
    shown("fault", 42, Kind::Text(255)),
    both("inspect_interface", 31, Kind::Text(255)),
    shown("inspection_finished_at", 6, Kind::Time),
    shown("inspection_started_at", 6, Kind::Time),
    both("instance_info", 1, Kind::Object),
    both("instance_uuid", 1, Kind::MaybeId),
    shown("last_error", 1, Kind::Text(65535)),
    both("lessee", 65, Kind::Text(255)),
    late("maintenance", 1, Kind::Bool),
    late("maintenance_reason", 1, Kind::Text(4096)),
    both("management_interface", 31, Kind::Text(255)),
    both("name", 5, Kind::Name),
    both("network_data", 66, Kind::Object),
    both("network_interface", 20, Kind::Text(255)),
    both("owner", 50, Kind::Text(255)),
    both("power_interface", 31, Kind::Text(255)),
    shown("power_state", 1, Kind::Text(255)),
    both("properties", 1, Kind::Object),
    late("protected", 48, Kind::Bool),
    late("protected_reason", 48, Kind::Text(4096)),
    shown("provision_state", 1, Kind::Text(255)),
    shown("provision_updated_at", 1, Kind::Time),
    shown("raid_config", 12, Kind::Object),
    both("raid_interface", 31, Kind::Text(255)),
    both("rescue_interface", 38, Kind::Text(255)),
    shown("reservation", 1, Kind::Text(255)),
    both("resource_class", 21, Kind::Text(80)),
    both("retired", 61, Kind::Bool),
    both("retired_reason", 61, Kind::Text(4096)),
    shown("secure_boot", 75, Kind::MaybeBool),
    both("storage_interface", 33, Kind::Text(255)),
    shown("target_power_state", 1, Kind::Text(255)),
    shown("target_provision_state", 1, Kind::Text(255)),
    shown("target_raid_config", 12, Kind::Object),
    shown("traits", 37, Kind::List),
    both("vendor_interface", 31, Kind::Text(255)),
    shown("links", 1, Kind::List),
    shown("ports", 1, Kind::List),
    shown("portgroups", 23, Kind::List),
    shown("states", 14, Kind::List),
    shown("volume", 32, Kind::List),
];

/// Fields of ports.
pub(super) const PORT: &[Field] = &[
    new("uuid", 1, Kind::Id),
    shown("created_at", 1, Kind::Time),
    shown("updated_at", 1, Kind::Time),
    both("address", 1, Kind::Mac(false)),
    both("extra", 1, Kind::Object),
    shown("internal_info", 18, Kind::Object),
    both("is_smartnic", 53, Kind::Bool),
    both("local_link_connection", 19, Kind::LocalLink),
    both("node_uuid", 1, Kind::Id),
    both("physical_network", 34, Kind::Text(64)),
    both("portgroup_uuid", 24, Kind::MaybeId),
    both("pxe_enabled", 19, Kind::Bool),
    shown("links", 1, Kind::List),
];

/// Fields of port groups.
pub(super) const PORTGROUP: &[Field] = &[
    new("uuid", 1, Kind::Id),
    shown("created_at", 1, Kind::Time),
    shown("updated_at", 1, Kind::Time),
    both("address", 1, Kind::Mac(true)),
    both("extra", 1, Kind::Object),
    shown("internal_info", 1, Kind::Object),
    both("mode", 26, Kind::Word),
    both("name", 1, Kind::Name),
    both("node_uuid", 1, Kind::Id),
    both("properties", 26, Kind::Object),
    both("standalone_ports_supported", 1, Kind::Bool),
    shown("ports", 24, Kind::List),
    shown("links", 1, Kind::List),
];

/// Fields of chassis.
pub(super) const CHASSIS: &[Field] = &[
    new("uuid", 1, Kind::Id),
    shown("created_at", 1, Kind::Time),
    shown("updated_at", 1, Kind::Time),
    both("description", 1, Kind::Text(255)),
    both("extra", 1, Kind::Object),
    shown("links", 1, Kind::List),
    shown("nodes", 1, Kind::List),
];

/// Fields of allocations.
pub(super) const ALLOCATION: &[Field] = &[
    new("uuid", 1, Kind::Id),
    shown("created_at", 1, Kind::Time),
    shown("updated_at", 1, Kind::Time),
    new("candidate_nodes", 1, Kind::List),
    both("extra", 1, Kind::Object),
    shown("last_error", 1, Kind::Text(65535)),
    both("name", 1, Kind::Name),
    new("node", 58, Kind::Word),
    shown("node_uuid", 1, Kind::MaybeId),
    new("owner", 60, Kind::Text(255)),
    new("resource_class", 1, Kind::Text(80)),
    shown("state", 1, Kind::Word),
    new("traits", 1, Kind::List),
    shown("links", 1, Kind::List),
];

/// Paths and the first minor version that has them, by what follows `/v1`; `*` stands for any part.
pub(super) const PATHS: &[(&str, u16)] = &[
    ("allocations", 52),
    ("portgroups", 23),
    ("conductors", 49),
    ("nodes/*/traits", 37),
    ("nodes/*/vifs", 28),
    ("nodes/*/portgroups", 24),
    ("nodes/*/volume", 32),
    ("nodes/*/bios", 40),
    ("nodes/*/allocation", 52),
    ("nodes/*/history", 78),
    ("nodes/*/inventory", 81),
    ("nodes/*/states/raid", 12),
    ("nodes/*/states/boot_mode", 76),
    ("nodes/*/states/secure_boot", 76),
    ("nodes/*/management/inject_nmi", 29),
    ("ports/*/portgroup", 24),
    ("volume", 32),
];

/// Verbs and the first minor version that has them.
pub(super) const VERBS: &[(&str, u16)] = &[
    ("manage", 4),
    ("provide", 4),
    ("inspect", 6),
    ("abort", 13),
    ("clean", 15),
    ("adopt", 17),
    ("rescue", 38),
    ("unrescue", 38),
    ("deploy", 73),
    ("undeploy", 73),
];

/// Traits without the prefix `CUSTOM_` that are taken: the standard ones start so.
const STANDARD_TRAITS: &[&str] = &[
    "HW_",
    "COMPUTE_",
    "STORAGE_",
    "MISC_",
    "OWNER_",
    "HYPERVISOR_",
];

/// Keys of a port's `local_link_connection`.
const LOCAL_LINK: &[&str] = &[
    "switch_id",
    "port_id",
    "switch_info",
    "network_type",
    "hostname",
];

/// The field of this name.
pub(super) fn field(table: &'static [Field], name: &str) -> Option<&'static Field> {
    table.iter().find(|field| field.name == name)
}

/// Whether the path exists at `version`.
pub(super) fn has_path(path: &str, version: Microversion) -> bool {
    let parts: Vec<&str> = path.trim_matches('/').split('/').skip(1).collect();
    PATHS.iter().all(|(pattern, since)| {
        let pattern: Vec<&str> = pattern.split('/').collect();
        let matches = parts.len() >= pattern.len()
            && pattern
                .iter()
                .zip(&parts)
                .all(|(want, part)| *want == "*" || want == part);
        !matches || version.minor >= *since
    })
}

/// Checks a body that makes something, and brings its values into their one form.
pub(super) fn creation(
    table: &'static [Field],
    body: Value,
    version: Microversion,
) -> Result<Object, ApiError> {
    let Value::Object(given) = body else {
        return Err(ApiError::bad_request("A JSON object is expected."));
    };
    let mut made = Object::new();
    for (name, value) in given {
        let known = field(table, &name).filter(|field| field.create);
        let Some(known) = known else {
            return Err(ApiError::bad_request(format!(
                "Additional properties are not allowed ('{name}' was unexpected)"
            )));
        };
        if version.minor < known.since {
            return Err(too_new(&name));
        }
        made.insert(name, value_of(known, value)?);
    }
    Ok(made)
}

/// 406 for a field or verb that the version does not have.
pub(super) fn too_new(name: &str) -> ApiError {
    ApiError::new(
        http::StatusCode::NOT_ACCEPTABLE,
        format!("Request not acceptable: `{name}` is not in this version of the API."),
    )
}

/// Checks a value and brings it into its one form.
pub(super) fn value_of(field: &Field, value: Value) -> Result<Value, ApiError> {
    let wrong = |why: &str| {
        let shown: String = value.to_string().chars().take(100).collect();
        ApiError::bad_request(format!("Invalid value {shown} for `{}`: {why}", field.name))
    };
    match (field.kind, &value) {
        (Kind::Object, Value::Object(_)) | (Kind::List, Value::Array(_)) => Ok(value),
        (Kind::Object, Value::Null) => Ok(json!({})),
        (Kind::List, Value::Null) => Ok(json!([])),
        (Kind::Object, _) => Err(wrong("an object is expected")),
        (Kind::List, _) => Err(wrong("a list is expected")),
        (
            Kind::Text(_) | Kind::Name | Kind::MaybeBool | Kind::MaybeId | Kind::Mac(true),
            Value::Null,
        ) => Ok(value),
        (Kind::Text(most), Value::String(text)) => {
            if text.chars().count() > most {
                return Err(wrong(&format!("at most {most} characters are allowed")));
            }
            Ok(value)
        }
        (Kind::Word, Value::String(text)) if !text.is_empty() && text.len() <= 255 => Ok(value),
        (Kind::Text(_) | Kind::Word, _) => Err(wrong("a text is expected")),
        (Kind::Name, Value::String(text)) if is_name(text) => Ok(value),
        (Kind::Name, _) => Err(wrong(
            "a name has letters, digits and `-._~`, and does not look like a UUID",
        )),
        (Kind::Bool | Kind::MaybeBool, Value::Bool(_)) => Ok(value),
        (Kind::Bool | Kind::MaybeBool, Value::String(text)) => parse_bool(text)
            .map(Value::Bool)
            .ok_or_else(|| wrong("a boolean is expected")),
        (Kind::Bool | Kind::MaybeBool, _) => Err(wrong("a boolean is expected")),
        (Kind::Id | Kind::MaybeId, Value::String(text)) => uuid::Uuid::parse_str(text)
            .map(|id| json!(id.hyphenated().to_string()))
            .map_err(|_| wrong("a UUID is expected")),
        (Kind::Id | Kind::MaybeId, _) => Err(wrong("a UUID is expected")),
        (Kind::Mac(_), Value::String(text)) => {
            mac(text).ok_or_else(|| wrong("a MAC address such as 52:54:00:12:34:56 is expected"))
        }
        (Kind::Mac(_), _) => Err(wrong("a MAC address is expected")),
        (Kind::LocalLink, Value::Object(pairs)) => {
            match pairs.keys().find(|key| !LOCAL_LINK.contains(&key.as_str())) {
                None => Ok(value),
                Some(key) => Err(wrong(&format!("it has no key `{key}`"))),
            }
        }
        (Kind::LocalLink, _) => Err(wrong("an object is expected")),
        (Kind::Time, _) => Err(wrong("it cannot be set")),
    }
}

/// A MAC address in its one form.
pub(super) fn mac(text: &str) -> Option<Value> {
    let parts: Vec<&str> = text.split(':').collect();
    let good = parts.len() == 6
        && parts
            .iter()
            .all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()));
    good.then(|| json!(text.to_lowercase()))
}

/// Whether a text may be the name of something.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
        && uuid::Uuid::parse_str(text).is_err()
}

/// Whether a text may be a trait.
pub(super) fn is_trait(text: &str) -> bool {
    let words = !text.is_empty()
        && text.len() <= 255
        && text
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    let custom = text
        .strip_prefix("CUSTOM_")
        .is_some_and(|rest| !rest.is_empty());
    words && (custom || STANDARD_TRAITS.iter().any(|start| text.starts_with(start)))
}

/// The traits of a body's list.
pub(super) fn traits_of(value: &Value) -> Result<Vec<String>, ApiError> {
    let wrong = |what: &Value| {
        ApiError::bad_request(format!(
            "Invalid trait {what}: `CUSTOM_` and upper case letters, digits and `_`, or a standard trait, is expected."
        ))
    };
    let Value::Array(items) = value else {
        return Err(ApiError::bad_request("`traits` must be a list."));
    };
    let mut traits: Vec<String> = Vec::new();
    for item in items {
        let text = item.as_str().filter(|text| is_trait(text));
        let text = text.ok_or_else(|| wrong(item))?;
        if !traits.iter().any(|known| known == text) {
            traits.push(text.to_owned());
        }
    }
    Ok(traits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_as_old_as_the_table_says() {
        let at = |minor| Microversion::new(1, minor);
        assert!(!has_path("/v1/allocations", at(51)));
        assert!(has_path("/v1/allocations/x", at(52)));
        assert!(!has_path("/v1/nodes/x/history/y", at(77)));
        assert!(has_path("/v1/nodes/history", at(1)));
    }

    #[test]
    fn values_are_brought_into_one_form() {
        let of = |name, value| value_of(field(NODE, name).expect("a field"), value);
        assert_eq!(of("retired", json!("yes")).expect("a boolean"), json!(true));
        assert!(of("name", json!("a b")).is_err());
        assert!(of("name", json!("")).is_err());
        assert!(of("extra", json!([])).is_err());
        let port = value_of(
            field(PORT, "address").expect("a field"),
            json!("52:54:00:AA:BB:CC"),
        );
        assert_eq!(port.expect("a MAC"), json!("52:54:00:aa:bb:cc"));
    }
}
