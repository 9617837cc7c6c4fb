//! Makes config drives from the parts that clients of Ironic send.

use disk::iso::{Content, IsoImage};
use serde_json::Value;

use crate::error::chain;
use crate::node::Object;

/// Parts and where they lie on the drive.
const FILES: &[(&str, &str)] = &[
    ("meta_data", "openstack/latest/meta_data.json"),
    ("network_data", "openstack/latest/network_data.json"),
    ("user_data", "openstack/latest/user_data"),
    ("vendor_data", "openstack/latest/vendor_data2.json"),
];

/// A config drive of `meta_data`, `network_data`, `user_data` and `vendor_data`; the error says what is wrong.
pub fn config_drive(parts: &Object) -> Result<Vec<u8>, String> {
    let mut iso = IsoImage::new(disk::config_drive::LABEL).map_err(|error| chain(&error))?;
    for (part, path) in FILES {
        let bytes = match parts.get(*part) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) => text.clone().into_bytes(),
            Some(other) => other.to_string().into_bytes(),
        };
        iso.file(path, 0o600, Content::Bytes(bytes))
            .map_err(|error| chain(&error))?;
    }
    iso.to_bytes().map_err(|error| chain(&error))
}
