//! Signals and the accounts behind them.

use std::sync::Arc;

use cloud::Secret;
use jiff::Timestamp;
use serde_json::Value as Json;
use store::params;
use uuid::Uuid;

use crate::advance;
use crate::api::{Action, DeploymentChange, StackId, Status, UserScope};
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
        let server = {
            let root = live.lock();
            let row = root
                .node
                .node(stack)
                .and_then(|node| node.rows.get(resource));
            row.and_then(plugins::deployed_to).map(str::to_owned)
        };
        let failed = self.failed_words(server, &body).await;
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
                failed,
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
        let mut body = changed.output_values.clone();
        if failed {
            body.insert("deploy_status_code".to_owned(), 1.into());
        }
        let server = Some(changed.server_id.clone());
        let mut words = self.failed_words(server, &body).await;
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
                            failed: None,
                        });
                    }
                });
                let Some(mut signal) = found else {
                    continue;
                };
                signal.failed = words.take();
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
}

/// A signal on its way to a resource.
struct Signal {
    row: Uuid,
    stack: StackId,
    stack_name: String,
    piece: String,
    now: Timestamp,
    /// Where a deployment failed, and with what words.
    failed: Option<String>,
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
        let ended = ended.map_err(|mut failure| {
            if let Some(words) = &self.failed {
                failure.message = format!("{}; {words}", failure.message);
            }
            failure.within(self.piece.clone())
        });
        let stack = (self.stack, self.stack_name.as_str());
        advance::note_end(row, ended, stack, self.now, ledger);
        Some(())
    }
}

/// An event that leaves the state of the resource alone.
pub(crate) fn event_of(row: &Row, reason: String) -> Row {
    Row {
        action: Action::Signal,
        reason,
        child: None,
        ..row.clone()
    }
}
