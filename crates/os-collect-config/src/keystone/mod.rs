//! Logging in to Keystone, with tokens used again until they expire.
//!
//! The third version of the API is used wherever there is one; the second is for clouds that have nothing else.

mod discovery;
mod v2;
mod v3;

use crate::cache::{CacheError, replace};
use crate::http::{Answer, Ask, Http, HttpError, Trust};
use discovery::Root;
use metadata::{Value, object};
use reqwest::Method;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// Keystone gets this long to answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A token is not used in its last moments.
const MARGIN: i64 = 60;

/// Who logs in where.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Account {
    /// Keystone.
    pub auth_url: String,
    /// Id of the user.
    pub user_id: String,
    /// Its password.
    pub password: String,
    /// Id of the project.
    pub project_id: String,
    /// Whom Keystone's certificate must be signed by.
    pub trust: Trust,
}

/// Why nobody is logged in.
#[derive(Debug, thiserror::Error)]
pub enum KeystoneError {
    /// Keystone gave no usable answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Keystone's answer lacks something.
    #[error("{root} gave no {what}")]
    Answer {
        /// Root of the API.
        root: String,
        /// What it lacks.
        what: &'static str,
    },
    /// A token could not be kept.
    #[error(transparent)]
    Keep(#[from] CacheError),
}

/// A token with the catalog that came with it.
#[derive(Debug, Clone)]
pub struct Session {
    /// Shown to services.
    pub token: String,
    catalog: Value,
    /// Seconds since 1970.
    expires: i64,
}

impl Session {
    /// The public endpoint of a service.
    pub fn endpoint(&self, service: &str, region: Option<&str>) -> Option<String> {
        let services = self.catalog.as_list()?;
        let service = services
            .iter()
            .find(|entry| text(entry, "type") == Some(service))?;
        let fits = |endpoint: &&Value| {
            let regions = [text(endpoint, "region"), text(endpoint, "region_id")];
            text(endpoint, "interface") == Some("public")
                && region.is_none_or(|region| regions.contains(&Some(region)))
        };
        let endpoint = service.get("endpoints")?.as_list()?.iter().find(fits)?;
        text(endpoint, "url").map(|url| url.trim_end_matches('/').to_owned())
    }
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_text)
}

/// Asks for a token in the words of one version of the API.
async fn post(
    http: &Http,
    account: &Account,
    url: String,
    auth: Value,
) -> Result<Answer, KeystoneError> {
    let ask = Ask::get(url, TIMEOUT)
        .method(Method::POST)
        .json(&object([("auth", auth)]))
        .trust(account.trust.clone());
    Ok(http.send(ask).await?.successful()?)
}

fn lacks(root: &str, what: &'static str) -> KeystoneError {
    KeystoneError::Answer {
        root: root.to_owned(),
        what,
    }
}

/// Where tokens are kept between processes, and for how long.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The directory; it is made, for its owner only.
    pub directory: PathBuf,
    /// Seconds that a token is used.
    pub limit: i64,
}

/// Tokens that are still good.
#[derive(Default)]
pub struct Sessions {
    known: HashMap<Account, Session>,
}

impl Sessions {
    /// A session for `account`: a known one, a kept one, or a new one.
    pub async fn get(
        &mut self,
        http: &Http,
        account: &Account,
        kept: Option<&Kept>,
    ) -> Result<Session, KeystoneError> {
        let now = jiff::Timestamp::now().as_second();
        if let Some(session) = self
            .known
            .get(account)
            .filter(|session| session.expires - MARGIN > now)
        {
            return Ok(session.clone());
        }
        if let Some(kept) = kept
            && let Some(session) = read_kept(&kept_file(kept, account), now, kept.limit)
        {
            self.known.insert(account.clone(), session.clone());
            return Ok(session);
        }
        let session = log_in(http, account).await?;
        if let Some(kept) = kept {
            keep(&kept_file(kept, account), &session, now)?;
        }
        self.known.insert(account.clone(), session.clone());
        Ok(session)
    }

    /// Drops a session that a service refused.
    pub fn forget(&mut self, account: &Account, kept: Option<&Kept>) {
        self.known.remove(account);
        if let Some(kept) = kept {
            // If it stays, the next pass is refused once more and says so.
            let _ = std::fs::remove_file(kept_file(kept, account));
        }
    }
}

/// Where the account's token is kept.
fn kept_file(kept: &Kept, account: &Account) -> PathBuf {
    let _ = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&kept.directory);
    let mut hash = Sha256::new();
    for part in [
        &account.auth_url,
        &account.user_id,
        &account.project_id,
        &account.password,
    ] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut name = String::from("token-");
    for byte in &hash.finalize()[..12] {
        // Writing to a string cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    kept.directory.join(name)
}

fn read_kept(path: &PathBuf, now: i64, limit: i64) -> Option<Session> {
    let document = metadata::parse(&std::fs::read_to_string(path).ok()?).ok()?;
    let seconds = |key: &str| match document.get(key) {
        Some(Value::Int(seconds)) => Some(*seconds),
        _ => None,
    };
    let session = Session {
        token: text(&document, "token")?.to_owned(),
        catalog: document.get("catalog")?.clone(),
        expires: seconds("expires")?,
    };
    let fresh = session.expires - MARGIN > now && seconds("kept")? + limit > now;
    fresh.then_some(session)
}

fn keep(path: &std::path::Path, session: &Session, now: i64) -> Result<(), CacheError> {
    let document = object([
        ("token", Value::from(session.token.clone())),
        ("catalog", session.catalog.clone()),
        ("expires", Value::from(session.expires)),
        ("kept", Value::from(now)),
    ]);
    replace(path, document.to_json().as_bytes())
}

async fn log_in(http: &Http, account: &Account) -> Result<Session, KeystoneError> {
    match discovery::root(http, account).await {
        Root::V3(root) => v3::log_in(http, account, &root).await,
        Root::V2(root) => v2::log_in(http, account, &root).await,
        Root::Guessed { v3, v2 } => match (v3::log_in(http, account, &v3).await, v2) {
            // There is no such API at all; the one that was configured may be there.
            (Err(KeystoneError::Http(HttpError::Status { status: 404, .. })), Some(v2)) => {
                v2::log_in(http, account, &v2).await
            }
            (session, _) => session,
        },
    }
}

/// Seconds since 1970; a token without a readable time is used once.
fn expiry(text: Option<&str>) -> i64 {
    text.and_then(|text| text.parse::<jiff::Timestamp>().ok())
        .map_or(0, |expires| expires.as_second())
}
