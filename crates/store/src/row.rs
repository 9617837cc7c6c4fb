//! Rows that a statement gave.

use crate::error::StoreError;
use crate::value::Value;

/// A row: its columns in the order of the statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub(crate) values: Vec<Value>,
}

impl Row {
    /// Takes the value of a column out of the row.
    pub fn take<T: FromValue>(&mut self, column: usize) -> Result<T, StoreError> {
        let value = self.values.get_mut(column).map(std::mem::take);
        let value = value.unwrap_or_default();
        T::from_value(value).map_err(|found| StoreError::Column {
            column,
            found,
            wanted: T::WANTED,
        })
    }

    /// Copies the value of a column.
    pub fn get<T: FromValue>(&self, column: usize) -> Result<T, StoreError> {
        let value = self.values.get(column).cloned().unwrap_or_default();
        T::from_value(value).map_err(|found| StoreError::Column {
            column,
            found,
            wanted: T::WANTED,
        })
    }
}

/// What a column can be read as.
pub trait FromValue: Sized {
    /// Its name, for errors.
    const WANTED: &'static str;

    /// Reads a value; the error names what was found instead.
    fn from_value(value: Value) -> Result<Self, &'static str>;
}

macro_rules! read {
    ($($type:ty, $wanted:literal, $pattern:pat => $give:expr;)*) => {
        $(impl FromValue for $type {
            const WANTED: &'static str = $wanted;
            fn from_value(value: Value) -> Result<Self, &'static str> {
                match value {
                    $pattern => $give,
                    other => Err(other.kind()),
                }
            }
        })*
    };
}

read! {
    i64, "a whole number", Value::Int(number) => Ok(number);
    u32, "a whole number from 0 to 4294967295", Value::Int(number) =>
        u32::try_from(number).map_err(|_| "a number out of range");
    bool, "a boolean", Value::Int(number) => Ok(number != 0);
    String, "text", Value::Text(text) => Ok(text);
    Vec<u8>, "bytes", Value::Blob(bytes) => Ok(bytes);
}

impl FromValue for f64 {
    const WANTED: &'static str = "a number";
    fn from_value(value: Value) -> Result<Self, &'static str> {
        match value {
            Value::Real(number) => Ok(number),
            Value::Int(number) => Ok(number as f64),
            other => Err(other.kind()),
        }
    }
}

impl FromValue for Value {
    const WANTED: &'static str = "anything";
    fn from_value(value: Value) -> Result<Self, &'static str> {
        Ok(value)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const WANTED: &'static str = T::WANTED;
    fn from_value(value: Value) -> Result<Self, &'static str> {
        match value {
            Value::Null => Ok(None),
            other => T::from_value(other).map(Some),
        }
    }
}
