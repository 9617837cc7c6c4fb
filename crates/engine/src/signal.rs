//! Signals, reports and the accounts behind them.

use std::sync::Arc;

use cloud::Secret;
use jiff::Timestamp;
use serde_json::Value as Json;
use store::params;
use uuid::Uuid;

use crate::advance;
use crate::api::{Action, DeploymentChange, NodeReport, Report, StackId, Status, UserScope};
use crate::core::Core;
use crate::error::EngineError;
use crate::load;
use crate::model::{Notes, Root, Row, Wait};
use crate::plugins;

impl Core {
    /// Gives a resource a signal; what is wrong with it, if it counts for nothing.
    pub async fn signal(
        self: &Arc<Core>,
        stack: StackId,
        resource: &str,
        body: Option<Json>,
    ) -> Result<Option<String>, EngineError> {
        let live = self.live_with(stack)?;
        let body = match body {
            Some(Json::Object(body)) => body,
            _ => Notes::new(),
        };
        let (odd, pending) = {
            let mut root = live.lock();
            let node = root
                .node
                .node(stack)
                .ok_or_else(|| EngineError::StackNotFound {
                    name: stack.to_string(),
                })?;
            let row = crate::show::row(node, resource)?;
            let signal = Signal {
                row: row.id,
                stack,
                stack_name: node.name.clone(),
                piece: node.piece(&row.name),
                now: self.now(),
            };
            let odd = signal.take(&mut root, &body)?;
            (odd, self.commit(&mut root, None))
        };
        self.kept(&live, pending).await?;
        self.drive(&live);
        Ok(odd)
    }

    /// Changes a deployment; one that a stack waits for may be told done in this way too.
    pub async fn tell_deployment(
        self: &Arc<Core>,
        project: Option<&str>,
        id: &str,
        change: DeploymentChange,
    ) -> Result<crate::Deployment, EngineError> {
        let changed = self.change_deployment(project, id, change).await?;
        let failed = changed.status == "FAILED";
        if !failed && changed.status != "COMPLETE" {
            return Ok(changed);
        }
        for live in self.all() {
            let pending = {
                let mut root = live.lock();
                let mut found = None;
                root.node.each_row(&mut |node, row| {
                    if plugins::is_deployment(row) && row.physical_id.as_deref() == Some(id) {
                        found = Some(Signal {
                            row: row.id,
                            stack: node.id,
                            stack_name: node.name.clone(),
                            piece: node.piece(&row.name),
                            now: self.now(),
                        });
                    }
                });
                let Some(signal) = found else {
                    continue;
                };
                let mut body = changed.output_values.clone();
                if failed {
                    body.insert("deploy_status_code".to_owned(), 1.into());
                }
                signal.take(&mut root, &body)?;
                self.commit(&mut root, None)
            };
            self.kept(&live, pending).await?;
            self.drive(&live);
            break;
        }
        Ok(changed)
    }

    /// What the stack user of this id, or the one with this access key, was made for.
    pub async fn scope(
        &self,
        column: &'static str,
        key: &str,
    ) -> Result<Option<(UserScope, Option<Secret>)>, EngineError> {
        let key = key.to_owned();
        let sql = match column {
            "access" => "SELECT root, resource FROM engine_user WHERE access = ?1",
            _ => "SELECT root, resource FROM engine_user WHERE id = ?1",
        };
        let read = self.setup.store.read(move |tx| -> Result<_, EngineError> {
            let found = tx.query_one(sql, params![key])?;
            let ids = |mut row: store::Row| -> Result<(String, String), EngineError> {
                Ok((row.take(0)?, row.take(1)?))
            };
            found.map(ids).transpose()
        });
        let Some((root, resource)) = read.await? else {
            return Ok(None);
        };
        let Ok(live) = self.live(StackId(load::uuid(&root))) else {
            return Ok(None);
        };
        let root = live.lock();
        Ok(root.node.row(load::uuid(&resource)).map(|(node, row)| {
            let scope = UserScope {
                stack: node.id,
                resource: row.name.clone(),
                physical_id: row.physical_id.clone().unwrap_or_default(),
            };
            (scope, row.note("secret_key").map(Secret::new))
        }))
    }

    /// Keeps what a node says: the latest report, and each one in the event log.
    pub async fn keep_report(
        self: &Arc<Core>,
        key: &str,
        report: Report,
    ) -> Result<(), EngineError> {
        let found = self.server(key).ok_or_else(|| EngineError::NotFound {
            what: "The Server",
            name: key.to_owned(),
        })?;
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

    pub async fn last_report(&self, key: &str) -> Result<Option<NodeReport>, EngineError> {
        let server = self
            .server(key)
            .map_or_else(|| key.to_owned(), |found| found.server_id);
        let read = self
            .setup
            .store
            .read(move |tx| -> Result<Option<NodeReport>, EngineError> {
                let found = tx.query_one(
                    "SELECT server, time, body FROM engine_report WHERE server = ?1",
                    params![server],
                )?;
                let report = |mut row: store::Row| -> Result<NodeReport, EngineError> {
                    let body: String = row.take(2)?;
                    Ok(NodeReport {
                        server_id: row.take(0)?,
                        time: load::time(row.take(1)?),
                        report: serde_json::from_str(&body).map_err(|source| {
                            EngineError::Record {
                                what: "a report".to_owned(),
                                source,
                            }
                        })?,
                    })
                };
                found.map(report).transpose()
            });
        read.await
    }
}

/// A signal on its way to a resource.
struct Signal {
    row: Uuid,
    stack: StackId,
    stack_name: String,
    piece: String,
    now: Timestamp,
}

impl Signal {
    /// Gives it to the resource; what is wrong with it, if it counts for nothing.
    fn take(&self, root: &mut Root, body: &Notes) -> Result<Option<String>, EngineError> {
        match root.node.row(self.row) {
            Some((_, row)) if plugins::is_handle(row) => Ok(self.to_handle(root, body)),
            Some((_, row)) if plugins::is_deployment(row) => {
                self.to_deployment(root, body);
                Ok(None)
            }
            _ => Err(EngineError::ResourceActionNotSupported {
                action: "signal".to_owned(),
            }),
        }
    }

    fn to_handle(&self, root: &mut Root, body: &Notes) -> Option<String> {
        let Root { node, ledger, .. } = root;
        let row = node.row_mut(self.row)?;
        let said = match plugins::signal_handle(row, body) {
            Ok(said) => format!("Signal: {said}"),
            Err(odd) => return Some(odd),
        };
        row.dirty = true;
        let event = event_of(row, said);
        ledger.event_of(self.stack, &self.stack_name, &event, self.now);
        let (reference, signals) = (plugins::reference(row), plugins::handle_signals(row));
        let reference = reference.map(|reference| reference.python_str());
        node.each_row_mut(&mut |row| {
            if !plugins::is_condition(row) || reference.as_deref() != Some(plugins::handle_of(row))
            {
                return;
            }
            // Signals that come when the condition is met already are data all the same.
            plugins::note_data(row, &signals);
            row.dirty = true;
            if row.status == Status::InProgress {
                row.wait = Wait::Ready;
            }
        });
        None
    }

    fn to_deployment(&self, root: &mut Root, body: &Notes) -> Option<()> {
        let Root {
            node,
            ledger,
            project,
            user_project,
            ..
        } = root;
        let row = node.row_mut(self.row)?;
        let user_project = user_project.as_deref();
        let ended = plugins::signal_deployment(row, body, self.now, ledger, project, user_project)?;
        let word = if ended.is_ok() { "succeeded" } else { "failed" };
        let id = row.physical_id.clone().unwrap_or_default();
        let event = event_of(row, format!("Signal: deployment {id} {word}"));
        ledger.event_of(self.stack, &self.stack_name, &event, self.now);
        // The account of a deletion goes in a step of its own.
        if row.action == Action::Delete && ended.is_ok() {
            row.notes.insert("removing".to_owned(), "yes".into());
            row.notes.remove("shown_generation");
            row.wait = Wait::Ready;
            row.dirty = true;
            return Some(());
        }
        let ended = ended.map_err(|failure| failure.within(self.piece.clone()));
        let stack = (self.stack, self.stack_name.as_str());
        advance::note_end(row, ended, stack, self.now, ledger);
        Some(())
    }
}

/// An event that leaves the state of the resource alone.
fn event_of(row: &Row, reason: String) -> Row {
    Row {
        action: Action::Signal,
        reason,
        child: None,
        ..row.clone()
    }
}

fn sentence(report: &Report) -> String {
    let script = report.script.as_deref().unwrap_or("all scripts");
    if report.exit_code == 0 {
        return format!("Report: {} went well", report.phase);
    }
    let tail: String = report
        .tail
        .lines()
        .rev()
        .take(3)
        .collect::<Vec<_>>()
        .join(" | ");
    format!(
        "Report: {} of {script} ended with {}: {tail}",
        report.phase, report.exit_code
    )
}
