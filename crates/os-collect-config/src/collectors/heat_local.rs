//! Files that cfn-init wrote; later ones win, key by key.

use super::{Collected, Refusal};
use crate::settings::Settings;
use metadata::Value;
use std::path::Path;

pub(super) fn collect(settings: &Settings) -> Result<Collected, Refusal> {
    let mut all: Option<Value> = None;
    for path in settings.texts("heat_local", "path")? {
        // Upstream goes on silently without files that are missing or no JSON.
        let Some(document) = read(Path::new(&path)) else {
            continue;
        };
        match (&mut all, document) {
            (Some(Value::Map(into)), Value::Map(document)) => into.extend(document),
            (None, document) => all = Some(document),
            (Some(_), _) => {
                return Err(Refusal::unavailable(format!(
                    "Files of [heat_local] do not fit together: {path}"
                )));
            }
        }
    }
    let document = all
        .filter(Value::is_truthy)
        .ok_or(Refusal::Unavailable(None))?;
    Ok(Collected {
        documents: vec![("heat_local".to_owned(), document)],
        warnings: Vec::new(),
    })
}

fn read(path: &Path) -> Option<Value> {
    metadata::parse(&std::fs::read_to_string(path).ok()?).ok()
}
