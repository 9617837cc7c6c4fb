//! The YAML of block devices in its plain form: a list of entries, each with name and base.
//!
//! A tree (an entry nested in what it stands on) becomes a list here; both forms may be mixed. What entries
//! mean is `graph`'s.

use serde_json::{Map, Value, json};

use super::{BlockError, wrong};
use crate::packages::to_json;

/// What an entry can be.
pub const PLUGINS: &[&str] = &[
    "local_loop",
    "partitioning",
    "lvm",
    "mkfs",
    "mount",
    "fstab",
];

/// An entry: the plugin, and its settings, `name` among them.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What it is.
    pub plugin: String,
    /// Its settings.
    pub settings: Map<String, Value>,
}

impl Entry {
    /// A setting as text.
    pub fn text(&self, key: &str) -> Option<String> {
        text_of(self.settings.get(key)?)
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.text("name").unwrap_or_default()
    }
}

/// A scalar as text.
pub fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Values for the file system of root, which come from outside of the configuration.
#[derive(Debug, Clone, Default)]
pub struct RootDefaults {
    /// Its type.
    pub kind: Option<String>,
    /// Its label.
    pub label: Option<String>,
    /// Options for the program that makes it.
    pub options: Option<String>,
}

/// Reads a configuration.
pub fn parse(text: &str) -> Result<Vec<Entry>, BlockError> {
    let document = yaml::parse(text).map_err(|error| wrong(format!("not valid YAML: {error}")))?;
    let Value::Array(list) = to_json(&document) else {
        return Err(wrong("it is not a list"));
    };
    let mut entries = Vec::new();
    for item in list {
        let Value::Object(item) = item else {
            return Err(wrong(format!("an entry is not a dict: {item}")));
        };
        let mut pairs = item.into_iter();
        let (Some((plugin, settings)), None) = (pairs.next(), pairs.next()) else {
            return Err(wrong(
                "an entry must be a single dict: one plugin with its settings",
            ));
        };
        if !PLUGINS.contains(&plugin.as_str()) {
            return Err(wrong(format!("`{plugin}` is not a plugin")));
        }
        flatten(&plugin, settings, None, &mut entries)?;
    }
    Ok(entries)
}

fn flatten(
    plugin: &str,
    settings: Value,
    parent: Option<&str>,
    entries: &mut Vec<Entry>,
) -> Result<(), BlockError> {
    let settings = match settings {
        Value::Object(settings) => settings,
        Value::Null => Map::new(),
        _ => {
            return Err(wrong(format!(
                "the settings of a `{plugin}` are not a dict"
            )));
        }
    };
    let base = settings
        .get("base")
        .cloned()
        .or_else(|| parent.map(|name| json!(name)));
    let name = match settings.get("name").and_then(text_of) {
        Some(name) => name,
        None => match base.as_ref().and_then(text_of) {
            Some(base) => format!("{plugin}_{base}"),
            None => return Err(wrong(format!("a `{plugin}` has neither name nor base"))),
        },
    };
    let mut own = Map::new();
    if let Some(base) = &base {
        own.insert("base".to_owned(), base.clone());
    }
    own.insert("name".to_owned(), json!(name));
    for (key, value) in settings {
        if key == "partitions" {
            let list = partitions(value, base.as_ref(), entries)?;
            own.insert(key, list);
        } else if PLUGINS.contains(&key.as_str()) {
            flatten(&key, value, Some(&name), entries)?;
        } else if !own.contains_key(&key) {
            own.insert(key, value);
        }
    }
    entries.push(Entry {
        plugin: plugin.to_owned(),
        settings: own,
    });
    Ok(())
}

/// Partitions stay with their table; what stands on them does not.
fn partitions(
    list: Value,
    base: Option<&Value>,
    entries: &mut Vec<Entry>,
) -> Result<Value, BlockError> {
    let Value::Array(list) = list else {
        return Err(wrong("partitions are not a list"));
    };
    let mut kept = Vec::new();
    for partition in list {
        let Value::Object(settings) = partition else {
            return Err(wrong(format!("a partition is not a dict: {partition}")));
        };
        let name = settings.get("name").and_then(text_of);
        let name = name.ok_or_else(|| wrong("a partition needs a name"))?;
        let mut own = Map::new();
        for (key, value) in settings {
            if PLUGINS.contains(&key.as_str()) {
                flatten(&key, value, Some(&name), entries)?;
            } else {
                own.insert(key, value);
            }
        }
        if let Some(base) = base {
            own.insert("base".to_owned(), base.clone());
        }
        kept.push(Value::Object(own));
    }
    Ok(Value::Array(kept))
}

/// Completes the file system named `mkfs_root`.
pub fn complete(entries: &mut [Entry], root: &RootDefaults) {
    let roots = entries
        .iter_mut()
        .filter(|entry| entry.plugin == "mkfs" && entry.name() == "mkfs_root");
    for entry in roots {
        let mut put = |key: &str, value: &Option<String>| {
            if let Some(value) = value
                && !entry.settings.contains_key(key)
            {
                entry.settings.insert(key.to_owned(), json!(value));
            }
        };
        put("type", &root.kind);
        put("opts", &root.options);
        put("label", &root.label);
        if !entry.settings.contains_key("label") {
            // The usual one is too long for xfs.
            let is_xfs = entry.text("type").as_deref() == Some("xfs");
            let label = if is_xfs {
                "img-rootfs"
            } else {
                "cloudimg-rootfs"
            };
            entry.settings.insert("label".to_owned(), json!(label));
        }
    }
}

/// The entries as JSON, for the state of a build.
pub fn as_json(entries: &[Entry]) -> Value {
    entries
        .iter()
        .map(|entry| json!({ entry.plugin.as_str(): entry.settings }))
        .collect()
}

/// Reads what [`as_json`] wrote.
pub fn from_json(value: &Value) -> Vec<Entry> {
    let entries = value.as_array().into_iter().flatten();
    entries
        .filter_map(Value::as_object)
        .filter_map(|entry| entry.iter().next())
        .filter_map(|(plugin, settings)| {
            Some(Entry {
                plugin: plugin.clone(),
                settings: settings.as_object()?.clone(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_becomes_a_list() {
        let tree = "- local_loop:
    name: image0
    partitioning:
      label: mbr
      partitions:
        - name: root
          size: 100%
          mkfs:
            name: mkfs_root
            mount: {mount_point: /, fstab: {options: noatime}}
";
        let mut entries = parse(tree).expect("reads");
        let names: Vec<String> = entries.iter().map(Entry::name).collect();
        assert_eq!(
            names,
            [
                "fstab_mount_mkfs_root",
                "mount_mkfs_root",
                "mkfs_root",
                "partitioning_image0",
                "image0"
            ]
        );
        assert_eq!(entries[3].text("base").as_deref(), Some("image0"));
        let root = RootDefaults {
            kind: Some("xfs".to_owned()),
            ..RootDefaults::default()
        };
        complete(&mut entries, &root);
        assert_eq!(entries[2].text("label").as_deref(), Some("img-rootfs"));
        assert_eq!(from_json(&as_json(&entries)), entries);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| parse(text).expect_err("wrong").to_string();
        assert!(error("- nosuch: {name: x}").contains("`nosuch` is not a plugin"));
        assert!(error("- {local_loop: {name: a}, mkfs: {base: a}}").contains("single"));
        assert!(error("- just text").contains("not a dict"));
        assert!(error("- mkfs: {type: ext4}").contains("neither name nor base"));
    }
}
