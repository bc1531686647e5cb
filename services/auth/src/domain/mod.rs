//! What an account, a session and a throttle are, and every rule about them.
//!
//! Pure and synchronous: time, ids and secrets arrive as arguments. There is no hash, no token, no
//! database and no network in here.

pub mod account;
pub mod erasure;
pub mod import;
pub mod session;
pub mod throttle;

use serde::{Deserialize, Serialize};

use account::Account;
use session::Session;

/// What a change in auth's log is about. Password hashes and secrets of tokens are no part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// An account.
    Account(Account),
    /// A session.
    Session(Session),
}

/// A rule that a value breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    /// The stable reason, in the words of the contract's own rules.
    pub reason: &'static str,
    /// What to change.
    pub description: &'static str,
}

/// A rule that a field of a request breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The field's path as the JSON face spells it.
    pub field: &'static str,
    /// The rule.
    pub rule: Broken,
}

impl Broken {
    /// Says in which field it was found.
    #[must_use]
    pub const fn at(self, field: &'static str) -> Fault {
        Fault { field, rule: self }
    }
}
