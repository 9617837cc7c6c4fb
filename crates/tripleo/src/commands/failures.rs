//! `tripleo stack failures`: each resource that failed, where it failed, with what words, and what to do next.
//!
//! Puts together what three services know: the stack's resources, the outputs of a deployment, the machine below a server. Only
//! resources that failed by themselves are told, not the groups and nested stacks around them.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;

use secret::Mask;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::machines::Machines;
use super::stack::{identity, text};
use crate::context::Context;

/// So many of the last lines of an output are shown.
const LAST_LINES: usize = 10;

/// A resource that failed.
#[derive(Debug, Default, PartialEq)]
pub struct Failure {
    /// From the stack down: `nodes/0/deployment`.
    pub path: String,
    pub kind: String,
    pub status: String,
    pub reason: String,
    pub node: Option<String>,
    pub phase: Option<String>,
    pub script: Option<String>,
    pub exit_code: Option<String>,
    pub output: Vec<String>,
    /// The last lines that a virtual machine printed.
    pub console: Vec<String>,
    pub next: String,
}

/// Prints the failures of a stack.
pub async fn failures(context: &Context, stack: &str) -> anyhow::Result<()> {
    let failed = failed(context, stack).await?;
    if failed.is_empty() {
        context
            .output
            .say(&format!("no resource of {stack} failed"));
    }
    for failure in failed {
        context.output.data(&failure.to_string());
    }
    Ok(())
}

/// All resources of a stack that failed by themselves, nested ones included.
pub async fn failed(context: &Context, stack: &str) -> anyhow::Result<Vec<Failure>> {
    let path = identity(context, stack).await?;
    let cloud = context.cloud().await?;
    let path = format!("{path}/resources?nested_depth=5");
    let reply = cloud.get("orchestration", &path).await?;
    let resources = reply["resources"].as_array().map_or(&[][..], Vec::as_slice);
    let mut found = Vec::new();
    // Asked for once, and only if some failure has to do with a machine.
    let machines = OnceCell::new();
    for (path, resource) in leaves(resources) {
        let mut failure = Failure {
            path,
            kind: text(&resource["resource_type"]),
            status: text(&resource["resource_status"]),
            reason: text(&resource["resource_status_reason"]),
            next: format!("update the stack as it is: tripleo stack update {stack} --existing"),
            ..Failure::default()
        };
        // What cannot be asked for just now is left out; the reason alone is worth telling.
        let _ = look_closer(context, &machines, &mut failure, resource).await;
        found.push(failure);
    }
    Ok(found)
}

async fn look_closer(
    context: &Context,
    machines: &OnceCell<Machines>,
    failure: &mut Failure,
    resource: &Value,
) -> anyhow::Result<()> {
    let id = text(&resource["physical_resource_id"]);
    if id.is_empty() {
        return Ok(());
    }
    let cloud = context.cloud().await?;
    if failure.kind.ends_with("Deployment") {
        let path = format!("software_deployments/{id}");
        let Some(mut reply) = cloud.find("orchestration", &path).await? else {
            return Ok(());
        };
        let deployment = reply["software_deployment"].take();
        let path = format!("software_configs/{}", text(&deployment["config_id"]));
        let config = cloud.find("orchestration", &path).await?;
        failure.learn(&deployment, &config.unwrap_or_default()["software_config"]);
        let server = text(&deployment["server_id"]);
        let all = machines.get_or_try_init(|| Machines::read(context)).await?;
        let machine = all.server(&server);
        let name = machine.map_or(server, |machine| machine.server_name);
        failure.next = format!(
            "mend what the output names, then {}; look closer: tripleo node config {name}",
            failure.next
        );
        failure.node = Some(name);
    } else if failure.kind == "OS::Nova::Server" {
        let all = machines.get_or_try_init(|| Machines::read(context)).await?;
        let machine = all.server(&id);
        let node = machine.map(|machine| text(&machine.node["name"]));
        if let Some(node) = node.filter(|name| !name.is_empty()) {
            failure.next = format!(
                "{}; look closer: tripleo node show {node}, tripleo node console {node}",
                failure.next
            );
            failure.console = last_words(&super::node::console_file(context, &node));
            failure.node = Some(node);
        }
    }
    Ok(())
}

/// The last lines that a virtual machine printed; nothing where the machine is real.
fn last_words(console: &Path) -> Vec<String> {
    let text = crate::devtest::daemon::tail(console, LAST_LINES);
    let lines = text.lines().map(str::trim_end);
    lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

impl Failure {
    /// Takes over what a deployment says of its end.
    fn learn(&mut self, deployment: &Value, config: &Value) {
        let outputs = &deployment["output_values"];
        let (stderr, stdout) = (
            text(&outputs["deploy_stderr"]),
            text(&outputs["deploy_stdout"]),
        );
        let printed = if stderr.trim().is_empty() {
            stdout
        } else {
            stderr
        };
        let mut printed = Mask::of(config).cover(&printed);
        if let Some((refresh, rest)) = Refresh::read(&printed) {
            self.phase = Some(refresh.phase);
            self.script = refresh.script;
            self.exit_code = refresh.exit_code;
            printed = rest;
        } else {
            let (group, name) = (text(&config["group"]), text(&config["name"]));
            self.script = Some(format!("deployment {name} of group {group}"));
            let code = text(&outputs["deploy_status_code"]);
            self.exit_code = Some(code).filter(|code| !code.is_empty());
        }
        let lines: Vec<&str> = printed.trim_end().lines().collect();
        let from = lines.len().saturating_sub(LAST_LINES);
        self.output = lines[from..]
            .iter()
            .map(|line| (*line).to_owned())
            .collect();
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) {}", self.path, self.kind, self.status)?;
        write!(f, "\n  reason: {}", self.reason)?;
        let exit = match &self.exit_code {
            Some(code) => format!(", exit code {code}"),
            None => String::new(),
        };
        let script = self.script.as_ref().map(|script| script.clone() + &exit);
        for (name, value) in [
            ("node", &self.node),
            ("phase", &self.phase),
            ("script", &script),
        ] {
            if let Some(value) = value {
                write!(f, "\n  {:<8}{value}", format!("{name}:"))?;
            }
        }
        for (name, lines) in [("output", &self.output), ("console", &self.console)] {
            if !lines.is_empty() {
                write!(f, "\n  {name}:")?;
            }
            for line in lines {
                write!(f, "\n    {line}")?;
            }
        }
        write!(f, "\n  next:   {}", self.next)
    }
}

/// What our agents say of a refresh that failed, in the first line of `deploy_stderr`.
struct Refresh {
    phase: String,
    script: Option<String>,
    exit_code: Option<String>,
}

impl Refresh {
    /// Takes `text` apart; gives what it says and the lines after it.
    fn read(text: &str) -> Option<(Refresh, String)> {
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        let said = first.strip_prefix("os-refresh-config failed in phase ")?;
        let (phase, how) = said.split_once(": ").unwrap_or((said, ""));
        let script = how
            .strip_prefix("script ")
            .and_then(|how| how.split_once(" ended with exit code "));
        let refresh = Refresh {
            phase: phase.to_owned(),
            script: script.map(|(script, _)| script.to_owned()),
            exit_code: script.map(|(_, code)| code.to_owned()),
        };
        // What is not understood is shown as it is.
        let rest = match script {
            Some(_) => rest.to_owned(),
            None => text.to_owned(),
        };
        Some((refresh, rest))
    }
}

/// The resources that failed and hold none that did, each with its path.
fn leaves(resources: &[Value]) -> Vec<(String, &Value)> {
    let stack_of = |resource: &Value, rel: &str| {
        let links = resource["links"].as_array().into_iter().flatten();
        let mut links = links.filter(|link| link["rel"] == rel);
        let href = text(&links.next()?["href"]);
        Some(href.rsplit('/').next()?.to_owned())
    };
    // From each nested stack to the resource that it is.
    let above: HashMap<String, &Value> = resources
        .iter()
        .filter_map(|resource| Some((stack_of(resource, "nested")?, resource)))
        .collect();
    let failed = |resource: &&Value| text(&resource["resource_status"]).ends_with("FAILED");
    let holders: HashSet<String> = resources
        .iter()
        .filter(failed)
        .filter_map(|resource| stack_of(resource, "stack"))
        .collect();
    let holds = |resource: &Value| {
        stack_of(resource, "nested").is_some_and(|nested| holders.contains(&nested))
    };
    let mut found = Vec::new();
    for resource in resources.iter().filter(failed) {
        if holds(resource) {
            continue;
        }
        let mut path = text(&resource["resource_name"]);
        let mut stack = stack_of(resource, "stack");
        while let Some(outer) = stack.and_then(|stack| above.get(&stack)) {
            path = format!("{}/{path}", text(&outer["resource_name"]));
            stack = stack_of(outer, "stack");
        }
        found.push((path, resource));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resource(name: &str, status: &str, stack: &str, nested: Option<&str>) -> Value {
        let mut links =
            vec![json!({"rel": "stack", "href": format!("http://h/stacks/name/{stack}")})];
        links.extend(
            nested.map(|id| json!({"rel": "nested", "href": format!("http://h/stacks/name/{id}")})),
        );
        json!({"resource_name": name, "resource_status": status, "links": links})
    }

    #[test]
    fn only_what_failed_by_itself_is_told_with_its_path() {
        let all = [
            resource("nodes", "CREATE_FAILED", "root", Some("group")),
            resource("0", "CREATE_COMPLETE", "group", Some("zero")),
            resource("1", "CREATE_FAILED", "group", Some("one")),
            resource("deployment", "CREATE_FAILED", "one", None),
            resource("deployment", "CREATE_COMPLETE", "zero", None),
            resource("port", "CREATE_FAILED", "root", None),
        ];
        let paths: Vec<String> = leaves(&all).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["nodes/1/deployment", "port"]);
    }

    #[track_caller]
    fn check(stderr: &str, expect: &str) {
        let mut failure = Failure {
            path: "d".to_owned(),
            kind: "OS::Heat::SoftwareDeployment".to_owned(),
            status: "CREATE_FAILED".to_owned(),
            reason: "why".to_owned(),
            node: Some("web-0".to_owned()),
            next: "do".to_owned(),
            ..Failure::default()
        };
        let deployment =
            json!({"output_values": {"deploy_stderr": stderr, "deploy_status_code": 4}});
        let config = json!({"name": "n", "group": "script", "inputs": [{"name": "password", "value": "hunter2"}]});
        failure.learn(&deployment, &config);
        let shown = failure.to_string();
        let start =
            "d (OS::Heat::SoftwareDeployment) CREATE_FAILED\n  reason: why\n  node:   web-0\n";
        assert_eq!(
            shown
                .strip_prefix(start)
                .and_then(|rest| rest.strip_suffix("\n  next:   do")),
            Some(expect),
            "{shown}"
        );
    }

    #[test]
    fn a_hook_of_a_refresh_is_taken_apart() {
        check(
            "os-refresh-config failed in phase configure: script /b/50-x ended with exit code 3\none\ntwo\n",
            "  phase:  configure\n  script: /b/50-x, exit code 3\n  output:\n    one\n    two",
        );
        check(
            "os-refresh-config failed in phase configure: died",
            "  phase:  configure\n  output:\n    os-refresh-config failed in phase configure: died",
        );
    }

    #[test]
    fn a_machine_tells_what_it_printed_last() {
        let folder = tempfile::tempdir().unwrap();
        let console = folder.path().join("node-0.log");
        assert_eq!(last_words(&console), [""; 0]);
        let printed: String = (1..30).map(|line| format!("line {line}\r\n\r\n")).collect();
        std::fs::write(&console, printed).unwrap();
        let mut failure = Failure {
            console: last_words(&console),
            next: "do".to_owned(),
            ..Failure::default()
        };
        let shown = failure.to_string();
        assert!(
            shown.ends_with("\n    line 28\n    line 29\n  next:   do"),
            "{shown}"
        );
        assert!(!shown.contains("line 20"), "{shown}");
        failure.console.clear();
        assert!(!failure.to_string().contains("console"));
    }

    #[test]
    fn other_deployments_tell_what_they_printed() {
        check(
            "login hunter2\n",
            "  script: deployment n of group script, exit code 4\n  output:\n    login ***",
        );
    }
}
