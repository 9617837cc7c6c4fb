//! Directories of JSON files that the administrator of the node keeps.

use super::{Collected, Refusal};
use crate::settings::Settings;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

pub(super) fn collect(settings: &Settings) -> Result<Collected, Refusal> {
    let mut collected = Collected::default();
    for directory in settings.texts("local", "path")? {
        let directory = Path::new(&directory);
        if !directory.exists() {
            collected
                .warnings
                .push(format!("{} not found. Skipping", directory.display()));
            continue;
        }
        read_directory(directory, &mut collected)?;
    }
    collected.documents.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(collected)
}

/// Reads all files of one directory. Whoever else could write to it could configure the node, so it is refused then.
fn read_directory(directory: &Path, collected: &mut Collected) -> Result<(), Refusal> {
    let shown = directory.display();
    let failed = |error| Refusal::unavailable(format!("{shown} cannot be read: {error}"));
    let found = fs::metadata(directory).map_err(failed)?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(Refusal::unavailable(format!(
            "{shown} is owned by another user. This is a security risk."
        )));
    }
    if found.mode() & 0o002 != 0 {
        return Err(Refusal::unavailable(format!(
            "{shown} is world writable. This is a security risk."
        )));
    }
    let entries: Result<Vec<_>, _> = fs::read_dir(directory).map_err(failed)?.collect();
    let mut names: Vec<_> = entries
        .map_err(failed)?
        .into_iter()
        .map(|entry| entry.file_name())
        .collect();
    names.sort();
    for name in names {
        let path = directory.join(&name);
        let name = name.to_string_lossy().into_owned();
        if name.starts_with('.') || path.is_dir() {
            continue;
        }
        let shown = path.display();
        let failed = |error| Refusal::unavailable(format!("{shown} cannot be read: {error}"));
        if fs::metadata(&path).map_err(failed)?.mode() & 0o002 != 0 {
            return Err(Refusal::unavailable(format!(
                "{shown} is world writable. This is a security risk."
            )));
        }
        let text = fs::read(&path).map_err(failed)?;
        let document = std::str::from_utf8(&text).map_err(|error| error.to_string());
        let document =
            document.and_then(|text| metadata::parse(text).map_err(|error| error.to_string()));
        let document = document.map_err(|error| {
            Refusal::unavailable(format!("{shown} is not valid JSON ({error})"))
        })?;
        collected.documents.push((name, document));
    }
    Ok(())
}
