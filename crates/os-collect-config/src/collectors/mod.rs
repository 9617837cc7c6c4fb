//! The sources of metadata.

mod cfn;
mod ec2;
mod heat;
mod heat_local;
mod local;
pub(crate) mod request;
pub(crate) mod zaqar;

use crate::cache::Cache;
use crate::config_drive::ConfigDrive;
use crate::deployments::{Document, split};
use crate::http::Http;
use crate::keystone;
use crate::settings::{Settings, SettingsError};
use metadata::Value;
use std::time::Duration;

/// The names of all collectors, in the default order.
pub const NAMES: [&str; 7] = [
    "heat_local",
    "ec2",
    "cfn",
    "heat",
    "request",
    "local",
    "zaqar",
];

/// Why a source gives nothing.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It cannot be asked without more settings; said only if there is a text.
    NotConfigured(Option<String>),
    /// It could not be asked, or gave nothing usable.
    Unavailable(Option<String>),
    /// A setting is wrong.
    Settings(SettingsError),
}

impl From<SettingsError> for Refusal {
    fn from(error: SettingsError) -> Self {
        Refusal::Settings(error)
    }
}

impl Refusal {
    /// The source is unavailable because of `why`.
    pub(crate) fn unavailable(why: impl ToString) -> Refusal {
        Refusal::Unavailable(Some(why.to_string()))
    }
}

/// What a source gave.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub documents: Vec<Document>,
    pub warnings: Vec<String>,
}

impl Collected {
    /// One document with its deployments split off.
    pub(crate) fn split(source: &str, document: Value, keys: &[String]) -> Collected {
        let (documents, warnings) = split(source, document, keys);
        Collected {
            documents,
            warnings,
        }
    }
}

/// What collectors share within one process.
pub(crate) struct Context<'c> {
    pub settings: &'c Settings,
    pub http: &'c Http,
    pub cache: &'c Cache,
    pub drive: &'c mut ConfigDrive,
    pub state: &'c mut State,
    /// Whether what is collected is applied, and not only printed.
    pub applies: bool,
}

/// What collectors remember from pass to pass.
#[derive(Default)]
pub(crate) struct State {
    pub request: request::Source,
    pub heat: keystone::Sessions,
    pub zaqar: zaqar::Source,
}

/// Asks the source `name`, which is one of [`NAMES`].
pub(crate) async fn collect(name: &str, context: &mut Context<'_>) -> Result<Collected, Refusal> {
    match name {
        "heat_local" => heat_local::collect(context.settings),
        "local" => local::collect(context.settings),
        "ec2" => ec2::collect(context).await,
        "cfn" => cfn::collect(context).await,
        "heat" => heat::collect(context).await,
        "request" => request::collect(context).await,
        "zaqar" => zaqar::collect(context).await,
        other => Err(Refusal::unavailable(format!(
            "there is no collector `{other}`"
        ))),
    }
}

/// A time limit from the settings.
fn timeout(settings: &Settings, group: &str) -> Result<Duration, SettingsError> {
    let seconds = settings.float(group, "timeout")?;
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(10)))
}

/// The setting, or the refusal that names it.
fn needed(settings: &Settings, group: &str, name: &str) -> Result<String, Refusal> {
    let missing = || Refusal::NotConfigured(Some(format!("No {name} configured.")));
    settings.filled(group, name)?.ok_or_else(missing)
}

/// Where tokens are kept, if they are.
fn kept(settings: &Settings) -> Result<Option<keystone::Kept>, SettingsError> {
    let limit = settings.integer("keystone", "cache_ttl")?;
    let directory = settings.filled("keystone", "cache_dir")?;
    Ok(directory.map(|directory| keystone::Kept {
        directory: directory.into(),
        limit,
    }))
}
