//! Doing one step of a node's work. Each may be done twice and ends the same.
//!
//! A step sees the node as it was when it began and returns what is to change, since the row may have moved on
//! meanwhile (the agent reports, an operator writes a note).

use serde_json::json;
use store::Tx;

use crate::error::MetalError;
use crate::hardware::{HardwareError, Inspection};
use crate::metal::Baremetal;
use crate::node::{Node, Object};
use crate::parts::{Allocation, KeptInventory, Port};
use crate::rows;
use crate::state::Power;
use crate::work::{Purpose, Step, Work};

type Apply = Box<dyn FnOnce(&Tx<'_>, &mut Node) -> Result<(), MetalError> + Send>;

/// What a step that went well changes.
pub(crate) enum Change {
    /// It is not over: the machine will say when.
    Wait {
        /// Whether it was found off.
        off: bool,
    },
    /// Written together with the next step's beginning.
    Apply(Apply),
}

impl Change {
    pub(crate) fn nothing() -> Self {
        Self::node(|_| {})
    }

    fn node(change: impl FnOnce(&mut Node) + Send + 'static) -> Self {
        Self::Apply(Box::new(move |_, node| {
            change(node);
            Ok(())
        }))
    }
}

/// Why a step did not go well, and whether it is worth another try.
pub(crate) struct StepError {
    pub(crate) text: String,
    pub(crate) again: bool,
}

impl StepError {
    pub(crate) fn last(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            again: false,
        }
    }
}

impl From<HardwareError> for StepError {
    fn from(error: HardwareError) -> Self {
        Self {
            text: error.text(),
            again: error.is_retryable(),
        }
    }
}

impl Baremetal {
    pub(crate) async fn do_step(
        &self,
        node: &Node,
        work: &Work,
        step: &Step,
    ) -> Result<Change, StepError> {
        let hardware = self
            .hardware_of(node)
            .map_err(|error| StepError::last(error.to_string()))?;
        match step {
            Step::Verify => {
                hardware.check(node)?;
                let power = hardware.power(node).await?;
                Ok(Change::node(move |node| node.power_state = power))
            }
            Step::Inspect => {
                let seen = hardware.inspect(node).await?;
                let at = self.now();
                Ok(Change::Apply(Box::new(move |tx, node| {
                    keep_inspection(tx, node, seen, at)
                })))
            }
            Step::Prepare => self.prepare(node, work).await,
            Step::Power { target } => {
                let power = hardware.set_power(node, *target).await?;
                Ok(Change::node(move |node| node.power_state = Some(power)))
            }
            Step::InsertMedium => {
                let url = self.make_medium(node, work).await?;
                hardware.insert_medium(node, &url).await?;
                Ok(Change::nothing())
            }
            Step::EjectMedium => {
                hardware.eject_medium(node).await?;
                self.forget_medium(work);
                Ok(Change::nothing())
            }
            Step::Boot { device, persistent } => {
                hardware.set_boot_device(node, *device, *persistent).await?;
                Ok(Change::nothing())
            }
            Step::AwaitAgent => self.agent_result(node, work).await,
            Step::CleanStep { step } => {
                hardware.clean_step(node, step).await?;
                Ok(Change::nothing())
            }
            Step::ReleaseInstance => Ok(Change::Apply(Box::new(release_instance))),
        }
    }

    async fn prepare(&self, node: &Node, work: &Work) -> Result<Change, StepError> {
        let hardware = self
            .hardware_of(node)
            .map_err(|error| StepError::last(error.to_string()))?;
        hardware.check(node)?;
        if hardware.road() == crate::hardware::Road::Agent && work.purpose == Purpose::Deploy {
            let id = node.uuid;
            let order = self.read(move |read| rows::order(read, id)).await;
            match order {
                Ok(Some(_)) => {}
                Ok(None) => return Err(StepError::last("no image was named for it")),
                Err(error) => return Err(StepError::last(error.to_string())),
            }
            self.agent_settings()?;
        }
        Ok(Change::nothing())
    }
}

/// Keeps what was seen: properties, ports, inventory.
fn keep_inspection(
    tx: &Tx<'_>,
    node: &mut Node,
    seen: Inspection,
    at: jiff::Timestamp,
) -> Result<(), MetalError> {
    node.properties.extend(seen.properties);
    for mac in seen.macs {
        if rows::part_by::<Port>(tx, "address", &mac)?.is_none() {
            rows::put_part(tx, &Port::new(node.uuid, &mac, at))?;
        }
    }
    let kept = KeptInventory {
        inventory: seen.inventory,
        plugin_data: json!({}),
    };
    rows::put_inventory(tx, node.uuid, &kept)
}

/// Forgets the instance, its claim and its order.
fn release_instance(tx: &Tx<'_>, node: &mut Node) -> Result<(), MetalError> {
    node.instance_info = Object::new();
    node.instance_uuid = None;
    node.driver_internal_info.remove("progress");
    if node.power_state == Some(Power::Error) {
        node.power_state = None;
    }
    if let Some(allocation) = node.allocation_uuid.take() {
        rows::delete_part::<Allocation>(tx, allocation)?;
    }
    rows::delete_order(tx, node.uuid)?;
    if let Some(work) = &mut node.work {
        work.released = true;
    }
    Ok(())
}
