//! Which metadata documents are read, and what they say together.

use crate::ApplyError;
use metadata::{Map, Value};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Reads the documents in order and merges them; later ones win. Files that do not exist are skipped.
pub fn read_all(paths: &[PathBuf]) -> Result<Value, ApplyError> {
    let mut all = Map::new();
    for path in paths {
        // A document that is no object says nothing about keys.
        if let Some(Value::Map(document)) = read(path)? {
            metadata::merge(&mut all, &document);
        }
    }
    Ok(Value::Map(all))
}

/// Whether there is no such file, be it that a directory of its path is none.
fn is_missing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn read(path: &Path) -> Result<Option<Value>, ApplyError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(source) => {
            return Err(ApplyError::OpenMetadata {
                path: path.to_owned(),
                source,
            });
        }
    };
    let text = String::from_utf8(bytes).map_err(|_| ApplyError::EncodingMetadata {
        path: path.to_owned(),
    })?;
    metadata::parse(&text)
        .map(Some)
        .map_err(|source| ApplyError::ParseMetadata {
            path: path.to_owned(),
            source,
        })
}

/// Reads the JSON list of document names that os-collect-config keeps. No such file is an empty list.
pub fn read_list(path: &Path) -> Result<Vec<PathBuf>, ApplyError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if is_missing(&error) => return Ok(Vec::new()),
        Err(source) => {
            return Err(ApplyError::OpenMetadata {
                path: path.to_owned(),
                source,
            });
        }
    };
    let names = match metadata::parse(&text) {
        Ok(Value::List(names)) => names,
        _ => {
            return Err(ApplyError::FileList {
                path: path.to_owned(),
            });
        }
    };
    let texts = names.iter().map(|name| name.as_text().map(PathBuf::from));
    texts
        .collect::<Option<_>>()
        .ok_or_else(|| ApplyError::FileList {
            path: path.to_owned(),
        })
}

/// The object that the dotted `key` names; an empty key is the whole document.
pub fn sub_hash(document: Value, key: &str) -> Result<Value, ApplyError> {
    if key.is_empty() {
        return Ok(document);
    }
    let mut value = &document;
    for part in key.split('.') {
        value = value
            .get(part)
            .filter(|value| value.as_map().is_some())
            .ok_or_else(|| ApplyError::SubHash {
                key: key.to_owned(),
            })?;
    }
    Ok(value.clone())
}
