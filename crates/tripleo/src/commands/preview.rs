//! `tripleo stack preview`: what a creation or an update would do, and because of what. Changes nothing.

use changes::{Change, PropertyChange, StackChanges};
use serde_json::Value;

use super::stack::{StackArgs, identity, text};
use super::template_place::placed;
use crate::context::Context;

/// Prints what would happen to a stack.
pub async fn preview(context: &Context, args: &StackArgs) -> anyhow::Result<()> {
    let path = format!("stacks/{}", args.stack);
    let there = context.cloud().await?.find("orchestration", &path).await?;
    let changes = match there {
        // What is not there would be created by the same words.
        None if !args.existing => creation(context, args).await,
        None | Some(_) => update(context, args).await,
    };
    let changes = changes.map_err(|error| placed(error, args.template.as_deref()))?;
    context.output.data(&changes.to_string());
    Ok(())
}

/// Whether an update would change anything.
pub async fn would_change(context: &Context, args: &StackArgs) -> anyhow::Result<bool> {
    let changes = update(context, args).await?;
    let made = [&changes.added, &changes.replaced, &changes.deleted];
    Ok(made.iter().any(|list| !list.is_empty())
        || changes.updated.iter().any(|change| !is_nested(change)))
}

/// Heat always says that a nested stack is updated; what matters is what is in it.
fn is_nested(change: &Change) -> bool {
    let kind = &change.type_name;
    kind.ends_with(".yaml") || kind.ends_with(".template") || kind == "OS::Heat::ResourceGroup"
}

async fn creation(context: &Context, args: &StackArgs) -> anyhow::Result<StackChanges> {
    let body = args.body()?;
    let cloud = context.cloud().await?;
    let reply = cloud.post("orchestration", "stacks/preview", &body).await?;
    let mut changes = StackChanges::default();
    made(&reply["stack"]["resources"], &mut changes.added);
    Ok(changes)
}

async fn update(context: &Context, args: &StackArgs) -> anyhow::Result<StackChanges> {
    let body = args.body()?;
    let cloud = context.cloud().await?;
    let stack = identity(context, &args.stack).await?;
    let path = format!("{stack}/preview?show_nested=true");
    let reply = if args.existing {
        cloud.patch("orchestration", &path, &body).await?
    } else {
        cloud.put("orchestration", &path, &body).await?
    };
    let list = |kind: &str| -> Vec<Change> {
        let list = reply["resource_changes"][kind].as_array();
        list.into_iter().flatten().map(change).collect()
    };
    Ok(StackChanges {
        added: list("added"),
        updated: list("updated"),
        replaced: list("replaced"),
        deleted: list("deleted"),
        unchanged: list("unchanged"),
    })
}

/// The members of a nested stack stand for it, in a list of their own.
fn made(resources: &Value, found: &mut Vec<Change>) {
    for resource in resources.as_array().into_iter().flatten() {
        if resource.is_array() {
            made(resource, found);
        } else {
            found.push(change(resource));
        }
    }
}

/// One change as the API tells it. Heat itself tells neither the path nor what differs.
fn change(told: &Value) -> Change {
    let path: Vec<String> = match told["path"].as_array() {
        Some(path) => path.iter().map(text).collect(),
        None => vec![text(&told["resource_name"])],
    };
    let properties = told["property_changes"].as_object().into_iter().flatten();
    Change {
        path,
        type_name: short(&text(&told["resource_type"])),
        properties: properties
            .map(|(name, both)| PropertyChange {
                name: name.clone(),
                old: hot::Value::from_json(&both["old"]),
                new: Some(&both["new"])
                    .filter(|new| !new.is_null())
                    .map(hot::Value::from_json),
                replaces: both["replaces"] == true,
            })
            .collect(),
        because: Some(text(&told["because"])).filter(|why| !why.is_empty()),
    }
}

/// A nested template by its name alone, as it stands in the template: what was sent is its whole URL.
fn short(kind: &str) -> String {
    let file = kind
        .strip_prefix("file://")
        .and_then(|path| path.rsplit('/').next());
    file.unwrap_or(kind).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cloud_that_tells_only_names_is_understood() {
        let told = json!({"resource_name": "a", "resource_type": "file:///t/node.yaml"});
        let changes = StackChanges {
            updated: vec![change(&told)],
            ..StackChanges::default()
        };
        assert_eq!(
            changes.to_string(),
            "~ a (node.yaml)\n0 added, 1 updated, 0 replaced, 0 deleted, 0 unchanged"
        );
    }

    #[test]
    fn the_members_of_nested_stacks_are_told() {
        let member = |name: &str| json!({"resource_name": name, "resource_type": "OS::Heat::None"});
        let mut found = Vec::new();
        made(
            &json!([member("a"), [member("b"), [member("c")]]]),
            &mut found,
        );
        let names: Vec<String> = found
            .into_iter()
            .map(|change| change.path.join("/"))
            .collect();
        assert_eq!(names, ["a", "b", "c"]);
    }
}
