//! Wait conditions and their handles, Heat's own (`OS::Heat::…`) and CloudFormation's (`AWS::CloudFormation::…`).
//!
//! The handle collects signals in its notes; the condition counts them. The two families differ in
//! the words of a signal and in the address that takes it: Heat's has a token, CloudFormation's is
//! signed.

use cloud::Secret;
use hot::Value;
use serde_json::{Value as Json, json};

use super::signed::Signed;
use super::{Around, Outcome, Started, Work, accounts, deployment};
use crate::api::Action;
use crate::failure::Failure;
use crate::model::{Notes, Row, Wait};

const HEAT_HANDLE: &str = "OS::Heat::WaitConditionHandle";

/// The words of a signal.
struct Words {
    status: &'static str,
    reason: &'static str,
    data: &'static str,
    id: &'static str,
    /// Whether a signal must have all of them.
    all: bool,
}

const HEAT: Words = Words {
    status: "status",
    reason: "reason",
    data: "data",
    id: "id",
    all: false,
};

const CFN: Words = Words {
    status: "Status",
    reason: "Reason",
    data: "Data",
    id: "UniqueId",
    all: true,
};

/// Whether a row takes the signals of wait conditions.
pub(crate) fn is_handle(row: &Row) -> bool {
    matches!(
        row.plugin.as_str(),
        HEAT_HANDLE
            | "OS::Heat::UpdateWaitConditionHandle"
            | "AWS::CloudFormation::WaitConditionHandle"
    )
}

/// Whether a row is a wait condition.
pub(crate) fn is_condition(row: &Row) -> bool {
    matches!(
        row.plugin.as_str(),
        "OS::Heat::WaitCondition" | "AWS::CloudFormation::WaitCondition"
    )
}

fn words(row: &Row) -> Words {
    if row.plugin == HEAT_HANDLE && transport(row) != "CFN_SIGNAL" {
        HEAT
    } else {
        CFN
    }
}

fn transport(row: &Row) -> &str {
    super::text(&row.properties, "signal_transport").unwrap_or("TOKEN_SIGNAL")
}

fn is_signed(row: &Row) -> bool {
    row.plugin != HEAT_HANDLE || transport(row) == "CFN_SIGNAL"
}

pub(super) fn start_handle(row: &mut Row) -> Result<Started, Failure> {
    named(row);
    if matches!(row.action, Action::Create | Action::Adopt) {
        accounts::coin_account(row);
    }
    if matches!(row.action, Action::Create | Action::Adopt | Action::Delete) {
        return Ok(Started::Call);
    }
    Ok(Started::Done)
}

fn named(row: &mut Row) {
    let name = row.physical_name.clone();
    row.physical_id.get_or_insert(name);
}

pub(super) async fn step(work: &Work) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    if work.row.action == Action::Delete {
        accounts::remove(work, &mut outcome).await?;
        return Ok(outcome);
    }
    let note = |key: &str| work.row.note(key).unwrap_or_default().to_owned();
    let user = accounts::make(work, is_signed(&work.row), &mut outcome).await?;
    if is_signed(&work.row) {
        let url = Signed {
            base: &work.setup.endpoints.cloudformation,
            kind: "waitcondition",
            verb: "PUT",
            arn: &deployment::arn(work),
            access: &note("access_key"),
            secret: &note("secret_key"),
            made: work.row.created,
        };
        outcome
            .notes
            .insert("endpoint".to_owned(), url.url().into());
        return Ok(outcome);
    }
    let password = Secret::new(note("password"));
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
    let account = json!({
        "auth_url": work.setup.endpoints.auth, "username": work.row.physical_name,
        "user_id": user, "password": note("password"), "project_id": work.user_project,
        "region_name": work.setup.endpoints.region,
    });
    outcome.notes.insert("account".to_owned(), account);
    Ok(outcome)
}

pub(super) fn endpoint(row: &Row) -> Value {
    Value::text(row.note("endpoint").unwrap_or(&row.physical_name))
}

/// The signals of a handle: what its metadata shows.
pub(crate) fn signals(row: &Row) -> Notes {
    let signals = row.notes.get("signals").and_then(Json::as_object);
    signals.cloned().unwrap_or_default()
}

/// Takes a signal into the handle's notes; the reason of the event. A signal that is not in order
/// counts for nothing; the error says why.
pub(crate) fn signal(row: &mut Row, body: &Notes) -> Result<String, String> {
    let words = words(row);
    let mut signals = signals(row);
    let known = [words.status, words.reason, words.data, words.id];
    if let Some(odd) = body.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!(
            "`{odd}` is no part of a signal: {}",
            known.join(", ")
        ));
    }
    let missing = known.iter().find(|word| !body.contains_key(**word));
    if let Some(missing) = missing.filter(|_| words.all) {
        return Err(format!("the signal has no `{missing}`"));
    }
    let text = |value: &Json| Value::from_json(value).python_str();
    let given = |word: &str| body.get(word).filter(|value| !value.is_null());
    let status = given(words.status).map_or_else(|| "SUCCESS".to_owned(), text);
    if !matches!(status.as_str(), "SUCCESS" | "FAILURE") {
        return Err(format!(
            "`{status}` is no status of a signal: SUCCESS, FAILURE"
        ));
    }
    let number = signals.len() + 1;
    let id = given(words.id).map_or_else(|| number.to_string(), text);
    let reason = given(words.reason).map_or_else(|| format!("Signal {number} received"), text);
    let data = body.get(words.data).cloned().unwrap_or_default();
    let mut entry = Notes::new();
    entry.insert(words.status.to_owned(), status.clone().into());
    entry.insert(words.reason.to_owned(), reason.clone().into());
    entry.insert(words.data.to_owned(), data);
    signals.insert(id, Json::Object(entry));
    row.notes
        .insert("signals".to_owned(), Json::Object(signals));
    Ok(format!("status:{status} reason:{reason}"))
}

/// A part of a taken signal, whichever family it is of.
fn part<'a>(signal: &'a Json, heat: &str, cfn: &str) -> &'a Json {
    signal
        .get(heat)
        .or_else(|| signal.get(cfn))
        .unwrap_or(&Json::Null)
}

fn reasons(signals: &Notes, status: &str) -> Vec<String> {
    let of = |one: &&Json| part(one, HEAT.status, CFN.status) == status;
    let all = signals.values().filter(of);
    all.map(|one| Value::from_json(part(one, HEAT.reason, CFN.reason)).python_str())
        .collect()
}

/// What handle a condition asks.
pub(crate) fn handle_of(row: &Row) -> &str {
    let handle = super::text(&row.properties, "handle");
    handle
        .or_else(|| super::text(&row.properties, "Handle"))
        .unwrap_or_default()
}

/// Keeps the data of a handle's signals with the condition, whose attribute they are.
pub(crate) fn note_data(row: &mut Row, signals: &Notes) {
    let data = signals.iter();
    let data: Notes = data
        .map(|(id, one)| (id.clone(), part(one, HEAT.data, CFN.data).clone()))
        .collect();
    row.notes.insert("data".to_owned(), Json::Object(data));
}

pub(super) fn start_condition(row: &mut Row, around: &Around<'_>) -> Result<Started, Failure> {
    if !matches!(row.action, Action::Create | Action::Update) {
        return Ok(Started::Done);
    }
    let number = |heat: &str, cfn: &str| {
        let properties = &row.properties;
        let value = properties.get(heat).or_else(|| properties.get(cfn));
        value.and_then(Value::as_number)
    };
    let count = number("count", "Count").unwrap_or(1.0) as usize;
    let seconds = number("timeout", "Timeout").unwrap_or(3600.0);
    let handle = handle_of(row).to_owned();
    let Some(signals) = (around.handles)(&handle) else {
        let message = format!("`{handle}` is no wait condition handle of this stack");
        return Err(Failure::new("ValueError", message));
    };
    named_by_handle(row, &handle);
    note_data(row, &signals);
    let until = row
        .updated
        .checked_add(jiff::SignedDuration::from_secs_f64(seconds));
    let until = until.unwrap_or(jiff::Timestamp::MAX);
    let received = reasons(&signals, "SUCCESS");
    if around.now >= until {
        let mut message = format!("{} of {count} received", received.len());
        if !received.is_empty() {
            message = format!("{message} - {}", received.join(";"));
        }
        return Err(Failure::new("WaitConditionTimeout", message));
    }
    let failed = reasons(&signals, "FAILURE");
    if !failed.is_empty() {
        return Err(Failure::new("WaitConditionFailure", failed.join(";")));
    }
    if received.len() >= count {
        return Ok(Started::Done);
    }
    Ok(Started::Wait(Wait::Until(until)))
}

/// CloudFormation's condition goes by the name of its handle, as in Heat.
fn named_by_handle(row: &mut Row, handle: &str) {
    if row.plugin == "AWS::CloudFormation::WaitCondition" {
        let path = handle.split('?').next().unwrap_or_default();
        if let Some((_, name)) = path.rsplit_once("/resources/") {
            row.physical_id.get_or_insert_with(|| name.to_owned());
        }
    }
    named(row);
}

pub(super) fn attribute(row: &Row, name: &str) -> Option<Value> {
    let endpoint = row.note("endpoint");
    if is_condition(row) {
        let data = row.notes.get("data").cloned().unwrap_or_else(|| json!({}));
        return matches!(name, "data" | "Data")
            .then(|| Value::text(Value::from_json(&data).python_json(false)));
    }
    if row.plugin != HEAT_HANDLE {
        return None;
    }
    let token = row.note("token").unwrap_or_default();
    match name {
        "endpoint" => endpoint.map(Value::text),
        "token" => row.note("token").map(Value::text),
        "curl_cli" => Some(Value::text(format!(
            "curl -i -X POST -H 'X-Auth-Token: {token}' -H 'Content-Type: application/json' \
             -H 'Accept: application/json' {}",
            endpoint?
        ))),
        "signal" => {
            let signal = match transport(row) {
                "CFN_SIGNAL" => json!({"alarm_url": endpoint?}),
                "HEAT_SIGNAL" => row.notes.get("account")?.clone(),
                "TOKEN_SIGNAL" => json!({"alarm_url": endpoint?, "token": token}),
                _ => json!({}),
            };
            Some(Value::text(signal.to_string()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::row;

    fn body(json: Json) -> Notes {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn parts_of_a_heat_signal_may_be_left_out() {
        let mut handle = row("h", HEAT_HANDLE);
        assert_eq!(
            signal(&mut handle, &Notes::new()).unwrap(),
            "status:SUCCESS reason:Signal 1 received"
        );
        let twice = body(json!({"id": "x", "data": {"k": 1}}));
        signal(&mut handle, &twice).unwrap();
        assert_eq!(
            signals(&handle)["x"],
            json!({"status": "SUCCESS", "reason": "Signal 2 received", "data": {"k": 1}})
        );
        for odd in [json!({"status": "MAYBE"}), json!({"Status": "SUCCESS"})] {
            assert!(signal(&mut handle, &body(odd)).is_err());
        }
        assert_eq!(signals(&handle).len(), 2);
    }

    #[test]
    fn a_cloudformation_signal_needs_all_its_parts() {
        let mut handle = row("h", "AWS::CloudFormation::WaitConditionHandle");
        assert!(signal(&mut handle, &body(json!({"Status": "SUCCESS"}))).is_err());
        let whole = json!({"Status": "FAILURE", "Reason": "r", "Data": "", "UniqueId": 7});
        assert_eq!(
            signal(&mut handle, &body(whole)).unwrap(),
            "status:FAILURE reason:r"
        );
        assert_eq!(
            signals(&handle)["7"],
            json!({"Status": "FAILURE", "Reason": "r", "Data": ""})
        );
        assert_eq!(reasons(&signals(&handle), "FAILURE"), ["r"]);
    }
}
