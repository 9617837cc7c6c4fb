//! The cloud driver over bare metal: choosing a node, networks, ports, addresses, DHCP, servers.
