//! Rows as the API shows them: schemas as JSON, and a template made for a type.

use serde_json::{Map as Object, Value as Json, json};

use super::TypeSchema;
use crate::schema::{Constraint, PropertyKind, PropertySchema, Rule};
use crate::value::{Map, Value};

fn constraint(constraint: &Constraint) -> Json {
    let bounds = |min: Option<Json>, max: Option<Json>| {
        let mut object = Object::new();
        for (key, bound) in [("min", min), ("max", max)] {
            if let Some(bound) = bound {
                object.insert(key.to_owned(), bound);
            }
        }
        Json::Object(object)
    };
    let whole = |bound: Option<f64>| bound.map(|bound| json!(bound as i64));
    let mut object = Object::new();
    let (key, value) = match &constraint.rule {
        Rule::Length { min, max } => ("length", bounds(whole(*min), whole(*max))),
        Rule::Range { min, max } => (
            "range",
            bounds(
                min.as_ref().map(Value::to_json),
                max.as_ref().map(Value::to_json),
            ),
        ),
        Rule::Modulo { step, offset } => ("modulo", json!({ "step": step, "offset": offset })),
        Rule::AllowedValues(values) => ("allowed_values", Value::List(values.clone()).to_json()),
        Rule::AllowedPattern(pattern) => ("allowed_pattern", json!(pattern)),
        Rule::Custom(name) => ("custom_constraint", json!(name)),
    };
    object.insert(key.to_owned(), value);
    if let Some(description) = &constraint.description {
        object.insert("description".to_owned(), json!(description));
    }
    Json::Object(object)
}

impl PropertySchema {
    /// The schema as the API shows it.
    pub fn to_json(&self) -> Json {
        let mut object = Object::new();
        object.insert("type".to_owned(), json!(self.kind.as_str()));
        if !self.description.is_empty() {
            object.insert("description".to_owned(), json!(self.description));
        }
        if let Some(default) = &self.default {
            object.insert("default".to_owned(), default.to_json());
        }
        object.insert("required".to_owned(), json!(self.required));
        object.insert("update_allowed".to_owned(), json!(self.update_allowed));
        object.insert("immutable".to_owned(), json!(self.immutable));
        if !self.constraints.is_empty() {
            let constraints = self.constraints.iter().map(constraint).collect();
            object.insert("constraints".to_owned(), Json::Array(constraints));
        }
        if let Some(items) = &self.items {
            object.insert("schema".to_owned(), json!({ "*": items.to_json() }));
        }
        if let Some(fields) = &self.fields {
            let fields = fields
                .iter()
                .map(|(name, field)| (name.clone(), field.to_json()));
            object.insert("schema".to_owned(), Json::Object(fields.collect()));
        }
        Json::Object(object)
    }
}

impl TypeSchema {
    /// The schema as the API shows it.
    pub fn to_json(&self) -> Json {
        let attributes = self.attributes.iter().map(|(name, attribute)| {
            let mut object = Object::new();
            object.insert("description".to_owned(), json!(attribute.description));
            if let Some(kind) = attribute.kind {
                object.insert("type".to_owned(), json!(kind.as_str()));
            }
            (name.clone(), Json::Object(object))
        });
        let properties = self
            .properties
            .iter()
            .map(|(name, property)| (name.clone(), property.to_json()));
        json!({
            "resource_type": self.name,
            "description": self.description,
            "attributes": Json::Object(attributes.collect()),
            "properties": Json::Object(properties.collect()),
            "support_status": {
                "status": "SUPPORTED", "message": null, "version": null, "previous_status": null,
            },
        })
    }

    /// A template with one resource of this type, its properties as parameters.
    pub fn to_template(&self, hot: bool) -> Value {
        let mut parameters = Map::new();
        let mut properties = Map::new();
        for (name, property) in &self.properties {
            parameters.insert(name.clone(), parameter(property, hot));
            properties.insert(name.clone(), reference(name, property, hot));
        }
        let outputs = self.attributes.iter().map(|(name, attribute)| {
            let (get, words) = if hot {
                ("get_attr", ["description", "value"])
            } else {
                ("Fn::GetAtt", ["Description", "Value"])
            };
            let place = Value::List(vec![Value::text(self.short_name()), Value::text(name)]);
            let output = Value::Map(Map::from_iter([
                (words[0].to_owned(), Value::text(&attribute.description)),
                (
                    words[1].to_owned(),
                    Value::Map(Map::from_iter([(get.to_owned(), place)])),
                ),
            ]));
            (name.clone(), output)
        });
        let outputs = Value::Map(outputs.collect());
        let words = if hot {
            ["type", "properties"]
        } else {
            ["Type", "Properties"]
        };
        let resource = Value::Map(Map::from_iter([
            (words[0].to_owned(), Value::text(self.name)),
            (words[1].to_owned(), Value::Map(properties)),
        ]));
        let resources = Value::Map(Map::from_iter([(self.short_name().to_owned(), resource)]));
        let description = Value::text(format!("Initial template of {}", self.short_name()));
        let sections = if hot {
            [
                ("heat_template_version", Value::text("2016-10-14")),
                ("description", description),
                ("parameters", Value::Map(parameters)),
                ("resources", resources),
                ("outputs", outputs),
            ]
        } else {
            [
                ("HeatTemplateFormatVersion", Value::text("2012-12-12")),
                ("Description", description),
                ("Parameters", Value::Map(parameters)),
                ("Resources", resources),
                ("Outputs", outputs),
            ]
        };
        Value::Map(
            sections
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    }

    fn short_name(&self) -> &'static str {
        self.name.rsplit("::").next().unwrap_or(self.name)
    }
}

fn parameter(property: &PropertySchema, hot: bool) -> Value {
    let (hot_kind, cfn_kind) = match property.kind {
        PropertyKind::String | PropertyKind::Any => ("string", "String"),
        PropertyKind::Integer | PropertyKind::Number => ("number", "Number"),
        PropertyKind::Boolean => ("boolean", "Boolean"),
        PropertyKind::List => ("comma_delimited_list", "CommaDelimitedList"),
        PropertyKind::Map => ("json", "Json"),
    };
    let words = if hot {
        ["type", "description", "default"]
    } else {
        ["Type", "Description", "Default"]
    };
    let mut map = Map::new();
    map.insert(
        words[0].to_owned(),
        Value::text(if hot { hot_kind } else { cfn_kind }),
    );
    if !property.description.is_empty() {
        map.insert(words[1].to_owned(), Value::text(&property.description));
    }
    if let Some(default) = &property.default {
        map.insert(words[2].to_owned(), default.clone());
    } else if !property.required {
        map.insert(words[2].to_owned(), Value::text(""));
    }
    Value::Map(map)
}

fn reference(name: &str, property: &PropertySchema, hot: bool) -> Value {
    if hot {
        return Value::Map(Map::from_iter([(
            "get_param".to_owned(),
            Value::text(name),
        )]));
    }
    let reference = Value::Map(Map::from_iter([("Ref".to_owned(), Value::text(name))]));
    if property.kind != PropertyKind::List {
        return reference;
    }
    let split = Value::List(vec![Value::text(","), reference]);
    Value::Map(Map::from_iter([("Fn::Split".to_owned(), split)]))
}
