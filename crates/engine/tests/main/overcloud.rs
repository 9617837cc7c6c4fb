//! The templates of the overcloud against the elements of its images: what the stack says to a node is what its files ask for.
//!
//! No machine and no OpenStack: nodes are the sim's, files are rendered here from the templates that the elements of a role bring.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cloud_sim::{Options, Sim};
use engine::{Engine, Stack, StackId};
use hot::Files;
use os_apply_config::Accounts;

use crate::lab::{Lab, assert_state, caller, change, node, output, settled, want};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn template(name: &str) -> String {
    fs::read_to_string(root().join("templates").join(name)).unwrap()
}

fn members() -> Files {
    let all = ["overcloud-controller.yaml", "overcloud-compute.yaml"];
    Files::new(all.map(|name| (name.to_owned(), template(name))).into())
}

fn lab(machines: usize) -> Lab {
    let mut options = Options::with_nodes(machines);
    options.images = vec![
        "overcloud-controller".to_owned(),
        "overcloud-compute".to_owned(),
    ];
    let mut lab = Lab::new(0);
    lab.sim = Sim::new(options).into();
    lab
}

fn parameters(all: &[(&str, hot::Value)]) -> hot::Environment {
    let mut environment = hot::Environment::default();
    for (name, value) in all {
        environment
            .parameters
            .insert((*name).to_owned(), value.clone());
    }
    environment
}

async fn create(engine: &Engine, all: &[(&str, hot::Value)]) -> Stack {
    let mut wanted = want("overcloud", &template("overcloud.yaml"));
    wanted.files = members();
    wanted.environment = parameters(all);
    let stack = engine.create(&caller(), wanted).await.unwrap();
    node(engine, stack.id).await;
    let stack = settled(engine, stack.id).await;
    assert_state(&stack, "CREATE_COMPLETE");
    stack
}

async fn update(engine: &Engine, id: StackId, all: &[(&str, hot::Value)]) -> Stack {
    let mut wanted = change(&template("overcloud.yaml"));
    wanted.files = Some(members());
    wanted.environment = parameters(all);
    engine.update(&caller(), id, wanted).await.unwrap();
    node(engine, id).await;
    let stack = settled(engine, id).await;
    assert_state(&stack, "UPDATE_COMPLETE");
    stack
}

/// What an update would do, as people read it: only what differs, not the groups around it.
async fn preview(engine: &Engine, id: StackId, all: &[(&str, hot::Value)]) -> Vec<String> {
    let mut wanted = change(&template("overcloud.yaml"));
    wanted.files = Some(members());
    wanted.environment = parameters(all);
    let said = engine.preview_update(&caller(), id, wanted).await.unwrap();
    let said = said.to_string();
    let lines = said.lines().filter(|line| line.starts_with("    "));
    lines.map(|line| line.trim().to_owned()).collect()
}

fn servers(stack: &Stack, role: &str) -> Vec<String> {
    let ids = output(stack, "server_ids");
    let ids = ids.get(role).and_then(hot::Value::as_list).unwrap();
    ids.iter().map(hot::Value::python_str).collect()
}

/// An element and all that it asks for.
fn with_dependencies(element: &str, found: &mut BTreeSet<String>) {
    if !found.insert(element.to_owned()) {
        return;
    }
    let dependencies = root().join("elements").join(element).join("element-deps");
    for name in fs::read_to_string(dependencies).unwrap_or_default().lines() {
        with_dependencies(name, found);
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).into_iter().flatten() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else if entry.metadata().unwrap().permissions().mode() & 0o111 == 0 {
            fs::copy(entry.path(), target).unwrap();
        } else {
            // Programs among templates look at the machine that they run on: not here.
            let text = fs::read_to_string(entry.path()).unwrap();
            assert!(
                text.starts_with("#!"),
                "{} cannot run",
                entry.path().display()
            );
        }
    }
}

/// All files of a role as a node would write them.
async fn files(engine: &Engine, role: &str, server: &str) -> BTreeMap<String, String> {
    let document = engine.metadata(server).await.unwrap().document;
    let mut merged = metadata::Map::new();
    for deployment in document["deployments"].as_array().unwrap() {
        let config = metadata::parse(&deployment["config"].to_string()).unwrap();
        metadata::merge(&mut merged, config.as_map().unwrap());
    }
    let image = tempfile::tempdir().unwrap();
    let mut elements = BTreeSet::new();
    with_dependencies(role, &mut elements);
    for element in elements {
        copy(
            &root()
                .join("elements")
                .join(element)
                .join("os-apply-config"),
            image.path(),
        );
    }
    // The agents' own file speaks of the config drive's contents, which is not the stack's.
    fs::remove_file(image.path().join("etc/os-collect-config.conf")).unwrap();
    let system = tempfile::tempdir().unwrap();
    fs::create_dir(system.path().join("etc")).unwrap();
    let names = [
        "root",
        "keystone",
        "glance",
        "placement",
        "nova",
        "neutron",
        "rabbitmq",
    ];
    let line = |(id, name): (usize, &&str)| format!("{name}:x:{id}:{id}::/:/bin/sh\n");
    let accounts: String = names.iter().enumerate().map(line).collect();
    for file in ["passwd", "group"] {
        fs::write(system.path().join("etc").join(file), &accounts).unwrap();
    }
    let all = os_apply_config::render(
        image.path(),
        &metadata::Value::Map(merged),
        &Accounts::below(system.path()),
    );
    let text = |body: Vec<u8>| String::from_utf8(body).unwrap();
    all.unwrap()
        .into_iter()
        .map(|one| (one.path.display().to_string(), text(one.body)))
        .collect()
}

/// Which files differ.
fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    assert!(before.keys().eq(after.keys()));
    let differs = before.iter().filter(|(path, body)| after[*path] != **body);
    differs.map(|(path, _)| path.clone()).collect()
}

#[tokio::test]
async fn each_role_is_told_all_that_its_files_ask_for() {
    let lab = lab(3);
    let engine = lab.engine().await;
    let stack = create(&engine, &[("ComputeCount", 2.into())]).await;
    let list = |name: &str| {
        let value = output(&stack, name);
        let all = value.as_list().unwrap().iter().map(hot::Value::python_str);
        all.collect::<Vec<String>>()
    };
    let addresses = [list("controller_addresses"), list("compute_addresses")].concat();
    let names = [
        "overcloud-controller-0",
        "overcloud-compute-0",
        "overcloud-compute-1",
    ];
    assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), 3);
    assert_eq!(list("host_names"), names);
    let url = output(&stack, "keystone_url");
    assert_eq!(
        url,
        format!("http://{}:5000/v3", addresses[0]).as_str().into()
    );

    let controller = files(
        &engine,
        "overcloud-controller",
        &servers(&stack, "controllers")[0],
    )
    .await;
    let computes = servers(&stack, "computes");
    let compute = files(&engine, "overcloud-compute", &computes[1]).await;
    for node in [&controller, &compute] {
        for (name, address) in names.iter().zip(&addresses) {
            let line = format!("{address} {name}.localdomain {name}\n");
            assert!(node["etc/hosts"].contains(&line), "{}", node["etc/hosts"]);
        }
        let last = addresses[if node.contains_key("etc/keystone/keystone.conf") {
            0
        } else {
            2
        }]
        .rsplit('.')
        .next()
        .unwrap();
        let line = format!("TUNNEL_ADDRESS=198.51.100.{last}/24\n");
        assert!(node["etc/default/ovs-setup"].contains(&line));
    }
    // What is the control plane's own does not reach nodes on which instances run.
    assert!(controller["etc/nova/nova.conf"].contains("[api_database]"));
    assert!(!compute["etc/nova/nova.conf"].contains("mysql"));
    assert!(controller["etc/default/ovs-setup"].contains("GATEWAY=true"));
    assert!(compute["etc/default/ovs-setup"].contains("GATEWAY=false"));
    let admin = output(&stack, "admin_password");
    assert!(
        controller["etc/keystone/identities.d/keystone.json"].contains(admin.as_text().unwrap())
    );
    let said = engine.metadata(&computes[0]).await.unwrap().document;
    assert!(!said.to_string().contains(admin.as_text().unwrap()));
}

#[tokio::test]
async fn a_parameter_of_one_service_changes_the_files_of_that_service_alone() {
    let lab = lab(2);
    let engine = lab.engine().await;
    let stack = create(&engine, &[]).await;
    let (controller, compute) = (servers(&stack, "controllers"), servers(&stack, "computes"));
    let first = files(&engine, "overcloud-controller", &controller[0]).await;
    let quiet = engine.metadata(&compute[0]).await.unwrap().etag;

    let said = preview(&engine, stack.id, &[("MemcachedMemory", 128.into())]).await;
    let (deployment, told) = said.split_at(said.len() - 1);
    let place = "memcached.memory: 64 -> 128";
    assert_eq!(told, [format!("config.{place} (forces the replacement)")]);
    assert_eq!(
        deployment[0],
        format!("resource_def.properties.Role.{place}")
    );
    assert_eq!(deployment[1], format!("Role.{place}"));
    assert!(deployment[2].starts_with("config: "), "{said:?}");
    assert_eq!(deployment.len(), 3, "{said:?}");
    let after = update(&engine, stack.id, &[("MemcachedMemory", 128.into())]).await;
    assert_eq!(servers(&after, "controllers"), controller);
    let second = files(&engine, "overcloud-controller", &controller[0]).await;
    assert_eq!(changed(&first, &second), ["etc/memcached.conf"]);
    assert_eq!(engine.metadata(&compute[0]).await.unwrap().etag, quiet);

    // Any option of any file, of all nodes or of one role; both say something and both count.
    let option = |name: &str| {
        let text = format!(
            r#"{{"nova": {{"config": [{{"section": "DEFAULT", "values": [{{"option": "{name}", "value": "7"}}]}}]}}}}"#
        );
        hot::Value::from_json(&serde_json::from_str(&text).unwrap())
    };
    let pass = [
        ("ExtraConfig", option("of_all")),
        ("ComputeExtraConfig", option("of_computes")),
    ];
    update(&engine, stack.id, &pass).await;
    let third = files(&engine, "overcloud-controller", &controller[0]).await;
    assert_eq!(changed(&first, &third), ["etc/nova/nova.conf"]);
    assert!(third["etc/nova/nova.conf"].contains("of_all = 7"));
    assert!(!third["etc/nova/nova.conf"].contains("of_computes = 7"));
    let node = files(&engine, "overcloud-compute", &compute[0]).await;
    assert!(node["etc/nova/nova.conf"].contains("of_all = 7"));
    assert!(node["etc/nova/nova.conf"].contains("of_computes = 7"));
}

/// An instance needs 58 bytes of each packet for the tunnel that carries it.
const TUNNEL: i64 = 58;

#[tokio::test]
async fn each_environment_that_is_shipped_makes_a_cloud() {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(root().join("environments")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let environment = hot::Environment::from_text(&text).unwrap();
        let known = template("overcloud.yaml");
        for parameter in environment.parameter_defaults.keys() {
            assert!(
                known.contains(&format!("\n  {parameter}:\n")),
                "{name}: {parameter}"
            );
        }
        let lab = lab(2);
        let engine = lab.engine().await;
        let mut wanted = want("overcloud", &template("overcloud.yaml"));
        wanted.files = members();
        wanted.environment = environment;
        let stack = engine.create(&caller(), wanted).await.unwrap();
        node(&engine, stack.id).await;
        let stack = settled(&engine, stack.id).await;
        assert_eq!(
            crate::lab::state(&stack),
            "CREATE_COMPLETE",
            "{name}: {}",
            stack.reason
        );
        let controller = servers(&stack, "controllers");
        let controller = files(&engine, "overcloud-controller", &controller[0]).await;
        let computes = servers(&stack, "computes");
        let compute = files(&engine, "overcloud-compute", &computes[0]).await;
        check(&name, &controller, &compute);
        names.insert(name);
    }
    assert!(
        names.contains("debug") && names.contains("kernel-datapath"),
        "{names:?}"
    );
}

/// What an environment promises, and what holds with each of them.
fn check(name: &str, controller: &BTreeMap<String, String>, compute: &BTreeMap<String, String>) {
    let has = |node: &BTreeMap<String, String>, file: &str, line: &str| {
        node[file].lines().any(|one| one == line)
    };
    let debug = if name == "debug" {
        "debug = true"
    } else {
        "debug = false"
    };
    for file in ["etc/nova/nova.conf", "etc/neutron/neutron.conf"] {
        assert!(
            has(controller, file, debug) && has(compute, file, debug),
            "{name}: {file}"
        );
    }
    // The switch's offloads and the gateway's size check exclude each other: TCP would crawl.
    let kernel = name == "kernel-datapath";
    let (offload, check) = if kernel {
        ("false", "true")
    } else {
        ("true", "false")
    };
    for node in [controller, compute] {
        assert!(
            has(
                node,
                "etc/default/ovs-datapath",
                &format!("USERSPACE_TSO={offload}")
            ),
            "{name}"
        );
    }
    let ml2 = "etc/neutron/plugins/ml2/ml2_conf.ini";
    assert!(
        has(controller, ml2, &format!("ovn_emit_need_to_frag = {check}")),
        "{name}"
    );
    let kind = if name == "kvm" {
        ["virt_type = kvm", "cpu_mode = host-model"]
    } else {
        ["virt_type = qemu", "cpu_mode = none"]
    };
    let nova = "etc/nova/nova.conf";
    assert!(kind.iter().all(|line| has(compute, nova, line)), "{name}");
    // A full packet of an instance fits into a packet between nodes.
    let number = |file: &str, key: &str| -> i64 {
        let line = controller[file]
            .lines()
            .find_map(|line| line.strip_prefix(key));
        line.unwrap().parse().unwrap()
    };
    let underlay = number("etc/default/ovs-setup", "UNDERLAY_MTU=");
    let instance = number(ml2, "path_mtu = ") - TUNNEL;
    assert!(instance + TUNNEL <= underlay, "{name}");
    assert_eq!(
        instance,
        if name == "standard-frames" {
            1442
        } else {
            1500
        },
        "{name}"
    );
}

/// Texts in metadata under names of secrets.
fn secrets(name: &str, value: &serde_json::Value, found: &mut BTreeMap<String, String>) {
    match value {
        serde_json::Value::Object(all) => {
            for (key, value) in all {
                secrets(&format!("{name}.{key}"), value, found);
            }
        }
        serde_json::Value::String(text) => {
            let last = name.rsplit('.').next().unwrap();
            let words = ["password", "secret", "cookie", "-key-"];
            if words.iter().any(|word| last.contains(word)) {
                found.insert(name.to_owned(), text.clone());
            }
        }
        _ => {}
    }
}

async fn secrets_of(engine: &Engine, role: &str) -> BTreeMap<String, String> {
    let stack = create(engine, &[]).await;
    let mut found = BTreeMap::new();
    for server in servers(&stack, role) {
        let document = engine.metadata(&server).await.unwrap().document;
        for deployment in document["deployments"].as_array().unwrap() {
            secrets("", &deployment["config"], &mut found);
        }
    }
    found
}

#[tokio::test]
async fn deployments_have_no_secret_in_common_and_services_share_none() {
    let (first, second) = (lab(2), lab(2));
    let one = secrets_of(&first.engine().await, "controllers").await;
    let other = secrets_of(&second.engine().await, "controllers").await;
    assert!(one.keys().eq(other.keys()));
    assert!(one.len() >= 17, "{:?}", one.keys());
    let distinct: BTreeSet<&String> = one.values().chain(other.values()).collect();
    assert_eq!(distinct.len(), one.len() + other.len());
    for (name, text) in one.iter().chain(&other) {
        assert!(text.len() >= 24, "{name} can be guessed");
        // A file of a service must not read more than one value out of it.
        let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '=';
        assert!(
            text.chars().all(plain),
            "{name} has letters that end a value"
        );
    }
    // A node that runs instances knows no password of a database, of the administrator, or of the broker's own programs.
    let third = lab(2);
    let compute = secrets_of(&third.engine().await, "computes").await;
    for name in compute.keys() {
        let own =
            !name.contains("db-password") && !name.contains("admin") && !name.contains("cookie");
        assert!(own, "{name}");
    }
}
