//! What happened: the vocabulary of the change log.
//!
//! Every write of a service appends, in the same transaction, one [`Change`] per thing that it
//! changes. Polling, streams, undo, audit and etags read this log and nothing else. This crate
//! holds the plain types that all services share; it knows no SQL, no gRPC and no task, user or
//! message. How a log is stored is each service's own whole statements.

mod cursor;
mod feed;
mod request;

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use cursor::{Cursor, Extent, Malformed};
pub use feed::{Hints, Listener};
pub use request::{Fingerprint, Known, REQUESTS_KEPT, Record, Replayed, Request};

/// The owner of everything: a user, the subject of the access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(Uuid);

/// The place of a change in its owner's log: 1, 2, 3… without a gap, in commit order.
pub type Seq = i64;

/// Whose hand made a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The user, through a client.
    User,
    /// The assistant, in a turn that the user asked for.
    Assistant,
}

/// Where a write comes from; copied onto every change that it makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Whose hand it is.
    pub actor: Actor,
    /// The assistant's turn that it belongs to.
    pub turn: Option<Uuid>,
    /// The request that makes it safe to repeat, when the caller gave one.
    pub request: Option<Request>,
}

/// One thing that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change<T> {
    /// Its place in the owner's log.
    pub seq: Seq,
    /// When it was committed.
    pub time: Timestamp,
    /// Whose hand made it.
    pub actor: Actor,
    /// The assistant's turn that made it.
    pub turn: Option<Uuid>,
    /// The request that made it.
    pub request_id: Option<String>,
    /// What was done, such as `create` or `complete`.
    pub kind: String,
    /// The thing as it was; nothing when it is new.
    pub before: Option<T>,
    /// The thing as it is now; nothing when it is gone.
    pub after: Option<T>,
}

// === impl UserId ===

impl UserId {
    /// The id as a UUID.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl From<Uuid> for UserId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for UserId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::from_str(text).map(Self)
    }
}

// === impl Actor ===

impl Actor {
    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Actor::User => "user",
            Actor::Assistant => "assistant",
        }
    }

    /// Reads the stored word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "user" => Some(Actor::User),
            "assistant" => Some(Actor::Assistant),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_read_back_from_its_word() {
        for actor in [Actor::User, Actor::Assistant] {
            assert_eq!(Actor::parse(actor.as_str()), Some(actor));
        }
        assert_eq!(Actor::parse("root"), None);
    }

    #[test]
    fn a_user_id_is_read_back_from_its_text() {
        let id = UserId::from(Uuid::from_u128(7));
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
