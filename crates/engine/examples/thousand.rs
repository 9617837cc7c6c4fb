//! Makes a stack of 1,000 `OS::Heat::RandomString`, and says what it cost. Run it with `--profile ci` or
//! `--release`; the database is a file in a temporary directory, with every commit synced.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::fmt::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use cloud::Secret;
use cloud_sim::{Options, Sim};
use engine::{Caller, CreateStack, Endpoints, Engine, Setup, StackUsers, SystemClock, UserError};
use store::Store;

/// Gives each name an account of the same name.
struct Accounts;

#[async_trait]
impl StackUsers for Accounts {
    async fn ensure_project(&self, name: &str) -> Result<String, UserError> {
        Ok(name.to_owned())
    }

    async fn remove_project(&self, _: &str) -> Result<(), UserError> {
        Ok(())
    }

    async fn ensure_user(&self, name: &str, _: &str, _: &Secret) -> Result<String, UserError> {
        Ok(name.to_owned())
    }

    async fn remove_user(&self, _: &str) -> Result<(), UserError> {
        Ok(())
    }

    async fn ensure_key_pair(
        &self,
        _: &str,
        _: &str,
        _: &str,
        _: &Secret,
    ) -> Result<(), UserError> {
        Ok(())
    }
}

/// CPU time of this process in milliseconds (clock ticks are 10 ms on Linux).
fn cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<u64> = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .flat_map(str::parse)
        .collect();
    fields.iter().sum::<u64>() * 10
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let endpoint = "http://192.0.2.1".to_owned();
    let engine = Engine::open(Setup {
        store: Store::open(&directory.path().join("db"), &[Engine::MIGRATIONS])?,
        cloud: Arc::new(Sim::new(Options::with_nodes(0))),
        users: Arc::new(Accounts),
        clock: Arc::new(SystemClock),
        endpoints: Endpoints {
            metadata: endpoint.clone(),
            auth: endpoint.clone(),
            orchestration: endpoint.clone(),
            cloudformation: endpoint,
            region: "regionOne".to_owned(),
        },
    })
    .await?;
    let mut template = "heat_template_version: 2013-05-23\nresources:\n".to_owned();
    for at in 0..1000 {
        writeln!(template, "  r{at}: {{type: OS::Heat::RandomString}}")?;
    }
    let caller = Caller {
        project: "p".to_owned(),
        user_id: "u".to_owned(),
        user_name: "admin".to_owned(),
    };
    let want = CreateStack {
        name: "thousand".to_owned(),
        template: hot::Template::from_text(&template)?,
        files: hot::Files::default(),
        environment: hot::Environment::default(),
        timeout_mins: None,
        disable_rollback: true,
        tags: Vec::new(),
        adopt: None,
    };
    let (began, clock) = (cpu(), std::time::Instant::now());
    let stack = engine.create(&caller, want).await?;
    engine.settled(stack.id).await;
    let made = engine.stack(stack.id, false).await?;
    println!(
        "{}_{}: {} ms CPU, {} ms wall",
        made.action,
        made.status,
        cpu() - began,
        clock.elapsed().as_millis()
    );
    let (began, clock) = (cpu(), std::time::Instant::now());
    engine.delete(stack.id).await?;
    engine.settled(stack.id).await;
    let gone = engine.stack(stack.id, false).await?;
    println!(
        "{}_{}: {} ms CPU, {} ms wall",
        gone.action,
        gone.status,
        cpu() - began,
        clock.elapsed().as_millis()
    );
    Ok(())
}
