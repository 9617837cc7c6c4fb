//! How stacks, resources and their addresses are written down.

use engine::{Resource, Stack, StackOutput};
use serde_json::{Value, json};

use super::query::encode;
use super::reply;

/// Where a stack is: `<endpoint>/stacks/<name>/<id>`. The endpoint is that of the owner's project,
/// whoever asks.
pub fn stack_href(base: &str, project: &str, name: &str, id: &str) -> String {
    format!("{base}/v1/{project}/stacks/{}/{id}", encode(name))
}

/// Where a stack is.
pub fn href(base: &str, stack: &Stack) -> String {
    stack_href(base, &stack.project, &stack.name, &stack.id.to_string())
}

/// A link.
pub fn link(rel: &str, href: impl Into<String>) -> Value {
    json!({ "rel": rel, "href": href.into() })
}

/// A stack as `show` gives it.
pub fn stack(base: &str, stack: &Stack, with_outputs: bool) -> Value {
    let mut shown = common(base, stack);
    let description = described(&stack.description);
    shown["description"] = json!(description);
    shown["template_description"] = json!(description);
    shown["notification_topics"] = json!([]);
    shown["capabilities"] = json!([]);
    shown["parameters"] = json!(stack.parameters);
    shown["disable_rollback"] = json!(stack.disable_rollback);
    shown["timeout_mins"] = json!(stack.timeout_mins);
    if with_outputs {
        shown["outputs"] = stack.outputs.iter().map(output).collect();
    }
    shown
}

/// A stack as lists give it. Upstream leaves the description empty there.
pub fn stack_entry(base: &str, stack: &Stack, with_project: bool) -> Value {
    let mut entry = common(base, stack);
    entry["description"] = json!("");
    if with_project {
        entry["project"] = json!(stack.project);
    }
    entry
}

fn common(base: &str, stack: &Stack) -> Value {
    json!({
        "id": stack.id.to_string(),
        "stack_name": stack.name,
        "links": [link("self", href(base, stack))],
        "creation_time": reply::time(stack.created),
        "updated_time": reply::time_or_null(stack.updated),
        "deletion_time": reply::time_or_null(stack.deleted),
        "stack_status": format!("{}_{}", stack.action, stack.status),
        "stack_status_reason": stack.reason,
        "stack_owner": stack.owner,
        "parent": stack.parent.map(|parent| parent.to_string()),
        "stack_user_project_id": stack.user_project,
        "tags": stack.tags,
    })
}

/// An output with its value.
pub fn output(output: &StackOutput) -> Value {
    let mut shown = output_entry(output);
    shown["output_value"] = output.value.to_json();
    if let Some(error) = &output.error {
        shown["output_error"] = json!(error);
    }
    shown
}

/// An output without its value.
pub fn output_entry(output: &StackOutput) -> Value {
    let description = match output.description.as_str() {
        "" => "No description given",
        given => given,
    };
    json!({ "output_key": output.name, "description": description })
}

fn described(text: &str) -> &str {
    if text.is_empty() {
        "No description"
    } else {
        text
    }
}

/// A resource as lists give it. `nested`: where the stack inside is.
pub fn resource(stack_href: &str, resource: &Resource, nested: Option<String>) -> Value {
    let own = format!("{stack_href}/resources/{}", encode(&resource.name));
    let mut links = vec![link("self", own), link("stack", stack_href)];
    links.extend(nested.map(|href| link("nested", href)));
    let mut shown = json!({
        "resource_name": resource.name,
        "logical_resource_id": resource.name,
        "physical_resource_id": resource.physical_id,
        "resource_type": resource.type_name,
        "resource_status": format!("{}_{}", resource.action, resource.status),
        "resource_status_reason": resource.reason,
        "creation_time": reply::time(resource.created),
        "updated_time": reply::time(resource.updated),
        "required_by": resource.required_by,
        "links": links,
    });
    if let Some(parent) = &resource.parent_resource {
        shown["parent_resource"] = json!(parent);
    }
    shown
}

/// What `show` and `with_detail` add to a resource.
pub fn detail(shown: &mut Value, resource: &Resource) {
    shown["description"] = json!(resource.description);
    let attributes = resource.attributes.as_ref().map(hot::map_to_json);
    shown["attributes"] = attributes.unwrap_or_else(|| json!({}));
}
