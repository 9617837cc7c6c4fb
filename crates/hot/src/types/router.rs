//! Routers, floating addresses and security groups.

use super::neutron::{admin_state, tags, value_specs};
use super::{TypeSchema, boolean, empty_list, empty_map, integer, list, map, text};
use crate::schema::PropertyKind;

pub(super) fn rows() -> Vec<TypeSchema> {
    vec![
        router(),
        router_interface(),
        floating_ip(),
        floating_ip_association(),
        security_group(),
        security_group_rule(),
    ]
}

fn router() -> TypeSchema {
    let gateway = map().updatable().with([
        (
            "network",
            text()
                .required()
                .updatable()
                .custom("neutron.network")
                .about("ID or name of the external network for the gateway."),
        ),
        (
            "enable_snat",
            boolean()
                .updatable()
                .about("Enables Source NAT on the router gateway."),
        ),
        (
            "external_fixed_ips",
            list()
                .updatable()
                .of(map().with([
                    (
                        "ip_address",
                        text()
                            .updatable()
                            .custom("ip_addr")
                            .about("External fixed IP address."),
                    ),
                    (
                        "subnet",
                        text()
                            .updatable()
                            .custom("neutron.subnet")
                            .about("Subnet of external fixed IP address."),
                    ),
                ]))
                .about("External fixed IP addresses for the gateway."),
        ),
    ]);
    TypeSchema::new("OS::Neutron::Router", "A router between networks.")
        .properties([
            ("name", text().updatable().about("The name of the router.")),
            (
                "external_gateway_info",
                gateway.about("External network gateway configuration for a router."),
            ),
            ("value_specs", value_specs()),
            ("admin_state_up", admin_state()),
            (
                "l3_agent_id",
                text().updatable().about("ID of the L3 agent."),
            ),
            (
                "l3_agent_ids",
                list().updatable().about("ID list of the L3 agent."),
            ),
            (
                "distributed",
                boolean().about("Indicates whether or not to create a distributed router."),
            ),
            (
                "ha",
                boolean().about("Indicates whether or not to create a highly available router."),
            ),
            (
                "availability_zone_hints",
                list()
                    .updatable()
                    .about("Availability zone candidates for the router."),
            ),
            ("tags", tags()),
        ])
        .attributes([
            ("status", PropertyKind::String, "The status of the router."),
            (
                "external_gateway_info",
                PropertyKind::Map,
                "Gateway network for the router.",
            ),
            ("name", PropertyKind::String, "Friendly name of the router."),
            (
                "admin_state_up",
                PropertyKind::String,
                "Administrative state of the router.",
            ),
            (
                "tenant_id",
                PropertyKind::String,
                "Tenant owning the router.",
            ),
        ])
        .shown()
}

fn router_interface() -> TypeSchema {
    TypeSchema::new(
        "OS::Neutron::RouterInterface",
        "A router's leg on a subnet.",
    )
    .properties([
        (
            "router",
            text()
                .required()
                .custom("neutron.router")
                .about("The router."),
        ),
        (
            "router_id",
            text()
                .custom("neutron.router")
                .about("Old name of `router`."),
        ),
        (
            "subnet_id",
            text()
                .custom("neutron.subnet")
                .about("Old name of `subnet`."),
        ),
        (
            "subnet",
            text()
                .custom("neutron.subnet")
                .about("The subnet, either subnet or port should be specified."),
        ),
        (
            "port_id",
            text().custom("neutron.port").about("Old name of `port`."),
        ),
        (
            "port",
            text()
                .custom("neutron.port")
                .about("The port, either subnet or port should be specified."),
        ),
    ])
    .old_names(&[
        ("router_id", "router"),
        ("subnet_id", "subnet"),
        ("port_id", "port"),
    ])
}

fn floating_ip() -> TypeSchema {
    let network = text().custom("neutron.network");
    TypeSchema::new("OS::Neutron::FloatingIP", "An address of an external network.")
        .properties([
            ("floating_network_id", network.clone().about("Old name of `floating_network`.")),
            ("floating_network", network.required().about("Network to allocate floating IP from.")),
            ("floating_subnet", text().custom("neutron.subnet").about("Subnet to allocate floating IP from.")),
            ("value_specs", map().or(empty_map()).about("Extra parameters to include in the request.")),
            ("port_id", text().updatable().custom("neutron.port").about("ID of an existing port with at least one IP address to associate with this floating IP.")),
            ("fixed_ip_address", text().updatable().custom("ip_addr").about("IP address to use if the port has multiple addresses.")),
            ("floating_ip_address", text().custom("ip_addr").about("IP address of the floating IP.")),
            ("dns_name", text().updatable().about("DNS name associated with floating ip.")),
            ("dns_domain", text().updatable().about("DNS domain associated with floating ip.")),
        ])
        .attributes([
            ("router_id", PropertyKind::String, "ID of the router used as gateway, set when associated with a port."),
            ("tenant_id", PropertyKind::String, "The tenant owning this floating IP."),
            ("floating_network_id", PropertyKind::String, "ID of the network in which this IP is allocated."),
            ("fixed_ip_address", PropertyKind::String, "IP address of the associated port, if specified."),
            ("floating_ip_address", PropertyKind::String, "The allocated address of this IP."),
            ("port_id", PropertyKind::String, "ID of the port associated with this IP."),
        ])
        .shown()
        .old_names(&[("floating_network_id", "floating_network")])
}

fn floating_ip_association() -> TypeSchema {
    TypeSchema::new("OS::Neutron::FloatingIPAssociation", "Binds a floating address to a port.")
        .properties([
            ("floatingip_id", text().required().updatable().about("ID of the floating IP to associate.")),
            ("port_id", text().updatable().custom("neutron.port").about("ID of an existing port with at least one IP address to associate with this floating IP.")),
            ("fixed_ip_address", text().updatable().custom("ip_addr").about("IP address to use if the port has multiple addresses.")),
        ])
}

fn security_group() -> TypeSchema {
    let rule = map().with([
        (
            "direction",
            text()
                .or("ingress")
                .one_of(&["ingress", "egress"])
                .about("The direction in which the security group rule is applied."),
        ),
        (
            "ethertype",
            text()
                .or("IPv4")
                .one_of(&["IPv4", "IPv6"])
                .about("Ethertype of the traffic."),
        ),
        (
            "port_range_min",
            integer().range(Some(0), Some(65535)).about(
                "The minimum port number in the range that is matched by the security group rule.",
            ),
        ),
        (
            "port_range_max",
            integer().range(Some(0), Some(65535)).about(
                "The maximum port number in the range that is matched by the security group rule.",
            ),
        ),
        (
            "protocol",
            text().about("The protocol that is matched by the security group rule."),
        ),
        (
            "remote_mode",
            text()
                .or("remote_ip_prefix")
                .one_of(&["remote_ip_prefix", "remote_group_id"])
                .about("Whether to specify a remote group or a remote IP prefix."),
        ),
        (
            "remote_group_id",
            text()
                .custom("neutron.security_group")
                .about("The remote group ID to be associated with this security group rule."),
        ),
        (
            "remote_ip_prefix",
            text().custom("net_cidr").about(
                "The remote IP prefix (CIDR) to be associated with this security group rule.",
            ),
        ),
    ]);
    TypeSchema::new("OS::Neutron::SecurityGroup", "Rules on which traffic may pass.")
        .properties([
            ("name", text().updatable().about("A string specifying a symbolic name for the security group, which is not required to be unique.")),
            ("description", text().updatable().about("Description of the security group.")),
            ("rules", list().or(empty_list()).of(rule).updatable().about("List of security group rules.")),
        ])
        .shown()
}

fn security_group_rule() -> TypeSchema {
    TypeSchema::new(
        "OS::Neutron::SecurityGroupRule",
        "One rule of a security group.",
    )
    .properties([
        (
            "security_group",
            text()
                .required()
                .custom("neutron.security_group")
                .about("Security group name or ID to add rule."),
        ),
        (
            "description",
            text().about("Description of the security group rule."),
        ),
        (
            "direction",
            text()
                .or("ingress")
                .one_of(&["ingress", "egress"])
                .about("The direction in which the security group rule is applied."),
        ),
        (
            "ethertype",
            text()
                .or("IPv4")
                .one_of(&["IPv4", "IPv6"])
                .about("Ethertype of the traffic."),
        ),
        (
            "port_range_min",
            integer()
                .range(Some(0), Some(65535))
                .about("The minimum port number."),
        ),
        (
            "port_range_max",
            integer()
                .range(Some(0), Some(65535))
                .about("The maximum port number."),
        ),
        (
            "protocol",
            text()
                .or("tcp")
                .about("The protocol that is matched by the security group rule."),
        ),
        (
            "remote_group",
            text().custom("neutron.security_group").about(
                "The remote group name or ID to be associated with this security group rule.",
            ),
        ),
        (
            "remote_ip_prefix",
            text().custom("net_cidr").about(
                "The remote IP prefix (CIDR) to be associated with this security group rule.",
            ),
        ),
    ])
    .shown()
}
