//! Snapshots, export, abandoning and taking over: a stack as one document, and back.
//!
//! The document is Heat's. What it says of resources is [`plugins::resource_data`]; making
//! something of it is the work of an ordinary pass.

use std::sync::Arc;

use hot::{Environment, Files, Template, Value};
use serde_json::{Map, Value as Json, json};
use store::params;
use uuid::Uuid;

use crate::api::{Action, Snapshot, StackId, Status};
use crate::core::Core;
use crate::error::EngineError;
use crate::load;
use crate::metadata;
use crate::model::{Input, Node, Root, Row};
use crate::plugins;
use crate::record::Put;
use crate::tick;

/// A root stack as one document, hidden parameters and secrets of resources included.
pub(crate) fn export(root: &Root) -> Json {
    node_document(root, &root.node)
}

fn node_document(root: &Root, node: &Node) -> Json {
    let input = node.frame.as_ref().map(|frame| frame.input());
    let files = input.map(|input| &input.files);
    let files = files.into_iter().flat_map(Files::iter);
    let files: Map<String, Json> = files
        .map(|(name, text)| (name.to_owned(), text.into()))
        .collect();
    let rows = node.rows.values();
    let resources: Map<String, Json> = rows
        .map(|row| (row.name.clone(), row_document(root, row)))
        .collect();
    json!({
        "name": node.name,
        "id": node.id.to_string(),
        "action": node.action.as_str(),
        "status": node.status.as_str(),
        "environment": input.map(|input| input.environment.to_json()),
        "files": files,
        "template": input.map(|input| input.template.to_json()),
        "resources": resources,
        "project_id": root.project,
        "stack_user_project_id": root.user_project,
        "tags": root.input.tags,
    })
}

fn row_document(root: &Root, row: &Row) -> Json {
    if let Some(child) = &row.child {
        return node_document(root, child);
    }
    let metadata = if plugins::is_handle(row) {
        metadata::own_metadata(row)
    } else {
        row.metadata.to_json()
    };
    json!({
        "name": row.name,
        "resource_id": row.physical_id,
        "type": row.type_name,
        "action": row.action.as_str(),
        "status": row.status.as_str(),
        "metadata": metadata,
        "resource_data": plugins::resource_data(row),
    })
}

/// The end of the snapshot that was being made, when the stack goes on from it to another state.
pub(crate) fn ended(root: &Root, action: Action, status: Status, reason: &str) -> Put {
    let (status, reason) = match (action, status) {
        (Action::Snapshot, Status::Complete) => (Status::Complete, reason.to_owned()),
        (Action::Snapshot, _) => (Status::Failed, reason.to_owned()),
        (other, _) => (Status::Failed, format!("{other} took its place")),
    };
    let data = match status {
        Status::Complete => export(root),
        Status::InProgress | Status::Failed => Json::Null,
    };
    Put::SnapshotEnd {
        status,
        reason,
        data: data.to_string(),
    }
}

/// The document without secrets and the values of hidden parameters, as it is shown.
fn masked(mut data: Json) -> Json {
    if data.is_null() {
        return data;
    }
    let template = Template::from_json(&data["template"]);
    // A template that does not open any more has no schemas, but it was opened when it was kept.
    let schemas = template
        .parameter_schemas(&hot::Map::new())
        .unwrap_or_default();
    for (name, _) in schemas.iter().filter(|(_, schema)| schema.hidden) {
        if let Some(value) = data.pointer_mut(&format!("/environment/parameters/{name}")) {
            *value = "******".into();
        }
    }
    hide_secrets(&mut data);
    data
}

/// Takes out what opens doors: it goes along only when a stack is abandoned or exported.
fn hide_secrets(document: &mut Json) {
    let resources = document["resources"].as_object_mut();
    for resource in resources.into_iter().flat_map(Map::values_mut) {
        if let Some(data) = resource["resource_data"].as_object_mut() {
            data.retain(|key, _| !matches!(key.as_str(), "metadata_secret" | "private_key"));
        } else if resource.get("resources").is_some() {
            hide_secrets(resource);
        }
    }
}

fn no_snapshot(id: &str, stack: &str) -> EngineError {
    EngineError::SnapshotNotFound {
        id: id.to_owned(),
        stack: stack.to_owned(),
    }
}

impl Core {
    /// Begins to write a stack down.
    pub async fn take_snapshot(
        self: &Arc<Core>,
        id: StackId,
        name: Option<String>,
    ) -> Result<Snapshot, EngineError> {
        let live = self.live(id)?;
        let now = self.now();
        let snapshot = Snapshot {
            id: Uuid::new_v4(),
            name,
            status: Status::InProgress,
            reason: String::new(),
            created: now,
            data: Json::Null,
        };
        let pending = {
            let mut root = live.lock();
            idle(&root)?;
            tick::begin(&mut root, Action::Snapshot, now);
            let put = Put::Snapshot {
                id: snapshot.id,
                name: snapshot.name.clone(),
                created: now,
            };
            root.ledger.puts.push(put);
            self.commit(&mut root, None)
        };
        self.kept(&live, pending).await?;
        self.drive(&live);
        Ok(snapshot)
    }

    /// The snapshots of a stack, oldest first, as they were kept.
    async fn kept_snapshots(&self, id: StackId) -> Result<Vec<Snapshot>, EngineError> {
        self.live(id)?;
        let stack = id.to_string();
        let read = self.setup.store.read(move |tx| {
            let rows = tx.query(
                "SELECT id, name, status, reason, created, data FROM engine_snapshot
                 WHERE stack = ?1 ORDER BY created, id",
                params![stack],
            )?;
            let snapshot = |mut row: store::Row| -> Result<Snapshot, EngineError> {
                Ok(Snapshot {
                    id: load::uuid(&row.take::<String>(0)?),
                    name: row.take(1)?,
                    status: load::word(&mut row, 2, Status::parse)?,
                    reason: row.take(3)?,
                    created: load::time(row.take(4)?),
                    data: load::json(&row.take::<String>(5)?, "a snapshot")?,
                })
            };
            rows.into_iter()
                .map(snapshot)
                .collect::<Result<Vec<Snapshot>, EngineError>>()
        });
        read.await
    }

    pub async fn list_snapshots(&self, id: StackId) -> Result<Vec<Snapshot>, EngineError> {
        let mut all = self.kept_snapshots(id).await?;
        for one in &mut all {
            one.data = masked(std::mem::take(&mut one.data));
        }
        Ok(all)
    }

    /// A snapshot that is finished.
    async fn finished_snapshot(
        &self,
        id: StackId,
        snapshot: &str,
        doing: &str,
    ) -> Result<Snapshot, EngineError> {
        let name = self.live(id)?.lock().node.name.clone();
        let all = self.kept_snapshots(id).await?;
        let found = all.into_iter().find(|one| one.id.to_string() == snapshot);
        let found = found.ok_or_else(|| no_snapshot(snapshot, &name))?;
        if found.status == Status::InProgress {
            return Err(EngineError::NotSupported {
                what: format!("{doing} in-progress snapshot"),
            });
        }
        Ok(found)
    }

    pub async fn drop_snapshot(&self, id: StackId, snapshot: &str) -> Result<(), EngineError> {
        let found = self.finished_snapshot(id, snapshot, "Deleting").await?;
        let write = self
            .setup
            .store
            .write(move |tx| -> Result<(), EngineError> {
                tx.execute(
                    "DELETE FROM engine_snapshot WHERE id = ?1",
                    params![found.id.to_string()],
                )?;
                Ok(())
            });
        write.await
    }

    /// Begins to bring a stack back to a snapshot.
    pub async fn restore(self: &Arc<Core>, id: StackId, snapshot: &str) -> Result<(), EngineError> {
        let found = self.finished_snapshot(id, snapshot, "Restoring").await?;
        if found.status == Status::Failed {
            return Err(EngineError::NotSupported {
                what: "Restoring failed snapshot".to_owned(),
            });
        }
        let live = self.live(id)?;
        let now = self.now();
        let pending = {
            let mut root = live.lock();
            Core::may_update(&root, true)?;
            let input = restored(&root.input, &found.data)?;
            let frame = self.open_frame(&root, &input)?;
            frame.validate()?;
            root.previous = Some(std::mem::replace(&mut root.input, input));
            root.node.want(Some(frame))?;
            root.empty = false;
            tick::begin(&mut root, Action::Restore, now);
            root.seeds = Some(found.data["resources"].clone());
            self.commit(&mut root, None)
        };
        self.kept(&live, pending).await?;
        self.drive(&live);
        Ok(())
    }

    /// A stack as one document.
    pub fn export(&self, id: StackId) -> Result<Json, EngineError> {
        let live = self.live(id)?;
        let root = live.lock();
        Ok(export(&root))
    }

    /// Forgets a stack and leaves all that it made alone; the document to take it over with.
    pub async fn abandon(self: &Arc<Core>, id: StackId) -> Result<Json, EngineError> {
        let live = self.live(id)?;
        let now = self.now();
        let (document, pending) = {
            let mut root = live.lock();
            idle(&root)?;
            let document = export(&root);
            // Nested stacks end as others do; what is in them stays.
            root.node.each_row_mut(&mut |row| {
                row.retain = row.child.is_none();
                row.dirty = true;
            });
            tick::begin(&mut root, Action::Delete, now);
            (document, self.commit(&mut root, None))
        };
        self.kept(&live, pending).await?;
        self.drive(&live);
        Ok(document)
    }
}

/// Refuses while something is done to a stack.
fn idle(root: &Root) -> Result<(), EngineError> {
    if root.active || root.node.status == Status::InProgress {
        return Err(EngineError::ActionInProgress {
            stack: root.node.name.clone(),
            action: root.node.action.to_string(),
        });
    }
    Ok(())
}

/// What a stack was made from when the document was written.
fn restored(now: &Input, data: &Json) -> Result<Input, EngineError> {
    let files = data["files"].as_object().cloned().unwrap_or_default();
    let files = files
        .into_iter()
        .map(|(name, text)| (name, text.as_str().unwrap_or_default().to_owned()));
    Ok(Input {
        template: Template::from_json(&data["template"]),
        files: Files::new(files.collect()),
        environment: Environment::from_value(&Value::from_json(&data["environment"]))?,
        ..now.clone()
    })
}
