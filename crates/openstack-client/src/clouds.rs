//! Reads a clouds file: the part of its format that says where the identity service is and who one is.

use std::fmt;
use std::path::{Path, PathBuf};

use yaml::Node;

use crate::ClientError;

/// One entry of a clouds file.
#[derive(Clone)]
pub struct CloudEntry {
    /// Where the identity service is; with or without `/v3`.
    pub auth_url: String,
    /// Who asks.
    pub username: String,
    /// The domain of the user, by name.
    pub user_domain: String,
    /// The project to work in; `None` for the whole system.
    pub project: Option<String>,
    /// The domain of the project, by name.
    pub project_domain: String,
    /// Which region's endpoints count; any where not given.
    pub region: Option<String>,
    /// `public`, `internal` or `admin`.
    pub interface: String,
    /// Certificates to check the server with.
    pub ca_file: Option<PathBuf>,
    pub(crate) password: String,
}

impl fmt::Debug for CloudEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudEntry")
            .field("auth_url", &self.auth_url)
            .field("username", &self.username)
            .field("project", &self.project)
            .finish_non_exhaustive()
    }
}

/// Reads the entry `name` of the clouds file `path`.
pub fn read_clouds(path: &Path, name: &str) -> Result<CloudEntry, ClientError> {
    let text = std::fs::read_to_string(path).map_err(|source| ClientError::CloudsFile {
        path: path.to_owned(),
        source,
    })?;
    let wrong = |reason: String| ClientError::CloudsFormat {
        path: path.to_owned(),
        reason,
    };
    let document = yaml::parse(&text).map_err(|error| wrong(error.to_string()))?;
    let clouds = document
        .get("clouds")
        .ok_or_else(|| wrong("it has no `clouds`".to_owned()))?;
    let entry = clouds.get(name).ok_or_else(|| {
        let names: Vec<_> = clouds
            .as_map()
            .unwrap_or_default()
            .iter()
            .filter_map(|(key, _)| key.as_text())
            .map(|name| format!("`{name}`"))
            .collect();
        wrong(format!(
            "it has no cloud `{name}`, only {}",
            names.join(", ")
        ))
    })?;
    read_entry(entry).map_err(|reason| wrong(format!("cloud `{name}`: {reason}")))
}

fn read_entry(entry: &Node) -> Result<CloudEntry, String> {
    let auth = entry.get("auth").ok_or("it has no `auth`")?;
    let text = |node: &Node, key: &str| node.get(key).and_then(Node::as_text).map(str::to_owned);
    let needed = |key: &str| text(auth, key).ok_or(format!("`auth` has no `{key}`"));
    let domain = |key: &str| {
        text(auth, &format!("{key}_domain_name"))
            .or_else(|| text(auth, &format!("{key}_domain_id")))
            .unwrap_or_else(|| "Default".to_owned())
    };
    let project = text(auth, "project_name");
    if project.is_none() && text(auth, "system_scope").is_none() {
        return Err("`auth` has neither `project_name` nor `system_scope`".to_owned());
    }
    Ok(CloudEntry {
        auth_url: needed("auth_url")?,
        username: needed("username")?,
        password: needed("password")?,
        user_domain: domain("user"),
        project,
        project_domain: domain("project"),
        region: text(entry, "region_name"),
        interface: text(entry, "interface").unwrap_or_else(|| "public".to_owned()),
        ca_file: text(entry, "cacert").map(PathBuf::from),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, name: &str) -> Result<CloudEntry, ClientError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clouds.yaml");
        std::fs::write(&path, text).unwrap();
        read_clouds(&path, name)
    }

    const GOOD: &str = "clouds:\n  seed:\n    region_name: RegionOne\n    auth:\n      auth_url: http://h:1/identity\n      \
                        username: admin\n      password: \"p\"\n      project_name: admin\n";

    #[test]
    fn an_entry_is_read_and_its_password_never_printed() {
        let entry = read(GOOD, "seed").unwrap();
        assert_eq!(entry.region.as_deref(), Some("RegionOne"));
        assert_eq!(entry.user_domain, "Default");
        assert!(!format!("{entry:?}").contains("\"p\""));
    }

    #[test]
    fn a_wrong_name_is_told_with_the_right_ones() {
        let error = read(GOOD, "sed").unwrap_err().to_string();
        assert!(
            error.contains("`sed`") && error.contains("`seed`"),
            "{error}"
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = read(&GOOD.replace("username", "user"), "seed")
            .unwrap_err()
            .to_string();
        assert!(error.contains("`username`"), "{error}");
    }
}
