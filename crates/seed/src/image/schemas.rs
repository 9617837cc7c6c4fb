//! The JSON schemas that clients read before they create or show an image.

use serde_json::{Value, json};

use super::fields::{CONTAINER_FORMATS, DISK_FORMATS, VISIBILITIES};

fn with_null(choices: &[&str]) -> Vec<Value> {
    [Value::Null]
        .into_iter()
        .chain(choices.iter().map(|choice| json!(choice)))
        .collect()
}

/// The schema of an image.
pub(super) fn image() -> Value {
    let text = |about: &str, max: u32| json!({"type": ["null", "string"], "maxLength": max, "description": about});
    let fixed =
        |kind: Value, about: &str| json!({"type": kind, "readOnly": true, "description": about});
    let uuid =
        "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$";
    json!({
        "name": "image",
        "properties": {
            "id": {"type": "string", "pattern": uuid, "description": "An identifier for the image"},
            "name": text("Descriptive name for the image", 255),
            "status": {
                "type": "string", "readOnly": true, "description": "Status of the image",
                "enum": ["queued", "saving", "active", "killed", "deleted", "uploading", "importing", "pending_delete", "deactivated"],
            },
            "visibility": {"type": "string", "enum": VISIBILITIES, "description": "Scope of image accessibility"},
            "protected": {"type": "boolean", "description": "If true, image will not be deletable."},
            "os_hidden": {"type": "boolean", "description": "If true, image will not appear in default image list response."},
            "checksum": {"type": ["null", "string"], "maxLength": 32, "readOnly": true, "description": "md5 hash of image contents."},
            "os_hash_algo": {"type": ["null", "string"], "maxLength": 64, "readOnly": true, "description": "Algorithm to calculate the os_hash_value"},
            "os_hash_value": {"type": ["null", "string"], "maxLength": 128, "readOnly": true, "description": "Hexdigest of the image contents using os_hash_algo"},
            "owner": text("Owner of the image", 255),
            "size": fixed(json!(["null", "integer"]), "Size of image file in bytes"),
            "virtual_size": fixed(json!(["null", "integer"]), "Virtual size of image in bytes"),
            "container_format": {"type": ["null", "string"], "enum": with_null(&CONTAINER_FORMATS), "description": "Format of the container"},
            "disk_format": {"type": ["null", "string"], "enum": with_null(&DISK_FORMATS), "description": "Format of the disk"},
            "created_at": fixed(json!("string"), "Date and time of image registration"),
            "updated_at": fixed(json!("string"), "Date and time of the last image modification"),
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 255}, "description": "List of strings related to the image"},
            "direct_url": fixed(json!("string"), "URL to access the image file kept in external store"),
            "min_ram": {"type": "integer", "description": "Amount of ram (in MB) required to boot image."},
            "min_disk": {"type": "integer", "description": "Amount of disk space (in GB) required to boot image."},
            "self": fixed(json!("string"), "An image self url"),
            "file": fixed(json!("string"), "An image file url"),
            "schema": fixed(json!("string"), "An image schema url"),
        },
        "additionalProperties": {"type": "string"},
        "links": [
            {"rel": "self", "href": "{self}"},
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    })
}

/// The schema of a member.
pub(super) fn member() -> Value {
    json!({
        "name": "member",
        "properties": {
            "created_at": {"type": "string", "description": "Date and time of image member creation"},
            "image_id": {"type": "string", "description": "An identifier for the image"},
            "member_id": {"type": "string", "description": "An identifier for the image member (tenantId)"},
            "status": {"type": "string", "enum": ["pending", "accepted", "rejected"], "description": "The status of this image member"},
            "updated_at": {"type": "string", "description": "Date and time of last modification of image member"},
            "schema": {"type": "string", "readOnly": true},
        },
    })
}

/// The schema of a list of one of the two.
pub(super) fn collection(name: &str, item: Value) -> Value {
    let paged = name == "images";
    let mut out = json!({
        "name": name,
        "properties": {name: {"type": "array", "items": item}, "schema": {"type": "string"}},
        "links": [{"rel": "describedby", "href": "{schema}"}],
    });
    if paged {
        out["properties"]["first"] = json!({"type": "string"});
        out["properties"]["next"] = json!({"type": "string"});
        out["links"] = json!([
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ]);
    }
    out
}
