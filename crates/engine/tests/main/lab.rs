//! What the tests work with: an engine on a database in memory, a sim, a clock that is moved by hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cloud::{Cloud, Secret};
use cloud_sim::{Options, Sim};
use engine::{
    Caller, Clock, CreateStack, Endpoints, Engine, EngineError, Resource, ResourceQuery, Setup,
    Stack, StackId, StackUsers, UpdateStack, UserError,
};
use hot::{Environment, Files, Template};
use jiff::Timestamp;
use store::Store;
use tokio::sync::watch;

/// A clock that stands until it is moved.
pub(crate) struct HandClock(watch::Sender<Timestamp>);

impl HandClock {
    pub(crate) fn new() -> Arc<HandClock> {
        let start = "2014-10-16T12:00:00Z".parse().unwrap();
        Arc::new(HandClock(watch::Sender::new(start)))
    }

    pub(crate) fn advance(&self, seconds: i64) {
        let span = jiff::SignedDuration::from_secs(seconds);
        self.0
            .send_modify(|now| *now = now.checked_add(span).unwrap());
    }
}

#[async_trait]
impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    async fn sleep_until(&self, until: Timestamp) {
        let _ = self.0.subscribe().wait_for(|now| *now >= until).await;
    }
}

/// Accounts in memory.
#[derive(Default)]
pub(crate) struct Accounts(Mutex<BTreeMap<String, String>>);

impl Accounts {
    /// Names of all that is there.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().values().cloned().collect()
    }

    fn ensure(&self, kind: &str, name: &str) -> String {
        let mut all = self.0.lock().unwrap();
        let label = format!("{kind} {name}");
        if let Some((id, _)) = all.iter().find(|(_, one)| **one == label) {
            return id.clone();
        }
        let id = uuid::Uuid::new_v4().simple().to_string();
        all.insert(id.clone(), label);
        id
    }
}

#[async_trait]
impl StackUsers for Accounts {
    async fn ensure_project(&self, name: &str) -> Result<String, UserError> {
        Ok(self.ensure("project", name))
    }

    async fn remove_project(&self, id: &str) -> Result<(), UserError> {
        self.0.lock().unwrap().remove(id);
        Ok(())
    }

    async fn ensure_user(&self, name: &str, _: &str, _: &Secret) -> Result<String, UserError> {
        Ok(self.ensure("user", name))
    }

    async fn remove_user(&self, user_id: &str) -> Result<(), UserError> {
        self.0.lock().unwrap().remove(user_id);
        Ok(())
    }

    async fn ensure_key_pair(
        &self,
        user: &str,
        _: &str,
        _: &str,
        _: &Secret,
    ) -> Result<(), UserError> {
        let there = self.0.lock().unwrap().contains_key(user);
        assert!(there, "a key pair of an unknown user");
        Ok(())
    }
}

/// All that an engine needs, and that outlives it.
pub(crate) struct Lab {
    pub(crate) store: Store,
    pub(crate) sim: Arc<Sim>,
    pub(crate) users: Arc<Accounts>,
    pub(crate) clock: Arc<HandClock>,
}

impl Lab {
    pub(crate) fn new(nodes: usize) -> Lab {
        let clock = HandClock::new();
        let time = Arc::clone(&clock);
        let mut options = Options::with_nodes(nodes);
        options.images.push("image-2".to_owned());
        options.now = Arc::new(move || time.now());
        Lab {
            store: Store::memory(&[Engine::MIGRATIONS]).unwrap(),
            sim: Arc::new(Sim::new(options)),
            users: Arc::new(Accounts::default()),
            clock,
        }
    }

    pub(crate) async fn engine(&self) -> Engine {
        self.engine_on(self.store.clone()).await.unwrap()
    }

    /// An engine on a handle of the database that may be cut.
    pub(crate) async fn engine_on(&self, store: Store) -> Result<Engine, EngineError> {
        let cloud: Arc<dyn Cloud> = Arc::clone(&self.sim) as _;
        let users: Arc<dyn StackUsers> = Arc::clone(&self.users) as _;
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        Engine::open(Setup {
            store,
            cloud,
            users,
            clock,
            endpoints: Endpoints {
                metadata: "http://192.0.2.1/metadata".into(),
                auth: "http://192.0.2.1/identity/v3".into(),
                orchestration: "http://192.0.2.1/heat-api/v1".into(),
                cloudformation: "http://192.0.2.1/heat-api-cfn/v1".into(),
                region: "regionOne".into(),
            },
        })
        .await
    }
}

pub(crate) fn caller() -> Caller {
    Caller {
        project: "0123456789abcdef0123456789abcdef".into(),
        user_id: "u".into(),
        user_name: "admin".into(),
    }
}

pub(crate) fn want(name: &str, template: &str) -> CreateStack {
    CreateStack {
        name: name.into(),
        template: Template::from_text(template).unwrap(),
        files: Files::default(),
        environment: Environment::default(),
        timeout_mins: None,
        disable_rollback: true,
        tags: Vec::new(),
        adopt: None,
    }
}

pub(crate) fn change(template: &str) -> UpdateStack {
    UpdateStack {
        template: Some(Template::from_text(template).unwrap()),
        ..UpdateStack::default()
    }
}

/// Files of nested templates.
pub(crate) fn files(all: &[(&str, &str)]) -> Files {
    let all = all.iter();
    Files::new(
        all.map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect(),
    )
}

/// Waits until nothing is at work, then shows the stack.
pub(crate) async fn settled(engine: &Engine, id: StackId) -> Stack {
    engine.settled(id).await;
    engine.stack(id, true).await.unwrap()
}

pub(crate) async fn create(engine: &Engine, template: &str) -> Stack {
    let stack = engine.create(&caller(), want("s", template)).await.unwrap();
    settled(engine, stack.id).await
}

pub(crate) async fn update(engine: &Engine, id: StackId, template: &str) -> Stack {
    engine
        .update(&caller(), id, change(template))
        .await
        .unwrap();
    settled(engine, id).await
}

pub(crate) fn state(stack: &Stack) -> String {
    format!("{}_{}", stack.action, stack.status)
}

/// Asserts the state of a stack; shows the reason when it is another one.
#[track_caller]
pub(crate) fn assert_state(stack: &Stack, wanted: &str) {
    assert_eq!(state(stack), wanted, "{}", stack.reason);
}

pub(crate) async fn resources(engine: &Engine, id: StackId) -> Vec<Resource> {
    let query = ResourceQuery {
        nested_depth: 5,
        ..ResourceQuery::default()
    };
    engine.resources(id, query).await.unwrap_or_default()
}

/// `name STATE` of all resources, nested ones too.
pub(crate) async fn states(engine: &Engine, id: StackId) -> Vec<String> {
    let all = resources(engine, id).await;
    all.iter()
        .map(|one| format!("{} {}_{}", one.name, one.action, one.status))
        .collect()
}

pub(crate) fn output(stack: &Stack, name: &str) -> hot::Value {
    let found = stack.outputs.iter().find(|output| output.name == name);
    found
        .unwrap_or_else(|| panic!("no output {name}"))
        .value
        .clone()
}

/// Waits until a look at the engine gives something.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    engine: &Engine,
    look: impl Fn() -> F,
) -> T {
    let mut seen = 0;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        seen = engine.happens(seen).await;
    }
}

/// Plays the node: signals each deployment that waits, until nothing is at work.
pub(crate) async fn node(engine: &Engine, id: StackId) {
    tokio::select! {
        () = engine.settled(id) => {}
        () = answer(engine, id) => {}
    }
}

/// The same, until the database is cut off.
pub(crate) async fn node_or_cut(engine: &Engine, id: StackId, cut: &Store) {
    let cut_off = async {
        let mut seen = 0;
        while !cut.is_cut() {
            seen = engine.happens(seen).await;
        }
    };
    tokio::select! {
        () = node(engine, id) => {}
        () = cut_off => {}
    }
}

async fn answer(engine: &Engine, id: StackId) {
    let mut seen = 0;
    loop {
        for one in resources(engine, id).await {
            if one.reason.contains("waits for the signal") {
                let body = serde_json::json!({"deploy_status_code": 0});
                // The engine may be cut off.
                let _ = engine.signal(one.stack, &one.name, Some(body)).await;
            }
        }
        seen = engine.happens(seen).await;
    }
}
