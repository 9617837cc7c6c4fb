//! The programs with metadata on disk and a cloud that takes signals.

#![expect(
    clippy::unwrap_used,
    reason = "the lint does not see that helpers here are tests, too"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

/// Takes signals, and answers each with the next of its statuses, then with 200.
#[derive(Clone)]
struct Cloud {
    port: u16,
    statuses: Arc<Mutex<Vec<u16>>>,
    signals: Arc<Mutex<Vec<(String, String)>>>,
}

impl Cloud {
    fn start(statuses: &[u16]) -> Cloud {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let cloud = Cloud {
            port: listener.local_addr().unwrap().port(),
            statuses: Arc::new(Mutex::new(statuses.to_vec())),
            signals: Arc::default(),
        };
        let serving = cloud.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serving.serve(&stream);
            }
        });
        cloud
    }

    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line.trim().is_empty() {
                break;
            }
            lines.push(line.trim().to_lowercase());
        }
        let length = lines
            .iter()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        reader.read_exact(&mut body).unwrap();
        let status = self.statuses.lock().unwrap().pop().unwrap_or(200);
        if status == 200 {
            let target = lines[0].split(' ').take(2).collect::<Vec<_>>().join(" ");
            self.signals
                .lock()
                .unwrap()
                .push((target, String::from_utf8(body).unwrap()));
        }
        let answer =
            format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        { stream }.write_all(answer.as_bytes()).unwrap();
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1/signal?sig=a%2Fb", self.port)
    }

    fn signals(&self) -> Vec<(String, String)> {
        self.signals.lock().unwrap().clone()
    }
}

struct Node {
    root: tempfile::TempDir,
}

impl Node {
    fn new() -> Node {
        Node {
            root: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Puts one deployment into the metadata.
    fn deploy(&self, cloud: &Cloud, id: &str, group: &str, config: &str) {
        let url = cloud.url();
        let document = format!(
            r#"{{"deployments": [{{"id": "{id}", "name": "d", "group": "{group}", "config": "{config}",
                "inputs": [{{"name": "deploy_signal_id", "value": "{url}"}}], "outputs": [{{"name": "out"}}]}}]}}"#
        );
        fs::write(self.path("md.json"), document).unwrap();
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new(program)
            .args(arguments)
            .env("OS_CONFIG_FILES", self.path("md.json"))
            .env("HEAT_CONFIG_DEPLOYED", self.path("deployed"))
            .env("HEAT_SCRIPT_WORKING", self.path("scripts"))
            .env("HEAT_SCRIPT_OUTPUTS", self.path("outputs"))
            .env("HEAT_CONFIG_HOOKS", self.path("hooks"))
            .env("OS_DEFAULT__CONFIG_DRIVE", self.path("drive"))
            .env("NO_PROXY", "*")
            .output()
            .unwrap()
    }

    fn heat_config(&self) -> Output {
        self.run(env!("CARGO_BIN_EXE_heat-config"), &[])
    }

    fn refreshed(&self, arguments: &[&str]) -> Output {
        self.run(env!("CARGO_BIN_EXE_os-signal-deployments"), arguments)
    }
}

const SCRIPT: &str =
    "echo run >> $(dirname $heat_outputs_path)/../runs; printf v > $heat_outputs_path.out";

#[test]
fn a_script_runs_once_and_is_signalled_once() {
    let (cloud, node) = (Cloud::start(&[]), Node::new());
    node.deploy(&cloud, "c1", "script", SCRIPT);
    for _ in 0..2 {
        let output = node.heat_config();
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(fs::read_to_string(node.path("runs")).unwrap(), "run\n");
    let [(target, body)] = cloud.signals().try_into().unwrap();
    assert_eq!(target, "post /v1/signal?sig=a%2fb");
    assert_eq!(
        body,
        r#"{"out": "v", "deploy_stdout": "", "deploy_stderr": "", "deploy_status_code": 0}"#
    );
    // A changed deployment has another id.
    node.deploy(&cloud, "c2", "script", SCRIPT);
    assert!(node.heat_config().status.success());
    assert_eq!(fs::read_to_string(node.path("runs")).unwrap(), "run\nrun\n");
    assert_eq!(cloud.signals().len(), 2);
}

#[test]
fn a_signal_that_was_refused_is_sent_by_the_next_run_and_the_script_is_not() {
    let (cloud, node) = (Cloud::start(&[403]), Node::new());
    node.deploy(&cloud, "c1", "script", SCRIPT);
    assert_eq!(node.heat_config().status.code(), Some(1));
    assert!(cloud.signals().is_empty());
    assert!(node.heat_config().status.success());
    assert_eq!(cloud.signals().len(), 1);
    assert_eq!(fs::read_to_string(node.path("runs")).unwrap(), "run\n");
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    let (cloud, node) = (Cloud::start(&[503]), Node::new());
    node.deploy(&cloud, "c1", "script", SCRIPT);
    assert!(node.heat_config().status.success());
    assert_eq!(cloud.signals().len(), 1);
}

#[test]
fn a_deployment_that_was_cut_off_fails_and_is_not_run_again() {
    let (cloud, node) = (Cloud::start(&[]), Node::new());
    node.deploy(&cloud, "c1", "script", SCRIPT);
    fs::create_dir(node.path("deployed")).unwrap();
    fs::write(node.path("deployed/c1.json"), "{}").unwrap();
    assert!(node.heat_config().status.success());
    let [(_, body)] = cloud.signals().try_into().unwrap();
    assert!(
        body.contains("stopped while this deployment ran")
            && body.contains(r#""deploy_status_code": 1"#)
    );
    assert!(!node.path("runs").exists());
}

#[test]
fn a_refresh_is_signalled_when_it_failed_and_again_when_it_went_well() {
    let (cloud, node) = (Cloud::start(&[]), Node::new());
    node.deploy(&cloud, "c1", "os-apply-config", "x");
    for arguments in [&["--failed"][..], &["--failed"], &[], &[], &["--failed"]] {
        assert!(node.refreshed(arguments).status.success());
    }
    let codes: Vec<bool> = cloud
        .signals()
        .iter()
        .map(|(_, body)| body.contains(r#"_code": 0"#))
        .collect();
    assert_eq!(codes, [false, true]);
    // Scripts are none of its business.
    node.deploy(&cloud, "c2", "script", SCRIPT);
    assert!(node.refreshed(&[]).status.success());
    assert_eq!(cloud.signals().len(), 2);
}
