//! Identity v3: who may log in, what for, and where the services are.
//!
//! Other modules use [`Identity`] in the same process: it checks tokens, makes users for stack resources, and
//! finds the secret behind an EC2 access key. The routes are upstream's.

mod access;
mod app_credentials;
mod auth;
mod bootstrap;
mod catalog;
mod credentials;
mod domains;
mod fernet;
mod fields;
mod grants;
mod groups;
mod logins;
mod object;
mod password;
mod projects;
mod roles;
mod routes;
mod schema;
mod stack_users;
mod tokens;
mod users;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use openstack_api::{CheckError, Token, TokenCheck};
use sha2::{Digest, Sha256};
use store::{Read, Store, StoreError, Tx};

use crate::{CatalogEntry, Failure, SeedError, files};

pub(crate) use bootstrap::Credentials;
pub use credentials::Ec2Key;
pub(crate) use routes::mount;
pub(crate) use schema::MIGRATIONS;

/// Checked tokens that are remembered. Each takes about a kilobyte.
const REMEMBERED: usize = 1024;

/// Identity of this seed. Cheap to clone.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    store: Store,
    keys: fernet::Keys,
    /// Seals what must be read again, such as the secrets of EC2 keys.
    vault: fernet::Keys,
    lifetime: Duration,
    logins: logins::Logins,
    /// Grows with every write; what was checked under an older number is checked again.
    generation: AtomicU64,
    checked: Mutex<HashMap<[u8; 32], Checked>>,
}

/// A token that was found good, and the generation that it was found good in.
type Checked = (u64, Arc<Token>);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// Opens the keys in `state`, and makes what every cloud has: the default domain, roles, the admin.
    pub(crate) async fn open(
        store: Store,
        state: &Path,
        lifetime: Duration,
        region: &str,
    ) -> Result<(Self, Credentials), SeedError> {
        let dir = state.join("keys");
        files::private_dir(&dir).map_err(|source| SeedError::State {
            path: dir.clone(),
            source,
        })?;
        let identity = Self(Arc::new(Inner {
            store,
            keys: fernet::Keys::open(&dir.join("token"))?,
            vault: fernet::Keys::open(&dir.join("vault"))?,
            lifetime,
            logins: logins::Logins::default(),
            generation: AtomicU64::new(0),
            checked: Mutex::new(HashMap::new()),
        }));
        let credentials = bootstrap::run(&identity, &dir.join("admin"), region).await?;
        Ok((identity, credentials))
    }

    /// Writes, and forgets which tokens were found good.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, Failure>
    where
        F: FnOnce(&Tx<'_>) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        let done = self.0.store.write(work).await;
        self.0.generation.fetch_add(1, Ordering::SeqCst);
        done
    }

    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T, Failure>
    where
        F: FnOnce(&Read<'_>) -> Result<T, Failure> + Send + 'static,
        T: Send + 'static,
    {
        self.0.store.read(work).await
    }

    /// Writes the catalog entries of the services under their prefixes; others of ours are taken out.
    pub(crate) async fn list_services(
        &self,
        region: String,
        public: String,
        internal: String,
        entries: Vec<(&'static str, CatalogEntry)>,
    ) -> Result<(), Failure> {
        self.write(move |tx| {
            let kinds: Vec<_> = entries.iter().map(|(_, entry)| entry.kind).collect();
            catalog::unregister_others(tx, &kinds)?;
            for (prefix, entry) in entries {
                let at = |base: &str| format!("{base}{prefix}{}", entry.path);
                let urls = [
                    ("public", at(&public)),
                    ("internal", at(&internal)),
                    ("admin", at(&internal)),
                ];
                catalog::register(tx, entry.kind, entry.name, &region, urls)?;
            }
            Ok(())
        })
        .await
    }

    fn recall(&self, key: &[u8; 32], generation: u64) -> Option<Arc<Token>> {
        let mut checked = self.0.checked.lock().ok()?;
        let (then, token) = checked.get(key)?;
        if *then == generation && token.expires_at > now() {
            return Some(Arc::clone(token));
        }
        checked.remove(key);
        None
    }

    fn remember(&self, key: [u8; 32], generation: u64, token: &Arc<Token>) {
        if let Ok(mut checked) = self.0.checked.lock() {
            if checked.len() >= REMEMBERED {
                checked.clear();
            }
            checked.insert(key, (generation, Arc::clone(token)));
        }
    }
}

#[async_trait]
impl TokenCheck for Identity {
    async fn check(&self, token: &str) -> Result<Arc<Token>, CheckError> {
        let key: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let generation = self.0.generation.load(Ordering::SeqCst);
        if let Some(token) = self.recall(&key, generation) {
            return Ok(token);
        }
        let claims = self.0.keys.unseal(token).ok_or(CheckError::Invalid)?;
        let resolved = self
            .read(move |read| tokens::resolve(read, &claims, now()))
            .await;
        match resolved {
            Ok(Some(resolved)) => {
                let token = Arc::new(resolved.token);
                self.remember(key, generation, &token);
                Ok(token)
            }
            Ok(None) => Err(CheckError::Invalid),
            Err(Failure::Refused(_)) => Err(CheckError::Invalid),
            Err(Failure::Store(error)) => Err(unavailable(error)),
        }
    }
}

fn unavailable(error: StoreError) -> CheckError {
    CheckError::Unavailable(Box::new(error))
}

/// The clock of identity.
fn now() -> Timestamp {
    Timestamp::now()
}
