//! Which node a server gets, and what is said and left behind when it gets none.

use baremetal::{Node, ProvisionState, Verb};
use cloud::{Cloud, CloudError, Kind, Seen};

use crate::setting::{on_networks, open, order, physical};

#[tokio::test]
async fn a_server_gets_the_interfaces_of_its_node_and_gives_them_back() {
    let setting = open(None).await;
    setting.network("ctl", "192.0.2.0/24").await;
    setting.network("data", "2001:db8::/64").await;
    setting
        .node(
            "n1",
            "baremetal",
            &["52:54:00:00:00:01", "52:54:00:00:00:02"],
        )
        .await;
    let server = setting
        .server(&on_networks("a", &["ctl", "data"]))
        .await
        .expect("a server");
    let macs: Vec<_> = server
        .addresses
        .iter()
        .map(|one| one.mac.as_str())
        .collect();
    assert_eq!(macs, ["52:54:00:00:00:01", "52:54:00:00:00:02"]);
    let addresses: Vec<_> = server
        .addresses
        .iter()
        .map(|one| one.address.to_string())
        .collect();
    assert_eq!(addresses, ["192.0.2.2", "2001:db8::2"]);
    assert_eq!(server.host.as_deref(), Some("n1"));
    setting.remove("a").await;
    assert_eq!(setting.cloud.list(Kind::Port).await.expect("lists"), []);
    // The node is free again as soon as it is clean.
    let again = setting.server(&on_networks("b", &["ctl"])).await;
    assert_eq!(again.expect("a server").host.as_deref(), Some("n1"));
}

#[tokio::test]
async fn each_node_says_why_it_does_not_fit_and_nothing_stays_behind() {
    let setting = open(None).await;
    setting.network("ctl", "192.0.2.0/24").await;
    setting.node("n1", "storage", &["52:54:00:00:00:01"]).await;
    setting
        .node("n2", "baremetal", &["52:54:00:00:00:02"])
        .await;
    setting
        .server(&on_networks("a", &["ctl"]))
        .await
        .expect("a server");
    let error = setting
        .server(&on_networks("b", &["ctl"]))
        .await
        .expect_err("no node is left");
    let CloudError::NoFittingNode { server, misfits } = &error else {
        panic!("{error}");
    };
    assert_eq!(server, "b");
    let said: Vec<_> = misfits.iter().map(ToString::to_string).collect();
    assert_eq!(
        said[0],
        "n1: its resource class is `storage`, not `baremetal`"
    );
    assert!(said[1].starts_with("n2: it is `active`"), "{said:?}");
    assert_eq!(
        setting.cloud.list(Kind::Port).await.expect("lists").len(),
        1
    );
    assert_eq!(setting.cloud.server(&physical("b")).await, Ok(None));
}

#[tokio::test]
async fn a_node_with_too_few_interfaces_is_given_back() {
    let setting = open(None).await;
    setting.network("ctl", "192.0.2.0/24").await;
    let node = setting
        .node("n1", "baremetal", &["52:54:00:00:00:01"])
        .await;
    let error = setting
        .server(&on_networks("a", &["ctl", "ctl"]))
        .await
        .expect_err("too many");
    assert!(
        error
            .to_string()
            .contains("node n1 has 1 network interfaces, 2 are wanted"),
        "{error}"
    );
    assert_eq!(
        setting.metal.node(node).await.expect("node").instance_uuid,
        None
    );
    assert_eq!(setting.cloud.list(Kind::Port).await.expect("lists"), []);
    setting
        .server(&on_networks("b", &["ctl"]))
        .await
        .expect("a server");
}

#[tokio::test]
async fn a_node_that_is_being_cleaned_is_waited_for_and_one_that_failed_is_not() {
    let setting = open(None).await;
    setting.network("ctl", "192.0.2.0/24").await;
    let node = setting
        .node("n1", "baremetal", &["52:54:00:00:00:01"])
        .await;
    let cleaned = |node: &mut Node| {
        node.provision_state = ProvisionState::CleanWait;
        node.target_provision_state = Some(ProvisionState::Available);
        Ok(())
    };
    setting
        .metal
        .update_node(node, cleaned)
        .await
        .expect("a node that is cleaned");
    let want = on_networks("a", &["ctl"]);
    let (name, first) = (physical("a"), order(1));
    let ask = || setting.cloud.ensure_server(&name, &want, &first);
    let Ok(Seen::Pending { why, .. }) = ask().await else {
        panic!("it is not waited for");
    };
    assert!(
        why.starts_with("no node is free yet: n1: it is `clean wait`"),
        "{why}"
    );
    setting
        .metal
        .ask(node, Verb::Abort.into())
        .await
        .expect("aborts");
    let error = ask().await.expect_err("nobody cleans it any more");
    assert!(
        matches!(&error, CloudError::NoFittingNode { .. }),
        "{error}"
    );
    assert_eq!(setting.cloud.server(&physical("a")).await, Ok(None));
    for verb in [Verb::Manage, Verb::Provide] {
        setting
            .metal
            .ask(node, verb.into())
            .await
            .expect("is asked");
        setting.rests(node, verb.goal()).await;
    }
    let server = setting.server(&want).await.expect("a server");
    assert_eq!(server.host.as_deref(), Some("n1"));
}
