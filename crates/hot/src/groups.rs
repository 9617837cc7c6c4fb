//! `parameter_groups`: how parameters are shown together.

use crate::error::{Kind, TemplateError};
use crate::expr::Outcome;
use crate::params::Parameters;
use crate::template::Template;
use crate::value::Value;
use crate::version::Version;

/// Refuses groups that name unknown parameters, or one twice.
pub(crate) fn check(template: &Template, version: Version, parameters: &Parameters) -> Outcome<()> {
    if version.is_cfn() {
        return Ok(());
    }
    let groups = match template.section("parameter_groups") {
        None => return Ok(()),
        Some(Value::List(groups)) => groups,
        Some(_) => {
            return Err(
                TemplateError::invalid("The parameter_groups should be a list.")
                    .at("Parameter Groups error", "parameter_groups"),
            );
        }
    };
    let mut seen: Vec<&str> = Vec::new();
    for group in groups {
        let Value::Map(group) = group else {
            return Err(TemplateError::new(
                Kind::AttributeError,
                format!("'{}' object has no attribute 'get'", group.python_type()),
            )
            .advise("an item of `parameter_groups` is a map with `label` and `parameters`"));
        };
        let label = group
            .get("label")
            .map(Value::python_str)
            .unwrap_or_default();
        let wrong = |message: String| {
            TemplateError::invalid(message).at(
                "Parameter Groups error",
                format!("parameter_groups.{label}"),
            )
        };
        let names = match group.get("parameters") {
            Some(Value::List(names)) => names,
            None => {
                return Err(wrong(
                    "The parameters must be provided for each parameter group.".into(),
                ));
            }
            Some(_) => {
                return Err(wrong(
                    "The parameters of parameter group should be a list.".into(),
                ));
            }
        };
        for name in names.iter().filter_map(Value::as_text) {
            if seen.contains(&name) {
                return Err(wrong(format!(
                    "The {name} parameter must be assigned to one parameter group only."
                )));
            }
            if !parameters.defines(name) {
                return Err(wrong(format!(
                    "The grouped parameter {name} does not reference a valid parameter."
                )));
            }
            seen.push(name);
        }
    }
    Ok(())
}
