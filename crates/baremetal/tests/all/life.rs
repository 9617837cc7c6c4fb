//! The states of a node's life on hardware that does everything at once.

use std::sync::Arc;

use baremetal::{
    Allocation, FakeHardware, MetalError, Node, PowerTarget, ProvisionState as P, Settings, Verb,
    VerbRequest, Wanted,
};
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use crate::support::{enrol, fake, memory, reach, start};

#[tokio::test]
async fn the_whole_circle() {
    let (metal, _running) = fake().await;
    let id = enrol(&metal, "fake-hardware").await;
    for (verb, state) in [
        (Verb::Manage, P::Manageable),
        (Verb::Inspect, P::Manageable),
        (Verb::Provide, P::Available),
        (Verb::Deploy, P::Active),
        (Verb::Rebuild, P::Active),
        (Verb::Rescue, P::Rescue),
        (Verb::Unrescue, P::Active),
        (Verb::Undeploy, P::Available),
        (Verb::Manage, P::Manageable),
        (Verb::Adopt, P::Active),
    ] {
        metal.ask(id, verb.into()).await.unwrap();
        let node = reach(&metal, id, state).await;
        assert_eq!(node.target_provision_state, None, "{verb}");
        assert_eq!(node.last_error, None, "{verb}");
    }
    assert!(metal.history(id).await.unwrap().is_empty());
}

#[tokio::test]
async fn every_verb_is_refused_where_the_table_does_not_have_it() {
    let (metal, _running) = fake().await;
    let id = enrol(&metal, "fake-hardware").await;
    for verb in Verb::ALL.iter().filter(|verb| **verb != Verb::Manage) {
        let error = metal.ask(id, (*verb).into()).await.unwrap_err();
        assert!(matches!(error, MetalError::WrongState { .. }), "{error}");
        assert!(error.to_string().contains(&id.to_string()));
    }
    assert_eq!(metal.node(id).await.unwrap().provision_state, P::Enroll);
}

#[tokio::test]
async fn an_unknown_clean_step_fails_and_is_remembered() {
    let (metal, _running) = fake().await;
    let id = enrol(&metal, "fake-hardware").await;
    metal.ask(id, Verb::Manage.into()).await.unwrap();
    reach(&metal, id, P::Manageable).await;
    let step = json!({"interface": "deploy", "step": "no_such_step"});
    let request = VerbRequest {
        clean_steps: vec![step.as_object().unwrap().clone()],
        ..Verb::Clean.into()
    };
    metal.ask(id, request).await.unwrap();
    let node = reach(&metal, id, P::CleanFailed).await;
    assert!(node.last_error.unwrap().contains("no_such_step"));
    assert_eq!(node.target_provision_state, Some(P::Manageable));
    let history = metal.history(id).await.unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].severity, "ERROR");
}

#[tokio::test]
async fn power_is_asked_for_and_reached() {
    let (metal, _running) = fake().await;
    let id = enrol(&metal, "fake-hardware").await;
    metal.ask_power(id, PowerTarget::SoftReboot).await.unwrap();
    let node = reach(&metal, id, P::Enroll).await;
    assert_eq!(node.power_state.unwrap().word(), "power on");
    assert_eq!(node.target_power_state, None);
}

#[tokio::test]
async fn protection_and_maintenance_hold() {
    let (metal, _running) = fake().await;
    let id = enrol(&metal, "fake-hardware").await;
    for (verb, state) in [(Verb::Manage, P::Manageable), (Verb::Adopt, P::Active)] {
        metal.ask(id, verb.into()).await.unwrap();
        reach(&metal, id, state).await;
    }
    let protect = |on: bool| {
        let metal = metal.clone();
        async move {
            metal
                .update_node(id, move |node| {
                    node.protected = on;
                    Ok(())
                })
                .await
                .unwrap()
        }
    };
    protect(true).await;
    for verb in [Verb::Undeploy, Verb::Rebuild] {
        let error = metal.ask(id, verb.into()).await.unwrap_err();
        assert!(matches!(error, MetalError::Protected { .. }), "{error}");
    }
    assert!(metal.delete_node(id).await.is_err());
    protect(false).await;
    metal.ask(id, Verb::Undeploy.into()).await.unwrap();
    reach(&metal, id, P::Available).await;
}

#[tokio::test]
async fn two_instances_never_get_one_node_and_the_loser_learns_why() {
    let (metal, _running) = fake().await;
    let mut wanted = Wanted {
        resource_class: Some("baremetal".into()),
        ..Wanted::default()
    };
    for name in ["a", "b"] {
        let node = Node {
            driver: "fake-hardware".into(),
            name: Some(name.into()),
            resource_class: Some("baremetal".into()),
            ..Node::default()
        };
        let id = metal.create_node(node).await.unwrap().uuid;
        metal.ask(id, Verb::Manage.into()).await.unwrap();
        reach(&metal, id, P::Manageable).await;
        metal.ask(id, Verb::Provide.into()).await.unwrap();
        reach(&metal, id, P::Available).await;
    }
    let instances: Vec<Uuid> = (0..4).map(|_| Uuid::new_v4()).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for instance in instances.clone() {
        let (metal, wanted) = (metal.clone(), wanted.clone());
        tasks.spawn(async move { metal.reserve(&wanted, instance).await });
    }
    let results = tasks.join_all().await;
    let mut got: Vec<_> = results.iter().flatten().map(|node| node.uuid).collect();
    got.sort();
    got.dedup();
    assert_eq!(got.len(), 2);
    let lost = results.into_iter().find_map(Result::err).unwrap();
    assert!(lost.to_string().contains("holds it"), "{lost}");
    let held = metal.node(got[0]).await.unwrap().instance_uuid.unwrap();
    assert_eq!(metal.reserve(&wanted, held).await.unwrap().uuid, got[0]);
    metal.release(got[0], held).await.unwrap();
    wanted.resource_class = Some("gold".into());
    let lost = metal.reserve(&wanted, Uuid::new_v4()).await.unwrap_err();
    assert!(
        lost.to_string().contains("a: its resource class is"),
        "{lost}"
    );
}

fn allocation(class: &str) -> Allocation {
    Allocation {
        uuid: Uuid::new_v4(),
        name: None,
        resource_class: Some(class.into()),
        traits: Vec::new(),
        candidate_nodes: Vec::new(),
        node_uuid: None,
        state: String::new(),
        last_error: None,
        owner: None,
        extra: baremetal::Object::new(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: None,
    }
}

#[tokio::test]
async fn an_allocation_left_behind_is_settled_by_the_next_start() {
    let store = memory();
    let metal = baremetal::Baremetal::open(
        store.clone(),
        Settings::default(),
        vec![Arc::new(FakeHardware)],
    )
    .await
    .unwrap();
    let made = metal
        .create_allocation(allocation("x"), Vec::new(), None)
        .await
        .unwrap();
    assert_eq!(made.state, "allocating");
    drop(metal);
    let (metal, _running) = start(store, Settings::default(), Arc::new(FakeHardware)).await;
    let mut changes = metal.watch();
    loop {
        changes.borrow_and_update();
        let now = metal.find_allocation(&made.uuid.to_string()).await.unwrap();
        if now.state != "allocating" {
            assert_eq!(now.state, "error");
            assert!(now.last_error.unwrap().contains("resource class x"));
            break;
        }
        changes.changed().await.unwrap();
    }
}
