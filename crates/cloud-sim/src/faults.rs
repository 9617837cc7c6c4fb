//! Faults on request.

use cloud::{CloudError, Kind};

/// Something that goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The call of this number (counted from 1 over all that change something) fails once. `after`:
    /// the cloud does its work first, as when an answer is lost.
    FailAt {
        /// Number of the call.
        call: u64,
        /// With which error.
        error: CloudError,
        /// Whether the work is done although it fails.
        after: bool,
    },
    /// All calls about things whose visible name begins so fail.
    Fail {
        /// Beginning of the visible name.
        name: String,
        /// With which error.
        error: CloudError,
    },
    /// Things of a kind are pending for so many asks before they are ready.
    Slow {
        /// The kind.
        kind: Kind,
        /// How many asks find them pending.
        asks: u32,
    },
    /// Things of a kind whose visible name begins so never get ready.
    Hang {
        /// The kind.
        kind: Kind,
        /// Beginning of the visible name.
        name: String,
    },
}
