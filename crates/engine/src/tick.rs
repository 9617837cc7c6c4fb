//! One look at a root stack: takes what ended, goes on with what can, says what to do next.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::advance::{self, Pass, Progress};
use crate::api::{Action, StackId, Status};
use crate::core::Core;
use crate::failure::Failure;
use crate::model::{Notes, Root, Row, Wait};
use crate::plugins::{self, Around, Outcome, Work};
use crate::record::Put;
use crate::{snapshots, sweep};

/// The end of a step.
pub(crate) struct Ended {
    pub row: Uuid,
    pub generation: u64,
    pub result: Result<Outcome, Failure>,
}

/// What came of a look.
#[derive(Default)]
pub(crate) struct Tick {
    /// Steps to take once all is on disk.
    pub steps: Vec<Work>,
    pub changed_servers: Vec<String>,
    /// When to look again, whatever happens.
    pub next: Option<Timestamp>,
    pub waits_for_cloud: bool,
    /// Whether nothing is left to do but steps that are under way.
    pub at_rest: bool,
    /// The stack is gone since then.
    pub deleted: Option<Timestamp>,
    /// All is deleted but the project of the stack's users.
    pub close_account: Option<String>,
}

impl Tick {
    pub fn run(core: &Arc<Core>, root: &mut Root, ended: Vec<Ended>, cloud_moved: bool) -> Tick {
        let mut tick = Tick::default();
        let now = core.now();
        for one in ended {
            tick.take(root, one, now);
        }
        if cloud_moved {
            root.node.each_row_mut(&mut |row| {
                if row.wait == Wait::Cloud {
                    row.wait = Wait::Ready;
                }
            });
        }
        if root.active && now >= root.deadline {
            time_out(root, now);
        }
        while root.active && tick.advance(core, root, now) {}
        tick.at_rest = !root.active && tick.close_account.is_none();
        tick.look_ahead(root);
        tick
    }

    /// Notes how a step ended.
    fn take(&mut self, root: &mut Root, ended: Ended, now: Timestamp) {
        let Some((node, row)) = root.node.row(ended.row) else {
            return;
        };
        if row.generation != ended.generation || row.wait != Wait::Call {
            return;
        }
        let (stack, stack_name, piece) = (node.id, node.name.clone(), node.piece(&row.name));
        let deadline = root.deadline;
        let Some(row) = root.node.row_mut(ended.row) else {
            return;
        };
        row.dirty = true;
        row.wait = Wait::Ready;
        match ended.result {
            Ok(outcome) => {
                row.physical_id = outcome.physical_id.or(row.physical_id.take());
                row.notes.extend(outcome.notes);
                row.notes.remove("tries");
                root.ledger.puts.extend(outcome.puts);
                self.changed_servers.extend(outcome.servers);
                match outcome.wait {
                    Some(wait) => {
                        row.wait = wait;
                        if let Some(why) = outcome.why {
                            row.reason = why;
                        }
                    }
                    None => {
                        self.changed_servers.extend(plugins::server_of(row));
                        advance::note_end(row, Ok(()), (stack, &stack_name), now, &mut root.ledger);
                    }
                }
            }
            Err(failure) if failure.retry && now < deadline => {
                let tries = row.notes.get("tries").and_then(serde_json::Value::as_u64);
                let tries = tries.unwrap_or_default() + 1;
                row.notes.insert("tries".to_owned(), tries.into());
                let pause = SignedDuration::from_secs(1 << tries.min(5));
                row.wait = Wait::Until(now.checked_add(pause).unwrap_or(deadline).min(deadline));
                row.reason = format!("tried {tries} times: {}", failure.message);
            }
            Err(failure) => {
                let failure = failure.within(piece);
                let end = (stack, stack_name.as_str());
                advance::note_end(row, Err(failure), end, now, &mut root.ledger);
            }
        }
    }

    /// Goes on with the action on the stack; whether to look again at once.
    fn advance(&mut self, core: &Arc<Core>, root: &mut Root, now: Timestamp) -> bool {
        let action = root.node.action;
        let signals = signals(root);
        let handles = |reference: &str| signals.get(reference).cloned();
        let around = Around {
            now,
            project: &root.project,
            handles: &handles,
        };
        let mut pass = Pass {
            number: root.pass,
            now,
            around,
            ledger: &mut root.ledger,
            steps: Vec::new(),
            changed_servers: Vec::new(),
            seeds: root.seeds.as_ref().map(|seeds| (action, seeds)),
            within: Vec::new(),
        };
        let node = &mut root.node;
        let progress = match action {
            Action::Delete => sweep::backward(node, true, &mut pass),
            Action::Suspend | Action::Resume | Action::Check | Action::Snapshot => {
                sweep::over(node, action, &mut pass)
            }
            _ => {
                let progress = advance::forward(node, &mut pass);
                if progress.is_done() {
                    sweep::backward(node, false, &mut pass)
                } else {
                    progress
                }
            }
        };
        let steps = std::mem::take(&mut pass.steps);
        self.changed_servers.append(&mut pass.changed_servers);
        for (stack, stack_name, row) in steps {
            self.steps.extend(work(core, root, stack, stack_name, row));
        }
        self.conclude(root, progress, now)
    }

    /// Notes how far the stack is; whether something new is to be begun.
    fn conclude(&mut self, root: &mut Root, progress: Progress, now: Timestamp) -> bool {
        let action = root.node.action;
        if let Some(failure) = &progress.failure {
            if root.node.status == Status::InProgress {
                let word = match action {
                    Action::Rollback => Action::Update,
                    other => other,
                };
                let reason = format!("Resource {word} failed: {}", failure.reason());
                set_state(root, action, Status::Failed, reason, now);
                let may_roll_back = matches!(action, Action::Create | Action::Update);
                if may_roll_back && !root.input.disable_rollback {
                    roll_back(root, now);
                    return true;
                }
            }
            if !progress.running {
                root.active = false;
                root.ledger.body = true;
            }
            return false;
        }
        if !progress.is_done() {
            return false;
        }
        if action == Action::Delete {
            if let Some(project) = root.user_project.clone() {
                self.close_account = Some(project);
                return false;
            }
            self.deleted = Some(now);
            root.deleted = Some(now);
            root.ledger.puts.push(Put::DropSnapshots);
        }
        let reason = advance::success(&root.node, action);
        set_state(root, action, Status::Complete, reason, now);
        root.previous = None;
        root.seeds = None;
        root.active = false;
        root.ledger.body = true;
        false
    }

    /// Finds out what the stack waits for.
    fn look_ahead(&mut self, root: &mut Root) {
        let mut next = root.active.then_some(root.deadline);
        let mut cloud = false;
        root.node.each_row(&mut |_, row| match row.wait {
            Wait::Cloud => cloud = true,
            Wait::Until(time) if row.status == Status::InProgress => {
                next = Some(next.map_or(time, |next| next.min(time)));
            }
            Wait::Until(_) | Wait::Ready | Wait::Call | Wait::Signal => {}
        });
        self.next = next;
        self.waits_for_cloud = cloud;
    }
}

/// The step of a row.
fn work(
    core: &Arc<Core>,
    root: &Root,
    stack: StackId,
    stack_name: String,
    id: Uuid,
) -> Option<Work> {
    let (_, row) = root.node.row(id)?;
    let row = Row {
        child: None,
        ..row.clone()
    };
    Some(Work {
        setup: Arc::clone(&core.setup),
        row,
        stack,
        stack_name,
        project: root.project.clone(),
        user_project: root.user_project.clone().unwrap_or_default(),
        deadline: root.deadline,
    })
}

/// What the handles of wait conditions have received, by what refers to them.
fn signals(root: &Root) -> HashMap<String, Notes> {
    let mut all = HashMap::new();
    root.node.each_row(&mut |_, row| {
        if plugins::is_handle(row)
            && let Some(reference) = plugins::reference(row)
        {
            // A replaced handle has the address of the new one, which comes first.
            all.entry(reference.python_str())
                .or_insert_with(|| plugins::handle_signals(row));
        }
    });
    all
}

/// Sets the state of a stack, with its event.
pub(crate) fn set_state(
    root: &mut Root,
    action: Action,
    status: Status,
    reason: String,
    now: Timestamp,
) {
    let snapshot = (root.node.action, root.node.status) == (Action::Snapshot, Status::InProgress);
    root.node.action = action;
    root.node.status = status;
    root.node.reason = reason;
    root.node.dirty = true;
    if snapshot {
        let put = snapshots::ended(root, action, status, &root.node.reason);
        root.ledger.puts.push(put);
    }
    root.ledger.stack_event(&root.node, now);
}

/// Begins an action on a stack: a new pass over all that is in it.
pub(crate) fn begin(root: &mut Root, action: Action, now: Timestamp) {
    root.pass += 1;
    root.active = true;
    if action != Action::Adopt {
        root.seeds = None;
    }
    let minutes = root.input.timeout_mins.unwrap_or(60);
    let span = SignedDuration::from_mins(i64::try_from(minutes).unwrap_or(60));
    root.deadline = now.checked_add(span).unwrap_or(Timestamp::MAX);
    if !matches!(action, Action::Create | Action::Adopt) {
        root.node.updated = Some(now);
    }
    root.ledger.body = true;
    let reason = format!("Stack {action} started");
    set_state(root, action, Status::InProgress, reason, now);
}

/// Brings a stack back to what it was made from before; a creation to nothing.
pub(crate) fn roll_back(root: &mut Root, now: Timestamp) {
    let region = root
        .node
        .frame
        .as_ref()
        .map(|frame| frame.input().region.clone());
    root.empty = root.previous.is_none();
    let frame = root.previous.take().and_then(|previous| {
        root.input = previous;
        // It was opened when it was current, so it opens again.
        hot::Frame::open(&root.stack_input(&root.input, &region.unwrap_or_default())).ok()
    });
    if let Err(error) = root.node.want(frame) {
        tracing::error!(stack = %root.node.id, %error, "the template before the update does not open");
    }
    begin(root, Action::Rollback, now);
}

/// Fails all that still waits.
fn time_out(root: &mut Root, now: Timestamp) {
    let mut late = Vec::new();
    root.node.each_row(&mut |node, row| {
        let waits = row.wait != Wait::Call && row.child.is_none();
        if row.status == Status::InProgress && waits {
            late.push((row.id, node.id, node.name.clone(), node.piece(&row.name)));
        }
    });
    for (id, stack, stack_name, piece) in late {
        let Some(row) = root.node.row_mut(id) else {
            continue;
        };
        let waited = format!("Timed out: {}", row.reason);
        let failure = Failure::new("Timeout", waited).within(piece);
        advance::note_end(
            row,
            Err(failure),
            (stack, &stack_name),
            now,
            &mut root.ledger,
        );
    }
    if root.node.status == Status::InProgress {
        let action = root.node.action;
        set_state(root, action, Status::Failed, "Timed out".to_owned(), now);
        if matches!(action, Action::Create | Action::Update) && !root.input.disable_rollback {
            roll_back(root, now);
            return;
        }
    }
    // What is under way ends by itself; nothing new is begun.
    root.active = false;
    root.ledger.body = true;
}
