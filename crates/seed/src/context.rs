//! What all services of one seed share.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use store::{Migrations, Store};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::identity::{self, Identity};
use crate::image::{self, Images};
use crate::settings::Settings;
use crate::{Mounted, SeedError, clouds, files};

/// What all services of one seed share. Handed to each module's `router`.
pub struct Context {
    /// Settings.
    pub settings: Settings,
    /// The database.
    pub store: Store,
    /// Checks tokens, makes users for stacks, finds keys that requests are signed with.
    pub identity: Identity,
    /// Images and their content.
    pub images: Images,
    /// Where operators reach the seed, without a slash at the end.
    pub public_url: String,
    /// Where nodes reach the seed, without a slash at the end.
    pub internal_url: String,
    /// Cancelled when the seed is to end; held requests and background work watch it.
    pub stop: CancellationToken,
    /// Locked as long as the seed lives.
    _lock: File,
}

/// A shared [`Context`].
pub type Ctx = Arc<Context>;

/// The addresses that the listeners were bound to.
pub(crate) struct Addresses {
    pub(crate) public: std::net::SocketAddr,
    pub(crate) internal: Option<std::net::SocketAddr>,
}

impl Context {
    /// Opens the state directory and the database in it.
    pub(crate) async fn open(settings: Settings, bound: &Addresses) -> Result<Ctx, SeedError> {
        let state = |path: &std::path::Path| {
            let path = path.to_owned();
            move |source| SeedError::State { path, source }
        };
        files::private_dir(&settings.state).map_err(state(&settings.state))?;
        let path = settings.state.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(state(&path))?;
        if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(SeedError::Busy {
                path: settings.state.clone(),
            });
        }
        let path = settings.state.join("seed.sqlite");
        let store = Store::open(&path, &migrations())
            .map_err(|source| SeedError::Store { path, source })?;
        let (identity, login) = Identity::open(
            store.clone(),
            &settings.state,
            settings.token_lifetime,
            &settings.region,
        )
        .await?;
        let images = Images::open(store.clone(), &settings.state).await?;
        let scheme = if settings.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let own = |address: std::net::SocketAddr| format!("{scheme}://{}", reachable(address));
        let given = |url: &Option<Url>| {
            url.as_ref()
                .map(|url| url.as_str().trim_end_matches('/').to_owned())
        };
        let public_url = given(&settings.public_url).unwrap_or_else(|| own(bound.public));
        let internal_url = given(&settings.internal_url)
            .or_else(|| bound.internal.map(own))
            .unwrap_or_else(|| public_url.clone());
        clouds::write(&settings, &public_url, &login)?;
        Ok(Arc::new(Self {
            settings,
            store,
            identity,
            images,
            public_url,
            internal_url,
            stop: CancellationToken::new(),
            _lock: lock,
        }))
    }
}

impl Context {
    /// Writes the catalog entries of what is mounted, and takes out what is not any more.
    pub(crate) async fn list_services(&self, mounted: &[Mounted]) -> Result<(), SeedError> {
        let entries: Vec<_> = mounted
            .iter()
            .filter_map(|m| m.catalog.map(|entry| (m.prefix, entry)))
            .collect();
        let (public, internal) = (self.public_url.clone(), self.internal_url.clone());
        let region = self.settings.region.clone();
        self.identity
            .list_services(region, public, internal, entries)
            .await
            .map_err(|failure| SeedError::Service {
                service: "identity",
                source: Box::new(failure),
            })
    }
}

/// Tables of all rooms that keep something in the seed's database. One line a room.
fn migrations() -> Vec<Migrations> {
    vec![
        identity::MIGRATIONS,
        image_store::MIGRATIONS,
        image::MIGRATIONS,
        ::baremetal::MIGRATIONS,
        cloud_metal::MIGRATIONS,
        engine::Engine::MIGRATIONS,
    ]
}

/// An address that a client can use: listening on all of them is not one.
fn reachable(mut address: std::net::SocketAddr) -> std::net::SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
