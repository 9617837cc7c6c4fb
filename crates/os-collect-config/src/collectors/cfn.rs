//! Heat's CloudFormation API, with signed requests.

use super::{Collected, Context, Refusal, timeout};
use crate::http::{Ask, Trust};
use base64::Engine as _;
use hmac::{Hmac, Mac as _};
use metadata::{Map, Value};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;

/// Signed text keeps only what RFC 3986 calls unreserved.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

pub(super) async fn collect(context: &mut Context<'_>) -> Result<Collected, Refusal> {
    let settings = context.settings;
    let hint = settings.main_hint()?;
    let url = match settings.address("cfn", "metadata_url")? {
        Some(url) => url,
        None => hint.ok_or_else(|| missing("metadata_url"))?,
    };
    let access = settings
        .filled("cfn", "access_key_id")?
        .ok_or_else(|| missing("access_key_id"))?;
    let secret = settings
        .filled("cfn", "secret_access_key")?
        .ok_or_else(|| missing("secret_access_key"))?;
    let paths = settings.texts("cfn", "path")?;
    if paths.is_empty() {
        return Err(missing("path"));
    }
    let trust = settings
        .filled("cfn", "ca_certificate")?
        .map(|path| Trust::File(path.into()))
        .unwrap_or_default();
    let timeout = timeout(settings, "cfn")?;
    let stack = settings.text("cfn", "stack_name")?;
    let mut all = Map::new();
    for path in paths {
        let Some((resource, field)) = path.split_once('.') else {
            let text = format!("Path not in format resource.field[.x.y] ({path})");
            return Err(Refusal::NotConfigured(Some(text)));
        };
        let mut parameters = vec![
            ("Action", "DescribeStackResource".to_owned()),
            ("LogicalResourceId", resource.to_owned()),
            ("AWSAccessKeyId", access.clone()),
            ("SignatureVersion", "2".to_owned()),
            ("SignatureMethod", "HmacSHA256".to_owned()),
        ];
        parameters.extend(stack.clone().map(|stack| ("StackName", stack)));
        let signed = sign(&url, parameters, &secret).map_err(Refusal::unavailable)?;
        let ask = Ask::get(signed, timeout)
            .header("content-type", "application/json")
            .trust(trust.clone());
        let answer = context
            .http
            .send(ask)
            .await
            .and_then(|answer| answer.successful());
        let text = answer.map_err(Refusal::unavailable)?.text();
        all.extend(
            member(&text, field).map_err(|why| Refusal::unavailable(format!("{path}: {why}")))?,
        );
    }
    let keys = settings.texts("cfn", "deployment_key")?;
    Ok(Collected::split("cfn", Value::Map(all), &keys))
}

fn missing(name: &str) -> Refusal {
    Refusal::NotConfigured(Some(format!("No {name} configured.")))
}

impl crate::settings::Settings {
    /// The API's address that heat-cfntools left in a file.
    fn main_hint(&self) -> Result<Option<String>, crate::settings::SettingsError> {
        let path = self.filled("cfn", "heat_metadata_hint")?;
        let text = path.and_then(|path| std::fs::read_to_string(path).ok());
        Ok(text.map(|text| format!("{}/v1/", text.trim_end().trim_end_matches('/'))))
    }
}

/// The address of the request with its signature, version 2 of Amazon's scheme.
fn sign(url: &str, mut parameters: Vec<(&str, String)>, secret: &str) -> Result<String, String> {
    let parsed = url::Url::parse(url).map_err(|error| format!("{url}: {error}"))?;
    let host = parsed.host_str().unwrap_or_default();
    let host = parsed
        .port()
        .map_or(host.to_owned(), |port| format!("{host}:{port}"));
    parameters.sort();
    let encoded = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
    let pairs = parameters
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    let query = pairs.collect::<Vec<_>>().join("&");
    let text = format!("GET\n{host}\n{}\n{query}", parsed.path());
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|error| error.to_string())?;
    mac.update(text.as_bytes());
    let signature = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    let base = url.split(['?', '#']).next().unwrap_or(url);
    Ok(format!("{base}?{query}&Signature={}", encoded(&signature)))
}

/// The object at `field`, which may go on below the JSON text of the answer's element.
fn member(xml: &str, field: &str) -> Result<Map, String> {
    let document = roxmltree::Document::parse(xml).map_err(|error| format!("no XML: {error}"))?;
    let (name, below) = field.split_once('.').unwrap_or((field, ""));
    let child = |node: roxmltree::Node<'_, '_>, name: &str| {
        node.children()
            .find(|child| child.tag_name().name() == name)
            .map(|node| node.id())
    };
    let element = child(document.root_element(), "DescribeStackResourceResult")
        .and_then(|id| child(document.get_node(id)?, "StackResourceDetail"))
        .and_then(|id| child(document.get_node(id)?, name))
        .and_then(|id| document.get_node(id));
    let text = element
        .and_then(|element| element.text())
        .ok_or_else(|| format!("the answer has no {name}"))?;
    let mut value = metadata::parse(text).map_err(|error| format!("{name} is no JSON: {error}"))?;
    for key in below.split('.').filter(|_| !below.is_empty()) {
        value = value
            .get(key)
            .cloned()
            .ok_or_else(|| format!("there is no `{key}`"))?;
    }
    match value {
        Value::Map(map) => Ok(map),
        Value::List(items) if items.is_empty() => Ok(Map::new()),
        _ => Err("it is no JSON object".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_of_a_known_request() {
        // Computed with botocore's version 2 signer for the same request.
        let parameters = vec![
            ("Action", "DescribeStackResource".to_owned()),
            ("StackName", "a b~*".to_owned()),
        ];
        let url = sign("http://127.0.0.1:8000/v1/", parameters, "topsecret").unwrap();
        assert!(url.starts_with(
            "http://127.0.0.1:8000/v1/?Action=DescribeStackResource&StackName=a%20b~%2A&Signature="
        ));
    }

    #[test]
    fn members() {
        let xml = "<R><DescribeStackResourceResult><StackResourceDetail><Metadata>{\"a\": {\"b\": {\"c\": 1}}}</Metadata>\
                   </StackResourceDetail></DescribeStackResourceResult></R>";
        assert_eq!(
            Value::Map(member(xml, "Metadata").unwrap()).to_json(),
            r#"{"a": {"b": {"c": 1}}}"#
        );
        assert_eq!(
            Value::Map(member(xml, "Metadata.a.b").unwrap()).to_json(),
            r#"{"c": 1}"#
        );
        assert_eq!(member(xml, "Metadata.").unwrap().len(), 1);
        for wrong in ["Metadata.x", "Other", "Metadata.a.b.c"] {
            assert!(member(xml, wrong).is_err(), "{wrong}");
        }
        assert!(member("no xml", "Metadata").is_err());
    }
}
