//! Brings the tables of each room up to date, step by step, each step once.

use rusqlite::{Connection, params};

use crate::error::StoreError;

/// The tables of one room. Steps are added at the end and never edited: databases ran them.
#[derive(Debug, Clone, Copy)]
pub struct Migrations {
    /// The room. The names of its tables start with it.
    pub room: &'static str,
    /// SQL, one text per step.
    pub steps: &'static [&'static str],
}

const OWN: &str = "
CREATE TABLE IF NOT EXISTS store_migration (
    room TEXT NOT NULL, step INTEGER NOT NULL, sql TEXT NOT NULL, PRIMARY KEY (room, step)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS store_lease (
    name TEXT PRIMARY KEY, owner TEXT NOT NULL, until INTEGER NOT NULL
) WITHOUT ROWID;";

/// Runs the steps that this database has not run; all rooms in one transaction.
pub(crate) fn run(connection: &Connection, rooms: &[Migrations]) -> Result<(), StoreError> {
    let batch = |sql: &str| connection.execute_batch(sql).map_err(StoreError::sql(sql));
    batch("BEGIN IMMEDIATE")?;
    let result = batch(OWN).and_then(|()| {
        rooms
            .iter()
            .try_for_each(|room| run_room(connection, *room))
    });
    batch(if result.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    result
}

fn run_room(connection: &Connection, room: Migrations) -> Result<(), StoreError> {
    let query = "SELECT sql FROM store_migration WHERE room = ?1 ORDER BY step";
    let done: Vec<String> = connection
        .prepare(query)
        .and_then(|mut statement| {
            let rows = statement.query_map([room.room], |row| row.get(0))?;
            rows.collect()
        })
        .map_err(StoreError::sql(query))?;
    if done.len() > room.steps.len() {
        return Err(StoreError::Newer {
            room: room.room.to_owned(),
            found: done.len(),
            known: room.steps.len(),
        });
    }
    for (at, sql) in room.steps.iter().enumerate() {
        match done.get(at) {
            Some(ran) if ran == sql => {}
            Some(_) => {
                return Err(StoreError::Changed {
                    room: room.room.to_owned(),
                    step: at + 1,
                });
            }
            None => {
                connection
                    .execute_batch(sql)
                    .map_err(StoreError::sql(sql))?;
                let note = "INSERT INTO store_migration VALUES (?1, ?2, ?3)";
                connection
                    .execute(note, params![room.room, at as i64 + 1, sql])
                    .map_err(StoreError::sql(note))?;
            }
        }
    }
    Ok(())
}
