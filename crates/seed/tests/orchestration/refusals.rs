//! What is refused, and in which words.

use serde_json::{Value, json};

use crate::{Lab, PROJECT, hot, value};

#[tokio::test]
async fn versions_need_no_token() {
    let lab = Lab::new().await;
    for path in ["/", "/v2", "/v9/x"] {
        let reply = lab.raw("GET", path, "", &[]).await;
        assert_eq!(reply.status, 300, "{path}");
        let link = &reply.json()["versions"][0]["links"][0]["href"];
        assert_eq!(link, "http://seed/v1/");
    }
}

#[tokio::test]
async fn tokens_come_first() {
    let lab = Lab::new().await;
    for headers in [&[][..], &[("X-Auth-Token", "garbage")]] {
        let reply = lab.raw("GET", "/v1/x/stacks", "", headers).await;
        assert_eq!(reply.status, 401);
        assert!(
            reply
                .header("www-authenticate")
                .starts_with("Keystone uri=")
        );
        assert_eq!(reply.json()["error"]["title"], "Unauthorized");
    }
}

#[tokio::test]
async fn another_project_is_closed_to_all_but_admins() {
    let lab = Lab::new().await;
    let other = lab.as_user("u", "ffff", "member");
    let message = "Access was denied to this resource.".to_owned();
    let fault = other.get("/stacks").await.fault();
    assert_eq!(fault, (403, "HTTPForbidden".to_owned(), message));
    let admin = lab.as_user("u", "ffff", "admin");
    assert_eq!(admin.get("/build_info").await.status, 200);
}

#[tokio::test]
async fn paths_and_methods() {
    let lab = Lab::new().await;
    let put = lab.ask("PUT", "/stacks", Some(json!({}))).await;
    assert_eq!(
        (put.status, &put.json()["title"]),
        (405, &json!("Method Not Allowed"))
    );
    assert_eq!(lab.ask("HEAD", "/stacks", None).await.status, 405);
    let options = lab.ask("OPTIONS", "/stacks", None).await;
    assert_eq!((options.status, options.header("allow")), (204, "GET,POST"));
    assert_eq!(lab.get("/nothing").await.status, 404);
    assert_eq!(lab.get("").await.status, 404);
    let reply = lab.get("/build_info").await;
    assert_eq!(reply.header("content-type"), "application/json");
    assert!(reply.header("x-openstack-request-id").starts_with("req-"));
}

#[tokio::test]
async fn readers_and_stack_users_are_kept_out() {
    let lab = Lab::new().await;
    let reader = lab.as_user("u", PROJECT, "reader");
    let body = json!({ "stack_name": "x", "template": hot(json!({})) });
    let words = "You are not authorized to use stacks:create.".to_owned();
    let fault = reader.post("/stacks", body).await.fault();
    assert_eq!(fault, (403, "Forbidden".to_owned(), words));
    assert_eq!(reader.get("/resource_types").await.status, 200);
    assert_eq!(lab.get("/services").await.status, 403);
}

#[tokio::test]
async fn create_is_refused_in_heats_words() {
    let lab = Lab::new().await;
    let ok = || hot(json!({ "v": value(json!("x")) }));
    let cases: Vec<(Value, &str, &str)> = vec![
        (
            json!({ "template": ok() }),
            "HTTPBadRequest",
            "No stack name specified",
        ),
        (
            json!({ "stack_name": "x" }),
            "HTTPBadRequest",
            "No template specified",
        ),
        (
            json!({ "stack_name": 12, "template": ok() }),
            "StackValidationFailed",
            "Invalid stack name 12, must be a string",
        ),
        (
            json!({ "stack_name": "x", "template": ok(), "timeout_mins": "abc" }),
            "HTTPBadRequest",
            "Only integer is acceptable by 'timeout_mins'.",
        ),
        (
            json!({ "stack_name": "x", "template": ok(), "environment": { "zz": 1 } }),
            "HTTPBadRequest",
            "Environment not in valid format: environment has wrong section \"zz\"",
        ),
        (
            json!({ "stack_name": "x", "template": ok(), "converge": true }),
            "HTTPBadRequest",
            "converge flag only supported in stack update (or update preview) request.",
        ),
    ];
    for (body, kind, message) in cases {
        let fault = lab.post("/stacks", body.clone()).await.fault();
        assert_eq!(fault, (400, kind.to_owned(), message.to_owned()), "{body}");
    }
}

#[tokio::test]
async fn bodies_must_be_objects() {
    let lab = Lab::new().await;
    let path = format!("/v1/{PROJECT}/stacks");
    let token = ("X-Auth-Token", lab.token.as_str());
    for body in ["{", "[1]", "", "\"x\"", "nonsense"] {
        let reply = lab.raw("POST", &path, body, &[token]).await;
        assert_eq!(
            (reply.status, &reply.json()["title"]),
            (400, &json!("Bad Request")),
            "{body}"
        );
    }
    let xml = [token, ("Content-Type", "application/xml")];
    assert_eq!(lab.raw("POST", &path, "<a/>", &xml).await.status, 400);
}

#[tokio::test]
async fn queries_are_checked() {
    let lab = Lab::new().await;
    for (query, message) in [
        ("limit=abc", "Only integer is acceptable by 'limit'."),
        (
            "show_nested=maybe",
            "Unrecognized value \"maybe\" for \"show_nested\", acceptable values are: true, false.",
        ),
    ] {
        let fault = lab.get(&format!("/stacks?{query}")).await.fault();
        assert_eq!((fault.0, fault.2.as_str()), (400, message));
    }
    assert_eq!(lab.get("/stacks?sort_dir=zzz").await.status, 400);
}

#[tokio::test]
async fn config_schemas_are_checked() {
    let lab = Lab::new().await;
    for body in [
        json!({ "inputs": [{ "x": 1 }] }),
        json!({ "inputs": "zz" }),
        json!({ "outputs": [{ "x": 1 }] }),
        json!({ "inputs": [{ "name": "a", "type": "Wrong" }] }),
    ] {
        let reply = lab.post("/software_configs", body.clone()).await;
        assert_eq!(reply.status, 400, "{body}: {}", reply.text);
    }
}
