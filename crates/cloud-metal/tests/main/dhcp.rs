//! Addresses on the wire: dnsmasq and a client in network namespaces of their own. Needs root.

use std::process::Command;

use cloud_metal::DhcpSettings;

use crate::setting::{on_networks, open};

/// Set in the process that runs a test inside of its own network namespace.
const INSIDE: &str = "CLOUD_METAL_TEST_INSIDE";

/// Runs `test` in a network namespace of its own: the test program starts itself there.
fn isolated(name: &str, test: impl FnOnce()) {
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
    let text = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(said.status.success() && text.contains("1 passed"), "{text}");
}

fn ip(words: &str) {
    let status = Command::new("ip")
        .args(words.split(' '))
        .status()
        .expect("ip starts");
    assert!(status.success(), "ip {words}");
}

#[test]
fn machines_get_the_addresses_of_their_ports_and_others_those_for_deploying() {
    isolated(
        "dhcp::machines_get_the_addresses_of_their_ports_and_others_those_for_deploying",
        || {
            let directory = tempfile::tempdir().expect("directory");
            ip("link add prov type veth peer name far");
            ip("link set prov up");
            ip("addr add 192.0.2.1/24 dev prov");
            let dhcp = DhcpSettings {
                interface: "prov".into(),
                directory: directory.path().join("dhcp"),
                deploy_range: Some((
                    "192.0.2.2".parse().expect("address"),
                    "192.0.2.20".parse().expect("address"),
                )),
                deploy_prefix: 24,
            };
            let runtime = tokio::runtime::Runtime::new().expect("runtime");
            let setting = runtime.block_on(async {
                let setting = open(Some(dhcp)).await;
                setting.network("ctl", "192.0.2.0/24").await;
                setting
                    .node("n1", "baremetal", &["52:54:00:00:00:01"])
                    .await;
                setting
            });
            let file = |name: &str| {
                std::fs::read_to_string(directory.path().join("dhcp").join(name)).expect("reads")
            };
            let before = file("hosts");
            runtime
                .block_on(setting.server(&on_networks("Node.A", &["ctl"])))
                .expect("a server");
            assert_eq!(
                (before.as_str(), file("hosts").as_str()),
                ("", "52:54:00:00:00:01,192.0.2.21,node-a\n")
            );
            let served = file("dnsmasq.conf");
            assert!(
                served.contains(",option:router,192.0.2.1\n")
                    && served.contains(",option:mtu,1400\n"),
                "{served}"
            );
            let running = || {
                let text = Command::new("pgrep")
                    .args(["-f", directory.path().to_str().expect("text")])
                    .output();
                text.expect("pgrep starts")
                    .stdout
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.is_empty())
                    .count()
            };
            assert_eq!(running(), 1);
            runtime.block_on(setting.remove("Node.A"));
            assert_eq!(file("hosts"), "");
            assert_eq!(running(), 1);
            drop(setting);
            drop(runtime);
            assert_eq!(running(), 0);
        },
    );
}
