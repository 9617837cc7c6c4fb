//! Version 3 of Keystone's API.

use super::{Account, KeystoneError, Session, expiry, lacks, post, text};
use crate::http::Http;
use metadata::{Value, object};

pub(super) async fn log_in(
    http: &Http,
    account: &Account,
    root: &str,
) -> Result<Session, KeystoneError> {
    let user = object([
        ("id", Value::from(account.user_id.clone())),
        ("password", Value::from(account.password.clone())),
    ]);
    let identity = object([
        ("methods", Value::from(vec!["password"])),
        ("password", object([("user", user)])),
    ]);
    let project = object([("id", Value::from(account.project_id.clone()))]);
    let auth = object([
        ("identity", identity),
        ("scope", object([("project", project)])),
    ]);
    let answer = post(http, account, format!("{root}/auth/tokens"), auth).await?;
    let token = answer
        .header("x-subject-token")
        .ok_or_else(|| lacks(root, "token"))?
        .to_owned();
    let document = metadata::parse(&answer.text()).map_err(|_| lacks(root, "JSON"))?;
    let details = document.get("token");
    let catalog = details
        .and_then(|details| details.get("catalog"))
        .cloned()
        .unwrap_or(Value::Null);
    Ok(Session {
        token,
        catalog,
        expires: expiry(details.and_then(|details| text(details, "expires_at"))),
    })
}
