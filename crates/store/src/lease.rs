//! Leases: who may work on what, until when. Taken by compare-and-set, so two servers that share a
//! database never hold the same one.

use crate::error::StoreError;
use crate::params;
use crate::tx::{Read, Tx};

impl Tx<'_> {
    /// Takes or prolongs a lease. False: another owner holds it at `now`. Times are milliseconds
    /// since 1970, from the caller's clock.
    pub fn claim_lease(
        &self,
        name: &str,
        owner: &str,
        now: i64,
        until: i64,
    ) -> Result<bool, StoreError> {
        let touched = self.execute(
            "INSERT INTO store_lease (name, owner, until) VALUES (?1, ?2, ?4)
             ON CONFLICT (name) DO UPDATE SET owner = ?2, until = ?4
             WHERE owner = ?2 OR until <= ?3",
            params![name, owner, now, until],
        )?;
        Ok(touched == 1)
    }

    /// Gives a lease back. False: it was not this owner's.
    pub fn release_lease(&self, name: &str, owner: &str) -> Result<bool, StoreError> {
        let touched = self.execute(
            "DELETE FROM store_lease WHERE name = ?1 AND owner = ?2",
            params![name, owner],
        )?;
        Ok(touched == 1)
    }
}

impl Read<'_> {
    /// Who holds a lease at `now`.
    pub fn lease_owner(&self, name: &str, now: i64) -> Result<Option<String>, StoreError> {
        let row = self.query_one(
            "SELECT owner FROM store_lease WHERE name = ?1 AND until > ?2",
            params![name, now],
        )?;
        row.map(|mut row| row.take(0)).transpose()
    }
}
