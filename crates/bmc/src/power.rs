//! Power: what to send for an action, and waiting until the BMC reports the end of it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::redfish::text;
use crate::{BmcError, PowerAction, PowerState, Redfish};

impl Redfish {
    /// Whether the machine runs.
    pub async fn power_state(&self) -> Result<PowerState, BmcError> {
        Ok(self.system().await?.power)
    }

    /// Does `action` and waits until the BMC says that it is done; gives the state then.
    ///
    /// Safe to repeat: a machine that is already in the wanted state is left alone. A soft action that the
    /// operating system does not follow within the limit ends in an error; nothing is forced.
    pub async fn set_power(&self, action: PowerAction) -> Result<PowerState, BmcError> {
        match action {
            PowerAction::On => self.reach(PowerState::On, &["On", "ForceOn"]).await,
            PowerAction::Off => self.reach(PowerState::Off, &["ForceOff"]).await,
            PowerAction::SoftOff => self.reach(PowerState::Off, &["GracefulShutdown"]).await,
            PowerAction::Reboot => {
                self.reach(PowerState::Off, &["ForceOff"]).await?;
                self.reach(PowerState::On, &["On", "ForceOn"]).await
            }
            PowerAction::SoftReboot => {
                self.reach(PowerState::Off, &["GracefulShutdown"]).await?;
                self.reach(PowerState::On, &["On", "ForceOn"]).await
            }
        }
    }

    /// Sends a non-maskable interrupt.
    pub async fn inject_nmi(&self) -> Result<(), BmcError> {
        let what = "inject an NMI";
        let (path, answer) = self.read_system(what).await?;
        self.reset(&path, &answer.body, &["Nmi"], what).await
    }

    /// Asks for the state with the first reset type of `types` that the BMC allows, and waits for it.
    async fn reach(&self, wanted: PowerState, types: &[&str]) -> Result<PowerState, BmcError> {
        let limits = self.http.settings().limits;
        let what = format!("go to `{wanted}`");
        let (path, answer) = self.read_system(&what).await?;
        let mut seen = PowerState::parse(answer.body["PowerState"].as_str());
        if seen == wanted {
            return Ok(seen);
        }
        if let Err(refused) = self.reset(&path, &answer.body, types, &what).await {
            // A controller may refuse because the machine has meanwhile gone where we want it.
            if self.power_state().await? == wanted {
                return Ok(wanted);
            }
            return Err(refused);
        }
        let end = Instant::now() + limits.power;
        let mut pause = limits.poll;
        loop {
            // A controller that restarts while the machine changes is not the end: the deadline is.
            match self.power_state().await {
                Ok(state) => seen = state,
                Err(error) if error.is_retryable() && Instant::now() < end => {
                    tracing::debug!(%error, "the power state could not be read");
                }
                Err(error) => return Err(error),
            }
            if seen == wanted {
                return Ok(seen);
            }
            if Instant::now() >= end {
                return Err(BmcError::PowerNotReached {
                    bmc: self.http.bmc(),
                    system: path,
                    wanted,
                    seen,
                    after: limits.power,
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    async fn reset(
        &self,
        path: &str,
        system: &Value,
        types: &[&str],
        what: &str,
    ) -> Result<(), BmcError> {
        let action = &system["Actions"]["#ComputerSystem.Reset"];
        let target = text(&action["target"])
            .unwrap_or_else(|| format!("{path}/Actions/ComputerSystem.Reset"));
        let allowed: Vec<&str> = action["ResetType@Redfish.AllowableValues"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let chosen = types
            .iter()
            .find(|kind| allowed.is_empty() || allowed.contains(kind))
            .ok_or_else(|| BmcError::Unsupported {
                bmc: self.http.bmc(),
                what: what.to_owned(),
                offered: allowed.join(", "),
            })?;
        self.http
            .post(&target, &json!({ "ResetType": chosen }), what)
            .await
    }
}
