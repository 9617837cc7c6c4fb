//! A lab for a test.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bmc::{BmcSettings, Redfish, Secret, Verify};
use testenv::Client;

/// Set in the process that runs a test inside of its own network namespace.
const INSIDE: &str = "TESTENV_TEST_INSIDE";

/// Where the operator is on the network of the controllers.
pub const OPERATOR: &str = "172.16.9.1";

/// Runs `test` in a network namespace of its own: the test program starts itself there.
pub fn isolated(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let said = Command::new("unshare")
        .args(["--net", "--"])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare (util-linux) starts");
    let text = [said.stdout, said.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(said.status.success() && text.contains("1 passed"), "{text}");
}

/// Runs something asynchronous.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("runtime").block_on(future)
}

/// Looks again and again, until it is so; fails after a time that only a broken lab needs.
#[track_caller]
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// A lab with one machine.
pub struct Lab {
    pub state: PathBuf,
    pub process: Child,
    _directory: tempfile::TempDir,
}

pub fn specification(tls: bool) -> serde_json::Value {
    serde_json::json!({
        "bridges": [
            {"name": "prov", "operator": {"link": "t-prov", "addresses": ["192.0.2.1/24", "2001:db8::1/64"]}},
            {"name": "bmc", "operator": {"link": "t-bmc", "addresses": [format!("{OPERATOR}/24")]}},
        ],
        "bmc": {"bridge": "bmc", "tls": tls},
        "machines": [{
            "name": "node0", "uuid": "b1a6f9b4-4f4f-4f2e-8a5a-5d0a31a4b7c1", "memory_mib": 256, "cpus": 2,
            "nics": [{"bridge": "prov", "mac": "52:54:00:00:00:01"}, {"bridge": "prov", "mac": "52:54:00:00:00:02"}],
            "disks": [{"size_mib": 64}, {"size_mib": 8}], "bmc_address": "172.16.9.11",
        }],
    })
}

impl Lab {
    /// Starts a lab; `prepare` may put disks into its state directory first.
    pub fn start(tls: bool, prepare: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let state = directory.path().join("state");
        std::fs::create_dir_all(state.join("disks")).expect("directory");
        prepare(&state);
        let spec = directory.path().join("spec.json");
        std::fs::write(&spec, specification(tls).to_string()).expect("writes");
        let process = serve(&state, &spec);
        Self {
            state,
            process,
            _directory: directory,
        }
    }

    pub fn disk(&self, index: usize) -> PathBuf {
        self.state.join(format!("disks/node0-disk{index}.raw"))
    }

    pub fn client(&self) -> Client {
        Client::new(&self.state)
    }

    pub fn console(&self) -> String {
        self.client()
            .console("node0", 1000)
            .expect("console")
            .join("\n")
    }

    /// What the machine does, in the lab's words.
    pub fn activity(&self) -> String {
        self.client().list().expect("list")[0]
            .snapshot
            .activity
            .clone()
    }

    pub fn is_off(&self) -> bool {
        self.client().list().expect("list")[0].is_off()
    }

    /// The client of the machine's controller.
    pub fn bmc(&self, password: Option<&str>) -> Redfish {
        let directory = self.client().directory().expect("lab.json");
        let mut settings =
            BmcSettings::new(directory.machines[0].bmc_url.parse().expect("address"));
        settings.username = Some(directory.username);
        settings.password = Some(Secret::new(password.unwrap_or(&directory.password)));
        settings.verify = Verify::No;
        Redfish::new(settings).expect("client")
    }
}

/// Starts `testenv serve` and waits for its ready line.
fn serve(state: &Path, spec: &Path) -> Child {
    let mut process = Command::new(env!("CARGO_BIN_EXE_testenv"))
        .args(["serve", "--die-with-starter", "--state"])
        .arg(state)
        .arg("--spec")
        .arg(spec)
        .stdout(Stdio::piped())
        .spawn()
        .expect("testenv starts");
    let mut line = String::new();
    let out = process.stdout.as_mut().expect("piped");
    BufReader::new(out).read_line(&mut line).expect("reads");
    assert!(line.starts_with("testenv ready: 1 machines"), "{line:?}");
    process
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A test that failed must not leave its lab to others either.
        let ended = self.process.kill().and_then(|()| self.process.wait());
        let removed = self.client().down();
        if !std::thread::panicking() {
            ended.expect("ends");
            removed.expect("removes control groups");
        }
    }
}
