//! Time and ids, as arguments, so that a test can hold them still.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// Tells the time and makes ids.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time of the wall clock.
    fn now(&self) -> Timestamp;

    /// A new id: UUIDv7 (RFC 9562), later ids of one process sort after earlier ones.
    fn id(&self) -> Uuid;
}

/// The clock of the machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

/// A clock that moves only when it is told to. For tests.
#[derive(Debug)]
pub struct ManualClock(Mutex<(Timestamp, u128)>);

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    #[expect(clippy::disallowed_methods, reason = "this is where ids enter")]
    fn id(&self) -> Uuid {
        Uuid::now_v7()
    }
}

impl ManualClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub const fn new(start: Timestamp) -> Self {
        Self(Mutex::new((start, 0)))
    }

    /// Moves the clock by `step`, which may be negative.
    pub fn advance(&self, step: SignedDuration) {
        self.with(|state| state.0 = state.0.saturating_add(step).unwrap_or(Timestamp::MAX));
    }

    /// Puts the clock at `time`.
    pub fn set(&self, time: Timestamp) {
        self.with(|state| state.0 = time);
    }

    fn with<T>(&self, f: impl FnOnce(&mut (Timestamp, u128)) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for ManualClock {
    /// 2026-11-21T09:00:00Z, a Saturday.
    fn default() -> Self {
        Self::new(Timestamp::constant(1_795_251_600, 0))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.with(|state| state.0)
    }

    fn id(&self) -> Uuid {
        let (time, count) = self.with(|state| {
            state.1 += 1;
            *state
        });
        let mut counter = [0; 10];
        counter.copy_from_slice(&count.to_be_bytes()[6..]);
        let millis = u64::try_from(time.as_millisecond()).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &counter).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_in_the_order_they_were_made() {
        for clock in [&SystemClock as &dyn Clock, &ManualClock::default()] {
            let ids: Vec<_> = (0..100).map(|_| clock.id()).collect();
            assert!(ids.is_sorted());
            assert!(ids.iter().all(|id| id.get_version_num() == 7));
        }
    }

    #[test]
    fn a_manual_clock_moves_only_when_told_to() {
        let clock = ManualClock::default();
        assert_eq!(clock.now().to_string(), "2026-11-21T09:00:00Z");
        clock.advance(SignedDuration::from_secs(5));
        assert_eq!(clock.now().to_string(), "2026-11-21T09:00:05Z");
    }
}
