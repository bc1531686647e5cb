//! Time and ids, as arguments, so that a test can hold them still.

use std::{
    fmt,
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// Tells the time and makes ids.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time of the wall clock.
    fn now(&self) -> Timestamp;

    /// A new id: UUIDv7 (RFC 9562), later ids of one process sort after earlier ones.
    fn id(&self) -> Uuid;

    /// How much time has passed since some moment of this process. It does not jump when somebody sets the wall
    /// clock, so waiting is measured with it.
    fn passed(&self) -> Duration;
}

/// The clock of the machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

/// A clock that moves only when it is told to. For tests.
#[derive(Debug)]
pub struct ManualClock(Mutex<Manual>);

#[derive(Debug, Clone, Copy)]
struct Manual {
    now: Timestamp,
    ids: u128,
    passed: Duration,
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where time enters")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    #[expect(clippy::disallowed_methods, reason = "this is where ids enter")]
    fn id(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn passed(&self) -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed()
    }
}

impl ManualClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub const fn new(start: Timestamp) -> Self {
        Self(Mutex::new(Manual { now: start, ids: 0, passed: Duration::ZERO }))
    }

    /// Lets `step` pass. A negative one sets the wall clock back; no time passes.
    pub fn advance(&self, step: SignedDuration) {
        self.with(|state| {
            state.now = state.now.saturating_add(step).unwrap_or(Timestamp::MAX);
            state.passed += Duration::try_from(step).unwrap_or_default();
        });
    }

    /// Sets the wall clock to `time`, as its owner might; no time passes.
    pub fn set(&self, time: Timestamp) {
        self.with(|state| state.now = time);
    }

    fn with<T>(&self, f: impl FnOnce(&mut Manual) -> T) -> T {
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
        self.with(|state| state.now)
    }

    fn id(&self) -> Uuid {
        let Manual { now: time, ids: count, .. } = self.with(|state| {
            state.ids += 1;
            *state
        });
        let mut counter = [0; 10];
        counter.copy_from_slice(&count.to_be_bytes()[6..]);
        let millis = u64::try_from(time.as_millisecond()).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &counter).into_uuid()
    }

    fn passed(&self) -> Duration {
        self.with(|state| state.passed)
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
    #[test]
    fn setting_the_wall_clock_lets_no_time_pass() {
        let clock = ManualClock::default();
        clock.advance(SignedDuration::from_secs(5));
        clock.set(Timestamp::MAX);
        clock.advance(SignedDuration::from_hours(-9));
        assert_eq!(clock.passed(), Duration::from_secs(5));
        assert!(SystemClock.passed() <= SystemClock.passed());
    }
}
