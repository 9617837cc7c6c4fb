//! Finds what is wrong with a frame before anything is made.
//!
//! Everything that is known of resources is null here, as in Heat, and the values of nested frames
//! are not looked at: their parameters may come from resources that are not there yet.

use std::collections::HashSet;

use crate::edges;
use crate::error::{Kind, TemplateError};
use crate::expr::{Expr, Outcome, join};
use crate::facts::NoFacts;
use crate::frame::{DeletionPolicy, Frame, ResourceKind};
use crate::nested::shown_file;
use crate::properties::{self, Rules};
use crate::schema::PropertyKind;
use crate::types::{self, Nature, TypeSchema};
use crate::value::{Map, Value};
use crate::version::Version;

/// Validates a frame and all inside it.
pub(crate) fn validate(frame: &Frame) -> Outcome<()> {
    let body = &frame.inner.body;
    if let Some(error) = body
        .resources
        .values()
        .find_map(|parts| parts.unknown_type.clone())
    {
        return Err(error);
    }
    let parameters = &frame.inner.base.parameters;
    if let Some(name) = body.resources.keys().find(|name| parameters.defines(name)) {
        return Err(TemplateError::invalid(format!(
            "Duplicate names {{{}}}",
            Value::text(name).python_repr()
        ))
        .advise("a parameter and a resource may not share a name"));
    }
    check_attribute_names(frame)?;
    let edges = edges::edges(frame)?;
    let deployed = deployed_servers(frame)?;
    for name in edges::order(frame, &edges)? {
        Checker {
            frame,
            name: &name,
            deployed: &deployed,
        }
        .resource()?;
    }
    let words = frame.inner.base.version.words();
    let scope = frame.scope(&NoFacts);
    for (name, output) in body
        .outputs
        .iter()
        .filter(|(_, output)| output.output.enabled)
    {
        let path = join(&join(words.outputs, name), words.value);
        output.value.validate(&scope, &path)?;
    }
    Ok(())
}

/// Before 2015-10-15 an attribute had to be named: null is an error of its own there.
fn check_attribute_names(frame: &Frame) -> Outcome<()> {
    if frame.inner.base.version >= Version::Liberty {
        return Ok(());
    }
    let is_null = |item: &Expr| matches!(item, Expr::Value(Value::Null));
    let mut found = false;
    for output in frame.inner.body.outputs.values() {
        output.value.visit_calls(&mut |call| {
            let items = call.args.items().unwrap_or_default();
            found |= call.function.name == "get_attr" && items.get(1).is_some_and(is_null);
        });
    }
    if found {
        return Err(
            TemplateError::new(Kind::TypeError, "'NoneType' object is not subscriptable")
                .advise("name the attribute, or use version 2015-10-15 to get all attributes"),
        );
    }
    Ok(())
}

/// Servers that a deployment of this frame goes to.
fn deployed_servers(frame: &Frame) -> Outcome<HashSet<String>> {
    let scope = frame.scope(&NoFacts);
    let mut servers = HashSet::new();
    for parts in frame.inner.body.resources.values() {
        let deploys = parts.resource.schema().is_some_and(|schema| {
            schema.name.ends_with("Deployment") && schema.properties.contains_key("server")
        });
        if let Some(server) = parts.properties.get("server").filter(|_| deploys) {
            servers.extend(edges::references(&server, &scope, &parts.resource.name)?);
        }
    }
    Ok(servers)
}

struct Checker<'a> {
    frame: &'a Frame,
    name: &'a str,
    deployed: &'a HashSet<String>,
}

impl Checker<'_> {
    fn path(&self, section: &str) -> String {
        let words = self.frame.inner.base.version.words();
        join(&join(words.resources, self.name), section)
    }

    fn resource(&self) -> Outcome<()> {
        let parts = self.frame.parts(self.name)?;
        if parts.resource.external_id.is_some() {
            return Ok(());
        }
        let words = self.frame.inner.base.version.words();
        let scope = self.frame.scope(&NoFacts);
        parts
            .properties
            .validate(&scope, &self.path(words.properties))?;
        parts
            .metadata
            .validate(&scope, &self.path(words.metadata))?;
        self.deletion_policy(parts.resource.deletion_policy)?;
        self.update_policy()?;
        let converted = self.properties()?;
        match &parts.resource.kind {
            ResourceKind::Plugin(schema) => self.plugin(schema, &converted)?,
            ResourceKind::Nested(file) => self.facade(file)?,
        }
        self.members(&converted)
    }

    fn deletion_policy(&self, policy: DeletionPolicy) -> Outcome<()> {
        let schema = self
            .frame
            .resource(self.name)
            .and_then(|resource| resource.schema());
        if policy == DeletionPolicy::Snapshot && !schema.is_some_and(|schema| schema.snapshots) {
            let words = self.frame.inner.base.version.words();
            return Err(
                TemplateError::invalid("\"Snapshot\" deletion policy not supported")
                    .at("", self.path(words.deletion_policy)),
            );
        }
        Ok(())
    }

    fn update_policy(&self) -> Outcome<()> {
        let words = self.frame.inner.base.version.words();
        let parts = self.frame.parts(self.name)?;
        let scope = self.frame.scope(&NoFacts);
        let Value::Map(given) = parts.update_policy.resolve(&scope)? else {
            return Ok(());
        };
        let none = indexmap::IndexMap::new();
        let rows = parts
            .resource
            .schema()
            .map_or(&none, |schema| &schema.update_policy);
        properties::convert_map(&given, rows, self.rules())
            .map(|_| ())
            .map_err(|error| {
                let path = self.path(words.update_policy);
                let path = if error.path.is_empty() {
                    path
                } else {
                    join(&path, &error.path)
                };
                error.at("Property error", path)
            })
    }

    fn rules(&self) -> Rules {
        if self.frame.inner.lenient {
            Rules::Skip
        } else {
            Rules::Check
        }
    }

    /// Checks the properties; what comes from a resource is not held against the rules.
    fn properties(&self) -> Outcome<Map> {
        let parts = self.frame.parts(self.name)?;
        if parts.properties.is_call() {
            return Err(TemplateError::new(
                Kind::TypeError,
                "argument of type 'GetParam' is not iterable",
            )
            .advise("write the properties out; a function for the whole map is not possible"));
        }
        let scope = self.frame.scope(&NoFacts);
        let wrong = |error| self.frame.property_error(self.name, error);
        let schemas = self.frame.property_schemas(self.name)?;
        let mut given = Map::new();
        let mut unchecked = Vec::new();
        for key in parts.properties.keys().unwrap_or_default() {
            let Some(expr) = parts.properties.get(&key) else {
                continue;
            };
            if self.frame.inner.lenient && schemas.is_some() {
                // Values of a nested frame are not looked at, only the names of properties.
                if let Ok(Some(value)) = expr.resolve_or_drop(&scope) {
                    given.insert(key.clone(), value);
                } else if !is_dropped(&expr) {
                    given.insert(key.clone(), Value::Null);
                }
                continue;
            }
            match expr.resolve_or_drop(&scope) {
                Ok(Some(value)) => given.insert(key.clone(), value),
                Ok(None) => None,
                Err(error) if schemas.is_none() => return Err(error),
                Err(error) => {
                    let error = TemplateError { path: key, ..error };
                    return Err(wrong(TemplateError {
                        kind: Kind::StackValidationFailed,
                        ..error
                    }));
                }
            };
            if !edges::references(&expr, &scope, self.name)?.is_empty() {
                unchecked.push(key);
            }
        }
        let Some(schemas) = schemas else {
            return Ok(given);
        };
        let given = self.frame.renamed(self.name, &given)?;
        properties::check_names(given.keys().map(String::as_str), &schemas).map_err(wrong)?;
        let mut converted = Map::new();
        for (key, schema) in &schemas {
            let rules = if unchecked.contains(key) {
                Rules::Skip
            } else {
                self.rules()
            };
            match properties::convert_given(key, given.get(key), schema, rules) {
                Ok(Some(value)) => converted.insert(key.clone(), value),
                Ok(None) => None,
                Err(_) if self.frame.inner.lenient => None,
                Err(error) => return Err(wrong(error)),
            };
        }
        Ok(converted)
    }

    /// What only the plugin of a type knows.
    fn plugin(&self, schema: &TypeSchema, properties: &Map) -> Outcome<()> {
        match schema.name {
            "OS::Heat::RandomString" => random_string(properties),
            "OS::Heat::Value" if !self.frame.inner.lenient => self.value(properties),
            "OS::Nova::Server" => self.server(properties),
            _ => Ok(()),
        }
    }

    /// `OS::Heat::Value` checks its value against its type without converting it.
    fn value(&self, properties: &Map) -> Outcome<()> {
        let parts = self.frame.parts(self.name)?;
        let references = match parts.properties.get("value") {
            Some(expr) => edges::references(&expr, &self.frame.scope(&NoFacts), self.name)?,
            None => Vec::new(),
        };
        if !references.is_empty() {
            return Ok(());
        }
        check_value_type(properties).map_err(|error| self.frame.property_error(self.name, error))
    }

    /// A server that deployments go to must take them.
    fn server(&self, properties: &Map) -> Outcome<()> {
        let format = properties.get("user_data_format").and_then(Value::as_text);
        if format == Some("SOFTWARE_CONFIG") {
            return Ok(());
        }
        if !self.deployed.contains(self.name) {
            return Ok(());
        }
        Err(TemplateError::invalid(format!(
            "Resource {}'s property user_data_format should be set to SOFTWARE_CONFIG since there are software deployments on it.",
            self.name
        )))
    }

    /// A template that stands for a built-in type must offer what that type offers.
    fn facade(&self, file: &str) -> Outcome<()> {
        let Some(resource) = self.frame.resource(self.name) else {
            return Ok(());
        };
        let Some(facade) = types::get(&resource.type_name) else {
            return Ok(());
        };
        let template = self.frame.nested_template(file)?;
        let words = template.version()?.words();
        let outputs = template.section(words.outputs).and_then(Value::as_map);
        for attribute in facade.attributes.keys().filter(|name| *name != "show") {
            if !outputs.is_some_and(|outputs| outputs.contains_key(attribute)) {
                return Err(TemplateError::invalid(format!(
                    "Attribute {attribute} for facade {} missing in provider",
                    facade.name
                )));
            }
        }
        let provided = self.frame.nested_properties(file)?;
        for (name, property) in &facade.properties {
            if property.required && !provided.contains_key(name) {
                return Err(TemplateError::invalid(format!(
                    "Required property {name} for facade {} missing in provider",
                    facade.name
                )));
            }
        }
        for (name, property) in &provided {
            if property.required && !facade.properties.contains_key(name) {
                return Err(TemplateError::invalid(format!(
                    "Provider requires property {name} unknown in facade {}",
                    facade.name
                )));
            }
        }
        Ok(())
    }

    /// Looks into a nested template, or at one member of a group.
    fn members(&self, properties: &Map) -> Outcome<()> {
        let Some(resource) = self.frame.resource(self.name) else {
            return Ok(());
        };
        let words = self.frame.inner.base.version.words();
        let (shown, properties) = match &resource.kind {
            ResourceKind::Nested(file) => (shown_file(file).to_owned(), properties.clone()),
            ResourceKind::Plugin(schema) if schema.nature == Nature::Group => {
                let mut first = properties.clone();
                match first.get("count") {
                    Some(Value::Int(count)) if *count > 0 => {}
                    _ => return Ok(()),
                }
                first.insert("count".to_owned(), Value::Int(1));
                self.member_types(&first)?;
                (String::new(), first)
            }
            ResourceKind::Plugin(schema) if schema.nature == Nature::Chain => {
                self.chain_types(properties)?;
                (String::new(), properties.clone())
            }
            ResourceKind::Plugin(_) => return Ok(()),
        };
        let path = join(words.resources, &format!("{}<{shown}>", self.name));
        let below = |error: TemplateError| inside_error(error, &path);
        let member = self.frame.member_for_validation(self.name, &properties);
        match member {
            Ok(Some(frame)) => validate(&frame).map_err(below),
            Ok(None) => Ok(()),
            Err(error) if error.message.starts_with("Error parsing template") => Err(error),
            Err(error) => Err(below(error)),
        }
    }

    fn check_type(&self, kind: &Value) -> Outcome<()> {
        let registry = &self.frame.inner.base.input.environment.resource_registry;
        let registry = crate::registry::for_nested(registry, self.name);
        let name = match kind {
            Value::Null => "",
            other => other.as_text().unwrap_or_default(),
        };
        if name.is_empty() {
            return Err(TemplateError::invalid(format!(
                "Non-empty resource type is required for resource \"{}\"",
                kind.python_str()
            )));
        }
        crate::registry::resolve(&registry, name, "0", &self.frame.inner.inside).map(|_| ())
    }

    fn member_types(&self, properties: &Map) -> Outcome<()> {
        match properties
            .get("resource_def")
            .and_then(|definition| definition.get("type"))
        {
            Some(kind) if !self.frame.inner.lenient => self.check_type(kind),
            _ => Ok(()),
        }
    }

    fn chain_types(&self, properties: &Map) -> Outcome<()> {
        let types = properties
            .get("resources")
            .and_then(Value::as_list)
            .unwrap_or_default();
        types.iter().try_for_each(|kind| self.check_type(kind))
    }
}

fn is_dropped(expr: &Expr) -> bool {
    matches!(expr, Expr::Call(call) if call.dropped)
}

/// An error from inside a nested frame, under the path of the resource.
fn inside_error(error: TemplateError, path: &str) -> TemplateError {
    if error.kind == Kind::RecursionError {
        return error;
    }
    let cause = match error.kind {
        Kind::StackValidationFailed => error.cause.clone(),
        kind => kind.as_str().to_owned(),
    };
    let path = if error.path.is_empty() {
        path.to_owned()
    } else {
        join(path, &error.path)
    };
    // The span is one of another file.
    TemplateError {
        kind: Kind::StackValidationFailed,
        cause,
        path,
        span: None,
        ..error
    }
}

fn random_string(properties: &Map) -> Outcome<()> {
    let minimum = |key: &str| -> i64 {
        let items = properties
            .get(key)
            .and_then(Value::as_list)
            .unwrap_or_default();
        items
            .iter()
            .filter_map(|item| item.get("min").and_then(Value::as_int))
            .sum()
    };
    let length = properties
        .get("length")
        .and_then(Value::as_int)
        .unwrap_or(32);
    if length < minimum("character_classes") + minimum("character_sequences") {
        return Err(TemplateError::invalid(
            "Length property cannot be smaller than combined character class and character sequence minimums",
        ));
    }
    Ok(())
}

/// Checks the `value` of an `OS::Heat::Value` against its `type`.
pub(crate) fn check_value_type(properties: &Map) -> Outcome<()> {
    let kind = match properties.get("type").and_then(Value::as_text) {
        Some("string") => PropertyKind::String,
        Some("number") => PropertyKind::Number,
        Some("comma_delimited_list") => PropertyKind::List,
        Some("json") => PropertyKind::Map,
        Some("boolean") => PropertyKind::Boolean,
        _ => return Ok(()),
    };
    let schema = crate::schema::PropertySchema::new(kind);
    let value = properties.get("value").cloned().unwrap_or_default();
    properties::convert(&value, &schema, Rules::Check)
        .map(|_| ())
        .map_err(|error| TemplateError {
            path: "value".to_owned(),
            ..error
        })
}
