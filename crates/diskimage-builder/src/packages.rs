//! `package-installs`, `pkg-map` and `svc-map`, decided on the host.
//!
//! All conditions and names are resolved here, once, from the elements' files and the environment: the
//! image needs neither Python nor a JSON parser, only lists of words.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use yaml::{Node, Yaml};

use crate::element::Element;
use crate::settings::Surroundings;

/// Why package lists cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A file cannot be read or written.
    #[error("cannot read or write {path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file has the wrong form.
    #[error("{path}: {text}", path = path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        text: String,
    },
}

fn form(path: &Path, text: impl Into<String>) -> PackageError {
    PackageError::Form {
        path: path.to_owned(),
        text: text.into(),
    }
}

/// Packages to install and to remove in one phase: name as the element spells it, and the element.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct PhasePackages {
    /// To install.
    pub install: Vec<(String, String)>,
    /// To remove at the end of the phase.
    pub uninstall: Vec<(String, String)>,
}

/// What all elements want, by phase (with its `.d`).
pub type Wanted = BTreeMap<String, PhasePackages>;

/// Reads the package files of `elements`.
pub fn squash(elements: &[Element], around: &Surroundings) -> Result<Wanted, PackageError> {
    let mut wanted = Wanted::new();
    for element in elements {
        for (path, list) in package_files(&element.path)? {
            for (name, entries) in list {
                for entry in entries {
                    let rule = Rule {
                        path: &path,
                        element: &element.name,
                        package: &name,
                        entry: &entry,
                        around,
                    };
                    rule.apply(&mut wanted)?;
                }
            }
        }
    }
    Ok(wanted)
}

type PackageList = Vec<(String, Vec<Value>)>;

/// `package-installs.json` and `package-installs.yaml`, as far as they are there.
fn package_files(folder: &Path) -> Result<Vec<(PathBuf, PackageList)>, PackageError> {
    let mut found = Vec::new();
    for name in ["package-installs.json", "package-installs.yaml"] {
        let path = folder.join(name);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(PackageError::File { path, source }),
        };
        // A YAML parser reads JSON too.
        let document = yaml::parse(&text).map_err(|error| form(&path, error.to_string()))?;
        let pairs = match to_json(&document) {
            Value::Object(pairs) => pairs,
            Value::Null => Map::new(),
            _ => return Err(form(&path, "it must be a map of packages")),
        };
        let list = pairs.into_iter().map(|(name, value)| {
            let entries = match value {
                Value::Array(entries) => entries,
                other => vec![other],
            };
            (name, entries)
        });
        found.push((path, list.collect()));
    }
    Ok(found)
}

pub(crate) fn to_json(node: &Node) -> Value {
    match &node.value {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => json!(value),
        Yaml::Int(value) => json!(value),
        Yaml::Float(value) => json!(value),
        Yaml::Text(value) => json!(value),
        Yaml::Seq(items) => Value::Array(items.iter().map(to_json).collect()),
        Yaml::Map(pairs) => {
            let key = |node: &Node| match to_json(node) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            Value::Object(
                pairs
                    .iter()
                    .map(|(name, value)| (key(name), to_json(value)))
                    .collect(),
            )
        }
    }
}

struct Rule<'a> {
    path: &'a Path,
    element: &'a str,
    package: &'a str,
    entry: &'a Value,
    around: &'a Surroundings,
}

impl Rule<'_> {
    fn wrong(&self, text: impl std::fmt::Display) -> PackageError {
        form(self.path, format!("package `{}`: {text}", self.package))
    }

    fn text(&self, key: &str) -> Option<String> {
        match self.entry.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn flag(&self, key: &str) -> bool {
        match self.entry.get(key) {
            Some(Value::Bool(value)) => *value,
            Some(Value::String(text)) => {
                ["true", "yes", "1"].contains(&text.to_ascii_lowercase().as_str())
            }
            _ => false,
        }
    }

    fn apply(&self, wanted: &mut Wanted) -> Result<(), PackageError> {
        let phase = self.text("phase").unwrap_or_else(|| "install.d".to_owned());
        let (build_only, uninstall) = (self.flag("build-only"), self.flag("uninstall"));
        let is_this = |(package, _): &(String, String)| package == self.package;
        let mut removes = build_only || uninstall;
        if let Some(lists) = wanted.get_mut(&phase) {
            let stays = lists.install.iter().any(is_this) && !lists.uninstall.iter().any(is_this);
            if removes && stays {
                // Somebody wants it for good: nobody takes it away.
                if !build_only {
                    return Ok(());
                }
                removes = false;
            } else if !removes {
                lists.uninstall.retain(|item| !is_this(item));
            }
        }
        if !self.holds()? {
            return Ok(());
        }
        let lists = wanted.entry(phase).or_default();
        let item = (self.package.to_owned(), self.element.to_owned());
        if build_only || !uninstall {
            lists.install.push(item.clone());
        }
        if removes {
            lists.uninstall.push(item);
        }
        Ok(())
    }

    fn holds(&self) -> Result<bool, PackageError> {
        let arch = self.around.variable("ARCH").unwrap_or(&self.around.machine);
        let listed = |key: &str| {
            self.text(key)
                .map(|list| list.split(',').any(|entry| entry.trim() == arch))
        };
        if self.entry.get("arch").is_some() && self.entry.get("not-arch").is_some() {
            return Err(self.wrong("arch and not-arch exclude each other"));
        }
        if listed("arch") == Some(false) || listed("not-arch") == Some(true) {
            return Ok(false);
        }
        let variable = format!("DIB_INSTALLTYPE_{}", self.element.replace('-', "_"));
        let default = self
            .around
            .variable("DIB_DEFAULT_INSTALLTYPE")
            .unwrap_or("source");
        let install_type = self.around.variable(&variable).unwrap_or(default);
        if self
            .text("installtype")
            .is_some_and(|wanted| wanted != install_type)
        {
            return Ok(false);
        }
        let python = self.text("dib_python_version");
        if python.is_some_and(|wanted| {
            Some(wanted.as_str()) != self.around.variable("DIB_PYTHON_VERSION")
        }) {
            return Ok(false);
        }
        let conditions = match self.entry.get("when") {
            None => Vec::new(),
            Some(Value::Array(list)) => list.clone(),
            Some(other) => vec![other.clone()],
        };
        for condition in conditions {
            let Value::String(text) = condition else {
                return Err(self.wrong("`when` must be text"));
            };
            if !self.condition(&text)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// `VAR = value` or `VAR != value`.
    fn condition(&self, text: &str) -> Result<bool, PackageError> {
        let (name, wanted_equal, value) = match (text.split_once("!="), text.split_once('=')) {
            (Some((name, value)), _) => (name.trim(), false, value.trim()),
            (None, Some((name, value))) => (name.trim(), true, value.trim()),
            (None, None) => {
                return Err(self.wrong(format!("`when: {text}` is neither VAR = x nor VAR != x")));
            }
        };
        let found = self
            .around
            .variables
            .iter()
            .rev()
            .find(|(known, _)| known == name);
        let Some((_, given)) = found else {
            return Err(self.wrong(format!(
                "`when: {text}` needs the variable {name}, which is not set"
            )));
        };
        Ok((given == value) == wanted_equal)
    }
}

/// The file that upstream's tools read: `{phase: {install: [[package, element], …], …}}`.
pub fn as_json(wanted: &Wanted) -> Value {
    let pairs =
        |list: &[(String, String)]| -> Value { list.iter().map(|(p, e)| json!([p, e])).collect() };
    Value::Object(
        wanted
            .iter()
            .map(|(phase, lists)| {
                let value = json!({
                    "install": pairs(&lists.install),
                    "uninstall": pairs(&lists.uninstall),
                });
                (phase.clone(), value)
            })
            .collect(),
    )
}

/// A distribution and its release.
#[derive(Debug, Clone, Copy)]
pub struct Distribution<'a> {
    /// `DISTRO_NAME`.
    pub name: &'a str,
    /// `DIB_RELEASE`.
    pub release: &'a str,
}

const FAMILIES: &[(&str, &[&str])] = &[
    (
        "redhat",
        &[
            "almalinux",
            "fedora",
            "rhel",
            "centos",
            "openeuler",
            "rocky",
        ],
    ),
    ("debian", &["debian", "ubuntu"]),
    ("suse", &["opensuse"]),
    ("gentoo", &["gentoo"]),
];

/// Package names of the distribution; what the element's `pkg-map` does not know stays as it is.
pub fn mapped_names(
    list: &[(String, String)],
    elements: &[Element],
    distribution: Distribution<'_>,
) -> Result<Vec<String>, PackageError> {
    let mut maps: BTreeMap<&str, Option<Value>> = BTreeMap::new();
    let mut names: Vec<String> = Vec::new();
    for (package, element) in list {
        if !maps.contains_key(element.as_str()) {
            let folder = elements
                .iter()
                .find(|known| known.name == *element)
                .map(|known| known.path.as_path());
            maps.insert(element, folder.map(read_map).transpose()?.flatten());
        }
        let map = maps.get(element.as_str()).and_then(Option::as_ref);
        let found = map.and_then(|map| lookup(map, package, distribution));
        for name in found.unwrap_or(package).split_whitespace() {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    Ok(names)
}

fn read_map(folder: &Path) -> Result<Option<Value>, PackageError> {
    let path = folder.join("pkg-map");
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| form(&path, error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PackageError::File { path, source }),
    }
}

fn lookup<'a>(map: &'a Value, package: &str, distribution: Distribution<'_>) -> Option<&'a str> {
    let family = FAMILIES
        .iter()
        .find(|(_, members)| members.contains(&distribution.name))
        .map(|(name, _)| *name);
    let release = distribution
        .release
        .strip_suffix("-stream")
        .unwrap_or(distribution.release);
    let places = [
        map.get("release")
            .and_then(|map| map.get(distribution.name))
            .and_then(|map| map.get(release)),
        map.get("distro").and_then(|map| map.get(distribution.name)),
        family.and_then(|family| map.get("family").and_then(|map| map.get(family))),
        map.get("default"),
    ];
    places
        .into_iter()
        .flatten()
        .find_map(|place| place.get(package).and_then(Value::as_str))
}

/// A `pkg-map` as lines `kind TAB key TAB package TAB names`, for a shell to read.
pub fn flatten_map(path: &Path) -> Result<String, PackageError> {
    let text = std::fs::read_to_string(path).map_err(|source| PackageError::File {
        path: path.to_owned(),
        source,
    })?;
    let map: Value = serde_json::from_str(&text).map_err(|error| form(path, error.to_string()))?;
    let mut lines = String::new();
    let mut add = |kind: &str, key: &str, names: &Value| {
        for (package, value) in names.as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            lines.push_str(&format!("{kind}\t{key}\t{package}\t{value}\n"));
        }
    };
    for (kind, value) in map.as_object().into_iter().flatten() {
        match kind.as_str() {
            "default" => add("default", "", value),
            "family" | "distro" => {
                for (key, names) in value.as_object().into_iter().flatten() {
                    add(kind, key, names);
                }
            }
            "release" => {
                for (distro, releases) in value.as_object().into_iter().flatten() {
                    for (release, names) in releases.as_object().into_iter().flatten() {
                        add("release", &format!("{distro}/{release}"), names);
                    }
                }
            }
            other => return Err(form(path, format!("unknown key `{other}`"))),
        }
    }
    Ok(lines)
}

/// The `svc-map` files of `elements` as lines `service TAB name` for one distribution.
pub fn services(
    elements: &[Element],
    distribution: Distribution<'_>,
) -> Result<String, PackageError> {
    let family = FAMILIES
        .iter()
        .find(|(_, members)| members.contains(&distribution.name))
        .map(|(name, _)| *name);
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for element in elements {
        let path = element.path.join("svc-map");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(PackageError::File { path, source }),
        };
        let document = yaml::parse(&text).map_err(|error| form(&path, error.to_string()))?;
        for (service, names) in document.as_map().unwrap_or_default() {
            let service = service.as_text().unwrap_or_default();
            let name = [Some(distribution.name), family, Some("default")]
                .into_iter()
                .flatten()
                .find_map(|key| names.get(key).and_then(Node::as_text));
            let Some(name) = name else { continue };
            if known.insert(service.to_owned(), name.to_owned()).is_some() {
                return Err(form(
                    &path,
                    format!("service `{service}` is mapped by another element too"),
                ));
            }
        }
    }
    Ok(known
        .iter()
        .map(|(service, name)| format!("{service}\t{name}\n"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::Library;

    fn around(variables: &[(&str, &str)]) -> Surroundings {
        Surroundings {
            program: String::new(),
            variables: variables
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
            own_elements: None,
            machine: "amd64".to_owned(),
            memory_kib: 0,
        }
    }

    fn elements(top: &Path, files: &[(&str, &str)]) -> Vec<Element> {
        let folder = top.join("el");
        std::fs::create_dir_all(&folder).expect("folder");
        for (name, text) in files {
            std::fs::write(folder.join(name), text).expect("file");
        }
        let library = Library::read(top.to_str().expect("text")).expect("reads");
        vec![library.get("el").expect("there").clone()]
    }

    #[track_caller]
    fn check(yaml: &str, variables: &[(&str, &str)], expect: &str) {
        let top = tempfile::tempdir().expect("folder");
        let elements = elements(top.path(), &[("package-installs.yaml", yaml)]);
        let got = match squash(&elements, &around(variables)) {
            Ok(wanted) => as_json(&wanted).to_string(),
            Err(error) => error
                .to_string()
                .rsplit_once(": package")
                .map(|(_, text)| text.to_owned())
                .unwrap_or_default(),
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn conditions_are_decided_here() {
        check(
            "a:",
            &[],
            r#"{"install.d":{"install":[["a","el"]],"uninstall":[]}}"#,
        );
        check(
            "a: {phase: post-install.d, build-only: True}",
            &[],
            r#"{"post-install.d":{"install":[["a","el"]],"uninstall":[["a","el"]]}}"#,
        );
        check(
            "a: {arch: 's390x, amd64'}\nb: {not-arch: amd64}",
            &[],
            r#"{"install.d":{"install":[["a","el"]],"uninstall":[]}}"#,
        );
        check(
            "a: {when: 'V = yes'}\nb: {when: ['V=yes', 'V != yes']}",
            &[("V", "yes")],
            r#"{"install.d":{"install":[["a","el"]],"uninstall":[]}}"#,
        );
        check(
            "a: {installtype: package}\nb: [{when: V = 1}, {when: V = 2}]",
            &[("V", "2")],
            r#"{"install.d":{"install":[["b","el"]],"uninstall":[]}}"#,
        );
        check(
            "a: [{phase: install.d}, {uninstall: true}]\nb: [{uninstall: true}, {phase: install.d}]",
            &[],
            r#"{"install.d":{"install":[["a","el"],["b","el"]],"uninstall":[]}}"#,
        );
        check(
            "a: {when: V = 1}",
            &[],
            " `a`: `when: V = 1` needs the variable V, which is not set",
        );
    }

    #[test]
    fn names_follow_the_map() {
        let top = tempfile::tempdir().expect("folder");
        let map = r#"{"default": {"a": "d", "z": "y"}, "family": {"debian": {"a": "f"}},
            "release": {"debian": {"trixie": {"a": "r1 r2"}}}, "distro": {"debian": {"s": ""}}}"#;
        let elements = elements(top.path(), &[("pkg-map", map)]);
        let names = |release, list: &[&str]| {
            let list: Vec<_> = list
                .iter()
                .map(|name| ((*name).to_owned(), "el".to_owned()))
                .collect();
            mapped_names(
                &list,
                &elements,
                Distribution {
                    name: "debian",
                    release,
                },
            )
            .expect("maps")
            .join(" ")
        };
        assert_eq!(names("trixie", &["a", "s", "z", "other"]), "r1 r2 y other");
        assert_eq!(names("bookworm", &["a"]), "f");
        let flat = flatten_map(&elements[0].path.join("pkg-map")).expect("flattens");
        assert!(
            flat.contains("release\tdebian/trixie\ta\tr1 r2\n"),
            "{flat}"
        );
    }
}
