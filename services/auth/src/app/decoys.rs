//! What an address that nobody has costs at log in: what that of a user costs.
//!
//! Imported hashes take another time to verify than ours until their users have logged in. So that this tells nobody
//! which addresses have accounts, as large a part of the addresses without one costs the same, always the same ones at
//! all replicas, and ever fewer as hashes are replaced.

use std::{
    fmt,
    sync::{PoisonError, RwLock},
};

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use errand_chassis::secret::Secret;

use crate::{
    domain::account::PasswordHash,
    passwords::imported,
    store::{Costs, Error, Store},
};

/// Chooses decoys.
pub struct Decoys {
    key: hmac::Key,
    /// What is compared with for addresses whose draw is below; the ends rise.
    parts: RwLock<Vec<(u64, PasswordHash)>>,
}

impl Decoys {
    /// Decoys of this secret; none until the costs are known.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self { key: hmac::Key::new(HMAC_SHA256, &secret.derive("decoy")), parts: RwLock::default() }
    }

    /// Learns what the hashes of users cost.
    ///
    /// # Errors
    /// When that can not be read; then it stays as it was.
    pub async fn learn(&self, store: &dyn Store) -> Result<(), Error> {
        let Costs { accounts, imported } = store.costs().await?;
        let mut end = 0_u64;
        let part = |(cost, number): (String, u64)| {
            end += number;
            // Of all that can be drawn, as much as so many of the accounts.
            let below = u128::from(end) * u128::from(u64::MAX) / u128::from(accounts.max(end).max(1));
            Some((u64::try_from(below).unwrap_or(u64::MAX), imported::decoy(&cost)?))
        };
        let parts = imported.into_iter().filter_map(part).collect();
        *self.parts.write().unwrap_or_else(PoisonError::into_inner) = parts;
        Ok(())
    }

    /// What the password for an address is compared with when nobody has it; none is a hash of ours.
    #[must_use]
    pub fn of(&self, email_key: &str) -> Option<PasswordHash> {
        let mac = hmac::sign(&self.key, email_key.as_bytes());
        let draw = mac.as_ref().first_chunk().map_or(u64::MAX, |bytes| u64::from_be_bytes(*bytes));
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        parts.iter().find(|(below, _)| draw < *below).map(|(_, decoy)| decoy.clone())
    }
}

impl fmt::Debug for Decoys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoys").finish_non_exhaustive()
    }
}
