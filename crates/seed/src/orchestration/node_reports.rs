//! `node_reports`: what nodes said last of their configuration. An addition to Heat's API, as Heat knows no such thing.
//!
//! A node is named by the id of its server. One that never reported, because its agents are upstream's, is 404 and missing
//! from the list.

use engine::NodeReport;
use serde_json::{Value, json};

use super::fault::Fault;
use super::{Answer, Ask, Orchestration, reply};

impl Orchestration {
    pub(super) async fn list_node_reports(&self, ask: &Ask) -> Answer {
        let reports = self.engine.node_reports(ask.asker.sees()).await?;
        let reports: Vec<Value> = reports.iter().map(entry).collect();
        Ok(reply::ok(&json!({ "node_reports": reports })))
    }

    pub(super) async fn show_node_report(&self, ask: &Ask, server: &str) -> Answer {
        let reports = self.engine.node_reports(ask.asker.sees()).await?;
        let found = reports.iter().find(|one| one.server_id == server);
        let found = found.ok_or_else(|| Fault::no_entity("Node Report", server))?;
        let mut shown = entry(found);
        // The node may not have come to what it is told now.
        let told = self.engine.metadata(server).await?;
        shown["wanted_generation"] = json!(told.etag);
        shown["tail"] = json!(found.report.tail);
        shown["scripts"] = json!(found.report.scripts);
        Ok(reply::ok(&json!({ "node_report": shown })))
    }
}

fn entry(found: &NodeReport) -> Value {
    let report = &found.report;
    json!({
        "server_id": found.server_id,
        "server_name": found.server_name,
        "project": found.project,
        "stack_id": found.stack.to_string(),
        "stack_name": found.stack_name,
        "resource_name": found.resource,
        "reported_at": reply::time(found.time),
        "generation": report.generation,
        "status": if report.exit_code == 0 { "ok" } else { "failed" },
        "started_at": report.started,
        "seconds": report.seconds,
        "phase": report.phase,
        "script": report.script,
        "exit_code": report.exit_code,
        "drift": report.drift,
    })
}
