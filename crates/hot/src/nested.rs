//! What is inside a nested template, a group or a chain: another frame.

use indexmap::IndexMap;
use sha1::{Digest, Sha1};

use crate::environment::Environment;
use crate::error::{Kind, TemplateError};
use crate::expr::Outcome;
use crate::frame::{Frame, Place, ResourceKind, StackInput};
use crate::params::ParameterKind;
use crate::registry;
use crate::schema::{PropertyKind, PropertySchema};
use crate::scope::Parent;
use crate::template::Template;
use crate::types::{Nature, TypeSchema};
use crate::value::{Map, Value};

/// How the members of a group are counted.
#[derive(Debug, Clone)]
pub(crate) struct Members {
    pub nature: Nature,
    /// Names that are never used again.
    pub removed: Vec<String>,
}

/// What is recorded of a group from before: a group numbers its members by it.
#[derive(Debug, Clone, Default)]
pub struct GroupRecord {
    /// Whether the group exists.
    pub exists: bool,
    /// Names that were removed and are never used again.
    pub removed: Vec<String>,
    /// Members by name with what `get_resource` gives for them.
    pub members: IndexMap<String, String>,
}

/// Twelve characters made from an id: the end of physical names.
pub fn short_id(id: &str) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let digest = Sha1::digest(id.as_bytes());
    digest
        .iter()
        .take(12)
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
        .collect()
}

/// The name of the physical thing behind a resource: `stack-resource-abcdefghijkl`.
pub fn physical_name(stack: &str, resource: &str, id: &str) -> String {
    format!("{stack}-{resource}-{}", short_id(id))
}

/// The last part of a file's name, as messages show it.
pub(crate) fn shown_file(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

impl Frame {
    /// The template behind the name of a file.
    pub(crate) fn nested_template(&self, file: &str) -> Outcome<Template> {
        let files = &self.inner.base.input.files;
        match files.template(file) {
            Some(template) => template.map_err(|error| {
                TemplateError::invalid(format!(
                    "Error parsing template {} {}",
                    shown_file(file),
                    error.message
                ))
            }),
            None => Err(TemplateError::invalid(format!(
                "Could not fetch remote template \"{file}\": Invalid URL scheme "
            ))
            .advise("name the file in `resource_registry`, so that the client sends it")),
        }
    }

    /// The parameters of a nested template as properties of the resource.
    pub(crate) fn nested_properties(
        &self,
        file: &str,
    ) -> Outcome<IndexMap<String, PropertySchema>> {
        let template = self.nested_template(file)?;
        let defaults = &self.inner.base.input.environment.parameter_defaults;
        let schemas = template.parameter_schemas(defaults)?;
        let as_property = |(name, schema): (String, crate::params::ParameterSchema)| {
            let kind = match schema.kind {
                ParameterKind::String => PropertyKind::String,
                ParameterKind::Number => PropertyKind::Number,
                ParameterKind::CommaDelimitedList => PropertyKind::List,
                ParameterKind::Json => PropertyKind::Map,
                ParameterKind::Boolean => PropertyKind::Boolean,
            };
            let mut property = PropertySchema::new(kind).updatable();
            property.allow_conversion = matches!(kind, PropertyKind::Map | PropertyKind::List);
            property.required = schema.default.is_none();
            property.constraints = schema.constraints;
            property.description = schema
                .description
                .as_ref()
                .map(Value::python_str)
                .unwrap_or_default();
            (name, property)
        };
        Ok(schemas.into_iter().map(as_property).collect())
    }

    /// The frame inside a nested template, group or chain; none for all other resources.
    ///
    /// `properties` are those of [`Frame::properties`]; `id` becomes the id of the nested stack.
    pub fn member(
        &self,
        name: &str,
        id: &str,
        properties: &Map,
    ) -> Result<Option<Frame>, TemplateError> {
        self.member_after(name, id, properties, &GroupRecord::default())
    }

    /// The same for a group that may be there already.
    pub fn member_after(
        &self,
        name: &str,
        id: &str,
        properties: &Map,
        record: &GroupRecord,
    ) -> Result<Option<Frame>, TemplateError> {
        let Some((input, mut place)) = self.inside(name, id, properties, record)? else {
            return Ok(None);
        };
        place.parent = Some(self.parent_of(name)?);
        Frame::open_at(&input, place)
            .map(Some)
            .map_err(|error| input.template.placed(error))
    }

    fn parent_of(&self, name: &str) -> Outcome<Parent> {
        let scope = self.scope(&crate::facts::NoFacts);
        let parts = self.parts(name)?;
        Ok(Parent {
            metadata: parts.metadata.resolve(&scope)?,
            deletion_policy: parts.resource.deletion_policy,
            update_policy: parts.update_policy.resolve(&scope)?,
        })
    }

    /// A frame inside that is looked at only: values are not checked, one member stands for all.
    pub(crate) fn member_for_validation(
        &self,
        name: &str,
        properties: &Map,
    ) -> Outcome<Option<Frame>> {
        let record = GroupRecord::default();
        let Some((input, mut place)) = self.inside(name, "", properties, &record)? else {
            return Ok(None);
        };
        place.parent = Some(self.parent_of(name)?);
        place.lenient = true;
        Frame::open_at(&input, place).map(Some)
    }

    fn inside(
        &self,
        name: &str,
        id: &str,
        properties: &Map,
        record: &GroupRecord,
    ) -> Outcome<Option<(StackInput, Place)>> {
        let parts = self.parts(name)?;
        if let Some(error) = &parts.unknown_type {
            return Err(error.clone());
        }
        let mut place = Place {
            inside: self.inner.inside.clone(),
            ..Place::default()
        };
        let (template, parameters) = match &parts.resource.kind {
            ResourceKind::Nested(file) => {
                place.inside.push(file.clone());
                (self.nested_template(file)?, child_parameters(properties)?)
            }
            ResourceKind::Plugin(schema) => {
                let Some((resources, removed)) = group_members(schema, properties, record) else {
                    return Ok(None);
                };
                place.members = Some(Members {
                    nature: schema.nature,
                    removed,
                });
                (group_template(resources), Map::new())
            }
        };
        let outer = &self.inner.base.input;
        let environment = Environment {
            parameters,
            resource_registry: registry::for_nested(&outer.environment.resource_registry, name),
            ..outer.environment.clone()
        };
        let input = StackInput {
            name: physical_name(&outer.name, name, id),
            id: id.to_owned(),
            project: outer.project.clone(),
            region: outer.region.clone(),
            template,
            files: outer.files.clone(),
            environment,
        };
        Ok(Some((input, place)))
    }

    /// Names that a group never uses again; kept by whoever keeps the group.
    pub fn removed_members(&self) -> &[String] {
        self.inner
            .members
            .as_ref()
            .map_or(&[], |members| members.removed.as_slice())
    }
}

/// What a nested template gets: lists become text, because that is how its parameters take them.
fn child_parameters(properties: &Map) -> Outcome<Map> {
    let mut parameters = Map::new();
    for (name, value) in properties {
        let value = match value {
            Value::List(items) => Value::Text(list_text(items)?),
            other => other.clone(),
        };
        parameters.insert(name.clone(), value);
    }
    Ok(parameters)
}

fn list_text(items: &[Value]) -> Outcome<String> {
    let mut texts = Vec::with_capacity(items.len());
    if matches!(items.first(), Some(Value::Map(_))) {
        for (at, item) in items.iter().enumerate() {
            for (key, value) in item.as_map().into_iter().flatten() {
                texts.push(format!(".member.{at}.{key}={}", value.python_str()));
            }
        }
        return Ok(texts.join(","));
    }
    for (at, item) in items.iter().enumerate() {
        match item {
            Value::Null => texts.push(String::new()),
            Value::Text(text) => texts.push(text.clone()),
            other => {
                return Err(TemplateError::new(
                    Kind::TypeError,
                    format!(
                        "sequence item {at}: expected str instance, {} found",
                        other.python_type()
                    ),
                )
                .advise("items of a list for a nested template are text"));
            }
        }
    }
    Ok(texts.join(","))
}

/// A template that holds the members of a group.
fn group_template(resources: Map) -> Template {
    Template::from_value(Value::Map(Map::from_iter([
        (
            "heat_template_version".to_owned(),
            Value::text("2015-04-30"),
        ),
        ("resources".to_owned(), Value::Map(resources)),
    ])))
}

/// The definitions of a group's members and the names that are never used again.
fn group_members(
    schema: &TypeSchema,
    properties: &Map,
    record: &GroupRecord,
) -> Option<(Map, Vec<String>)> {
    match schema.nature {
        Nature::Single | Nature::Nothing => None,
        Nature::Group => Some(numbered(properties, record)),
        Nature::Chain => Some((chained(properties), Vec::new())),
        Nature::DeploymentGroup => Some((deployments(schema.name, properties), Vec::new())),
    }
}

/// Names that must not be used: recorded ones and those that `removal_policies` name.
fn removed_names(properties: &Map, record: &GroupRecord) -> Vec<String> {
    let update = properties
        .get("removal_policies_mode")
        .and_then(Value::as_text)
        == Some("update");
    let mut removed = if update {
        Vec::new()
    } else {
        record.removed.clone()
    };
    let policies = properties
        .get("removal_policies")
        .and_then(Value::as_list)
        .unwrap_or_default();
    for policy in policies {
        let listed = policy
            .get("resource_list")
            .and_then(Value::as_list)
            .unwrap_or_default();
        for item in listed {
            let item_name = item.python_str();
            let known = !record.exists
                || record.members.contains_key(&item_name)
                || record.removed.contains(&item_name);
            let by_reference = || {
                let mut members = record.members.iter();
                members
                    .find(|(_, id)| **id == item_name)
                    .map(|(name, _)| name.clone())
            };
            let name = if known {
                Some(item_name.clone())
            } else {
                by_reference()
            };
            removed.extend(name.filter(|name| !removed.contains(name)));
        }
    }
    removed.sort_unstable();
    removed
}

fn numbered(properties: &Map, record: &GroupRecord) -> (Map, Vec<String>) {
    let removed = removed_names(properties, record);
    let count = match properties.get("count") {
        Some(Value::Int(count)) => usize::try_from(*count).unwrap_or(0),
        _ => 1,
    };
    let variable = properties
        .get("index_var")
        .and_then(Value::as_text)
        .unwrap_or("%index%");
    let definition = properties.get("resource_def").and_then(Value::as_map);
    let names = (0..)
        .map(|at: usize| at.to_string())
        .filter(|name| !removed.contains(name));
    let member = |name: String| {
        let mut member = Map::new();
        for (key, value) in definition.into_iter().flatten() {
            let value = match (key.as_str(), value) {
                ("type", value) => value.clone(),
                ("properties", Value::Map(given)) => Value::Map(
                    given
                        .iter()
                        .filter(|(_, value)| !value.is_null())
                        .map(|(key, value)| (key.clone(), put_name(value, variable, &name)))
                        .collect(),
                ),
                (_, value) => put_name(value, variable, &name),
            };
            member.insert(key.clone(), value);
        }
        (name, Value::Map(member))
    };
    let members = names.take(count).map(member).collect();
    (members, removed)
}

/// Puts a member's name in place of the index variable, in values only.
fn put_name(value: &Value, variable: &str, name: &str) -> Value {
    match value {
        Value::Text(text) => Value::Text(text.replace(variable, name)),
        Value::List(items) => Value::List(
            items
                .iter()
                .map(|item| put_name(item, variable, name))
                .collect(),
        ),
        Value::Map(map) => Value::Map(
            map.iter()
                .map(|(key, item)| (key.clone(), put_name(item, variable, name)))
                .collect(),
        ),
        other => other.clone(),
    }
}

fn chained(properties: &Map) -> Map {
    let types = properties
        .get("resources")
        .and_then(Value::as_list)
        .unwrap_or_default();
    let concurrent = properties
        .get("concurrent")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let given = properties
        .get("resource_properties")
        .cloned()
        .unwrap_or_default();
    let mut members = Map::new();
    for (at, kind) in types.iter().enumerate() {
        let mut member = Map::new();
        member.insert("type".to_owned(), kind.clone());
        if given.as_map().is_some() {
            member.insert("properties".to_owned(), given.clone());
        }
        if at > 0 && !concurrent {
            member.insert("depends_on".to_owned(), Value::Text((at - 1).to_string()));
        }
        members.insert(at.to_string(), Value::Map(member));
    }
    members
}

fn deployments(type_name: &str, properties: &Map) -> Map {
    let kind = if type_name.contains("Structured") {
        "OS::Heat::StructuredDeployment"
    } else {
        "OS::Heat::SoftwareDeployment"
    };
    let servers = properties.get("servers").and_then(Value::as_map);
    let mut members = Map::new();
    for (name, server) in servers.into_iter().flatten() {
        let mut given = properties.clone();
        given.shift_remove("servers");
        given.insert("server".to_owned(), server.clone());
        members.insert(
            name.clone(),
            Value::Map(Map::from_iter([
                ("type".to_owned(), Value::text(kind)),
                ("properties".to_owned(), Value::Map(given)),
            ])),
        );
    }
    members
}
