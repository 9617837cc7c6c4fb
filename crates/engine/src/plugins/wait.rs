//! `OS::Heat::WaitConditionHandle` and `OS::Heat::WaitCondition`.
//!
//! The handle collects signals in its notes; the condition counts them.

use cloud::Secret;
use hot::Value;
use serde_json::{Value as Json, json};

use super::{Around, Outcome, Started, Work, accounts};
use crate::api::Action;
use crate::failure::Failure;
use crate::model::{Notes, Row, Wait};

pub(super) fn start_handle(row: &mut Row) -> Result<Started, Failure> {
    row.physical_id = row
        .physical_id
        .take()
        .or_else(|| Some(row.physical_name.clone()));
    if row.action == Action::Create {
        accounts::coin_account(row);
    }
    if matches!(row.action, Action::Create | Action::Delete) {
        return Ok(Started::Call);
    }
    Ok(Started::Done)
}

pub(super) async fn step(work: &Work) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    if work.row.action == Action::Delete {
        accounts::remove(work, &mut outcome).await?;
        return Ok(outcome);
    }
    let user = accounts::make(work, false, &mut outcome).await?;
    let password = Secret::new(work.row.note("password").unwrap_or_default());
    let users = &work.setup.users;
    let token = users
        .issue_token(&user, &work.user_project, &password)
        .await?;
    if let Some(token) = token {
        // Kept because it is an attribute: who reads the stack may hand it to a node.
        outcome
            .notes
            .insert("token".to_owned(), token.expose().into());
    }
    let endpoint = format!(
        "{}/{}/stacks/{}/resources/{}/signal",
        work.setup.endpoints.orchestration,
        work.user_project,
        work.stack_path(),
        work.row.name
    );
    outcome.notes.insert("endpoint".to_owned(), endpoint.into());
    Ok(outcome)
}

pub(super) fn endpoint(row: &Row) -> Value {
    Value::text(row.note("endpoint").unwrap_or(&row.physical_name))
}

/// Takes a signal into the handle's notes; what is noted as the event's reason. None: the status is
/// unknown, so it is not counted.
pub(crate) fn signal(row: &mut Row, body: &Notes) -> Option<String> {
    let field = |name: &str, cfn: &str| body.get(name).or_else(|| body.get(cfn)).cloned();
    let text = |value: &Json| Value::from_json(value).python_str();
    let mut signals = match row.notes.remove("signals") {
        Some(Json::Object(signals)) => signals,
        _ => Notes::new(),
    };
    let status = field("status", "Status").map_or_else(|| "SUCCESS".to_owned(), |one| text(&one));
    let id = match field("id", "UniqueId").filter(|id| !id.is_null()) {
        Some(id) => text(&id),
        None => (signals.len() + 1).to_string(),
    };
    let known = matches!(status.as_str(), "SUCCESS" | "FAILURE");
    let mut said = None;
    if known {
        let reason = field("reason", "Reason").filter(|reason| !reason.is_null());
        let reason = reason.map_or_else(|| format!("Signal {id} received"), |one| text(&one));
        let data = field("data", "Data").unwrap_or_default();
        signals.insert(
            id.clone(),
            json!({"status": status, "reason": reason, "data": data}),
        );
        said = Some(format!("status:{status} reason:{reason}"));
    }
    row.notes
        .insert("signals".to_owned(), Json::Object(signals));
    said
}

pub(super) fn start_condition(row: &mut Row, around: &Around<'_>) -> Result<Started, Failure> {
    row.physical_id = row
        .physical_id
        .take()
        .or_else(|| Some(row.physical_name.clone()));
    if !matches!(row.action, Action::Create | Action::Update) {
        return Ok(Started::Done);
    }
    let number = |name: &str| row.properties.get(name).and_then(Value::as_number);
    let count = number("count").unwrap_or(1.0) as usize;
    let handle = super::text(&row.properties, "handle").unwrap_or_default();
    let signals = (around.handles)(handle).unwrap_or_default();
    let with = |status: &str| {
        let all = signals.values().filter(|one| one["status"] == status);
        all.cloned().collect::<Vec<Json>>()
    };
    let failed = with("FAILURE");
    if !failed.is_empty() {
        let reasons: Vec<&str> = failed
            .iter()
            .filter_map(|one| one["reason"].as_str())
            .collect();
        return Err(Failure::new("WaitConditionFailure", reasons.join(";")));
    }
    let received = with("SUCCESS").len();
    let data: Notes = signals
        .iter()
        .map(|(id, one)| (id.clone(), one["data"].clone()))
        .collect();
    row.notes.insert("data".to_owned(), Json::Object(data));
    if received >= count {
        return Ok(Started::Done);
    }
    let begun = row.updated;
    let seconds = number("timeout").unwrap_or(3600.0);
    let until = begun.checked_add(jiff::SignedDuration::from_secs_f64(seconds));
    let until = until.unwrap_or(jiff::Timestamp::MAX);
    if around.now >= until {
        let message = format!("{received} of {count} received");
        return Err(Failure::new("WaitConditionTimeout", message));
    }
    Ok(Started::Wait(Wait::Until(until)))
}

pub(super) fn attribute(row: &Row, name: &str) -> Option<Value> {
    match (row.plugin.as_str(), name) {
        ("OS::Heat::WaitCondition", "data") => {
            let data = row.notes.get("data").cloned().unwrap_or_else(|| json!({}));
            Some(Value::text(Value::from_json(&data).python_json(false)))
        }
        ("OS::Heat::WaitConditionHandle", "endpoint") => row.note("endpoint").map(Value::text),
        ("OS::Heat::WaitConditionHandle", "token") => row.note("token").map(Value::text),
        ("OS::Heat::WaitConditionHandle", "curl_cli") => {
            let endpoint = row.note("endpoint")?;
            let token = row.note("token").unwrap_or_default();
            Some(Value::text(format!(
                "curl -i -X POST -H 'X-Auth-Token: {token}' -H 'Content-Type: application/json' \
                 -H 'Accept: application/json' {endpoint}"
            )))
        }
        _ => None,
    }
}
