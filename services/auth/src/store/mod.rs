//! Where accounts, sessions and signing keys are kept, as the rest of the service sees it.
//!
//! Every method but [`Store::close`] is one transaction and takes the owner first. Eight have none, because they are how an
//! owner is found, or belong to nobody: [`Store::owner_of_email`], [`Store::owner_of_session`],
//! [`Store::accounts`], [`Store::costs`], [`Store::signing_keys`], [`Store::add_signing_key`], [`Store::claim_erasures`] and
//! [`Store::tidy`]. Writes only compare and store: each names
//! what it expects to find, and a write that finds something else changes nothing and says so, so
//! that `app` reads and decides again. What is written, and whether it may be, is decided there.
//!
//! Every write appends its changes to the owner's log. The rotation of a refresh token and the
//! dropping of what has expired do not, as nothing in them is for a reader of the log; and an account
//! that is closed takes its log with it.

#[cfg(test)]
pub(crate) mod conformance;
pub mod postgres;
pub mod sqlite;

use std::fmt;

use async_trait::async_trait;
use errand_changelog::{Change, Origin, Record, Seq, UserId};
use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::{
    Subject,
    account::{Account, PasswordHash},
    erasure::Erasure,
    session::{Ending, Session},
};

pub use errand_storage::Error;

/// The kind of the change with which an operator disables an account.
const DISABLE: &str = "disable_account";
/// The kind of the change with which an operator enables it again.
const ENABLE: &str = "enable_account";
/// The kind of the change with which an operator sets a password.
const RESET_PASSWORD: &str = "reset_password";

/// A session and the proof of its newest refresh token.
#[derive(Clone, PartialEq, Eq)]
pub struct Held {
    /// The session.
    pub session: Session,
    /// SHA-256 of the secret of its newest refresh token.
    pub secret_hash: [u8; 32],
}

/// What is read before a profile is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// The account; none when there is none.
    pub account: Option<Account>,
    /// What is kept under the id of the request.
    pub record: Option<Record>,
}

/// An account that begins.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// The account. Its version is given by the store.
    pub account: Account,
    /// What all spellings of its e-mail address have in common.
    pub email_key: String,
    /// The hash of its password.
    pub password: PasswordHash,
    /// How expensive that hash is to verify, when it was made elsewhere.
    pub imported: Option<String>,
    /// The first session; none when the account was brought from elsewhere.
    pub held: Option<Held>,
}

/// A session that begins.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The session.
    pub held: Held,
    /// The hash that the password was verified with; it must still be the one.
    pub verified: PasswordHash,
    /// The hash to put in its place.
    pub upgraded: Option<PasswordHash>,
}

/// How expensive the hashes of accounts are to verify.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Costs {
    /// How many accounts there are; 0 when none has an imported hash.
    pub accounts: u64,
    /// How many of them have an imported hash, by what that costs.
    pub imported: Vec<(String, u64)>,
}

/// What a profile change came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// It is stored; this is the account now.
    Done(Account),
    /// The request was seen before; this is kept of it.
    Known(Record),
    /// The account is no longer at the expected version.
    Stale,
}

/// A private key as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedKey {
    /// Its name.
    pub kid: String,
    /// When it was made.
    pub create_time: Timestamp,
    /// Signs from then on.
    pub not_before: Timestamp,
    /// No longer published from then on; none for the newest key.
    pub not_after: Option<Timestamp>,
    /// The private key, encrypted.
    pub sealed: Vec<u8>,
}

/// Erasures whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// These, each put off to its next time already.
    pub due: Vec<Erasure>,
    /// When the next one is due, these included.
    pub next: Option<Timestamp>,
}

/// Keeps accounts, sessions and signing keys.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Whose the e-mail address with this key is. Without an owner: this is how one is found.
    async fn owner_of_email(&self, key: &str) -> Result<Option<UserId>, Error>;

    /// Whose the session with this id is. Without an owner: this is how one is found.
    async fn owner_of_session(&self, id: Uuid) -> Result<Option<UserId>, Error>;

    /// Every signing key, the newest last. They belong to nobody.
    async fn signing_keys(&self) -> Result<Vec<SealedKey>, Error>;

    /// Adds the newest signing key and says when those before it end; false when `newest` is not the name of the one
    /// that was the newest until now. They belong to nobody.
    async fn add_signing_key(&self, key: SealedKey, others_end: Timestamp, newest: Option<&str>)
    -> Result<bool, Error>;

    /// Accounts by the keys of their addresses, from the one after `after` on. Without an owner: an operator looks
    /// for one.
    async fn accounts(&self, after: &str, limit: usize) -> Result<Vec<Account>, Error>;

    /// How many accounts have an imported hash that was not replaced yet. Without an owner: it is about those who are
    /// not there.
    async fn costs(&self) -> Result<Costs, Error>;

    /// Takes at most `limit` erasures that are due and puts each off, so that nobody else takes it
    /// meanwhile and a try that comes to nothing needs no second write. Without an owner: this is how
    /// those are found who are to be erased.
    async fn claim_erasures(&self, now: Timestamp, limit: usize) -> Result<Claimed, Error>;

    /// Drops at most `limit` of each: expired sessions, requests that were kept long enough, retired
    /// signing keys; false when there was nothing, or another process is at it. Without an owner: nobody asked for it.
    async fn tidy(&self, now: Timestamp, limit: usize) -> Result<bool, Error>;

    /// Makes an account, with its first session if it has one; none when its address is taken.
    async fn sign_up(&self, owner: UserId, beginning: Beginning, origin: Origin) -> Result<Option<Account>, Error>;

    /// The account, and what is kept of a request if one is named.
    async fn account(&self, owner: UserId, request: Option<&str>) -> Result<Before, Error>;

    /// The account and the hash of its password.
    async fn credential(&self, owner: UserId) -> Result<Option<(Account, PasswordHash)>, Error>;

    /// The write door of the profile. `after` carries the version that it expects to replace; when it
    /// equals what is there nothing is appended, but the request is kept.
    async fn update(&self, owner: UserId, after: Account, origin: Origin, now: Timestamp) -> Result<Committed, Error>;

    /// Puts `hash` in the place of `verified` and ends every session but `keep`; false when `verified`
    /// is no longer the hash.
    async fn change_password(
        &self,
        owner: UserId,
        verified: PasswordHash,
        hash: PasswordHash,
        keep: Uuid,
        origin: Origin,
        now: Timestamp,
    ) -> Result<bool, Error>;

    /// Puts `hash` in the place of whatever it is and ends every session; false when there is no account.
    async fn reset_password(
        &self,
        owner: UserId,
        hash: PasswordHash,
        origin: Origin,
        now: Timestamp,
    ) -> Result<bool, Error>;

    /// Disables the account, after which no session can be opened or rotated, or enables it again, which ends every
    /// session that it had; none when there is no account, false when it is so already.
    async fn set_disabled(
        &self,
        owner: UserId,
        disabled: bool,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Option<bool>, Error>;

    /// Closes the account: it goes with its address, sessions, log and requests, and one erasure is
    /// noted for each of these services; false when `verified` is no longer the hash.
    async fn close_account(
        &self,
        owner: UserId,
        verified: PasswordHash,
        services: &[&'static str],
        now: Timestamp,
    ) -> Result<bool, Error>;

    /// Strikes out an erasure that the service acknowledged.
    async fn finish_erasure(&self, owner: UserId, service: &str) -> Result<(), Error>;

    /// Adds a session and ends the oldest when there are too many; the account, or none when the
    /// verified hash is no longer the one, or the account is disabled.
    async fn open_session(
        &self,
        owner: UserId,
        opening: Opening,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Option<Account>, Error>;

    /// A session with its proof, and the account that it belongs to.
    async fn session(&self, owner: UserId, id: Uuid) -> Result<Option<(Held, Account)>, Error>;

    /// Compare and swap: puts `next` in place of the session when that is still at the generation
    /// before; false when it is not, is gone, or the account is disabled.
    async fn rotate(&self, owner: UserId, next: Held) -> Result<bool, Error>;

    /// Ends a session; false when there is none.
    async fn end_session(
        &self,
        owner: UserId,
        id: Uuid,
        ending: Ending,
        origin: Origin,
        now: Timestamp,
    ) -> Result<bool, Error>;

    /// Open sessions, newest first, from the one before `after` on.
    async fn sessions(
        &self,
        owner: UserId,
        after: Option<Uuid>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Session>, Error>;

    /// The owner's log after a place in it.
    async fn changes(&self, owner: UserId, after: Seq, limit: usize) -> Result<Vec<Change<Subject>>, Error>;

    /// Finishes what waits and takes no more.
    async fn close(&self);
}

impl Beginning {
    /// What its first change is called in the log.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        if self.held.is_some() { "sign_up" } else { "import_account" }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("session", &self.session).finish_non_exhaustive()
    }
}

impl fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}
