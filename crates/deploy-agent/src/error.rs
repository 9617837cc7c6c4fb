//! Why the orders were not carried out.

use std::io;

/// Why the orders were not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The medium does not say who is asked for orders.
    #[error("the medium's `{path}` cannot be used: {why}")]
    Medium {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// No interface got an address.
    #[error("no network interface got an address by DHCP (tried {tried})")]
    NoAddress {
        /// The interfaces and what happened.
        tried: String,
    },
    /// The seed's address cannot be used.
    #[error("`{url}` cannot be used: {why}")]
    Url {
        /// The address.
        url: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A request failed.
    #[error("cannot {method} {url}: {why}")]
    Request {
        /// `GET` or `POST`.
        method: &'static str,
        /// The address.
        url: String,
        /// What happened.
        why: String,
    },
    /// The server answered with something that is not understood.
    #[error("the answer of {url} is not understood: {why}")]
    Answer {
        /// The address.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// No disk fits the hints.
    #[error("no disk fits {hints}; there are {seen}")]
    NoDisk {
        /// What was asked for.
        hints: String,
        /// The disks that there are.
        seen: String,
    },
    /// The disk is too small.
    #[error("the disk {disk} has {bytes} bytes, too few for {wanted}")]
    Small {
        /// The disk.
        disk: String,
        /// Its size.
        bytes: u64,
        /// What needs more.
        wanted: String,
    },
    /// The image is not the one that was ordered.
    #[error("the image has the digest {got}, {wanted} was ordered")]
    Digest {
        /// The digest of what was received.
        got: String,
        /// The digest that was ordered.
        wanted: String,
    },
    /// The partition table cannot be changed.
    #[error("cannot {what} on {disk}")]
    Table {
        /// What was tried.
        what: &'static str,
        /// The disk.
        disk: String,
        /// Why.
        source: disk::gpt::GptError,
    },
    /// The kernel refused something.
    #[error("cannot {what}")]
    Io {
        /// What was tried, with its subject.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl AgentError {
    pub(crate) fn io<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |error| Self::Io {
            what,
            source: error.into(),
        }
    }
}

/// An error and its causes in one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        said = format!("{said}: {inner}");
        cause = inner.source();
    }
    said
}
