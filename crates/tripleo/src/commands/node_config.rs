//! `tripleo node config`: which configuration a node holds, what its last run did, and what was changed by hand.

use serde_json::Value;

use super::machines::{Machine, Machines};
use super::stack::text;
use crate::context::Context;

/// Prints what is known of the configuration of one node.
pub async fn config(context: &Context, node: &str, json: bool) -> anyhow::Result<()> {
    let all = Machines::read(context).await?;
    let machine = all.find(node)?;
    let report = report(context, &machine.server_id).await?;
    if json {
        let mut shown = machine.json();
        shown["report"] = report;
        context.output.data(&format!("{shown:#}"));
        return Ok(());
    }
    for line in lines(&machine, &report) {
        context.output.data(&line);
    }
    Ok(())
}

/// The whole report of a server; null if there is none.
pub async fn report(context: &Context, server: &str) -> anyhow::Result<Value> {
    if server.is_empty() {
        return Ok(Value::Null);
    }
    let path = format!("node_reports/{server}");
    let found = context.cloud().await?.find("orchestration", &path).await?;
    Ok(found.map_or(Value::Null, |mut found| found["node_report"].take()))
}

fn lines(machine: &Machine<'_>, report: &Value) -> Vec<String> {
    let node = machine.node;
    let mut lines = Vec::new();
    if !node.is_null() {
        let (state, power) = (text(&node["provision_state"]), text(&node["power_state"]));
        lines.push(format!("node:        {}, {state}, {power}", machine.name()));
    }
    if machine.server_id.is_empty() {
        lines.push("server:      none".to_owned());
        return lines;
    }
    let (name, id) = (&machine.server_name, &machine.server_id);
    lines.push(format!("server:      {name} ({id})"));
    if report.is_null() {
        lines.push("last run:    no report".to_owned());
        return lines;
    }
    let held = text(&report["generation"]);
    let state = match text(&report["wanted_generation"]) {
        wanted if wanted == held => "current".to_owned(),
        wanted => format!("behind: it is told {wanted}"),
    };
    lines.push(format!("generation:  {held} ({state})"));
    lines.push(format!("last run:    {}", run(report)));
    lines.push(format!("reported:    {}", text(&report["reported_at"])));
    let drift = report["drift"].as_array().map_or(&[][..], Vec::as_slice);
    if drift.is_empty() {
        lines.push("drift:       none seen".to_owned());
    }
    for file in drift {
        lines.push(format!(
            "drift:       {} was changed by hand, and put right",
            text(file)
        ));
    }
    scripts(report, &mut lines);
    let tail = text(&report["tail"]);
    if !tail.trim().is_empty() {
        lines.push("output:".to_owned());
        lines.extend(tail.trim_end().lines().map(|line| format!("  {line}")));
    }
    lines
}

fn run(report: &Value) -> String {
    let began = text(&report["started_at"]);
    let began = if began.is_empty() { "?" } else { &began };
    let took = report["seconds"].as_f64().unwrap_or_default();
    if report["status"] == "ok" {
        return format!("{began}, {took:.3} s, went well");
    }
    let phase = match text(&report["phase"]) {
        phase if phase.is_empty() => String::new(),
        phase => format!(" in phase {phase}"),
    };
    let what = match text(&report["script"]) {
        script if script.is_empty() => "the run".to_owned(),
        script => format!("script {script}"),
    };
    let code = text(&report["exit_code"]);
    format!("{began}, {took:.3} s, failed{phase}: {what} ended with exit code {code}")
}

fn scripts(report: &Value, lines: &mut Vec<String>) {
    let mut phase = None;
    for script in report["scripts"].as_array().into_iter().flatten() {
        let this = text(&script["phase"]);
        if phase.as_ref() != Some(&this) {
            lines.push(format!("phase {this}:"));
            phase = Some(this);
        }
        let path = text(&script["script"]);
        lines.push(match script["seconds"].as_f64() {
            Some(seconds) => format!("  {seconds:>9.3} s  {path}"),
            None => format!("     FAILED  {path}"),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::machines::tests::machines;
    use serde_json::json;

    #[test]
    fn a_failed_run_is_told_whole() {
        let all = machines();
        let report = json!({
            "generation": "7f", "wanted_generation": "80", "status": "failed", "started_at": "A", "reported_at": "B",
            "seconds": 1.5, "phase": "configure", "script": "/b/50-x", "exit_code": 3, "tail": "one\ntwo\n",
            "drift": ["/etc/hosts sha256:00"],
            "scripts": [
                {"phase": "pre-configure", "script": "/b/1", "seconds": 0.25},
                {"phase": "configure", "script": "/b/50-x", "seconds": null},
            ],
        });
        let expect = "node:        node-0, , \n\
            server:      web (s0)\n\
            generation:  7f (behind: it is told 80)\n\
            last run:    A, 1.500 s, failed in phase configure: script /b/50-x ended with exit code 3\n\
            reported:    B\n\
            drift:       /etc/hosts sha256:00 was changed by hand, and put right\n\
            phase pre-configure:\n\
            \x20     0.250 s  /b/1\n\
            phase configure:\n\
            \x20    FAILED  /b/50-x\n\
            output:\n\
            \x20 one\n\
            \x20 two";
        assert_eq!(
            lines(&all.find("node-0").unwrap(), &report).join("\n"),
            expect
        );
    }

    #[test]
    fn without_a_report_that_is_said() {
        let all = machines();
        let shown = lines(&all.find("db").unwrap(), &Value::Null);
        assert_eq!(shown.last().unwrap(), "last run:    no report");
        let shown = lines(&all.find("node-2").unwrap(), &Value::Null);
        assert_eq!(shown.last().unwrap(), "server:      none");
    }
}
