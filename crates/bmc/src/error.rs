//! Why a BMC did not do what it was asked: always with its address and the thing asked for.

use std::path::PathBuf;
use std::time::Duration;

use crate::PowerState;

/// Why a BMC did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BmcError {
    /// The address cannot be one of a BMC.
    #[error("`{address}` is not the address of a BMC: {reason}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file of certificate authorities cannot be used.
    #[error("cannot use the certificate authorities in `{path}`: {reason}", path = path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP client could not be made.
    #[error("cannot prepare TLS for the BMC at {bmc}: {reason}")]
    Tls {
        /// Address of the BMC.
        bmc: String,
        /// What is wrong.
        reason: String,
    },
    /// No connection.
    #[error("cannot reach the BMC at {bmc} to {what}")]
    Unreachable {
        /// Address of the BMC.
        bmc: String,
        /// What was to be done.
        what: String,
        /// The cause.
        source: reqwest::Error,
    },
    /// It took the request and did not answer.
    #[error("the BMC at {bmc} did not answer within {after:?} when asked to {what}")]
    TimedOut {
        /// Address of the BMC.
        bmc: String,
        /// What was to be done.
        what: String,
        /// How long it was given.
        after: Duration,
    },
    /// It does not know the user or password.
    #[error("the BMC at {bmc} refused the credentials of user `{user}`")]
    Unauthorized {
        /// Address of the BMC.
        bmc: String,
        /// The user.
        user: String,
    },
    /// It said no.
    #[error("the BMC at {bmc} refused to {what}: HTTP {status}: {message}")]
    Refused {
        /// Address of the BMC.
        bmc: String,
        /// What was to be done.
        what: String,
        /// The HTTP status.
        status: u16,
        /// What the BMC said about it.
        message: String,
    },
    /// It answered with something that is not Redfish.
    #[error("the BMC at {bmc} answered nonsense when asked to {what}: {reason}")]
    Malformed {
        /// Address of the BMC.
        bmc: String,
        /// What was to be done.
        what: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The BMC has no such system.
    #[error("the BMC at {bmc} has no system `{system}`")]
    NoSystem {
        /// Address of the BMC.
        bmc: String,
        /// The path that was asked for.
        system: String,
    },
    /// Which of several systems is meant must be said.
    #[error("the BMC at {bmc} has {count} systems and none was chosen", count = systems.len())]
    WhichSystem {
        /// Address of the BMC.
        bmc: String,
        /// Paths of the systems.
        systems: Vec<String>,
    },
    /// The machine did not come to the power state in time.
    #[error(
        "`{system}` of the BMC at {bmc} is still `{seen}` {after:?} after it was told to go to `{wanted}`"
    )]
    PowerNotReached {
        /// Address of the BMC.
        bmc: String,
        /// The system.
        system: String,
        /// What was asked for.
        wanted: PowerState,
        /// What the BMC says.
        seen: PowerState,
        /// How long it was given.
        after: Duration,
    },
    /// The BMC cannot do that.
    #[error("the BMC at {bmc} cannot {what}: it offers {offered}")]
    Unsupported {
        /// Address of the BMC.
        bmc: String,
        /// What was to be done.
        what: String,
        /// What it can do instead.
        offered: String,
    },
}

impl BmcError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Address { .. } => {
                Some("give scheme and host only, such as `https://192.0.2.10`".into())
            }
            Self::CaFile { .. } => {
                Some("name a PEM file, or say explicitly that nothing is verified".into())
            }
            Self::Tls { .. } => None,
            Self::Unreachable { .. } => {
                Some("look at the BMC's network, and whether its certificate is trusted".into())
            }
            Self::TimedOut { .. } => Some("the BMC hangs: resetting the BMC often helps".into()),
            Self::Unauthorized { .. } => Some("check user name and password of the BMC".into()),
            Self::Refused { .. } | Self::Malformed { .. } => None,
            Self::NoSystem { .. } => {
                Some("`GET /redfish/v1/Systems` lists the systems of a BMC".into())
            }
            Self::WhichSystem { systems, .. } => {
                Some(format!("choose one of {}", systems.join(", ")))
            }
            Self::PowerNotReached { .. } => {
                Some("look at the machine's console and at the event log of the BMC".into())
            }
            Self::Unsupported { .. } => None,
        }
    }

    /// Whether the same request may go well later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            Self::Refused { status, .. } => is_busy(*status),
            Self::Address { .. }
            | Self::CaFile { .. }
            | Self::Tls { .. }
            | Self::Unauthorized { .. }
            | Self::Malformed { .. }
            | Self::NoSystem { .. }
            | Self::WhichSystem { .. }
            | Self::PowerNotReached { .. }
            | Self::Unsupported { .. } => false,
        }
    }
}

/// Statuses by which a BMC says that it is busy or not up yet.
pub(crate) fn is_busy(status: u16) -> bool {
    matches!(status, 429 | 502..=504)
}
