//! Networks, subnets and ports.

use super::{TypeSchema, boolean, empty_list, empty_map, integer, list, map, text};
use crate::schema::{PropertyKind, PropertySchema};

pub(super) fn rows() -> Vec<TypeSchema> {
    vec![net(), provider_net(), subnet(), segment(), port()]
}

pub(super) fn value_specs() -> PropertySchema {
    map()
        .or(empty_map())
        .updatable()
        .about("Extra parameters to include in the request.")
}

pub(super) fn tags() -> PropertySchema {
    list()
        .of(text().rule(crate::schema::Rule::Length {
            min: None,
            max: Some(60.0),
        }))
        .updatable()
        .about("The tags to be added to the resource.")
}

pub(super) fn admin_state() -> PropertySchema {
    boolean()
        .or(true)
        .updatable()
        .about("The administrative state.")
}

fn net() -> TypeSchema {
    TypeSchema::new("OS::Neutron::Net", "A network.")
        .properties([
            ("name", text().updatable().about("A string specifying a symbolic name for the network, which is not required to be unique.")),
            ("value_specs", value_specs()),
            ("admin_state_up", admin_state()),
            ("tenant_id", text().about("The ID of the tenant which will own the network.")),
            ("shared", boolean().or(false).updatable().about("Whether this network should be shared across all tenants.")),
            ("dhcp_agent_ids", list().updatable().about("The IDs of the DHCP agent to schedule the network.")),
            ("port_security_enabled", boolean().updatable().about("Flag to enable/disable port security on the network.")),
            ("qos_policy", text().updatable().custom("neutron.qos_policy").about("The name or ID of QoS policy to attach to this network.")),
            ("dns_domain", text().updatable().custom("dns_domain").about("DNS domain associated with this network.")),
            ("availability_zone_hints", list().updatable().about("Availability zone candidates for the network.")),
            ("tags", tags()),
        ])
        .attributes([
            ("status", PropertyKind::String, "The status of the network."),
            ("name", PropertyKind::String, "The name of the network."),
            ("subnets", PropertyKind::List, "Subnets of this network."),
            ("admin_state_up", PropertyKind::String, "The administrative status of the network."),
            ("tenant_id", PropertyKind::String, "The tenant owning this network."),
            ("port_security_enabled", PropertyKind::Boolean, "Port security enabled of the network."),
            ("mtu", PropertyKind::Integer, "The maximum transmission unit size(in bytes) for the network."),
            ("qos_policy_id", PropertyKind::String, "The QoS policy ID attached to this network."),
            ("l2_adjacency", PropertyKind::Boolean, "A boolean value for L2 adjacency, True means that you can expect L2 connectivity throughout the Network."),
            ("segments", PropertyKind::List, "The segments of this network."),
        ])
        .shown()
}

fn provider_net() -> TypeSchema {
    TypeSchema::new("OS::Neutron::ProviderNet", "A network on a physical one.")
        .properties([
            ("name", text().updatable()),
            (
                "network_type",
                text()
                    .or("vlan")
                    .updatable()
                    .one_of(&["local", "vlan", "vxlan", "gre", "geneve", "flat"]),
            ),
            ("physical_network", text().updatable()),
            ("segmentation_id", text().updatable()),
            ("admin_state_up", admin_state()),
            ("shared", boolean().or(true).updatable()),
            ("port_security_enabled", boolean().updatable()),
            ("router_external", boolean().or(false).updatable()),
            ("dns_domain", text().updatable()),
            ("availability_zone_hints", list().updatable()),
            ("tags", tags()),
        ])
        .attributes([
            ("status", PropertyKind::String, "The status of the network."),
            ("subnets", PropertyKind::List, "Subnets of this network."),
            (
                "segments",
                PropertyKind::List,
                "The segments of this network.",
            ),
        ])
        .shown()
}

fn subnet() -> TypeSchema {
    let network = text().custom("neutron.network");
    TypeSchema::new("OS::Neutron::Subnet", "A range of addresses on a network.")
        .properties([
            (
                "network_id",
                network.clone().about("Old name of `network`."),
            ),
            (
                "network",
                network.required().about("The ID of the attached network."),
            ),
            (
                "subnetpool",
                text()
                    .custom("neutron.subnetpool")
                    .about("The name or ID of the subnet pool."),
            ),
            (
                "prefixlen",
                integer()
                    .range(Some(0), None)
                    .about("Prefix length for subnet allocation from subnet pool."),
            ),
            ("cidr", text().custom("net_cidr").about("The CIDR.")),
            ("value_specs", value_specs()),
            ("name", text().updatable().about("The name of the subnet.")),
            (
                "ip_version",
                integer()
                    .or(4i64)
                    .rule(crate::schema::Rule::AllowedValues(vec![
                        4i64.into(),
                        6i64.into(),
                    ]))
                    .about("The IP version, which is 4 or 6."),
            ),
            (
                "dns_nameservers",
                list()
                    .or(empty_list())
                    .updatable()
                    .about("A specified set of DNS name servers to be used."),
            ),
            (
                "gateway_ip",
                text().updatable().about("The gateway IP address."),
            ),
            (
                "enable_dhcp",
                boolean()
                    .or(true)
                    .updatable()
                    .about("Set to true if DHCP is enabled and false if DHCP is disabled."),
            ),
            (
                "allocation_pools",
                list()
                    .updatable()
                    .of(map().with([
                        (
                            "start",
                            text()
                                .required()
                                .updatable()
                                .custom("ip_addr")
                                .about("Start address for the allocation pool."),
                        ),
                        (
                            "end",
                            text()
                                .required()
                                .updatable()
                                .custom("ip_addr")
                                .about("End address for the allocation pool."),
                        ),
                    ]))
                    .about("The start and end addresses for the allocation pools."),
            ),
            (
                "tenant_id",
                text().about("The ID of the tenant who owns the network."),
            ),
            (
                "host_routes",
                list()
                    .updatable()
                    .of(map().with([
                        (
                            "destination",
                            text()
                                .required()
                                .custom("net_cidr")
                                .about("The destination for static route."),
                        ),
                        (
                            "nexthop",
                            text()
                                .required()
                                .custom("ip_addr")
                                .about("The next hop for the destination."),
                        ),
                    ]))
                    .about("A list of host route dictionaries for the subnet."),
            ),
            (
                "ipv6_ra_mode",
                text()
                    .one_of(&["dhcpv6-stateful", "dhcpv6-stateless", "slaac"])
                    .about("IPv6 RA (Router Advertisement) mode."),
            ),
            (
                "ipv6_address_mode",
                text()
                    .one_of(&["dhcpv6-stateful", "dhcpv6-stateless", "slaac"])
                    .about("IPv6 address mode."),
            ),
            (
                "segment",
                text()
                    .updatable()
                    .custom("neutron.segment")
                    .about("The name/ID of the segment to associate."),
            ),
            ("tags", tags()),
        ])
        .attributes([
            ("name", PropertyKind::String, "Friendly name of the subnet."),
            (
                "network_id",
                PropertyKind::String,
                "Parent network of the subnet.",
            ),
            (
                "tenant_id",
                PropertyKind::String,
                "Tenant owning the subnet.",
            ),
            (
                "allocation_pools",
                PropertyKind::List,
                "Ip allocation pools and their ranges.",
            ),
            (
                "gateway_ip",
                PropertyKind::String,
                "Ip of the subnet's gateway.",
            ),
            (
                "host_routes",
                PropertyKind::List,
                "Additional routes for this subnet.",
            ),
            (
                "ip_version",
                PropertyKind::String,
                "Ip version for the subnet.",
            ),
            (
                "cidr",
                PropertyKind::String,
                "CIDR block notation for this subnet.",
            ),
            (
                "dns_nameservers",
                PropertyKind::List,
                "List of dns nameservers.",
            ),
            (
                "enable_dhcp",
                PropertyKind::String,
                "'true' if DHCP is enabled for this subnet; 'false' otherwise.",
            ),
        ])
        .shown()
        .old_names(&[("network_id", "network")])
}

fn segment() -> TypeSchema {
    TypeSchema::new(
        "OS::Neutron::Segment",
        "A part of a network with a broadcast domain of its own.",
    )
    .properties([
        (
            "network",
            text()
                .required()
                .custom("neutron.network")
                .about("The name/id of network to associate with this segment."),
        ),
        (
            "network_type",
            text()
                .required()
                .one_of(&["local", "vlan", "vxlan", "gre", "geneve", "flat"])
                .about("Type of network to associate with this segment."),
        ),
        (
            "physical_network",
            text().about("Name of physical network to associate with this segment."),
        ),
        (
            "segmentation_id",
            integer()
                .range(Some(1), None)
                .about("Segmentation ID for this segment."),
        ),
        ("name", text().updatable().about("Name of the segment.")),
        (
            "description",
            text().updatable().about("Description of the segment."),
        ),
    ])
    .shown()
}

fn port() -> TypeSchema {
    let network = text().custom("neutron.network");
    let fixed_ip = map().with([
        (
            "subnet_id",
            text()
                .updatable()
                .custom("neutron.subnet")
                .about("Old name of `subnet`."),
        ),
        (
            "subnet",
            text()
                .updatable()
                .custom("neutron.subnet")
                .about("Subnet in which to allocate the IP address for this port."),
        ),
        (
            "ip_address",
            text()
                .updatable()
                .custom("ip_addr")
                .about("IP address desired in the subnet for this port."),
        ),
    ]);
    let pair = map().with([
        (
            "mac_address",
            text()
                .custom("mac_addr")
                .about("MAC address to allow through this port."),
        ),
        (
            "ip_address",
            text()
                .required()
                .custom("net_cidr")
                .about("IP address to allow through this port."),
        ),
    ]);
    TypeSchema::new("OS::Neutron::Port", "A port on a network.")
        .properties([
            (
                "network_id",
                network.clone().about("Old name of `network`."),
            ),
            (
                "network",
                network.required().about("Network this port belongs to."),
            ),
            (
                "device_id",
                text().or("").updatable().about("Device ID of this port."),
            ),
            (
                "device_owner",
                text()
                    .or("")
                    .updatable()
                    .about("Name of the network owning the port."),
            ),
            (
                "name",
                text().updatable().about("A symbolic name for this port."),
            ),
            ("value_specs", value_specs()),
            ("admin_state_up", admin_state()),
            (
                "fixed_ips",
                list()
                    .updatable()
                    .of(fixed_ip)
                    .about("Desired IPs for this port."),
            ),
            (
                "mac_address",
                text()
                    .custom("mac_addr")
                    .about("MAC address to give to this port."),
            ),
            (
                "security_groups",
                list()
                    .updatable()
                    .about("Security group IDs to associate with this port."),
            ),
            (
                "allowed_address_pairs",
                list()
                    .updatable()
                    .of(pair)
                    .about("Additional MAC/IP address pairs allowed to pass through the port."),
            ),
            (
                "no_fixed_ips",
                boolean()
                    .or(false)
                    .updatable()
                    .about("Flag to disable all fixed ips on the port."),
            ),
            (
                "binding:vnic_type",
                text()
                    .or("normal")
                    .updatable()
                    .one_of(&[
                        "normal",
                        "direct",
                        "macvtap",
                        "direct-physical",
                        "baremetal",
                        "virtio-forwarder",
                        "smart-nic",
                    ])
                    .about("The vnic type to be bound on the neutron port."),
            ),
            (
                "port_security_enabled",
                boolean()
                    .updatable()
                    .about("Flag to enable/disable port security on the port."),
            ),
            (
                "qos_policy",
                text()
                    .updatable()
                    .custom("neutron.qos_policy")
                    .about("The name or ID of QoS policy to attach to this port."),
            ),
            (
                "dns_name",
                text()
                    .updatable()
                    .custom("dns_name")
                    .about("DNS name associated with the port."),
            ),
            ("tags", tags()),
            (
                "propagate_uplink_status",
                boolean()
                    .updatable()
                    .about("Flag to enable/disable propagate uplink status on the port."),
            ),
            (
                "replacement_policy",
                text()
                    .or("AUTO")
                    .updatable()
                    .one_of(&["REPLACE_ALWAYS", "AUTO"])
                    .about("Policy on how to respond to a stack-update for this resource."),
            ),
        ])
        .attributes([
            (
                "admin_state_up",
                PropertyKind::String,
                "The administrative state of this port.",
            ),
            (
                "device_id",
                PropertyKind::String,
                "Unique identifier for the device.",
            ),
            (
                "device_owner",
                PropertyKind::String,
                "Name of the network owning the port.",
            ),
            ("fixed_ips", PropertyKind::List, "Fixed IP addresses."),
            (
                "mac_address",
                PropertyKind::String,
                "MAC address of the port.",
            ),
            ("name", PropertyKind::String, "Friendly name of the port."),
            (
                "network_id",
                PropertyKind::String,
                "Unique identifier for the network owning the port.",
            ),
            (
                "security_groups",
                PropertyKind::List,
                "A list of security groups for the port.",
            ),
            ("status", PropertyKind::String, "The status of the port."),
            ("tenant_id", PropertyKind::String, "Tenant owning the port."),
            (
                "allowed_address_pairs",
                PropertyKind::List,
                "Additional MAC/IP address pairs allowed to pass through a port.",
            ),
            (
                "subnets",
                PropertyKind::List,
                "A list of all subnet attributes for the port.",
            ),
            (
                "port_security_enabled",
                PropertyKind::Boolean,
                "Port security enabled of the port.",
            ),
            (
                "qos_policy_id",
                PropertyKind::String,
                "The QoS policy ID attached to this port.",
            ),
            (
                "dns_assignment",
                PropertyKind::Map,
                "The DNS assigned to this port.",
            ),
            (
                "network",
                PropertyKind::Map,
                "The attributes of the network owning the port.",
            ),
        ])
        .shown()
        .old_names(&[("network_id", "network")])
}
