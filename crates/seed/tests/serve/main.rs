//! The whole seed on a state directory and a port of its own: who gets in, and what a restart keeps.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use openstack_client::Client;
use seed::{CloudKind, SeedError, Settings, TlsFiles};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A seed that runs.
struct Running {
    url: String,
    end: oneshot::Sender<()>,
    task: JoinHandle<Result<(), SeedError>>,
}

fn settings(state: &Path, tls: Option<TlsFiles>) -> Settings {
    Settings {
        state: state.to_owned(),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        internal_listen: None,
        cloud: CloudKind::Sim,
        tls,
        public_url: None,
        internal_url: None,
        deploy_agent: None,
        media_url: None,
        deploy_range: None,
        automated_clean: true,
        boot_timeout: Duration::from_secs(1200),
        agent_timeout: Duration::from_secs(300),
        region: "RegionOne".to_owned(),
        token_lifetime: Duration::from_secs(3600),
    }
}

async fn start(settings: Settings) -> Running {
    let (end, ended) = oneshot::channel();
    let (tell, ready) = oneshot::channel();
    let task = tokio::spawn(seed::serve_until(
        settings,
        |url| tell.send(url.to_owned()).unwrap(),
        async { drop(ended.await) },
    ));
    let url = ready.await.unwrap();
    Running { url, end, task }
}

impl Running {
    async fn stop(self) {
        self.end.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

fn password(state: &Path) -> String {
    fs::read_to_string(state.join("keys/admin"))
        .unwrap()
        .trim()
        .to_owned()
}

fn plain_http() -> reqwest::Client {
    // Twice is fine: the first one stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

async fn log_in(http: &reqwest::Client, url: &str, password: &str) -> reqwest::Response {
    let user = json!({"name": "admin", "domain": {"id": "default"}, "password": password});
    let body = json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"project": {"name": "admin", "domain": {"id": "default"}}},
    }});
    http.post(format!("{url}/identity/v3/auth/tokens"))
        .json(&body)
        .send()
        .await
        .unwrap()
}

fn token(response: &reqwest::Response) -> String {
    response.headers()["X-Subject-Token"]
        .to_str()
        .unwrap()
        .to_owned()
}

async fn status(http: &reqwest::Client, url: &str, path: &str, token: &str) -> u16 {
    let sent = http
        .get(format!("{url}{path}"))
        .header("X-Auth-Token", token)
        .send()
        .await;
    sent.unwrap().status().as_u16()
}

#[tokio::test]
async fn operators_log_in_over_tls_with_the_file_that_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let state = dir.path().join("state");
    let seed = start(settings(
        &state,
        Some(TlsFiles {
            ca: cert.clone(),
            cert,
            key,
        }),
    ))
    .await;
    assert!(seed.url.starts_with("https://127.0.0.1:"), "{}", seed.url);

    let cloud = Client::from_file(&state.join("clouds.yaml"), "seed")
        .await
        .unwrap();
    let projects = cloud
        .get("identity", "/v3/projects?name=admin")
        .await
        .unwrap();
    assert_eq!(projects["projects"].as_array().unwrap().len(), 1);
    let made = json!({"name": "golden", "disk_format": "raw", "container_format": "bare"});
    let image = cloud.post("image", "/v2/images", &made).await.unwrap();
    let path = format!("/v2/images/{}", image["id"].as_str().unwrap());
    let data = dir.path().join("golden.raw");
    let mut bytes = vec![0u8; 4 << 20];
    bytes[3 << 20] = 7;
    fs::write(&data, &bytes).unwrap();
    cloud
        .upload("image", &format!("{path}/file"), &data)
        .await
        .unwrap();
    let extents = cloud
        .get("image", &format!("{path}/extents"))
        .await
        .unwrap();
    assert_eq!(extents["size"], 4 << 20);
    let (offset, length) = (
        &extents["extents"][0]["offset"],
        &extents["extents"][0]["length"],
    );
    assert!(
        (offset.as_u64().unwrap()..offset.as_u64().unwrap() + length.as_u64().unwrap())
            .contains(&(3 << 20))
    );
    seed.stop().await;

    for name in [
        "clouds.yaml",
        "seed.sqlite",
        "keys/admin",
        "keys/token",
        "keys/vault",
    ] {
        let mode = fs::metadata(state.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(
        fs::metadata(&state).unwrap().permissions().mode() & 0o777,
        0o700
    );
}

#[tokio::test]
async fn tokens_and_their_ends_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let http = plain_http();
    let seed = start(settings(dir.path(), None)).await;
    let secret = password(dir.path());
    assert_eq!(log_in(&http, &seed.url, "wrong").await.status(), 401);
    let (kept, gone) = (
        token(&log_in(&http, &seed.url, &secret).await),
        token(&log_in(&http, &seed.url, &secret).await),
    );
    assert!(kept.len() <= 255);
    let revoked = http
        .delete(format!("{}/identity/v3/auth/tokens", seed.url))
        .header("X-Auth-Token", &kept)
        .header("X-Subject-Token", &gone)
        .send()
        .await
        .unwrap();
    assert_eq!(revoked.status(), 204);
    seed.stop().await;

    let seed = start(settings(dir.path(), None)).await;
    assert_eq!(password(dir.path()), secret);
    for path in ["/identity/v3/projects", "/image/v2/images"] {
        assert_eq!(status(&http, &seed.url, path, &kept).await, 200, "{path}");
        assert_eq!(status(&http, &seed.url, path, &gone).await, 401, "{path}");
    }
    seed.stop().await;
}

#[tokio::test]
async fn a_user_without_the_role_gets_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let http = plain_http();
    let seed = start(settings(dir.path(), None)).await;
    let admin = token(&log_in(&http, &seed.url, &password(dir.path())).await);
    let user = json!({"user": {"name": "guest", "password": "guess me"}});
    let made = http
        .post(format!("{}/identity/v3/users", seed.url))
        .header("X-Auth-Token", &admin)
        .json(&user)
        .send()
        .await
        .unwrap();
    assert_eq!(made.status(), 201);
    let made: Value = made.json().await.unwrap();
    assert!(!made.to_string().contains("guess me"));
    let body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {
        "id": made["user"]["id"], "password": "guess me"}}}}});
    let guest = http
        .post(format!("{}/identity/v3/auth/tokens", seed.url))
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(guest.status(), 201);
    let guest = token(&guest);
    assert_eq!(
        status(&http, &seed.url, "/identity/v3/users", &guest).await,
        403
    );
    assert_eq!(
        status(&http, &seed.url, "/identity/v3/nowhere", "").await,
        401
    );
    assert_eq!(status(&http, &seed.url, "/nowhere", &admin).await, 404);
    seed.stop().await;
}

#[tokio::test]
async fn a_state_directory_has_one_seed() {
    let dir = tempfile::tempdir().unwrap();
    let seed = start(settings(dir.path(), None)).await;
    let second =
        seed::serve_until(settings(dir.path(), None), |_| {}, std::future::pending()).await;
    assert!(matches!(second, Err(SeedError::Busy { .. })), "{second:?}");
    seed.stop().await;
}

#[tokio::test]
async fn a_seed_for_metal_shows_flavors_networks_and_no_servers() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let seed = start(Settings {
        cloud: CloudKind::Metal,
        ..settings(&state, None)
    })
    .await;
    let http = plain_http();
    let token = token(&log_in(&http, &seed.url, &password(&state)).await);
    let ask = async |method: reqwest::Method, path: &str, body: Value| {
        let request = http.request(method, format!("{}{path}", seed.url));
        let request = request.header("X-Auth-Token", &token);
        let request = if body.is_null() {
            request
        } else {
            request.json(&body)
        };
        let sent = request.send().await.unwrap();
        (
            sent.status().as_u16(),
            sent.json().await.unwrap_or(Value::Null),
        )
    };
    let get = async |path: &str| ask(reqwest::Method::GET, path, Value::Null).await;
    let (status, flavors) = get("/compute/v2.1/flavors/detail").await;
    assert_eq!(
        (status, &flavors["flavors"][0]["name"]),
        (200, &json!("baremetal"))
    );
    let large = json!({"flavor": {"name": "large", "vcpus": 8, "ram": 65536, "disk": 100}});
    let (status, made) = ask(
        reqwest::Method::POST,
        "/compute/v2.1/flavors",
        large.clone(),
    )
    .await;
    assert_eq!(status, 200, "{made}");
    let (status, refused) = ask(reqwest::Method::POST, "/compute/v2.1/flavors", large).await;
    assert_eq!(status, 409, "{refused}");
    let path = format!(
        "/compute/v2.1/flavors/{}",
        made["flavor"]["id"].as_str().unwrap()
    );
    let (status, shown) = get(&path).await;
    assert_eq!((status, &shown["flavor"]["ram"]), (200, &json!(65536)));
    for path in [
        "/compute/v2.1/servers/detail",
        "/compute/v2.1/os-keypairs",
        "/compute/v2.1/os-hypervisors/detail",
        "/network/v2.0/networks?name=none",
        "/network/v2.0/subnets",
        "/network/v2.0/ports?limit=1",
        "/network/v2.0/routers",
    ] {
        let (status, answer) = get(path).await;
        assert_eq!(status, 200, "{path}: {answer}");
        let list = answer.as_object().unwrap().values().next().unwrap();
        assert_eq!(list, &json!([]), "{path}");
    }
    assert_eq!(get("/compute/v2.1/servers/none").await.0, 404);
    let (status, lost) = get("/network/v2.0/ports/none").await;
    assert_eq!(
        (status, &lost["NeutronError"]["type"]),
        (404, &json!("PortNotFound"))
    );
    let (status, refused) = ask(reqwest::Method::POST, "/compute/v2.1/servers", json!({})).await;
    assert_eq!(status, 501);
    assert!(
        refused.to_string().contains("openstack stack create"),
        "{refused}"
    );
    seed.stop().await;
}

/// Sends text, then more of it once the server had its chance to answer the first part.
async fn talk(url: &str, parts: &[&str]) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = url.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    for part in parts {
        stream.write_all(part.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Clients keep connections, and send a body in a packet of its own: an answer that does not need it
/// must not end the connection.
#[tokio::test]
async fn a_body_that_nobody_reads_leaves_the_connection_whole() {
    let dir = tempfile::tempdir().unwrap();
    let seed = start(settings(dir.path(), None)).await;
    let next = "GET /identity/v3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let post = |path: &str, length: usize, more: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{more}\r\n")
    };
    for path in [
        "/identity/v3/users",
        "/nowhere",
        "/orchestration/v1/p/stacks",
    ] {
        let answers = talk(&seed.url, &[&post(path, 5, ""), "{\"a\":", next]).await;
        let count = answers.matches("HTTP/1.1 ").count();
        assert_eq!(count, 2, "{path}: {answers}");
        assert!(answers.starts_with("HTTP/1.1 40"), "{answers}");
    }
    // What is too large to be thrown away, or is not even sent yet, ends the connection in so many words.
    for (length, more) in [(1 << 30, ""), (5, "Expect: 100-continue\r\n")] {
        let answer = talk(&seed.url, &[&post("/identity/v3/users", length, more)]).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    seed.stop().await;
}

/// What no program of ours would send is refused in the service's own form, never with a 500.
#[tokio::test]
async fn odd_requests_are_refused_in_the_form_of_the_service() {
    let dir = tempfile::tempdir().unwrap();
    let seed = start(settings(dir.path(), None)).await;
    let http = plain_http();
    let token = token(&log_in(&http, &seed.url, &password(dir.path())).await);
    let deep = "[".repeat(20_000) + &"]".repeat(20_000);
    let bodies: [&[u8]; 12] = [
        b"",
        b"{",
        b"[]",
        b"null",
        b"1",
        b"\"x\"",
        b"\xff\xfe{}",
        b"{\"a\": \"\xff\"}",
        b"{\"stack_name\": \"\\ud800\"}",
        b"{\"x\": 1e999}",
        b"{\"a\": 1, \"a\": {\"a\": []}}",
        deep.as_bytes(),
    ];
    let paths = [
        "/identity/v3/users",
        "/identity/v3/auth/tokens",
        "/image/v2/images",
        "/baremetal/v1/nodes",
        "/orchestration/v1/p/stacks",
        "/orchestration/v1/p/validate",
        "/orchestration/v1/p/software_deployments",
        "/identity/v3/users/%ff",
        "/image/v2/images/%ff/tags/a",
    ];
    for path in paths {
        for body in bodies {
            let sent = http
                .post(format!("{}{path}", seed.url))
                .header("X-Auth-Token", &token)
                .header("Content-Type", "application/json")
                .body(body.to_vec())
                .send()
                .await;
            let answer = sent.unwrap();
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
            let (status, kind) = (
                answer.status(),
                answer.headers().get("content-type").cloned(),
            );
            let text = answer.text().await.unwrap();
            assert!(
                status.is_client_error(),
                "{path} {shown}: {status} {kind:?} {text}"
            );
            let error: Value = serde_json::from_str(&text)
                .unwrap_or_else(|_| panic!("{path} {shown}: {status} {kind:?} {text}"));
            assert!(error.is_object(), "{path} {shown}: {error}");
        }
    }
    seed.stop().await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seed.sqlite");
    let foreign = "the notes of somebody else, long enough to be read as a header of a database, and no such thing at all";
    fs::write(&path, foreign).unwrap();
    let refused = seed::serve_until(settings(dir.path(), None), |_| {}, std::future::pending());
    let error = refused.await.unwrap_err();
    assert!(
        error.to_string().contains(&*path.to_string_lossy()),
        "{error}"
    );
    let hint = error.hint().unwrap();
    assert!(hint.contains("give another --state"), "{hint}");
    assert_eq!(fs::read_to_string(&path).unwrap(), foreign);
}
