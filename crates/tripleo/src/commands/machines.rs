//! Machines, the servers on them, and what their agents said last: put together from three services, for whoever shows them.
//!
//! A cloud that knows no reports (Heat itself), and a node with agents that send none, have `no report`.

use anyhow::bail;
use openstack_client::ClientError;
use serde_json::{Value, json};

use super::stack::text;
use crate::context::Context;

/// All that is known of machines.
pub struct Machines {
    nodes: Vec<Value>,
    servers: Vec<Value>,
    reports: Vec<Value>,
}

/// One machine, or a server that is no machine of ours. Parts may be null.
#[derive(Debug, PartialEq)]
pub struct Machine<'m> {
    pub node: &'m Value,
    pub server_id: String,
    pub server_name: String,
    pub report: &'m Value,
}

impl Machines {
    /// Asks the cloud.
    pub async fn read(context: &Context) -> anyhow::Result<Machines> {
        let cloud = context.cloud().await?;
        let nodes = cloud.get("baremetal", "v1/nodes/detail").await?;
        let servers = match cloud.get("compute", "servers").await {
            // A seed without machines serves nodes, but no servers.
            Err(ClientError::NoService { .. }) => Value::Null,
            servers => servers?,
        };
        let reports = cloud.find("orchestration", "node_reports").await?;
        let list = |reply: &Value, key: &str| reply[key].as_array().cloned().unwrap_or_default();
        Ok(Machines {
            nodes: list(&nodes, "nodes"),
            servers: list(&servers, "servers"),
            reports: list(&reports.unwrap_or_default(), "node_reports"),
        })
    }

    /// All machines, in the order of the cloud.
    pub fn all(&self) -> impl Iterator<Item = Machine<'_>> {
        self.nodes.iter().map(|node| self.of_node(node))
    }

    fn of_node<'m>(&'m self, node: &'m Value) -> Machine<'m> {
        self.machine(node, &text(&node["instance_uuid"]))
    }

    fn machine<'m>(&'m self, node: &'m Value, server: &str) -> Machine<'m> {
        let report = self.reports.iter().find(|one| one["server_id"] == server);
        let report = report.unwrap_or(&Value::Null);
        let known = self.servers.iter().find(|one| one["id"] == server);
        let name = match (known, report) {
            (Some(known), _) => text(&known["name"]),
            (None, Value::Null) => server.to_owned(),
            (None, report) => text(&report["server_name"]),
        };
        Machine {
            node,
            server_id: server.to_owned(),
            server_name: name,
            report,
        }
    }

    /// The machine of a name or id: its own, or that of the server on it.
    pub fn find(&self, what: &str) -> anyhow::Result<Machine<'_>> {
        let named = |node: &&Value| node["name"] == what || node["uuid"] == what;
        if let Some(node) = self.nodes.iter().find(named) {
            return Ok(self.of_node(node));
        }
        if let Some(found) = self.server(what) {
            return Ok(found);
        }
        let names: Vec<String> = self
            .all()
            .flat_map(|machine| [text(&machine.node["name"]), machine.server_name])
            .chain(self.reports.iter().map(|one| text(&one["server_name"])))
            .filter(|name| !name.is_empty())
            .collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        bail!(
            "there is no node or server `{what}`; there are: {}",
            names.join(", ")
        )
    }

    /// The machine that a server is on.
    pub fn server(&self, what: &str) -> Option<Machine<'_>> {
        let server = self.servers.iter();
        let server = server
            .filter(|one| one["name"] == what || one["id"] == what)
            .map(|one| text(&one["id"]));
        let reported = self.reports.iter();
        let reported = reported
            .filter(|one| one["server_name"] == what || one["server_id"] == what)
            .map(|one| text(&one["server_id"]));
        let id = server.chain(reported).next()?;
        let node = self.nodes.iter().find(|node| node["instance_uuid"] == id);
        Some(self.machine(node.unwrap_or(&Value::Null), &id))
    }
}

impl Machine<'_> {
    /// The name by which commands find it.
    pub fn name(&self) -> String {
        match text(&self.node["name"]) {
            name if name.is_empty() => self.server_name.clone(),
            name => name,
        }
    }

    /// The last report in a few words.
    pub fn report_in_short(&self) -> String {
        let report = self.report;
        let when = text(&report["reported_at"]);
        match report["status"].as_str() {
            Some("ok") => format!("ok, {when}"),
            Some(_) => {
                let script = text(&report["script"]);
                let script = script.rsplit('/').next().unwrap_or_default();
                let what = if script.is_empty() { "refresh" } else { script };
                format!("failed: {what}, {when}")
            }
            None if self.server_id.is_empty() => String::new(),
            None => "no report".to_owned(),
        }
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let node = self.node;
        let server = if self.server_id.is_empty() {
            Value::Null
        } else {
            json!({ "id": self.server_id, "name": self.server_name })
        };
        json!({
            "name": node["name"],
            "uuid": node["uuid"],
            "provision_state": node["provision_state"],
            "power_state": node["power_state"],
            "last_error": node["last_error"],
            "server": server,
            "report": self.report,
        })
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn machines() -> Machines {
        Machines {
            nodes: vec![
                json!({"name": "node-0", "uuid": "n0", "instance_uuid": "s0"}),
                json!({"name": "node-1", "uuid": "n1", "instance_uuid": "s1"}),
                json!({"name": "node-2", "uuid": "n2", "instance_uuid": null}),
            ],
            servers: vec![
                json!({"id": "s0", "name": "web"}),
                json!({"id": "s1", "name": "db"}),
            ],
            reports: vec![
                json!({"server_id": "s0", "server_name": "web", "status": "failed", "script": "/b/50-x", "reported_at": "T"}),
                json!({"server_id": "s9", "server_name": "far", "status": "ok", "reported_at": "T"}),
            ],
        }
    }

    #[test]
    fn a_machine_is_found_by_each_of_its_names() {
        let all = machines();
        for what in ["node-0", "n0", "s0", "web"] {
            let found = all.find(what).unwrap();
            assert_eq!(
                (found.name().as_str(), found.server_name.as_str()),
                ("node-0", "web")
            );
        }
        assert_eq!(all.find("far").unwrap().name(), "far");
        let error = all.find("wbe").unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no node or server `wbe`; there are: db, far, node-0, node-1, node-2, web"
        );
    }

    #[test]
    fn reports_in_short() {
        let all = machines();
        let short: Vec<String> = all.all().map(|one| one.report_in_short()).collect();
        assert_eq!(short, ["failed: 50-x, T", "no report", ""]);
        assert_eq!(all.find("far").unwrap().report_in_short(), "ok, T");
    }
}
