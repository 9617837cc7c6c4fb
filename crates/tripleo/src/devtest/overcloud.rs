//! What is the overcloud's own in the story: its entries in `clouds.yaml`, and the proof that it does its work.
//!
//! The proof itself is `scripts/prove`: it uses the client library that users have, so that what works for it works for them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use seed::OTHER_CLOUDS;
use serde_json::{Value, json};

use super::networks;
use super::{Outcome, Story};
use crate::commands::stack::{self, text};

/// The entry of the overcloud's administrator.
const ADMIN: &str = "overcloud";
/// The entry of a plain user of it.
const DEMO: &str = "overcloud-demo";
/// The project and user that the proof works as.
const DEMO_USER: &str = "demo";

/// The image of the instance that proves the cloud.
const GUEST: &str = "guest";

impl Story<'_> {
    /// Instance's image, client library and key: made before there is a cloud, while the mirror is in reach.
    pub fn prepare_proof(&self) -> anyhow::Result<Outcome> {
        let mut outcome = self.build(GUEST)?;
        if self.client()? == Outcome::Done {
            outcome = Outcome::Done;
        }
        Ok(outcome)
    }

    /// OpenStack's client library in a virtual environment of its own, in the version that the proof is written for.
    fn client(&self) -> anyhow::Result<Outcome> {
        let wanted = self.context.root.join("scripts/proof-requirements.txt");
        let folder = self.context.state.join("client");
        let there = folder.join("requirements.txt");
        let text =
            fs::read(&wanted).with_context(|| format!("cannot read {}", wanted.display()))?;
        if fs::read(&there).is_ok_and(|found| found == text) {
            return Ok(Outcome::Kept);
        }
        let _progress = self
            .context
            .output
            .progress("installing OpenStack's client library");
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        checked(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        checked(
            Command::new(folder.join("bin/pip"))
                .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
                .arg(&wanted),
        )?;
        fs::write(&there, text).with_context(|| format!("cannot write {}", there.display()))?;
        Ok(Outcome::Done)
    }

    /// The key of whoever runs devtest, for instances; made once for each seed.
    fn key(&self) -> anyhow::Result<PathBuf> {
        let key = self.context.folder("seed")?.join("id_ed25519");
        if !key.is_file() {
            checked(
                Command::new("ssh-keygen")
                    .args(["-q", "-t", "ed25519", "-N", "", "-C", "devtest", "-f"])
                    .arg(&key),
            )?;
        }
        Ok(key)
    }

    /// Starts an instance and talks to it; on a second run the instance that is there is stopped and started first.
    pub async fn prove(&mut self) -> anyhow::Result<Outcome> {
        let name = self.args.size.stack();
        let stack = stack::read(self.context, name).await?;
        let output = |key: &str| {
            stack["outputs"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|output| output["output_key"] == key)
                .map_or(Value::Null, |output| output["output_value"].clone())
        };
        let entries = Entries {
            url: text(&output("keystone_url")),
            region: text(&output("region")),
            admin: text(&output("admin_password")),
            demo: self.demo_password()?,
        };
        if entries.url.is_empty() || entries.admin.is_empty() {
            bail!("stack {name} has no usable outputs keystone_url and admin_password");
        }
        write_entries(&self.context.clouds.file, &entries)?;
        let hosts: Vec<String> = output("host_names")
            .as_array()
            .into_iter()
            .flatten()
            .map(text)
            .collect();
        let controllers = output("controller_addresses")
            .as_array()
            .map_or(0, Vec::len);
        let key = self.key()?;
        let part = |kind: &str| {
            self.context
                .state
                .join("images")
                .join(format!("{GUEST}.{kind}"))
        };
        let (cidr, network) = self.provisioning_cidr()?;
        let (start, end) = networks::floating(cidr)?;
        let orders = json!({
            "cloud": ADMIN,
            "demo": {"cloud": DEMO, "username": DEMO_USER, "project": DEMO_USER, "password": entries.demo},
            "guest": {"kernel": part("vmlinuz"), "ramdisk": part("initrd"), "disk": part("raw")},
            "key": key,
            "public_key": key.with_extension("pub"),
            "provider": {
                "network": PROVIDER,
                "cidr": cidr,
                "gateway": network.gateway_ip,
                "start": start,
                "end": end,
            },
            "nodes": hosts,
            "computes": hosts.iter().skip(controllers).collect::<Vec<_>>(),
            "patience": PATIENCE,
        });
        self.run_proof(&orders)?;
        Ok(Outcome::Done)
    }

    /// Hands the orders to the proof and passes on what it shows.
    fn run_proof(&self, orders: &Value) -> anyhow::Result<()> {
        let progress = self.context.output.progress("proving the cloud");
        let program = self.context.root.join("scripts/prove");
        let mut child = Command::new(self.context.state.join("client/bin/python"))
            .arg(&program)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("OS_CLIENT_CONFIG_FILE", &self.context.clouds.file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin
                .write_all(orders.to_string().as_bytes())
                .context("the proof takes no orders")?;
        }
        drop(progress);
        // What it says of failures may be more than a pipe holds, so it is read beside the rest.
        let errors = child.stderr.take().map(|mut from| {
            std::thread::spawn(move || {
                let mut said = Vec::new();
                let _ = from.read_to_end(&mut said);
                String::from_utf8_lossy(&said).into_owned()
            })
        });
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                self.context.output.say(&format!("  {line}"));
            }
        }
        let status = child.wait().context("the proof cannot be waited for")?;
        let said = errors
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default();
        if !status.success() {
            bail!("the cloud does not do its work:\n{}", said.trim_end());
        }
        Ok(())
    }

    /// The password of the plain user: that of the last run, or a new one.
    fn demo_password(&self) -> anyhow::Result<String> {
        let text = fs::read_to_string(&self.context.clouds.file).unwrap_or_default();
        if let Ok(document) = yaml::parse(&text)
            && let Some(found) = document
                .get("clouds")
                .and_then(|clouds| clouds.get(DEMO)?.get("auth")?.get("password")?.as_text())
        {
            return Ok(found.to_owned());
        }
        let mut random = [0_u8; 16];
        fs::File::open("/dev/urandom")
            .and_then(|mut from| from.read_exact(&mut random))
            .context("there is no randomness for a password")?;
        Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// What the template calls the network outside.
const PROVIDER: &str = "physnet1";
/// Seconds for one thing to come true. On an idle machine none takes longer than 30; a crowded one needs several times that.
const PATIENCE: u32 = 600;

/// Runs a command to its end; its words are part of the error.
fn checked(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !done.status.success() {
        bail!(
            "{program} failed: {}",
            String::from_utf8_lossy(&done.stderr).trim_end()
        );
    }
    Ok(())
}

/// What the entries of the overcloud say.
struct Entries {
    url: String,
    region: String,
    admin: String,
    demo: String,
}

/// Puts the entries of the overcloud below those of the seed, whole or not at all.
fn write_entries(path: &Path, entries: &Entries) -> anyhow::Result<()> {
    let wrong = || format!("cannot write {}", path.display());
    let mut all = fs::read_to_string(path).with_context(wrong)?;
    if let Some(end) = all.find(OTHER_CLOUDS) {
        all.truncate(end);
    }
    all.push_str(OTHER_CLOUDS);
    for (name, user, password) in [
        (ADMIN, "admin", &entries.admin),
        (DEMO, DEMO_USER, &entries.demo),
    ] {
        all.push_str(&format!(
            "  {name}:\n    auth:\n      auth_url: {}\n      username: {user}\n      password: {}\n      project_name: {user}\n      \
             user_domain_name: Default\n      project_domain_name: Default\n    region_name: {}\n    identity_api_version: 3\n    interface: public\n",
            json!(entries.url), json!(password), json!(entries.region)
        ));
    }
    seed::write_private(path, all.as_bytes()).with_context(wrong)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn entries_are_written_once_and_the_seeds_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clouds.yaml");
        fs::write(&path, "clouds:\n  seed:\n    region_name: \"r\"\n").unwrap();
        for admin in ["first", "se\"cond"] {
            let entries = Entries {
                url: "http://192.0.2.5:5000/v3".to_owned(),
                region: "RegionOne".to_owned(),
                admin: admin.to_owned(),
                demo: "d".to_owned(),
            };
            write_entries(&path, &entries).unwrap();
        }
        let document = yaml::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        let clouds = document.get("clouds").unwrap();
        let names: Vec<_> = clouds.as_map().unwrap().iter().collect();
        assert_eq!(names.len(), 3);
        let password = clouds
            .get(ADMIN)
            .and_then(|c| c.get("auth")?.get("password")?.as_text());
        assert_eq!(password, Some("se\"cond"));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn a_command_that_fails_says_why() {
        let error = checked(Command::new("sh").args(["-c", "echo no room >&2; exit 4"]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("no room"), "{error}");
    }
}
