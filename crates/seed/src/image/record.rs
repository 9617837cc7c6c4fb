//! What is known of an image: one document, as clients see it.

use jiff::Timestamp;
use openstack_api::{ApiError, time};
use serde_json::{Map, Value, json};
use store::{Read, Row, Tx, params};

use super::{Asker, Images};
use crate::Failure;

/// A document.
pub(super) type Doc = Map<String, Value>;

/// An image.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) created: i64,
    pub(super) doc: Doc,
}

impl Record {
    pub(super) fn text(&self, key: &str) -> &str {
        self.doc
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.doc.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(super) fn status(&self) -> &str {
        self.text("status")
    }

    pub(super) fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.doc.insert(key.to_owned(), value.into());
    }

    pub(super) fn tags(&self) -> Vec<String> {
        let tags = self.doc.get("tags").and_then(Value::as_array);
        tags.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    }

    /// As clients see it.
    pub(super) fn shown(&self) -> Value {
        let mut doc = self.doc.clone();
        let own = format!("/v2/images/{}", self.id);
        doc.insert("file".into(), json!(format!("{own}/file")));
        doc.insert("self".into(), json!(own));
        doc.insert("schema".into(), json!("/v2/schemas/image"));
        Value::Object(doc)
    }
}

/// A new image without data.
pub(super) fn new(id: String, owner: &str, now: Timestamp) -> Record {
    let at = time::seconds(now);
    let doc = json!({
        "id": id, "name": null, "status": "queued", "visibility": "shared", "protected": false, "os_hidden": false,
        "owner": owner, "tags": [], "disk_format": null, "container_format": null, "min_disk": 0, "min_ram": 0,
        "size": null, "virtual_size": null, "checksum": null, "os_hash_algo": null, "os_hash_value": null,
        "created_at": at, "updated_at": at,
    });
    let doc = match doc {
        Value::Object(doc) => doc,
        _ => Doc::new(),
    };
    Record {
        id,
        created: now.as_microsecond(),
        doc,
    }
}

fn read_row(mut row: Row) -> Result<Record, Failure> {
    let text: String = row.take(2)?;
    let doc = serde_json::from_str(&text).map_err(|error| ApiError::internal(&error))?;
    Ok(Record {
        id: row.take(0)?,
        created: row.take(1)?,
        doc,
    })
}

/// The image, whoever may see it.
pub(super) fn get(read: &Read<'_>, id: &str) -> Result<Option<Record>, Failure> {
    let sql = "SELECT id, created, doc FROM image_record WHERE id = ?1 AND deleted = 0";
    read.query_one(sql, params![id])?.map(read_row).transpose()
}

/// All images, newest first.
pub(super) fn all(read: &Read<'_>) -> Result<Vec<Record>, Failure> {
    let mut records = Vec::new();
    let sql = "SELECT id, created, doc FROM image_record WHERE deleted = 0 ORDER BY created DESC, id DESC";
    read.query_each::<Failure>(sql, params![], |row| {
        records.push(read_row(row)?);
        Ok(())
    })?;
    Ok(records)
}

/// The 404 for an id.
pub(super) fn missing(id: &str) -> ApiError {
    ApiError::not_found(format!("No image found with ID {id}"))
}

/// The status of a project as member of an image.
pub(super) fn membership(
    read: &Read<'_>,
    id: &str,
    project: &str,
) -> Result<Option<String>, Failure> {
    let row = read.query_one(
        "SELECT status FROM image_member WHERE image_id = ?1 AND member = ?2",
        params![id, project],
    )?;
    Ok(row.map(|mut row| row.take(0)).transpose()?)
}

/// The image, where the caller may see it; 404 else.
pub(super) fn visible(read: &Read<'_>, id: &str, asker: &Asker) -> Result<Record, Failure> {
    let record = get(read, id)?.ok_or_else(|| missing(id))?;
    let seen = asker.owns(&record)
        || match record.text("visibility") {
            "public" | "community" => true,
            "shared" => membership(read, id, &asker.project)?.is_some(),
            _ => false,
        };
    if seen {
        Ok(record)
    } else {
        Err(missing(id).into())
    }
}

/// Enters a new image; an id that was ever used is 409.
pub(super) fn insert(tx: &Tx<'_>, record: &Record) -> Result<(), Failure> {
    let done = tx.execute(
        "INSERT INTO image_record (id, created, doc) VALUES (?1, ?2, ?3)",
        params![
            &record.id,
            record.created,
            Value::Object(record.doc.clone()).to_string()
        ],
    );
    match done {
        Err(error) if error.is_constraint() => {
            Err(ApiError::conflict(format!("Image ID {} already exists!", record.id)).into())
        }
        other => Ok(other.map(drop)?),
    }
}

/// Writes a changed image.
pub(super) fn save(tx: &Tx<'_>, record: &mut Record, now: Timestamp) -> Result<(), Failure> {
    record.set("updated_at", time::seconds(now));
    tx.execute(
        "UPDATE image_record SET doc = ?2 WHERE id = ?1 AND deleted = 0",
        params![&record.id, Value::Object(record.doc.clone()).to_string()],
    )?;
    Ok(())
}

/// Deletes an image. Its id stays used.
pub(super) fn delete(tx: &Tx<'_>, id: &str) -> Result<(), Failure> {
    tx.execute(
        "UPDATE image_record SET deleted = 1, doc = NULL WHERE id = ?1",
        params![id],
    )?;
    tx.execute("DELETE FROM image_member WHERE image_id = ?1", params![id])?;
    Ok(())
}

impl Images {
    /// After a restart: uploads that were cut off can be made again, data without an image goes.
    pub(super) async fn recover(&self) -> Result<(), Failure> {
        let now = Timestamp::now();
        let records = self
            .write(move |tx| {
                let mut records = all(tx)?;
                for record in &mut records {
                    if matches!(record.status(), "saving" | "importing") {
                        record.set("status", "queued");
                        save(tx, record, now)?;
                    }
                }
                Ok(records)
            })
            .await?;
        let owners = self
            .content
            .owners()
            .await
            .map_err(super::content_failure)?;
        for owner in owners {
            let id = owner.strip_prefix(super::content::STAGED).unwrap_or(&owner);
            let status = records
                .iter()
                .find(|record| record.id == id)
                .map(Record::status);
            let kept = match status {
                Some("active" | "deactivated") => owner == id,
                Some("uploading") => owner != id,
                _ => false,
            };
            if !kept {
                self.content
                    .release(&owner)
                    .await
                    .map_err(super::content_failure)?;
            }
        }
        Ok(())
    }
}
