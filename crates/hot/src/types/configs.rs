//! Software configurations and their deployments.

use super::{Nature, TypeSchema, anything, boolean, empty_map, integer, list, map, text};
use crate::schema::{PropertyKind, PropertySchema};
use crate::value::Value;

pub(super) fn rows() -> Vec<TypeSchema> {
    vec![
        software_config(),
        structured_config(),
        cloud_config(),
        multipart_mime(),
        software_component(),
        deployment(
            "OS::Heat::SoftwareDeployment",
            "Puts a configuration on a server.",
        ),
        deployment(
            "OS::Heat::StructuredDeployment",
            "Puts a structured configuration on a server.",
        ),
        deployments(
            "OS::Heat::SoftwareDeploymentGroup",
            "Puts a configuration on many servers.",
        ),
        deployments(
            "OS::Heat::SoftwareDeployments",
            "Puts a configuration on many servers.",
        ),
        deployments(
            "OS::Heat::StructuredDeploymentGroup",
            "Puts a structured configuration on many servers.",
        ),
        deployments(
            "OS::Heat::StructuredDeployments",
            "Puts a structured configuration on many servers.",
        ),
    ]
}

const IO_TYPES: [&str; 5] = ["String", "Number", "CommaDelimitedList", "Json", "Boolean"];

fn inputs() -> PropertySchema {
    list()
        .of(map().with([
            ("name", text().required().about("Name of the input.")),
            (
                "description",
                text().or("").about("Description of the input."),
            ),
            (
                "type",
                text()
                    .or("String")
                    .one_of(&IO_TYPES)
                    .about("Type of the value of the input."),
            ),
            (
                "default",
                anything().about("Default value for the input if none is specified."),
            ),
            (
                "replace_on_change",
                boolean().or(false).about(
                    "Replace the deployment instead of updating it when the input value changes.",
                ),
            ),
        ]))
        .about("Schema representing the inputs that this software config is expecting.")
}

fn outputs() -> PropertySchema {
    list()
        .of(map().with([
            ("name", text().required().about("Name of the output.")),
            (
                "description",
                text().or("").about("Description of the output."),
            ),
            (
                "type",
                text()
                    .or("String")
                    .one_of(&IO_TYPES)
                    .about("Type of the value of the output."),
            ),
            (
                "error_output",
                boolean().or(false).about(
                    "Denotes that the deployment is in an error state if this output has a value.",
                ),
            ),
        ]))
        .about("Schema representing the outputs that this software config will produce.")
}

fn common(row: TypeSchema) -> TypeSchema {
    row.properties([
        ("group", text().or("Heat::Ungrouped").about("Namespace to group this software config by when delivered to a server.")),
        ("options", map().about("Map containing options specific to the configuration management tool used by this resource.")),
        ("inputs", inputs()),
        ("outputs", outputs()),
    ])
    .attributes([("config", PropertyKind::Any, "The config value of the software config.")])
}

fn software_config() -> TypeSchema {
    common(TypeSchema::new("OS::Heat::SoftwareConfig", "A configuration: text with inputs and outputs."))
        .properties([("config", text().about("Configuration script or manifest which specifies what actual configuration is performed."))])
}

fn structured_config() -> TypeSchema {
    common(TypeSchema::new("OS::Heat::StructuredConfig", "A configuration: a map with inputs and outputs."))
        .properties([
            ("config", map().about("Map representing the configuration data structure which will be serialized to JSON format.")),
            ("input_key", text().or("get_input").about("Name of key to use for substituting inputs during deployment.")),
            ("input_values_validate", text().or("LAX").one_of(&["LAX", "STRICT"]).about("Perform a check on the input values passed to verify that each required input has a corresponding value.")),
        ])
}

fn cloud_config() -> TypeSchema {
    TypeSchema::new("OS::Heat::CloudConfig", "Configuration for cloud-init.")
        .properties([(
            "cloud_config",
            map().about(
                "Map representing the cloud-config data structure which will be formatted as YAML.",
            ),
        )])
        .attributes([(
            "config",
            PropertyKind::Any,
            "The config value of the software config.",
        )])
}

fn multipart_mime() -> TypeSchema {
    let part = map().with([
        ("config", text().required().about("Content of part to attach, either inline or by referencing the ID of another software config resource.")),
        ("filename", text().about("Optional filename to associate with part.")),
        ("type", text().or("text").one_of(&["text", "multipart"]).about("Whether the part content is text or multipart.")),
        ("subtype", text().about("Optional subtype to specify with the type.")),
    ]);
    TypeSchema::new(
        "OS::Heat::MultipartMime",
        "Several configurations as one message.",
    )
    .properties([
        (
            "parts",
            list().of(part).about("Parts belonging to this message."),
        ),
        (
            "group",
            text()
                .or("Heat::Ungrouped")
                .about("Namespace to group this software config by when delivered to a server."),
        ),
    ])
    .attributes([(
        "config",
        PropertyKind::Any,
        "The config value of the software config.",
    )])
}

const ACTIONS: [&str; 5] = ["CREATE", "UPDATE", "DELETE", "SUSPEND", "RESUME"];

fn software_component() -> TypeSchema {
    let config = map().with([
        (
            "actions",
            list()
                .required()
                .of(text().one_of(&ACTIONS))
                .rule(crate::schema::Rule::Length { min: Some(1.0), max: None })
                .about("Lifecycle actions to which the configuration applies."),
        ),
        ("config", text().about("Configuration script or manifest which specifies what actual configuration is performed.")),
        ("tool", text().required().about("The configuration tool used to actually apply the configuration on a server.")),
    ]);
    TypeSchema::new("OS::Heat::SoftwareComponent", "Configurations, one per action.").properties([
        ("configs", list().required().of(config).about("The list of configurations for the different lifecycle actions of the represented software component.")),
        ("inputs", inputs()),
        ("outputs", outputs()),
        ("options", map().about("Map containing options specific to the configuration management tool used by this resource.")),
    ])
}

fn deployment_actions() -> PropertySchema {
    list()
        .or(Value::List(vec![Value::text("CREATE"), Value::text("UPDATE")]))
        .of(text().one_of(&ACTIONS))
        .updatable()
        .about("Which lifecycle actions of the deployment resource will result in this deployment being triggered.")
}

fn transport() -> PropertySchema {
    text()
        .or("CFN_SIGNAL")
        .one_of(&[
            "CFN_SIGNAL",
            "TEMP_URL_SIGNAL",
            "HEAT_SIGNAL",
            "NO_SIGNAL",
            "ZAQAR_SIGNAL",
        ])
        .about("How the server should signal to heat with the deployment output values.")
}

fn deployment(name: &'static str, description: &'static str) -> TypeSchema {
    let row = TypeSchema::new(name, description).open().properties([
        ("config", text().updatable().about("ID of software configuration resource to execute when applying to the server.")),
        ("server", text().required().about("ID of resource to apply configuration to. Normally this should be a Nova server ID.")),
        ("input_values", map().updatable().about("Input values to apply to the software configuration on this server.")),
        ("actions", deployment_actions()),
        ("name", text().updatable().about("Name of the derived config associated with this deployment.")),
        ("signal_transport", transport()),
    ]);
    structured(row, name).attributes([
        (
            "deploy_stdout",
            PropertyKind::String,
            "Captured stdout from the configuration execution.",
        ),
        (
            "deploy_stderr",
            PropertyKind::String,
            "Captured stderr from the configuration execution.",
        ),
        (
            "deploy_status_code",
            PropertyKind::Integer,
            "Returned status code from the configuration execution.",
        ),
    ])
}

/// Structured deployments say how inputs are found and checked.
fn structured(row: TypeSchema, name: &str) -> TypeSchema {
    if !name.contains("Structured") {
        return row;
    }
    row.properties([
        ("input_key", text().or("get_input").about("Name of key to use for substituting inputs during deployment.")),
        ("input_values_validate", text().or("LAX").one_of(&["LAX", "STRICT"]).about("Perform a check on the input values passed to verify that each required input has a corresponding value.")),
    ])
}

fn deployments(name: &'static str, description: &'static str) -> TypeSchema {
    let row = TypeSchema::new(name, description).open().properties([
        (
            "servers",
            map()
                .updatable()
                .about("A map of names and server IDs to apply configuration to."),
        ),
        (
            "config",
            text().updatable().about(
                "ID of software configuration resource to execute when applying to the server.",
            ),
        ),
        (
            "input_values",
            map()
                .updatable()
                .about("Input values to apply to the software configuration on this server."),
        ),
        ("actions", deployment_actions()),
        (
            "name",
            text()
                .updatable()
                .about("Name of the derived config associated with this deployment."),
        ),
        ("signal_transport", transport()),
    ]);
    structured(row, name)
        .attributes([
            ("deploy_stdouts", PropertyKind::Map, "A map of Nova names and captured stdouts from the configuration execution to each server."),
            ("deploy_stderrs", PropertyKind::Map, "A map of Nova names and captured stderrs from the configuration execution to each server."),
            ("deploy_status_codes", PropertyKind::Map, "A map of Nova names and returned status code from the configuration execution."),
        ])
        .update_policy([
            ("rolling_update", batches("rolling_update")),
            ("batch_create", batches("batch_create")),
        ])
        .nature(Nature::DeploymentGroup)
}

/// How many members are handled at once.
pub(super) fn batches(policy: &str) -> PropertySchema {
    let mut row = map().or(empty_map()).with([
        (
            "max_batch_size",
            integer()
                .or(1i64)
                .range(Some(1), None)
                .about("The maximum number of resources to handle at once."),
        ),
        (
            "pause_time",
            super::number()
                .or(0i64)
                .range(Some(0), None)
                .about("The number of seconds to wait between batches."),
        ),
    ]);
    if policy == "rolling_update"
        && let Some(fields) = &mut row.fields
    {
        fields.insert(
            "min_in_service".to_owned(),
            integer().or(0i64).range(Some(0), None).about("The minimum number of resources in service while rolling updates are being executed."),
        );
    }
    row
}
