//! What template-validate tells of a template: its parameters in Heat's words.

use serde_json::{Map as Object, Value as Json, json};

use crate::error::TemplateError;
use crate::expr::Outcome;
use crate::frame::{Frame, Place, StackInput};
use crate::params::ParameterSchema;
use crate::schema::Rule;
use crate::value::Value;

/// Validates a template without asking for values of its parameters.
///
/// Gives `Description`, `Parameters`, `ParameterGroups` where there are some, and `Environment`.
pub fn template_summary(input: &StackInput) -> Result<Json, TemplateError> {
    summary(input).map_err(|error| input.template.placed(error))
}

fn summary(input: &StackInput) -> Outcome<Json> {
    let place = Place {
        lenient: true,
        ..Place::default()
    };
    let frame = Frame::open_at(input, place)?;
    crate::validate::validate(&frame)?;
    let parameters = frame
        .parameter_schemas()
        .map(|(schema, given)| (schema.name.clone(), parameter(schema, given)));
    let mut object = Object::new();
    let description = input.template.description().unwrap_or("No description");
    object.insert("Description".to_owned(), json!(description));
    object.insert("Parameters".to_owned(), Json::Object(parameters.collect()));
    if let Some(groups) = input.template.section("parameter_groups") {
        object.insert("ParameterGroups".to_owned(), groups.to_json());
    }
    object.insert("Environment".to_owned(), input.environment.to_json());
    Ok(Json::Object(object))
}

/// One parameter in the words of template-validate.
fn parameter(schema: &ParameterSchema, given: Option<&Value>) -> Json {
    let text = |value: &Option<Value>| value.as_ref().map(Value::to_json);
    let mut object = Object::new();
    let mut put = |key: &str, value: Json| object.insert(key.to_owned(), value);
    put("Type", json!(schema.kind.cfn_name()));
    put(
        "Description",
        text(&schema.description).unwrap_or(json!("")),
    );
    put(
        "NoEcho",
        json!(if schema.hidden { "true" } else { "false" }),
    );
    put("Label", text(&schema.label).unwrap_or(json!(schema.name)));
    if let Some(default) = &schema.default {
        put("Default", default.to_json());
    }
    if let Some(given) = given {
        put("Value", given.to_json());
    }
    if !schema.tags.is_empty() {
        put("Tags", Value::List(schema.tags.clone()).to_json());
    }
    let mut descriptions = Vec::new();
    for constraint in &schema.constraints {
        descriptions.extend(constraint.description.clone());
        let whole = |bound: &Option<f64>| bound.map(|bound| json!(bound as i64));
        match &constraint.rule {
            Rule::Length { min, max } => {
                whole(min).map(|min| put("MinLength", min));
                whole(max).map(|max| put("MaxLength", max));
            }
            Rule::Range { min, max } => {
                min.as_ref().map(|min| put("MinValue", min.to_json()));
                max.as_ref().map(|max| put("MaxValue", max.to_json()));
            }
            Rule::Modulo { step, offset } => {
                put("Modulo", json!({ "step": step, "offset": offset }));
            }
            Rule::AllowedValues(values) => {
                put("AllowedValues", Value::List(values.clone()).to_json());
            }
            Rule::AllowedPattern(pattern) => {
                put("AllowedPattern", json!(pattern));
            }
            Rule::Custom(name) => {
                put("CustomConstraint", json!(name));
            }
        }
    }
    if !descriptions.is_empty() {
        put("ConstraintDescription", json!(descriptions.join(" ")));
    }
    Json::Object(object)
}
