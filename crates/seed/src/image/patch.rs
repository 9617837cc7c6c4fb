//! JSON patches of images, in both forms that the API ever had. All or nothing.

use openstack_api::ApiError;
use serde_json::{Map, Value};

use super::Asker;
use super::fields::{self, Place};
use super::record::Record;

/// The two forms of patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `{"replace": "/name", "value": …}`.
    V20,
    /// `{"op": "replace", "path": "/name", "value": …}`.
    V21,
}

impl Form {
    /// The form that a content type names.
    pub(super) fn of(content_type: &str) -> Option<Self> {
        match content_type {
            "application/openstack-images-v2.0-json-patch" => Some(Form::V20),
            "application/openstack-images-v2.1-json-patch" => Some(Form::V21),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Add,
    Replace,
    Remove,
}

struct Change {
    op: Op,
    name: String,
    value: Value,
}

/// Applies a patch.
pub(super) fn apply(
    record: &mut Record,
    form: Form,
    body: &Value,
    asker: &Asker,
) -> Result<(), ApiError> {
    let list = body.as_array().ok_or_else(|| {
        ApiError::bad_request("Request body must be a JSON array of operation objects.")
    })?;
    let changes = list
        .iter()
        .map(|item| parse(form, item))
        .collect::<Result<Vec<_>, _>>()?;
    for change in changes {
        one(record, change, asker)?;
    }
    Ok(())
}

fn parse(form: Form, item: &Value) -> Result<Change, ApiError> {
    let item = item
        .as_object()
        .ok_or_else(|| ApiError::bad_request("Operations must be JSON objects."))?;
    let (op, path) = match form {
        Form::V21 => {
            let word = item.get("op").and_then(Value::as_str).unwrap_or_default();
            let path = item.get("path").and_then(Value::as_str);
            let path = path.ok_or_else(|| {
                ApiError::bad_request("Unable to find 'path' in JSON Schema change")
            })?;
            (operation(word)?, path)
        }
        Form::V20 => v20(item)?,
    };
    let value = match (op, item.get("value")) {
        (Op::Remove, _) => Value::Null,
        (_, Some(value)) => value.clone(),
        (_, None) => return Err(ApiError::bad_request("Operation must contain a value.")),
    };
    Ok(Change {
        op,
        name: property(path)?,
        value,
    })
}

fn operation(word: &str) -> Result<Op, ApiError> {
    match word {
        "add" => Ok(Op::Add),
        "replace" => Ok(Op::Replace),
        "remove" => Ok(Op::Remove),
        _ => Err(ApiError::bad_request(format!(
            "Operations must be one of add, replace, remove, not `{word}`."
        ))),
    }
}

fn v20(item: &Map<String, Value>) -> Result<(Op, &str), ApiError> {
    for (word, op) in [
        ("add", Op::Add),
        ("replace", Op::Replace),
        ("remove", Op::Remove),
    ] {
        if let Some(path) = item.get(word) {
            let path = path
                .as_str()
                .ok_or_else(|| ApiError::bad_request("The path must be a text."))?;
            return Ok((op, path));
        }
    }
    Err(ApiError::bad_request(
        "Operations must be one of add, replace, remove.",
    ))
}

/// The property that a JSON pointer names; there is nothing below properties.
fn property(path: &str) -> Result<String, ApiError> {
    let bad = |why: &str| {
        ApiError::bad_request(format!(
            "Invalid JSON pointer for this resource: '{path}': {why}."
        ))
    };
    let name = path
        .strip_prefix('/')
        .ok_or_else(|| bad("it must begin with a slash"))?;
    if name.is_empty() {
        return Err(bad("it names no property"));
    }
    if name.contains('/') {
        return Err(bad("it has more than one part"));
    }
    let plain = name.replace("~1", "/").replace("~0", "~");
    if name.replace("~0", "").replace("~1", "").contains('~') {
        return Err(bad("a tilde must be written ~0"));
    }
    Ok(plain)
}

fn one(record: &mut Record, change: Change, asker: &Asker) -> Result<(), ApiError> {
    let Change { op, name, value } = change;
    match (fields::place(&name), op) {
        (Place::ReadOnly, _) => return Err(fields::read_only(&name)),
        (Place::Core, Op::Remove) => {
            return Err(ApiError::forbidden(format!(
                "Property {name} may not be removed."
            )));
        }
        (Place::Core, Op::Add | Op::Replace) => return core(record, &name, value, asker),
        (Place::Custom, Op::Add) => {}
        (Place::Custom, Op::Replace | Op::Remove) if !record.doc.contains_key(&name) => {
            return Err(ApiError::conflict(format!(
                "Property {name} does not exist."
            )));
        }
        (Place::Custom, Op::Replace) => {}
        (Place::Custom, Op::Remove) => {
            record.doc.remove(&name);
            return Ok(());
        }
    }
    let value = fields::check(&name, value)?;
    record.set(&name, value);
    Ok(())
}

fn core(record: &mut Record, name: &str, value: Value, asker: &Asker) -> Result<(), ApiError> {
    let value = fields::check(name, value)?;
    let same = record.doc.get(name) == Some(&value);
    match name {
        "id" => return Err(fields::read_only(name)),
        "owner" if !asker.admin && !same => {
            return Err(ApiError::forbidden(
                "Only an admin gives an image to another project.",
            ));
        }
        "visibility" if value == "public" && !asker.admin => {
            return Err(ApiError::forbidden(
                "You are not authorized to publicize this image.",
            ));
        }
        "disk_format" | "container_format" if record.status() != "queued" && !same => {
            return Err(ApiError::forbidden(format!(
                "Attribute {name} can be only replaced for a queued image."
            )));
        }
        _ => {}
    }
    record.set(name, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(patch: Value, expect: Result<(&str, Value), u16>) {
        let mut record = super::super::record::new("i".into(), "p", jiff::Timestamp::UNIX_EPOCH);
        record.set("status", "active");
        record.set("colour", "red");
        let asker = Asker {
            project: "p".into(),
            admin: false,
            writer: true,
        };
        let done =
            apply(&mut record, Form::V21, &patch, &asker).map_err(|error| error.status.as_u16());
        match expect {
            Ok((name, value)) => {
                assert_eq!(done, Ok(()));
                assert_eq!(record.doc.get(name).cloned().unwrap_or_default(), value);
            }
            Err(status) => assert_eq!(done, Err(status), "{patch}"),
        }
    }

    fn op(op: &str, path: &str) -> Value {
        json!([{"op": op, "path": path, "value": "x"}])
    }

    #[test]
    fn operations() {
        check(op("replace", "/name"), Ok(("name", json!("x"))));
        check(op("add", "/colour"), Ok(("colour", json!("x"))));
        check(op("add", "/a~1b~0c"), Ok(("a/b~c", json!("x"))));
        check(op("remove", "/colour"), Ok(("colour", Value::Null)));
        check(json!([]), Ok(("colour", json!("red"))));
        check(op("replace", "/size"), Err(403));
        check(op("remove", "/name"), Err(403));
        check(op("replace", "/none"), Err(409));
        check(op("remove", "/none"), Err(409));
        check(op("test", "/name"), Err(400));
        check(op("replace", "name"), Err(400));
        check(op("replace", "/a/b"), Err(400));
        check(op("replace", "/a~2"), Err(400));
        check(json!([{"op": "replace", "path": "/name"}]), Err(400));
        check(json!({"op": "replace"}), Err(400));
        check(
            json!([{"op": "replace", "path": "/disk_format", "value": "raw"}]),
            Err(403),
        );
        check(
            json!([{"op": "replace", "path": "/visibility", "value": "public"}]),
            Err(403),
        );
        check(
            json!([{"op": "replace", "path": "/owner", "value": "q"}]),
            Err(403),
        );
    }
}
