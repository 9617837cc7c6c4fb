//! Taking requests: a verb or a power change is checked against the node's state, its steps are decided, and
//! both are written in one transaction. Doing the steps is `run`'s and `steps`' job.

use jiff::{SignedDuration, Timestamp};
use rand::TryRngCore;
use serde_json::json;
use store::Tx;
use uuid::Uuid;

use crate::deploy::DeployOrder;
use crate::error::MetalError;
use crate::hardware::Road;
use crate::metal::{Baremetal, get};
use crate::node::{Node, NodeId, Object};
use crate::parts::HistoryEvent;
use crate::rows;
use crate::settings::Settings;
use crate::state::{PowerTarget, ProvisionState, Verb};
use crate::work::{Asked, PlanInput, Purpose, Step, Work, plan};

/// A verb, and what some verbs need beside it.
#[derive(Debug, Clone)]
pub struct VerbRequest {
    /// The verb.
    pub verb: Verb,
    /// Steps of a manual cleaning.
    pub clean_steps: Vec<Object>,
    /// What is to be put onto the machine; none: what `instance_info` names.
    pub order: Option<DeployOrder>,
    /// A config drive for what `instance_info` names.
    pub config_drive: Option<Vec<u8>>,
}

impl From<Verb> for VerbRequest {
    fn from(verb: Verb) -> Self {
        Self {
            verb,
            clean_steps: Vec::new(),
            order: None,
            config_drive: None,
        }
    }
}

impl Baremetal {
    /// Asks for a verb. It is taken or refused now, and done by [`Baremetal::run`].
    pub async fn ask(&self, id: NodeId, mut request: VerbRequest) -> Result<Node, MetalError> {
        self.settle_power(id).await?;
        if matches!(request.verb, Verb::Deploy | Verb::Rebuild) && request.order.is_none() {
            request.order = self.order_of(id, request.config_drive.take()).await?;
        }
        let metal = self.clone();
        let node = self
            .write(move |tx| {
                let mut node = get(tx, id)?;
                metal.accept(tx, &mut node, request)?;
                metal.touch(&mut node);
                rows::update_node(tx, &node)?;
                Ok(node)
            })
            .await?;
        tracing::info!(node = %node.label(), state = %node.provision_state, "a verb was taken");
        Ok(node)
    }

    /// Asks for a change of power. The provision state stays what it is.
    pub async fn ask_power(&self, id: NodeId, target: PowerTarget) -> Result<Node, MetalError> {
        self.unlocked(id).await?;
        let metal = self.clone();
        self.write(move |tx| {
            let mut node = get(tx, id)?;
            if node.work.is_some() {
                return Err(metal.locked(&node));
            }
            node.target_power_state = Some(target);
            node.last_error = None;
            let steps = vec![Step::Power { target }];
            metal.begin(&mut node, Asked::Power(target), steps, Purpose::Deploy)?;
            metal.touch(&mut node);
            rows::update_node(tx, &node)?;
            Ok(node)
        })
        .await
    }

    /// A power change that runs is waited for; everything else is the state machine's to judge.
    async fn settle_power(&self, id: NodeId) -> Result<(), MetalError> {
        let node = self.node(id).await?;
        match node.work.as_ref().map(|work| work.asked) {
            Some(Asked::Power(_)) => self.unlocked(id).await,
            Some(Asked::Verb(_)) | None => Ok(()),
        }
    }

    /// The order that a node's `instance_info` stands for; none where its driver needs none.
    async fn order_of(
        &self,
        id: NodeId,
        config_drive: Option<Vec<u8>>,
    ) -> Result<Option<DeployOrder>, MetalError> {
        let node = self.node(id).await?;
        if self.hardware_of(&node)?.road() == Road::Immediate {
            return Ok(None);
        }
        let before = self.read(move |read| rows::order(read, id)).await?;
        let source = node
            .instance_info
            .get("image_source")
            .and_then(|source| source.as_str());
        let Some(source) = source else {
            return before
                .map(|order| {
                    Some(DeployOrder {
                        config_drive: config_drive.or(order.config_drive.clone()),
                        ..order
                    })
                })
                .ok_or_else(|| {
                    MetalError::Invalid(format!(
                        "Node {} failed to validate deploy image info. Some parameters were missing. Missing are: ['image_source']",
                        node.uuid
                    ))
                });
        };
        let images = self.settings().images.clone();
        let found = match images {
            Some(images) => images.find(source).await,
            None => Err("this server keeps no images".to_owned()),
        };
        let image = found.map_err(|why| {
            MetalError::Invalid(format!(
                "Failed to validate deploy image info of node {}: image_source `{source}`: {why}",
                node.uuid
            ))
        })?;
        Ok(Some(DeployOrder {
            image,
            config_drive: config_drive.or_else(|| before.and_then(|order| order.config_drive)),
            root_grow: true,
            disk: None,
        }))
    }

    /// Checks the request against the node and writes what is to be done into it.
    fn accept(&self, tx: &Tx<'_>, node: &mut Node, request: VerbRequest) -> Result<(), MetalError> {
        let verb = request.verb;
        check(node, verb)?;
        if node.is_locked() {
            return Err(self.locked(node));
        }
        if verb == Verb::Abort {
            return self.abort(tx, node);
        }
        let hardware = self.hardware_of(node)?;
        if matches!(verb, Verb::Rescue | Verb::Unrescue)
            && hardware.interfaces("rescue").contains(&"no-rescue")
        {
            return Err(MetalError::Invalid(format!(
                "Driver {} does not support rescue (disabled or not implemented).",
                node.driver
            )));
        }
        if let Some(order) = &request.order {
            rows::put_order(tx, node.uuid, order)?;
        }
        let input = PlanInput {
            enroll: node.provision_state == ProvisionState::Enroll,
            automated_clean: node
                .automated_clean
                .unwrap_or(self.inner.settings.automated_clean),
            clean_steps: request.clean_steps,
        };
        let steps = plan(verb, hardware.road(), &input);
        let purpose = match verb {
            Verb::Deploy | Verb::Rebuild => Purpose::Deploy,
            _ => Purpose::CleanMetadata,
        };
        node.last_error = None;
        if verb == Verb::Inspect {
            node.inspection_started_at = Some(self.now());
            node.inspection_finished_at = None;
        }
        self.begin(node, Asked::Verb(verb), steps, purpose)
    }

    /// Puts the steps into the node; with none of them it is at its goal at once.
    fn begin(
        &self,
        node: &mut Node,
        asked: Asked,
        steps: Vec<Step>,
        purpose: Purpose,
    ) -> Result<(), MetalError> {
        let now = self.now();
        node.driver_internal_info.remove("progress");
        if let Some(before) = &node.work {
            self.forget_medium(before);
        }
        let work = Work {
            id: Uuid::new_v4(),
            asked,
            deadline: deadline(&self.inner.settings, now, steps.first()),
            steps,
            at: 0,
            tries: 0,
            not_before: now,
            released: false,
            purpose,
            token: secret()?,
            media: secret()?,
            result: None,
            seen_off: false,
        };
        if let Asked::Verb(verb) = asked {
            node.target_provision_state = Some(verb.goal());
        }
        node.work = Some(work);
        show(node, now);
        Ok(())
    }

    fn abort(&self, tx: &Tx<'_>, node: &mut Node) -> Result<(), MetalError> {
        let state = node.provision_state;
        let to = state
            .aborted()
            .ok_or_else(|| MetalError::wrong_state(Verb::Abort, node))?;
        let text = format!(
            "By request, the operation of node {} in state \"{state}\" was aborted",
            node.label()
        );
        if let Some(work) = node.work.take() {
            self.forget_medium(&work);
        }
        set_state(node, to, self.now());
        node.last_error = Some(text.clone());
        rows::add_event(tx, &self.event(node, "ERROR", state, text))
    }

    pub(crate) fn event(
        &self,
        node: &Node,
        severity: &str,
        about: ProvisionState,
        text: String,
    ) -> HistoryEvent {
        HistoryEvent {
            uuid: Uuid::new_v4(),
            node: node.uuid,
            created_at: self.now(),
            severity: severity.to_owned(),
            event_type: about.word().to_owned(),
            event: text,
            conductor: self.inner.settings.host.clone(),
            user: None,
        }
    }
}

fn check(node: &Node, verb: Verb) -> Result<(), MetalError> {
    if !verb.from().contains(&node.provision_state) {
        return Err(MetalError::wrong_state(verb, node));
    }
    if node.protected && matches!(verb, Verb::Undeploy | Verb::Rebuild) {
        return Err(MetalError::Protected {
            node: node.uuid.to_string(),
        });
    }
    if node.maintenance && matches!(verb, Verb::Deploy | Verb::Rebuild) {
        return Err(MetalError::Invalid(format!(
            "The {verb} operation can't be performed on node {} because it's in maintenance mode.",
            node.uuid
        )));
    }
    if node.retired && verb == Verb::Provide {
        return Err(MetalError::Invalid(format!(
            "Node {} is retired and can not be made available.",
            node.uuid
        )));
    }
    Ok(())
}

/// When `step` must be done that begins at `now`.
pub(crate) fn deadline(settings: &Settings, now: Timestamp, step: Option<&Step>) -> Timestamp {
    let limits = &settings.deadlines;
    let limit = match step {
        Some(Step::Inspect) => limits.inspect,
        Some(Step::AwaitAgent) => limits.boot,
        Some(_) | None => limits.bmc,
    };
    after(now, limit)
}

/// When the deploy agent must be heard of again that was heard of at `now` and got on last at `moved`.
pub(crate) fn next_sign(
    settings: &Settings,
    now: Timestamp,
    moved: Timestamp,
    purpose: Purpose,
) -> Timestamp {
    after(now, settings.deadlines.silence).min(after(moved, standstill(settings, purpose)))
}

/// How long an agent that lives may get no further.
pub(crate) fn standstill(settings: &Settings, purpose: Purpose) -> std::time::Duration {
    match purpose {
        Purpose::Deploy => settings.deadlines.deploy,
        Purpose::CleanMetadata => settings.deadlines.clean,
    }
}

/// A time from now on, or the end of all time.
pub(crate) fn after(now: Timestamp, by: std::time::Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Shows the running work in the fields that people see; work that has no step left is finished.
pub(crate) fn show(node: &mut Node, now: Timestamp) {
    let Some(work) = &node.work else { return };
    let Some(step) = work.step() else {
        return finish(node, now);
    };
    let Asked::Verb(verb) = work.asked else {
        return;
    };
    let (running, waiting) = match (verb, work.released) {
        (Verb::Undeploy, true) => Verb::Provide.through(),
        (verb, _) => verb.through(),
    };
    let state = if work.is_waiting() { waiting } else { running };
    let shown = Object::from_iter([
        ("step".to_owned(), json!(step.words())),
        (
            "position".to_owned(),
            json!(format!("{} of {}", work.at + 1, work.steps.len())),
        ),
    ]);
    match (verb, work.purpose) {
        (Verb::Deploy | Verb::Rebuild, _) => node.deploy_step = shown,
        (Verb::Clean, _) => {
            if let Step::CleanStep { step } = step {
                node.clean_step = step.clone();
            }
        }
        (Verb::Provide | Verb::Undeploy, _) => node.clean_step = shown,
        (
            Verb::Manage
            | Verb::Inspect
            | Verb::Adopt
            | Verb::Rescue
            | Verb::Unrescue
            | Verb::Abort,
            _,
        ) => {}
    }
    set_state(node, state, now);
}

/// Brings the node to the goal of its work.
fn finish(node: &mut Node, now: Timestamp) {
    let Some(work) = node.work.take() else { return };
    node.clean_step = Object::new();
    node.deploy_step = Object::new();
    match work.asked {
        Asked::Power(_) => node.target_power_state = None,
        Asked::Verb(verb) => {
            if verb == Verb::Inspect {
                node.inspection_finished_at = Some(now);
            }
            node.driver_internal_info.remove("progress");
            node.target_provision_state = None;
            set_state(node, verb.goal(), now);
        }
    }
}

/// Ends the node's work badly. The goal stays to be seen, but for a node that was never under control.
pub(crate) fn fail(node: &mut Node, text: &str, now: Timestamp) {
    let Some(work) = node.work.take() else { return };
    node.clean_step = Object::new();
    node.deploy_step = Object::new();
    node.last_error = Some(text.to_owned());
    match work.asked {
        Asked::Power(_) => node.target_power_state = None,
        Asked::Verb(verb) => {
            let state = if work.released {
                ProvisionState::CleanFailed
            } else {
                verb.failed()
            };
            if verb == Verb::Manage {
                node.target_provision_state = None;
            }
            set_state(node, state, now);
        }
    }
}

fn set_state(node: &mut Node, state: ProvisionState, now: Timestamp) {
    if node.provision_state != state {
        node.provision_state = state;
        node.provision_updated_at = Some(now);
    }
}

/// 256 random bits in hexadecimal.
fn secret() -> Result<String, MetalError> {
    let mut bytes = [0_u8; 32];
    rand::rngs::OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| MetalError::Conflict(format!("no randomness for a secret: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
