//! Writes `clouds.yaml`, by which every client finds the seed and logs in.

use std::path::Path;

use crate::identity::Credentials;
use crate::{SeedError, Settings, files};

/// Entries below this line are those of other clouds; a seed that starts again keeps them.
pub const BELOW: &str = "# Below this line others than the seed write.\n";

/// Writes the entries `seed` (the operator's project) and `seed-system` (the whole system).
pub(crate) fn write(
    settings: &Settings,
    public_url: &str,
    login: &Credentials,
) -> Result<(), SeedError> {
    let path = settings.state.join("clouds.yaml");
    if !login.current && path.exists() {
        // The operator set a password of their own; only they know what to write here.
        tracing::warn!("the admin's password was changed, clouds.yaml is left as it is");
        return Ok(());
    }
    let mut text = render(settings, public_url, login);
    if let Some((_, others)) = std::fs::read_to_string(&path)
        .unwrap_or_default()
        .split_once(BELOW)
    {
        text.push_str(BELOW);
        text.push_str(others);
    }
    files::write_private(&path, text.as_bytes()).map_err(|source| SeedError::State { path, source })
}

fn render(settings: &Settings, public_url: &str, login: &Credentials) -> String {
    let mut out = String::from("# Written by the seed at every start.\nclouds:\n");
    for (name, system) in [("seed", false), ("seed-system", true)] {
        out.push_str(&format!("  {name}:\n    auth:\n"));
        let mut line =
            |key: &str, value: &str| out.push_str(&format!("      {key}: {}\n", quoted(value)));
        line("auth_url", &format!("{public_url}/identity"));
        line("username", &login.username);
        line("password", login.password.expose());
        line("user_domain_id", "default");
        if system {
            line("system_scope", "all");
        } else {
            line("project_name", &login.project);
            line("project_domain_id", "default");
        }
        out.push_str(&format!("    region_name: {}\n", quoted(&settings.region)));
        out.push_str("    identity_api_version: 3\n    interface: public\n");
        if let Some(tls) = &settings.tls {
            let ca = std::path::absolute(&tls.ca).unwrap_or_else(|_| tls.ca.clone());
            out.push_str(&format!("    cacert: {}\n", quoted(&display(&ca))));
        }
    }
    out
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

/// A YAML text in double quotes, where JSON's escapes mean the same.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
