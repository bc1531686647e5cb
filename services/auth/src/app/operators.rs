//! What an operator does with accounts, beside a running service or without one.
//!
//! An operator sees addresses and names and never a hash. What is done here is in the owner's log.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use errand_changelog::UserId;
use errand_chassis::clock::Clock;
use jiff::Timestamp;
use secrecy::SecretString;
use uuid::Uuid;

use super::{by_the_user, stored_now};
use crate::{
    domain::{
        Fault,
        account::{self, Account},
        import::Import,
    },
    error::Error,
    passwords::{self, Passwords},
    store::{Beginning, Store},
};

/// Bytes of a password that is made here.
const PASSWORD_LENGTH: usize = 18;

/// The hands of an operator.
#[derive(Debug)]
pub struct Operators {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    passwords: Passwords,
}

/// What became of an account that was to be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// It is there now.
    New,
    /// There was one with this address, which stays as it is.
    Known,
}

/// Why an account was not imported.
#[derive(Debug)]
pub enum Refused {
    /// Something is wrong with it.
    Faults(Vec<Fault>),
    /// It could not be stored.
    Error(Error),
}

impl Operators {
    /// An operator of the accounts in this store.
    #[must_use]
    pub const fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, passwords: Passwords) -> Self {
        Self { store, clock, passwords }
    }

    /// Accounts in the order of their addresses, from the one after `after` on.
    ///
    /// # Errors
    /// When they can not be read.
    pub async fn list(&self, after: Option<&Account>, limit: usize) -> Result<Vec<Account>, Error> {
        let after = after.map(|account| account::canonical(&account.email)).unwrap_or_default();
        Ok(self.store.accounts(&after, limit).await?)
    }

    /// Disables an account or enables it again; none when there is none, false when it is so already.
    ///
    /// # Errors
    /// When that can not be stored.
    pub async fn set_disabled(&self, name: &str, disabled: bool) -> Result<Option<bool>, Error> {
        let Some(owner) = self.find(name).await? else { return Ok(None) };
        Ok(self.store.set_disabled(owner, disabled, by_the_user(), self.now()).await?)
    }

    /// Gives an account a random password and ends all its sessions; none when there is none.
    ///
    /// # Errors
    /// When that can not be stored.
    pub async fn reset_password(&self, name: &str) -> Result<Option<SecretString>, Error> {
        let Some(owner) = self.find(name).await? else { return Ok(None) };
        let mut bytes = [0; PASSWORD_LENGTH];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| passwords::Error::Failed("the system has no randomness"))?;
        let password = SecretString::from(URL_SAFE_NO_PAD.encode(bytes));
        let hash = self.passwords.hash(password.clone()).await?;
        let is_there = self.store.reset_password(owner, hash, by_the_user(), self.now()).await?;
        Ok(is_there.then_some(password))
    }

    /// Takes an account from elsewhere. Done twice, it is done once.
    ///
    /// # Errors
    /// When the line breaks a rule, or the account can not be stored.
    pub async fn import(&self, line: &str) -> Result<Imported, Refused> {
        let now = self.now();
        let judged = Import::parse(line, now).and_then(|import| {
            let hash = passwords::imported::judge(&import.password_hash);
            hash.map(|hash| (import, hash)).map_err(|broken| vec![broken.at("password_hash")])
        });
        let (import, password) = judged.map_err(Refused::Faults)?;
        let owner = UserId::from(self.clock.id());
        let account = Account {
            id: owner,
            email: import.email.as_str().to_owned(),
            display_name: import.display_name,
            time_zone: import.time_zone.as_str().to_owned(),
            version: 0,
            create_time: import.create_time.unwrap_or(now),
            update_time: now,
            disable_time: None,
        };
        let imported = Some(passwords::imported::cost(&password));
        let email_key = import.email.key().to_owned();
        let beginning = Beginning { account, email_key, password, imported, held: None };
        let made =
            self.store.sign_up(owner, beginning, by_the_user()).await.map_err(|error| Refused::Error(error.into()))?;
        Ok(if made.is_some() { Imported::New } else { Imported::Known })
    }

    /// Finishes what waits.
    pub async fn close(&self) {
        self.passwords.close();
        self.store.close().await;
    }

    /// Whose account is meant: by an address, or by an id.
    async fn find(&self, name: &str) -> Result<Option<UserId>, Error> {
        if let Ok(id) = Uuid::try_parse(name) {
            return Ok(Some(UserId::from(id)));
        }
        let key = account::canonical(name);
        if key.contains('\0') {
            return Ok(None);
        }
        Ok(self.store.owner_of_email(&key).await?)
    }

    fn now(&self) -> Timestamp {
        stored_now(self.clock.as_ref())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Faults(faults) => {
                let texts: Vec<_> =
                    faults.iter().map(|fault| format!("{} {}", fault.field, fault.rule.description)).collect();
                f.write_str(&texts.join("; "))
            }
        }
    }
}
