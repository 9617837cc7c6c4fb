//! The one test that every driver passes: what the engine relies on.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

use crate::{
    Attachment, Cloud, CloudError, Effect, FixedAddressSpec, Kind, NetworkSpec, Order,
    PhysicalName, PortSpec, Revision, Seen, ServerSpec, SubnetSpec,
};

/// What the test may use in the cloud that it looks at.
#[derive(Debug, Clone)]
pub struct ContractSetting {
    /// An image, by name or id.
    pub image: String,
    /// A flavor that a free machine fits, by name or id.
    pub flavor: String,
    /// The project.
    pub project: String,
    /// A time that is far enough for a server to come up.
    pub deadline: Timestamp,
    /// Put into all names, so that two runs do not meet.
    pub prefix: String,
    /// Addresses that no other network of the cloud uses, at least 16 of them.
    pub cidr: IpNet,
}

/// Asks until the thing is ready, waiting for the cloud's own word in between.
macro_rules! until_ready {
    ($cloud:expr, $call:expr) => {{
        let mut seen = Revision::default();
        loop {
            match $call.await {
                Ok(Seen::Ready(thing)) => break Ok(thing),
                Ok(Seen::Pending { why, .. }) => {
                    assert!(!why.is_empty(), "a pending thing says what it waits for");
                    seen = $cloud.watch(seen).await;
                }
                Err(error) => break Err(error),
            }
        }
    }};
}

/// Runs the contract against a driver.
///
/// # Panics
///
/// When the driver breaks the contract; the message says which part.
pub async fn contract(cloud: &dyn Cloud, setting: &ContractSetting) {
    let names = Names::new(setting);
    network_subnet_port(cloud, setting, &names).await;
    server(cloud, setting, &names).await;
    generations(cloud, setting, &names).await;
    removal(cloud, setting, &names).await;
}

struct Names {
    network: PhysicalName,
    subnet: PhysicalName,
    port: PhysicalName,
    server: PhysicalName,
}

impl Names {
    fn new(setting: &ContractSetting) -> Names {
        let name = |what: &str| PhysicalName(format!("{}-{what}", setting.prefix));
        Names {
            network: name("network"),
            subnet: name("subnet"),
            port: name("port"),
            server: name("server"),
        }
    }
}

fn order(setting: &ContractSetting, generation: u64) -> Order {
    Order {
        project: setting.project.clone(),
        generation,
        deadline: setting.deadline,
    }
}

fn network_spec(names: &Names) -> NetworkSpec {
    NetworkSpec {
        name: names.network.0.clone(),
        admin_state_up: true,
        shared: false,
        provider: None,
        mtu: None,
        dns_domain: None,
        tags: Vec::new(),
    }
}

fn subnet_spec(setting: &ContractSetting, names: &Names, network: &str) -> SubnetSpec {
    SubnetSpec {
        name: names.subnet.0.clone(),
        network: network.to_owned(),
        cidr: setting.cidr,
        gateway_enabled: true,
        gateway: None,
        dns_nameservers: Vec::new(),
        allocation_pools: Vec::new(),
        enable_dhcp: true,
        host_routes: Vec::new(),
        tags: Vec::new(),
    }
}

fn port_spec(names: &Names, network: &str, address: Option<IpAddr>) -> PortSpec {
    let fixed = FixedAddressSpec {
        subnet: None,
        address,
    };
    PortSpec {
        name: names.port.0.clone(),
        network: network.to_owned(),
        fixed_addresses: address.map(|_| fixed).into_iter().collect(),
        mac: None,
        admin_state_up: true,
        security_groups: None,
        port_security: None,
        allowed_address_pairs: Vec::new(),
        vnic_type: None,
        tags: Vec::new(),
    }
}

fn server_spec(setting: &ContractSetting, names: &Names, port: &str) -> ServerSpec {
    ServerSpec {
        name: names.server.0.clone(),
        image: Some(setting.image.clone()),
        flavor: setting.flavor.clone(),
        key_name: None,
        attachments: vec![Attachment {
            port: Some(port.to_owned()),
            ..Attachment::default()
        }],
        security_groups: Vec::new(),
        user_data: None,
        config_drive: true,
        metadata: [("a".to_owned(), "1".to_owned())].into(),
        tags: Vec::new(),
        scheduler_hints: Default::default(),
        availability_zone: None,
        personality: Default::default(),
        metadata_url: None,
    }
}

async fn network_subnet_port(cloud: &dyn Cloud, setting: &ContractSetting, names: &Names) {
    let order = order(setting, 1);
    let lost = port_spec(names, "no-such-network", None);
    let error = until_ready!(cloud, cloud.ensure_port(&names.port, &lost, &order));
    assert!(
        matches!(&error, Err(CloudError::NotFound { kind: Kind::Network, name }) if name == "no-such-network"),
        "a port on an unknown network names that network: {error:?}"
    );
    let want = network_spec(names);
    let made = until_ready!(cloud, cloud.ensure_network(&names.network, &want, &order));
    let made = made.expect("a network can be made");
    let again = until_ready!(cloud, cloud.ensure_network(&names.network, &want, &order));
    assert_eq!(
        again.as_ref(),
        Ok(&made),
        "the same network, not a second one"
    );
    for by in [made.id.as_str(), made.name.as_str()] {
        let found = cloud.find(Kind::Network, by, &setting.project).await;
        assert_eq!(
            found.map(|found| found.map(|found| found.id)),
            Ok(Some(made.id.clone())),
            "a network is found by id and name"
        );
    }

    let want = subnet_spec(setting, names, &made.id);
    let subnet = until_ready!(cloud, cloud.ensure_subnet(&names.subnet, &want, &order));
    let subnet = subnet.expect("a subnet can be made");
    assert_eq!(subnet.cidr, setting.cidr.trunc());
    assert_eq!(subnet.network_id, made.id);
    assert!(subnet.gateway.is_some(), "the first address is the gateway");

    let outside: IpAddr = "203.0.113.77".parse().expect("an address");
    let want = port_spec(names, &made.id, Some(outside));
    let wrong = until_ready!(cloud, cloud.ensure_port(&names.port, &want, &order));
    assert!(wrong.is_err(), "an address outside every subnet is refused");

    let want = port_spec(names, &made.name, None);
    let port = until_ready!(cloud, cloud.ensure_port(&names.port, &want, &order));
    let port = port.expect("a port can be made");
    let again = until_ready!(cloud, cloud.ensure_port(&names.port, &want, &order));
    let again = again.expect("a port can be asked for twice");
    assert_eq!(again.id, port.id, "the same port, not a second one");
    assert_eq!(again.fixed_addresses, port.fixed_addresses);
    let address = port.fixed_addresses.first().expect("an address was chosen");
    assert!(setting.cidr.contains(&address.address));
    assert_ne!(Some(address.address), subnet.gateway);
}

async fn server(cloud: &dyn Cloud, setting: &ContractSetting, names: &Names) {
    let order = order(setting, 1);
    let port = cloud.port(&names.port).await;
    let port = port.expect("reads work").expect("the port is there");
    let mut want = server_spec(setting, names, &port.id);
    want.image = Some("no-such-image".to_owned());
    let wrong = until_ready!(cloud, cloud.ensure_server(&names.server, &want, &order));
    assert!(
        matches!(&wrong, Err(CloudError::NotFound { kind: Kind::Image, name }) if name == "no-such-image"),
        "a server of an unknown image names that image: {wrong:?}"
    );
    let want = server_spec(setting, names, &port.id);
    let made = until_ready!(cloud, cloud.ensure_server(&names.server, &want, &order));
    let made = made.expect("a server can be made");
    let again = until_ready!(cloud, cloud.ensure_server(&names.server, &want, &order));
    let again = again.expect("a server can be asked for twice");
    assert_eq!(again.id, made.id, "the same server, not a second one");
    let addresses: Vec<IpAddr> = made.addresses.iter().map(|one| one.address).collect();
    let wanted: Vec<IpAddr> = port.fixed_addresses.iter().map(|one| one.address).collect();
    assert_eq!(addresses, wanted, "a server has the addresses of its ports");
    assert_eq!(made.metadata, want.metadata);
    let read = cloud.server(&names.server).await;
    let read = read.expect("reads work").expect("the server is there");
    assert_eq!(read.id, made.id);
}

async fn generations(cloud: &dyn Cloud, setting: &ContractSetting, names: &Names) {
    let port = cloud.port(&names.port).await;
    let port = port.expect("reads work").expect("the port is there");
    let mut want = server_spec(setting, names, &port.id);
    want.metadata.insert("b".to_owned(), "2".to_owned());
    let (old, new) = (order(setting, 1), order(setting, 2));
    let changed = until_ready!(cloud, cloud.ensure_server(&names.server, &want, &new));
    let changed = changed.expect("metadata changes in place");
    assert_eq!(changed.metadata, want.metadata);
    let late = until_ready!(cloud, cloud.ensure_server(&names.server, &want, &old));
    assert!(
        matches!(late, Err(CloudError::Superseded { .. })),
        "an older decision is refused: {late:?}"
    );
    let newer = order(setting, 3);
    let rebuilt = until_ready!(
        cloud,
        cloud.rebuild_server(&names.server, &want, false, &newer)
    );
    let rebuilt = rebuilt.expect("a server can be rebuilt");
    assert_eq!(rebuilt.id, changed.id, "a rebuilt server keeps its id");
    assert_eq!(rebuilt.addresses, changed.addresses);
}

async fn removal(cloud: &dyn Cloud, setting: &ContractSetting, names: &Names) {
    let order = order(setting, 4);
    let used = cloud.remove_network(&names.network, &order).await;
    assert!(
        matches!(used, Err(CloudError::InUse { .. })),
        "a network with ports stays: {used:?}"
    );
    let gone = until_ready!(cloud, cloud.remove_server(&names.server, &order));
    assert_eq!(gone, Ok(Effect::Changed));
    let gone = until_ready!(cloud, cloud.remove_server(&names.server, &order));
    assert_eq!(gone, Ok(Effect::Unchanged), "already gone is no error");
    assert_eq!(cloud.server(&names.server).await, Ok(None));
    let port = cloud.port(&names.port).await.expect("reads work");
    assert!(
        port.is_some(),
        "a port that was there before the server stays"
    );
    let gone = until_ready!(cloud, cloud.remove_port(&names.port, &order));
    assert_eq!(gone, Ok(Effect::Changed));
    let gone = until_ready!(cloud, cloud.remove_subnet(&names.subnet, &order));
    assert_eq!(gone, Ok(Effect::Changed));
    let gone = until_ready!(cloud, cloud.remove_network(&names.network, &order));
    assert_eq!(gone, Ok(Effect::Changed));
    for (kind, name) in [
        (Kind::Server, &names.server),
        (Kind::Port, &names.port),
        (Kind::Subnet, &names.subnet),
        (Kind::Network, &names.network),
    ] {
        let left = cloud.list(kind).await.expect("lists work");
        let found = left
            .iter()
            .any(|one| one.physical_name.as_ref() == Some(name));
        assert!(!found, "the {kind} `{name}` is still listed");
    }
}
