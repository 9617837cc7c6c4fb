//! `tripleo node`.

use std::fs;

use serde_json::{Value, json};

use super::bmc::{Bmc, PASSWORD};
use super::{Seed, in_order};

fn machine(name: &str, number: u8, bmc: &str, password: &str) -> Value {
    json!({
        "name": name, "mac": [format!("52:54:00:00:00:{number:02x}")], "arch": "amd64", "cpu": 2, "memory": 4096, "disk": 20,
        "pm_type": "redfish", "pm_addr": bmc, "pm_user": "admin", "pm_password": password,
    })
}

#[test]
fn machines_are_enrolled_listed_and_shown() {
    let (seed, bmc) = (Seed::start(), Bmc::start());
    let list = json!([
        machine("web", 1, &bmc.address, PASSWORD),
        machine("", 2, &bmc.address, PASSWORD)
    ]);
    seed.file("nodes.json", &list.to_string());
    assert_eq!(seed.well("node import nodes.json"), "");
    // Again is no harm; a testenv file that holds the same list is the same.
    seed.file("testenv.json", &json!({ "nodes": list }).to_string());
    seed.well("node import testenv.json");

    let listed = seed.well("node list");
    assert_eq!(listed.lines().count(), 3, "{listed}");
    in_order(
        &listed,
        &[
            "node",
            "state",
            "power",
            "server",
            "last report",
            "last error",
        ],
    );
    in_order(&listed, &["web", "available", "power off"]);
    in_order(&listed, &["node-1", "available", "power off"]);
    let told: Value = serde_json::from_str(&seed.well("node list --json")).unwrap();
    assert_eq!(told.as_array().unwrap().len(), 2);
    assert!(
        told.as_array()
            .unwrap()
            .iter()
            .any(|node| node["name"] == "web"
                && node["provision_state"] == "available"
                && node["server"].is_null()
                && node["report"].is_null())
    );

    let shown = seed.well("node show web");
    in_order(
        &shown,
        &[
            "name: web",
            "driver: redfish",
            "provision_state: available",
            "power_state: power off",
            &bmc.address,
        ],
    );
    assert!(!shown.contains(PASSWORD), "{shown}");
    assert_eq!(
        seed.well("node config web"),
        "node:        web, available, power off\nserver:      none\n"
    );
    let told: Value = serde_json::from_str(&seed.well("node config web --json")).unwrap();
    assert_eq!(
        (&told["name"], &told["report"]),
        (&json!("web"), &Value::Null)
    );
}

#[test]
fn a_machine_that_cannot_be_driven_is_named_and_can_be_mended() {
    let (seed, bmc) = (Seed::start(), Bmc::start());
    seed.file(
        "nodes.json",
        &json!([machine("web", 1, &bmc.address, "not this one")]).to_string(),
    );
    seed.refused(
        "node import nodes.json",
        &[
            "node web is in state `enroll`",
            "refused the credentials of user `admin`",
            "tripleo node show web",
        ],
    );
    assert!(!seed.log().contains("not this one"));
    in_order(
        &seed.well("node list"),
        &["web", "enroll", "refused the credentials"],
    );
    seed.file(
        "nodes.json",
        &json!([machine("web", 1, &bmc.address, PASSWORD)]).to_string(),
    );
    seed.well("node import nodes.json");
    in_order(&seed.well("node list"), &["web", "available"]);
}

#[test]
fn wrong_files_and_names_are_refused() {
    let seed = Seed::start();
    seed.refused(
        "node import nowhere.json",
        &["cannot read nowhere.json", "No such file"],
    );
    seed.file("broken.json", "[{");
    seed.refused(
        "node import broken.json",
        &["broken.json is no JSON", "line 1"],
    );
    seed.file("empty.json", "[]");
    seed.refused("node import empty.json", &["empty.json names no machines"]);
    let good = machine("web", 1, "http://127.0.0.1:9", PASSWORD);
    for (key, value, words) in [
        ("pm_type", json!("pxe_ssh"), "`pxe_ssh`"),
        ("pm_addr", json!(""), "pm_addr"),
        ("mac", json!([]), "mac"),
    ] {
        let mut wrong = good.clone();
        wrong[key] = value;
        seed.file("nodes.json", &json!([good, wrong]).to_string());
        seed.refused(
            "node import nodes.json",
            &["machine 1 of nodes.json", words],
        );
    }
    // One wrong machine keeps all of them out.
    assert_eq!(seed.well("node list --json").trim(), "[]");
    seed.refused("node show db", &["Node db could not be found"]);
    seed.refused("node config db", &["no node or server `db`"]);
    seed.refused("node console db", &["`db`", "tripleo testenv list"]);
}

#[test]
fn what_a_virtual_machine_printed_is_read_from_its_console() {
    let seed = Seed::start();
    let folder = seed.folder.path().join("testenv/console");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("node-0.log"), "one\ntwo\nthree\n").unwrap();
    assert_eq!(seed.well("node console node-0"), "one\ntwo\nthree\n");
    assert_eq!(seed.well("node console node-0 -n 2"), "two\nthree\n");
}
