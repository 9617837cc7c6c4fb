//! Messages of a Zaqar queue, over HTTP or a websocket.
//!
//! A message is taken out of the queue when it is read, so it is kept until it was applied: a command that fails gets
//! it again.

use super::{Collected, Context, Refusal, kept, needed};
use crate::http::{Ask, Http, HttpError, Trust};
use crate::keystone::{Account, Kept, Session, Sessions};
use crate::settings::Settings;
use crate::websocket::WebSocket;
use metadata::{Value, object};
use reqwest::Method;
use std::time::Duration;

/// The cache keeps a message under this key.
pub(crate) const KEPT: &str = "zaqar";
/// Zaqar gets this long to answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a subscription lasts, in seconds; upstream's number.
const SUBSCRIPTION: i64 = 10_000;

/// What is remembered between passes.
#[derive(Default)]
pub(crate) struct Source {
    sessions: Sessions,
    client: Option<uuid::Uuid>,
}

/// What the settings say of the queue.
struct Queue {
    account: Account,
    name: String,
    region: Option<String>,
    websocket: bool,
}

impl Queue {
    fn of(settings: &Settings) -> Result<Queue, Refusal> {
        let need = |name: &str| needed(settings, "zaqar", name);
        let auth_url = need("auth_url")?;
        let password = need("password")?;
        let project_id = need("project_id")?;
        let user_id = need("user_id")?;
        let name = need("queue_id")?;
        let ca = settings.filled("zaqar", "ca_file")?;
        if settings.switch("zaqar", "ssl_certificate_validation")? && ca.is_none() {
            let text = "No CA file configured when flag ssl_certificate_validation is on.";
            return Err(Refusal::NotConfigured(Some(text.to_owned())));
        }
        let trust = ca.map(|path| Trust::File(path.into())).unwrap_or_default();
        Ok(Queue {
            account: Account {
                auth_url,
                user_id,
                password,
                project_id,
                trust,
            },
            name,
            region: settings.filled("zaqar", "region_name")?,
            websocket: settings.switch("zaqar", "use_websockets")?,
        })
    }
}

pub(super) async fn collect(context: &mut Context<'_>) -> Result<Collected, Refusal> {
    let settings = context.settings;
    let queue = Queue::of(settings)?;
    let body = match context.cache.kept(KEPT) {
        Some(body) => body,
        None => {
            let body = take(context, &queue).await?;
            if context.applies {
                context
                    .cache
                    .keep(KEPT, &body)
                    .map_err(Refusal::unavailable)?;
            }
            body
        }
    };
    let keys = settings.texts("DEFAULT", "deployment_key")?;
    Ok(Collected::split("zaqar", body, &keys))
}

/// Takes one message out of the queue.
async fn take(context: &mut Context<'_>, queue: &Queue) -> Result<Value, Refusal> {
    let kept = kept(context.settings)?;
    let mut taken = ask(context, queue, kept.as_ref()).await?;
    if let Err(HttpError::Status { status: 401, .. }) = &taken {
        // A known token was revoked, or Keystone lost it: once more with a new one.
        context
            .state
            .zaqar
            .sessions
            .forget(&queue.account, kept.as_ref());
        taken = ask(context, queue, kept.as_ref()).await?;
    }
    let taken = taken.map_err(Refusal::unavailable)?;
    taken.ok_or_else(|| Refusal::unavailable("No messages in the queue"))
}

/// Asks the queue once.
async fn ask(
    context: &mut Context<'_>,
    queue: &Queue,
    kept: Option<&Kept>,
) -> Result<Result<Option<Value>, HttpError>, Refusal> {
    let source = &mut context.state.zaqar;
    let session = source
        .sessions
        .get(context.http, &queue.account, kept)
        .await;
    let session = session.map_err(Refusal::unavailable)?;
    let client = source
        .client
        .get_or_insert_with(uuid::Uuid::new_v4)
        .to_string();
    let service = if queue.websocket {
        "messaging-websocket"
    } else {
        "messaging"
    };
    let endpoint = session
        .endpoint(service, queue.region.as_deref())
        .ok_or_else(|| {
            Refusal::unavailable(format!(
                "Keystone's catalog has no public endpoint of {service}"
            ))
        })?;
    Ok(if queue.websocket {
        let limit =
            tokio::time::timeout(TIMEOUT, by_websocket(&endpoint, queue, &session, &client)).await;
        limit.unwrap_or(Ok(None))
    } else {
        by_http(context.http, &endpoint, queue, &session, &client).await
    })
}

async fn by_http(
    http: &Http,
    endpoint: &str,
    queue: &Queue,
    session: &Session,
    client: &str,
) -> Result<Option<Value>, HttpError> {
    let version = if endpoint.ends_with("/v2") { "" } else { "/v2" };
    let ask = Ask::get(
        format!("{endpoint}{version}/queues/{}/messages?pop=1", queue.name),
        TIMEOUT,
    )
    .method(Method::DELETE)
    .header("x-auth-token", &session.token)
    .header("x-project-id", &queue.account.project_id)
    .header("client-id", client)
    .trust(queue.account.trust.clone());
    let answer = http.send(ask).await?.successful()?;
    let document = metadata::parse(&answer.text()).unwrap_or(Value::Null);
    Ok(first_body(&document))
}

/// The body of the first of a document's messages.
fn first_body(document: &Value) -> Option<Value> {
    document
        .get("messages")?
        .as_list()?
        .first()?
        .get("body")
        .cloned()
}

/// Takes a waiting message, else waits for the next one.
async fn by_websocket(
    endpoint: &str,
    queue: &Queue,
    session: &Session,
    client: &str,
) -> Result<Option<Value>, HttpError> {
    let mut socket = WebSocket::open(endpoint, &queue.account.trust).await?;
    let name = || ("queue_name", Value::from(queue.name.clone()));
    let steps = [
        ("authenticate", object([])),
        ("queue_create", object([name()])),
        (
            "subscription_create",
            object([name(), ("ttl", Value::from(SUBSCRIPTION))]),
        ),
        (
            "message_delete_many",
            object([name(), ("pop", Value::from(1))]),
        ),
    ];
    let mut last = Value::Null;
    for (action, body) in steps {
        let headers = object([
            ("X-Auth-Token", Value::from(session.token.clone())),
            ("Client-ID", Value::from(client)),
            (
                "X-Project-ID",
                Value::from(queue.account.project_id.clone()),
            ),
        ]);
        let message = object([
            ("action", Value::from(action)),
            ("headers", headers),
            ("body", body),
        ]);
        socket.send(&message).await?;
        last = socket.receive().await?;
        let status = last
            .get("headers")
            .and_then(|headers| headers.get("status"));
        if let Some(Value::Int(status @ 400..)) = status {
            let status = u16::try_from(*status).unwrap_or(500);
            return Err(HttpError::Status {
                url: format!("{endpoint} ({action})"),
                status,
            });
        }
    }
    if let Some(body) = last.get("body").and_then(first_body) {
        return Ok(Some(body));
    }
    loop {
        // Answers carry the request that they answer; a pushed message does not.
        let message = socket.receive().await?;
        if message.get("request").is_none() {
            return Ok(message.get("body").cloned());
        }
    }
}
