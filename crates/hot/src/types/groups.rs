//! Groups and chains of members, and the servers that are there already.

use super::configs::batches;
use super::{Nature, TypeSchema, boolean, empty_list, empty_map, integer, list, map, text};
use crate::schema::{PropertyKind, Rule};

pub(super) fn rows() -> Vec<TypeSchema> {
    vec![resource_group(), resource_chain(), deployed_server()]
}

fn resource_group() -> TypeSchema {
    let definition = map().required().updatable().with([
        (
            "type",
            text()
                .required()
                .about("The type of the resources in the group."),
        ),
        (
            "properties",
            map().about("Property values for the resources in the group."),
        ),
        (
            "metadata",
            map().about("Supplied metadata for the resources in the group."),
        ),
    ]);
    let removal = map().with([(
        "resource_list",
        list().or(empty_list()).about("List of resources to be removed when doing an update which requires removal of specific resources."),
    )]);
    TypeSchema::new("OS::Heat::ResourceGroup", "Like members, numbered.")
        .properties([
            ("count", integer().or(1i64).updatable().range(Some(0), None).about("The number of resources to create.")),
            ("index_var", text().or("%index%").rule(Rule::Length { min: Some(3.0), max: None }).about("A variable that this resource will use to replace with the current index of a given resource in the group.")),
            ("resource_def", definition.about("Resource definition for the resources in the group.")),
            ("removal_policies", list().or(empty_list()).of(removal).updatable().about("Policies for removal of resources on update.")),
            ("removal_policies_mode", text().or("append").one_of(&["append", "update"]).updatable().about("How to handle changes to removal_policies on update.")),
        ])
        .attributes([
            ("refs", PropertyKind::List, "A list of resource IDs for the resources in the group."),
            ("refs_map", PropertyKind::Map, "A map of resource names to IDs for the resources in the group."),
            ("attributes", PropertyKind::Map, "A map of resource names to the specified attribute of each individual resource."),
            ("removed_rsrc_list", PropertyKind::List, "A list of removed resource names."),
        ])
        .update_policy([
            ("rolling_update", batches("rolling_update")),
            ("batch_create", batches("batch_create")),
        ])
        .nature(Nature::Group)
}

fn resource_chain() -> TypeSchema {
    TypeSchema::new(
        "OS::Heat::ResourceChain",
        "Members with one type each and the same properties.",
    )
    .properties([
        (
            "resources",
            list()
                .required()
                .updatable()
                .about("The list of resource types to create."),
        ),
        (
            "concurrent",
            boolean()
                .or(false)
                .about("If the resources in the chain should be created concurrently."),
        ),
        (
            "resource_properties",
            map().about("Properties to pass to each resource being created in the chain."),
        ),
    ])
    .attributes([
        (
            "refs",
            PropertyKind::List,
            "A list of resource IDs for the resources in the chain.",
        ),
        (
            "attributes",
            PropertyKind::Map,
            "A map of resource names to the specified attribute of each individual resource.",
        ),
    ])
    .nature(Nature::Chain)
}

fn deployed_server() -> TypeSchema {
    TypeSchema::new("OS::Heat::DeployedServer", "A server that is there already and takes deployments.")
        .properties([
            ("name", text().updatable().about("Server name.")),
            ("metadata", map().or(empty_map()).updatable().about("Arbitrary key/value metadata to store for this server.")),
            ("software_config_transport", text().or("POLL_SERVER_CFN").updatable().one_of(&["POLL_SERVER_CFN", "POLL_SERVER_HEAT", "POLL_TEMP_URL", "ZAQAR_MESSAGE"]).about("How the server should receive the metadata required for software configuration.")),
            ("deployment_swift_data", map().or(empty_map()).updatable().with([
                ("container", text().or("").updatable().about("Name of the container.")),
                ("object", text().or("").updatable().about("Name of the object.")),
            ]).about("Swift container and object to use for storing deployment data for the server resource.")),
        ])
        .attributes([
            ("name", PropertyKind::String, "Name of the server."),
            ("os_collect_config", PropertyKind::Map, "The os-collect-config configuration for the server's local agent to be configured to connect to Heat to retrieve deployment data."),
        ])
}
