//! What is done to a whole stack beside updates: suspend, resume, check, cancel, snapshots.

use engine::{Action, Snapshot};
use serde_json::{Value, json};

use super::fault::Fault;
use super::routes::StackPath;
use super::{Answer, Ask, Orchestration, reply};

impl Orchestration {
    pub(super) async fn act(&self, ask: Ask, at: &StackPath) -> Answer {
        let body = ask.body.clone().optional().unwrap_or_default();
        let mut names = body.keys();
        let name = match (names.next(), names.next()) {
            (None, _) => return Err(Fault::bad_request("No action specified")),
            (Some(name), None) => name,
            (Some(_), Some(_)) => return Err(Fault::bad_request("Multiple actions specified")),
        };
        let known = [
            "suspend",
            "resume",
            "check",
            "cancel_update",
            "cancel_without_rollback",
        ];
        if !known.contains(&name.as_str()) {
            return Err(Fault::bad_request(format!(
                "Invalid action {name} specified"
            )));
        }
        let stack = self.at(&ask.asker, at).await?;
        if stack.deleted.is_some() {
            return Err(Fault::no_stack(&at.name));
        }
        match name.as_str() {
            "suspend" => self.engine.act(stack.id, Action::Suspend).await?,
            "resume" => self.engine.act(stack.id, Action::Resume).await?,
            "check" => self.engine.act(stack.id, Action::Check).await?,
            "cancel_update" => self.engine.cancel_update(stack.id, true).await?,
            _ => self.engine.cancel_update(stack.id, false).await?,
        }
        Ok(reply::ok(&Value::Null))
    }

    pub(super) async fn take_snapshot(&self, ask: Ask, at: &StackPath) -> Answer {
        let body = ask.body.clone().optional().unwrap_or_default();
        let name = match body.get("name") {
            None | Some(Value::Null) => None,
            Some(name) => Some(super::request::text_of(name)),
        };
        let stack = self.at(&ask.asker, at).await?;
        let snapshot = self.engine.snapshot(stack.id, name).await?;
        Ok(reply::ok(&shown(&snapshot)))
    }

    pub(super) async fn list_snapshots(&self, ask: &Ask, at: &StackPath) -> Answer {
        let stack = self.at(&ask.asker, at).await?;
        let snapshots = self.engine.snapshots(stack.id).await?;
        let snapshots: Vec<Value> = snapshots.iter().map(shown).collect();
        Ok(reply::ok(&json!({ "snapshots": snapshots })))
    }

    pub(super) async fn show_snapshot(&self, ask: &Ask, at: &StackPath, id: &str) -> Answer {
        let stack = self.at(&ask.asker, at).await?;
        let snapshots = self.engine.snapshots(stack.id).await?;
        let found = snapshots
            .iter()
            .find(|snapshot| snapshot.id.to_string() == id);
        let found = found.ok_or_else(|| {
            Fault::not_found(format!(
                "The Snapshot ({id}) for Stack ({}) could not be found.",
                stack.name
            ))
        })?;
        Ok(reply::ok(&json!({ "snapshot": shown(found) })))
    }

    pub(super) async fn delete_snapshot(&self, ask: &Ask, at: &StackPath, id: &str) -> Answer {
        let stack = self.at(&ask.asker, at).await?;
        self.engine.delete_snapshot(stack.id, id).await?;
        Ok(reply::no_content())
    }

    pub(super) async fn restore_snapshot(&self, ask: &Ask, at: &StackPath, id: &str) -> Answer {
        let stack = self.at(&ask.asker, at).await?;
        self.engine.restore(stack.id, id).await?;
        Ok(reply::accepted())
    }

    pub(super) async fn export(&self, ask: &Ask, at: &StackPath) -> Answer {
        let stack = self.at(&ask.asker, at).await?;
        Ok(reply::ok(&self.engine.export(stack.id).await?))
    }

    pub(super) async fn abandon(&self, ask: &Ask, at: &StackPath) -> Answer {
        let stack = self.at(&ask.asker, at).await?;
        Ok(reply::ok(&self.engine.abandon(stack.id).await?))
    }
}

fn shown(snapshot: &Snapshot) -> Value {
    json!({
        "id": snapshot.id.to_string(),
        "name": snapshot.name,
        "status": snapshot.status.as_str(),
        "status_reason": snapshot.reason,
        "creation_time": reply::time(snapshot.created),
        "data": snapshot.data,
    })
}
