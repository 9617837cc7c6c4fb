//! Checks passwords, and keeps what a password change ends.

use std::collections::HashMap;
use std::sync::Mutex;

use hmac::{Hmac, Mac};
use jiff::Timestamp;
use openstack_api::{ApiError, Secret};
use sha2::Sha256;
use store::{Read, Tx, params};
use tokio::sync::Semaphore;

use super::password;
use crate::Failure;

/// Hashes computed at the same time; each takes 16 MiB and a processor.
const AT_ONCE: usize = 2;
/// Remembered good passwords.
const REMEMBERED: usize = 256;

/// Checks passwords. Remembers, for as long as the process lives, a keyed digest of those that were right: the
/// costly hash protects a stolen database, and whoever reads this process' memory has its tokens and keys anyway.
pub(crate) struct Logins {
    key: Secret,
    good: Mutex<HashMap<[u8; 32], ()>>,
    hashing: Semaphore,
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            key: Secret::generate(32),
            good: Mutex::default(),
            hashing: Semaphore::new(AT_ONCE),
        }
    }
}

impl Logins {
    /// Whether `given` is the password that `kept` was made of. Where nothing is kept it takes as long.
    pub(crate) async fn verify(
        &self,
        given: &Secret,
        kept: Option<String>,
    ) -> Result<bool, Failure> {
        let Some(kept) = kept else {
            // An unknown user must not be told apart by the time that the answer takes.
            let _ = self.hash_chosen(given).await?;
            return Ok(false);
        };
        if !password::is_costly(&kept) {
            return Ok(password::verify(given.expose(), &kept));
        }
        let mark = self.mark(given, &kept);
        if self.good.lock().is_ok_and(|good| good.contains_key(&mark)) {
            return Ok(true);
        }
        let given = given.clone();
        let good = self
            .work(move || password::verify(given.expose(), &kept))
            .await?;
        if good && let Ok(mut remembered) = self.good.lock() {
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
            remembered.insert(mark, ());
        }
        Ok(good)
    }

    /// What is kept of a password that a person chose.
    pub(crate) async fn hash_chosen(&self, given: &Secret) -> Result<String, Failure> {
        let given = given.clone();
        let hash = self
            .work(move || password::hash_chosen(given.expose()))
            .await?;
        Ok(hash.map_err(|error| ApiError::internal(&error))?)
    }

    /// The stored hash is part of the mark, so a changed password forgets itself.
    fn mark(&self, given: &Secret, kept: &str) -> [u8; 32] {
        let mac = Hmac::<Sha256>::new_from_slice(self.key.expose().as_bytes());
        let mut mac = mac.unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        mac.update(kept.as_bytes());
        mac.update(&[0]);
        mac.update(given.expose().as_bytes());
        mac.finalize().into_bytes().into()
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let _turn = self
            .hashing
            .acquire()
            .await
            .map_err(|error| ApiError::internal(&error))?;
        let done = tokio::task::spawn_blocking(work).await;
        Ok(done.map_err(|error| ApiError::internal(&error))?)
    }
}

/// What is kept of a user's password, and since when tokens of the user are good.
pub(crate) fn kept(read: &Read<'_>, user: &str) -> Result<(Option<String>, i64), Failure> {
    let row = read.query_one(
        "SELECT hash, valid_from FROM identity_login WHERE user_id = ?1",
        params![user],
    )?;
    match row {
        Some(mut row) => Ok((row.take(0)?, row.take(1)?)),
        None => Ok((None, 0)),
    }
}

/// Sets a password; tokens issued before `at` end.
pub(crate) fn set(
    tx: &Tx<'_>,
    user: &str,
    hash: Option<String>,
    at: Timestamp,
) -> Result<(), Failure> {
    tx.execute(
        "INSERT INTO identity_login (user_id, hash, valid_from) VALUES (?1, ?2, ?3)
         ON CONFLICT (user_id) DO UPDATE SET hash = ?2, valid_from = ?3",
        params![user, hash, at.as_microsecond()],
    )?;
    Ok(())
}

/// Ends all tokens that a user was issued before `at`.
pub(crate) fn end_tokens(tx: &Tx<'_>, user: &str, at: Timestamp) -> Result<(), Failure> {
    tx.execute(
        "UPDATE identity_login SET valid_from = ?2 WHERE user_id = ?1",
        params![user, at.as_microsecond()],
    )?;
    Ok(())
}
