//! Opens the cloud over bare metal for this seed: its images, and addresses on the provisioning network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use baremetal::{Baremetal, Image};
use cloud::Named;
use cloud_metal::{DhcpSettings, Images, MetalCloud, Settings};
use ipnet::Ipv4Net;
use serde_json::Value;

use crate::{Ctx, SeedError, image};

/// Images of this seed, as the cloud asks for them.
struct OwnImages(image::Images);

#[async_trait]
impl Images for OwnImages {
    async fn names(&self) -> Result<Vec<Named>, String> {
        let names = self.0.names().await.map_err(|error| error.to_string())?;
        let named = |(id, name)| Named {
            id,
            name,
            physical_name: None,
        };
        Ok(names.into_iter().map(named).collect())
    }

    async fn raw(&self, id: &str) -> Result<Image, String> {
        let raw = self.0.raw(id).await.map_err(|error| chain(&error))?;
        Ok(Image {
            id: raw.id,
            sha256: raw.sha256,
            size: raw.size,
        })
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        said = format!("{said}: {inner}");
        cause = inner.source();
    }
    said
}

/// Opens the cloud over the nodes of this seed.
pub async fn open(ctx: &Ctx, metal: &Baremetal) -> Result<MetalCloud, SeedError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| SeedError::Service {
        service: "compute",
        source,
    };
    let ca = ctx.settings.tls.as_ref();
    let ca = ca.map(|tls| std::fs::read_to_string(&tls.ca)).transpose();
    let settings = Settings {
        images: Arc::new(OwnImages(ctx.images.clone())),
        dhcp: dhcp(ctx),
        ca: ca.map_err(|error| failed(Box::new(error)))?,
        zone: "nova".to_owned(),
        now: jiff::Timestamp::now,
    };
    MetalCloud::open(ctx.store.clone(), metal.clone(), settings)
        .await
        .map_err(|error| failed(Box::new(error)))
}

/// Addresses are given on the interface that has the seed's internal address. On the loop there is nobody to
/// give them to.
fn dhcp(ctx: &Ctx) -> Option<DhcpSettings> {
    let Some(SocketAddr::V4(internal)) = ctx.settings.internal_listen else {
        return None;
    };
    if internal.ip().is_loopback() || internal.ip().is_unspecified() {
        return None;
    }
    let Some((interface, net)) = interface_of(*internal.ip()) else {
        tracing::warn!(address = %internal.ip(), "no interface has the internal address: no DHCP is served");
        return None;
    };
    let given = ctx.settings.deploy_range;
    Some(DhcpSettings {
        interface,
        directory: ctx.settings.state.join("dhcp"),
        deploy_range: given.or_else(|| usual_range(net)),
        deploy_prefix: net.prefix_len(),
    })
}

/// The last quarter of a network but for its last sixteenth, where routers and the like use to be.
fn usual_range(net: Ipv4Net) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let size = u64::from(u32::from(net.broadcast()) - u32::from(net.network())) + 1;
    let at = |place: u64| {
        u32::try_from(u64::from(u32::from(net.network())) + place)
            .ok()
            .map(Ipv4Addr::from)
    };
    if size < 64 {
        return None;
    }
    Some((at(size * 3 / 4)?, at(size * 15 / 16 - 1)?))
}

/// The interface with an address, and its network.
fn interface_of(address: Ipv4Addr) -> Option<(String, Ipv4Net)> {
    let said = Command::new("ip")
        .args(["-json", "-4", "addr"])
        .output()
        .ok()?;
    let links: Vec<Value> = serde_json::from_slice(&said.stdout).ok()?;
    links.iter().find_map(|link| {
        let own = link["addr_info"].as_array()?.iter().find(|one| {
            one["local"]
                .as_str()
                .and_then(|text| text.parse::<IpAddr>().ok())
                == Some(IpAddr::V4(address))
        })?;
        let bits = u8::try_from(own["prefixlen"].as_u64()?).ok()?;
        Some((
            link["ifname"].as_str()?.to_owned(),
            Ipv4Net::new(address, bits).ok()?,
        ))
    })
}

/// Reads `FIRST-LAST`.
pub(crate) fn range(text: &str) -> Result<(Ipv4Addr, Ipv4Addr), String> {
    let pair = text
        .split_once('-')
        .and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
    match pair {
        Some((first, last)) if first <= last => Ok((first, last)),
        Some(_) | None => Err("two addresses are expected: FIRST-LAST".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_found() {
        let net: Ipv4Net = "192.0.2.1/24".parse().expect("a network");
        assert_eq!(
            usual_range(net),
            Some(([192, 0, 2, 192].into(), [192, 0, 2, 239].into()))
        );
        assert_eq!(
            usual_range("192.0.2.1/30".parse().expect("a network")),
            None
        );
        assert_eq!(
            range("192.0.2.2-192.0.2.9"),
            Ok(([192, 0, 2, 2].into(), [192, 0, 2, 9].into()))
        );
        assert!(range("192.0.2.9-192.0.2.2").is_err());
        assert!(range("192.0.2.9").is_err());
    }
}
