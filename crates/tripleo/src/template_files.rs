//! Reads templates and environments with every file that they name, as the stock client does, so that the server needs no
//! file of the operator's.
//!
//! A file is known to the server by its `file://` URL. Inside what is sent, names are rewritten to these URLs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::Value;

/// Reads a template; what it names with `get_file` or as a nested type goes to `files`.
pub fn read_template(path: &Path, files: &mut BTreeMap<String, String>) -> anyhow::Result<Value> {
    let path = absolute(path)?;
    let text = read(&path)?;
    let mut template = parse(&path, &text)?;
    collect(&mut template, folder(&path), files)?;
    Ok(template)
}

/// Reads an environment; returns the URL under which it stands in `files`.
pub fn read_environment(
    path: &Path,
    files: &mut BTreeMap<String, String>,
) -> anyhow::Result<String> {
    let path = absolute(path)?;
    let text = read(&path)?;
    let mut environment = parse(&path, &text)?;
    if let Some(registry) = environment.get_mut("resource_registry") {
        let base = registry
            .get("base_url")
            .and_then(Value::as_str)
            .map(PathBuf::from);
        registry_files(
            registry,
            &base.unwrap_or_else(|| folder(&path).to_owned()),
            files,
        )?;
    }
    let url = url(&path);
    files.insert(url.clone(), environment.to_string());
    Ok(url)
}

fn registry_files(
    registry: &mut Value,
    base: &Path,
    files: &mut BTreeMap<String, String>,
) -> anyhow::Result<()> {
    let Some(entries) = registry.as_object_mut() else {
        return Ok(());
    };
    for (key, value) in entries {
        match value {
            Value::Object(_) => registry_files(value, base, files)?,
            Value::String(name) if key != "base_url" && is_template(name) => {
                *name = add_template(base, name, files)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Walks a template: any `type: x.yaml` and any `get_file: x`, wherever it is, as the stock client does.
fn collect(
    value: &mut Value,
    base: &Path,
    files: &mut BTreeMap<String, String>,
) -> anyhow::Result<()> {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(name) if key == "type" && is_template(name) => {
                        *name = add_template(base, name, files)?;
                    }
                    Value::String(name) if key == "get_file" => {
                        *name = add_file(base, name, files)?
                    }
                    other => collect(other, base, files)?,
                }
            }
            Ok(())
        }
        Value::Array(items) => items
            .iter_mut()
            .try_for_each(|item| collect(item, base, files)),
        _ => Ok(()),
    }
}

fn is_template(name: &str) -> bool {
    name.ends_with(".yaml") || name.ends_with(".template")
}

fn add_template(
    base: &Path,
    name: &str,
    files: &mut BTreeMap<String, String>,
) -> anyhow::Result<String> {
    let path = place(base, name)?;
    let url = url(&path);
    if !files.contains_key(&url) {
        // Entered before its own files are read: two templates may name each other.
        files.insert(url.clone(), String::new());
        let template = read_template(&path, files)?;
        files.insert(url.clone(), template.to_string());
    }
    Ok(url)
}

fn add_file(
    base: &Path,
    name: &str,
    files: &mut BTreeMap<String, String>,
) -> anyhow::Result<String> {
    let path = place(base, name)?;
    let url = url(&path);
    if !files.contains_key(&url) {
        files.insert(url.clone(), read(&path)?);
    }
    Ok(url)
}

fn place(base: &Path, name: &str) -> anyhow::Result<PathBuf> {
    match name.strip_prefix("file://") {
        Some(path) => Ok(PathBuf::from(path)),
        None if name.contains("://") => {
            bail!("`{name}`: only files of this machine can be sent with a template")
        }
        None => absolute(&base.join(name)),
    }
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    fs::canonicalize(path).with_context(|| format!("cannot read {}", path.display()))
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn url(path: &Path) -> String {
    format!("file://{}", path.display())
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// As the server will read it: YAML 1.1, all keys text.
fn parse(path: &Path, text: &str) -> anyhow::Result<Value> {
    let document = yaml::parse(text).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hot::Value::from_yaml(&document).to_json())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn nested_templates_and_files_are_sent_by_url() {
        let folder = written(&[
            (
                "top.yaml",
                "heat_template_version: 2018-08-31\nresources: {n: {type: child.yaml}}\n",
            ),
            (
                "child.yaml",
                "heat_template_version: 2018-08-31\noutputs: {o: {value: {get_file: note.txt}}}\n",
            ),
            ("note.txt", "a note"),
        ]);
        let mut files = BTreeMap::new();
        let template = read_template(&folder.path().join("top.yaml"), &mut files).unwrap();
        let child = template["resources"]["n"]["type"].as_str().unwrap();
        assert!(
            child.starts_with("file:///") && files[child].contains("note.txt"),
            "{files:?}"
        );
        assert!(files.values().any(|text| text == "a note"));
        assert_eq!(template["heat_template_version"], "2018-08-31");
    }

    #[test]
    fn templates_that_name_each_other_are_read_once() {
        let folder = written(&[
            ("a.yaml", "resources: {b: {type: b.yaml}}"),
            ("b.yaml", "resources: {a: {type: a.yaml}}"),
        ]);
        let mut files = BTreeMap::new();
        read_template(&folder.path().join("a.yaml"), &mut files).unwrap();
        assert_eq!(files.len(), 2);
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = written(&[("t.yaml", "resources: {n: {type: nowhere.yaml}}")]);
        let error = read_template(&folder.path().join("t.yaml"), &mut BTreeMap::new()).unwrap_err();
        assert!(format!("{error:#}").contains("nowhere.yaml"), "{error:#}");
    }
}
