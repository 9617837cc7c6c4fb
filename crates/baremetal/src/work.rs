//! What is being done with a node: the steps, decided when the verb is accepted, and the one that runs.
//!
//! It is part of the node's row, so that a restart finds it. [`plan`] makes the decision; doing the steps is
//! `steps`' job.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::hardware::Road;
use crate::node::Object;
use crate::state::{BootDevice, PowerTarget, Verb};

/// One thing to do. Doing it twice ends the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Step {
    /// Check that the machine can be driven, and read its power state.
    Verify,
    /// Read its hardware.
    Inspect,
    /// Check what is to be deployed.
    Prepare,
    /// Bring the power to a state.
    Power {
        /// What is wanted.
        target: PowerTarget,
    },
    /// Make the deploy medium and put it in.
    InsertMedium,
    /// Take the medium out.
    EjectMedium,
    /// Set from what it boots.
    Boot {
        /// From what.
        device: BootDevice,
        /// For good, or for the next boot.
        persistent: bool,
    },
    /// Wait until the deploy agent says how it went.
    AwaitAgent,
    /// One step of a manual cleaning.
    CleanStep {
        /// Interface, step and arguments as they were given.
        step: Object,
    },
    /// The instance is off the machine: forget it. What follows is cleaning.
    ReleaseInstance,
}

impl Step {
    /// The step in words, for errors and progress.
    pub fn words(&self) -> String {
        match self {
            Self::Verify => "check the driver's access".into(),
            Self::Inspect => "inspect the hardware".into(),
            Self::Prepare => "prepare the deployment".into(),
            Self::Power { target } => format!("bring the machine to `{target}`"),
            Self::InsertMedium => "insert the deploy medium".into(),
            Self::EjectMedium => "eject the deploy medium".into(),
            Self::Boot { device, persistent } => format!(
                "set the boot device to `{device}`{}",
                if *persistent { "" } else { " once" }
            ),
            Self::AwaitAgent => "wait for the deploy agent".into(),
            Self::CleanStep { step } => format!(
                "clean step `{}`",
                step.get("step")
                    .and_then(|name| name.as_str())
                    .unwrap_or("?")
            ),
            Self::ReleaseInstance => "release the instance".into(),
        }
    }
}

/// Why the machine boots the deploy agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To write an image.
    Deploy,
    /// To wipe what tells of the last owner: partition tables and file system headers.
    CleanMetadata,
}

/// What is asked: a verb, or power alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// A verb of the provision state machine.
    Verb(Verb),
    /// Power alone: the provision state stays.
    Power(PowerTarget),
}

/// What is being done with a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// This piece of work and no other: reports of an older one are refused by it.
    pub id: Uuid,
    /// What was asked.
    pub asked: Asked,
    /// All steps, in order.
    pub steps: Vec<Step>,
    /// Index of the one that runs.
    pub at: usize,
    /// When that one must be done.
    pub deadline: Timestamp,
    /// How often it was tried.
    pub tries: u32,
    /// Not before: between two tries.
    pub not_before: Timestamp,
    /// Whether the instance was released, so that a failure is one of cleaning.
    pub released: bool,
    /// What the deploy agent is to do.
    pub purpose: Purpose,
    /// The deploy agent's secret.
    pub token: String,
    /// The secret in the medium's address, which BMCs log and show: it opens nothing else.
    pub media: String,
    /// What the deploy agent said at the end.
    pub result: Option<AgentResult>,
    /// Whether the last look found the machine off: some BMCs say so for a moment while it restarts.
    #[serde(default)]
    pub seen_off: bool,
}

/// How it went, in the words of the deploy agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentResult {
    /// Well.
    Done,
    /// Not: what it said.
    Failed(String),
}

impl Work {
    /// The step that runs.
    pub fn step(&self) -> Option<&Step> {
        self.steps.get(self.at)
    }

    /// Whether it waits for the machine and nobody works on it.
    pub fn is_waiting(&self) -> bool {
        matches!(self.step(), Some(Step::AwaitAgent)) && self.result.is_none()
    }

    /// The verb, where it is one.
    pub fn verb(&self) -> Option<Verb> {
        match self.asked {
            Asked::Verb(verb) => Some(verb),
            Asked::Power(_) => None,
        }
    }
}

/// What the decision depends on beside the verb.
#[derive(Debug, Clone, Default)]
pub struct PlanInput {
    /// Whether the node was in `enroll`: only then does `manage` check anything.
    pub enroll: bool,
    /// Whether cleaning runs by itself.
    pub automated_clean: bool,
    /// Steps of a manual cleaning.
    pub clean_steps: Vec<Object>,
}

/// Decides the steps of a verb for a driver that takes `road`.
pub fn plan(verb: Verb, road: Road, input: &PlanInput) -> Vec<Step> {
    match verb {
        Verb::Manage if input.enroll => vec![Step::Verify],
        Verb::Manage | Verb::Abort => Vec::new(),
        Verb::Provide => clean(road, input),
        Verb::Inspect => vec![Step::Inspect],
        Verb::Clean => input
            .clean_steps
            .iter()
            .map(|step| Step::CleanStep { step: step.clone() })
            .collect(),
        Verb::Adopt => vec![Step::Verify],
        Verb::Deploy | Verb::Rebuild => {
            let mut steps = vec![Step::Prepare];
            if road == Road::Agent {
                steps.extend(agent());
                steps.push(Step::Boot {
                    device: BootDevice::Disk,
                    persistent: true,
                });
                steps.push(Step::Power {
                    target: PowerTarget::On,
                });
            }
            steps
        }
        Verb::Undeploy => {
            let mut steps = Vec::new();
            if road == Road::Agent {
                steps.push(Step::Power {
                    target: PowerTarget::Off,
                });
                steps.push(Step::EjectMedium);
            }
            steps.push(Step::ReleaseInstance);
            steps.extend(clean(road, input));
            steps
        }
        Verb::Rescue | Verb::Unrescue => Vec::new(),
    }
}

fn clean(road: Road, input: &PlanInput) -> Vec<Step> {
    match (road, input.automated_clean) {
        (Road::Agent, true) => agent(),
        (Road::Agent, false) | (Road::Immediate, _) => Vec::new(),
    }
}

/// Boots the deploy agent once and leaves the machine off, with nothing in its drive.
fn agent() -> Vec<Step> {
    vec![
        Step::Power {
            target: PowerTarget::Off,
        },
        Step::InsertMedium,
        Step::Boot {
            device: BootDevice::Cdrom,
            persistent: false,
        },
        Step::Power {
            target: PowerTarget::On,
        },
        Step::AwaitAgent,
        Step::Power {
            target: PowerTarget::Off,
        },
        Step::EjectMedium,
    ]
}
