//! What users ask of stacks: create, update, delete, cancel, suspend, resume, check.

use std::sync::Arc;

use changes::StackChanges;
use hot::Frame;
use jiff::Timestamp;
use uuid::Uuid;

use crate::advance;
use crate::api::{Action, Caller, CreateStack, StackId, Status, UpdateStack};
use crate::core::{Core, Live};
use crate::error::EngineError;
use crate::failure::Failure;
use crate::model::{Input, Node, Root, Wait};
use crate::record::Ledger;
use crate::tick;

impl Core {
    /// A living root stack.
    pub fn live(&self, id: StackId) -> Result<Arc<Live>, EngineError> {
        self.roots()
            .get(&id)
            .filter(|live| !live.has_ended())
            .cloned()
            .ok_or_else(|| EngineError::StackNotFound {
                name: id.to_string(),
            })
    }

    /// The living root in which a stack is, nested ones too.
    pub fn live_with(&self, id: StackId) -> Result<Arc<Live>, EngineError> {
        if let Ok(live) = self.live(id) {
            return Ok(live);
        }
        let all = self.all();
        let found = all
            .into_iter()
            .find(|live| live.lock().node.node(id).is_some());
        found.ok_or_else(|| EngineError::StackNotFound {
            name: id.to_string(),
        })
    }

    /// A stack as it would be made, not yet among the living.
    pub fn draft(&self, caller: &Caller, want: CreateStack) -> Result<Root, EngineError> {
        let now = self.now();
        let taken = self.all().into_iter().any(|live| {
            let root = live.lock();
            root.project == caller.project && root.node.name == want.name
        });
        if taken {
            return Err(EngineError::StackExists { name: want.name });
        }
        let node = Node::new(StackId(Uuid::new_v4()), want.name, Action::Create, now);
        let input = Input {
            template: want.template,
            files: want.files,
            environment: want.environment,
            tags: want.tags,
            timeout_mins: want.timeout_mins,
            disable_rollback: want.disable_rollback,
        };
        let mut root = Root {
            project: caller.project.clone(),
            owner: caller.user_name.clone(),
            owner_id: caller.user_id.clone(),
            user_project: None,
            input,
            previous: None,
            pass: 0,
            deadline: now,
            active: false,
            seeds: None,
            empty: false,
            node,
            ledger: Ledger::default(),
            deleted: None,
        };
        let frame = self.open_frame(&root, &root.input)?;
        frame.validate()?;
        root.node.want(Some(frame))?;
        Ok(root)
    }

    pub fn open_frame(&self, root: &Root, input: &Input) -> Result<Frame, EngineError> {
        Ok(Frame::open(
            &root.stack_input(input, &self.setup.endpoints.region),
        )?)
    }

    pub async fn create(
        self: &Arc<Core>,
        caller: &Caller,
        mut want: CreateStack,
    ) -> Result<StackId, EngineError> {
        let name = want.name.clone();
        let adopted = want.adopt.take();
        let mut root = self.draft(caller, want)?;
        let action = if let Some(document) = adopted {
            root.seeds = Some(document["resources"].clone());
            Action::Adopt
        } else {
            Action::Create
        };
        tick::begin(&mut root, action, self.now());
        let pending = self.commit(&mut root, None);
        pending.await.map_err(|error| match error {
            EngineError::Store { source } if source.is_constraint() => {
                EngineError::StackExists { name }
            }
            other => other,
        })?;
        let live = self.adopt(root);
        self.drive(&live);
        Ok(live.id)
    }

    /// What a stack would be made from after an update.
    fn updated_input(&self, root: &Root, want: UpdateStack) -> Result<Input, EngineError> {
        let old = &root.input;
        let template = match (want.template, want.existing) {
            (Some(template), _) => template,
            (None, true) => old.template.clone(),
            (None, false) => {
                return Err(EngineError::Invalid {
                    why: "No template specified".to_owned(),
                });
            }
        };
        let (environment, files, tags, timeout_mins) = if want.existing {
            (
                want.environment
                    .over(&old.environment, &want.clear_parameters),
                merged_files(want.files, &old.files),
                want.tags.unwrap_or_else(|| old.tags.clone()),
                want.timeout_mins.or(old.timeout_mins),
            )
        } else {
            (
                want.environment,
                want.files.unwrap_or_default(),
                want.tags.unwrap_or_default(),
                want.timeout_mins,
            )
        };
        Ok(Input {
            template,
            files,
            environment,
            tags,
            timeout_mins,
            disable_rollback: want.disable_rollback.unwrap_or(old.disable_rollback),
        })
    }

    /// Refuses what a stack in its state does not take; a restored one may be asleep.
    pub(crate) fn may_update(root: &Root, restores: bool) -> Result<(), EngineError> {
        let refused = |what: &str| {
            Err(EngineError::NotSupported {
                what: what.to_owned(),
            })
        };
        match (root.node.action, root.node.status) {
            (Action::Suspend, _) if !restores => refused("Updating a stack when it is suspended"),
            (Action::Delete, _) => refused("Updating a stack when it is deleting"),
            _ => Ok(()),
        }
    }

    pub async fn update(
        self: &Arc<Core>,
        id: StackId,
        want: UpdateStack,
    ) -> Result<(), EngineError> {
        let live = self.live(id)?;
        let now = self.now();
        let pending = {
            let mut root = live.lock();
            Core::may_update(&root, false)?;
            let input = self.updated_input(&root, want)?;
            let frame = self.open_frame(&root, &input)?;
            immutable(&root, &frame)?;
            frame.validate()?;
            // An update that takes over another one goes back to where that one began.
            let busy = root.node.status == Status::InProgress;
            let before = std::mem::replace(&mut root.input, input);
            if !busy {
                root.previous = Some(before);
            }
            root.node.want(Some(frame))?;
            root.empty = false;
            tick::begin(&mut root, Action::Update, now);
            self.commit(&mut root, None)
        };
        self.kept(&live, pending).await?;
        self.drive(&live);
        Ok(())
    }

    pub async fn preview_update(
        &self,
        id: StackId,
        want: UpdateStack,
    ) -> Result<StackChanges, EngineError> {
        let live = self.live(id)?;
        let root = live.lock();
        Core::may_update(&root, false)?;
        let input = self.updated_input(&root, want)?;
        let frame = self.open_frame(&root, &input)?;
        immutable(&root, &frame)?;
        frame.validate()?;
        crate::preview::changes(&root.node, &frame)
    }

    pub async fn delete(self: &Arc<Core>, id: StackId) -> Result<(), EngineError> {
        let live = self.live(id)?;
        let now = self.now();
        let pending = {
            let mut root = live.lock();
            if root.node.action == Action::Delete && root.active {
                return Ok(());
            }
            tick::begin(&mut root, Action::Delete, now);
            self.commit(&mut root, None)
        };
        self.kept(&live, pending).await?;
        self.drive(&live);
        Ok(())
    }

    pub async fn cancel(self: &Arc<Core>, id: StackId, rollback: bool) -> Result<(), EngineError> {
        let live = self.live(id)?;
        let now = self.now();
        let pending = {
            let mut root = live.lock();
            let (action, status) = (root.node.action, root.node.status);
            let is_running = status == Status::InProgress
                && (action == Action::Update || (action == Action::Create && !rollback));
            if !is_running {
                return Err(EngineError::NotSupported {
                    what: format!("Cancelling update when stack is ('{action}', '{status}')"),
                });
            }
            if rollback {
                tick::roll_back(&mut root, now);
            } else {
                stop(&mut root, action, now);
            }
            self.commit(&mut root, None)
        };
        self.kept(&live, pending).await?;
        self.drive(&live);
        Ok(())
    }

    pub async fn act(self: &Arc<Core>, id: StackId, action: Action) -> Result<(), EngineError> {
        let live = self.live(id)?;
        let now = self.now();
        let pending = {
            let mut root = live.lock();
            let busy = root.node.status == Status::InProgress;
            let again = action == Action::Suspend
                && (root.node.action, root.node.status) == (Action::Suspend, Status::Complete);
            if again {
                return Ok(());
            }
            tick::begin(&mut root, action, now);
            if busy {
                let reason = format!(
                    "Cannot {} a stack that is busy",
                    action.as_str().to_lowercase()
                );
                tick::set_state(&mut root, action, Status::Failed, reason, now);
                root.active = false;
            }
            self.commit(&mut root, None)
        };
        self.kept(&live, pending).await?;
        self.drive(&live);
        Ok(())
    }

    /// Marks a resource as broken or whole.
    pub async fn mark(
        self: &Arc<Core>,
        id: StackId,
        resource: &str,
        unhealthy: bool,
        reason: Option<String>,
    ) -> Result<(), EngineError> {
        let live = self.live_with(id)?;
        let now = self.now();
        let pending = {
            let mut root = live.lock();
            let Root { node, ledger, .. } = &mut *root;
            let node = node
                .node_mut(id)
                .ok_or_else(|| EngineError::StackNotFound {
                    name: id.to_string(),
                })?;
            let (stack, stack_name) = (node.id, node.name.clone());
            let mut rows = node.rows.values_mut();
            let found = rows
                .find(|row| row.name == resource || row.physical_id.as_deref() == Some(resource));
            let row = found.ok_or_else(|| EngineError::ResourceNotFound {
                resource: resource.to_owned(),
                stack: stack_name.clone(),
            })?;
            row.action = Action::Check;
            row.status = if unhealthy {
                Status::Failed
            } else {
                Status::Complete
            };
            row.reason = reason.unwrap_or_else(|| "state changed".to_owned());
            row.broken = unhealthy;
            row.updated = now;
            row.dirty = true;
            ledger.event_of(stack, &stack_name, row, now);
            self.commit(&mut root, None)
        };
        self.kept(&live, pending).await
    }
}

/// Files of the request over those that are there.
fn merged_files(given: Option<hot::Files>, old: &hot::Files) -> hot::Files {
    let Some(given) = given else {
        return old.clone();
    };
    let all = old.iter().chain(given.iter());
    hot::Files::new(
        all.map(|(name, text)| (name.to_owned(), text.to_owned()))
            .collect(),
    )
}

/// Refuses new values of parameters that may not change.
fn immutable(root: &Root, wanted: &Frame) -> Result<(), EngineError> {
    let Some(before) = &root.node.frame else {
        return Ok(());
    };
    for (schema, _) in wanted.parameter_schemas() {
        if !schema.immutable {
            continue;
        }
        let (Ok(old), Ok(new)) = (
            before.parameter(&schema.name),
            wanted.parameter(&schema.name),
        ) else {
            continue;
        };
        if !old.equals(&new) {
            let message = format!(
                "The following parameters are immutable and may not be updated: {}",
                schema.name
            );
            let error = hot::TemplateError::new(hot::Kind::ImmutableParameterModified, message);
            return Err(error.into());
        }
    }
    Ok(())
}

/// Stops an action where it stands.
fn stop(root: &mut Root, action: Action, now: Timestamp) {
    let mut waiting = Vec::new();
    root.node.each_row(&mut |node, row| {
        if row.status == Status::InProgress && row.wait != Wait::Call && row.child.is_none() {
            waiting.push((row.id, node.id, node.name.clone(), node.piece(&row.name)));
        }
    });
    for (id, stack, stack_name, piece) in waiting {
        if let Some(row) = root.node.row_mut(id) {
            let failure = Failure::new("Cancelled", format!("{} cancelled", row.action));
            let end = (stack, stack_name.as_str());
            advance::note_end(row, Err(failure.within(piece)), end, now, &mut root.ledger);
        }
    }
    let reason = format!("{action} cancelled by user");
    tick::set_state(root, action, Status::Failed, reason, now);
    root.active = false;
    root.ledger.body = true;
}
