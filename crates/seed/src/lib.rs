//! The seed: a small OpenStack for bare metal in one process. One module per service.
//!
//! [`run`] opens the state directory, starts the services and serves them under one address, each behind its
//! prefix. A service is routes, wire types and policy over a room below; what it does is that room's job.

pub mod baremetal;
pub mod cloudformation;
mod clouds;
pub mod compute;
mod connection;
mod context;
mod error;
mod failure;
mod files;
pub mod identity;
pub mod image;
mod later;
mod memory;
pub mod metadata;
pub mod network;
pub mod orchestration;
mod server;
mod settings;
mod tls;
mod unread;

use std::sync::Arc;

use openstack_api::TokenCheck;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::TaskTracker;

pub use clouds::BELOW as OTHER_CLOUDS;
pub use context::{Context, Ctx};
pub use error::SeedError;
pub use failure::Failure;
pub use files::write_private;
pub use server::{CatalogEntry, Mounted};
pub use settings::{CloudKind, SeedArgs, Settings, TlsFiles};

use context::Addresses;
use server::{Listener, Services};

/// Starts all services. One line a service; those without a catalog entry are for nodes.
async fn services(ctx: &Ctx) -> Result<Vec<Mounted>, SeedError> {
    let tokens: Arc<dyn TokenCheck> = Arc::new(ctx.identity.clone());
    let metal = baremetal::open(ctx, Some(Arc::new(ctx.images.clone()))).await?;
    let content = Arc::new(ctx.images.content().clone());
    let mut mounted = vec![
        identity::mount(&ctx.identity),
        image::mount(&ctx.images, Arc::clone(&tokens)),
    ];
    mounted.extend(baremetal::mount(&metal, &tokens, Some(content)));
    let cloud: Arc<dyn cloud::Cloud> = match ctx.settings.cloud {
        CloudKind::Sim => Arc::new(cloud_sim::Sim::new(cloud_sim::Options::with_nodes(
            SIMULATED_NODES,
        ))),
        CloudKind::Metal => {
            let cloud = compute::open(ctx, &metal).await?;
            mounted.push(compute::mount(&cloud, Arc::clone(&tokens)));
            mounted.push(network::mount(&cloud, tokens));
            Arc::new(cloud)
        }
    };
    mounted.extend(orchestration::open(ctx, cloud).await?);
    Ok(mounted)
}

/// So many machines has the cloud in memory.
const SIMULATED_NODES: usize = 1000;

/// Serves until SIGTERM or SIGINT. `ready` is told the public URL when requests are answered.
pub async fn serve(settings: Settings, ready: impl FnOnce(&str)) -> Result<(), SeedError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(SeedError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(SeedError::Runtime)?;
    let told = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    serve_until(settings, ready, told).await
}

/// Serves until `end` is there, then lets open requests finish.
pub async fn serve_until(
    settings: Settings,
    ready: impl FnOnce(&str),
    end: impl Future<Output = ()>,
) -> Result<(), SeedError> {
    server::raise_open_files();
    let tls = settings.tls.as_ref().map(tls::acceptor).transpose()?;
    let mut listeners = Vec::new();
    for address in &settings.listen {
        listeners.push(Listener::bind(*address, false).await?);
    }
    let public = listeners.first().ok_or(SeedError::NoAddress)?.address();
    let mut internal = None;
    if let Some(address) = settings.internal_listen {
        let listener = Listener::bind(address, true).await?;
        internal = Some(listener.address());
        listeners.push(listener);
    }
    let ctx = Context::open(settings, &Addresses { public, internal }).await?;
    let mounted = services(&ctx).await?;
    ctx.list_services(&mounted).await?;
    let services = Arc::new(Services::new(mounted));
    let running = TaskTracker::new();
    for listener in listeners {
        running.spawn(listener.serve(Arc::clone(&services), tls.clone(), ctx.stop.clone()));
    }
    ready(&ctx.public_url);
    tokio::select! {
        () = end => {}
        () = ctx.stop.cancelled() => {}
    }
    tracing::info!("the seed ends");
    ctx.stop.cancel();
    running.close();
    running.wait().await;
    Ok(())
}

/// [`serve`] on a runtime of its own, with few threads: the seed is to be small.
pub fn run(settings: Settings, ready: impl FnOnce(&str)) -> Result<(), SeedError> {
    memory::return_early();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_stack_size(1 << 20)
        .enable_all()
        .build()
        .map_err(SeedError::Runtime)?;
    runtime.block_on(serve(settings, ready))
}
