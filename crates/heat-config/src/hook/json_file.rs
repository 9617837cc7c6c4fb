//! JSON files: the configuration is an object of paths and what shall be in them. Nothing else is made of it.

use super::{Hooks, failure, private_directory};
use crate::deployment::Deployment;
use metadata::{Map, Value, object};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

pub(super) fn run(_: &Hooks, deployment: &Deployment) -> io::Result<Value> {
    let config = match deployment.document.get("config") {
        Some(Value::Text(text)) => metadata::parse(text).unwrap_or(Value::Null),
        config => config.cloned().unwrap_or(Value::Null),
    };
    let Some(files) = config.as_map() else {
        return Ok(failure("the configuration is no object of paths"));
    };
    if let Some(path) = files.keys().find(|path| !is_plain(Path::new(path))) {
        return Ok(failure(&format!("`{path}` is no absolute path of a file")));
    }
    // All are written before the first is put in its place.
    let mut written = Vec::new();
    for (path, value) in files {
        written.push(write_beside(Path::new(path), &pretty(value))?);
    }
    for (beside, path) in written {
        fs::rename(&beside, &path).map_err(|error| named(&path, &error))?;
    }
    Ok(object([
        ("deploy_stdout", Value::from("")),
        ("deploy_stderr", Value::from("")),
        ("deploy_status_code", Value::from(0)),
    ]))
}

fn is_plain(path: &Path) -> bool {
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    path.is_absolute() && path.file_name().is_some() && path.components().all(plain)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cannot write {}: {error}", path.display()),
    )
}

fn write_beside(path: &Path, text: &str) -> io::Result<(PathBuf, PathBuf)> {
    let failed = |error: io::Error| named(path, &error);
    if let Some(directory) = path.parent() {
        private_directory(directory).map_err(failed)?;
    }
    let former = fs::metadata(path);
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".heat-config");
    let beside = path.with_file_name(name);
    let _ = fs::remove_file(&beside);
    let write = || {
        // Programs of other users read such files, as upstream has it; a file that is there keeps its rights.
        let mut options = OpenOptions::new();
        let mut file: File = options
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&beside)?;
        if let Ok(former) = former {
            file.set_permissions(former.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(failed)?;
    Ok((beside, path.to_owned()))
}

/// As Python writes it with four blanks and sorted keys.
fn pretty(value: &Value) -> String {
    let text = sorted(value).to_json_indented();
    let lines = text.lines().map(|line| {
        let content = line.trim_start_matches(' ');
        let depth = line.len() - content.len();
        format!("{}{content}", " ".repeat(depth * 4))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Map(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let pairs = keys.into_iter().map(|key| (key.clone(), sorted(&map[key])));
            Value::Map(pairs.collect::<Map>())
        }
        Value::List(items) => Value::List(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_status, place};
    use super::*;

    #[test]
    fn files_are_pythons() {
        let place = place();
        let root = place.root.path().display().to_string();
        let text = r#"{"id": "a", "group": "json-file", "config": {"ROOT/new/a.json": {"b": [1, {"z": "x\n  y", "a": 2.0}], "a": []},
            "ROOT/b.json": "text"}}"#;
        check_status(&place, &text.replace("ROOT", &root), 0);
        let read = |name: &str| fs::read_to_string(place.root.path().join(name)).unwrap();
        let expect = "{\n    \"a\": [],\n    \"b\": [\n        1,\n        {\n            \"a\": 2.0,\n            \
                      \"z\": \"x\\n  y\"\n        }\n    ]\n}";
        assert_eq!(read("new/a.json"), expect);
        assert_eq!(read("b.json"), "\"text\"");
    }

    #[test]
    fn a_path_that_leads_elsewhere_writes_nothing() {
        let place = place();
        let root = place.root.path().display().to_string();
        for bad in ["x.json", "ROOT/../x", "ROOT/d/..", "/", ""] {
            let text =
                r#"{"id": "a", "group": "json-file", "config": {"ROOT/a.json": 1, "BAD": 1}}"#;
            let text = text.replace("BAD", bad).replace("ROOT", &root);
            check_status(&place, &text, 1);
            assert!(!place.root.path().join("a.json").exists(), "{bad}");
        }
    }
}
