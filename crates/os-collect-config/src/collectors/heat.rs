//! Heat's own API, as a user of Keystone.

use super::{Collected, Context, Refusal, kept, needed};
use crate::http::{Answer, Ask, Trust};
use crate::keystone::{Account, Kept};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::time::Duration;

/// Heat gets this long to answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A stack is named `NAME/ID`, so the slash stays.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

pub(super) async fn collect(context: &mut Context<'_>) -> Result<Collected, Refusal> {
    // Not being configured is usual here, and upstream says nothing about it.
    let silent = |refusal| match refusal {
        Refusal::NotConfigured(_) => Refusal::NotConfigured(None),
        other => other,
    };
    let need = |name: &str| needed(context.settings, "heat", name).map_err(silent);
    let auth_url = need("auth_url")?;
    let password = need("password")?;
    let project_id = need("project_id")?;
    let user_id = need("user_id")?;
    let stack = need("stack_id")?;
    let resource = need("resource_name")?;
    let account = Account {
        auth_url,
        user_id,
        password,
        project_id,
        trust: Trust::System,
    };
    let settings = context.settings;
    let place = Place {
        region: settings.filled("heat", "region_name")?,
        stack: utf8_percent_encode(&stack, PATH).to_string(),
        resource: utf8_percent_encode(&resource, PATH).to_string(),
    };
    let kept = kept(settings)?;
    let mut answer = ask(context, &account, kept.as_ref(), &place).await?;
    if answer.status == 401 {
        // A known token was revoked, or Keystone lost it: once more with a new one.
        context.state.heat.forget(&account, kept.as_ref());
        answer = ask(context, &account, kept.as_ref(), &place).await?;
    }
    if answer.status == 401 {
        context.state.heat.forget(&account, kept.as_ref());
    }
    let answer = answer.successful().map_err(Refusal::unavailable)?;
    let document = metadata::parse(&answer.text())
        .map_err(|error| Refusal::unavailable(format!("{} gave no JSON: {error}", answer.url)))?;
    let document = document
        .get("metadata")
        .cloned()
        .ok_or_else(|| Refusal::unavailable(format!("{} gave no metadata", answer.url)))?;
    let keys = settings.texts("DEFAULT", "deployment_key")?;
    let collected = Collected::split("heat", document, &keys);
    // A deployment that cannot be used makes the whole source unusable here, as upstream has it.
    if let Some(warning) = collected
        .warnings
        .iter()
        .find(|warning| warning.contains("no config"))
    {
        return Err(Refusal::unavailable(warning));
    }
    Ok(collected)
}

/// Where in Heat the metadata is.
struct Place {
    region: Option<String>,
    stack: String,
    resource: String,
}

async fn ask(
    context: &mut Context<'_>,
    account: &Account,
    kept: Option<&Kept>,
    place: &Place,
) -> Result<Answer, Refusal> {
    let sessions = &mut context.state.heat;
    let session = sessions.get(context.http, account, kept).await;
    let session = session.map_err(Refusal::unavailable)?;
    let endpoint = session.endpoint("orchestration", place.region.as_deref());
    let endpoint = endpoint.ok_or_else(|| {
        Refusal::unavailable("Keystone's catalog has no public endpoint of orchestration")
    })?;
    let Place {
        stack, resource, ..
    } = place;
    let url = format!("{endpoint}/stacks/{stack}/resources/{resource}/metadata");
    let ask = Ask::get(url, TIMEOUT).header("x-auth-token", &session.token);
    context.http.send(ask).await.map_err(Refusal::unavailable)
}
