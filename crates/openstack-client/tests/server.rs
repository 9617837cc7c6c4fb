//! The client against a server that behaves as servers do: tokens end, connections are lost, requests are refused.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use openstack_client::Client;
use serde_json::json;

#[derive(Default)]
struct Seen {
    logins: AtomicU32,
}

async fn serve() -> (tempfile::TempDir, String, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let own = base.clone();
    let app = Router::new()
        .route(
            "/identity/v3/auth/tokens",
            post(move |State(seen): State<Arc<Seen>>| async move {
                let number = seen.logins.fetch_add(1, Ordering::SeqCst) + 1;
                let endpoint = |interface: &str, path: &str| json!({"interface": interface, "region": "R", "url": format!("{own}/{path}")});
                let catalog = json!([{"type": "things", "endpoints": [endpoint("internal", "wrong"), endpoint("public", "things")]}]);
                (StatusCode::CREATED, [("X-Subject-Token", format!("t{number}"))], Json(json!({"token": {"catalog": catalog}})))
            }),
        )
        .route(
            "/things/one",
            get(|headers: HeaderMap| async move {
                // The first token has ended.
                match headers["X-Auth-Token"].to_str().unwrap() {
                    "t1" => StatusCode::UNAUTHORIZED.into_response(),
                    token => Json(json!({ "token": token })).into_response(),
                }
            }),
        )
        .route("/things/refused", get(|| async { (StatusCode::CONFLICT, Json(json!({"error": {"message": "it is taken"}}))) }))
        .route("/things/file", put(|body: String| async move { if body == "content" { StatusCode::NO_CONTENT } else { StatusCode::BAD_REQUEST } }))
        .with_state(Arc::clone(&seen));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("clouds.yaml"),
        format!("clouds: {{c: {{region_name: R, auth: {{auth_url: '{base}/identity/v3', username: u, password: p, project_name: x}}}}}}"),
    )
    .unwrap();
    (folder, base, seen)
}

async fn client(folder: &tempfile::TempDir) -> Client {
    Client::from_file(&folder.path().join("clouds.yaml"), "c")
        .await
        .unwrap()
}

#[tokio::test]
async fn a_token_that_ended_is_renewed_once() {
    let (folder, _, seen) = serve().await;
    let client = client(&folder).await;
    assert_eq!(client.get("things", "one").await.unwrap()["token"], "t2");
    assert_eq!(seen.logins.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn refusals_carry_the_servers_words() {
    let (folder, _, _) = serve().await;
    let error = client(&folder)
        .await
        .get("things", "refused")
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(409));
    assert!(
        error
            .to_string()
            .starts_with("it is taken (HTTP 409, GET http"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_not_there_is_no_error_for_find() {
    let (folder, _, _) = serve().await;
    assert!(
        client(&folder)
            .await
            .find("things", "none")
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_service_that_is_missing_is_told_with_those_that_are_there() {
    let (folder, _, _) = serve().await;
    let error = client(&folder)
        .await
        .get("volumes", "x")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`volumes`") && error.contains("things"),
        "{error}"
    );
}

#[tokio::test]
async fn files_are_streamed() {
    let (folder, _, _) = serve().await;
    let file = folder.path().join("file");
    std::fs::write(&file, "content").unwrap();
    client(&folder)
        .await
        .upload("things", "file", &file)
        .await
        .unwrap();
}
