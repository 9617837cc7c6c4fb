//! Which call a method and a path mean.
//!
//! A pure table: it looks nothing up and knows no project. What it does not list is 404, or 405
//! where another method would be a call.

use super::query::{decode, encode};

/// A stack as paths name it; both must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackPath {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
}

/// A call of the orchestration API.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the words are those of the paths; `rule` tells upstream's name"
)]
pub enum Call {
    ListStacks,
    DetailStacks,
    CreateStack,
    PreviewStack,
    /// A stack by name, id or ARN alone; the answer is where it is.
    Lookup {
        what: String,
        rest: Option<String>,
    },
    ShowStack(StackPath),
    UpdateStack(StackPath),
    PatchStack(StackPath),
    DeleteStack(StackPath),
    PreviewUpdate(StackPath),
    PreviewPatch(StackPath),
    Template(StackPath),
    Environment(StackPath),
    Files(StackPath),
    Outputs(StackPath),
    Output(StackPath, String),
    Action(StackPath),
    TakeSnapshot(StackPath),
    Snapshots(StackPath),
    Snapshot(StackPath, String),
    DeleteSnapshot(StackPath, String),
    RestoreSnapshot(StackPath, String),
    Export(StackPath),
    Abandon(StackPath),
    Resources(StackPath),
    Resource(StackPath, String),
    Metadata(StackPath, String),
    MarkUnhealthy(StackPath, String),
    Signal(StackPath, String),
    Events(StackPath),
    ResourceEvents(StackPath, String),
    Event(StackPath, String, String),
    Validate,
    ResourceTypes,
    ResourceType(String),
    TypeTemplate(String),
    TemplateVersions,
    Functions(String),
    Configs,
    CreateConfig,
    Config(String),
    DeleteConfig(String),
    Deployments,
    CreateDeployment,
    Deployment(String),
    UpdateDeployment(String),
    DeleteDeployment(String),
    ServerDeployments(String),
    NodeReports,
    NodeReport(String),
    BuildInfo,
    Services,
}

/// The methods that any path may have.
pub const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Splits a path (as sent, after the project) into decoded segments.
pub fn segments(path: &str) -> Vec<String> {
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.is_empty() {
        return Vec::new();
    }
    fold_arn(path.split('/').map(decode).collect())
}

/// An ARN holds slashes that clients do not always encode; here it becomes one segment again.
fn fold_arn(segments: Vec<String>) -> Vec<String> {
    let is_arn = segments.len() >= 4 && segments[0] == "stacks" && segments[1].starts_with("arn:");
    if !is_arn {
        return segments;
    }
    let mut folded = vec![segments[0].clone(), segments[1..4].join("/")];
    folded.extend_from_slice(&segments[4..]);
    folded
}

/// The call that a method on a path means.
pub fn call(method: &str, segments: &[String]) -> Option<Call> {
    let words: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (first, rest) = words.split_first()?;
    match *first {
        "stacks" => stacks(method, rest),
        "validate" if rest.is_empty() && method == "POST" => Some(Call::Validate),
        "build_info" if rest.is_empty() && method == "GET" => Some(Call::BuildInfo),
        "services" if rest.is_empty() && method == "GET" => Some(Call::Services),
        "resource_types" if method == "GET" => types(rest),
        "template_versions" if method == "GET" => versions(rest),
        "software_configs" => configs(method, rest),
        "software_deployments" => deployments(method, rest),
        "node_reports" if method == "GET" => node_reports(rest),
        _ => None,
    }
}

/// The methods that a path has.
pub fn allowed(segments: &[String]) -> Vec<&'static str> {
    let methods = METHODS.into_iter();
    methods
        .filter(|method| call(method, segments).is_some())
        .collect()
}

fn stacks(method: &str, rest: &[&str]) -> Option<Call> {
    match (method, rest) {
        ("GET", []) => Some(Call::ListStacks),
        ("POST", []) => Some(Call::CreateStack),
        ("GET", ["detail"]) => Some(Call::DetailStacks),
        ("POST", ["preview"]) => Some(Call::PreviewStack),
        (_, ["preview"]) => None,
        (method, [what]) if METHODS.contains(&method) => Some(lookup(what, None)),
        (method, [what, sub]) if is_lookup(method, what, sub) => Some(lookup(what, Some(sub))),
        (_, [_, "resources" | "events" | "template" | "actions"]) => None,
        (_, [_, "environment" | "files"]) => None,
        (method, [name, id, tail @ ..]) => {
            let stack = StackPath {
                name: (*name).to_owned(),
                id: (*id).to_owned(),
            };
            one_stack(method, stack, tail)
        }
        _ => None,
    }
}

fn lookup(what: &str, rest: Option<&str>) -> Call {
    Call::Lookup {
        what: what.to_owned(),
        rest: rest.map(encode),
    }
}

fn is_lookup(method: &str, _what: &str, sub: &str) -> bool {
    match sub {
        "resources" | "events" | "template" | "actions" => matches!(method, "GET" | "POST"),
        "environment" | "files" => method == "GET",
        _ => false,
    }
}

fn one_stack(method: &str, stack: StackPath, tail: &[&str]) -> Option<Call> {
    let call = match (method, tail) {
        ("GET", []) => Call::ShowStack(stack),
        ("PUT", []) => Call::UpdateStack(stack),
        ("PATCH", []) => Call::PatchStack(stack),
        ("DELETE", []) => Call::DeleteStack(stack),
        ("PUT", ["preview"]) => Call::PreviewUpdate(stack),
        ("PATCH", ["preview"]) => Call::PreviewPatch(stack),
        ("GET", ["template"]) => Call::Template(stack),
        ("GET", ["environment"]) => Call::Environment(stack),
        ("GET", ["files"]) => Call::Files(stack),
        ("GET", ["outputs"]) => Call::Outputs(stack),
        ("GET", ["outputs", key]) => Call::Output(stack, (*key).to_owned()),
        ("POST", ["actions"]) => Call::Action(stack),
        ("GET", ["export"]) => Call::Export(stack),
        ("DELETE", ["abandon"]) => Call::Abandon(stack),
        ("GET", ["events"]) => Call::Events(stack),
        (_, ["snapshots", tail @ ..]) => return snapshots(method, stack, tail),
        (_, ["resources", tail @ ..]) => return resources(method, stack, tail),
        _ => return None,
    };
    Some(call)
}

fn snapshots(method: &str, stack: StackPath, tail: &[&str]) -> Option<Call> {
    let call = match (method, tail) {
        ("GET", []) => Call::Snapshots(stack),
        ("POST", []) => Call::TakeSnapshot(stack),
        ("GET", [id]) => Call::Snapshot(stack, (*id).to_owned()),
        ("DELETE", [id]) => Call::DeleteSnapshot(stack, (*id).to_owned()),
        ("POST", [id, "restore"]) => Call::RestoreSnapshot(stack, (*id).to_owned()),
        _ => return None,
    };
    Some(call)
}

fn resources(method: &str, stack: StackPath, tail: &[&str]) -> Option<Call> {
    let call = match (method, tail) {
        ("GET", []) => Call::Resources(stack),
        ("GET", [name]) => Call::Resource(stack, (*name).to_owned()),
        ("PATCH", [name]) => Call::MarkUnhealthy(stack, (*name).to_owned()),
        ("GET", [name, "metadata"]) => Call::Metadata(stack, (*name).to_owned()),
        ("POST", [name, "signal"]) => Call::Signal(stack, (*name).to_owned()),
        ("GET", [name, "events"]) => Call::ResourceEvents(stack, (*name).to_owned()),
        ("GET", [name, "events", id]) => Call::Event(stack, (*name).to_owned(), (*id).to_owned()),
        _ => return None,
    };
    Some(call)
}

fn types(rest: &[&str]) -> Option<Call> {
    match rest {
        [] => Some(Call::ResourceTypes),
        [name] => Some(Call::ResourceType((*name).to_owned())),
        [name, "template"] => Some(Call::TypeTemplate((*name).to_owned())),
        _ => None,
    }
}

fn versions(rest: &[&str]) -> Option<Call> {
    match rest {
        [] => Some(Call::TemplateVersions),
        [version, "functions"] => Some(Call::Functions((*version).to_owned())),
        _ => None,
    }
}

fn configs(method: &str, rest: &[&str]) -> Option<Call> {
    match (method, rest) {
        ("GET", []) => Some(Call::Configs),
        ("POST", []) => Some(Call::CreateConfig),
        ("GET", [id]) => Some(Call::Config((*id).to_owned())),
        ("DELETE", [id]) => Some(Call::DeleteConfig((*id).to_owned())),
        _ => None,
    }
}

fn deployments(method: &str, rest: &[&str]) -> Option<Call> {
    match (method, rest) {
        ("GET", []) => Some(Call::Deployments),
        ("POST", []) => Some(Call::CreateDeployment),
        ("GET", ["metadata", server]) => Some(Call::ServerDeployments((*server).to_owned())),
        ("GET", [id]) => Some(Call::Deployment((*id).to_owned())),
        ("PUT", [id]) => Some(Call::UpdateDeployment((*id).to_owned())),
        ("DELETE", [id]) => Some(Call::DeleteDeployment((*id).to_owned())),
        _ => None,
    }
}

fn node_reports(rest: &[&str]) -> Option<Call> {
    match rest {
        [] => Some(Call::NodeReports),
        [server] => Some(Call::NodeReport((*server).to_owned())),
        _ => None,
    }
}

impl Call {
    /// Upstream's name of the policy rule, which its refusals name.
    pub fn rule(&self) -> &'static str {
        match self {
            Call::ListStacks => "stacks:index",
            Call::DetailStacks => "stacks:detail",
            Call::CreateStack => "stacks:create",
            Call::PreviewStack => "stacks:preview",
            Call::Lookup { .. } => "stacks:lookup",
            Call::ShowStack(_) => "stacks:show",
            Call::UpdateStack(_) => "stacks:update",
            Call::PatchStack(_) => "stacks:update_patch",
            Call::DeleteStack(_) => "stacks:delete",
            Call::PreviewUpdate(_) => "stacks:preview_update",
            Call::PreviewPatch(_) => "stacks:preview_update_patch",
            Call::Template(_) => "stacks:template",
            Call::Environment(_) => "stacks:environment",
            Call::Files(_) => "stacks:files",
            Call::Outputs(_) => "stacks:list_outputs",
            Call::Output(..) => "stacks:show_output",
            Call::Action(_) => "actions:action",
            Call::TakeSnapshot(_) => "stacks:snapshot",
            Call::Snapshots(_) => "stacks:list_snapshots",
            Call::Snapshot(..) => "stacks:show_snapshot",
            Call::DeleteSnapshot(..) => "stacks:delete_snapshot",
            Call::RestoreSnapshot(..) => "stacks:restore_snapshot",
            Call::Export(_) => "stacks:export",
            Call::Abandon(_) => "stacks:abandon",
            Call::Resources(_) => "resource:index",
            Call::Resource(..) => "resource:show",
            Call::Metadata(..) => "resource:metadata",
            Call::MarkUnhealthy(..) => "resource:mark_unhealthy",
            Call::Signal(..) => "resource:signal",
            Call::Events(_) | Call::ResourceEvents(..) => "events:index",
            Call::Event(..) => "events:show",
            Call::Validate => "stacks:validate_template",
            Call::ResourceTypes => "stacks:list_resource_types",
            Call::ResourceType(_) => "stacks:resource_schema",
            Call::TypeTemplate(_) => "stacks:generate_template",
            Call::TemplateVersions => "stacks:list_template_versions",
            Call::Functions(_) => "stacks:list_template_functions",
            Call::Configs => "software_configs:index",
            Call::CreateConfig => "software_configs:create",
            Call::Config(_) => "software_configs:show",
            Call::DeleteConfig(_) => "software_configs:delete",
            Call::Deployments => "software_deployments:index",
            Call::CreateDeployment => "software_deployments:create",
            Call::Deployment(_) => "software_deployments:show",
            Call::UpdateDeployment(_) => "software_deployments:update",
            Call::DeleteDeployment(_) => "software_deployments:delete",
            Call::ServerDeployments(_) => "software_deployments:metadata",
            Call::NodeReports => "node_reports:index",
            Call::NodeReport(_) => "node_reports:show",
            Call::BuildInfo => "build_info:build_info",
            Call::Services => "service:index",
        }
    }

    /// Whether the user of a server, deployment or wait condition may try it at all; which
    /// resources it may reach is asked later.
    pub fn is_for_stack_users(&self) -> bool {
        matches!(
            self,
            Call::Lookup { .. }
                | Call::Metadata(..)
                | Call::Signal(..)
                | Call::ServerDeployments(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, path: &str, expect: Option<&str>) {
        let found = call(method, &segments(path));
        assert_eq!(found.map(|call| call.rule()), expect, "{method} {path}");
    }

    #[test]
    fn paths_mean_calls() {
        check("GET", "/stacks", Some("stacks:index"));
        check("POST", "/stacks/preview", Some("stacks:preview"));
        check("GET", "/stacks/preview", None);
        check("DELETE", "/stacks/x", Some("stacks:lookup"));
        check("GET", "/stacks/x/events", Some("stacks:lookup"));
        check("POST", "/stacks/x/actions", Some("stacks:lookup"));
        check("PUT", "/stacks/x/actions", None);
        check("POST", "/stacks/x/files", None);
        check("GET", "/stacks/x/outputs", Some("stacks:show"));
        check(
            "PATCH",
            "/stacks/x/1/preview",
            Some("stacks:preview_update_patch"),
        );
        check("GET", "/stacks/x/1/resources/r/zz", None);
        check("GET", "/stacks/x/1/snapshots/a/b", None);
        check("GET", "/stacks/x/1/nothing", None);
        check("GET", "/resource_types/x/y", None);
        check(
            "GET",
            "/software_deployments/metadata/s",
            Some("software_deployments:metadata"),
        );
        check("GET", "/node_reports/s", Some("node_reports:show"));
        check("POST", "/node_reports", None);
        check("GET", "/", None);
    }

    #[test]
    fn an_arn_is_one_name() {
        for path in [
            "/stacks/arn:openstack:heat::p:stacks/n/i/events",
            "/stacks/arn%3Aopenstack%3Aheat%3A%3Ap%3Astacks%2Fn%2Fi/events",
        ] {
            let want = Call::Lookup {
                what: "arn:openstack:heat::p:stacks/n/i".to_owned(),
                rest: Some("events".to_owned()),
            };
            assert_eq!(call("GET", &segments(path)), Some(want));
        }
    }

    #[test]
    fn a_known_path_tells_its_methods() {
        assert_eq!(allowed(&segments("/stacks")), ["GET", "POST"]);
        assert_eq!(allowed(&segments("/resource_types")), ["GET"]);
        assert!(allowed(&segments("/nothing")).is_empty());
    }
}
