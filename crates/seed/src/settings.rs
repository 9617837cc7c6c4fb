//! What the operator says when the seed starts: flags, checked once, before any work.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::SeedError;

/// Flags of `tripleo seed`.
#[derive(Debug, Clone, clap::Args)]
pub struct SeedArgs {
    /// Directory that keeps the database, images, keys and clouds.yaml
    #[arg(long, value_name = "DIR", default_value = "/var/lib/tripleo/seed")]
    pub state: PathBuf,
    /// Address and port to serve on; may be given more than once, the first is the public one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:5000")]
    pub listen: Vec<SocketAddr>,
    /// Address and port on the provisioning network, for nodes
    #[arg(long, value_name = "ADDR:PORT")]
    pub internal_listen: Option<SocketAddr>,
    /// What servers are made of
    #[arg(long, value_enum, default_value = "metal")]
    pub cloud: CloudKind,
    /// Certificate chain (PEM); with it all endpoints are HTTPS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Authority that clients check the certificate with; the certificate itself where not given
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_ca: Option<PathBuf>,
    /// Where operators reach the seed, if not at the first listening address
    #[arg(long, value_name = "URL")]
    pub public_url: Option<Url>,
    /// Where nodes reach the seed, if not at the internal listening address
    #[arg(long, value_name = "URL")]
    pub internal_url: Option<Url>,
    /// Static binary that machines boot to be deployed
    #[arg(long, value_name = "FILE")]
    pub deploy_agent: Option<PathBuf>,
    /// Where management controllers fetch media, if not at the internal address
    #[arg(long, value_name = "URL")]
    pub media_url: Option<Url>,
    /// First and last address for machines that are being deployed or cleaned; a part of the provisioning network
    /// where not given
    #[arg(long, value_name = "FIRST-LAST", value_parser = crate::compute::range)]
    pub deploy_range: Option<(Ipv4Addr, Ipv4Addr)>,
    /// Whether machines are cleaned when they are given back
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub automated_clean: bool,
    /// How long a machine may take from power on until its deploy agent calls, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "1200", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub boot_timeout: u32,
    /// How long a deploy agent may give no sign of life, in seconds; it gives one every ten
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub agent_timeout: u32,
    /// Name of the region in the catalog
    #[arg(long, value_name = "NAME", default_value = "RegionOne")]
    pub region: String,
    /// How long tokens are valid, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "14400", value_parser = clap::value_parser!(u32).range(60..=2_592_000))]
    pub token_lifetime: u32,
}

/// What servers are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum CloudKind {
    /// Physical machines, or virtual ones with a BMC.
    Metal,
    /// Nothing: a cloud in memory, for tests of templates.
    Sim,
}

impl fmt::Display for CloudKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CloudKind::Metal => "metal",
            CloudKind::Sim => "sim",
        })
    }
}

/// Certificate, key and authority.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
    /// What clients check the chain with.
    pub ca: PathBuf,
}

/// The flags, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// State directory.
    pub state: PathBuf,
    /// Addresses for operators; never empty.
    pub listen: Vec<SocketAddr>,
    /// Address for nodes.
    pub internal_listen: Option<SocketAddr>,
    /// What servers are made of.
    pub cloud: CloudKind,
    /// TLS, for all listeners or for none.
    pub tls: Option<TlsFiles>,
    /// Where operators reach the seed.
    pub public_url: Option<Url>,
    /// Where nodes reach the seed.
    pub internal_url: Option<Url>,
    /// Static binary that machines boot to be deployed.
    pub deploy_agent: Option<PathBuf>,
    /// Where management controllers fetch media.
    pub media_url: Option<Url>,
    /// First and last address for machines that are being deployed or cleaned.
    pub deploy_range: Option<(Ipv4Addr, Ipv4Addr)>,
    /// Whether machines are cleaned when they are given back.
    pub automated_clean: bool,
    /// How long a machine may take from power on until its deploy agent calls.
    pub boot_timeout: Duration,
    /// How long a deploy agent may give no sign of life.
    pub agent_timeout: Duration,
    /// Region.
    pub region: String,
    /// How long tokens are valid.
    pub token_lifetime: Duration,
}

impl TryFrom<SeedArgs> for Settings {
    type Error = SeedError;

    fn try_from(args: SeedArgs) -> Result<Self, SeedError> {
        let tls = match (args.tls_cert, args.tls_key) {
            (Some(cert), Some(key)) => Some(TlsFiles {
                ca: args.tls_ca.unwrap_or_else(|| cert.clone()),
                cert,
                key,
            }),
            _ => None,
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        for (flag, url) in [
            ("--public-url", &args.public_url),
            ("--internal-url", &args.internal_url),
            ("--media-url", &args.media_url),
        ] {
            if let Some(url) = url
                && (url.scheme() != scheme || url.host().is_none())
            {
                return Err(SeedError::Url {
                    flag,
                    url: url.to_string(),
                    scheme,
                });
            }
        }
        Ok(Self {
            state: std::path::absolute(&args.state).map_err(|source| SeedError::State {
                path: args.state.clone(),
                source,
            })?,
            listen: args.listen,
            internal_listen: args.internal_listen,
            cloud: args.cloud,
            tls,
            public_url: args.public_url,
            internal_url: args.internal_url,
            deploy_agent: args.deploy_agent,
            media_url: args.media_url,
            deploy_range: args.deploy_range,
            automated_clean: args.automated_clean,
            boot_timeout: Duration::from_secs(args.boot_timeout.into()),
            agent_timeout: Duration::from_secs(args.agent_timeout.into()),
            region: args.region,
            token_lifetime: Duration::from_secs(args.token_lifetime.into()),
        })
    }
}
