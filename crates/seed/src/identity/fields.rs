//! Checks the fields of request bodies. Every refusal names the field.

use openstack_api::ApiError;
use serde_json::Value;

use super::object::{Doc, Kind};

/// Takes the document of `kind` out of a body such as `{"project": {…}}`.
pub(crate) fn document(body: Value, kind: Kind) -> Result<Doc, ApiError> {
    let key = kind.one();
    match body {
        Value::Object(mut outer) => match outer.remove(key) {
            Some(Value::Object(doc)) => Ok(doc),
            Some(_) => Err(ApiError::bad_request(format!(
                "Invalid input for field '{key}': it is not an object."
            ))),
            None => Err(ApiError::bad_request(format!(
                "'{key}' is a required property"
            ))),
        },
        _ => Err(ApiError::bad_request(format!(
            "The body must be an object with the property '{key}'."
        ))),
    }
}

fn wrong(key: &str, value: &Value, wanted: &str) -> ApiError {
    let mut shown = value.to_string();
    if let Some((end, _)) = shown.char_indices().nth(60) {
        shown.truncate(end);
        shown.push('…');
    }
    ApiError::bad_request(format!(
        "Invalid input for field '{key}': {shown} is not {wanted}."
    ))
}

/// A name: text with something in it, of at most `max` characters. `None` where it is not given and not `required`.
pub(crate) fn name(
    doc: &Doc,
    key: &str,
    max: usize,
    required: bool,
) -> Result<Option<String>, ApiError> {
    match doc.get(key) {
        None if required => Err(ApiError::bad_request(format!(
            "'{key}' is a required property"
        ))),
        None => Ok(None),
        Some(Value::String(text)) if !text.trim().is_empty() && text.chars().count() <= max => {
            Ok(Some(text.clone()))
        }
        Some(value) => Err(wrong(
            key,
            value,
            &format!("a text of 1 to {max} characters"),
        )),
    }
}

/// A text that may be absent or null.
pub(crate) fn optional_text(doc: &Doc, key: &str) -> Result<Option<String>, ApiError> {
    match doc.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(value) => Err(wrong(key, value, "a text")),
    }
}

/// A boolean that may be absent.
pub(crate) fn boolean(doc: &Doc, key: &str) -> Result<Option<bool>, ApiError> {
    match doc.get(key) {
        None => Ok(None),
        Some(Value::Bool(truth)) => Ok(Some(*truth)),
        Some(value) => Err(wrong(key, value, "a boolean")),
    }
}

/// An object that may be absent.
pub(crate) fn object(doc: &Doc, key: &str) -> Result<(), ApiError> {
    match doc.get(key) {
        None | Some(Value::Object(_)) => Ok(()),
        Some(value) => Err(wrong(key, value, "an object")),
    }
}

/// Tags: distinct texts without `/` and `,`.
pub(crate) fn tags(doc: &Doc) -> Result<Option<Vec<String>>, ApiError> {
    let Some(value) = doc.get("tags") else {
        return Ok(None);
    };
    let Some(list) = value.as_array() else {
        return Err(wrong("tags", value, "a list of texts"));
    };
    let mut tags: Vec<String> = Vec::new();
    for item in list {
        match item.as_str() {
            Some(tag) if is_tag(tag) => {
                if !tags.iter().any(|known| known == tag) {
                    tags.push(tag.to_owned());
                }
            }
            _ => {
                return Err(wrong(
                    "tags",
                    item,
                    "a tag (1 to 255 characters, no comma, no slash)",
                ));
            }
        }
    }
    if tags.len() > 80 {
        return Err(ApiError::bad_request(
            "Invalid input for field 'tags': more than 80 tags.",
        ));
    }
    Ok(Some(tags))
}

/// Whether a text can be a tag.
pub(crate) fn is_tag(tag: &str) -> bool {
    !tag.is_empty() && tag.chars().count() <= 255 && !tag.contains(['/', ','])
}

/// Refuses to change a field that is fixed once the object exists.
pub(crate) fn fixed(doc: &Doc, change: &Doc, key: &str) -> Result<(), ApiError> {
    match change.get(key) {
        Some(value) if Some(value) != doc.get(key) => Err(ApiError::bad_request(format!(
            "Cannot change {key} of {}.",
            super::object::text(doc, "id")
        ))),
        _ => Ok(()),
    }
}
