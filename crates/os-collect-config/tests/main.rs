//! The program against a metadata server that holds requests and takes reports.

#![expect(
    clippy::unwrap_used,
    reason = "the lint does not see that helpers here are tests, too"
)]

mod hostile;
mod keystone;
#[path = "server/scripted.rs"]
mod scripted;
#[expect(dead_code, reason = "the server has more than these tests use")]
mod server;

use server::Server;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A directory with a config drive and a cache, and the agent that uses them.
struct Node {
    root: tempfile::TempDir,
}

impl Node {
    fn new(server: &Server) -> Node {
        let root = tempfile::tempdir().unwrap();
        let drive = root.path().join("drive/tripleo");
        fs::create_dir_all(&drive).unwrap();
        let document = format!(
            r#"{{"metadata_url": "{}", "ca": null, "node": "n1"}}"#,
            server.url()
        );
        fs::write(drive.join("os-collect-config.json"), document).unwrap();
        Node { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn command(&self, command: &str, arguments: &[&str]) -> Command {
        let mut agent = Command::new(env!("CARGO_BIN_EXE_os-collect-config"));
        agent
            .args([
                "--config-file",
                "/dev/null",
                "--min-polling-interval",
                "0.05",
                "-i",
                "600",
            ])
            .arg("--config-drive")
            .arg(self.path("drive"))
            .arg("--cachedir")
            .arg(self.path("cache"))
            .arg("--backup-cachedir")
            .arg(self.path("backup"))
            .args(["-c", command])
            .args(arguments)
            .arg("request")
            .env("NO_PROXY", "*")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        agent
    }

    fn once(&self, command: &str, arguments: &[&str]) -> Output {
        self.command(command, &[&["--one-time"], arguments].concat())
            .output()
            .unwrap()
    }

    fn daemon(&self, command: &str) -> Daemon {
        Daemon(
            self.command(command, &[])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }
}

/// Ends with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text<'v>(value: &'v metadata::Value, key: &str) -> &'v str {
    value.get(key).unwrap().as_text().unwrap()
}

fn number(value: &metadata::Value, key: &str) -> String {
    value.get(key).unwrap().to_json()
}

#[test]
fn the_config_drive_leads_to_the_metadata() {
    let server = Server::start(r#"{"a": 1}"#, true);
    let node = Node::new(&server);
    let output = node.once("cat $OS_CONFIG_FILES", &[]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{\n \"a\": 1\n}");
    let report = server.report(0);
    assert_eq!(number(&report, "exit_code"), "0");
    assert_eq!(text(&report, "generation"), "1");
    // The server of a config drive needs no HEAD.
    assert!(server.requests(2)[0].starts_with("GET "));
}

#[test]
fn a_change_arrives_by_the_held_request() {
    let server = Server::start(r#"{"a": 1}"#, true);
    let node = Node::new(&server);
    // The next poll would come after ten minutes at the latest; the first few pauses are short, so let them pass.
    let _daemon = node.daemon("test -s $OS_CONFIG_FILES");
    assert_eq!(text(&server.report(0), "generation"), "1");
    for version in 2..5 {
        server.until_held();
        server.change(&format!(r#"{{"a": {version}}}"#));
        assert_eq!(
            text(&server.report(version - 1), "generation"),
            version.to_string()
        );
    }
    let gets = server
        .requests(1)
        .iter()
        .filter(|line| line.starts_with("GET "))
        .count();
    // One for the first document, and one held for each change and for what may come; passes in between ask nothing.
    assert!(gets <= 1 + 4, "{gets} requests");
}

#[test]
fn a_lost_server_is_asked_again_at_once() {
    let server = Server::start(r#"{"a": 1}"#, true);
    let node = Node::new(&server);
    // The next poll by the clock would come after ten minutes.
    let agent = node
        .command("true", &["--min-polling-interval", "600"])
        .stderr(Stdio::null())
        .spawn();
    let _daemon = Daemon(agent.unwrap());
    server.until_held();
    let before = server.requests(1).len();
    server.cut();
    // The document once more, and the request that is held.
    server.requests(before + 2);
    server.until_held();
    server.change(r#"{"a": 2}"#);
    assert_eq!(text(&server.report(1), "generation"), "2");
}

#[test]
fn a_failing_hook_is_named_in_the_report() {
    let server = Server::start(r#"{"a": 1}"#, true);
    let node = Node::new(&server);
    let log = "[2026-11-25 00:00:00,000] (os-refresh-config) [INFO]";
    let command = format!(
        "echo '{log} Starting phase configure' >&2; echo 'dib-run-parts Wed Running /b/configure.d/20-x' >&2; \
         echo no such key >&2; exit 7"
    );
    let output = node.once(&command, &[]);
    assert_eq!(output.status.code(), Some(7));
    let report = server.report(0);
    assert_eq!(text(&report, "phase"), "configure");
    assert_eq!(text(&report, "script"), "/b/configure.d/20-x");
    assert_eq!(text(&report, "tail"), "no such key\n");
    assert_eq!(number(&report, "exit_code"), "7");
    assert!(!node.path("cache/request.json.last").exists());
    // The output also goes where it went without a report.
    assert!(String::from_utf8_lossy(&output.stderr).contains("no such key"));
}

#[test]
fn what_fails_is_tried_again_ever_more_rarely() {
    let server = Server::start(r#"{"a": 1}"#, true);
    let node = Node::new(&server);
    let times = node.path("times");
    let _daemon = node.daemon(&format!("date +%s%N >>{}; exit 1", times.display()));
    let mut tries = Vec::new();
    while tries.len() < 5 {
        std::thread::yield_now();
        let text = fs::read_to_string(&times).unwrap_or_default();
        let whole = text
            .rfind('\n')
            .map_or("", |end| text.get(..end).unwrap_or(""));
        tries = whole.lines().map(|ns| ns.parse::<u64>().unwrap()).collect();
    }
    // 0.05 s, then twice as long each time; a busy machine can only make it longer.
    let last = tries[4] - tries[3];
    assert!(last >= 400_000_000, "{tries:?}");
    // What comes from the cloud is not kept waiting by that.
    server.until_held();
    server.change(r#"{"a": 2}"#);
    while fs::read_to_string(&times).unwrap().lines().count() < 6 {
        std::thread::yield_now();
    }
}

#[test]
fn a_server_without_reports_is_asked_once() {
    let server = Server::start(r#"{"a": 1}"#, true);
    server.refuse_reports(404);
    let node = Node::new(&server);
    let _daemon = node.daemon("true");
    server.until_held();
    server.change(r#"{"a": 2}"#);
    server.requests(4);
    server.until_held();
    let posts = server
        .requests(4)
        .iter()
        .filter(|line| line.starts_with("POST "))
        .count();
    assert_eq!(posts, 1);
}

#[test]
fn a_server_that_holds_nothing_is_polled_as_upstream_does() {
    let server = Server::start(r#"{"a": 1}"#, false);
    let node = Node::new(&server);
    let url = server.url();
    let output = node.once("true", &["--request-metadata-url", &url]);
    assert!(output.status.success());
    let requests = server.requests(2);
    assert!(
        requests[0].starts_with("HEAD ") && requests[1].starts_with("GET "),
        "{requests:?}"
    );
}

#[test]
fn deployments_become_documents() {
    let server = Server::start(
        r#"{"deployments": [{"name": "d", "group": "os-apply-config", "config": {"x": 1}}, {"name": "s", "group": "script"}]}"#,
        true,
    );
    let node = Node::new(&server);
    let output = node.once("echo $OS_CONFIG_FILES", &[]);
    let names: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .trim()
        .split(':')
        .map(|path| {
            Path::new(path)
                .file_name()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert_eq!(names, ["request.json", "d.json"]);
}
