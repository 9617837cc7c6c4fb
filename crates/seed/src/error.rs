//! Why the seed does not start.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use store::StoreError;

/// Why the seed does not start.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The state directory, or a file in it, cannot be used.
    #[error("cannot use {path}", path = path.display())]
    State {
        /// Directory or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another seed runs on the same state.
    #[error("another seed runs on the state directory {path}", path = path.display())]
    Busy {
        /// State directory.
        path: PathBuf,
    },
    /// A key file holds no usable key.
    #[error("the key file {path} holds no usable key", path = path.display())]
    Key {
        /// Key file.
        path: PathBuf,
    },
    /// No address to listen on is given.
    #[error("no address to listen on is given")]
    NoAddress,
    /// An address cannot be listened on.
    #[error("cannot listen on `{address}`")]
    Listen {
        /// Address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("cannot use the {what} {path} for TLS", path = path.display())]
    Tls {
        /// `certificate` or `key`.
        what: &'static str,
        /// Its file.
        path: PathBuf,
        /// What to do about it.
        advice: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An URL does not go with the other settings.
    #[error("`{flag} {url}` must be an {scheme} URL with a host")]
    Url {
        /// Flag.
        flag: &'static str,
        /// Its value.
        url: String,
        /// Scheme that the TLS settings ask for.
        scheme: &'static str,
    },
    /// The database cannot be used.
    #[error("cannot use the database {path}", path = path.display())]
    Store {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// A service cannot start.
    #[error("the service `{service}` cannot start")]
    Service {
        /// Service.
        service: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The operating system refuses threads or signals.
    #[error("the runtime cannot start")]
    Runtime(#[source] io::Error),
}

impl SeedError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            SeedError::Busy { .. } => {
                Some("stop the other one, or give another --state".to_owned())
            }
            SeedError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("another program has this port; give another --listen".to_owned())
            }
            SeedError::Listen { source, .. }
                if source.kind() == io::ErrorKind::AddrNotAvailable =>
            {
                Some("no interface of this machine has this address yet".to_owned())
            }
            SeedError::Tls { advice, .. } => Some(advice.clone()),
            SeedError::Store { path, source } => Some(advice(path, source)),
            SeedError::State { .. }
            | SeedError::Key { .. }
            | SeedError::NoAddress
            | SeedError::Listen { .. }
            | SeedError::Url { .. }
            | SeedError::Service { .. }
            | SeedError::Runtime(_) => None,
        }
    }
}

/// What to do about a database that this program did not make, or not like this.
fn advice(path: &Path, source: &StoreError) -> String {
    let place = path.parent().unwrap_or(path).display();
    match source {
        StoreError::Changed { .. } => format!(
            "{place} is the state of another build of the seed: start that build on it, or give another \
             --state; nothing in it was changed"
        ),
        StoreError::Newer { .. } => format!(
            "{place} was used by a newer seed: start that one, or restore the copy made before it ran; \
             nothing in it was changed"
        ),
        StoreError::Open { .. }
        | StoreError::Sql { .. }
        | StoreError::Column { .. }
        | StoreError::Closed
        | StoreError::Panicked => format!(
            "if {} is no file of a seed, give another --state; if it is, see whether the disk is full or \
             broken, and restore a copy",
            path.display()
        ),
    }
}
