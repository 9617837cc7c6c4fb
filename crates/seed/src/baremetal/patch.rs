//! JSON patches as this API takes them: `add`, `replace` and `remove` on plain paths, all or nothing.

use baremetal::Object;
use openstack_api::{ApiError, Microversion};
use serde_json::{Value, json};

use super::schema::{Field, Kind, field, too_new, value_of};

/// One operation.
struct Change {
    op: Op,
    path: Vec<String>,
    value: Value,
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum Op {
    Add,
    Replace,
    Remove,
}

/// A checked patch.
pub(super) struct Patch {
    changes: Vec<Change>,
    table: &'static [Field],
}

impl Patch {
    /// Reads a patch and checks that all that it names may be patched.
    pub(super) fn read(
        table: &'static [Field],
        body: &Value,
        version: Microversion,
    ) -> Result<Self, ApiError> {
        let Value::Array(items) = body else {
            return Err(ApiError::bad_request("A JSON patch, a list, is expected."));
        };
        let mut changes = Vec::new();
        for item in items {
            let change = change_of(item)?;
            let name = &change.path[0];
            let known = field(table, name).filter(|field| field.patch);
            let Some(known) = known else {
                let patchable: Vec<&str> = table
                    .iter()
                    .filter(|field| field.patch)
                    .map(|field| field.name)
                    .collect();
                return Err(ApiError::bad_request(format!(
                    "'/{name}' is an attribute that can not be patched. These can: {}",
                    patchable.join(", ")
                )));
            };
            if version.minor < known.since {
                return Err(too_new(name));
            }
            if change.path.len() > 1 && !matches!(known.kind, Kind::Object | Kind::LocalLink) {
                return Err(ApiError::bad_request(format!(
                    "'/{}' leads into an attribute that has no parts.",
                    change.path.join("/")
                )));
            }
            changes.push(change);
        }
        Ok(Self { changes, table })
    }

    /// Names of the fields that it touches.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.changes.iter().map(|change| change.path[0].as_str())
    }

    /// Applies it to a document of fields; those that were touched are checked afterwards.
    pub(super) fn apply(&self, document: &mut Object) -> Result<(), ApiError> {
        for change in &self.changes {
            one(self.table, document, change)?;
        }
        for name in self.fields() {
            let (Some(known), Some(value)) = (field(self.table, name), document.get(name)) else {
                continue;
            };
            let value = value_of(known, value.clone())?;
            document.insert(name.to_owned(), value);
        }
        Ok(())
    }
}

fn change_of(item: &Value) -> Result<Change, ApiError> {
    let wrong = |why: &str| ApiError::bad_request(format!("Invalid patch {item}: {why}"));
    let op = match item["op"].as_str() {
        Some("add") => Op::Add,
        Some("replace") => Op::Replace,
        Some("remove") => Op::Remove,
        _ => return Err(wrong("`op` must be one of add, replace, remove")),
    };
    let path = item["path"].as_str().unwrap_or_default();
    let parts: Vec<String> = path.split('/').skip(1).map(str::to_owned).collect();
    let plain = |part: &String| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_alphanumeric() || c == '_' || c == '-')
    };
    if !path.starts_with('/') || parts.is_empty() || !parts.iter().all(plain) {
        return Err(wrong("`path` must be like /a or /a/b"));
    }
    let value = match (op, item.get("value")) {
        (Op::Remove, _) => Value::Null,
        (Op::Add | Op::Replace, Some(value)) => value.clone(),
        (Op::Add | Op::Replace, None) => return Err(wrong("`value` is missing")),
    };
    Ok(Change {
        op,
        path: parts,
        value,
    })
}

fn one(table: &'static [Field], document: &mut Object, change: &Change) -> Result<(), ApiError> {
    let missing = || {
        ApiError::bad_request(format!(
            "Couldn't apply patch: there is no '/{}'",
            change.path.join("/")
        ))
    };
    let name = &change.path[0];
    if change.path.len() == 1 {
        let value = match change.op {
            Op::Add | Op::Replace => change.value.clone(),
            Op::Remove => field(table, name)
                .and_then(reset)
                .ok_or_else(|| ApiError::bad_request(format!("'/{name}' can not be removed.")))?,
        };
        document.insert(name.clone(), value);
        return Ok(());
    }
    let mut at = document.get_mut(name).ok_or_else(missing)?;
    let (last, between) = change.path[1..].split_last().ok_or_else(missing)?;
    for part in between {
        at = match at {
            Value::Object(map) => map.get_mut(part),
            Value::Array(list) => part.parse::<usize>().ok().and_then(|i| list.get_mut(i)),
            _ => None,
        }
        .ok_or_else(missing)?;
    }
    match at {
        Value::Object(map) => match change.op {
            Op::Add => drop(map.insert(last.clone(), change.value.clone())),
            Op::Replace => *map.get_mut(last).ok_or_else(missing)? = change.value.clone(),
            Op::Remove => drop(map.shift_remove(last).ok_or_else(missing)?),
        },
        Value::Array(list) => in_list(list, last, change).ok_or_else(missing)?,
        _ => return Err(missing()),
    }
    Ok(())
}

fn in_list(list: &mut Vec<Value>, last: &str, change: &Change) -> Option<()> {
    let index = match last {
        "-" => list.len(),
        other => other.parse().ok()?,
    };
    match change.op {
        Op::Add if index <= list.len() => list.insert(index, change.value.clone()),
        Op::Replace => *list.get_mut(index)? = change.value.clone(),
        Op::Remove if index < list.len() => drop(list.remove(index)),
        Op::Add | Op::Remove => return None,
    }
    Some(())
}

/// What a field is when nobody set it; none: it must be set.
fn reset(field: &Field) -> Option<Value> {
    match field.kind {
        Kind::Object | Kind::LocalLink => Some(json!({})),
        Kind::List => Some(json!([])),
        Kind::Bool => Some(json!(false)),
        Kind::Text(_) if field.name == "conductor_group" => Some(json!("")),
        Kind::Text(_) | Kind::Name | Kind::MaybeBool | Kind::MaybeId | Kind::Mac(true) => {
            Some(Value::Null)
        }
        Kind::Word | Kind::Id | Kind::Mac(false) | Kind::Time => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::NODE;
    use super::*;

    fn run(patch: Value) -> Result<Object, ApiError> {
        let document = json!({"name": "a", "extra": {"k": {"list": [1, 2]}}, "driver": "d"});
        let mut document = document.as_object().expect("an object").clone();
        Patch::read(NODE, &patch, Microversion::new(1, 81))?.apply(&mut document)?;
        Ok(document)
    }

    #[test]
    fn parts_are_changed() {
        let done = run(json!([
            {"op": "add", "path": "/extra/k/list/-", "value": 3},
            {"op": "remove", "path": "/name"},
            {"op": "replace", "path": "/extra/k/list/0", "value": 0},
        ]))
        .expect("a good patch");
        assert_eq!(done["extra"]["k"]["list"], json!([0, 2, 3]));
        assert_eq!(done["name"], Value::Null);
    }

    #[test]
    fn what_may_not_be_is_refused() {
        for patch in [
            json!([{"op": "remove", "path": "/driver"}]),
            json!([{"op": "remove", "path": "/extra/none"}]),
            json!([{"op": "replace", "path": "/extra/none", "value": 1}]),
            json!([{"op": "add", "path": "/extra/a~1b", "value": 1}]),
            json!([{"op": "add", "path": "/name/x", "value": 1}]),
            json!([{"op": "replace", "path": "/uuid", "value": "x"}]),
            json!([{"op": "add", "path": "/extra/k/list/9", "value": 1}]),
            json!({"name": "x"}),
        ] {
            let error = run(patch.clone()).expect_err("a bad patch");
            assert_eq!(error.status, http::StatusCode::BAD_REQUEST, "{patch}");
        }
    }
}
