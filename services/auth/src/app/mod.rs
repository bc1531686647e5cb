//! Decides: reads what is needed, asks the rules, writes, and does it again when somebody was faster.
//!
//! [`accounts`] is about who somebody is, [`sessions`] about where they are signed in, [`erasure`]
//! about the end of an account, and [`housekeeping`] about what is done without being asked. There is
//! no message of a contract and no SQL in here.

mod accounts;
mod decoys;
mod erasure;
mod housekeeping;
mod operators;
mod sessions;
mod throttles;

use std::{net::IpAddr, sync::Arc};

use errand_changelog::{Actor, Origin, Request, UserId};
use errand_chassis::{clock::Clock, page_token::PageTokens};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    domain::{account::Account, session::Session},
    error::Error,
    keys::{
        ACCESS_LIFETIME, Holder, Keys,
        refresh::{Issued, RefreshKey},
    },
    passwords::Passwords,
    peers::Peers,
    store::{Held, Store},
};

pub use accounts::{PatchMe, SignUp};
pub use decoys::Decoys;
pub use operators::{Imported, Operators, Refused};
pub use throttles::Throttles;

/// How often a write that met another is decided again.
const TRIES: usize = 8;

/// The service, without a face.
#[derive(Debug)]
pub struct App {
    /// Where accounts and sessions are.
    pub store: Arc<dyn Store>,
    /// The time, and ids.
    pub clock: Arc<dyn Clock>,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// What an address that nobody has costs.
    pub decoys: Decoys,
    /// Signs access tokens.
    pub keys: Keys,
    /// Makes refresh tokens.
    pub refresh: RefreshKey,
    /// Seals page tokens.
    pub pages: PageTokens,
    /// What was tried how often.
    pub throttles: Throttles,
    /// The services that hold data of our users.
    pub peers: Peers,
    /// Wakes the erasing when an account was closed.
    pub closed: Notify,
}

/// The signed-in user who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user: UserId,
    /// The session that the call is made from.
    pub session: Uuid,
    /// Whose hand it is.
    pub actor: Actor,
    /// The assistant's turn, when it is the assistant's hand.
    pub turn: Option<Uuid>,
}

/// The program at the other end, which may be anybody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its network address.
    pub address: IpAddr,
    /// What it calls itself.
    pub user_agent: String,
}

/// What a session gives its holder.
#[derive(Debug)]
pub struct Credentials {
    /// The access token.
    pub access_token: SecretString,
    /// How long that is valid.
    pub expires_in: SignedDuration,
    /// The refresh token.
    pub refresh_token: SecretString,
}

impl App {
    /// The time, as precise as it can be stored.
    fn now(&self) -> Timestamp {
        stored_now(self.clock.as_ref())
    }

    /// A session that begins, with its first refresh token.
    fn begin(&self, client: &Client, now: Timestamp) -> (Held, SecretString) {
        let address = client.address.to_canonical().to_string();
        let session = Session::new(self.clock.id(), &client.user_agent, address, now);
        let Issued { token, secret_hash } = self.refresh.issue(session.id, session.generation);
        (Held { session, secret_hash }, token)
    }

    /// Signs an access token for a session and puts the refresh token beside it.
    fn credentials(&self, account: &Account, session: Uuid, refresh_token: SecretString) -> Result<Credentials, Error> {
        let access_token = self.keys.sign(Holder { user: account.id, session, time_zone: &account.time_zone })?;
        Ok(Credentials { access_token, expires_in: ACCESS_LIFETIME, refresh_token })
    }
}

impl Caller {
    fn origin(&self, request: Option<Request>) -> Origin {
        Origin { actor: self.actor, turn: self.turn, request }
    }
}

/// The time, as precise as it can be stored.
fn stored_now(clock: &dyn Clock) -> Timestamp {
    let now = clock.now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// Where a write of somebody who proves to be the user comes from.
const fn by_the_user() -> Origin {
    Origin { actor: Actor::User, turn: None, request: None }
}
