//! The road by the deploy agent, on hardware that keeps a machine's state and tells what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use baremetal::{
    AgentOrders, AgentReport, Baremetal, BootDevice, BootMode, BootSetting, Deadlines, DeployOrder,
    Hardware, HardwareError, Image, Inspection, MetalError, Node, NodeId, Object, Power,
    PowerTarget, ProvisionState as P, Road, Settings, Step, Verb, Wanted,
};
use disk::iso::IsoReader;
use serde_json::{Value, json};
use store::Store;
use uuid::Uuid;

use crate::support::{HandClock, Running, agent, enrol, memory, reach, start};

/// A machine that is there.
#[derive(Default)]
pub struct Machine {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    on: bool,
    medium: Option<String>,
    boot: Option<(BootDevice, bool)>,
    calls: Vec<String>,
    broken: Option<&'static str>,
}

impl Machine {
    pub fn calls(&self) -> Vec<String> {
        self.state.lock().unwrap().calls.clone()
    }

    pub fn medium(&self) -> Option<String> {
        self.state.lock().unwrap().medium.clone()
    }

    pub fn is_on(&self) -> bool {
        self.state.lock().unwrap().on
    }

    pub fn boot(&self) -> Option<(BootDevice, bool)> {
        self.state.lock().unwrap().boot
    }

    fn did(&self, call: String, change: impl FnOnce(&mut State)) -> Result<(), HardwareError> {
        let mut state = self.state.lock().unwrap();
        if state.broken.is_some_and(|broken| call.starts_with(broken)) {
            return Err(HardwareError::Wrong {
                key: "redfish_address",
                reason: format!("{call} is broken"),
            });
        }
        state.calls.push(call);
        change(&mut state);
        Ok(())
    }
}

#[async_trait]
impl Hardware for Machine {
    fn name(&self) -> &'static str {
        "machine"
    }
    fn road(&self) -> Road {
        Road::Agent
    }
    fn interfaces(&self, _kind: &str) -> &'static [&'static str] {
        &["machine"]
    }
    fn settings(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }
    fn check(&self, _node: &Node) -> Result<(), HardwareError> {
        Ok(())
    }
    async fn power(&self, _node: &Node) -> Result<Option<Power>, HardwareError> {
        let state = self.state.lock().unwrap();
        if state.broken == Some("power?") {
            return Err(HardwareError::Missing {
                key: "redfish_address",
            });
        }
        Ok(Some(if state.on { Power::On } else { Power::Off }))
    }
    async fn set_power(&self, _node: &Node, target: PowerTarget) -> Result<Power, HardwareError> {
        self.did(target.word().into(), |state| {
            state.on = target.end() == Power::On;
        })?;
        Ok(target.end())
    }
    fn boot_devices(&self) -> &'static [BootDevice] {
        BootDevice::ALL
    }
    async fn boot_device(&self, _node: &Node) -> Result<BootSetting, HardwareError> {
        Ok(BootSetting {
            device: None,
            persistent: None,
        })
    }
    async fn set_boot_device(
        &self,
        _node: &Node,
        device: BootDevice,
        persistent: bool,
    ) -> Result<(), HardwareError> {
        self.did(format!("boot {device} {persistent}"), |state| {
            state.boot = Some((device, persistent));
        })
    }
    async fn set_boot_mode(&self, _node: &Node, _mode: BootMode) -> Result<(), HardwareError> {
        Ok(())
    }
    async fn set_secure_boot(&self, _node: &Node, _on: bool) -> Result<(), HardwareError> {
        Ok(())
    }
    async fn inject_nmi(&self, _node: &Node) -> Result<(), HardwareError> {
        Ok(())
    }
    async fn insert_medium(&self, _node: &Node, url: &str) -> Result<(), HardwareError> {
        self.did("insert".into(), |state| state.medium = Some(url.into()))
    }
    async fn eject_medium(&self, _node: &Node) -> Result<(), HardwareError> {
        self.did("eject".into(), |state| state.medium = None)
    }
    async fn inspect(&self, _node: &Node) -> Result<Inspection, HardwareError> {
        Ok(Inspection {
            macs: vec!["52:54:00:00:00:01".into()],
            ..Inspection::default()
        })
    }
    async fn clean_step(&self, _node: &Node, _step: &Object) -> Result<(), HardwareError> {
        Ok(())
    }
}

pub fn order() -> DeployOrder {
    DeployOrder {
        image: Image {
            id: "hello".into(),
            sha256: "ab".repeat(32),
            size: 1 << 20,
        },
        config_drive: Some(b"config drive".to_vec()),
        root_grow: true,
        disk: None,
    }
}

/// Does what the agent does: reads the medium, asks for orders, reports. None: the server is not there.
pub async fn try_call_back(
    metal: &Baremetal,
    machine: &Machine,
    report: AgentReport,
) -> Option<AgentOrders> {
    let url = machine.medium()?;
    let secret = url.split('/').rev().nth(1).unwrap();
    let path = metal.medium(secret).await.ok()?;
    let file = std::fs::File::open(path).unwrap();
    let mut iso = IsoReader::open(file).unwrap();
    assert_eq!(iso.read("init").unwrap(), b"#!agent");
    let settings: Value = serde_json::from_slice(&iso.read("deploy.json").unwrap()).unwrap();
    assert_eq!(settings["api"], "http://192.0.2.1:5000/agent");
    let id: NodeId = settings["node"].as_str().unwrap().parse().unwrap();
    let token = settings["token"].as_str().unwrap();
    let orders = metal.agent_orders(id, token).await.ok()?;
    metal.agent_report(id, token, report).await.ok()?;
    Some(orders)
}

pub async fn call_back(metal: &Baremetal, machine: &Machine, report: AgentReport) -> AgentOrders {
    try_call_back(metal, machine, report).await.unwrap()
}

pub fn done() -> AgentReport {
    AgentReport {
        result: Some("ok".into()),
        ..AgentReport::default()
    }
}

pub struct Lab {
    pub metal: Baremetal,
    pub machine: Arc<Machine>,
    pub clock: Arc<HandClock>,
    pub id: NodeId,
    pub instance: Uuid,
    running: Option<Running>,
    store: Store,
    _folder: tempfile::TempDir,
}

impl Lab {
    /// The server ends, is away for a while, and starts again.
    async fn restart(&mut self, away: Duration) {
        drop(self.running.take());
        self.clock.forward(away);
        let settings = self.metal.settings().clone();
        let (metal, running) = start(self.store.clone(), settings, self.machine.clone()).await;
        (self.metal, self.running) = (metal, Some(running));
    }
}

/// A node that an instance holds.
pub async fn reserved() -> Lab {
    reserved_within(Deadlines::default()).await
}

async fn reserved_within(deadlines: Deadlines) -> Lab {
    let folder = tempfile::tempdir().unwrap();
    let (machine, clock) = (Arc::new(Machine::default()), HandClock::new());
    let settings = Settings {
        agent: Some(agent(folder.path())),
        automated_clean: false,
        clock: clock.clone(),
        deadlines,
        ..Settings::default()
    };
    let store = memory();
    let (metal, running) = start(store.clone(), settings, machine.clone()).await;
    let id = enrol(&metal, "machine").await;
    metal.ask(id, Verb::Manage.into()).await.unwrap();
    reach(&metal, id, P::Manageable).await;
    metal.ask(id, Verb::Provide.into()).await.unwrap();
    reach(&metal, id, P::Available).await;
    let instance = Uuid::new_v4();
    metal.reserve(&Wanted::default(), instance).await.unwrap();
    Lab {
        metal,
        machine,
        clock,
        id,
        instance,
        running: Some(running),
        store,
        _folder: folder,
    }
}

#[tokio::test]
async fn a_machine_is_deployed_and_taken_back() {
    let lab = reserved().await;
    let (metal, machine) = (&lab.metal, &lab.machine);
    metal.deploy(lab.id, lab.instance, order()).await.unwrap();
    reach(metal, lab.id, P::DeployWait).await;
    metal.deploy(lab.id, lab.instance, order()).await.unwrap();
    let AgentOrders::Write(orders) = call_back(metal, machine, done()).await else {
        panic!("orders to write were expected");
    };
    assert_eq!(orders.image.sha256, "ab".repeat(32));
    assert!(
        orders
            .image
            .url
            .ends_with(&format!("/v1/deploy/{}/image", lab.id))
    );
    assert!(orders.config_drive.is_some());
    let node = reach(metal, lab.id, P::Active).await;
    assert_eq!(node.power_state, Some(Power::On));
    assert_eq!(
        machine.calls(),
        [
            "power off",
            "insert",
            "boot cdrom false",
            "power on",
            "power off",
            "eject",
            "boot disk true",
            "power on"
        ]
    );
    metal.undeploy(lab.id, lab.instance).await.unwrap();
    let node = reach(metal, lab.id, P::Available).await;
    assert_eq!(node.instance_uuid, None);
    assert!(!machine.is_on());
    metal.undeploy(lab.id, lab.instance).await.unwrap();
}

#[tokio::test]
async fn cleaning_goes_the_same_road_and_names_no_disk_but_the_root() {
    let lab = reserved().await;
    let (metal, machine) = (&lab.metal, &lab.machine);
    metal
        .update_node(lab.id, |node| {
            node.automated_clean = Some(true);
            Ok(())
        })
        .await
        .unwrap();
    metal.deploy(lab.id, lab.instance, order()).await.unwrap();
    reach(metal, lab.id, P::DeployWait).await;
    call_back(metal, machine, done()).await;
    reach(metal, lab.id, P::Active).await;
    metal.undeploy(lab.id, lab.instance).await.unwrap();
    let node = reach(metal, lab.id, P::CleanWait).await;
    assert_eq!(node.instance_uuid, None);
    let AgentOrders::Clean(orders) = call_back(metal, machine, done()).await else {
        panic!("orders to clean were expected");
    };
    assert_eq!(orders.clean, "metadata");
    assert!(orders.wipe_disks.is_empty());
    reach(metal, lab.id, P::Available).await;
    assert_eq!(machine.medium(), None);
}

#[tokio::test]
async fn a_machine_that_never_calls_back_fails_with_node_step_and_advice() {
    let lab = waiting().await;
    lab.clock.forward(Duration::from_secs(1201));
    lab.metal.wake();
    let node = reach(&lab.metal, lab.id, P::DeployFailed).await;
    let error = node.last_error.unwrap();
    says(
        &error,
        &[
            &lab.id.to_string(),
            "wait for the deploy agent",
            "silent for 1200 s",
            "never called back",
            "its BMC says `power on`",
            "console",
        ],
    );
    assert_eq!(node.target_provision_state, Some(P::Active));
    deploy(&lab).await;
}

#[tokio::test]
async fn a_server_that_started_just_now_waits_no_longer_for_machines_that_boot_afterwards() {
    let lab = reserved_within(Deadlines {
        boot: Duration::from_secs(10),
        ..Deadlines::default()
    })
    .await;
    deploy(&lab).await;
    lab.clock.forward(Duration::from_secs(11));
    lab.metal.wake();
    let node = reach(&lab.metal, lab.id, P::DeployFailed).await;
    says(&node.last_error.unwrap(), &["silent for 10 s"]);
}

#[tokio::test]
async fn signs_of_life_move_the_deadline() {
    let lab = waiting().await;
    lab.clock.forward(Duration::from_secs(1100));
    let alive = AgentReport {
        phase: Some("write".into()),
        done: Some(1),
        total: Some(2),
        ..AgentReport::default()
    };
    call_back(&lab.metal, &lab.machine, alive).await;
    let node = lab.metal.node(lab.id).await.unwrap();
    assert_eq!(node.progress().unwrap()["done"], json!(1));
    lab.clock.forward(Duration::from_secs(290));
    lab.metal.wake();
    call_back(&lab.metal, &lab.machine, done()).await;
    reach(&lab.metal, lab.id, P::Active).await;
}

fn writing(done: u64) -> AgentReport {
    AgentReport {
        phase: Some("write".into()),
        done: Some(done << 20),
        total: Some(300 << 20),
        ..AgentReport::default()
    }
}

#[tokio::test]
async fn an_agent_that_falls_silent_is_told_with_node_and_what_it_did_last() {
    let lab = waiting().await;
    call_back(&lab.metal, &lab.machine, writing(12)).await;
    let before = lab.metal.now();
    while_waiting(&lab, 400).await;
    let node = reach(&lab.metal, lab.id, P::DeployFailed).await;
    let took = lab.metal.now().duration_since(before).as_secs();
    assert!(
        (300..320).contains(&took),
        "it took {took} s of the seed's time"
    );
    says(
        &node.last_error.unwrap(),
        &[
            &lab.id.to_string(),
            "wait for the deploy agent",
            "no sign of life for 300 s",
            "phase `write`, 12 of 300 MiB",
            "its BMC says `power on`",
        ],
    );
    deploy(&lab).await;
    call_back(&lab.metal, &lab.machine, done()).await;
    reach(&lab.metal, lab.id, P::Active).await;
}

#[tokio::test]
async fn an_agent_that_lives_and_gets_no_further_is_told() {
    let lab = waiting().await;
    call_back(&lab.metal, &lab.machine, writing(12)).await;
    let mut beats = 0;
    while try_call_back(&lab.metal, &lab.machine, writing(12))
        .await
        .is_some()
        && beats < 20
    {
        beats += 1;
        while_waiting(&lab, 100).await;
    }
    let node = reach(&lab.metal, lab.id, P::DeployFailed).await;
    assert!((18..20).contains(&beats), "it gave {beats} signs of life");
    says(
        &node.last_error.unwrap(),
        &["no further for 1800 s", "phase `write`, 12 of 300 MiB"],
    );
}

#[tokio::test]
async fn a_server_that_was_away_gives_agents_time_to_be_heard() {
    let mut lab = waiting().await;
    call_back(&lab.metal, &lab.machine, writing(12)).await;
    lab.restart(Duration::from_secs(7200)).await;
    let node = while_waiting(&lab, 100).await;
    assert_eq!(node.provision_state, P::DeployWait, "{node:?}");
    call_back(&lab.metal, &lab.machine, writing(13)).await;
    let node = while_waiting(&lab, 250).await;
    assert_eq!(node.provision_state, P::DeployWait, "{node:?}");
    call_back(&lab.metal, &lab.machine, done()).await;
    reach(&lab.metal, lab.id, P::Active).await;
}

/// Moves the clock step by step, letting the scheduler look each time, until the work has ended or `most` has passed.
async fn while_waiting(lab: &Lab, most: u64) -> Node {
    let mut changes = lab.metal.watch();
    for _ in 0..most {
        lab.clock.forward(Duration::from_secs(1));
        lab.metal.wake();
        changes.borrow_and_update();
        let node = lab.metal.node(lab.id).await.unwrap();
        let due = node
            .work
            .as_ref()
            .is_some_and(|work| work.not_before <= lab.metal.now());
        if node.provision_state != P::DeployWait {
            return node;
        }
        if due {
            // The look that is due ends with a change of the node.
            tokio::time::timeout(Duration::from_secs(20), async {
                loop {
                    let now = lab.metal.node(lab.id).await.unwrap();
                    if now.work.as_ref().map(|work| work.not_before)
                        != node.work.as_ref().map(|work| work.not_before)
                    {
                        return;
                    }
                    changes.changed().await.unwrap();
                }
            })
            .await
            .expect("the machine is looked at");
        }
    }
    lab.metal.node(lab.id).await.unwrap()
}

fn says(error: &str, words: &[&str]) {
    for word in words {
        assert!(error.contains(word), "{word} is not in: {error}");
    }
}

async fn waiting() -> Lab {
    let lab = reserved().await;
    deploy(&lab).await;
    lab
}

/// Orders a deployment and comes back when its agent is waited for.
async fn deploy(lab: &Lab) {
    lab.metal
        .deploy(lab.id, lab.instance, order())
        .await
        .unwrap();
    reach(&lab.metal, lab.id, P::DeployWait).await;
}

#[tokio::test]
async fn a_machine_that_loses_power_is_told_within_seconds_with_what_it_did() {
    let lab = waiting().await;
    let alive = AgentReport {
        phase: Some("write".into()),
        done: Some(12 << 20),
        total: Some(300 << 20),
        ..AgentReport::default()
    };
    call_back(&lab.metal, &lab.machine, alive).await;
    let node = while_waiting(&lab, 60).await;
    assert_eq!(
        node.provision_state,
        P::DeployWait,
        "it is on, so it is waited for"
    );
    lab.machine.state.lock().unwrap().on = false;
    let before = lab.metal.now();
    while_waiting(&lab, 60).await;
    let node = reach(&lab.metal, lab.id, P::DeployFailed).await;
    let took = lab.metal.now().duration_since(before);
    assert!(took.as_secs() <= 15, "it took {took:?} of the seed's time");
    let error = node.last_error.unwrap();
    says(
        &error,
        &[
            &lab.id.to_string(),
            "wait for the deploy agent",
            "the machine is off",
            "phase `write`, 12 of 300 MiB",
        ],
    );
    assert_eq!(node.power_state, Some(Power::Off));
    // The same node can be asked again.
    deploy(&lab).await;
    call_back(&lab.metal, &lab.machine, done()).await;
    reach(&lab.metal, lab.id, P::Active).await;
}

#[tokio::test]
async fn a_machine_that_is_off_for_a_moment_is_not_given_up() {
    let lab = waiting().await;
    lab.machine.state.lock().unwrap().on = false;
    let node = while_waiting(&lab, 11).await;
    assert!(node.work.as_ref().unwrap().seen_off, "{node:?}");
    lab.machine.state.lock().unwrap().on = true;
    let node = while_waiting(&lab, 60).await;
    assert_eq!(node.provision_state, P::DeployWait);
    assert!(!node.work.unwrap().seen_off);
    call_back(&lab.metal, &lab.machine, done()).await;
    reach(&lab.metal, lab.id, P::Active).await;
}

#[tokio::test]
async fn a_bmc_that_does_not_answer_meanwhile_is_no_failure() {
    let lab = waiting().await;
    lab.machine.state.lock().unwrap().broken = Some("power?");
    let node = while_waiting(&lab, 60).await;
    assert_eq!(node.provision_state, P::DeployWait);
    call_back(&lab.metal, &lab.machine, done()).await;
    reach(&lab.metal, lab.id, P::Active).await;
}

#[tokio::test]
async fn an_agent_that_said_how_it_went_may_switch_the_machine_off() {
    let lab = waiting().await;
    lab.machine.state.lock().unwrap().on = false;
    while_waiting(&lab, 11).await;
    call_back(&lab.metal, &lab.machine, done()).await;
    reach(&lab.metal, lab.id, P::Active).await;
}

#[tokio::test]
async fn what_the_agent_says_went_wrong_is_told() {
    let lab = waiting().await;
    let failed = AgentReport {
        result: Some("error".into()),
        error: Some("the disk is too small".into()),
        ..AgentReport::default()
    };
    call_back(&lab.metal, &lab.machine, failed).await;
    let node = reach(&lab.metal, lab.id, P::DeployFailed).await;
    assert!(node.last_error.unwrap().contains("the disk is too small"));
}

#[tokio::test]
async fn an_older_secret_opens_nothing() {
    let lab = reserved().await;
    lab.metal
        .deploy(lab.id, lab.instance, order())
        .await
        .unwrap();
    let node = reach(&lab.metal, lab.id, P::DeployWait).await;
    let work = node.work.unwrap();
    assert_eq!(work.step(), Some(&Step::AwaitAgent));
    lab.metal.undeploy(lab.id, lab.instance).await.unwrap();
    reach(&lab.metal, lab.id, P::Available).await;
    for token in [work.token.as_str(), "", "x"] {
        let error = lab.metal.agent_orders(lab.id, token).await.unwrap_err();
        assert!(matches!(error, MetalError::NotTheAgent), "{error}");
    }
    assert!(lab.metal.medium(&work.media).await.is_err());
    assert!(lab.metal.medium("../../etc/passwd").await.is_err());
}

#[tokio::test]
async fn one_broken_machine_stops_no_other() {
    let lab = reserved().await;
    lab.machine.state.lock().unwrap().broken = Some("insert");
    lab.metal
        .deploy(lab.id, lab.instance, order())
        .await
        .unwrap();
    let node = reach(&lab.metal, lab.id, P::DeployFailed).await;
    assert!(
        node.last_error
            .unwrap()
            .contains("insert the deploy medium")
    );
    let other = enrol(&lab.metal, "machine").await;
    lab.metal.ask(other, Verb::Manage.into()).await.unwrap();
    reach(&lab.metal, other, P::Manageable).await;
    lab.metal.ask(other, Verb::Inspect.into()).await.unwrap();
    reach(&lab.metal, other, P::Manageable).await;
    assert_eq!(lab.metal.ports(Some(other)).await.unwrap().len(), 1);
}
