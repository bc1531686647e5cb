//! How a turn fails when its model gives no answer.

use serde::{Deserialize, Serialize};

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
