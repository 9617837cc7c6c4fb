//! `OS::Heat::Value`, `None`, `TestResource` and `Delay`.

use hot::Value;
use rand::Rng;
use uuid::Uuid;

use super::{Around, Started};
use crate::api::Action;
use crate::failure::Failure;
use crate::model::{Row, Wait};

pub(super) fn start(row: &mut Row) -> Result<Started, Failure> {
    if row.physical_id.is_none() {
        row.physical_id = Some(match row.plugin.as_str() {
            "OS::Heat::None" => Uuid::new_v4().to_string(),
            _ => row.physical_name.clone(),
        });
    }
    Ok(Started::Done)
}

pub(super) fn attribute(row: &Row, name: &str) -> Option<Value> {
    match (row.plugin.as_str(), name) {
        ("OS::Heat::Value", "value") => row.properties.get("value").cloned(),
        ("OS::Heat::TestResource", "output") => row.properties.get("value").cloned(),
        _ => None,
    }
}

pub(super) fn start_test(row: &mut Row, around: &Around<'_>) -> Result<Started, Failure> {
    start(row)?;
    let key = action_word(row.action);
    let own = row
        .properties
        .get("action_wait_secs")
        .and_then(|waits| waits.get(key));
    // Below zero: not said.
    let own = own.and_then(Value::as_number).filter(|own| *own >= 0.0);
    let seconds = own.or_else(|| row.properties.get("wait_secs").and_then(Value::as_number));
    let waits = matches!(row.action, Action::Create | Action::Update | Action::Delete);
    let seconds = seconds.unwrap_or_default();
    if waits && seconds < 0.0 {
        // For ever: until the stack's time is over, or another action takes its place.
        return Ok(Started::Wait(Wait::Signal));
    }
    if waits && !waited(row, around, seconds) {
        return Ok(pause(row));
    }
    let fails = row.properties.get("fail").and_then(Value::as_bool) == Some(true);
    if fails && matches!(row.action, Action::Create | Action::Update) {
        let message = format!("Test Resource failed {}", row.name);
        return Err(Failure::new("ValueError", message));
    }
    Ok(Started::Done)
}

pub(super) fn start_delay(row: &mut Row, around: &Around<'_>) -> Result<Started, Failure> {
    start(row)?;
    let actions = super::texts(&row.properties, "delay_actions");
    if !actions.iter().any(|action| action == row.action.as_str()) {
        return Ok(Started::Done);
    }
    let number = |name: &str| row.properties.get(name).and_then(Value::as_number);
    let least = number("min_wait_secs").unwrap_or_default();
    let jitter =
        number("max_jitter").unwrap_or_default() * number("jitter_multiplier_secs").unwrap_or(1.0);
    let seconds = least + jitter * rand::rng().random::<f64>();
    if waited(row, around, seconds) {
        return Ok(Started::Done);
    }
    Ok(pause(row))
}

fn action_word(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Update => "update",
        Action::Delete => "delete",
        Action::Suspend => "suspend",
        Action::Resume => "resume",
        Action::Check => "check",
        Action::Snapshot => "snapshot",
        Action::Restore => "restore",
        Action::Adopt => "adopt",
        Action::Init | Action::Rollback | Action::Signal => "",
    }
}

/// Whether the time of this action is over; the first asking sets its end.
fn waited(row: &mut Row, around: &Around<'_>, seconds: f64) -> bool {
    if seconds <= 0.0 {
        return true;
    }
    let wait = row.notes.get("until").cloned().unwrap_or_default();
    let of_this = wait["generation"].as_u64() == Some(row.generation);
    let until = if of_this { wait["at"].as_i64() } else { None };
    let now = around.now.as_millisecond();
    let until = until.unwrap_or_else(|| now.saturating_add((seconds * 1000.0) as i64));
    row.notes.insert(
        "until".to_owned(),
        serde_json::json!({"generation": row.generation, "at": until}),
    );
    now >= until
}

fn pause(row: &Row) -> Started {
    let at = row
        .notes
        .get("until")
        .and_then(|until| until["at"].as_i64());
    Started::Wait(Wait::Until(crate::load::time(at.unwrap_or_default())))
}
