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
            // An empty document of any kind adds nothing.
            (Some(_), document) if !document.is_truthy() => {}
            (Some(_), _) => {
                return Err(Refusal::unavailable(format!(
                    "Files of [heat_local] do not fit together: {path}"
                )));
            }
            (None, document) => all = Some(document).filter(Value::is_truthy),
        }
    }
    let document = all.ok_or(Refusal::Unavailable(None))?;
    Ok(Collected {
        documents: vec![("heat_local".to_owned(), document)],
        warnings: Vec::new(),
    })
}

fn read(path: &Path) -> Option<Value> {
    metadata::parse(&std::fs::read_to_string(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Asked;

    #[track_caller]
    fn check(texts: &[&str], expect: Option<&str>) {
        let root = tempfile::tempdir().unwrap();
        let mut arguments = vec!["--config-file".to_owned(), "/dev/null".to_owned()];
        for (n, text) in texts.iter().enumerate() {
            let path = root.path().join(n.to_string());
            std::fs::write(&path, text).unwrap();
            arguments.extend(["--heat_local-path".to_owned(), path.display().to_string()]);
        }
        let Ok(Asked::Work(settings)) = Settings::read(&arguments, &|_| None) else {
            panic!("the settings are good");
        };
        let found = collect(&settings).ok();
        let found = found.map(|collected| collected.documents[0].1.to_json());
        assert_eq!(found.as_deref(), expect);
    }

    #[test]
    fn later_files_win_and_empty_ones_add_nothing() {
        let one = r#"{"a": 1, "b": 1}"#;
        check(&[one, r#"{"b": 2}"#], Some(r#"{"a": 1, "b": 2}"#));
        check(&["[]", "null", one, r#""""#, "bad"], Some(one));
        check(&["[1]"], Some("[1]"));
        check(&[one, "[1]"], None);
        check(&["{}", "0"], None);
    }
}
