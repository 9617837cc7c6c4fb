//! How one BMC is reached: address, credentials, trust, patience.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::Secret;

/// Everything needed to speak with one system of one BMC.
#[derive(Debug, Clone)]
pub struct BmcSettings {
    /// Scheme and host of the BMC; a path is not allowed.
    pub address: Url,
    /// Path of the system below the address; not needed where the BMC has exactly one.
    pub system: Option<String>,
    /// User name, where the BMC wants one.
    pub username: Option<String>,
    /// Password of that user.
    pub password: Option<Secret>,
    /// How to log in.
    pub auth: Auth,
    /// Whose certificates are believed.
    pub verify: Verify,
    /// How long to wait and how often to try.
    pub limits: Limits,
}

impl BmcSettings {
    /// Settings with the usual trust and patience.
    pub fn new(address: Url) -> Self {
        Self {
            address,
            system: None,
            username: None,
            password: None,
            auth: Auth::Auto,
            verify: Verify::System,
            limits: Limits::default(),
        }
    }
}

/// How to log in to a BMC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// A session where the BMC offers them, else basic.
    Auto,
    /// User and password with each request.
    Basic,
    /// A session token, asked for once and renewed when it expires.
    Session,
}

/// Whose certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verify {
    /// The certificate authorities of this machine.
    System,
    /// Those in this PEM file.
    CaFile(PathBuf),
    /// None is checked: whoever sits between can read the password.
    No,
}

/// Limits of time and tries; every wait of this crate has one.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For connecting.
    pub connect: Duration,
    /// For one request.
    pub request: Duration,
    /// Tries of a request that a busy or restarting BMC did not answer well.
    pub tries: u32,
    /// Pause before the second try; doubled for each further one.
    pub pause: Duration,
    /// Until the power state is what was asked for.
    pub power: Duration,
    /// Between two looks at the power state.
    pub poll: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            // Some controllers take most of a minute to answer while they collect inventory.
            request: Duration::from_secs(60),
            tries: 4,
            pause: Duration::from_millis(500),
            power: Duration::from_secs(120),
            poll: Duration::from_millis(250),
        }
    }
}
