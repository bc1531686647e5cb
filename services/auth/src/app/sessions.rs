//! Log in, refresh, log out, and the list of sessions.

use errand_changelog::UserId;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{App, Caller, Client, Credentials, TRIES, by_the_user};
use crate::{
    domain::{
        account::{self, Account},
        session::{Ending, Session, Verdict},
    },
    error::Error,
    keys::refresh::Presented,
    passwords,
    store::{Held, Opening},
};

impl App {
    /// Opens a session for an address and a password.
    ///
    /// # Errors
    /// When one of the two is wrong, which is never told apart, too many were tried, or the account is disabled.
    pub async fn log_in(
        &self,
        client: &Client,
        email: &str,
        password: SecretString,
    ) -> Result<(Account, Credentials), Error> {
        if email.contains('\0') {
            return Err(Error::Invalid(vec![account::NOT_TEXT.at("email")]));
        }
        let key = account::canonical(email);
        for _ in 0..TRIES {
            self.throttles.check(&key, client.address, self.now())?;
            // A stranger's way is as long as a user's: one look-up, one row, one hash, as expensive as one of a user.
            let owner = self.store.owner_of_email(&key).await?;
            let credential = self.store.credential(owner.unwrap_or(UserId::from(Uuid::nil()))).await?;
            let decoy = self.decoys.of(&key);
            let hash = credential.as_ref().map(|(_, hash)| hash).or(decoy.as_ref());
            let verdict = self.passwords.verify(password.clone(), hash).await?;
            let is_right = credential.is_some() && verdict != passwords::Verdict::Wrong;
            self.throttles.settle(&key, client.address, is_right, self.now())?;
            let (Some(owner), Some((account, verified)), true) = (owner, credential, is_right) else {
                return Err(Error::CredentialsInvalid);
            };
            if account.disable_time.is_some() {
                return Err(Error::AccountDisabled);
            }
            self.keys.fresh().await?;
            let upgraded = match verdict {
                passwords::Verdict::RightButWeak => Some(self.passwords.hash(password.clone()).await?),
                _ => None,
            };
            let now = self.now();
            let (held, refresh_token) = self.begin(client, now);
            let session = held.session.id;
            let opening = Opening { held, verified, upgraded };
            // When the hash is another by now, or the account disabled, all of it is to be asked again.
            if let Some(account) = self.store.open_session(owner, opening, by_the_user(), now).await? {
                let credentials = self.credentials(&account, session, refresh_token)?;
                return Ok((account, credentials));
            }
        }
        Err(Error::Contended)
    }

    /// Trades a refresh token for the next one.
    ///
    /// # Errors
    /// When it is none, its session has ended, it was used before, which ends the session, or the account is disabled.
    pub async fn refresh(&self, client: &Client, token: &SecretString) -> Result<Credentials, Error> {
        let presented = self.refresh.read(token.expose_secret()).ok_or(Error::RefreshTokenInvalid)?;
        let owner = self.store.owner_of_session(presented.session).await?.ok_or(Error::RefreshTokenInvalid)?;
        for _ in 0..TRIES {
            let found = self.store.session(owner, presented.session).await?;
            let (held, account) = found.ok_or(Error::RefreshTokenInvalid)?;
            let now = self.now();
            self.throttles.check(&account::canonical(&account.email), client.address, now)?;
            self.keys.fresh().await?;
            if let Some(credentials) = self.exchange(owner, &presented, &held, &account, now).await? {
                return Ok(credentials);
            }
        }
        Err(Error::Contended)
    }

    /// One try; nothing when the session changed meanwhile.
    async fn exchange(
        &self,
        owner: UserId,
        presented: &Presented,
        held: &Held,
        account: &Account,
        now: Timestamp,
    ) -> Result<Option<Credentials>, Error> {
        let session = &held.session;
        let generation = match session.judge(presented.generation, now) {
            Verdict::Rotate(_) if presented.secret_hash != held.secret_hash => return Err(Error::RefreshTokenInvalid),
            Verdict::Rotate(_) | Verdict::Replay(_) if account.disable_time.is_some() => {
                return Err(Error::AccountDisabled);
            }
            Verdict::Rotate(next) => {
                let secret_hash = self.refresh.issue(session.id, next).secret_hash;
                if !self.store.rotate(owner, Held { session: session.rotated(next, now), secret_hash }).await? {
                    return Ok(None);
                }
                next
            }
            Verdict::Replay(newest) => newest,
            Verdict::Reuse => {
                self.store.end_session(owner, session.id, Ending::Revoked, by_the_user(), now).await?;
                tracing::warn!(user.id = %owner, session.id = %session.id, "a used refresh token came back; its session was ended");
                return Err(Error::RefreshTokenReused);
            }
            Verdict::Expired | Verdict::Unknown => return Err(Error::RefreshTokenInvalid),
        };
        let refresh_token = self.refresh.issue(session.id, generation).token;
        self.credentials(account, session.id, refresh_token).map(Some)
    }

    /// Ends the calling session, if it has not ended already.
    ///
    /// # Errors
    /// When the account is gone.
    pub async fn log_out(&self, caller: &Caller) -> Result<(), Error> {
        let origin = caller.origin(None);
        if !self.store.end_session(caller.user, caller.session, Ending::LoggedOut, origin, self.now()).await? {
            self.me(caller).await?;
        }
        Ok(())
    }

    /// Ends one of the caller's sessions.
    ///
    /// # Errors
    /// When the caller has none with this id, or the account is gone.
    pub async fn delete_session(&self, caller: &Caller, id: Uuid) -> Result<(), Error> {
        let origin = caller.origin(None);
        if self.store.end_session(caller.user, id, Ending::Deleted, origin, self.now()).await? {
            return Ok(());
        }
        self.me(caller).await?;
        Err(Error::SessionNotFound(id))
    }

    /// A page of the caller's open sessions, newest first, and the token of the next page.
    ///
    /// # Errors
    /// When the page token is not one of this list, or the account is gone.
    pub async fn list_sessions(
        &self,
        caller: &Caller,
        method: &'static str,
        size: usize,
        page_token: &str,
    ) -> Result<(Vec<Session>, String), Error> {
        let after = match page_token {
            "" => None,
            token => {
                let position = self.pages.open(caller.user, method, &[], token).map_err(Error::Page)?;
                // A position that this list sealed is an id.
                Uuid::from_slice(&position).ok()
            }
        };
        let mut sessions = self.store.sessions(caller.user, after, size + 1, self.now()).await?;
        if sessions.is_empty() {
            self.me(caller).await?;
        }
        let has_more = sessions.len() > size;
        sessions.truncate(size);
        let next = match sessions.last() {
            Some(last) if has_more => self.pages.seal(caller.user, method, &[], last.id.as_bytes()),
            _ => String::new(),
        };
        Ok((sessions, next))
    }
}
