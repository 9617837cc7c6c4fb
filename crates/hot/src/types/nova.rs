//! Servers, key pairs and flavors.

use super::{
    TypeSchema, anything, boolean, empty_list, empty_map, integer, list, map, number, text,
};
use crate::schema::{PropertyKind, PropertySchema, Rule};

pub(super) fn rows() -> Vec<TypeSchema> {
    vec![server(), key_pair(), flavor()]
}

fn networks() -> PropertySchema {
    let fixed = text().updatable();
    list()
        .updatable()
        .of(map().with([
            ("uuid", text().updatable().custom("neutron.network").about("Old name of `network`.")),
            ("network", text().updatable().custom("neutron.network").about("Name or ID of network to create a port on.")),
            ("allocate_network", text().updatable().one_of(&["none", "auto"]).about("The special string values of network.")),
            ("fixed_ip", fixed.clone().custom("ip_addr").about("Fixed IP address to specify for the port created on the requested network.")),
            ("port", fixed.clone().custom("neutron.port").about("ID of an existing port to associate with this server.")),
            ("port_extra_properties", map().updatable().about("Dict, which has expand properties for port.")),
            ("subnet", fixed.clone().custom("neutron.subnet").about("Subnet in which to allocate the IP address for port.")),
            ("floating_ip", fixed.about("ID of the floating IP to associate.")),
            ("tag", text().updatable().about("Port tag.")),
        ]))
        .about("An ordered list of nics to be added to this server, with information about connected networks, fixed ips, port etc.")
}

fn block_devices() -> PropertySchema {
    list()
        .of(map().with([
            ("device_name", text().required()),
            ("volume_id", text().custom("cinder.volume")),
            ("snapshot_id", text().custom("cinder.snapshot")),
            ("image", text().custom("glance.image")),
            ("volume_size", integer()),
            ("delete_on_termination", boolean()),
        ]))
        .about("Block device mappings for this server.")
}

fn block_devices_v2() -> PropertySchema {
    list()
        .of(map().with([
            ("device_name", text()),
            ("volume_id", text().custom("cinder.volume")),
            ("image", text().custom("glance.image")),
            ("snapshot_id", text().custom("cinder.snapshot")),
            ("swap_size", integer()),
            ("ephemeral_size", integer()),
            (
                "ephemeral_format",
                text().one_of(&["ext2", "ext3", "ext4", "xfs", "ntfs"]),
            ),
            ("device_type", text().one_of(&["cdrom", "disk"])),
            (
                "disk_bus",
                text().one_of(&["ide", "lame_bus", "scsi", "usb", "virtio"]),
            ),
            ("boot_index", integer()),
            ("volume_size", integer()),
            ("delete_on_termination", boolean()),
        ]))
        .about("Block device mappings v2 for this server.")
}

fn server() -> TypeSchema {
    let tag = text().rule(Rule::Length {
        min: Some(1.0),
        max: Some(80.0),
    });
    TypeSchema::new("OS::Nova::Server", "A server: a virtual machine or a bare metal node.")
        .properties([
            ("name", text().updatable().about("Server name.")),
            ("image", text().updatable().custom("glance.image").about("The ID or name of the image to boot with.")),
            ("block_device_mapping", block_devices()),
            ("block_device_mapping_v2", block_devices_v2()),
            ("flavor", text().required().updatable().custom("nova.flavor").about("The ID or name of the flavor to boot onto.")),
            ("flavor_update_policy", text().or("RESIZE").updatable().one_of(&["RESIZE", "REPLACE"]).about("Policy on how to apply a flavor update; either by requesting a server resize or by replacing the entire server.")),
            ("image_update_policy", text().or("REBUILD").updatable().one_of(&["REBUILD", "REPLACE", "REBUILD_PRESERVE_EPHEMERAL"]).about("Policy on how to apply an image-id update; either by requesting a server rebuild or by replacing the entire server.")),
            ("key_name", text().custom("nova.keypair").about("Name of keypair to inject into the server.")),
            ("availability_zone", text().about("Name of the availability zone for server placement.")),
            ("security_groups", list().or(empty_list()).about("List of security group names or IDs.")),
            ("networks", networks()),
            ("scheduler_hints", map().about("Arbitrary key-value pairs specified by the client to help boot a server.")),
            ("metadata", map().updatable().about("Arbitrary key/value metadata to store for this server.")),
            ("user_data_format", text().or("HEAT_CFNTOOLS").one_of(&["HEAT_CFNTOOLS", "RAW", "SOFTWARE_CONFIG"]).about("How the user_data should be formatted for the server.")),
            ("user_data_update_policy", text().or("REPLACE").updatable().one_of(&["REPLACE", "IGNORE"]).about("Policy on how to apply a user_data update.")),
            ("software_config_transport", text().or("POLL_SERVER_CFN").updatable().one_of(&["POLL_SERVER_CFN", "POLL_SERVER_HEAT", "POLL_TEMP_URL", "ZAQAR_MESSAGE"]).about("How the server should receive the metadata required for software configuration.")),
            ("user_data", anything().or("").about("User data script to be executed by cloud-init or CoreOS ignition.")),
            ("reservation_id", text().about("A UUID for the set of servers being requested.")),
            ("config_drive", boolean().about("If True, enable config drive on the server.")),
            ("diskConfig", text().one_of(&["AUTO", "MANUAL"]).about("Control how the disk is partitioned when the server is created.")),
            ("personality", map().or(empty_map()).about("A map of files to create/overwrite on the server upon boot.")),
            ("admin_pass", text().updatable().about("The administrator password for the server.")),
            ("tags", list().updatable().of(tag).about("Server tags.")),
            ("deployment_swift_data", map().or(empty_map()).updatable().with([
                ("container", text().or("").updatable()),
                ("object", text().or("").updatable()),
            ]).about("Swift container and object to use for storing deployment data for the server resource.")),
        ])
        .attributes([
            ("name", PropertyKind::String, "Name of the server."),
            ("addresses", PropertyKind::Map, "A dict of all network addresses with corresponding port_id and subnets."),
            ("networks", PropertyKind::Map, "A dict of assigned network addresses of the form: {\"public\": [ip1, ip2...], \"private\": [ip3, ip4], \"public_uuid\": [ip1, ip2...]}."),
            ("first_address", PropertyKind::String, "Convenience attribute to fetch the first assigned network address."),
            ("instance_name", PropertyKind::String, "AWS compatible instance name."),
            ("accessIPv4", PropertyKind::String, "The manually assigned alternative public IPv4 address of the server."),
            ("accessIPv6", PropertyKind::String, "The manually assigned alternative public IPv6 address of the server."),
            ("console_urls", PropertyKind::Map, "URLs of server's consoles."),
            ("tags", PropertyKind::List, "Tags from the server."),
            ("os_collect_config", PropertyKind::Map, "The os-collect-config configuration for the server's local agent to be configured to connect to Heat to retrieve deployment data."),
        ])
        .shown()
        .with_snapshots()
}

impl TypeSchema {
    fn with_snapshots(mut self) -> TypeSchema {
        self.snapshots = true;
        self
    }
}

fn key_pair() -> TypeSchema {
    let name = text().required().rule(Rule::Length {
        min: Some(1.0),
        max: Some(255.0),
    });
    TypeSchema::new("OS::Nova::KeyPair", "A key pair for logging in to servers.")
        .properties([
            ("name", name.about("The name of the key pair.")),
            (
                "save_private_key",
                boolean().or(false).about(
                    "True if the system should remember a generated private key; False otherwise.",
                ),
            ),
            (
                "type",
                text().one_of(&["ssh", "x509"]).about("Keypair type."),
            ),
            (
                "user",
                text()
                    .custom("keystone.user")
                    .about("ID or name of user to whom to add key-pair."),
            ),
            ("public_key", text().about("The optional public key.")),
        ])
        .attributes([
            ("public_key", PropertyKind::String, "The public key."),
            (
                "private_key",
                PropertyKind::String,
                "The private key if it has been saved.",
            ),
        ])
        .shown()
}

fn flavor() -> TypeSchema {
    TypeSchema::new("OS::Nova::Flavor", "A size of servers.")
        .properties([
            (
                "tenants",
                list()
                    .or(empty_list())
                    .of(text().custom("keystone.project"))
                    .updatable()
                    .about("List of tenants."),
            ),
            ("flavorid", text().about("Unique ID of the flavor.")),
            ("name", text().about("Name of the flavor.")),
            (
                "ram",
                integer().required().about("Memory in MB for the flavor."),
            ),
            (
                "vcpus",
                integer()
                    .required()
                    .about("Number of VCPUs for the flavor."),
            ),
            (
                "disk",
                integer().or(0i64).about("Size of local disk in GB."),
            ),
            ("swap", integer().or(0i64).about("Swap space in MB.")),
            (
                "ephemeral",
                integer()
                    .or(0i64)
                    .about("Size of a secondary ephemeral data disk in GB."),
            ),
            (
                "rxtx_factor",
                number()
                    .or(crate::value::Value::Float(1.0))
                    .about("RX/TX factor."),
            ),
            (
                "extra_specs",
                map()
                    .updatable()
                    .about("Key/Value pairs to extend the capabilities of the flavor."),
            ),
            (
                "is_public",
                boolean().or(true).about("Scope of flavor accessibility."),
            ),
        ])
        .attributes([
            (
                "is_public",
                PropertyKind::Boolean,
                "Whether the flavor is shared across all projects.",
            ),
            (
                "extra_specs",
                PropertyKind::Map,
                "Extra specs of the flavor.",
            ),
        ])
        .shown()
}
