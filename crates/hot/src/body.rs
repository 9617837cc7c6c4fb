//! Reads the resources and outputs of a template.
//!
//! Definitions are parsed once per frame: the branch that an `if` takes depends on parameters.

use indexmap::IndexMap;

use crate::error::{TemplateError, nearest};
use crate::expr::{Expr, Outcome, Parser, join};
use crate::frame::{DeletionPolicy, Output, Resource, ResourceKind};
use crate::functions::decide;
use crate::registry;
use crate::scope::Scope;
use crate::value::{Map, Value};
use crate::version::{Version, Words};

/// A resource with its parsed parts.
#[derive(Debug)]
pub(crate) struct ResourceParts {
    pub resource: Resource,
    pub properties: Expr,
    pub metadata: Expr,
    pub update_policy: Expr,
    pub depends_on: Vec<String>,
    /// The type could not be found; said when the resource is looked at.
    pub unknown_type: Option<TemplateError>,
}

/// An output with its parsed value.
#[derive(Debug)]
pub(crate) struct OutputParts {
    pub output: Output,
    pub value: Expr,
}

/// Resources and outputs of a frame.
#[derive(Debug, Default)]
pub(crate) struct Body {
    /// Enabled resources.
    pub resources: IndexMap<String, ResourceParts>,
    /// Names of resources whose condition is false.
    pub disabled: Vec<String>,
    pub outputs: IndexMap<String, OutputParts>,
    /// What a nested template is the inside of, to find attributes of its resources.
    pub child_outputs: IndexMap<String, Vec<String>>,
}

struct Reader<'a> {
    parser: Parser<'a>,
    words: &'static Words,
    version: Version,
    inside: &'a [String],
}

/// Parses all resources and outputs.
pub(crate) fn read(
    scope: &Scope<'_>,
    resources: Option<&Value>,
    outputs: Option<&Value>,
    inside: &[String],
) -> Outcome<Body> {
    let version = scope.base.version;
    let parser = Parser {
        version,
        in_condition: false,
        scope,
    };
    let reader = Reader {
        parser,
        words: version.words(),
        version,
        inside,
    };
    let mut body = Body::default();
    reader.resources(resources, &mut body)?;
    reader.outputs(outputs, &mut body)?;
    Ok(body)
}

impl Reader<'_> {
    fn resources(&self, section: Option<&Value>, body: &mut Body) -> Outcome<()> {
        let map = match section {
            None => return Ok(()),
            Some(Value::Map(map)) => map,
            Some(other) => {
                return Err(TemplateError::invalid(format!(
                    "\"{}\" must contain a map of resource maps. Found a [<class '{}'>] instead",
                    self.words.resources,
                    other.python_type()
                )));
            }
        };
        let mut parsed = Vec::with_capacity(map.len());
        for (name, definition) in map {
            parsed.push((name, self.definition(name, definition)?));
        }
        for (name, definition) in parsed {
            if !self.enabled(name, definition.get(self.words.condition))? {
                body.disabled.push(name.clone());
                continue;
            }
            let parts = self.resource(name, &definition)?;
            body.resources.insert(name.clone(), parts);
        }
        Ok(())
    }

    /// Parses every part of a definition, those of disabled resources too.
    fn definition(&self, name: &str, definition: &Value) -> Outcome<IndexMap<String, Expr>> {
        let Value::Map(map) = definition else {
            return Err(TemplateError::invalid(format!(
                "\"{}\" must contain a map of resource maps. Found a [<class '{}'>] instead",
                self.words.resources,
                definition.python_type()
            )));
        };
        if !self.version.is_cfn() {
            let cfn = [
                "Type",
                "Properties",
                "Metadata",
                "DependsOn",
                "DeletionPolicy",
                "UpdatePolicy",
                "Description",
            ];
            if let Some(key) = map.keys().find(|key| cfn.contains(&key.as_str())) {
                return Err(TemplateError::invalid(format!(
                    "\"{key}\" is not a valid keyword inside a resource definition"
                ))
                .advise("HOT writes it in lower case"));
            }
        }
        if !map.contains_key(self.words.kind) {
            return Err(TemplateError::invalid(format!(
                "Each resource must contain a {} key.",
                self.words.kind
            ))
            .advise(format!("look at the resource `{name}`")));
        }
        self.check_keys(map)?;
        let path = join(self.words.resources, name);
        let mut parts = IndexMap::new();
        for (key, value) in map {
            let part = if key == self.words.condition {
                self.condition(value, &join(&path, key))?
            } else {
                self.parser.parse(value, &join(&path, key))?
            };
            parts.insert(key.clone(), part);
        }
        self.check_types(name, &parts)?;
        Ok(parts)
    }

    fn condition(&self, value: &Value, path: &str) -> Outcome<Expr> {
        let parser = Parser {
            in_condition: true,
            ..self.parser
        };
        parser.parse(value, path)
    }

    fn check_keys(&self, map: &Map) -> Outcome<()> {
        // CFN ignores what it does not know.
        if self.version.is_cfn() {
            return Ok(());
        }
        let mut known = vec![
            "type",
            "properties",
            "metadata",
            "depends_on",
            "deletion_policy",
            "update_policy",
            "description",
        ];
        if self.version >= Version::Newton {
            known.extend(["external_id", "condition"]);
        }
        let unknown: Vec<&str> = map
            .keys()
            .map(String::as_str)
            .filter(|key| !known.contains(key))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let mut error = TemplateError::invalid(format!(
            "Invalid keyword(s) inside a resource definition: {}",
            unknown.join(", ")
        ));
        error.advice = nearest(unknown[0], known)
            .map(|near| format!("did you mean `{near}`?").into_boxed_str());
        Err(error)
    }

    fn check_types(&self, name: &str, parts: &IndexMap<String, Expr>) -> Outcome<()> {
        let words = self.words;
        let is_text = |part: &Expr| matches!(part, Expr::Value(Value::Text(_)));
        let is_map = |part: &Expr| part.keys().is_some() || part.is_call();
        type Test<'a> = &'a dyn Fn(&Expr) -> bool;
        let text_or_call = |part: &Expr| is_text(part) || part.is_call();
        let condition = |part: &Expr| {
            is_text(part) || part.is_call() || matches!(part, Expr::Value(Value::Bool(_)))
        };
        let requires = |part: &Expr| is_text(part) || part.items().is_some();
        let rows: [(&str, Test<'_>, &str); 9] = [
            (words.kind, &is_text, "string"),
            (words.properties, &is_map, "object"),
            (words.metadata, &is_map, "object"),
            (words.depends_on, &requires, "list or string"),
            (words.deletion_policy, &text_or_call, "string"),
            (words.update_policy, &is_map, "object"),
            (words.description, &is_text, "string"),
            ("external_id", &text_or_call, "string"),
            (words.condition, &condition, "string_or_boolean"),
        ];
        for (key, test, expected) in rows {
            if parts.get(key).is_some_and(|part| !test(part)) {
                return Err(TemplateError::invalid(format!(
                    "Resource {name} {key} type must be {expected}"
                )));
            }
        }
        if let Some(items) = parts.get(words.depends_on).and_then(Expr::items)
            && !items.iter().all(is_text)
        {
            return Err(TemplateError::invalid(format!(
                "Resource {name} {} must be a list of strings",
                words.depends_on
            )));
        }
        Ok(())
    }

    fn enabled(&self, name: &str, condition: Option<&Expr>) -> Outcome<bool> {
        let Some(condition) = condition else {
            return Ok(true);
        };
        self.decide(condition).map_err(|error| {
            let path = join(&join(self.words.resources, name), self.words.condition);
            if error.path.is_empty() && error.cause.is_empty() {
                TemplateError::invalid(error.message).at("", path)
            } else {
                error
            }
        })
    }

    fn decide(&self, condition: &Expr) -> Outcome<bool> {
        decide(&condition.resolve(self.parser.scope)?, self.parser.scope)
    }

    fn resource(&self, name: &str, parts: &IndexMap<String, Expr>) -> Outcome<ResourceParts> {
        let words = self.words;
        let text = |key: &str| {
            parts
                .get(key)
                .and_then(Expr::as_value)
                .map(Value::python_str)
        };
        let type_name = text(words.kind).unwrap_or_default();
        if type_name.is_empty() {
            return Err(TemplateError::invalid(
                "Each Resource must contain a Type key.",
            ));
        }
        let registry = &self.parser.scope.base.input.environment.resource_registry;
        let (kind, unknown_type) = match registry::resolve(registry, &type_name, name, self.inside)
        {
            Ok(kind) => (kind, None),
            Err(error) => (ResourceKind::Nested(type_name.clone()), Some(error)),
        };
        let external_id = match parts.get("external_id") {
            Some(id) => Some(self.external_id(id)?),
            None => None,
        };
        let deletion_policy = match parts.get(words.deletion_policy) {
            _ if external_id.is_some() => DeletionPolicy::Retain,
            None => DeletionPolicy::Delete,
            Some(policy) => self.deletion_policy(&policy.resolve(self.parser.scope)?)?,
        };
        let empty = || Expr::Value(Value::Map(Map::new()));
        let part = |key: &str| parts.get(key).cloned().unwrap_or_else(empty);
        let depends_on = match parts.get(words.depends_on) {
            Some(Expr::Value(Value::Text(name))) => vec![name.clone()],
            Some(list) => list
                .items()
                .unwrap_or_default()
                .iter()
                .filter_map(|item| item.as_value().map(Value::python_str))
                .collect(),
            None => Vec::new(),
        };
        Ok(ResourceParts {
            resource: Resource {
                name: name.to_owned(),
                type_name,
                kind,
                deletion_policy,
                description: text(words.description).unwrap_or_default(),
                external_id,
            },
            properties: part(words.properties),
            metadata: part(words.metadata),
            update_policy: part(words.update_policy),
            depends_on,
            unknown_type,
        })
    }

    /// An id may come from another resource; no edge follows from it, so its name stands in.
    fn external_id(&self, id: &Expr) -> Outcome<String> {
        match id {
            Expr::Call(call) if matches!(call.function.name, "get_resource" | "Ref") => {
                Ok(call.args.resolve(self.parser.scope)?.python_str())
            }
            _ => Ok(id.resolve(self.parser.scope)?.python_str()),
        }
    }

    fn deletion_policy(&self, policy: &Value) -> Outcome<DeletionPolicy> {
        let word = policy.python_str();
        let lower = self.version >= Version::Newton;
        match word.as_str() {
            "Delete" => Ok(DeletionPolicy::Delete),
            "Retain" => Ok(DeletionPolicy::Retain),
            "Snapshot" => Ok(DeletionPolicy::Snapshot),
            "delete" if lower => Ok(DeletionPolicy::Delete),
            "retain" if lower => Ok(DeletionPolicy::Retain),
            "snapshot" if lower => Ok(DeletionPolicy::Snapshot),
            _ => Err(TemplateError::invalid(format!(
                "Invalid deletion policy \"{word}\""
            ))),
        }
    }

    fn outputs(&self, section: Option<&Value>, body: &mut Body) -> Outcome<()> {
        let map = match section {
            None => return Ok(()),
            Some(Value::Map(map)) => map,
            Some(other) => {
                return Err(TemplateError::new(
                    crate::Kind::AttributeError,
                    format!("'{}' object has no attribute 'items'", other.python_type()),
                )
                .advise(format!("`{}` is a map", self.words.outputs)));
            }
        };
        for (name, definition) in map {
            let path = join(self.words.outputs, name);
            let wrong = |message: String| {
                TemplateError::invalid(message).at("Output validation error", &path)
            };
            let Value::Map(definition) = definition else {
                return Err(wrong(format!(
                    "Output definitions must be a map. Found a {} instead",
                    definition.python_type()
                )));
            };
            let Some(value) = definition.get(self.words.value) else {
                return Err(wrong(format!(
                    "Each output definition must contain a {} key.",
                    self.words.value
                )));
            };
            let enabled = self.output_enabled(definition, &path)?;
            let value = self.parser.parse(value, &join(&path, self.words.value))?;
            let description = definition
                .get(self.words.description)
                .filter(|text| !text.is_null())
                .map(Value::python_str);
            let output = Output {
                name: name.clone(),
                description,
                enabled,
            };
            body.outputs
                .insert(name.clone(), OutputParts { output, value });
        }
        Ok(())
    }

    fn output_enabled(&self, definition: &Map, path: &str) -> Outcome<bool> {
        let Some(condition) = definition.get(self.words.condition) else {
            return Ok(true);
        };
        if !self.version.has_conditions() {
            return Ok(true);
        }
        let at = join(path, self.words.condition);
        let condition = self.condition(condition, &at)?;
        self.decide(&condition).map_err(|error| {
            if error.path.is_empty() && error.cause.is_empty() {
                TemplateError::invalid(error.message).at("", at)
            } else {
                error
            }
        })
    }
}
