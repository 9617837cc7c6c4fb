//! Nodes whose BMC is real HTTP and misbehaves: it refuses, hangs, or says what is not so.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use baremetal::{Node, NodeId, PowerTarget, ProvisionState as P, RedfishHardware, Settings, Verb};
use bmc::Limits;
use serde_json::json;

use crate::support::{Running, memory, reach, start};

const SYSTEM: &str = "/redfish/v1/Systems/1";

/// A BMC that takes every reset and never changes.
fn liar() -> Router {
    let system = || async { axum::Json(json!({"PowerState": "Off"})) };
    Router::new().route(SYSTEM, get(system)).route(
        "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset",
        post(|| async { StatusCode::NO_CONTENT }),
    )
}

fn refuser() -> Router {
    let error = r#"{"error": {"message": "the licence has expired"}}"#;
    Router::new().fallback(move || async move { (StatusCode::FORBIDDEN, error).into_response() })
}

fn hanger() -> Router {
    Router::new().fallback(std::future::pending::<StatusCode>)
}

async fn listen(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn metal() -> (baremetal::Baremetal, Running) {
    let limits = Limits {
        connect: Duration::from_secs(2),
        request: Duration::from_millis(300),
        tries: 2,
        pause: Duration::from_millis(1),
        power: Duration::from_millis(100),
        poll: Duration::from_millis(1),
    };
    let hardware = Arc::new(RedfishHardware::with_limits(limits));
    start(memory(), Settings::default(), hardware).await
}

async fn enrol(metal: &baremetal::Baremetal, address: &str) -> NodeId {
    let mut node = Node {
        driver: "redfish".into(),
        ..Node::default()
    };
    node.driver_info
        .insert("redfish_address".into(), json!(address));
    node.driver_info
        .insert("redfish_system_id".into(), json!(SYSTEM));
    metal.create_node(node).await.unwrap().uuid
}

#[tokio::test]
async fn a_refusal_leads_back_to_enroll_with_the_words_of_the_bmc() {
    let (metal, _running) = metal().await;
    let address = listen(refuser()).await;
    let id = enrol(&metal, &address).await;
    metal.ask(id, Verb::Manage.into()).await.unwrap();
    let node = reach(&metal, id, P::Enroll).await;
    let error = node.last_error.unwrap();
    assert!(error.contains(&address), "{error}");
    assert!(error.contains("the licence has expired"), "{error}");
    assert_eq!(node.target_provision_state, None);
}

#[tokio::test]
async fn a_hanging_bmc_stops_no_other_node() {
    let (metal, _running) = metal().await;
    let (hangs, works) = (listen(hanger()).await, listen(liar()).await);
    let stuck = enrol(&metal, &hangs).await;
    let good = enrol(&metal, &works).await;
    metal.ask(stuck, Verb::Manage.into()).await.unwrap();
    metal.ask(good, Verb::Manage.into()).await.unwrap();
    reach(&metal, good, P::Manageable).await;
    let node = reach(&metal, stuck, P::Enroll).await;
    assert!(node.last_error.unwrap().contains("did not answer"));
}

#[tokio::test]
async fn power_that_never_comes_is_told_and_the_node_can_be_asked_again() {
    let (metal, _running) = metal().await;
    let id = enrol(&metal, &listen(liar()).await).await;
    metal.ask_power(id, PowerTarget::On).await.unwrap();
    let node = reach(&metal, id, P::Enroll).await;
    let error = node.last_error.unwrap();
    assert!(error.contains("is still `power off`"), "{error}");
    assert_eq!(node.target_power_state, None);
    metal.ask(id, Verb::Manage.into()).await.unwrap();
    reach(&metal, id, P::Manageable).await;
}
