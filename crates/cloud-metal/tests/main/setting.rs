//! A cloud over nodes that are not there.

use std::sync::Arc;

use async_trait::async_trait;
use baremetal::{Baremetal, FakeHardware, Image, Node, NodeId, Port, ProvisionState};
use cloud::{
    Attachment, Cloud, CloudError, Named, NetworkSpec, Order, PhysicalName, Revision, Seen,
    ServerSpec, SubnetSpec,
};
use cloud_metal::{DhcpSettings, Images, MetalCloud, Settings};
use jiff::Timestamp;
use store::Store;

struct OneImage;

#[async_trait]
impl Images for OneImage {
    async fn names(&self) -> Result<Vec<Named>, String> {
        Ok(vec![Named {
            id: "9f2d".into(),
            name: "hello".into(),
            physical_name: None,
        }])
    }

    async fn raw(&self, id: &str) -> Result<Image, String> {
        Ok(Image {
            id: id.into(),
            sha256: "0".repeat(64),
            size: 1 << 20,
        })
    }
}

pub struct Setting {
    pub cloud: MetalCloud,
    pub metal: Baremetal,
}

pub async fn open(dhcp: Option<DhcpSettings>) -> Setting {
    let store = Store::memory(&[baremetal::MIGRATIONS, cloud_metal::MIGRATIONS]).expect("store");
    let metal = Baremetal::open(
        store.clone(),
        baremetal::Settings::default(),
        vec![Arc::new(FakeHardware)],
    );
    let metal = metal.await.expect("bare metal");
    let runner = metal.clone();
    tokio::spawn(async move { runner.run(std::future::pending()).await });
    let settings = Settings {
        images: Arc::new(OneImage),
        dhcp,
        ca: None,
        zone: "nova".into(),
        now: Timestamp::now,
    };
    let cloud = MetalCloud::open(store, metal.clone(), settings)
        .await
        .expect("cloud");
    Setting { cloud, metal }
}

impl Setting {
    /// A node that can be had, with interfaces.
    pub async fn node(&self, name: &str, class: &str, macs: &[&str]) -> NodeId {
        let node = Node {
            name: Some(name.into()),
            driver: "fake-hardware".into(),
            provision_state: ProvisionState::Available,
            resource_class: Some(class.into()),
            ..Node::default()
        };
        let node = self.metal.create_node(node).await.expect("node");
        for mac in macs {
            self.metal
                .create_port(Port::new(node.uuid, mac, Timestamp::now()))
                .await
                .expect("port");
        }
        node.uuid
    }

    /// A network with one subnet, named alike.
    pub async fn network(&self, name: &str, cidr: &str) {
        let network = NetworkSpec {
            name: name.into(),
            admin_state_up: true,
            shared: false,
            provider: None,
            mtu: Some(1400),
            dns_domain: None,
            tags: Vec::new(),
        };
        self.cloud
            .ensure_network(&physical(name), &network, &order(1))
            .await
            .expect("network");
        let subnet = SubnetSpec {
            name: name.into(),
            network: name.into(),
            cidr: cidr.parse().expect("a network"),
            gateway_enabled: true,
            gateway: None,
            dns_nameservers: Vec::new(),
            allocation_pools: Vec::new(),
            enable_dhcp: true,
            host_routes: Vec::new(),
            tags: Vec::new(),
        };
        self.cloud
            .ensure_subnet(&physical(name), &subnet, &order(1))
            .await
            .expect("subnet");
    }

    /// Waits until a node has reached a state with nothing left to do.
    pub async fn rests(&self, node: NodeId, state: ProvisionState) {
        let mut changes = self.metal.watch();
        loop {
            changes.borrow_and_update();
            let now = self.metal.node(node).await.expect("node");
            if now.provision_state == state && now.work.is_none() {
                return;
            }
            changes.changed().await.expect("bare metal lives");
        }
    }

    /// Asks for a server until it is there.
    pub async fn server(&self, want: &ServerSpec) -> Result<cloud::Server, CloudError> {
        let mut seen = Revision::default();
        loop {
            match self
                .cloud
                .ensure_server(&physical(&want.name), want, &order(1))
                .await?
            {
                Seen::Ready(server) => return Ok(server),
                Seen::Pending { .. } => seen = self.cloud.watch(seen).await,
            }
        }
    }

    /// Removes a server and waits until it is gone.
    pub async fn remove(&self, name: &str) {
        let mut seen = Revision::default();
        while let Seen::Pending { .. } = self
            .cloud
            .remove_server(&physical(name), &order(1))
            .await
            .expect("removes")
        {
            seen = self.cloud.watch(seen).await;
        }
    }
}

pub fn physical(name: &str) -> PhysicalName {
    PhysicalName(format!("stack-{name}"))
}

pub fn order(generation: u64) -> Order {
    Order {
        project: "p".into(),
        generation,
        deadline: "2200-01-01T00:00:00Z".parse().expect("a time"),
    }
}

pub fn on_networks(name: &str, networks: &[&str]) -> ServerSpec {
    let attachment = |network: &&str| Attachment {
        network: Some((*network).into()),
        ..Attachment::default()
    };
    ServerSpec {
        name: name.into(),
        image: Some("hello".into()),
        flavor: "baremetal".into(),
        key_name: None,
        attachments: networks.iter().map(attachment).collect(),
        security_groups: Vec::new(),
        user_data: None,
        config_drive: true,
        metadata: Default::default(),
        tags: Vec::new(),
        scheduler_hints: Default::default(),
        availability_zone: None,
        personality: Default::default(),
        metadata_url: None,
    }
}
