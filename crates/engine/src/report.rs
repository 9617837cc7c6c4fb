//! What nodes say of their configuration: the newest report of each, and the words of a deployment that failed.
//!
//! Takes no report for true that is too long, and shows none with a secret of the node's own document in it. Says nothing of
//! nodes whose agents do not report: they are missing from the list.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use secret::Mask;
use store::params;

use crate::api::{NodeReport, Report, StackId};
use crate::core::Core;
use crate::error::EngineError;
use crate::load;
use crate::metadata::no_server;
use crate::model::{Notes, Root, Row};
use crate::plugins;
use crate::signal::event_of;

/// So many bytes of a script's last words are kept.
const TAIL: usize = 4096;
/// So many bytes of any other text.
const TEXT: usize = 1024;
/// So many scripts, and so many changed files.
const ENTRIES: usize = 512;
/// How our agents begin when a hook of a refresh failed; the script's last words follow.
const REFRESH_FAILED: &str = "os-refresh-config failed";
/// So many of the last lines are in the reason of a resource.
const LAST_LINES: usize = 3;
/// So many characters of each of them.
const LINE: usize = 200;

impl Core {
    /// Keeps what a node says: the latest report, and each one in the event log.
    pub async fn keep_report(
        self: &Arc<Core>,
        key: &str,
        report: Report,
    ) -> Result<(), EngineError> {
        let found = self.server(key).ok_or_else(|| no_server(key))?;
        let mask = self.secrets_of(key).await;
        let report = fit(report, &mask);
        let now = self.now();
        let pending = {
            let mut root = found.live.lock();
            let Root { node, ledger, .. } = &mut *root;
            if let Some((node, row)) = node.row(found.row) {
                ledger.event_of(node.id, &node.name, &event_of(row, sentence(&report)), now);
            }
            self.commit(&mut root, None)
        };
        self.kept(&found.live, pending).await?;
        let body = serde_json::to_string(&report).unwrap_or_default();
        let server = found.server_id;
        let write = self
            .setup
            .store
            .write(move |tx| -> Result<(), EngineError> {
                tx.execute(
                    "INSERT INTO engine_report VALUES (?1, ?2, ?3)
                     ON CONFLICT (server) DO UPDATE SET time = ?2, body = ?3",
                    params![server, now.as_millisecond(), body],
                )?;
                Ok(())
            });
        write.await
    }

    /// The last report of every server of a project, or of all, by name of stack and server.
    pub async fn node_reports(
        &self,
        project: Option<&str>,
    ) -> Result<Vec<NodeReport>, EngineError> {
        let mut servers = HashMap::new();
        for live in self.all() {
            let root = live.lock();
            if project.is_some_and(|project| root.project != project) {
                continue;
            }
            let project = root.project.clone();
            root.node.each_row(&mut |node, row| {
                if plugins::is_server(row)
                    && let Some(id) = row.physical_id.clone()
                {
                    let (stack, name) = (node.id, node.name.clone());
                    servers.insert(id, Place::of(row, &project, stack, name));
                }
            });
        }
        let read = self.setup.store.read(|tx| -> Result<_, EngineError> {
            let rows = tx.query("SELECT server, time, body FROM engine_report", &[])?;
            let report = |mut row: store::Row| -> Result<_, EngineError> {
                let body: String = row.take(2)?;
                let report = serde_json::from_str(&body);
                let report: Report = report.map_err(|source| EngineError::Record {
                    what: "a report".to_owned(),
                    source,
                })?;
                Ok((row.take::<String>(0)?, load::time(row.take(1)?), report))
            };
            rows.into_iter().map(report).collect::<Result<Vec<_>, _>>()
        });
        let mut reports: Vec<NodeReport> = Vec::new();
        for (server, time, report) in read.await? {
            reports.extend(
                servers
                    .remove(&server)
                    .map(|place| place.with(server, time, report)),
            );
        }
        reports.sort_by(|a, b| {
            let key = |one: &NodeReport| (one.stack_name.clone(), one.server_name.clone());
            key(a).cmp(&key(b))
        });
        Ok(reports)
    }

    /// What must not be seen of what a server is told. A document that is not at hand has none.
    async fn secrets_of(&self, server: &str) -> Mask {
        let found = self.document(server).await;
        found.map_or_else(|_| Mask::default(), |found| Mask::of(&found.document))
    }

    /// What the outputs of a deployment that failed say of where and why: `node NAME: WORDS`.
    pub async fn failed_words(&self, server: Option<String>, body: &Notes) -> Option<String> {
        if plugins::is_fine(body.get("deploy_status_code")?) {
            return None;
        }
        let server = server?;
        let words = last_words(body, &self.secrets_of(&server).await);
        let name = self.server(&server).map_or(server, |found| found.name);
        Some(match words {
            Some(words) => format!("node {name}: {words}"),
            None => format!("node {name} printed nothing"),
        })
    }
}

/// Where a server stands.
struct Place {
    project: String,
    stack: StackId,
    stack_name: String,
    resource: String,
    server_name: String,
}

impl Place {
    fn of(row: &Row, project: &str, stack: StackId, stack_name: String) -> Place {
        Place {
            project: project.to_owned(),
            stack,
            stack_name,
            resource: row.name.clone(),
            server_name: plugins::server_name(row).to_owned(),
        }
    }

    fn with(self, server_id: String, time: Timestamp, report: Report) -> NodeReport {
        NodeReport {
            server_id,
            server_name: self.server_name,
            project: self.project,
            stack: self.stack,
            stack_name: self.stack_name,
            resource: self.resource,
            time,
            report,
        }
    }
}

/// The report as it is kept: of a known size, without secrets.
fn fit(report: Report, mask: &Mask) -> Report {
    let text = |text: &str| mask.cover(start(text, TEXT));
    let tail = end(&report.tail, TAIL);
    let mut scripts = report.scripts;
    scripts.truncate(ENTRIES);
    for script in &mut scripts {
        script.phase = text(&script.phase);
        script.script = text(&script.script);
    }
    Report {
        generation: start(report.generation.trim_matches('"'), TEXT).to_owned(),
        started: text(&report.started),
        seconds: report.seconds,
        phase: text(&report.phase),
        script: report.script.as_deref().map(text),
        exit_code: report.exit_code,
        tail: mask.cover_tail(tail),
        scripts,
        drift: report
            .drift
            .iter()
            .take(ENTRIES)
            .map(|line| text(line))
            .collect(),
    }
}

fn start(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn end(text: &str, most: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(most))..]
}

fn sentence(report: &Report) -> String {
    if report.exit_code == 0 {
        return "Report: all scripts went well".to_owned();
    }
    let script = report.script.as_deref().unwrap_or("the refresh");
    let phase = match report.phase.as_str() {
        "" => String::new(),
        phase => format!("phase {phase}: "),
    };
    let lines: Vec<&str> = lines(&report.tail).collect();
    let code = report.exit_code;
    format!(
        "Report: {phase}{script} ended with {code}: {}",
        last(&lines)
    )
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

fn last(lines: &[&str]) -> String {
    let from = lines.len().saturating_sub(LAST_LINES);
    let cut = lines[from..].iter().map(|line| cut(line));
    cut.collect::<Vec<_>>().join(" | ")
}

fn cut(line: &str) -> String {
    if line.chars().count() <= LINE {
        return line.to_owned();
    }
    line.chars().take(LINE).chain(['…']).collect()
}

/// The last words of a deployment on one line: of what it printed as errors, else of all that it printed.
fn last_words(body: &Notes, mask: &Mask) -> Option<String> {
    let texts = ["deploy_stderr", "deploy_stdout"].into_iter();
    let mut texts = texts.filter_map(|name| body.get(name)?.as_str());
    let text = mask.cover(texts.find(|text| !text.trim().is_empty())?);
    let lines: Vec<&str> = lines(&text).collect();
    match lines.split_first() {
        Some((first, [])) => Some(cut(first)),
        Some((first, rest)) if first.starts_with(REFRESH_FAILED) => {
            Some(format!("{}: {}", cut(first), last(rest)))
        }
        _ => Some(last(&lines)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ScriptRun;
    use serde_json::json;

    fn mask() -> Mask {
        Mask::of(&json!({"db": {"password": "hunter2"}, "deployments": [
            {"inputs": [{"name": "admin_password", "value": "opensesame"}, {"name": "word", "value": "hello"}]}]}))
    }

    #[test]
    fn a_report_is_cut_and_holds_no_secret() {
        let report = Report {
            generation: "\"7f\"".to_owned(),
            exit_code: 3,
            script: Some("/b/x --password hunter2".to_owned()),
            tail: format!("{}login opensesame", "é".repeat(TAIL)),
            drift: vec!["/etc/x sha256:0".to_owned(); ENTRIES + 1],
            scripts: vec![ScriptRun::default(); ENTRIES + 1],
            ..Report::default()
        };
        let kept = fit(report, &mask());
        assert_eq!(kept.generation, "7f");
        assert_eq!(kept.script.unwrap(), "/b/x --password ***");
        assert!(kept.tail.len() <= TAIL && kept.tail.ends_with("élogin ***"));
        assert_eq!((kept.drift.len(), kept.scripts.len()), (ENTRIES, ENTRIES));
    }

    #[track_caller]
    fn check(body: serde_json::Value, expect: Option<&str>) {
        let found = last_words(body.as_object().unwrap(), &mask());
        assert_eq!(found.as_deref(), expect);
    }

    #[test]
    fn the_last_words_of_a_deployment() {
        check(json!({"deploy_status_code": 1}), None);
        check(
            json!({"deploy_stderr": "a\nb\n\nc\nd\n"}),
            Some("b | c | d"),
        );
        check(
            json!({"deploy_stderr": " \n", "deploy_stdout": "only opensesame"}),
            Some("only ***"),
        );
        check(
            json!({"deploy_stderr": "os-refresh-config failed in phase configure: script /b/x ended with exit code 3\n1\n2\n3\n4"}),
            Some(
                "os-refresh-config failed in phase configure: script /b/x ended with exit code 3: 2 | 3 | 4",
            ),
        );
    }

    #[test]
    fn lines_of_an_event_keep_their_order() {
        let report = Report {
            phase: "configure".to_owned(),
            script: Some("/b/x".to_owned()),
            exit_code: 3,
            tail: "one\ntwo\nthree\nfour\n".to_owned(),
            ..Report::default()
        };
        let expect = "Report: phase configure: /b/x ended with 3: two | three | four";
        assert_eq!(sentence(&report), expect);
        assert_eq!(
            sentence(&Report::default()),
            "Report: all scripts went well"
        );
    }
}
