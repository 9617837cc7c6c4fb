//! Goes backwards or over a stack: deletes what is not wanted, suspends, resumes, checks.

use uuid::Uuid;

use crate::advance::{Pass, Progress, finish, go_on};
use crate::api::{Action, StackId, Status};
use crate::failure::Failure;
use crate::model::{Node, Row, Wait};
use crate::plugins;
use crate::record::{Ledger, Put};

/// Deletes what is not wanted (or all), dependents first.
pub(crate) fn backward(node: &mut Node, all: bool, pass: &mut Pass<'_>) -> Progress {
    loop {
        let doomed = doomed(node, all);
        let ready: Vec<(bool, Uuid)> = doomed
            .iter()
            .filter(|(_, row)| {
                let required_by = |(_, other): &(bool, &Row)| {
                    other.id != row.id && other.requires.contains(&row.name)
                };
                !doomed.iter().any(required_by)
            })
            .map(|(current, row)| (*current, row.id))
            .collect();
        let mut progress = Progress {
            blocked: ready.len() < doomed.len(),
            ..Progress::default()
        };
        let mut gone = Vec::new();
        let (stack, stack_name, is_group) = (node.id, node.name.clone(), node.is_group);
        for (_, id) in ready {
            let Some(row) = node.all_rows_mut().find(|row| row.id == id) else {
                continue;
            };
            let piece = if is_group {
                format!("resources[{}]", row.name)
            } else {
                format!("resources.{}", row.name)
            };
            remove(row, (stack, &stack_name), &piece, pass);
            match row.status {
                Status::Complete => gone.push(id),
                Status::InProgress => progress.running = true,
                Status::Failed => progress.fail(row.failure.clone().unwrap_or_else(|| {
                    Failure::new("ResourceFailure", row.reason.clone()).within(piece.clone())
                })),
            }
        }
        if gone.is_empty() {
            return progress;
        }
        for id in gone {
            forget(node, id, pass.ledger);
        }
    }
}

/// Rows that are to be deleted; whether each is the current one of its name.
fn doomed(node: &Node, all: bool) -> Vec<(bool, &Row)> {
    let wanted = |name: &str| {
        node.frame
            .as_ref()
            .is_some_and(|frame| frame.resource(name).is_some())
    };
    let current = node.rows.values().filter(|row| all || !wanted(&row.name));
    let current = current.map(|row| (true, row));
    current
        .chain(node.old.iter().map(|row| (false, row)))
        .collect()
}

/// Begins or goes on with the deletion of a row.
pub(crate) fn remove(row: &mut Row, stack: (StackId, &str), piece: &str, pass: &mut Pass<'_>) {
    let begun = row.action == Action::Delete && row.pass == pass.number;
    if !begun {
        if row.wait == Wait::Call {
            // The call that is under way ends first; deleting beside it could leave what it makes.
            row.status = Status::InProgress;
            return;
        }
        row.action = Action::Delete;
        row.status = Status::InProgress;
        row.reason = "state changed".to_owned();
        row.pass = pass.number;
        row.generation += 1;
        row.updated = pass.now;
        row.wait = Wait::Ready;
        row.failure = None;
        row.dirty = true;
        pass.ledger.event_of(stack.0, stack.1, row, pass.now);
        if let Some(child) = &mut row.child {
            child.action = Action::Delete;
            child.status = Status::InProgress;
            child.reason = "Stack DELETE started".to_owned();
            child.dirty = true;
        }
        // What stays has no use for its account, which leads to the stack alone.
        if row.retain && row.note("user_id").is_none() {
            return finish(row, Ok(()), stack, pass);
        }
    }
    go_on(row, stack.0, stack.1, piece, pass);
}

/// Takes a deleted row out of the tree and of the tables.
pub(crate) fn forget(node: &mut Node, id: Uuid, ledger: &mut Ledger) {
    let mut gone = None;
    if let Some(name) = node
        .rows
        .values()
        .find(|row| row.id == id)
        .map(|row| row.name.clone())
    {
        gone = node.rows.shift_remove(&name);
    } else if let Some(at) = node.old.iter().position(|row| row.id == id) {
        gone = Some(node.old.remove(at));
    }
    if let Some(row) = gone {
        forget_below(&row, ledger);
    }
}

fn forget_below(row: &Row, ledger: &mut Ledger) {
    ledger.puts.push(Put::DropRow(row.id));
    if let Some(child) = &row.child {
        for inner in child.all_rows() {
            forget_below(inner, ledger);
        }
        ledger.puts.push(Put::DropStack(child.id));
    }
}

/// Begins an action that changes nothing of what is wanted of a row.
fn begin_over(row: &mut Row, action: Action, pass: &Pass<'_>) {
    row.pass = pass.number;
    row.action = action;
    row.status = Status::InProgress;
    row.reason = "state changed".to_owned();
    row.updated = pass.now;
    row.generation += 1;
    row.wait = Wait::Ready;
    row.dirty = true;
    if action == Action::Check && !plugins::can_check(row) {
        row.status = Status::Complete;
        row.reason = format!("CHECK not supported for {}", row.type_name);
    }
}

/// Suspends, resumes, checks or writes down all that is there; suspending goes backwards.
pub(crate) fn over(node: &mut Node, action: Action, pass: &mut Pass<'_>) -> Progress {
    let mut progress = Progress::default();
    let mut names: Vec<String> = node.order.to_vec();
    let forwards = action != Action::Suspend;
    if !forwards {
        names.reverse();
    }
    let requires = std::sync::Arc::clone(&node.requires);
    let (stack, stack_name) = (node.id, node.name.clone());
    for name in &names {
        let done = |other: &String| {
            node.rows
                .get(other)
                .is_none_or(|row| row.is_done(pass.number) && row.action == action)
        };
        let ready = if forwards {
            requires.get(name).is_none_or(|all| all.iter().all(done))
        } else {
            let mut requirers = requires.iter().filter(|(_, all)| all.contains(name));
            requirers.all(|(requirer, _)| done(requirer))
        };
        let piece = node.piece(name);
        let Some(row) = node.rows.get_mut(name) else {
            continue;
        };
        if row.pass != pass.number {
            if row.wait == Wait::Call || !ready {
                progress.blocked |= row.wait != Wait::Call;
                progress.running |= row.wait == Wait::Call;
                continue;
            }
            begin_over(row, action, pass);
            pass.ledger.event_of(stack, &stack_name, row, pass.now);
        }
        go_on(row, stack, &stack_name, &piece, pass);
        match row.status {
            Status::Complete => {}
            Status::InProgress => progress.running = true,
            Status::Failed => progress.fail(row.failure.clone().unwrap_or_else(|| {
                Failure::new("ResourceFailure", row.reason.clone()).within(piece.clone())
            })),
        }
    }
    progress
}
