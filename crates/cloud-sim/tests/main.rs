//! The sim against the contract of clouds, and its faults.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use cloud::{Cloud, CloudError, ContractSetting, Kind, NetworkSpec, Order, PhysicalName, Seen};
use cloud_sim::{Fault, Options, Sim};

fn setting() -> ContractSetting {
    ContractSetting {
        image: "image".into(),
        flavor: "baremetal".into(),
        project: "p".into(),
        deadline: jiff::Timestamp::MAX,
        prefix: "contract".into(),
        cidr: "198.51.100.0/24".parse().unwrap(),
    }
}

#[tokio::test]
async fn the_sim_keeps_the_contract() {
    let sim = Sim::new(Options::with_nodes(1));
    cloud::contract(&sim, &setting()).await;
    assert_eq!(sim.inventory(), Vec::<String>::new());
}

#[tokio::test]
async fn a_slow_sim_keeps_the_contract() {
    let sim = Sim::new(Options::with_nodes(1));
    sim.inject(Fault::Slow {
        kind: Kind::Server,
        asks: 3,
    });
    cloud::contract(&sim, &setting()).await;
}

#[tokio::test]
async fn a_lost_answer_leaves_what_was_done() {
    let sim = Sim::new(Options::with_nodes(0));
    let error = CloudError::Unreachable {
        why: "cable pulled".into(),
    };
    sim.inject(Fault::FailAt {
        call: 1,
        error: error.clone(),
        after: true,
    });
    let want = NetworkSpec {
        name: "n".into(),
        admin_state_up: true,
        shared: false,
        provider: None,
        mtu: None,
        dns_domain: None,
        tags: Vec::new(),
    };
    let order = Order {
        project: "p".into(),
        generation: 1,
        deadline: jiff::Timestamp::MAX,
    };
    let name = PhysicalName("n-1".into());
    assert_eq!(sim.ensure_network(&name, &want, &order).await, Err(error));
    assert_eq!(sim.inventory(), ["network n"]);
    let again = sim.ensure_network(&name, &want, &order).await.unwrap();
    assert!(matches!(again, Seen::Ready(_)));
    assert_eq!(sim.inventory(), ["network n"]);
}
