//! Messages of a Zaqar queue.
//!
//! A message is taken out of the queue when it is read, so it is kept until it was applied: a command that fails gets
//! it again.

use super::{Collected, Context, Refusal, kept, needed};
use crate::http::{Ask, Trust};
use crate::keystone::{Account, Sessions};
use metadata::Value;
use reqwest::Method;
use std::time::Duration;

/// Zaqar gets this long to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What is remembered between passes.
#[derive(Default)]
pub(crate) struct Source {
    sessions: Sessions,
    client: Option<uuid::Uuid>,
}

pub(super) async fn collect(context: &mut Context<'_>) -> Result<Collected, Refusal> {
    let settings = context.settings;
    let need = |name: &str| needed(settings, "zaqar", name);
    let auth_url = need("auth_url")?;
    let password = need("password")?;
    let project_id = need("project_id")?;
    let user_id = need("user_id")?;
    let queue = need("queue_id")?;
    let ca = settings.filled("zaqar", "ca_file")?;
    if settings.switch("zaqar", "ssl_certificate_validation")? && ca.is_none() {
        return Err(Refusal::NotConfigured(Some(
            "No CA file configured when flag ssl_certificate_validation is on.".to_owned(),
        )));
    }
    if settings.switch("zaqar", "use_websockets")? {
        return Err(Refusal::unavailable(
            "A queue cannot be read over a websocket yet; unset use_websockets.",
        ));
    }
    let trust = ca.map(|path| Trust::File(path.into())).unwrap_or_default();
    let account = Account {
        auth_url,
        user_id,
        password,
        project_id: project_id.clone(),
        trust: trust.clone(),
    };
    let region = settings.filled("zaqar", "region_name")?;
    let source = &mut context.state.zaqar;
    let kept = kept(settings)?;
    let session = source
        .sessions
        .get(context.http, &account, kept.as_ref())
        .await
        .map_err(Refusal::unavailable)?;
    let endpoint = session
        .endpoint("messaging", region.as_deref())
        .ok_or_else(|| {
            Refusal::unavailable("Keystone's catalog has no public endpoint of messaging")
        })?;
    let client = *source.client.get_or_insert_with(uuid::Uuid::new_v4);
    let root = if endpoint.ends_with("/v2") {
        endpoint
    } else {
        format!("{endpoint}/v2")
    };
    let ask = Ask::get(format!("{root}/queues/{queue}/messages?pop=1"), TIMEOUT)
        .method(Method::DELETE)
        .header("x-auth-token", &session.token)
        .header("x-project-id", project_id)
        .header("client-id", client.to_string())
        .trust(trust);
    let answer = context.http.send(ask).await.map_err(Refusal::unavailable)?;
    if answer.status == 401 {
        source.sessions.forget(&account, kept.as_ref());
    }
    let answer = answer.successful().map_err(Refusal::unavailable)?;
    let document = metadata::parse(&answer.text())
        .map_err(|error| Refusal::unavailable(format!("{} gave no JSON: {error}", answer.url)))?;
    let messages = document
        .get("messages")
        .and_then(Value::as_list)
        .unwrap_or_default();
    let body = messages.first().and_then(|message| message.get("body"));
    let body = body
        .cloned()
        .ok_or_else(|| Refusal::unavailable("No messages in the queue"))?;
    let keys = settings.texts("DEFAULT", "deployment_key")?;
    Ok(Collected::split("zaqar", body, &keys))
}
