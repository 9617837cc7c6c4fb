//! Attributes of resources: what a plugin knows, outputs of nested templates, lists over groups.

use crate::body::Body;
use crate::error::{Kind, TemplateError, nearest};
use crate::expr::Outcome;
use crate::facts::Member;
use crate::frame::ResourceKind;
use crate::functions::select_path;
use crate::scope::Scope;
use crate::types::Nature;
use crate::value::{Map, Value};

fn wrong_attribute(resource: &str, key: &str) -> TemplateError {
    TemplateError::new(
        Kind::InvalidTemplateAttribute,
        format!("The Referenced Attribute ({resource} {key}) is incorrect."),
    )
}

impl Body {
    /// Refuses an attribute that the type of a resource does not have.
    pub fn check_attribute(&self, resource: &str, attribute: &str) -> Outcome<()> {
        let Some(parts) = self.resources.get(resource) else {
            return Ok(());
        };
        let ResourceKind::Plugin(schema) = &parts.resource.kind else {
            return Ok(());
        };
        if schema.takes_any_attribute() || schema.attributes.contains_key(attribute) {
            return Ok(());
        }
        let mut error = wrong_attribute(resource, attribute);
        error.advice = nearest(attribute, schema.attributes.keys().map(String::as_str))
            .map(|near| format!("did you mean `{near}`?").into_boxed_str());
        Err(error)
    }

    /// The attributes that a resource of this type has.
    pub fn attribute_names(&self, resource: &str) -> Vec<String> {
        let Some(parts) = self.resources.get(resource) else {
            return Vec::new();
        };
        match &parts.resource.kind {
            ResourceKind::Plugin(schema) => schema.attributes.keys().cloned().collect(),
            ResourceKind::Nested(_) => self
                .child_outputs
                .get(resource)
                .cloned()
                .unwrap_or_default(),
        }
    }

    /// The value of an attribute, its path followed.
    pub fn attribute(
        &self,
        scope: &Scope<'_>,
        resource: &str,
        attribute: &str,
        path: &[Value],
    ) -> Outcome<Value> {
        let Some(parts) = self.resources.get(resource) else {
            return Ok(Value::Null);
        };
        if let ResourceKind::Plugin(schema) = &parts.resource.kind
            && schema.nature == Nature::Nothing
        {
            return Ok(Value::Null);
        }
        if let Some(member) = scope.facts.member(resource) {
            return of_members(&member, resource, attribute, path);
        }
        let value = scope
            .facts
            .attribute(resource, attribute)?
            .unwrap_or_default();
        Ok(select_path(value, path))
    }
}

fn of_members(
    member: &Member<'_>,
    resource: &str,
    attribute: &str,
    path: &[Value],
) -> Outcome<Value> {
    if let Some(rest) = attribute.strip_prefix("resource.") {
        return of_one(member, resource, rest, path);
    }
    match &member.frame.inner.members {
        None => of_nested(member, resource, attribute, path),
        Some(members) if members.nature == Nature::DeploymentGroup => {
            of_deployments(member, resource, attribute, path)
        }
        Some(members) => match attribute {
            "removed_rsrc_list" => {
                let names = members.removed.iter().map(Value::text).collect();
                Ok(select_path(Value::List(names), path))
            }
            _ => of_group(member, resource, attribute, path),
        },
    }
}

/// `resource.NAME` or `resource.NAME.ATTRIBUTE`, reaching into a nested frame.
fn of_one(member: &Member<'_>, resource: &str, rest: &str, path: &[Value]) -> Outcome<Value> {
    let (name, dotted) = match rest.split_once('.') {
        Some((name, attribute)) => (name, Some(Value::text(attribute))),
        None => (rest, None),
    };
    let scope = member.frame.scope(member.facts);
    if !scope.has_resource(name) {
        return Err(TemplateError::new(
            Kind::NotFound,
            format!("Member '{name}' not found in group resource '{resource}'."),
        ));
    }
    let steps: Vec<Value> = dotted.into_iter().chain(path.iter().cloned()).collect();
    match steps.split_first() {
        None => scope.reference(&Value::text(name)),
        Some((attribute, path)) => scope.attribute(name, attribute, path),
    }
}

/// An output of a nested template.
fn of_nested(
    member: &Member<'_>,
    resource: &str,
    attribute: &str,
    path: &[Value],
) -> Outcome<Value> {
    if !member.frame.inner.body.outputs.contains_key(attribute) {
        let mut key = attribute.to_owned();
        if !path.is_empty() {
            let steps = std::iter::once(Value::text(attribute)).chain(path.iter().cloned());
            let spelled: Vec<String> = steps.map(|step| step.python_repr()).collect();
            key = format!("({})", spelled.join(", "));
        }
        let mut error = wrong_attribute(resource, &key);
        let outputs = member.frame.inner.body.outputs.keys();
        error.advice = nearest(attribute, outputs.map(String::as_str))
            .map(|near| format!("did you mean `{near}`?").into_boxed_str());
        return Err(error);
    }
    Ok(select_path(
        member.frame.output(attribute, member.facts)?,
        path,
    ))
}

/// One attribute of every member.
fn of_group(
    member: &Member<'_>,
    resource: &str,
    attribute: &str,
    path: &[Value],
) -> Outcome<Value> {
    let scope = member.frame.scope(member.facts);
    let names: Vec<&str> = member
        .frame
        .resources()
        .map(|resource| resource.name.as_str())
        .collect();
    let reference = |name: &&str| scope.reference(&Value::text(*name));
    match attribute {
        "refs" => {
            let refs: Outcome<Vec<_>> = names.iter().map(reference).collect();
            Ok(select_path(Value::List(refs?), path))
        }
        "refs_map" => {
            let mut map = Map::new();
            for name in &names {
                map.insert((*name).to_owned(), reference(name)?);
            }
            Ok(select_path(Value::Map(map), path))
        }
        "attributes" => {
            let Some((asked, path)) = path.split_first() else {
                return Err(wrong_attribute(resource, "attributes"));
            };
            let mut map = Map::new();
            for name in &names {
                map.insert((*name).to_owned(), scope.attribute(name, asked, path)?);
            }
            Ok(Value::Map(map))
        }
        _ => {
            let asked = Value::text(attribute);
            let values: Outcome<Vec<_>> = names
                .iter()
                .map(|name| scope.attribute(name, &asked, path))
                .collect();
            values.map(Value::List)
        }
    }
}

/// `deploy_stdouts` and the like: the same attribute of every deployment, by the server's name.
fn of_deployments(
    member: &Member<'_>,
    resource: &str,
    attribute: &str,
    path: &[Value],
) -> Outcome<Value> {
    let asked = match attribute {
        "deploy_stdouts" => "deploy_stdout",
        "deploy_stderrs" => "deploy_stderr",
        "deploy_status_codes" => "deploy_status_code",
        "refs" | "refs_map" | "attributes" => return of_group(member, resource, attribute, path),
        other => other,
    };
    let scope = member.frame.scope(member.facts);
    let mut map = Map::new();
    for member in member.frame.resources() {
        let value = scope.attribute(&member.name, &Value::text(asked), &[])?;
        map.insert(member.name.clone(), value);
    }
    Ok(select_path(Value::Map(map), path))
}
