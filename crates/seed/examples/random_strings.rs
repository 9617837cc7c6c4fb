//! Measures a stack of many `OS::Heat::RandomString` through the seed's API: what the seed spends on it.
//!
//!     cargo run -p seed --example random_strings -- --count 1000
//!
//! Starts a seed of its own on the loopback, creates the stack as a client does (a template of that many resources),
//! polls until it is complete, and deletes it. Everything it made goes when it ends.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

#[path = "shared/mod.rs"]
mod shared;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::Parser;
use serde_json::{Map, Value, json};

#[derive(Parser)]
struct Args {
    /// How many resources the stack has
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// Serve from this directory (what the example starts itself with)
    #[arg(long, hide = true)]
    serve: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match &args.serve {
        Some(state) => shared::serve(state),
        None => measure(args.count),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn measure(count: usize) -> anyhow::Result<()> {
    let (seed, operator) = shared::begin().await?;
    let one = json!({ "type": "OS::Heat::RandomString" });
    let resources: Map<String, Value> = (0..count)
        .map(|index| (format!("r{index}"), one.clone()))
        .collect();
    let body = json!({
        "stack_name": "strings",
        "template": { "heat_template_version": "2018-08-31", "resources": resources },
    });
    let (began, cpu) = (Instant::now(), seed.cpu()?);
    let made = operator
        .ask(reqwest::Method::POST, "/stacks", &body)
        .await?;
    let id = made["stack"]["id"].as_str().context("no id")?;
    let path = format!("/stacks/strings/{id}");
    let stack = operator.settled(&path).await?;
    ensure!(stack["stack_status"] == "CREATE_COMPLETE", "{stack}");
    println!(
        "{count} resources created: {} CPU ms of the seed, {:.2} s, {} KiB",
        (seed.cpu()? - cpu) * 10,
        began.elapsed().as_secs_f64(),
        seed.memory()?
    );
    let (began, cpu) = (Instant::now(), seed.cpu()?);
    operator
        .ask(reqwest::Method::DELETE, &path, &Value::Null)
        .await?;
    let stack = operator.settled(&path).await?;
    ensure!(stack["stack_status"] == "DELETE_COMPLETE", "{stack}");
    println!(
        "{count} resources deleted: {} CPU ms of the seed, {:.2} s",
        (seed.cpu()? - cpu) * 10,
        began.elapsed().as_secs_f64()
    );
    Ok(())
}
