//! One tick over a stack: what can begin begins, what is done is noted, what is over is deleted.
//!
//! Takes no step itself. It changes the tree, notes events in the ledger and hands out the steps
//! that are to be taken once all of that is on disk.

use jiff::Timestamp;
use uuid::Uuid;

use crate::api::{Action, StackId, Status};
use crate::failure::Failure;
use crate::model::{Node, Row, Wait, physical_name};
use crate::plugins::{self, Around, Seed, Started};
use crate::record::Ledger;
use crate::sweep::{backward, forget, over, remove};
use crate::wanted::{Wanted, decide, wanted};
use changes::Fate;

/// What a tick works with.
pub(crate) struct Pass<'a> {
    /// Its number.
    pub number: u64,
    pub now: Timestamp,
    pub around: Around<'a>,
    pub ledger: &'a mut Ledger,
    /// Rows whose step is to be taken: stack, its name, row.
    pub steps: Vec<(StackId, String, Uuid)>,
    /// Servers whose node document changed.
    pub changed_servers: Vec<String>,
    /// What a document says of the root's resources that are taken over or restored, and which of the two it is.
    pub seeds: Option<(Action, &'a serde_json::Value)>,
    /// Names of the resources that the stack at hand is in.
    pub within: Vec<String>,
}

impl Pass<'_> {
    /// Gives a row that is to be made what the document says of it.
    fn sow(&self, row: &mut Row) {
        let Some((action, seeds)) = self.seeds else {
            return;
        };
        let mut place = seeds;
        for name in &self.within {
            place = &place[name.as_str()]["resources"];
        }
        let seed = Seed(&place[row.name.as_str()]);
        match action {
            Action::Adopt => seed.adopt(row),
            _ => seed.restore(row),
        }
    }
}

/// The reason of a stack that an action went well on.
pub(crate) fn success(node: &Node, action: Action) -> String {
    let reason = format!("Stack {action} completed successfully");
    let mut all = true;
    node.each_row(&mut |_, row| all &= plugins::can_check(row));
    if action == Action::Check && !all {
        return format!("{reason}. 'CHECK' not fully supported (see resources)");
    }
    reason
}

/// How far a part of the tree is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The first failure.
    pub failure: Option<Failure>,
    /// Whether something is under way.
    pub running: bool,
    /// Whether something cannot begin yet.
    pub blocked: bool,
}

impl Progress {
    /// Whether all of it is done.
    pub fn is_done(&self) -> bool {
        self.failure.is_none() && !self.running && !self.blocked
    }

    pub fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }
}

/// Makes, changes and keeps what is wanted in a stack.
pub(crate) fn forward(node: &mut Node, pass: &mut Pass<'_>) -> Progress {
    let mut progress = Progress::default();
    let order = std::sync::Arc::clone(&node.order);
    let requires = std::sync::Arc::clone(&node.requires);
    for name in order.iter() {
        if node
            .rows
            .get(name)
            .is_none_or(|row| row.pass != pass.number)
        {
            let in_call = node
                .rows
                .get(name)
                .is_some_and(|row| row.wait == Wait::Call);
            // What is required and not begun yet has no row.
            let is_ready = |required: &String| {
                let row = node.rows.get(required);
                row.is_some_and(|row| row.is_done(pass.number))
            };
            if in_call {
                progress.running = true;
                continue;
            }
            if !requires
                .get(name)
                .is_none_or(|all| all.iter().all(is_ready))
            {
                progress.blocked = true;
                continue;
            }
            meet(node, name, pass);
        }
        let (stack, stack_name, piece) = (node.id, node.name.clone(), node.piece(name));
        match make_way(node, name, pass) {
            Status::Complete => {}
            Status::InProgress => {
                progress.running = true;
                continue;
            }
            Status::Failed => {
                let message = "the one that it replaces cannot be deleted";
                progress.fail(Failure::new("ResourceFailure", message).within(piece));
                continue;
            }
        }
        if let Some(row) = node.rows.get_mut(name) {
            go_on(row, stack, &stack_name, &piece, pass);
            match row.status {
                Status::Complete => {}
                Status::InProgress => progress.running = true,
                Status::Failed => progress.fail(row.failure.clone().unwrap_or_else(|| {
                    Failure::new("ResourceFailure", row.reason.clone()).within(piece.clone())
                })),
            }
        }
    }
    progress
}

/// Deletes a replaced incarnation that stands in the way of the new one: a server that failed holds
/// a machine, and one with the same port holds that port. How far that is.
fn make_way(node: &mut Node, name: &str, pass: &mut Pass<'_>) -> Status {
    let new = node
        .rows
        .get(name)
        .filter(|row| row.status == Status::InProgress);
    let Some(new) = new.filter(|row| row.wait != Wait::Call) else {
        return Status::Complete;
    };
    let old = node.old.iter().filter(|old| old.name == name);
    let old = old.filter(|old| plugins::stands_in_the_way(old, new));
    let ids: Vec<Uuid> = old.map(|old| old.id).collect();
    let (stack, stack_name, piece) = (node.id, node.name.clone(), node.piece(name));
    let mut far = Status::Complete;
    for id in ids {
        let Some(old) = node.old.iter_mut().find(|old| old.id == id) else {
            continue;
        };
        remove(old, (stack, &stack_name), &piece, pass);
        match old.status {
            Status::Complete => forget(node, id, pass.ledger),
            Status::InProgress => far = Status::InProgress,
            Status::Failed => return Status::Failed,
        }
    }
    far
}

/// Looks at a resource for the first time in this pass.
fn meet(node: &mut Node, name: &str, pass: &mut Pass<'_>) {
    let Some(frame) = node.frame.clone() else {
        return;
    };
    let wanted = match wanted(node, &frame, name) {
        Ok(wanted) => wanted,
        Err(error) => return refuse(node, name, &frame, &Failure::from(error), pass),
    };
    let decision = node.rows.get(name).map(|row| decide(row, &wanted));
    match decision {
        None | Some(Fate::Replaced) => {
            if decision.is_some() {
                replace(node, name, &wanted, pass);
            } else {
                create(node, name, wanted, pass);
            }
        }
        Some(Fate::Unchanged) => {
            if let Some(row) = node.rows.get_mut(name) {
                row.pass = pass.number;
                row.dirty = true;
            }
        }
        Some(Fate::Updated) => update(node, name, wanted, pass),
    }
}

/// A resource whose properties do not resolve is failed without being begun.
fn refuse(node: &mut Node, name: &str, frame: &hot::Frame, failure: &Failure, pass: &mut Pass<'_>) {
    let failure = failure.within(node.piece(name));
    if !node.rows.contains_key(name) {
        let type_name = frame.resource(name).map(|one| one.type_name.clone());
        let row = new_row(&node.name, name, type_name.unwrap_or_default(), pass);
        node.rows.insert(name.to_owned(), row);
    }
    let (stack, stack_name) = (node.id, node.name.clone());
    if let Some(row) = node.rows.get_mut(name) {
        if row.action != Action::Create || row.status == Status::Complete {
            row.action = Action::Update;
        }
        row.pass = pass.number;
        row.status = Status::Failed;
        row.reason = failure.reason();
        row.broken = row.action == Action::Create;
        row.updated = pass.now;
        row.failure = Some(failure);
        row.dirty = true;
        pass.ledger.event_of(stack, &stack_name, row, pass.now);
    }
}

fn new_row(stack_name: &str, name: &str, type_name: String, pass: &Pass<'_>) -> Row {
    Row {
        id: Uuid::new_v4(),
        type_name,
        action: Action::Create,
        status: Status::InProgress,
        reason: "state changed".to_owned(),
        physical_name: physical_name(stack_name, name),
        created: pass.now,
        updated: pass.now,
        pass: pass.number,
        generation: 1,
        metadata: hot::Value::Map(hot::Map::new()),
        dirty: true,
        ..Row::blank(name)
    }
}

fn fill(row: &mut Row, wanted: Wanted) {
    let parts = wanted.wanted;
    row.type_name = parts.type_name;
    row.plugin = parts.plugin;
    row.given = parts.given_properties;
    row.properties = parts.properties;
    row.metadata = parts.metadata;
    row.definition = parts.definition;
    row.requires = wanted.requires;
    row.retain = wanted.retain;
    row.description = wanted.description;
    row.dirty = true;
}

fn create(node: &mut Node, name: &str, wanted: Wanted, pass: &mut Pass<'_>) {
    let mut row = new_row(&node.name, name, wanted.wanted.type_name.clone(), pass);
    let external = wanted.external_id.clone();
    let has_members = wanted.wanted.has_members;
    fill(&mut row, wanted);
    pass.sow(&mut row);
    if let Some(id) = external {
        row.physical_id = Some(id);
        row.external = true;
        row.action = Action::Check;
        row.status = Status::Complete;
    }
    pass.ledger.row_event(node, &row, pass.now);
    if has_members && row.status == Status::InProgress {
        open_child(node, &mut row, pass);
    }
    node.rows.insert(name.to_owned(), row);
}

fn replace(node: &mut Node, name: &str, wanted: &Wanted, pass: &mut Pass<'_>) {
    let stack = (node.id, node.name.clone());
    let Some(mut old) = node.rows.shift_remove(name) else {
        return;
    };
    old.reason = "The Resource requires replacement.".to_owned();
    old.dirty = true;
    if old.status != Status::Failed {
        let shown = Row {
            action: Action::Update,
            status: Status::Complete,
            reason: format!("The Resource {name} requires replacement."),
            child: None,
            ..old.clone()
        };
        pass.ledger.event_of(stack.0, &stack.1, &shown, pass.now);
    }
    node.old.push(old);
    // After a failed update the one that was there before may still be there.
    let before = node.old.iter().position(|row| {
        row.name == name
            && row.status == Status::Complete
            && row.action != Action::Delete
            && !row.broken
            && decide(row, wanted) == Fate::Unchanged
    });
    match before {
        Some(at) => {
            let mut row = node.old.remove(at);
            row.pass = pass.number;
            row.reason = "state changed".to_owned();
            row.dirty = true;
            node.rows.insert(name.to_owned(), row);
        }
        None => create(node, name, wanted.clone(), pass),
    }
}

fn update(node: &mut Node, name: &str, wanted: Wanted, pass: &mut Pass<'_>) {
    let Some((position, _, mut row)) = node.rows.shift_remove_full(name) else {
        return;
    };
    let made = !(row.action == Action::Create && row.status != Status::Complete);
    row.notes
        .insert("before".to_owned(), hot::map_to_json(&row.properties));
    let has_members = wanted.wanted.has_members;
    fill(&mut row, wanted);
    // One that was never made is made now, though what is wanted of it changed meanwhile.
    row.action = if made || has_members && row.child.is_some() {
        Action::Update
    } else {
        Action::Create
    };
    row.status = Status::InProgress;
    row.reason = "state changed".to_owned();
    row.pass = pass.number;
    row.generation += 1;
    row.updated = pass.now;
    row.broken = false;
    row.failure = None;
    row.wait = Wait::Ready;
    pass.ledger.row_event(node, &row, pass.now);
    if has_members {
        open_child(node, &mut row, pass);
    }
    node.rows.insert(name.to_owned(), row);
    let last = node.rows.len() - 1;
    node.rows.move_index(last, position.min(last));
}

/// Gives a row with members the stack that is wanted inside it.
fn open_child(node: &Node, row: &mut Row, pass: &mut Pass<'_>) {
    let Some(frame) = &node.frame else { return };
    let id = row
        .child
        .as_ref()
        .map_or_else(|| StackId(Uuid::new_v4()), |child| child.id);
    let opened = plugins::member(frame, row, id);
    let opened = opened.and_then(|frame| match &mut row.child {
        Some(child) => {
            child.action = row.action;
            child.status = Status::InProgress;
            child.reason = format!("Stack {} started", row.action);
            child.updated = Some(pass.now);
            child.dirty = true;
            note_removed(&mut row.notes, frame.as_ref());
            child.want(frame)
        }
        None => {
            note_removed(&mut row.notes, frame.as_ref());
            let name = frame.as_ref().map_or_else(
                || row.physical_name.clone(),
                |frame| frame.name().to_owned(),
            );
            let mut child = Node::new(id, name, row.action, pass.now);
            child.is_group = !row.plugin.is_empty();
            child.want(frame)?;
            row.physical_name.clone_from(&child.name);
            row.physical_id = Some(child.id.to_string());
            row.child = Some(Box::new(child));
            Ok(())
        }
    });
    match opened {
        Ok(()) => {
            if let Some(child) = &row.child {
                pass.ledger.stack_event(child, pass.now);
            }
        }
        Err(error) => {
            let failure = Failure::from(error).within(node.piece(&row.name));
            finish(row, Err(failure), (node.id, &node.name), pass);
        }
    }
}

/// A group remembers the names that it must never use again.
fn note_removed(notes: &mut crate::model::Notes, frame: Option<&hot::Frame>) {
    let removed = frame.map(hot::Frame::removed_members).unwrap_or_default();
    if !removed.is_empty() {
        notes.insert("removed".to_owned(), serde_json::json!(removed));
    }
}

/// Takes a row in progress as far as it goes without waiting.
pub(crate) fn go_on(
    row: &mut Row,
    stack: StackId,
    stack_name: &str,
    piece: &str,
    pass: &mut Pass<'_>,
) {
    if row.status != Status::InProgress || row.wait == Wait::Call {
        return;
    }
    if let Some(child) = &mut row.child {
        pass.within.push(row.name.clone());
        let done = inside(child, row.action, pass);
        pass.within.pop();
        if let Some(result) = done {
            let result = result.map_err(|failure| failure.within(piece.to_owned()));
            finish(row, result, (stack, stack_name), pass);
        }
        return;
    }
    match row.wait {
        Wait::Until(time) if time > pass.now => return,
        Wait::Cloud | Wait::Signal | Wait::Call => return,
        Wait::Until(_) | Wait::Ready => {}
    }
    match plugins::start(row, &pass.around, pass.ledger) {
        Ok(Started::Done) => finish(row, Ok(()), (stack, stack_name), pass),
        Ok(Started::Wait(wait)) => {
            row.wait = wait;
            row.dirty = true;
        }
        Ok(Started::Call) => {
            row.wait = Wait::Call;
            row.dirty = true;
            pass.steps.push((stack, stack_name.to_owned(), row.id));
        }
        Err(failure) => {
            let failure = failure.within(piece.to_owned());
            finish(row, Err(failure), (stack, stack_name), pass);
        }
    }
}

/// Takes a nested stack as far as it goes; its end, when it has one.
fn inside(child: &mut Node, action: Action, pass: &mut Pass<'_>) -> Option<Result<(), Failure>> {
    let progress = match action {
        Action::Delete => backward(child, true, pass),
        Action::Suspend | Action::Resume | Action::Check | Action::Snapshot => {
            over(child, action, pass)
        }
        _ => {
            let progress = forward(child, pass);
            if progress.is_done() {
                backward(child, false, pass)
            } else {
                progress
            }
        }
    };
    // A failure inside is told at once only when nothing inside still moves, so that one failed
    // member does not hide what becomes of the others.
    if progress.running {
        return None;
    }
    let result = match progress.failure {
        Some(failure) => Err(failure),
        None if progress.blocked => return None,
        None => Ok(()),
    };
    child.action = action;
    child.dirty = true;
    match &result {
        Ok(()) => {
            child.status = Status::Complete;
            child.reason = success(child, action);
        }
        Err(failure) => {
            child.status = Status::Failed;
            child.reason = format!("Resource {action} failed: {}", failure.reason());
        }
    }
    pass.ledger.stack_event(child, pass.now);
    Some(result)
}

/// Notes how an action on a resource ended.
pub(crate) fn finish(
    row: &mut Row,
    result: Result<(), Failure>,
    stack: (StackId, &str),
    pass: &mut Pass<'_>,
) {
    note_end(row, result, stack, pass.now, pass.ledger);
    if let Some(server) = plugins::server_of(row) {
        pass.changed_servers.push(server);
    }
}

/// The same, outside of a tick.
pub(crate) fn note_end(
    row: &mut Row,
    result: Result<(), Failure>,
    stack: (StackId, &str),
    now: Timestamp,
    ledger: &mut Ledger,
) {
    row.wait = Wait::Ready;
    row.updated = now;
    row.dirty = true;
    match result {
        Ok(()) => {
            row.status = Status::Complete;
            row.reason = "state changed".to_owned();
            row.broken = false;
            row.notes.remove("before");
        }
        Err(failure) => {
            row.status = Status::Failed;
            row.reason = failure.reason();
            // What could not be deleted is not replaced but deleted again.
            row.broken = row.action != Action::Delete;
            row.failure = Some(failure);
        }
    }
    ledger.event_of(stack.0, stack.1, row, now);
}
