//! The seed step: the seed itself, with image, network and machines.
//!
//! A seed that runs with other options than this run asks for is started again with them: what it was doing it goes on with.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::networks;
use super::steps::server;
use super::testenv_json::{BaremetalNetwork, Testenv};
use super::{Outcome, PATIENCE, Story};
use crate::commands::node;
use crate::commands::stack::{self, text};

/// The stack that holds the provisioning network.
const CTLPLANE: &str = "ctlplane";
/// Where the stock client reaches the seed.
const PUBLIC: &str = "127.0.0.1:5000";
/// Where machines reach it.
const INTERNAL_PORT: u16 = 5000;

impl Story<'_> {
    /// The seed with image, network and machines.
    pub async fn bring_up_seed(&mut self) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::Kept;
        let command = self.seed_command()?;
        if self.seed.runs_otherwise(&command) {
            let progress = self
                .context
                .output
                .progress("ending the seed, as it is to run with other options");
            self.seed.stop(PATIENCE)?;
            drop(progress);
        }
        if self.seed.pid().is_none() {
            let progress = self.context.output.progress("starting the seed");
            self.seed.start(command)?;
            drop(progress);
            outcome = Outcome::Done;
        }
        for name in self.args.size.images() {
            if self.upload(name).await? == Outcome::Done {
                outcome = Outcome::Done;
            }
        }
        self.network().await?;
        let machines = match &self.args.nodes {
            Some(file) => node::read_machines(file)?,
            None => node::read_machines(&self.args.testenv_file(&self.context.state))?,
        };
        node::import(self.context, &machines).await?;
        Ok(outcome)
    }

    /// How the seed of this story is started.
    fn seed_command(&self) -> anyhow::Result<Command> {
        let network = self.provisioning()?;
        let mut command = server(&self.args, "seed")?;
        command.arg("--state").arg(self.context.folder("seed")?);
        command.args(["--cloud", "metal", "--listen", PUBLIC]);
        let internal = match self.args.internal_listen {
            Some(address) => address.to_string(),
            None => format!("{}:{INTERNAL_PORT}", network.seed.ip),
        };
        command.args(["--internal-listen", &internal]);
        let range = match self.args.deploy_range {
            Some(range) => Some(range),
            None => networks::deploy_range(&network),
        };
        if let Some((first, last)) = range {
            command.args(["--deploy-range", &format!("{first}-{last}")]);
        }
        let patience = self.args.boot_timeout().to_string();
        command.args(["--boot-timeout", &patience]);
        command
            .arg("--deploy-agent")
            .arg(self.context.root.join("target/ci/static/node"));
        Ok(command)
    }

    /// Puts a golden image into the seed, unless it holds the same one.
    async fn upload(&self, name: &str) -> anyhow::Result<Outcome> {
        let cloud = self.context.cloud().await?;
        let file = self.image(name);
        let digest = digest(&file)?;
        let list = cloud
            .get("image", &format!("v2/images?name={name}"))
            .await?;
        let images = list["images"].as_array().cloned().unwrap_or_default();
        if images
            .iter()
            .any(|image| image["tripleo_build"] == digest.as_str() && image["status"] == "active")
        {
            return Ok(Outcome::Kept);
        }
        let _progress = self
            .context
            .output
            .progress(&format!("uploading image {name}"));
        let body = json!({
            "name": name, "disk_format": "raw", "container_format": "bare", "visibility": "public",
            "tripleo_build": digest,
        });
        let image = cloud.post("image", "v2/images", &body).await?;
        cloud
            .upload(
                "image",
                &format!("v2/images/{}/file", text(&image["id"])),
                &file,
            )
            .await?;
        // The name must say one image; running machines keep what is on their disks.
        for old in images {
            cloud
                .delete("image", &format!("v2/images/{}", text(&old["id"])))
                .await?;
        }
        Ok(Outcome::Done)
    }

    /// The provisioning network, as a stack of its own so that real Heat could make it too.
    async fn network(&self) -> anyhow::Result<()> {
        if stack::is_complete(self.context, CTLPLANE).await? {
            return Ok(());
        }
        let mut args = self.stack_args(CTLPLANE, "ctlplane.yaml");
        let network = self.provisioning()?;
        for (name, value) in [
            ("cidr", network.cidr),
            ("gateway", network.gateway_ip),
            ("range_start", network.seed.range_start),
            ("range_end", network.seed.range_end),
        ] {
            if !value.is_empty() {
                args.parameters.push(format!("{name}={value}"));
            }
        }
        stack::ensure(self.context, &args).await
    }

    /// The provisioning network as the testenv file tells of it, upstream's where it says nothing.
    pub fn provisioning(&self) -> anyhow::Result<BaremetalNetwork> {
        if let Some(file) = &self.args.nodes
            && let Some(network) = node::read_network(file)?
        {
            return Ok(network.completed());
        }
        let file = self.args.testenv_file(&self.context.state);
        let told = if file.is_file() {
            Testenv::read(&file)?.0.baremetal_network
        } else {
            BaremetalNetwork::default()
        };
        Ok(told.completed())
    }

    /// The same network's addresses, and all else that is told of it.
    pub fn provisioning_cidr(&self) -> anyhow::Result<(ipnet::Ipv4Net, BaremetalNetwork)> {
        let network = self.provisioning()?;
        let cidr = network.cidr.parse().with_context(|| {
            format!(
                "baremetal-network of {}: cidr `{}` is no network such as 192.0.2.0/24",
                self.args.testenv_file(&self.context.state).display(),
                network.cidr
            )
        })?;
        Ok((cidr, network))
    }
}

/// Names a build of the image: the file, its size and its time. Reading gigabytes again at each run would cost more than it tells.
fn digest(image: &Path) -> anyhow::Result<String> {
    let data =
        fs::metadata(image).with_context(|| format!("there is no image {}", image.display()))?;
    let modified = data
        .modified()?
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let mut hash = Sha256::new();
    hash.update(image.as_os_str().as_encoded_bytes());
    hash.update(data.len().to_le_bytes());
    hash.update(modified.as_nanos().to_le_bytes());
    Ok(format!("{:x}", hash.finalize()))
}
