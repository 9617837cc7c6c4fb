//! The scheduler: finds nodes whose work is due, takes their lease, and does step after step.
//!
//! A step is done outside of any transaction and written down afterwards; killed in between, it is done again.
//! One node that hangs holds one slot until its deadline, and no other node.

use std::future::Future;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use store::{StoreError, Tx};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use crate::error::{MetalError, chain};
use crate::metal::Baremetal;
use crate::node::{Node, NodeId};
use crate::rows;
use crate::state::Power;
use crate::steps::{Change, StepError};
use crate::verbs::{deadline, fail, show};
use crate::wait::next_look;
use crate::work::{Asked, Step, Work};

/// The longest nap: another server that shares the database may have left work behind.
const NAP: Duration = Duration::from_secs(30);
/// Kept after a step's deadline before another server may take the node over.
const LEASE_MARGIN: SignedDuration = SignedDuration::from_secs(60);
/// Tries of a step whose BMC did not answer. The client of the BMC has already tried several times.
const TRIES: u32 = 3;

/// What follows on a step.
enum Next {
    Again,
    Rest,
}

impl Baremetal {
    /// Works on nodes until `stop`. What runs then is left as it is: the next run does it again.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut tasks = JoinSet::new();
        self.inner
            .allocating
            .store(true, std::sync::atomic::Ordering::SeqCst);
        loop {
            let nap = match self.start_due(&mut tasks).await {
                Ok(next) => self.nap_until(next),
                Err(MetalError::Store(StoreError::Closed)) => return,
                Err(error) => {
                    tracing::error!(error = %chain(&error), "the nodes to work on could not be read");
                    Duration::from_secs(1)
                }
            };
            tokio::select! {
                () = &mut stop => return,
                () = self.inner.wake.notified() => {}
                Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
                () = tokio::time::sleep(nap) => {}
            }
        }
    }

    fn nap_until(&self, next: Option<Timestamp>) -> Duration {
        let Some(next) = next else { return NAP };
        let left = next.duration_since(self.now());
        Duration::try_from(left)
            .unwrap_or(Duration::ZERO)
            .clamp(Duration::from_millis(1), NAP)
    }

    /// Starts what is due, as far as slots are free; says when more will be.
    async fn start_due(&self, tasks: &mut JoinSet<()>) -> Result<Option<Timestamp>, MetalError> {
        if self
            .inner
            .allocating
            .swap(false, std::sync::atomic::Ordering::SeqCst)
        {
            self.settle_allocations().await?;
        }
        let now = self.now();
        let free = self.inner.slots.available_permits();
        let due = self
            .read(move |read| rows::due_nodes(read, now, free))
            .await?;
        for id in due {
            let Ok(slot) = self.inner.slots.clone().try_acquire_owned() else {
                break;
            };
            if self.claim(id).await? {
                let metal = self.clone();
                tasks.spawn(async move { metal.work_on(id, slot).await });
            }
        }
        if self.inner.slots.available_permits() == 0 {
            // A task that ends wakes the loop.
            return Ok(None);
        }
        self.read(move |read| rows::next_due(read, now)).await
    }

    async fn claim(&self, id: NodeId) -> Result<bool, MetalError> {
        let host = self.inner.settings.host.clone();
        let now = self.now();
        // Written without waking: a claim is nobody's news.
        self.inner
            .store
            .write(move |tx| {
                let Some(node) = rows::node(tx, id)? else {
                    return Ok(false);
                };
                let until = node.work.map_or(now, |work| work.deadline).max(now);
                rows::claim(
                    tx,
                    id,
                    &host,
                    now,
                    until.saturating_add(LEASE_MARGIN).unwrap_or(until),
                )
            })
            .await
    }

    /// Does step after step until the work rests.
    async fn work_on(&self, id: NodeId, slot: OwnedSemaphorePermit) {
        loop {
            match self.one_step(id).await {
                Ok(Next::Again) => {}
                Ok(Next::Rest) => break,
                Err(error) => {
                    tracing::error!(node = %id, error = %chain(&error), "a step could not be written down");
                    break;
                }
            }
        }
        drop(slot);
        self.inner.wake.notify_one();
    }

    async fn one_step(&self, id: NodeId) -> Result<Next, MetalError> {
        let node = match self.node(id).await {
            Ok(node) => node,
            Err(MetalError::NotFound { .. }) => return Ok(Next::Rest),
            Err(error) => return Err(error),
        };
        let Some(work) = node.work.clone() else {
            let host = self.inner.settings.host.clone();
            self.write(move |tx| rows::release(tx, id, &host)).await?;
            return Ok(Next::Rest);
        };
        let outcome = match work.step() {
            Some(step) => {
                tracing::debug!(node = %node.label(), step = %step.words(), tries = work.tries, "a step begins");
                self.bounded(&node, &work, step).await
            }
            None => Ok(Change::nothing()),
        };
        let metal = self.clone();
        self.write(move |tx| metal.commit(tx, id, &work, outcome))
            .await
    }

    /// Does the step, but not longer than its deadline.
    async fn bounded(&self, node: &Node, work: &Work, step: &Step) -> Result<Change, StepError> {
        if let Step::AwaitAgent = step {
            return self.agent_result(node, work).await;
        }
        let left = Duration::try_from(work.deadline.duration_since(self.now()));
        let late = || StepError::last("it was not done in time");
        let left = left.map_err(|_| late())?;
        tokio::time::timeout(left, self.do_step(node, work, step))
            .await
            .map_err(|_| late())?
    }

    /// Writes down how a step went.
    fn commit(
        &self,
        tx: &Tx<'_>,
        id: NodeId,
        done: &Work,
        outcome: Result<Change, StepError>,
    ) -> Result<Next, MetalError> {
        let host = &self.inner.settings.host;
        let Some(mut node) = rows::node(tx, id)? else {
            return Ok(Next::Rest);
        };
        let current = node.work.as_mut();
        let Some(work) = current.filter(|work| work.id == done.id && work.at == done.at) else {
            // Somebody asked for something else meanwhile.
            rows::release(tx, id, host)?;
            return Ok(Next::Rest);
        };
        let now = self.now();
        if done.is_waiting() && (work.result.is_some() || work.deadline != done.deadline) {
            // The agent was heard while the machine was looked at: that counts, not the look.
            return Ok(Next::Again);
        }
        match outcome {
            Ok(Change::Wait { off }) => {
                work.seen_off = off;
                work.not_before = next_look(&self.inner.settings, now, off);
                if off {
                    node.power_state = Some(Power::Off);
                }
                rows::update_node(tx, &node)?;
                rows::release(tx, id, host)?;
                return Ok(Next::Rest);
            }
            Ok(Change::Apply(apply)) => {
                apply(tx, &mut node)?;
                if let Some(work) = &mut node.work {
                    work.at += 1;
                    work.tries = 0;
                    work.deadline = deadline(&self.inner.settings, now, work.step());
                    work.not_before = if work.is_waiting() {
                        next_look(&self.inner.settings, now, false)
                    } else {
                        now
                    };
                }
                show(&mut node, now);
            }
            Err(error) if error.again && work.tries + 1 < TRIES && is_patient(work) => {
                work.tries += 1;
                let pause = SignedDuration::from_secs(2 << work.tries);
                work.not_before = now.saturating_add(pause).unwrap_or(now);
                tracing::warn!(node = %id, error = %error.text, tries = work.tries, "a step is tried again");
            }
            Err(error) => self.give_up(tx, &mut node, done, &error.text)?,
        }
        self.touch(&mut node);
        rows::update_node(tx, &node)?;
        let goes_on = node
            .work
            .as_ref()
            .is_some_and(|work| !work.is_waiting() && work.not_before <= now);
        if goes_on {
            return Ok(Next::Again);
        }
        rows::release(tx, id, host)?;
        Ok(Next::Rest)
    }

    fn give_up(
        &self,
        tx: &Tx<'_>,
        node: &mut Node,
        work: &Work,
        why: &str,
    ) -> Result<(), MetalError> {
        let step = work.step().map_or_else(String::new, Step::words);
        let about = node.provision_state;
        let text = format!("node {}: could not {step}: {why}", node.label());
        tracing::error!(node = %node.label(), state = %about, error = %text, "work on a node failed");
        fail(node, &text, self.now());
        self.forget_medium(work);
        rows::add_event(tx, &self.event(node, "ERROR", about, text))
    }
}

/// Whether the work may take its time: somebody who waits for one answer wants it now.
fn is_patient(work: &Work) -> bool {
    match (work.asked, work.step()) {
        (Asked::Power(_), _) | (_, Some(Step::Verify | Step::Inspect)) => false,
        (Asked::Verb(_), _) => true,
    }
}
