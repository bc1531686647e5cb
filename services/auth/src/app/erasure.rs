//! The end of an account: it is closed at once, and what other services hold of it is erased until
//! each of them has acknowledged, across restarts.

use std::sync::Arc;

use jiff::Timestamp;
use secrecy::SecretString;
use tokio::task::JoinSet;

use super::{App, Caller, Client, TRIES};
use crate::{
    domain::{account, erasure::Erasure},
    error::Error,
    store::Claimed,
};

/// How many erasures are under way at a time.
const AT_ONCE: usize = 16;

impl App {
    /// Closes the caller's account for good: its address is free again, and every session has ended.
    ///
    /// # Errors
    /// When the password is wrong, too many were tried, or the account is gone already.
    pub async fn delete_me(&self, caller: &Caller, client: &Client, password: SecretString) -> Result<(), Error> {
        for _ in 0..TRIES {
            let credential = self.store.credential(caller.user).await?;
            let (account, verified) = credential.ok_or(Error::AccountDeleted)?;
            let key = account::canonical(&account.email);
            self.check_current(&key, client, password.clone(), &verified).await?;
            // When the hash is another by now, the password is to be asked again.
            if self.store.close_account(caller.user, verified, &self.peers.names(), self.now()).await? {
                tracing::info!(user.id = %caller.user, "an account was closed");
                self.closed.notify_one();
                return Ok(());
            }
        }
        Err(Error::Contended)
    }

    /// Asks services to erase, where it is due; says when to do it again, if there is anything left.
    ///
    /// # Errors
    /// When it can not be read what is due.
    pub async fn erase_due(self: &Arc<Self>) -> Result<Option<Timestamp>, Error> {
        let Claimed { due, next } = self.store.claim_erasures(self.now(), AT_ONCE).await?;
        let mut calls = JoinSet::new();
        for erasure in due {
            calls.spawn(self.clone().erase(erasure));
        }
        calls.join_all().await;
        Ok(next)
    }

    /// One try. When it comes to nothing, the next one is arranged for already.
    async fn erase(self: Arc<Self>, erasure: Erasure) {
        let Erasure { owner, service, tries } = &erasure;
        if let Err(error) = self.keys.fresh().await {
            tracing::warn!(user.id = %owner, peer = service, tries, %error, "a closed account's data is not erased yet");
            return;
        }
        let outcome = match self.keys.sign_erasure(*owner) {
            Ok(token) => self.peers.erase(service, &token).await.map_err(Error::from),
            Err(error) => Err(error.into()),
        };
        let finished = match outcome {
            Ok(()) => self.store.finish_erasure(*owner, service).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        match finished {
            Ok(()) => tracing::info!(user.id = %owner, peer = service, "a closed account's data was erased"),
            Err(error) => {
                tracing::warn!(user.id = %owner, peer = service, tries, %error, "a closed account's data is not erased yet");
            }
        }
    }
}
