//! What other services hold of an account that is gone, and when they are asked to erase it.
//!
//! Asking goes on until each of them has acknowledged. Who is asked and how is no matter here.

use errand_changelog::UserId;
use jiff::{SignedDuration, Timestamp};

/// What is waited after the first try; each further one doubles it.
pub const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(1);
/// The longest pause, so that a service that is back again is asked soon.
pub const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(1);

/// One service that has not yet acknowledged that it erased a user's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Whose data it is.
    pub owner: UserId,
    /// The full name of the service.
    pub service: String,
    /// How often it was asked before.
    pub tries: u32,
}

impl Erasure {
    /// When to ask again if this try, which begins now, comes to nothing.
    #[must_use]
    pub fn next_time(&self, now: Timestamp) -> Timestamp {
        // 2^6 seconds are already longer than the longest pause.
        let pause = FIRST_PAUSE.saturating_mul(1 << self.tries.min(6)).min(LONGEST_PAUSE);
        now.checked_add(pause).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_never_end() {
        let now = Timestamp::UNIX_EPOCH;
        let pause = |tries| {
            let erasure = Erasure { owner: UserId::from(Uuid::nil()), service: String::new(), tries };
            erasure.next_time(now).as_second()
        };
        assert_eq!((0..8).map(pause).collect::<Vec<_>>(), [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(u32::MAX), 60);
    }
}
