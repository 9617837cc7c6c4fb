//! What the server decides for all nodes, and the clock.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use url::Url;

use crate::deploy::Image;

/// Tells the time. Tests move it by hand.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Finds the image that a node's `instance_info` names.
#[async_trait]
pub trait Images: Send + Sync {
    /// The image for `image_source`: an id, or an address; the error says what is wrong with it.
    async fn find(&self, source: &str) -> Result<Image, String>;
}

/// What the server decides for all nodes.
#[derive(Clone)]
pub struct Settings {
    /// The name of this server, as `reservation` and `conductor` show it.
    pub host: String,
    /// Whether nodes are cleaned when they are given back, where the node does not say.
    pub automated_clean: bool,
    /// How many nodes are worked on at once.
    pub concurrency: usize,
    /// How long a request waits for a node that is being worked on.
    pub lock_wait: Duration,
    /// Limits of time.
    pub deadlines: Deadlines,
    /// The deploy agent; without it no machine can be deployed.
    pub agent: Option<AgentSettings>,
    /// Where images are found; without it only orders that name one can be deployed.
    pub images: Option<Arc<dyn Images>>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: "seed".into(),
            automated_clean: true,
            concurrency: 64,
            lock_wait: Duration::from_secs(3),
            deadlines: Deadlines::default(),
            agent: None,
            images: None,
            clock: Arc::new(SystemClock),
        }
    }
}

/// The deploy agent and where machines find it.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// The static binary that becomes `/init` of the medium.
    pub binary: PathBuf,
    /// Where machines reach the agent's API, without `/v1/deploy`.
    pub api: Url,
    /// Where BMCs fetch media; usually the same server on another network.
    pub media: Url,
    /// PEM of the authority that signed the server's certificate.
    pub ca: Option<String>,
    /// Folder for media that are in use.
    pub folder: PathBuf,
}

/// Limits of time for steps. A step that is not done by then has failed.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Talking to a BMC, polling for power included.
    pub bmc: Duration,
    /// Reading the inventory.
    pub inspect: Duration,
    /// From power on to the first sign of life of the deploy agent: firmware and boot.
    pub boot: Duration,
    /// How often the power is looked at while the agent is waited for.
    pub look: Duration,
    /// From one sign of life of the agent to the next. It gives one every ten seconds whatever it does.
    pub silence: Duration,
    /// How long a deployment may get no further while its agent lives.
    pub deploy: Duration,
    /// The same for cleaning.
    pub clean: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            bmc: Duration::from_secs(300),
            inspect: Duration::from_secs(600),
            // Servers with much memory and many cards take a quarter of an hour until they boot.
            boot: Duration::from_secs(1200),
            look: Duration::from_secs(10),
            // Thirty signs: a switch that restarts loses some.
            silence: Duration::from_secs(300),
            deploy: Duration::from_secs(1800),
            clean: Duration::from_secs(1800),
        }
    }
}
