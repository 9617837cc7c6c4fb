//! Killed at each durable transition and started again, a node comes to the same end.

use std::sync::Arc;
use std::time::Duration;

use baremetal::{
    Baremetal, BootDevice, NodeId, Power, ProvisionState as P, Settings, Verb, Wanted, Work,
};
use store::Store;
use uuid::Uuid;

use crate::road::{Machine, done, order, try_call_back};
use crate::support::{agent, enrol, memory, start};

/// What a user wants, said again and again until it is so: each call is safe to repeat.
async fn push(metal: &Baremetal, machine: &Machine, id: NodeId, instance: Uuid) -> bool {
    let Ok(node) = metal.node(id).await else {
        return false;
    };
    // What is refused because it runs already, or because the database was cut, is asked for again.
    let _ = match node.provision_state {
        P::Enroll => metal.ask(id, Verb::Manage.into()).await.map(drop),
        P::Manageable => metal.ask(id, Verb::Provide.into()).await.map(drop),
        P::Available if node.instance_uuid.is_none() => {
            metal.reserve(&Wanted::default(), instance).await.map(drop)
        }
        P::Available => metal.deploy(id, instance, order()).await.map(drop),
        P::DeployWait if node.work.as_ref().is_some_and(Work::is_waiting) => {
            try_call_back(metal, machine, done()).await;
            Ok(())
        }
        P::Active => return true,
        _ => Ok(()),
    };
    false
}

async fn deployed(
    store: &Store,
    machine: &Arc<Machine>,
    settings: &Settings,
    id: NodeId,
    instance: Uuid,
) {
    let (metal, _running) = start(store.clone(), settings.clone(), machine.clone()).await;
    let mut changes = metal.watch();
    let wait = async {
        loop {
            changes.borrow_and_update();
            if push(&metal, machine, id, instance).await {
                return;
            }
            changes.changed().await.unwrap();
        }
    };
    if tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .is_err()
    {
        panic!("it never became active: {:?}", metal.node(id).await);
    }
}

/// Goes on until the handle on the database is cut, or all is done.
async fn until_cut(
    store: Store,
    machine: &Arc<Machine>,
    settings: &Settings,
    id: NodeId,
    instance: Uuid,
) {
    let hardware = machine.clone();
    let opened = Baremetal::open(store.clone(), settings.clone(), vec![hardware]).await;
    let Ok(metal) = opened else { return };
    let runs = metal.clone();
    let running = tokio::spawn(async move { runs.run(std::future::pending()).await });
    let mut changes = metal.watch();
    while !store.is_cut() && !running.is_finished() {
        changes.borrow_and_update();
        if push(&metal, machine, id, instance).await {
            break;
        }
        // A write that was cut wakes nobody: look again.
        let _ = tokio::time::timeout(Duration::from_millis(10), changes.changed()).await;
    }
    running.abort();
    let _ = running.await;
}

#[tokio::test]
async fn killed_at_each_write_it_ends_the_same() {
    let mut cuts = 0;
    for writes in 1..200 {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            agent: Some(agent(folder.path())),
            automated_clean: false,
            ..Settings::default()
        };
        let (store, machine) = (memory(), Arc::new(Machine::default()));
        let (metal, running) = start(store.clone(), settings.clone(), machine.clone()).await;
        let id = enrol(&metal, "machine").await;
        drop((metal, running));
        let cut = store.cut_after(writes);
        let instance = Uuid::new_v4();
        until_cut(cut.clone(), &machine, &settings, id, instance).await;
        let was_cut = cut.is_cut();
        deployed(&store, &machine, &settings, id, instance).await;
        assert!(machine.is_on(), "after {writes} writes");
        assert_eq!(machine.medium(), None, "after {writes} writes");
        assert_eq!(machine.boot(), Some((BootDevice::Disk, true)));
        let (metal, _running) = start(store, settings, machine.clone()).await;
        let node = metal.node(id).await.unwrap();
        assert_eq!(node.power_state, Some(Power::On));
        assert_eq!(node.instance_uuid, Some(instance));
        assert_eq!(node.last_error, None);
        if !was_cut {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 10, "only {cuts} transitions were cut");
}
