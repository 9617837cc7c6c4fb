//! The words that the agent and the seed exchange.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `deploy.json` of the medium.
#[derive(Debug, Clone, Deserialize)]
pub struct Medium {
    /// Where orders are: `{api}/v1/deploy/{node}`.
    pub api: String,
    /// The node.
    pub node: String,
    /// The secret that opens its orders.
    pub token: String,
    /// PEM of the authority that the seed's certificate is of.
    pub ca: Option<String>,
}

/// What is to be done.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Orders {
    /// Write an image.
    Write(WriteOrders),
    /// Wipe what tells of the last owner.
    Clean(CleanOrders),
}

/// Write an image.
#[derive(Debug, Clone, Deserialize)]
pub struct WriteOrders {
    /// The image.
    pub image: Image,
    /// Hints that choose the disk; null: the first one.
    #[serde(default)]
    pub disk: Value,
    /// The config drive: an ISO image, base64.
    #[serde(default)]
    pub config_drive: Option<String>,
    /// Whether the root partition is to take the rest of the disk.
    #[serde(default)]
    pub root_grow: bool,
}

/// An image.
#[derive(Debug, Clone, Deserialize)]
pub struct Image {
    /// Where its bytes are.
    pub url: String,
    /// SHA-256 of all of them.
    pub sha256: String,
    /// How many there are.
    pub size: u64,
    /// Where the list of extents with data is.
    pub extents_url: String,
}

/// Wipe what tells of the last owner.
#[derive(Debug, Clone, Deserialize)]
pub struct CleanOrders {
    /// How thoroughly; only `metadata` is known.
    pub clean: String,
    /// The disk that carries the system.
    #[serde(default)]
    pub disk: Value,
    /// Further disks that the operator named.
    #[serde(default)]
    pub wipe_disks: Vec<Value>,
}

/// A run of bytes with data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Extent {
    /// Where it starts.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

/// The list of extents: bare, or under its name.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Extents {
    /// Bare.
    List(Vec<Extent>),
    /// Under its name.
    Named {
        /// The list.
        extents: Vec<Extent>,
    },
}

/// What the agent reports.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report<'a> {
    /// What it is doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<&'a str>,
    /// Bytes done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
    /// Bytes in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// `ok` or `error`: the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<&'a str>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
}
