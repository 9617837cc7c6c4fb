//! The bodies of the CloudFormation API: XML, or JSON for those who ask for it.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};

/// How the caller wants its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// XML, what Amazon has.
    Xml,
    /// JSON, an addition of Heat.
    Json,
}

/// An answer `<{action}Response><{action}Result>…`.
pub fn answer(form: Form, action: &str, result: Map<String, Value>) -> Response<Body> {
    let outer = format!("{action}Response");
    let inner = format!("{action}Result");
    write(form, StatusCode::OK, &json!({ outer: { inner: result } }))
}

/// A refusal.
pub fn refusal(form: Form, status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let kind = if status.is_server_error() {
        "Server"
    } else {
        "Sender"
    };
    let error = json!({ "Type": kind, "Code": code, "Message": message });
    write(
        form,
        status,
        &json!({ "ErrorResponse": { "Error": error } }),
    )
}

/// Any document.
pub fn write(form: Form, status: StatusCode, document: &Value) -> Response<Body> {
    let (kind, text) = match form {
        Form::Json => ("application/json", document.to_string()),
        Form::Xml => ("application/xml", elements(document)),
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// An object's keys become elements, a list's items `<member>`s, anything else text.
fn elements(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields =
                fields.map(|(name, inner)| format!("<{name}>{}</{name}>", elements(inner)));
            fields.collect()
        }
        Value::Array(items) => {
            let items = items.iter();
            let items = items.map(|item| format!("<member>{}</member>", elements(item)));
            items.collect()
        }
        Value::String(text) => escape(text),
        Value::Null => String::new(),
        other => escape(&other.to_string()),
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // XML 1.0 has no way to write these.
            c if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let document = json!({ "A": { "B": "<&>\u{1}", "C": [1, null] } });
        let text = "<A><B>&lt;&amp;&gt;\u{fffd}</B><C><member>1</member><member></member></C></A>";
        assert_eq!(elements(&document), text);
    }
}
