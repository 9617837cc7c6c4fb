//! Waiting for the deploy agent: whether the machine can still be expected to say how it went.
//!
//! Between two reports the machine's power is looked at, so that one that went off is told within seconds and not at
//! the deadline. A BMC that does not answer meanwhile is no failure: the agent may be well. An agent that hangs gives no
//! sign of life, and one whose work hangs says the same again and again: each has a deadline. While this server was
//! away nobody could be heard, so its own start counts as a sign of those that were waited for then.

use std::time::Duration;

use jiff::Timestamp;

use crate::hardware::HardwareError;
use crate::metal::Baremetal;
use crate::node::Node;
use crate::settings::Settings;
use crate::state::Power;
use crate::steps::{Change, StepError};
use crate::verbs::{after, standstill};
use crate::work::{AgentResult, Work};

/// A machine that was found off is looked at again after this time: a restart looks like that for a moment.
const SURE: Duration = Duration::from_secs(2);
/// A look takes no longer; the next one may have more luck.
const LOOK: Duration = Duration::from_secs(60);

impl Baremetal {
    /// Whether the agent has said how it went, or can still be waited for.
    pub(crate) async fn agent_result(&self, node: &Node, work: &Work) -> Result<Change, StepError> {
        match &work.result {
            Some(AgentResult::Done) => return Ok(Change::nothing()),
            Some(AgentResult::Failed(why)) => {
                return Err(StepError::last(format!(
                    "the deploy agent on the machine failed: {why}"
                )));
            }
            None => {}
        }
        let power = self.look(node).await;
        let off = matches!(power, Ok(Some(Power::Off)));
        let last = last_words(node);
        if off && work.seen_off {
            return Err(StepError::last(format!(
                "the machine is off and its agent did not say how it went; {last}. Its console tells why it went off, \
                 unless somebody switched it off"
            )));
        }
        if self.now() >= self.patience(node, work) {
            return Err(StepError::last(self.missed(node, work, power)));
        }
        Ok(Change::Wait { off })
    }

    /// When the waiting ends: at the work's deadline, but what waited before this server started is given time to be
    /// heard again.
    fn patience(&self, node: &Node, work: &Work) -> Timestamp {
        let limits = &self.settings().deadlines;
        let since = self.inner.since;
        let sign = node.progress().and_then(|progress| time(progress, "at"));
        // Without a sign the deadline is that of the boot.
        let waited = match sign {
            Some(sign) => sign < since,
            None => work.deadline < after(since, limits.boot),
        };
        if waited {
            work.deadline.max(after(since, limits.silence))
        } else {
            work.deadline
        }
    }

    /// What is said of a machine whose deadline has passed.
    fn missed(
        &self,
        node: &Node,
        work: &Work,
        power: Result<Option<Power>, HardwareError>,
    ) -> String {
        let power = match power {
            Ok(Some(power)) => format!("its BMC says `{power}`"),
            Ok(None) => "its BMC does not know its power".to_owned(),
            Err(error) => format!("its BMC cannot be asked: {}", error.text()),
        };
        let agent = self.settings().agent.as_ref();
        let api = agent.map_or_else(|| "the seed".to_owned(), |agent| agent.api.to_string());
        let limits = &self.settings().deadlines;
        let last = last_words(node);
        let Some(at) = node.progress().and_then(|progress| time(progress, "at")) else {
            return format!(
                "the machine was silent for {} s; {last}; {power}. Look at its console: did it boot the medium, and does it reach {api}?",
                limits.boot.as_secs()
            );
        };
        if self.now() < after(at, limits.silence) {
            return format!(
                "the deploy agent lives but got no further for {} s; {last}; {power}. Look at its console: its disk may hang",
                standstill(self.settings(), work.purpose).as_secs()
            );
        }
        format!(
            "the deploy agent gave no sign of life for {} s; {last}; {power}. Look at the machine's console: does it hang, and does \
             it reach {api}?",
            limits.silence.as_secs()
        )
    }

    async fn look(&self, node: &Node) -> Result<Option<Power>, HardwareError> {
        let hardware = match self.hardware_of(node) {
            Ok(hardware) => hardware,
            Err(_) => return Ok(None),
        };
        let look = tokio::time::timeout(LOOK, hardware.power(node));
        let power = look.await.unwrap_or(Ok(None));
        if let Err(error) = &power {
            tracing::warn!(node = %node.label(), error = %error.text(), "the BMC of a machine that runs the deploy agent does not answer");
        }
        power
    }
}

/// When the machine is looked at next.
pub(crate) fn next_look(settings: &Settings, now: Timestamp, off: bool) -> Timestamp {
    let look = settings.deadlines.look;
    after(now, if off { look.min(SURE) } else { look })
}

/// A time in what was last heard.
fn time(progress: &serde_json::Value, key: &str) -> Option<Timestamp> {
    progress.get(key)?.as_str()?.parse().ok()
}

/// What was last heard of the agent.
fn last_words(node: &Node) -> String {
    let Some(progress) = node.progress() else {
        return "it never called back".to_owned();
    };
    let word = |key: &str| progress.get(key).and_then(|value| value.as_str());
    let number = |key: &str| progress.get(key).and_then(|value| value.as_u64());
    let done = match (number("done"), number("total")) {
        (Some(done), Some(total)) => format!(", {} of {} MiB", done >> 20, total >> 20),
        (_, _) => String::new(),
    };
    format!(
        "its last report, at {}, was phase `{}`{done}",
        word("at").unwrap_or("?"),
        word("phase").unwrap_or("?")
    )
}
