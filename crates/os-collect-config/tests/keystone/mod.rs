//! The program against Keystones of every age: which version is used, and how often it logs in.

use crate::scripted::{Reply, Request, Scripted};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A cloud whose Keystone has only `versions`, and lists them if `lists`. Its Heat takes the `accepted`th token only.
fn cloud(versions: &'static [&'static str], lists: bool, accepted: usize) -> Scripted {
    let logins = AtomicUsize::new(0);
    Scripted::start("127.0.0.1", move |base, request| {
        if request.line == "GET /" && lists {
            return Reply::json(300, "", &list(base, versions));
        }
        if request.line == "GET /heat/stacks/s/1/resources/r/metadata" {
            let wanted = format!("token-{accepted}");
            return match request.header("x-auth-token") {
                Some(token) if token == wanted => Reply::json(200, "", r#"{"metadata": {"a": 1}}"#),
                _ => Reply::json(401, "", "{}"),
            };
        }
        let login = |_: &Request| format!("token-{}", logins.fetch_add(1, Ordering::SeqCst) + 1);
        let body = metadata::parse(&request.body).unwrap_or(metadata::Value::Null);
        match request.line.as_str() {
            "POST /v3/auth/tokens" if versions.contains(&"v3.14") => {
                let scope = r#""scope": {"project": {"id": "p"}}"#;
                assert!(body.to_json().contains(scope), "{}", request.body);
                let token = format!("X-Subject-Token: {}\r\n", login(request));
                Reply::json(
                    201,
                    &token,
                    &format!(
                        r#"{{"token": {{"expires_at": "2999-01-01T00:00:00.000000Z", "catalog":
                    [{{"type": "orchestration", "endpoints": [{{"interface": "internal", "url": "{base}/no"}},
                       {{"interface": "public", "region_id": "r", "url": "{base}/heat"}}]}}]}}}}"#
                    ),
                )
            }
            "POST /v2.0/tokens" if versions.contains(&"v2.0") => {
                let tenant = r#""tenantId": "p""#;
                assert!(body.to_json().contains(tenant), "{}", request.body);
                let token = login(request);
                Reply::json(
                    200,
                    "",
                    &format!(
                        r#"{{"access": {{"token": {{"id": "{token}", "expires": "2999-01-01T00:00:00Z"}},
                    "serviceCatalog": [{{"type": "orchestration", "endpoints": [{{"region": "r", "publicURL": "{base}/heat",
                    "internalURL": "{base}/no"}}]}}]}}}}"#
                    ),
                )
            }
            _ => Reply::json(404, "", "{}"),
        }
    })
}

fn list(base: &str, versions: &[&str]) -> String {
    let one = |id: &&str| {
        let path = if *id == "v2.0" { "v2.0" } else { "v3" };
        format!(
            r#"{{"id": "{id}", "status": "stable", "links": [{{"rel": "self", "href": "{base}/{path}/"}}]}}"#
        )
    };
    let values: Vec<String> = versions.iter().map(one).collect();
    format!(r#"{{"versions": {{"values": [{}]}}}}"#, values.join(", "))
}

/// Collects from Heat once, with Keystone at `path`; gives all requests that it took.
#[track_caller]
fn collect(server: &Scripted, path: &str, cache: &Path) -> Vec<String> {
    let before = server.lines().len();
    let output = Command::new(env!("CARGO_BIN_EXE_os-collect-config"))
        .args(["--config-file", "/dev/null", "--print"])
        .arg("--cachedir")
        .arg(cache.join("cache"))
        .arg("--keystone-cache_dir")
        .arg(cache.join("tokens"))
        .arg(format!("--heat-auth-url={}{path}", server.base))
        .args(["--heat-user-id=u", "--heat-password=w"])
        .args(["--heat-project-id=p", "--heat-stack-id=s/1"])
        .args(["--heat-resource-name=r", "--heat-region-name=r", "heat"])
        .env("NO_PROXY", "*")
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        out,
        "{\n \"heat\": {\n  \"a\": 1\n }\n}\n",
        "{err} {:?}",
        server.lines()
    );
    server.lines().split_off(before)
}

#[track_caller]
fn check(server: &Scripted, path: &str, expect: &[&str]) {
    let root = tempfile::tempdir().unwrap();
    let mut found = collect(server, path, root.path());
    assert_eq!(
        found.pop().as_deref(),
        Some("GET /heat/stacks/s/1/resources/r/metadata")
    );
    assert_eq!(found, expect);
}

#[test]
fn the_version_that_keystone_has() {
    let both: &[&str] = &["v3.14", "v2.0"];
    let v3 = "POST /v3/auth/tokens";
    let v2 = "POST /v2.0/tokens";
    check(&cloud(both, true, 1), "", &["GET /", v3]);
    check(&cloud(both, true, 1), "/v2.0", &["GET /", v3]);
    check(&cloud(both, true, 1), "/v3", &[v3]);
    check(&cloud(both, false, 1), "/v2.0/", &["GET /", v3]);
    check(&cloud(&["v2.0"], true, 1), "/", &["GET /", v2]);
    check(&cloud(&["v2.0"], true, 1), "/v2.0", &["GET /", v2]);
    check(&cloud(&["v2.0"], false, 1), "/v2.0", &["GET /", v3, v2]);
}

#[test]
fn a_token_is_used_again() {
    for versions in [&["v3.14"][..], &["v2.0"]] {
        let server = cloud(versions, true, 1);
        let root = tempfile::tempdir().unwrap();
        assert_eq!(collect(&server, "/", root.path()).len(), 3);
        assert_eq!(
            collect(&server, "/", root.path()),
            ["GET /heat/stacks/s/1/resources/r/metadata"]
        );
        let tokens = root.path().join("tokens");
        let kept: Vec<_> = std::fs::read_dir(&tokens).unwrap().flatten().collect();
        assert_eq!(kept.len(), 1);
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&tokens), mode(&kept[0].path())), (0o700, 0o600));
    }
}

#[test]
fn a_refused_token_is_replaced_at_once() {
    let server = cloud(&["v3.14"], false, 2);
    let root = tempfile::tempdir().unwrap();
    let heat = "GET /heat/stacks/s/1/resources/r/metadata";
    let login = "POST /v3/auth/tokens";
    assert_eq!(
        collect(&server, "/v3", root.path()),
        [login, heat, login, heat]
    );
    assert_eq!(collect(&server, "/v3", root.path()), [heat]);
}
