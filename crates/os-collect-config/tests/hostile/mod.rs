//! The program against servers that hang, trickle, cut, lie, flood and send their clients elsewhere.
//!
//! Each time the agent says what is wrong, and goes on with its other sources.

use crate::scripted::{Reply, Request, Scripted};
use std::fs;
use std::process::{Command, Output};

/// Runs the agent once with `arguments` on `server`, and a local document beside it.
fn once(arguments: &[&str], collector: &str) -> Output {
    let root = tempfile::tempdir().unwrap();
    let local = root.path().join("local");
    fs::create_dir(&local).unwrap();
    fs::write(local.join("own"), r#"{"own": 1}"#).unwrap();
    Command::new(env!("CARGO_BIN_EXE_os-collect-config"))
        .args(["--config-file", "/dev/null", "--one-time"])
        .args(["-c", "cat $OS_CONFIG_FILES"])
        .arg("--config-drive")
        .arg(root.path().join("none"))
        .arg("--cachedir")
        .arg(root.path().join("cache"))
        .arg("--backup-cachedir")
        .arg(root.path().join("backup"))
        .arg("--local-path")
        .arg(&local)
        .args(arguments)
        .args([collector, "local"])
        .env("NO_PROXY", "*")
        .output()
        .unwrap()
}

/// The source is refused with `why`; the other one is applied.
#[track_caller]
fn check(arguments: &[&str], collector: &str, why: &str) {
    let output = once(arguments, collector);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(out, "{\n \"own\": 1\n}", "{err}");
    let unavailable = format!("Source [{collector}] Unavailable.");
    assert!(err.contains(&unavailable), "{err}");
    assert!(err.contains(why), "{err}");
    // What is wrong is said with the address, and the address without its secret.
    assert!(!err.contains("s3cret"), "{err}");
}

/// The metadata document is answered by `reply`, HEAD as usual.
#[track_caller]
fn refused(why: &str, timeout: &str, reply: impl Fn() -> Reply + Send + Sync + 'static) {
    let server = Scripted::start("127.0.0.1", move |_, request| {
        if request.line.starts_with("HEAD") {
            return Reply::json(200, "", "");
        }
        reply()
    });
    let url = format!("{}/doc?secret=s3cret", server.base);
    let arguments = ["--request-metadata-url", &url, "--request-timeout", timeout];
    check(&arguments, "request", why);
}

/// Long enough for a server that does answer, however busy the machine is.
const LONG: &str = "60";

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

#[test]
fn silence() {
    refused("/doc", "0.2", || Reply::Hang(Vec::new()));
    refused("/doc", "0.2", || {
        Reply::Hang(bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"a\""))
    });
}

#[test]
fn trickling() {
    refused("/doc", "0.1", || {
        Reply::Trickle(bytes("HTTP/1.1 200 OK\r\n\r\n{"))
    });
}

#[test]
fn cut_off() {
    refused("/doc", LONG, || Reply::Bytes(Vec::new()));
    refused("/doc", LONG, || {
        Reply::Bytes(bytes(
            "HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{\"a\": 1}",
        ))
    });
    refused("/doc", LONG, || {
        Reply::Bytes(bytes(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"a\": 1}\r\n",
        ))
    });
}

#[test]
fn lies_about_the_length() {
    refused("is larger than 67108864 bytes", LONG, || {
        Reply::Hang(bytes(
            "HTTP/1.1 200 OK\r\nContent-Length: 2147483648\r\n\r\n{",
        ))
    });
}

#[test]
fn without_end() {
    refused("is larger than 67108864 bytes", LONG, || {
        Reply::Flood(
            bytes("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"),
            vec![b' '; 1 << 20],
        )
    });
    refused("/doc", LONG, || {
        Reply::Flood(bytes("HTTP/1.1 200 OK\r\n"), bytes("X-More: header\r\n"))
    });
}

#[test]
fn no_document() {
    refused("gave no JSON", LONG, || {
        Reply::json(200, "", "<html>login</html>")
    });
    refused("gave no JSON object", LONG, || {
        Reply::json(200, "", "[1, 2]")
    });
    refused("gave no JSON", LONG, || {
        Reply::json(200, "", &"[".repeat(1 << 20))
    });
    refused("/doc", LONG, || Reply::Bytes(bytes("SSH-2.0-OpenSSH\r\n")));
    refused("answered 503", LONG, || {
        Reply::json(503, "Retry-After: 99999999999999999999\r\n", "")
    });
}

#[test]
fn sent_in_circles() {
    let answer = |_: &str, _: &Request| Reply::json(302, "Location: /doc\r\n", "");
    let server = Scripted::start("127.0.0.1", answer);
    let url = format!("{}/doc?secret=s3cret", server.base);
    let arguments = ["--request-metadata-url", &url];
    check(&arguments, "request", "too many redirects");
    assert!(server.lines().len() < 20, "{:?}", server.lines());
}

#[test]
fn a_tree_without_end() {
    let server = Scripted::start("127.0.0.1", |_, _| Reply::json(200, "", "deeper/\nleaf"));
    let url = format!("{}/latest/meta-data", server.base);
    check(&["--ec2-metadata-url", &url], "ec2", "has no end");
}

#[test]
fn a_token_is_for_its_server_only() {
    let elsewhere = Scripted::start("127.0.0.2", |_, _| Reply::json(200, "", "{}"));
    let location = format!("Location: {}/steal\r\n", elsewhere.base);
    let server = Scripted::start("127.0.0.1", move |base, request| {
        if request.line == "POST /v3/auth/tokens" {
            let body = format!(
                r#"{{"token": {{"expires_at": "2999-01-01T00:00:00Z", "catalog": [{{"type": "orchestration",
                    "endpoints": [{{"interface": "public", "region": "r", "url": "{base}/heat"}}]}}]}}}}"#
            );
            return Reply::json(201, "X-Subject-Token: tok\r\n", &body);
        }
        assert_eq!(request.header("x-auth-token"), Some("tok"));
        Reply::json(307, &location, "")
    });
    let url = format!("{}/v3", server.base);
    let arguments = heat(&url);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    check(&arguments, "heat", "must not see the credentials");
    assert_eq!(elsewhere.lines(), Vec::<String>::new());
}

fn heat(url: &str) -> Vec<String> {
    let pairs = [
        ("auth-url", url),
        ("user-id", "u"),
        ("password", "s3cret"),
        ("project-id", "p"),
        ("stack-id", "s/1"),
        ("resource-name", "r"),
    ];
    pairs
        .iter()
        .map(|(name, value)| format!("--heat-{name}={value}"))
        .collect()
}
