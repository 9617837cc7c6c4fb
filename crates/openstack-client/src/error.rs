//! What can go wrong between a client and a server, with the server's own words.

use std::path::PathBuf;

use serde_json::Value;

/// Why a request was not answered as wished.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The clouds file cannot be read.
    #[error("cannot read {}", path.display())]
    CloudsFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The clouds file does not say what is needed.
    #[error("{}: {reason}", path.display())]
    CloudsFormat {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The certificates that the server is to be checked with are of no use.
    #[error("cannot use the certificates in {}: {reason}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file to send cannot be read.
    #[error("cannot read {}", path.display())]
    Upload {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The server cannot be reached, or the connection was lost.
    #[error("no answer from {url}")]
    Transport {
        /// What was asked.
        url: String,
        /// Why.
        source: Box<reqwest::Error>,
    },
    /// The catalog has no such service.
    #[error("the cloud has no service `{service}`; it has {known}")]
    NoService {
        /// What was looked for.
        service: String,
        /// What there is.
        known: String,
    },
    /// The server refused.
    #[error("{message} (HTTP {status}, {method} {url})")]
    Refused {
        /// The request's method.
        method: String,
        /// The request's address.
        url: String,
        /// The status.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// The server answered something that is no JSON.
    #[error("{url} did not answer with JSON")]
    NotJson {
        /// What was asked.
        url: String,
        /// Where and why.
        source: serde_json::Error,
    },
}

impl ClientError {
    /// The HTTP status, where there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::CloudsFile { .. }
            | Self::CloudsFormat { .. }
            | Self::Certificates { .. }
            | Self::Upload { .. }
            | Self::Transport { .. }
            | Self::NoService { .. }
            | Self::NotJson { .. } => None,
        }
    }
}

/// The sentence in an error body, in any of the forms that OpenStack's services use.
///
/// Keystone and Heat nest it in `error.message`, Ironic puts JSON text in `error_message`, Nova and Neutron have one key
/// that says what went wrong, Glance has `message`. Our seed's advice (`error.hint`) follows the sentence.
pub fn message_of(body: &str) -> String {
    let Ok(value) = serde_json::from_str::<Value>(body) else {
        return body.trim().chars().take(500).collect();
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(inner) = value.get("error_message") {
        let inner = match inner {
            Value::String(text) => {
                serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()))
            }
            other => other.clone(),
        };
        return text(&inner)
            .or_else(|| text(&inner["faultstring"]))
            .or_else(|| text(&inner["description"]))
            .unwrap_or_else(|| inner.to_string());
    }
    let error = &value["error"];
    let sentence = match (text(&error["message"]), text(&error["hint"])) {
        (Some(sentence), Some(hint)) => Some(format!("{sentence}; {hint}")),
        (sentence, _) => sentence,
    };
    sentence
        .or_else(|| text(&value["explanation"]))
        .or_else(|| {
            text(&value["message"]).map(|message| message.replace("<br />", "").trim().to_owned())
        })
        .or_else(|| {
            value
                .as_object()?
                .values()
                .find_map(|inner| text(&inner["message"]))
        })
        .unwrap_or_else(|| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expect: &str) {
        assert_eq!(message_of(body), expect);
    }

    #[test]
    fn the_words_are_found_in_every_services_form() {
        check(
            r#"{"error": {"code": 404, "message": "no user", "title": "Not Found"}}"#,
            "no user",
        );
        check(
            r#"{"error": {"message": "no parameter `a`", "hint": "did you mean `b`?"}}"#,
            "no parameter `a`; did you mean `b`?",
        );
        check(
            r#"{"error_message": "{\"faultcode\": \"Client\", \"faultstring\": \"no node\"}"}"#,
            "no node",
        );
        check(
            r#"{"message": "no image<br /><br />\n\n", "code": "404 Not Found"}"#,
            "no image",
        );
        check(
            r#"{"itemNotFound": {"code": 404, "message": "no server"}}"#,
            "no server",
        );
        check(
            r#"{"NeutronError": {"type": "X", "message": "no port"}}"#,
            "no port",
        );
        check("gateway timeout\n", "gateway timeout");
    }
}
