//! What a closure can do inside a transaction.

use std::ops::Deref;

use rusqlite::{Connection, params_from_iter};

use crate::error::StoreError;
use crate::row::Row;
use crate::value::Value;

/// A consistent state of the database, to read from.
#[derive(Debug)]
pub struct Read<'a> {
    pub(crate) connection: &'a Connection,
}

/// A transaction: reads, and what it writes is kept when the closure succeeds.
#[derive(Debug)]
pub struct Tx<'a> {
    pub(crate) read: Read<'a>,
}

impl<'a> Deref for Tx<'a> {
    type Target = Read<'a>;

    fn deref(&self) -> &Read<'a> {
        &self.read
    }
}

impl Read<'_> {
    /// All rows of a query.
    pub fn query(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        let mut all = Vec::new();
        self.query_each(sql, params, |row| {
            all.push(row);
            Ok(())
        })?;
        Ok(all)
    }

    /// The first row of a query, if it has one.
    pub fn query_one(&self, sql: &str, params: &[Value]) -> Result<Option<Row>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached(sql)
            .map_err(StoreError::sql(sql))?;
        let columns = statement.column_count();
        let mut rows = statement
            .query(params_from_iter(params))
            .map_err(StoreError::sql(sql))?;
        match rows.next().map_err(StoreError::sql(sql))? {
            Some(row) => Ok(Some(own(row, columns, sql)?)),
            None => Ok(None),
        }
    }

    /// Hands over the rows of a query one by one.
    pub fn query_each<E: From<StoreError>>(
        &self,
        sql: &str,
        params: &[Value],
        mut each: impl FnMut(Row) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut statement = self
            .connection
            .prepare_cached(sql)
            .map_err(StoreError::sql(sql))?;
        let columns = statement.column_count();
        let mut rows = statement
            .query(params_from_iter(params))
            .map_err(StoreError::sql(sql))?;
        while let Some(row) = rows.next().map_err(StoreError::sql(sql))? {
            each(own(row, columns, sql)?)?;
        }
        Ok(())
    }
}

impl Tx<'_> {
    /// Runs a statement that writes; gives the number of rows that it touched.
    pub fn execute(&self, sql: &str, params: &[Value]) -> Result<usize, StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params_from_iter(params)))
            .map_err(StoreError::sql(sql))
    }

    /// Runs an insert; gives the number (rowid) of the new row.
    pub fn insert(&self, sql: &str, params: &[Value]) -> Result<i64, StoreError> {
        self.execute(sql, params)?;
        Ok(self.connection.last_insert_rowid())
    }
}

fn own(row: &rusqlite::Row<'_>, columns: usize, sql: &str) -> Result<Row, StoreError> {
    let values = (0..columns).map(|column| row.get_ref(column).map(Value::from_sql));
    Ok(Row {
        values: values
            .collect::<Result<_, _>>()
            .map_err(StoreError::sql(sql))?,
    })
}

/// Reads in a transaction of its own, so that all queries see one state.
pub(crate) fn snapshot<T, E, F>(connection: &Connection, work: F) -> Result<T, E>
where
    F: FnOnce(&Read<'_>) -> Result<T, E>,
    E: From<StoreError>,
{
    let transaction = connection
        .unchecked_transaction()
        .map_err(StoreError::sql("BEGIN"))?;
    let result = work(&Read { connection });
    transaction
        .rollback()
        .map_err(StoreError::sql("ROLLBACK"))?;
    result
}
