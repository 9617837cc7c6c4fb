//! What is to be put onto a machine, and the words that the deploy agent and the server exchange.
//!
//! The agent boots from a medium made for one piece of work (`media`), asks for [`AgentOrders`] and sends
//! [`AgentReport`]s; both carry the secret of that work, and an agent of an older work is turned away.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An image: its content is its identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The name or id under which people know it; for messages.
    pub id: String,
    /// SHA-256 of the raw image, hexadecimal.
    pub sha256: String,
    /// Bytes of the raw image.
    pub size: u64,
}

/// What is to be put onto a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeployOrder {
    /// The image.
    pub image: Image,
    /// The config drive: an ISO 9660 image labelled `config-2`.
    #[serde(skip)]
    pub config_drive: Option<Vec<u8>>,
    /// Whether the root partition is to grow over the disk.
    pub root_grow: bool,
    /// Which disk, in the words of Ironic's `root_device`; none: the node's own hint, or the only sensible one.
    pub disk: Option<Value>,
}

/// What the agent is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AgentOrders {
    /// Write an image.
    Write(WriteOrders),
    /// Wipe what tells of the last owner.
    Clean(CleanOrders),
}

/// Write an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WriteOrders {
    /// The image and where it is.
    pub image: AgentImage,
    /// Hints that choose the disk; null: the first one.
    pub disk: Value,
    /// ISO 9660 image of the config drive, base64; null: none.
    pub config_drive: Option<String>,
    /// Whether the root partition is to grow.
    pub root_grow: bool,
}

/// The image and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentImage {
    /// Where its bytes are; ranges are served. The agent's secret is wanted.
    pub url: String,
    /// SHA-256 of all bytes.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Where the list of extents with data is.
    pub extents_url: String,
}

/// Wipe what tells of the last owner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CleanOrders {
    /// How thoroughly: `metadata`.
    pub clean: String,
    /// The disk that carries the system; null: the first one. No other disk is touched.
    pub disk: Value,
    /// Disks beside it that the operator named for wiping (`properties/wipe_disks`).
    pub wipe_disks: Vec<Value>,
}

/// What the agent says: how far it is, or how it went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentReport {
    /// What it is doing, in a word: `write`, `verify`, `grow` …
    pub phase: Option<String>,
    /// Bytes done.
    pub done: Option<u64>,
    /// Bytes in all.
    pub total: Option<u64>,
    /// `ok` or `error`: the end.
    pub result: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
}

/// What lies in the medium as `deploy.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediumSettings {
    /// Where orders are: `{api}/v1/deploy/{node}`.
    pub api: String,
    /// The node.
    pub node: String,
    /// The secret, as a bearer token.
    pub token: String,
    /// PEM of the server's authority.
    pub ca: Option<String>,
}

/// Bytes as the agent's JSON carries them.
pub(crate) fn base64_of(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
