//! How a turn fails when its model gives no answer.

use serde::{Deserialize, Serialize};

use super::turn::Event;

/// The longest reason of a failure that is kept, in characters.
pub(super) const LONGEST_REASON: usize = 500;

/// What was wrong with a model that gave no answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It can not be reached, or what it answers can not be used.
    #[default]
    Unavailable,
    /// It took too long.
    TimedOut,
    /// It is asked more than it answers.
    Busy,
}

/// The event of a model that gives no answer.
#[must_use]
pub fn failed(reason: &str, fault: Fault) -> Event {
    Event::Failed { reason: reason.chars().take(LONGEST_REASON).collect(), fault }
}
