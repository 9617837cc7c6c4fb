//! What each step does to the world.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::fs::FlockOperation;
use serde_json::Value;

use super::lab;
use super::networks::{self, Networks};
use super::perf;
use super::settings::{DevtestArgs, Size};
use super::testenv_json::Testenv;
use super::{Outcome, Story};
use crate::commands::stack::{self, StackArgs, text};
use crate::commands::{image, preview};
use crate::context::Context;

/// Only one devtest works on a state directory at a time.
pub fn lock(context: &Context) -> anyhow::Result<File> {
    let path = context.state.join("devtest.lock");
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .with_context(|| {
            format!(
                "cannot write {}; run as root, or give --state DIR",
                path.display()
            )
        })?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        anyhow::anyhow!(
            "another devtest works on {}; wait for it, or give another --state DIR",
            context.state.display()
        )
    })?;
    Ok(file)
}

/// Replaces this process by a shell in which the stock client talks to the seed.
pub fn shell(context: &Context) -> anyhow::Result<()> {
    if !context.clouds.file.is_file() {
        bail!(
            "there is no {}; bring the story up first: ./devtest",
            context.clouds.file.display()
        );
    }
    let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/bash".into());
    let path = std::env::var("PATH").unwrap_or_default();
    let own = std::env::current_exe()
        .ok()
        .and_then(|program| Some(program.parent()?.display().to_string()));
    let error = Command::new(&shell)
        .env("OS_CLIENT_CONFIG_FILE", &context.clouds.file)
        .env("OS_CLOUD", &context.clouds.name)
        .env("TRIPLEO_STATE", &context.state)
        .env(
            "PATH",
            own.map_or_else(|| path.clone(), |own| format!("{own}:{path}")),
        )
        .env("PS1", format!("[{}] \\w\\$ ", context.clouds.name))
        .exec();
    Err(error).with_context(|| format!("cannot run {}", shell.to_string_lossy()))
}

/// This program again, for a server.
pub fn server(args: &DevtestArgs, name: &str) -> anyhow::Result<Command> {
    let mut command =
        Command::new(std::env::current_exe().context("cannot find this program's own file")?);
    command.arg(name).env(
        "RUST_LOG",
        if args.debug_logging { "debug" } else { "info" },
    );
    // What the operator's shell says of clouds is not for servers.
    command
        .env_remove("OS_CLOUD")
        .env_remove("OS_CLIENT_CONFIG_FILE");
    Ok(command)
}

/// Removes what only made sense while machines and seed were up. Images and caches stay.
pub fn clean(context: &Context) -> anyhow::Result<()> {
    for name in ["seed", "testenv"] {
        let path = context.state.join(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

impl Story<'_> {
    /// The golden images and what else the proof needs, built unless they are there and their inputs are the same.
    pub fn setup(&mut self) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::Kept;
        for name in self.args.size.images() {
            if self.build(name)? == Outcome::Done {
                outcome = Outcome::Done;
            }
        }
        if self.args.size == Size::Overcloud && self.prepare_proof()? == Outcome::Done {
            outcome = Outcome::Done;
        }
        Ok(outcome)
    }

    /// One image of those in `images/`.
    pub fn build(&self, name: &str) -> anyhow::Result<Outcome> {
        let image = self.image(name);
        if self.args.cached && image.is_file() {
            return Ok(Outcome::Kept);
        }
        let before = fs::metadata(&image).and_then(|data| data.modified()).ok();
        image::build(self.context, name)?;
        let after = fs::metadata(&image)
            .and_then(|data| data.modified())
            .with_context(|| format!("the builder left no {}", image.display()))?;
        Ok(if before == Some(after) {
            Outcome::Kept
        } else {
            Outcome::Done
        })
    }

    /// Where an image lies.
    pub fn image(&self, name: &str) -> PathBuf {
        self.context
            .state
            .join("images")
            .join(format!("{name}.raw"))
    }

    /// The lab, and the file that tells of it.
    pub fn testenv(&mut self) -> anyhow::Result<Outcome> {
        let file = self.args.testenv_file(&self.context.state);
        if self.args.existing_environment {
            let (_, unknown) = Testenv::read(&file)?;
            for key in unknown {
                self.context
                    .output
                    .say(&format!("{}: key `{key}` is not known", file.display()));
            }
            return Ok(Outcome::Kept);
        }
        if self.args.nodes.is_some() {
            return Ok(Outcome::Kept);
        }
        let folder = self.context.folder("testenv")?;
        let specification = folder.join("spec.json");
        if self.lab.pid().is_some() && file.is_file() {
            lab::suits(&specification, &self.args)?;
            return Ok(Outcome::Kept);
        }
        let networks = Networks::choose(self.args.baremetal_network, &networks::taken()?)?;
        let text = serde_json::to_vec_pretty(&lab::specification(&self.args, &networks)?)?;
        fs::write(&specification, text)
            .with_context(|| format!("cannot write {}", specification.display()))?;
        let progress = self
            .context
            .output
            .progress(&format!("starting {} machines", self.args.machines().count));
        let mut command = server(&self.args, "testenv")?;
        command
            .arg("serve")
            .arg("--state")
            .arg(&folder)
            .arg("--spec")
            .arg(&specification);
        self.lab.start(command)?;
        drop(progress);
        let told = folder.join("lab.json");
        let text =
            fs::read(&told).with_context(|| format!("the lab wrote no {}", told.display()))?;
        let directory: testenv::Directory = serde_json::from_slice(&text)
            .with_context(|| format!("cannot read {}", told.display()))?;
        lab::testenv_file(&directory, &networks, self.args.size).write(&file)?;
        Ok(Outcome::Done)
    }

    pub fn stack_args(&self, stack: &str, template: &str) -> StackArgs {
        StackArgs {
            stack: stack.to_owned(),
            template: Some(stack::shipped(&self.context.root, template)),
            environment: Vec::new(),
            parameters: Vec::new(),
            existing: false,
            rollback: false,
            timeout: self.args.stack_timeout,
        }
    }

    /// The stack of the story.
    pub async fn overcloud(&mut self) -> anyhow::Result<Outcome> {
        let stack = self.args.size.stack();
        let mut args = self.stack_args(stack, &format!("{stack}.yaml"));
        args.environment.clone_from(&self.args.heat_env_overcloud);
        args.parameters = self.parameters()?;
        // What is given by hand comes last and wins.
        args.parameters.extend_from_slice(&self.args.parameters);
        if stack::is_complete(self.context, stack).await?
            && !preview::would_change(self.context, &args).await?
        {
            return Ok(Outcome::Kept);
        }
        stack::ensure(self.context, &args).await?;
        Ok(Outcome::Done)
    }

    /// What the template shall know beside its defaults.
    fn parameters(&self) -> anyhow::Result<Vec<String>> {
        if self.args.size == Size::Hello {
            return Ok(Vec::new());
        }
        let mut parameters = vec![
            format!("ControllerCount={}", self.args.controller_count),
            format!("ComputeCount={}", self.args.compute_count),
        ];
        let (cidr, _) = self.provisioning_cidr()?;
        if let Some(tunnels) = networks::tunnels(cidr) {
            parameters.push(format!("NeutronTunnelNetwork={tunnels}"));
        }
        Ok(parameters)
    }

    /// Shows that what was deployed does its work.
    pub async fn end(&mut self) -> anyhow::Result<Outcome> {
        match self.args.size {
            Size::Hello => self.pages().await,
            Size::Overcloud => self.prove().await,
        }
    }

    /// Fetches each page over the provisioning network and checks what it shows.
    async fn pages(&self) -> anyhow::Result<Outcome> {
        let name = self.args.size.stack();
        let stack = stack::read(self.context, name).await?;
        let output = |name: &str| -> Value {
            stack["outputs"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|output| output["output_key"] == name)
                .map_or(Value::Null, |output| output["output_value"].clone())
        };
        let secret = text(&output("secret"));
        let list = |name: &str| -> Vec<String> {
            output(name)
                .as_array()
                .into_iter()
                .flatten()
                .map(text)
                .collect()
        };
        let (urls, addresses) = (list("urls"), list("addresses"));
        if urls.is_empty() || urls.len() != addresses.len() || secret.is_empty() {
            bail!("stack {name} has no usable outputs: urls {urls:?}, addresses {addresses:?}");
        }
        // Pages are plain HTTP; the client wants to know of TLS all the same.
        let tls = rustls::ClientConfig::builder_with_provider(
            rustls::crypto::ring::default_provider().into(),
        )
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()?;
        for (number, url) in urls.iter().enumerate() {
            let others: Vec<&String> = addresses
                .iter()
                .enumerate()
                .filter(|(n, _)| *n != number)
                .map(|(_, address)| address)
                .collect();
            self.page(&http, url, &secret, &others).await?;
        }
        Ok(Outcome::Done)
    }

    /// A service may start a moment after its node reported; a page that stays wrong is an error.
    async fn page(
        &self,
        http: &reqwest::Client,
        url: &str,
        secret: &str,
        peers: &[&String],
    ) -> anyhow::Result<()> {
        let until = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            let problem = match fetch(http, url).await {
                Ok(page) if !page.contains(secret) => {
                    format!("{url} does not show the generated secret")
                }
                Ok(page) => match peers.iter().find(|peer| !page.contains(peer.as_str())) {
                    Some(peer) => {
                        format!("{url} does not show the address {peer} of the other machine")
                    }
                    None => {
                        self.context
                            .output
                            .say(&format!("{url} shows what the template gave it"));
                        return Ok(());
                    }
                },
                Err(error) => format!("{url} cannot be fetched: {error:#}"),
            };
            if std::time::Instant::now() > until {
                bail!("{problem}; look closer: tripleo node list, tripleo node console NODE");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How to go on, and what it cost.
    pub fn tell(&self) -> anyhow::Result<()> {
        let context = self.context;
        let time = jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string();
        let log = context.state.join("devtest_perf.log");
        perf::append(&log, &self.args.perf_comment, &time, &self.rows)
            .with_context(|| format!("cannot write {}", log.display()))?;
        context.output.say("");
        context.output.say(perf::table(&self.rows).trim_end());
        if self.args.build_only {
            return Ok(());
        }
        let bin = context.root.join("target/ci/tripleo");
        let bin = bin.display();
        let more = match self.args.size {
            Size::Hello => "",
            Size::Overcloud => {
                "    openstack --os-cloud overcloud compute service list\n    openstack --os-cloud overcloud-demo server list\n"
            }
        };
        context.output.data(&format!(
            "\nThe story is up. Go on:\n\n    export OS_CLIENT_CONFIG_FILE={}\n    openstack --os-cloud seed stack list\n{more}    \
             {bin} devtest shell\n    {bin} node list\n    ./devtest --down",
            context.clouds.file.display()
        ));
        Ok(())
    }
}

async fn fetch(http: &reqwest::Client, url: &str) -> anyhow::Result<String> {
    Ok(http
        .get(url)
        .send()
        .await?
        .error_for_status()?
        .text()
        .await?)
}
