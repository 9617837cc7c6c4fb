//! Cuts the deployments out of a document: each that os-apply-config shall see becomes a document of its own.

use metadata::Value;

/// A key and its document.
pub type Document = (String, Value);

/// Groups whose configuration is metadata for os-apply-config.
const GROUPS: [&str; 2] = ["Heat::Ungrouped", "os-apply-config"];

/// The document `source` itself, then its deployments, and warnings about those that cannot be used.
pub(crate) fn split(
    source: &str,
    document: Value,
    keys: &[String],
) -> (Vec<Document>, Vec<String>) {
    let mut found = Vec::new();
    let mut warnings = Vec::new();
    for key in keys {
        let Some(list) = document.get(key) else {
            continue;
        };
        let Some(list) = list.as_list() else {
            warnings.push(format!(
                "Deployments under `{key}` of [{source}] are not a list"
            ));
            continue;
        };
        for deployment in list {
            match one(deployment) {
                Ok(Some(document)) => found.push(document),
                Ok(None) => {}
                Err(why) => warnings.push(format!(
                    "Deployment under `{key}` of [{source}] skipped: {why}"
                )),
            }
        }
    }
    let mut documents = vec![(source.to_owned(), document)];
    documents.extend(found);
    (documents, warnings)
}

fn one(deployment: &Value) -> Result<Option<Document>, String> {
    let grouped = match deployment.get("group") {
        None => true,
        Some(group) => group.as_text().is_some_and(|group| GROUPS.contains(&group)),
    };
    if !grouped {
        return Ok(None);
    }
    let name = deployment
        .get("name")
        .and_then(Value::as_text)
        .ok_or("it has no name")?;
    // The name becomes a file name in the cache, and nothing outside of it.
    if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
        return Err(format!("`{name}` cannot be a file name"));
    }
    let config = deployment
        .get("config")
        .ok_or_else(|| format!("`{name}` has no config"))?;
    Ok(Some((name.to_owned(), config.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_name_leaves_the_directory(name in "[./a\\x00\u{e9}-]{0,6}", group in "(null|\"os-apply-config\"|1|\\[\\])") {
            let deployment = metadata::object([
                ("name", Value::from(name)),
                ("group", metadata::parse(&group).unwrap()),
                ("config", Value::Null),
            ]);
            let document = metadata::object([("d", Value::List(vec![deployment, Value::Null]))]);
            let (documents, _) = split("src", document, &["d".to_owned()]);
            for (name, _) in documents {
                let mut parts = std::path::Path::new(&name).components();
                let first = parts.next();
                proptest::prop_assert!(matches!(first, Some(std::path::Component::Normal(_))), "{name}");
                proptest::prop_assert!(parts.next().is_none() && !name.contains('\0'), "{name}");
            }
        }
    }

    #[test]
    fn groups_names_and_order() {
        let document = metadata::parse(
            r#"{"deployments":[{"name":"a","config":{"x":1}},{"name":"b","group":"script","config":"x"},
                {"name":"c","group":"os-apply-config","config":{}},{"name":"d","group":null,"config":{}},
                {"name":"e","group":"Heat::Ungrouped","config":{}},{"config":{}},{"name":"f"},
                {"name":"../evil","config":{}}], "other":[{"name":"g","config":1}], "bad": {}}"#,
        )
        .unwrap();
        let keys = ["other", "deployments", "bad", "none"].map(str::to_owned);
        let (documents, warnings) = split("src", document, &keys);
        let names: Vec<&str> = documents.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["src", "g", "a", "c", "e"]);
        assert_eq!(warnings.len(), 4, "{warnings:?}");
    }
}
