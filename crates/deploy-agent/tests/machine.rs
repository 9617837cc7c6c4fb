//! The agent as the first process of a machine: address by DHCP, orders, a disk that somebody used before, a
//! connection that breaks. Needs root and dnsmasq.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use disk::config_drive::find_config_drive;
use disk::gpt::{Gpt, kind, sectors_of};
use disk::root::{root_growth, root_partition};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Set in the process that runs a test inside of its own namespaces.
const INSIDE: &str = "DEPLOY_AGENT_TEST_INSIDE";

/// The machine's disk; the image is a quarter of it.
const DISK: u64 = 64 << 20;

/// Runs `test` in network and mount namespaces of its own: the test program starts itself there.
fn isolated(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let said = Command::new("unshare")
        .args(["--net", "--mount", "--"])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare (util-linux) starts");
    let text = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(said.status.success() && text.contains("1 passed"), "{text}");
}

fn run(line: &str) {
    let mut words = line.split(' ');
    let status = Command::new(words.next().expect("a program"))
        .args(words)
        .status();
    assert!(status.expect("starts").success(), "{line}");
}

/// A wire between the seed, here, and the machine, in the network namespace `far`, with a DHCP server.
fn wire(place: &Path) -> Child {
    run("mount -t tmpfs tmpfs /run");
    run("ip netns add far");
    run("ip link add near type veth peer name host0 address 52:54:00:00:00:01 netns far");
    run("ip addr add 192.0.2.1/24 dev near");
    run("ip link set near up");
    Command::new("dnsmasq")
        .args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
            "--interface=near",
            "--bind-dynamic",
        ])
        .args([
            "--no-ping",
            "--user=root",
            "--pid-file=",
            "--dhcp-authoritative",
            "--log-facility=-",
        ])
        .arg("--dhcp-range=192.0.2.31,192.0.2.31,255.255.255.0,1h")
        .arg(format!(
            "--dhcp-leasefile={}",
            place.join("leases").display()
        ))
        .spawn()
        .expect("dnsmasq starts")
}

/// The root of the machine: the agent with its libraries, its medium's word, its disk.
fn machine(root: &Path, disk: &Path) {
    let agent = env!("CARGO_BIN_EXE_deploy-agent");
    let said = Command::new("ldd").arg(agent).output().expect("ldd starts");
    let text = String::from_utf8(said.stdout).expect("text");
    for library in text.split_whitespace().filter(|word| word.starts_with('/')) {
        let target = root.join(&library[1..]);
        fs::create_dir_all(target.parent().expect("has one")).expect("directory");
        fs::copy(library, target).expect("copies");
    }
    fs::copy(agent, root.join("init")).expect("copies");
    let medium =
        json!({"api": "http://192.0.2.1:8000/agent", "node": "n1", "token": "secret", "ca": null});
    fs::write(root.join("deploy.json"), medium.to_string()).expect("writes");
    fs::create_dir_all(root.join("dev")).expect("directory");
    // The sign of a /dev that is there already.
    fs::write(root.join("dev/null"), "").expect("writes");
    fs::hard_link(disk, root.join("dev/disk0")).expect("links");
}

/// An image with data here and there.
fn image() -> (Vec<u8>, Value) {
    let file = tempfile::tempfile().expect("file");
    file.set_len(DISK / 4).expect("size");
    let mut table = Gpt::new(Uuid::from_u128(1), sectors_of(&file).expect("size"));
    table
        .append(kind::ROOT_AMD64, Uuid::from_u128(2), "root", None)
        .expect("room");
    table.write(&file).expect("writes");
    file.write_all_at(&vec![7; 3 << 20], 4 << 20)
        .expect("writes");
    let mut bytes = vec![0; usize::try_from(DISK / 4).expect("small")];
    file.read_exact_at(&mut bytes, 0).expect("reads");
    let last = DISK / 4 - 4096 * 5;
    let extents = json!([
        {"offset": 0, "length": 20480}, {"offset": 4 << 20, "length": 3 << 20}, {"offset": last, "length": 20480},
    ]);
    (bytes, extents)
}

#[derive(Clone)]
struct Seed {
    orders: Arc<Value>,
    image: Arc<Vec<u8>>,
    extents: Arc<Value>,
    reports: Arc<Mutex<Vec<Value>>>,
    broken: Arc<Mutex<u32>>,
}

/// A range of the image; the largest one breaks off in the middle when it is first asked for.
async fn range(State(seed): State<Seed>, headers: HeaderMap) -> Response<Body> {
    let text = headers["range"]
        .to_str()
        .expect("text")
        .strip_prefix("bytes=")
        .expect("bytes");
    let (from, to) = text.split_once('-').expect("a range");
    let (from, to): (usize, usize) = (from.parse().expect("number"), to.parse().expect("number"));
    let part = Bytes::copy_from_slice(&seed.image[from..=to]);
    let length = part.len();
    let mut broken = seed.broken.lock().expect("lock");
    let body = if length > 1 << 20 && *broken == 0 {
        *broken += 1;
        let half = part.slice(..length / 2);
        Body::from_stream(futures_util::stream::iter([
            Ok(half),
            Err(io::Error::other("the cable is pulled")),
        ]))
    } else {
        Body::from(part)
    };
    let answer = Response::builder()
        .status(StatusCode::PARTIAL_CONTENT)
        .header("content-length", length);
    answer.body(body).expect("an answer")
}

fn router(seed: Seed) -> Router {
    let orders = get(async |State(seed): State<Seed>, headers: HeaderMap| {
        assert_eq!(headers["authorization"], "Bearer secret");
        Json(Value::clone(&seed.orders))
    });
    let report = async |State(seed): State<Seed>, Json(report): Json<Value>| {
        seed.reports.lock().expect("lock").push(report);
        StatusCode::NO_CONTENT
    };
    Router::new()
        .route("/agent/v1/deploy/n1", orders.post(report))
        .route("/image", get(range))
        .route(
            "/extents",
            get(async |State(seed): State<Seed>| Json(Value::clone(&seed.extents))),
        )
        .with_state(seed)
}

/// Lets a machine carry out orders; gives its disk and its last report.
fn carry_out(change: impl FnOnce(&mut Value)) -> (File, Value, Vec<u8>) {
    let place = tempfile::tempdir().expect("directory");
    let path = place.path().join("disk");
    let disk = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .expect("opens");
    disk.write_all_at(&vec![0xaa; usize::try_from(DISK).expect("small")], 0)
        .expect("writes");
    let root = place.path().join("root");
    fs::create_dir(&root).expect("directory");
    machine(&root, &path);
    let mut dhcp = wire(place.path());
    let (bytes, extents) = image();
    let mut orders = json!({
        "image": {"url": "http://192.0.2.1:8000/image", "sha256": format!("{:x}", Sha256::digest(&bytes)),
            "size": bytes.len(), "extents_url": "http://192.0.2.1:8000/extents"},
        "disk": null,
        "config_drive": base64::engine::general_purpose::STANDARD.encode(b"the drive"),
        "root_grow": true,
    });
    change(&mut orders);
    let reports = Arc::new(Mutex::new(Vec::new()));
    let seed = Seed {
        orders: Arc::new(orders),
        image: Arc::new(bytes.clone()),
        extents: Arc::new(extents),
        reports: Arc::clone(&reports),
        broken: Arc::default(),
    };
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("192.0.2.1:8000")
            .await
            .expect("listens");
        tokio::spawn(async move { axum::serve(listener, router(seed)).await });
    });
    let said = Command::new("ip")
        .args([
            "netns",
            "exec",
            "far",
            "unshare",
            "--pid",
            "--mount",
            "--fork",
            "--kill-child",
        ])
        .arg(format!("--root={}", root.display()))
        .args(["--", "/init"])
        .output()
        .expect("the machine starts");
    dhcp.kill().and_then(|()| dhcp.wait()).expect("ends");
    let console = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(
        console.contains("host0 has the address 192.0.2.31/24"),
        "{console}"
    );
    assert!(console.contains("switching off"), "{console}");
    // The connection that broke was taken up where it was.
    let writes = console.contains("MiB of data");
    assert_eq!(writes, console.contains("going on at byte"), "{console}");
    let told = reports.lock().expect("lock");
    // A sign of life may still have been on its way.
    let last = told
        .iter()
        .rfind(|report| report.get("result").is_some())
        .cloned();
    (
        disk,
        last.unwrap_or_else(|| panic!("no report: {console}")),
        bytes,
    )
}

#[test]
fn an_image_replaces_what_was_on_the_disk() {
    isolated("an_image_replaces_what_was_on_the_disk", || {
        let (disk, report, image) = carry_out(|_| ());
        assert_eq!(report, json!({"result": "ok"}));
        let table = Gpt::read(&disk).expect("a table");
        let (_, root) = root_partition(&table).expect("a root");
        let mut bytes = vec![0; image.len() - (2 << 20)];
        disk.read_exact_at(&mut bytes, 1 << 20).expect("reads");
        // The ends hold the table, which has moved; all between is the image, its holes included.
        assert!(bytes == image[1 << 20..image.len() - (1 << 20)]);
        let drive = find_config_drive(&table).expect("a config drive");
        assert_eq!(root.last + 1, drive.first);
        let growth = root_growth(&table).expect("a root");
        assert_eq!(growth.last, growth.limit);
        let mut words = [0; 9];
        disk.read_exact_at(&mut words, drive.offset())
            .expect("reads");
        assert_eq!(&words, b"the drive");
    });
}

#[test]
fn an_image_of_another_digest_is_told() {
    isolated("an_image_of_another_digest_is_told", || {
        let (_, report, _) = carry_out(|orders| orders["image"]["sha256"] = json!("0".repeat(64)));
        assert_eq!(report["result"], "error");
        let why = report["error"].as_str().expect("words");
        assert!(why.contains("the image has the digest"), "{why}");
    });
}

#[test]
fn cleaning_keeps_the_data_between_the_signatures() {
    isolated("cleaning_keeps_the_data_between_the_signatures", || {
        let (disk, report, _) = carry_out(|orders| {
            *orders = json!({"clean": "metadata", "disk": null, "wipe_disks": []})
        });
        assert_eq!(report, json!({"result": "ok"}));
        let mut byte = [0; 1];
        for (at, expect) in [(0, 0), (DISK - 1, 0), (DISK / 2, 0xaa)] {
            disk.read_exact_at(&mut byte, at).expect("reads");
            assert_eq!(byte[0], expect, "at {at}");
        }
    });
}
