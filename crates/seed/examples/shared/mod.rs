//! A seed of its own for an example, and an operator of it.

use std::ffi::OsString;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;
use serde_json::{Value, json};

/// A stack that takes longer than this stands still.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Parser)]
struct Server {
    #[command(flatten)]
    args: seed::SeedArgs,
}

/// What an example starts itself with to be the seed.
pub(crate) fn serve(state: &Path) -> anyhow::Result<()> {
    let words = [
        "seed",
        "--listen",
        "127.0.0.1:0",
        "--cloud",
        "sim",
        "--state",
    ];
    let words = words.map(OsString::from).into_iter();
    let server = Server::parse_from(words.chain([state.as_os_str().to_owned()]));
    let settings = seed::Settings::try_from(server.args)?;
    seed::run(settings, |url| {
        let mut out = std::io::stdout();
        // The starter reads one line; if it is gone, the end comes by itself.
        let _ = writeln!(out, "{url}").and_then(|()| out.flush());
    })?;
    Ok(())
}

/// Starts a seed, and logs in.
pub(crate) async fn begin() -> anyhow::Result<(Seed, Operator)> {
    // Nothing here speaks TLS, but the client wants to know who would.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let seed = Seed::start()?;
    let operator = Operator::login(&seed).await?;
    Ok((seed, operator))
}

/// A seed that ends with its holder.
pub(crate) struct Seed {
    process: Child,
    url: String,
    state: tempfile::TempDir,
}

impl Seed {
    fn start() -> anyhow::Result<Seed> {
        let state = tempfile::tempdir()?;
        let mut process = Command::new(std::env::current_exe()?)
            .arg("--serve")
            .arg(state.path())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = process.stdout.take().context("the seed has no output")?;
        let mut url = String::new();
        std::io::BufReader::new(out).read_line(&mut url)?;
        ensure!(!url.is_empty(), "the seed did not start");
        let url = url.trim().to_owned();
        Ok(Seed {
            process,
            url,
            state,
        })
    }

    /// Resident memory in KiB.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.context("no VmRSS")?.parse()?)
    }

    /// CPU time so far, in clock ticks of 10 ms.
    pub(crate) fn cpu(&self) -> anyhow::Result<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let after = stat.rsplit_once(')').context("no stat")?.1;
        let words: Vec<&str> = after.split_whitespace().collect();
        Ok(words[11].parse::<u64>()? + words[12].parse::<u64>()?)
    }

    fn password(&self) -> anyhow::Result<(String, String, String)> {
        let text = std::fs::read_to_string(self.state.path().join("clouds.yaml"))?;
        let word = |key: &str| {
            let found = text.lines().find_map(|line| line.trim().strip_prefix(key));
            let found = found.map(|value| value.trim().trim_matches(['"', '\'']).to_owned());
            found.with_context(|| format!("clouds.yaml has no {key}"))
        };
        Ok((
            word("username:")?,
            word("password:")?,
            word("project_name:")?,
        ))
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        // It holds nothing that a kill would leave behind but its directory, which goes next.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An operator with a token.
pub(crate) struct Operator {
    http: reqwest::Client,
    endpoint: String,
    token: String,
}

impl Operator {
    async fn login(seed: &Seed) -> anyhow::Result<Operator> {
        let (user, password, project) = seed.password()?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let domain = json!({ "id": "default" });
        let body = json!({ "auth": {
            "identity": { "methods": ["password"], "password": { "user": {
                "name": user, "password": password, "domain": domain,
            } } },
            "scope": { "project": { "name": project, "domain": domain } },
        } });
        let url = format!("{}/identity/v3/auth/tokens", seed.url);
        let reply = http
            .post(url)
            .json(&body)
            .send()
            .await?
            .error_for_status()?;
        let token = reply.headers().get("x-subject-token").context("no token")?;
        let token = token.to_str()?.to_owned();
        let body: Value = reply.json().await?;
        let id = body["token"]["project"]["id"]
            .as_str()
            .context("no project")?;
        let endpoint = format!("{}/orchestration/v1/{id}", seed.url);
        Ok(Operator {
            http,
            endpoint,
            token,
        })
    }

    pub(crate) async fn ask(
        &self,
        method: reqwest::Method,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Value> {
        let request = self
            .http
            .request(method, format!("{}{path}", self.endpoint));
        let reply = request
            .header("X-Auth-Token", &self.token)
            .json(body)
            .send()
            .await?;
        let status = reply.status();
        let text = reply.text().await?;
        ensure!(status.is_success(), "{path}: {status} {text}");
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    pub(crate) async fn settled(&self, path: &str) -> anyhow::Result<Value> {
        let began = Instant::now();
        loop {
            let found = self.ask(reqwest::Method::GET, path, &Value::Null).await?;
            let status = found["stack"]["stack_status"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if status.ends_with("_COMPLETE") {
                return Ok(found["stack"].clone());
            }
            ensure!(!status.ends_with("_FAILED"), "{status}: {found}");
            ensure!(began.elapsed() < PATIENCE, "the stack is still {status}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
