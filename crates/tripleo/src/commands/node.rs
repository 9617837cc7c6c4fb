//! `tripleo node`: enrol machines, list and show them, read their consoles.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::machines::Machines;
use super::node_config;
use super::stack::text;
use crate::context::Context;
use crate::devtest::testenv_json::{BaremetalNetwork, Machine, Testenv};

/// Work with the machines of the seed
#[derive(Debug, clap::Subcommand)]
pub enum NodeCommand {
    /// Enrol the machines of a file and make them available
    Import {
        /// A testenv JSON file, or the list `nodes` of one
        file: PathBuf,
    },
    /// List machines: their state, and how the last run of their agents went
    List {
        /// Print it for programs
        #[arg(long)]
        json: bool,
    },
    /// Show a machine: its state, what went wrong last, what it holds
    Show {
        /// Name or id
        node: String,
    },
    /// Show the configuration of a node: what it holds, what its last run did, what was changed by hand
    Config {
        /// Name or id, of the node or of the server on it
        node: String,
        /// Print it for programs
        #[arg(long)]
        json: bool,
    },
    /// Print what a virtual machine printed
    Console {
        /// Name
        node: String,
        /// Only the last lines
        #[arg(long, short = 'n', value_name = "LINES")]
        lines: Option<usize>,
    },
}

/// Runs one of the commands.
pub async fn run(context: &Context, command: NodeCommand) -> anyhow::Result<()> {
    match command {
        NodeCommand::Import { file } => {
            let machines = read_machines(&file)?;
            import(context, &machines).await
        }
        NodeCommand::List { json } => list(context, json).await,
        NodeCommand::Show { node } => show(context, &node).await,
        NodeCommand::Config { node, json } => node_config::config(context, &node, json).await,
        NodeCommand::Console { node, lines } => console(context, &node, lines),
    }
}

/// The machines of a testenv file, or of a file that holds only their list.
pub fn read_machines(file: &Path) -> anyhow::Result<Vec<Machine>> {
    let value = read_json(file)?;
    let machines: Vec<Machine> = if value.is_array() {
        serde_json::from_value(value)
            .with_context(|| format!("{} is no list of machines", file.display()))?
    } else {
        Testenv::read(file)?.0.nodes
    };
    if machines.is_empty() {
        bail!("{} names no machines", file.display());
    }
    for (index, machine) in machines.iter().enumerate() {
        check(machine).with_context(|| format!("machine {index} of {}", file.display()))?;
    }
    Ok(machines)
}

/// The network that a testenv file tells of; none where the file holds only machines.
pub fn read_network(file: &Path) -> anyhow::Result<Option<BaremetalNetwork>> {
    if read_json(file)?.get("baremetal-network").is_none() {
        return Ok(None);
    }
    Ok(Some(Testenv::read(file)?.0.baremetal_network))
}

fn read_json(file: &Path) -> anyhow::Result<Value> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))
}

fn check(machine: &Machine) -> anyhow::Result<()> {
    if machine.pm_type != "redfish" {
        bail!(
            "pm_type is `{}`; only `redfish` can be driven",
            machine.pm_type
        );
    }
    if machine.pm_addr.is_empty() {
        bail!("pm_addr, the address of its BMC, is missing");
    }
    if machine.mac.is_empty() {
        bail!("mac, the address of its network card, is missing");
    }
    Ok(())
}

/// Enrols machines that are not known yet and brings all of them to `available`; those that hold an instance stay as they are, but for
/// their power: one that should be on and is not, since its host or BMC lost power, is switched on.
///
/// What failed before this call is tried once more, so that a mended cause is enough.
pub async fn import(context: &Context, machines: &[Machine]) -> anyhow::Result<()> {
    let mut progress = context
        .output
        .progress(&format!("enrolling {} machines", machines.len()));
    let mut names = Vec::new();
    for (index, machine) in machines.iter().enumerate() {
        let name = if machine.name.is_empty() {
            format!("node-{index}")
        } else {
            machine.name.clone()
        };
        enrol(context, &name, machine)
            .await
            .with_context(|| format!("node {name} cannot be enrolled"))?;
        names.push(name);
    }
    let until = Instant::now() + AVAILABLE;
    let mut asked = HashSet::new();
    loop {
        let mut waiting = Vec::new();
        for name in &names {
            if let Some(state) = advance(context, name, &mut asked).await? {
                waiting.push(format!("{name} {state}"));
            }
        }
        if waiting.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            bail!(
                "machines are still not available: {}; look closer: tripleo node show NODE",
                waiting.join(", ")
            );
        }
        progress.now(&waiting.join(", "));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Verifying asks the BMC, cleaning boots the machine: minutes on real hardware.
const AVAILABLE: Duration = Duration::from_secs(30 * 60);

async fn enrol(context: &Context, name: &str, machine: &Machine) -> anyhow::Result<()> {
    let cloud = context.cloud().await?;
    let path = format!("v1/nodes/{name}");
    let node = match cloud.find("baremetal", &path).await? {
        Some(node) if node["provision_state"] == "enroll" && node["reservation"].is_null() => {
            // It was never under control: how it is driven may have been wrong, and the file is right now.
            let driver = node_body(name, machine)["driver_info"].take();
            let change = json!([{ "op": "add", "path": "/driver_info", "value": driver }]);
            cloud.patch("baremetal", &path, &change).await?
        }
        Some(node) => node,
        None => {
            cloud
                .post("baremetal", "v1/nodes", &node_body(name, machine))
                .await?
        }
    };
    let known = cloud
        .get(
            "baremetal",
            &format!("v1/ports?node={}", text(&node["uuid"])),
        )
        .await?;
    let known: Vec<String> = known["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| text(&port["address"]))
        .collect();
    for mac in &machine.mac {
        if !known.contains(&mac.to_lowercase()) {
            let port = json!({ "address": mac, "node_uuid": node["uuid"] });
            cloud.post("baremetal", "v1/ports", &port).await?;
        }
    }
    Ok(())
}

fn node_body(name: &str, machine: &Machine) -> Value {
    let address = match machine.pm_addr.split_once("://") {
        Some(_) => machine.pm_addr.clone(),
        None => format!("https://{}", machine.pm_addr),
    };
    let mut driver = json!({
        "redfish_address": address,
        "redfish_username": machine.pm_user,
        "redfish_password": machine.pm_password,
    });
    if let Some(system) = &machine.pm_system_id {
        driver["redfish_system_id"] = json!(system);
    }
    json!({
        "name": name,
        "driver": "redfish",
        "resource_class": "baremetal",
        "driver_info": driver,
        "properties": {
            "cpus": machine.cpu,
            "memory_mb": machine.memory,
            "local_gb": machine.disk,
            "cpu_arch": if machine.arch == "amd64" { "x86_64" } else { &machine.arch },
        },
    })
}

/// Asks for the next step of a machine on its way to `available`; tells the state while it is under way.
async fn advance(
    context: &Context,
    name: &str,
    asked: &mut HashSet<String>,
) -> anyhow::Result<Option<String>> {
    let cloud = context.cloud().await?;
    let node = cloud.get("baremetal", &format!("v1/nodes/{name}")).await?;
    let state = text(&node["provision_state"]);
    if !node["instance_uuid"].is_null() {
        return keep_on(context, name, &node, &state).await;
    }
    let failed = state.ends_with("failed") || state == "error";
    let refused = state == "enroll"
        && node["target_provision_state"].is_null()
        && !node["last_error"].is_null();
    if (failed || refused) && asked.contains(name) {
        bail!(
            "node {name} is in state `{state}`: {}; look closer: tripleo node show {name}, tripleo node console {name}",
            text(&node["last_error"])
        );
    }
    let verb = match state.as_str() {
        "available" | "active" => return Ok(None),
        "manageable" => "provide",
        "deploy failed" | "error" => "deleted",
        _ if failed || state == "enroll" => "manage",
        _ => return Ok(Some(state)),
    };
    // A failed verb leaves its goal to be seen.
    if failed || node["target_provision_state"].is_null() {
        let path = format!("v1/nodes/{name}/states/provision");
        cloud
            .put("baremetal", &path, &json!({ "target": verb }))
            .await?;
        asked.insert(name.to_owned());
    }
    Ok(Some(state))
}

/// Whose instance runs keeps its state; its stack mends what failed. Only lost power is given back.
async fn keep_on(
    context: &Context,
    name: &str,
    node: &Value,
    state: &str,
) -> anyhow::Result<Option<String>> {
    let should_be_on = state == "active"
        && node["power_state"] == "power on"
        && node["target_power_state"].is_null()
        && node["maintenance"] != true;
    if should_be_on {
        let path = format!("v1/nodes/{name}/states/power");
        let target = json!({ "target": "power on" });
        let cloud = context.cloud().await?;
        cloud.put("baremetal", &path, &target).await?;
    }
    Ok(None)
}

async fn list(context: &Context, json: bool) -> anyhow::Result<()> {
    let all = Machines::read(context).await?;
    if json {
        let shown: Value = all.all().map(|machine| machine.json()).collect();
        context.output.data(&format!("{shown:#}"));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = all
        .all()
        .map(|machine| {
            vec![
                machine.name(),
                text(&machine.node["provision_state"]),
                text(&machine.node["power_state"]),
                machine.server_name.clone(),
                machine.report_in_short(),
                text(&machine.node["last_error"]),
            ]
        })
        .collect();
    let heading = [
        "node",
        "state",
        "power",
        "server",
        "last report",
        "last error",
    ];
    context.output.table(&heading, &rows);
    Ok(())
}

async fn show(context: &Context, node: &str) -> anyhow::Result<()> {
    let node = context
        .cloud()
        .await?
        .get("baremetal", &format!("v1/nodes/{node}"))
        .await?;
    for key in [
        "name",
        "uuid",
        "driver",
        "resource_class",
        "provision_state",
        "target_provision_state",
        "power_state",
        "maintenance",
        "instance_uuid",
        "last_error",
        "properties",
        "driver_info",
    ] {
        context.output.data(&format!("{key}: {}", text(&node[key])));
    }
    Ok(())
}

/// Where the lab keeps what a virtual machine printed.
pub fn console_file(context: &Context, node: &str) -> PathBuf {
    let folder = context.state.join("testenv/console");
    folder.join(format!("{node}.log"))
}

fn console(context: &Context, node: &str, lines: Option<usize>) -> anyhow::Result<()> {
    let log = console_file(context, node);
    if !log.exists() {
        bail!(
            "no virtual machine `{node}` has printed anything; `tripleo testenv list` names them"
        );
    }
    context.output.data(&crate::devtest::daemon::tail(
        &log,
        lines.unwrap_or(usize::MAX),
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Vec<Machine>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nodes.json");
        std::fs::write(&path, text).unwrap();
        read_machines(&path)
    }

    #[test]
    fn a_list_and_a_testenv_file_are_the_same() {
        let list =
            r#"[{"mac": ["52:54:00:00:00:01"], "pm_type": "redfish", "pm_addr": "203.0.113.2"}]"#;
        assert_eq!(read(list).unwrap().len(), 1);
        assert_eq!(read(&format!("{{\"nodes\": {list}}}")).unwrap().len(), 1);
    }

    #[test]
    fn a_machine_that_cannot_be_driven_is_named() {
        let error = read(r#"[{"mac": ["x"], "pm_type": "pxe_ssh", "pm_addr": "y"}]"#).unwrap_err();
        let error = format!("{error:#}");
        assert!(
            error.contains("machine 0") && error.contains("pxe_ssh"),
            "{error}"
        );
    }

    #[test]
    fn a_bmc_without_a_scheme_is_asked_over_https() {
        let machine = Machine {
            pm_addr: "203.0.113.2".to_owned(),
            ..Machine::default()
        };
        assert_eq!(
            node_body("n", &machine)["driver_info"]["redfish_address"],
            "https://203.0.113.2"
        );
    }
}
