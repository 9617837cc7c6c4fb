//! Version 2.0 of Keystone's API, for clouds that have no other.

use super::{Account, KeystoneError, Session, expiry, lacks, post, text};
use crate::http::Http;
use metadata::{Value, object};

pub(super) async fn log_in(
    http: &Http,
    account: &Account,
    root: &str,
) -> Result<Session, KeystoneError> {
    let credentials = object([
        ("userId", Value::from(account.user_id.clone())),
        ("password", Value::from(account.password.clone())),
    ]);
    let auth = object([
        ("passwordCredentials", credentials),
        ("tenantId", Value::from(account.project_id.clone())),
    ]);
    let answer = post(http, account, format!("{root}/tokens"), auth).await?;
    let document = metadata::parse(&answer.text()).map_err(|_| lacks(root, "JSON"))?;
    session(&document).ok_or_else(|| lacks(root, "token"))
}

fn session(document: &Value) -> Option<Session> {
    let access = document.get("access")?;
    let token = access.get("token")?;
    let catalog = access.get("serviceCatalog").and_then(Value::as_list);
    Some(Session {
        token: text(token, "id")?.to_owned(),
        catalog: Value::List(catalog.unwrap_or_default().iter().map(service).collect()),
        expires: expiry(text(token, "expires")),
    })
}

/// A service as the third version lists it: one entry for each interface of an endpoint.
fn service(old: &Value) -> Value {
    let endpoints = old.get("endpoints").and_then(Value::as_list);
    let public = endpoints.unwrap_or_default().iter().map(|endpoint| {
        let text = |key: &str| Value::from(text(endpoint, key));
        object([
            ("interface", Value::from("public")),
            ("region", text("region")),
            ("url", text("publicURL")),
        ])
    });
    object([
        ("type", Value::from(text(old, "type"))),
        ("endpoints", Value::List(public.collect())),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_like_one_of_version_3() {
        let text = r#"{"access": {"token": {"id": "t", "expires": "2026-11-25T08:00:00Z"}, "serviceCatalog": [
            {"type": "orchestration", "name": "heat", "endpoints": [
                {"region": "R0", "publicURL": "http://r0/v1/p/", "internalURL": "http://i"},
                {"region": "R1", "publicURL": "http://r1/v1/p"}]}]}}"#;
        let session = session(&metadata::parse(text).unwrap()).unwrap();
        assert_eq!(session.token, "t");
        assert_eq!(
            session.endpoint("orchestration", None).as_deref(),
            Some("http://r0/v1/p")
        );
        assert_eq!(
            session.endpoint("orchestration", Some("R1")).as_deref(),
            Some("http://r1/v1/p")
        );
        assert_eq!(session.endpoint("messaging", None), None);
        assert_eq!(session.expires, 1_795_593_600);
    }

    #[test]
    fn an_answer_without_a_token_is_none() {
        for text in ["{}", r#"{"access": {"token": {}}}"#, "[]"] {
            assert!(session(&metadata::parse(text).unwrap()).is_none(), "{text}");
        }
    }
}
