//! What the tests share: a database, a clock moved by hand, waiting for states without sleeping.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use baremetal::{
    AgentSettings, Baremetal, Clock, FakeHardware, Hardware, MIGRATIONS, Node, NodeId,
    ProvisionState, Settings,
};
use jiff::{SignedDuration, Timestamp};
use store::Store;

/// A clock that stands until it is moved.
pub struct HandClock(Mutex<Timestamp>);

impl HandClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Timestamp::now())))
    }

    pub fn forward(&self, by: Duration) {
        let mut now = self.0.lock().unwrap();
        *now += SignedDuration::try_from(by).unwrap();
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

pub fn memory() -> Store {
    Store::memory(&[MIGRATIONS]).unwrap()
}

/// Opens and runs; the scheduler ends with the returned guard.
pub async fn start(
    store: Store,
    settings: Settings,
    hardware: Arc<dyn Hardware>,
) -> (Baremetal, Running) {
    let metal = Baremetal::open(store, settings, vec![hardware])
        .await
        .unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let runs = metal.clone();
    let task = tokio::spawn(async move {
        runs.run(async {
            let _ = stopped.await;
        })
        .await;
    });
    (metal, Running { _stop: stop, task })
}

pub struct Running {
    _stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub async fn fake() -> (Baremetal, Running) {
    start(memory(), Settings::default(), Arc::new(FakeHardware)).await
}

/// Waits until the node is in `state` and nobody works on it.
pub async fn reach(metal: &Baremetal, id: NodeId, state: ProvisionState) -> Node {
    let mut changes = metal.watch();
    let wait = async {
        loop {
            changes.borrow_and_update();
            let node = metal.node(id).await.unwrap();
            if node.provision_state == state && !node.is_locked() {
                return node;
            }
            changes.changed().await.unwrap();
        }
    };
    match tokio::time::timeout(Duration::from_secs(20), wait).await {
        Ok(node) => node,
        Err(_) => panic!("never reached `{state}`: {:?}", metal.node(id).await),
    }
}

pub async fn enrol(metal: &Baremetal, driver: &str) -> NodeId {
    let node = Node {
        driver: driver.into(),
        ..Node::default()
    };
    metal.create_node(node).await.unwrap().uuid
}

/// Agent settings with a file that stands for the agent's binary.
pub fn agent(folder: &std::path::Path) -> AgentSettings {
    let binary = folder.join("agent");
    std::fs::write(&binary, b"#!agent").unwrap();
    AgentSettings {
        binary,
        api: "http://192.0.2.1:5000/agent".parse().unwrap(),
        media: "http://192.0.2.2:5000/agent".parse().unwrap(),
        ca: None,
        folder: folder.join("media"),
    }
}
