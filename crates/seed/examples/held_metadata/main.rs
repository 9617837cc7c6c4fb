//! Measures held metadata requests: memory of the server, and how soon a change reaches all nodes.
//!
//!     cargo run -p seed --example held_metadata -- --nodes 50
//!     cargo run -p seed --example held_metadata -- --nodes 100 --connections 10000
//!     cargo run -p seed --example held_metadata -- --nodes 50 --agents target/ci
//!
//! With `--agents` the nodes are processes: `os-collect-config` of that directory holds each request, and a change has
//! arrived when `os-apply-config` has written the new value into a file.
//!
//! Starts a seed of its own on the loopback with a cloud in memory, makes a stack of servers, holds
//! as many requests as asked, changes one parameter of the stack, and waits until every request was
//! answered with the new value. Everything it made goes when it ends.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

mod agents;
#[path = "../shared/mod.rs"]
mod shared;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use agents::Agents;
use shared::{Operator, Seed};

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
    /// Let the agents in this directory hold the requests, one for each server
    #[arg(long, value_name = "DIR", conflicts_with = "connections")]
    agents: Option<PathBuf>,
    /// How many times the parameter is changed
    #[arg(long, default_value_t = 3)]
    changes: usize,
    /// Serve from this directory (what the example starts itself with)
    #[arg(long, hide = true)]
    serve: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match &args.serve {
        Some(state) => shared::serve(state),
        None => measure(&args),
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
    raise_open_files()?;
    let (seed, operator) = shared::begin().await?;
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
    if let Some(programs) = &args.agents {
        return with_agents(&seed, &operator, &path, programs, (&urls, args.changes)).await;
    }
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
    told(change, accepted, times);
    println!(
        "    seed: {} CPU ms; {} KiB",
        (seed.cpu()? - cpu) * 10,
        seed.memory()?
    );
    operator.settled(path).await?;
    Ok(nodes)
}

/// Measures changes with an agent for each server.
async fn with_agents(
    seed: &Seed,
    operator: &Operator,
    path: &str,
    programs: &Path,
    (urls, changes): (&[String], usize),
) -> anyhow::Result<()> {
    let began = Instant::now();
    let agents = Agents::start(programs, urls)?;
    let first = agents.know("word-0", began, PATIENCE).await?;
    println!(
        "{} agents started and configured: {:.1} s",
        first.len(),
        began.elapsed().as_secs_f64()
    );
    for change in 1..=changes {
        let word = format!("word-{change}");
        let cpu = seed.cpu()?;
        let began = Instant::now();
        let body = json!({ "parameters": { "word": word } });
        operator.ask(reqwest::Method::PATCH, path, &body).await?;
        let accepted = began.elapsed();
        told(change, accepted, agents.know(&word, began, PATIENCE).await?);
        operator.settled(path).await?;
        println!(
            "    seed: {} CPU ms; {} KiB",
            (seed.cpu()? - cpu) * 10,
            seed.memory()?
        );
    }
    Ok(())
}

/// Prints how soon a change was everywhere.
fn told(change: usize, accepted: Duration, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_millis();
    println!(
        "change {change}: accepted after {} ms; all {} know it: median {} ms, 99% {} ms, last {} ms",
        accepted.as_millis(),
        times.len(),
        at(50),
        at(99),
        at(100),
    );
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
