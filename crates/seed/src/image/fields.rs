//! Checks what clients say of an image, at creation and in patches: one table for both.

use openstack_api::ApiError;
use serde_json::Value;

/// Formats of the container around a disk.
pub(super) const CONTAINER_FORMATS: [&str; 8] = [
    "ami",
    "ari",
    "aki",
    "bare",
    "ovf",
    "ova",
    "docker",
    "compressed",
];
/// Formats of disks.
pub(super) const DISK_FORMATS: [&str; 11] = [
    "ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop",
];
/// Who may see an image.
pub(super) const VISIBILITIES: [&str; 4] = ["community", "public", "private", "shared"];

/// What only the server writes.
const READ_ONLY: [&str; 16] = [
    "status",
    "size",
    "virtual_size",
    "checksum",
    "os_hash_algo",
    "os_hash_value",
    "created_at",
    "updated_at",
    "file",
    "self",
    "schema",
    "direct_url",
    "locations",
    "stores",
    "deleted",
    "deleted_at",
];
/// Core properties that clients write.
const WRITABLE: [&str; 11] = [
    "id",
    "name",
    "visibility",
    "protected",
    "os_hidden",
    "owner",
    "tags",
    "disk_format",
    "container_format",
    "min_disk",
    "min_ram",
];

/// Most tags that an image may have.
const MAX_TAGS: usize = 128;

/// What a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Only the server writes it.
    ReadOnly,
    /// Core, and clients write it.
    Core,
    /// A property that a client made up.
    Custom,
}

/// What a name is.
pub(super) fn place(name: &str) -> Place {
    if READ_ONLY.contains(&name) {
        Place::ReadOnly
    } else if WRITABLE.contains(&name) {
        Place::Core
    } else {
        Place::Custom
    }
}

/// The 403 for what only the server writes.
pub(super) fn read_only(name: &str) -> ApiError {
    ApiError::forbidden(format!("Attribute '{name}' is read-only."))
}

fn wrong(name: &str, wanted: &str) -> ApiError {
    ApiError::bad_request(format!(
        "Provided object does not match schema 'image': the property '{name}' must be {wanted}."
    ))
}

fn short(name: &str, value: &str, max: usize) -> Result<(), ApiError> {
    if value.chars().count() > max {
        return Err(wrong(name, &format!("of at most {max} characters")));
    }
    // As upstream, whose databases keep three bytes a character: clients get the same answer everywhere.
    if value.chars().any(|c| u32::from(c) > 0xFFFF) {
        return Err(wrong(name, "without characters beyond U+FFFF"));
    }
    Ok(())
}

/// Checks a value for a property and gives it as it is kept.
pub(super) fn check(name: &str, value: Value) -> Result<Value, ApiError> {
    let one_of = |choices: &[&str], null: bool| match &value {
        Value::Null if null => Ok(()),
        Value::String(text) if choices.contains(&text.as_str()) => Ok(()),
        _ => Err(wrong(name, &format!("one of {}", choices.join(", ")))),
    };
    match name {
        "id" => match &value {
            Value::String(text) if is_id(text) => {}
            _ => return Err(wrong(name, "a UUID")),
        },
        "name" | "owner" => match &value {
            Value::Null => {}
            Value::String(text) => short(name, text, 255)?,
            _ => return Err(wrong(name, "a text or null")),
        },
        "visibility" => one_of(&VISIBILITIES, false)?,
        "disk_format" => one_of(&DISK_FORMATS, true)?,
        "container_format" => one_of(&CONTAINER_FORMATS, true)?,
        "protected" | "os_hidden" => {
            if !value.is_boolean() {
                return Err(wrong(name, "a boolean"));
            }
        }
        "min_disk" | "min_ram" => {
            if value
                .as_i64()
                .is_none_or(|number| !(0..=2_147_483_647).contains(&number))
            {
                return Err(wrong(name, "a whole number from 0 to 2147483647"));
            }
        }
        "tags" => return tags(value),
        _ => {
            short("name of a property", name, 255)?;
            match &value {
                Value::String(text) => short(name, text, 65_535)?,
                _ => return Err(wrong(name, "a text")),
            }
        }
    }
    Ok(value)
}

/// An id in the one form in which ids are kept.
fn is_id(text: &str) -> bool {
    uuid::Uuid::try_parse(text)
        .is_ok_and(|id| id.hyphenated().to_string() == text.to_ascii_lowercase())
        && text.bytes().all(|byte| !byte.is_ascii_uppercase())
}

fn tags(value: Value) -> Result<Value, ApiError> {
    let Value::Array(list) = value else {
        return Err(wrong("tags", "a list of texts"));
    };
    let mut kept: Vec<Value> = Vec::new();
    for tag in list {
        match &tag {
            Value::String(text) => short("tags", text, 255)?,
            _ => return Err(wrong("tags", "a list of texts")),
        }
        if !kept.contains(&tag) {
            kept.push(tag);
        }
    }
    if kept.len() > MAX_TAGS {
        return Err(too_many_tags());
    }
    Ok(Value::Array(kept))
}

/// The refusal of one tag too many.
pub(super) fn too_many_tags() -> ApiError {
    ApiError::new(
        http::StatusCode::PAYLOAD_TOO_LARGE,
        format!("An image has at most {MAX_TAGS} tags."),
    )
}

/// Checks one more tag.
pub(super) fn check_tag(tags: &[String], tag: &str) -> Result<(), ApiError> {
    short("tags", tag, 255)?;
    if tags.len() >= MAX_TAGS && !tags.iter().any(|known| known == tag) {
        return Err(too_many_tags());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_checked() {
        for (name, value, good) in [
            ("name", json!("x".repeat(255)), true),
            ("name", json!("x".repeat(256)), false),
            ("name", json!("日本語"), true),
            ("name", json!("😀"), false),
            ("name", json!(null), true),
            ("id", json!("zz"), false),
            ("id", json!("7b97f37c-899d-44e8-aaa0-543edbc4eaad"), true),
            ("id", json!("7b97f37c899d44e8aaa0543edbc4eaad"), false),
            ("disk_format", json!("qcow2"), true),
            ("disk_format", json!("zz"), false),
            ("container_format", json!(null), true),
            ("visibility", json!(null), false),
            ("min_disk", json!(-1), false),
            ("min_disk", json!("1"), false),
            ("min_ram", json!(2_147_483_648_i64), false),
            ("protected", json!("true"), false),
            ("tags", json!(["a", "b"]), true),
            ("tags", json!(["a", 1]), false),
            ("tags", json!("a"), false),
            ("colour", json!("red"), true),
            ("colour", json!(1), false),
        ] {
            assert_eq!(check(name, value.clone()).is_ok(), good, "{name} {value}");
        }
        assert_eq!(check("tags", json!(["a", "a"])).unwrap(), json!(["a"]));
    }
}
