//! Measures held metadata requests: memory of the server, and how soon a change reaches all nodes.
//!
//!     cargo run -p seed --example held_metadata -- --nodes 50
//!     cargo run -p seed --example held_metadata -- --nodes 100 --connections 10000
//!
//! Starts a seed of its own on the loopback with a cloud in memory, makes a stack of servers, holds
//! as many requests as asked, changes one parameter of the stack, and waits until every request was
//! answered with the new value. Everything it made goes when it ends.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A change that takes longer than this to reach a node is a failure, not a figure.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Parser)]
struct Args {
    /// How many servers the stack has
    #[arg(long, default_value_t = 50)]
    nodes: usize,
    /// How many requests are held; they are spread over the servers
    #[arg(long)]
    connections: Option<usize>,
    /// How many times the parameter is changed
    #[arg(long, default_value_t = 3)]
    changes: usize,
    /// Serve from this directory (what the example starts itself with)
    #[arg(long, hide = true)]
    serve: Option<PathBuf>,
}

#[derive(Parser)]
struct Server {
    #[command(flatten)]
    args: seed::SeedArgs,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match &args.serve {
        Some(state) => serve(state),
        None => measure(&args),
    }
}

fn serve(state: &Path) -> anyhow::Result<()> {
    let words = [
        "seed",
        "--listen",
        "127.0.0.1:0",
        "--cloud",
        "sim",
        "--state",
    ];
    let words = words.map(std::ffi::OsString::from).into_iter();
    let server = Server::parse_from(words.chain([state.as_os_str().to_owned()]));
    let settings = seed::Settings::try_from(server.args)?;
    seed::run(settings, |url| {
        let mut out = std::io::stdout();
        // The starter reads one line; if it is gone, the end comes by itself.
        let _ = writeln!(out, "{url}").and_then(|()| out.flush());
    })?;
    Ok(())
}

/// A seed that ends with its holder.
struct Seed {
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
    fn memory(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.context("no VmRSS")?.parse()?)
    }

    /// CPU time so far, in clock ticks of 10 ms.
    fn cpu(&self) -> anyhow::Result<u64> {
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
struct Operator {
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

    async fn ask(
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

    async fn settled(&self, path: &str) -> anyhow::Result<Value> {
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
            ensure!(
                began.elapsed() < PATIENCE * 5,
                "the stack is still {status}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn template(nodes: usize) -> Value {
    json!({
        "heat_template_version": "2018-08-31",
        "parameters": { "word": { "type": "string" } },
        "resources": {
            "nodes": { "type": "OS::Heat::ResourceGroup", "properties": {
                "count": nodes,
                "resource_def": { "type": "node.yaml", "properties": { "word": { "get_param": "word" } } },
            } },
        },
        "outputs": { "collectors": { "value": { "get_attr": ["nodes", "collector"] } } },
    })
}

fn node() -> Value {
    json!({
        "heat_template_version": "2018-08-31",
        "parameters": { "word": { "type": "string" } },
        "resources": {
            "server": { "type": "OS::Heat::DeployedServer", "properties": {
                "software_config_transport": "POLL_TEMP_URL",
            } },
            "config": { "type": "OS::Heat::StructuredConfig", "properties": {
                "group": "os-apply-config",
                "config": { "word": { "get_input": "word" } },
                "inputs": [{ "name": "word" }],
            } },
            "deployment": { "type": "OS::Heat::StructuredDeployment", "properties": {
                "config": { "get_resource": "config" },
                "server": { "get_resource": "server" },
                "signal_transport": "NO_SIGNAL",
                "input_values": { "word": { "get_param": "word" } },
            } },
        },
        "outputs": { "collector": { "value": { "get_attr": ["server", "os_collect_config"] } } },
    })
}

#[tokio::main(worker_threads = 2)]
async fn measure(args: &Args) -> anyhow::Result<()> {
    // Nothing here speaks TLS, but the client wants to know who would.
    let _ = rustls::crypto::ring::default_provider().install_default();
    raise_open_files()?;
    let seed = Seed::start()?;
    let operator = Operator::login(&seed).await?;
    println!("seed idle: {} KiB", seed.memory()?);
    let began = Instant::now();
    let body = json!({
        "stack_name": "held", "template": template(args.nodes),
        "files": { "node.yaml": node().to_string() }, "parameters": { "word": "word-0" },
    });
    let made = operator
        .ask(reqwest::Method::POST, "/stacks", &body)
        .await?;
    let id = made["stack"]["id"].as_str().context("no id")?;
    let path = format!("/stacks/held/{id}");
    let stack = operator.settled(&path).await?;
    println!(
        "{} servers with a deployment each: {:.1} s, {} CPU ms, {} KiB",
        args.nodes,
        began.elapsed().as_secs_f64(),
        seed.cpu()? * 10,
        seed.memory()?
    );
    let urls = metadata_urls(&stack)?;
    let connections = args.connections.unwrap_or(args.nodes);
    let mut nodes = Vec::with_capacity(connections);
    let idle = seed.memory()?;
    for index in 0..connections {
        nodes.push(Node::connect(&urls[index % urls.len()]).await?);
    }
    let held = seed.memory()?;
    println!(
        "{connections} requests held: {held} KiB, {:.1} KiB each",
        (held.saturating_sub(idle)) as f64 / connections as f64
    );
    for change in 1..=args.changes {
        nodes = one_change(&seed, &operator, &path, change, nodes).await?;
    }
    Ok(())
}

async fn one_change(
    seed: &Seed,
    operator: &Operator,
    path: &str,
    change: usize,
    nodes: Vec<Node>,
) -> anyhow::Result<Vec<Node>> {
    let word = format!("word-{change}");
    let cpu = seed.cpu()?;
    let began = Instant::now();
    let waits: Vec<_> = nodes
        .into_iter()
        .map(|node| {
            let word = word.clone();
            tokio::spawn(async move { node.until(&word, began).await })
        })
        .collect();
    let body = json!({ "parameters": { "word": word } });
    operator.ask(reqwest::Method::PATCH, path, &body).await?;
    let accepted = began.elapsed();
    let mut times = Vec::with_capacity(waits.len());
    let mut nodes = Vec::with_capacity(waits.len());
    for wait in waits {
        let (node, time) = tokio::time::timeout(PATIENCE, wait)
            .await
            .context("a node waits on")???;
        nodes.push(node);
        times.push(time);
    }
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_millis();
    println!(
        "change {change}: accepted after {} ms; all {} know it: median {} ms, 99% {} ms, last {} ms; {} CPU ms; {} KiB",
        accepted.as_millis(),
        times.len(),
        at(50),
        at(99),
        at(100),
        (seed.cpu()? - cpu) * 10,
        seed.memory()?
    );
    operator.settled(path).await?;
    Ok(nodes)
}

fn metadata_urls(stack: &Value) -> anyhow::Result<Vec<String>> {
    let outputs = stack["outputs"].as_array().context("no outputs")?;
    let collectors = outputs
        .iter()
        .find(|output| output["output_key"] == "collectors");
    let collectors = collectors.map(|output| &output["output_value"]);
    let collectors = collectors
        .and_then(Value::as_array)
        .context("no collectors")?;
    let urls = collectors.iter().map(|one| {
        let url = one["request"]["metadata_url"].as_str();
        url.map(str::to_owned)
            .with_context(|| format!("no metadata URL in {one}"))
    });
    urls.collect()
}

/// A node that holds a request.
struct Node {
    stream: TcpStream,
    host: String,
    path: String,
    etag: String,
}

impl Node {
    async fn connect(url: &str) -> anyhow::Result<Node> {
        let rest = url
            .strip_prefix("http://")
            .context("only http is measured")?;
        let (host, path) = rest.split_once('/').context("no path")?;
        let mut node = Node {
            stream: TcpStream::connect(host).await?,
            host: host.to_owned(),
            path: format!("/{path}"),
            etag: String::new(),
        };
        node.send("").await?;
        let (_, etag) = node.receive().await?;
        node.etag = etag;
        node.hold().await?;
        Ok(node)
    }

    async fn hold(&mut self) -> anyhow::Result<()> {
        let held = format!("If-None-Match: {}\r\nPrefer: wait=300\r\n", self.etag);
        self.send(&held).await
    }

    async fn send(&mut self, headers: &str) -> anyhow::Result<()> {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n",
            self.path, self.host
        );
        Ok(self.stream.write_all(request.as_bytes()).await?)
    }

    /// Holds requests until the document has a word in it.
    async fn until(mut self, word: &str, began: Instant) -> anyhow::Result<(Node, Duration)> {
        let wanted = format!("\"{word}\"");
        loop {
            let (text, etag) = self.receive().await?;
            self.etag = etag;
            let time = began.elapsed();
            self.hold().await?;
            if text.contains(&wanted) {
                return Ok((self, time));
            }
        }
    }

    /// The body and the tag of the next answer.
    async fn receive(&mut self) -> anyhow::Result<(String, String)> {
        let mut bytes = Vec::new();
        loop {
            let mut piece = [0; 4096];
            let count = self.stream.read(&mut piece).await?;
            if count == 0 {
                bail!("the server closed the connection");
            }
            bytes.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&bytes);
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let header = |name: &str| {
                let lines = head.lines().filter_map(|line| line.split_once(": "));
                let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
                found.next().map(|(_, value)| value.to_owned())
            };
            let status = head.split_whitespace().nth(1).unwrap_or_default();
            ensure!(matches!(status, "200" | "304"), "{head}");
            let length: usize = header("content-length")
                .unwrap_or_default()
                .parse()
                .unwrap_or(0);
            if body.len() >= length || status == "304" {
                let etag = header("etag").context("no ETag")?;
                return Ok((body.to_owned(), etag));
            }
        }
    }
}

fn raise_open_files() -> anyhow::Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}
