//! The engine's heart: live stacks, and the loop that takes each of them forward.
//!
//! A stack that is at work has one loop. It ticks, writes what the tick changed in one transaction,
//! then starts the steps that the tick handed out, and ticks again when one of them ends, a signal
//! comes, the cloud moves or a time is reached.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use store::StoreError;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::api::{Action, StackId};
use crate::engine::Setup;
use crate::error::EngineError;
use crate::failure::Failure;
use crate::metadata::Bells;
use crate::model::Root;
use crate::places::Places;
use crate::plugins::{self, Outcome, Work};
use crate::record;
use crate::tick::{Ended, Tick};

/// How long a pending thing is left alone when the cloud says nothing.
const ASK_AGAIN: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);

/// How long a stack stands still when its state could not be kept.
const TRY_AGAIN: jiff::SignedDuration = jiff::SignedDuration::from_secs(5);

/// A root stack with its loop.
pub(crate) struct Live {
    pub id: StackId,
    root: Mutex<Root>,
    pub wake: Notify,
    /// Whether a loop works on it.
    running: AtomicBool,
    /// Whether it is deleted and only waits for that to be written.
    ended: AtomicBool,
}

impl Live {
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    pub fn lock(&self) -> MutexGuard<'_, Root> {
        self.root.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all parts of the engine share.
pub(crate) struct Core {
    pub setup: Arc<Setup>,
    /// Names this engine in the rows that it owns.
    pub owner: String,
    roots: Mutex<HashMap<StackId, Arc<Live>>>,
    pub bells: Bells,
    pub places: Places,
    tasks: Mutex<JoinSet<()>>,
    /// Counts what the cloud says.
    moved: watch::Sender<u64>,
    /// Counts what happened to stacks.
    happened: watch::Sender<u64>,
}

/// Keeps the loops alive: without it they end where they stand.
pub(crate) struct Handle(pub Arc<Core>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0
            .tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .abort_all();
    }
}

/// A write that was handed in.
pub(crate) type Pending = std::pin::Pin<Box<dyn Future<Output = Result<(), EngineError>> + Send>>;

impl Core {
    pub fn new(setup: Setup) -> Arc<Core> {
        Arc::new(Core {
            setup: Arc::new(setup),
            owner: Uuid::new_v4().to_string(),
            roots: Mutex::new(HashMap::new()),
            bells: Bells::default(),
            places: Places::default(),
            tasks: Mutex::new(JoinSet::new()),
            moved: watch::Sender::new(0),
            happened: watch::Sender::new(0),
        })
    }

    /// Listens to the cloud.
    pub fn listen(self: &Arc<Core>) {
        let core = Arc::clone(self);
        self.spawn(async move {
            let mut seen = cloud::Revision::default();
            loop {
                seen = core.setup.cloud.watch(seen).await;
                core.moved.send_modify(|count| *count += 1);
            }
        });
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Loops that ended are forgotten here, so their number does not grow.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    pub fn now(&self) -> Timestamp {
        // The tables keep milliseconds.
        crate::load::time(self.setup.clock.now().as_millisecond())
    }

    pub fn roots(&self) -> MutexGuard<'_, HashMap<StackId, Arc<Live>>> {
        self.roots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn all(&self) -> Vec<Arc<Live>> {
        let roots = self.roots();
        let living = roots.values().filter(|live| !live.has_ended());
        living.cloned().collect()
    }

    /// Takes a root stack among the living.
    pub fn adopt(&self, root: Root) -> Arc<Live> {
        let live = Arc::new(Live {
            id: root.node.id,
            root: Mutex::new(root),
            wake: Notify::new(),
            running: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        self.roots().insert(live.id, Arc::clone(&live));
        live
    }

    /// Hands in what changed in a root. To be called while it is locked, so that writes keep the
    /// order of the changes.
    pub fn commit(&self, root: &mut Root, deleted: Option<Timestamp>) -> Pending {
        let puts = record::collect(root, deleted);
        if puts.is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        let (id, owner) = (root.node.id, self.owner.clone());
        let write = self.setup.store.write(move |tx| {
            // Another engine has taken the stack over: for this one the database is closed.
            if record::write(tx, id, &owner, &puts)? {
                Ok(())
            } else {
                Err(StoreError::Closed)
            }
        });
        Box::pin(async move { write.await.map_err(EngineError::from) })
    }

    /// Waits for a write. When it fails, the stack in memory goes back to what the database holds.
    pub async fn kept(self: &Arc<Core>, live: &Live, pending: Pending) -> Result<(), EngineError> {
        let result = pending.await;
        if result.is_err() {
            let id = live.id;
            let read = self
                .setup
                .store
                .read(move |tx| crate::load::root(tx, id))
                .await;
            match read.and_then(|mut root| {
                crate::show::open_frames(self, &mut root)?;
                Ok(root)
            }) {
                Ok(root) => *live.lock() = root,
                Err(error) => tracing::error!(stack = %id, %error, "a stack cannot be read back"),
            }
        }
        self.happened.send_modify(|count| *count += 1);
        result
    }

    /// Makes sure that a loop works on a root, and has it look again.
    pub fn drive(self: &Arc<Core>, live: &Arc<Live>) {
        if live.running.swap(true, Ordering::SeqCst) {
            live.wake.notify_one();
            return;
        }
        let (core, live) = (Arc::clone(self), Arc::clone(live));
        self.spawn(async move {
            while let Err(error) = core.run(&live).await {
                tracing::error!(stack = %live.id, %error, "a stack stands still");
                core.happened.send_modify(|count| *count += 1);
                // A full disk or an identity service that is away may be well again later.
                let again = core.now().saturating_add(TRY_AGAIN);
                core.setup
                    .clock
                    .sleep_until(again.unwrap_or(Timestamp::MAX))
                    .await;
            }
            live.running.store(false, Ordering::SeqCst);
            core.happened.send_modify(|count| *count += 1);
        });
    }

    /// Returns when nothing is at work on a stack any more, or it is gone.
    pub async fn settled(&self, id: StackId) {
        let mut happened = self.happened.subscribe();
        loop {
            happened.borrow_and_update();
            let live = self.roots().get(&id).cloned();
            let busy = live.is_some_and(|live| {
                let active = live.lock().active;
                active || live.running.load(Ordering::SeqCst)
            });
            // The sender lives as long as the engine.
            if !busy || happened.changed().await.is_err() {
                return;
            }
        }
    }

    /// Returns when something happened to any stack, after `seen`.
    pub async fn happens(&self, seen: u64) -> u64 {
        let mut happened = self.happened.subscribe();
        // The sender lives as long as the engine.
        let now = happened.wait_for(|count| *count > seen).await;
        now.map_or(seen, |now| *now)
    }

    async fn run(self: &Arc<Core>, live: &Arc<Live>) -> Result<(), EngineError> {
        let mut steps: JoinSet<Ended> = JoinSet::new();
        let mut ended = Vec::new();
        let mut moved = self.moved.subscribe();
        let mut cloud_moved = false;
        loop {
            self.open_account(live).await?;
            let (tick, pending) = {
                let mut root = live.lock();
                let tick = Tick::run(self, &mut root, std::mem::take(&mut ended), cloud_moved);
                let pending = self.commit(&mut root, tick.deleted);
                // Who sees the end of the stack, in the same moment may make another of its name.
                live.ended.store(tick.deleted.is_some(), Ordering::SeqCst);
                (tick, pending)
            };
            self.kept(live, pending).await?;
            self.bells.ring(&tick.changed_servers);
            if tick.deleted.is_some() {
                self.roots().remove(&live.id);
                return Ok(());
            }
            if let Some(project) = &tick.close_account {
                self.close_account(live, project).await?;
                continue;
            }
            for work in tick.steps.iter().cloned() {
                steps.spawn(take(work));
            }
            if steps.is_empty() && tick.at_rest {
                live.running.store(false, Ordering::SeqCst);
                // Whoever changed the stack before that line woke this loop, not a new one.
                if live.lock().active && !live.running.swap(true, Ordering::SeqCst) {
                    continue;
                }
                return Ok(());
            }
            cloud_moved = self
                .wait(live, &tick, &mut steps, &mut ended, &mut moved)
                .await;
        }
    }

    /// Waits until there is something to look at; whether the cloud has moved.
    async fn wait(
        &self,
        live: &Live,
        tick: &Tick,
        steps: &mut JoinSet<Ended>,
        ended: &mut Vec<Ended>,
        moved: &mut watch::Receiver<u64>,
    ) -> bool {
        let again = tick
            .waits_for_cloud
            .then(|| self.now().saturating_add(ASK_AGAIN));
        let again = again.and_then(Result::ok);
        let until = [tick.next, again].into_iter().flatten().min();
        let sleep = async {
            match until {
                Some(until) => self.setup.clock.sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let cloud = async {
            if tick.waits_for_cloud {
                // The sender lives as long as the engine.
                let _ = moved.changed().await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            Some(done) = steps.join_next(), if !steps.is_empty() => {
                let mut next = Some(done);
                while let Some(done) = next {
                    match done {
                        Ok(done) => ended.push(done),
                        // A step that panicked is asked for again when the engine is opened again.
                        Err(error) => tracing::error!(%error, "a step broke off"),
                    }
                    next = steps.try_join_next();
                }
                false
            }
            () = live.wake.notified() => false,
            () = cloud => true,
            () = sleep => tick.waits_for_cloud,
        }
    }

    /// Makes the project of the stack's users, once.
    async fn open_account(self: &Arc<Core>, live: &Live) -> Result<(), EngineError> {
        let (name, stack) = {
            let root = live.lock();
            if root.user_project.is_some() || root.node.action == Action::Delete {
                return Ok(());
            }
            (account_name(&root), root.node.name.clone())
        };
        let id = self.setup.users.ensure_project(&name).await;
        let id = id.map_err(|source| EngineError::Users { stack, source })?;
        let pending = {
            let mut root = live.lock();
            root.user_project = Some(id);
            root.ledger.body = true;
            self.commit(&mut root, None)
        };
        self.kept(live, pending).await
    }

    async fn close_account(&self, live: &Live, project: &str) -> Result<(), EngineError> {
        let stack = live.lock().node.name.clone();
        let removed = self.setup.users.remove_project(project).await;
        removed.map_err(|source| EngineError::Users { stack, source })?;
        live.lock().user_project = None;
        Ok(())
    }
}

/// Name of the project of a stack's users.
fn account_name(root: &Root) -> String {
    let name = format!("{}-{}", root.project, root.node.id);
    name.chars().take(64).collect()
}

/// Takes a step.
async fn take(work: Work) -> Ended {
    let result: Result<Outcome, Failure> = plugins::step(&work).await;
    Ended {
        row: work.row.id,
        generation: work.row.generation,
        result,
    }
}
