//! How often something may be tried. Never a lockout: whoever waits as long as he is told may try
//! again, and what one address does holds up no other.
//!
//! Pure state in bounded memory: keys are hashes, and when there are too many of them those that
//! were not touched for longest are forgotten.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

/// How many attempts in a row may fail before the next one has to wait.
pub const FAILURES: u32 = 10;
/// How long failures are remembered.
pub const REMEMBERED: SignedDuration = SignedDuration::from_mins(15);
/// The first wait; each further failure doubles it.
pub const FIRST_WAIT: SignedDuration = SignedDuration::from_secs(15);
/// The longest wait.
pub const LONGEST_WAIT: SignedDuration = SignedDuration::from_secs(60);
/// The time that [`Budget`] counts in.
pub const PERIOD: SignedDuration = SignedDuration::from_mins(1);

/// How many keys each half of a table holds.
const HALF: usize = 16 * 1024;

/// The attempt has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttled {
    /// For how long.
    pub wait: Duration,
}

/// Failures in a row, by key.
#[derive(Debug, Default)]
pub struct Attempts(Recent<Failures>);

/// So many of something a minute, by key.
#[derive(Debug)]
pub struct Budget {
    most: usize,
    times: Recent<VecDeque<Timestamp>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Failures {
    count: u32,
    last: Timestamp,
}

/// A table of two halves: a key that is touched moves to the young half; when that is full, the
/// other half is forgotten.
#[derive(Debug)]
struct Recent<V> {
    young: HashMap<u64, V>,
    old: HashMap<u64, V>,
}

// === impl Attempts ===

impl Attempts {
    /// Whether an attempt may begin.
    ///
    /// # Errors
    /// While too many before it have failed.
    pub fn check(&mut self, key: u64, now: Timestamp) -> Result<(), Throttled> {
        let Some(failures) = self.0.touch(key) else { return Ok(()) };
        let since = now.duration_since(failures.last);
        let wait = failures.wait() - since;
        if since < REMEMBERED && wait > SignedDuration::ZERO {
            // A clock that stepped back must not make the wait longer than it ever is.
            Err(Throttled::until(wait.min(LONGEST_WAIT)))
        } else {
            Ok(())
        }
    }

    /// Takes down how an attempt ended. Of attempts that ran side by side those that end after the
    /// last allowed failure are refused here, whatever their outcome was.
    ///
    /// # Errors
    /// While too many before it have failed; then nothing may be told about the outcome.
    pub fn settle(&mut self, key: u64, succeeded: bool, now: Timestamp) -> Result<(), Throttled> {
        self.check(key, now)?;
        if succeeded {
            self.0.remove(key);
            return Ok(());
        }
        let failures = self.0.entry(key);
        if now.duration_since(failures.last) >= REMEMBERED {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        Ok(())
    }
}

impl Failures {
    fn wait(self) -> SignedDuration {
        match self.count.checked_sub(FAILURES) {
            None => SignedDuration::ZERO,
            Some(beyond) => FIRST_WAIT.saturating_mul(1 << beyond.min(8)).min(LONGEST_WAIT),
        }
    }
}

// === impl Budget ===

impl Budget {
    /// A budget of `most` a minute.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self { most: usize::try_from(most).unwrap_or(usize::MAX), times: Recent::default() }
    }

    /// Takes one.
    ///
    /// # Errors
    /// When the last minute saw as many as are allowed. That one is not counted.
    pub fn take(&mut self, key: u64, now: Timestamp) -> Result<(), Throttled> {
        let times = self.times.entry(key);
        while times.front().is_some_and(|time| now.duration_since(*time) >= PERIOD) {
            times.pop_front();
        }
        if times.len() < self.most {
            times.push_back(now);
            return Ok(());
        }
        let oldest = times.front().copied().unwrap_or(now);
        Err(Throttled::until((PERIOD - now.duration_since(oldest)).min(PERIOD)))
    }

    /// Gives the newest back, which came to nothing through no fault of who took it.
    pub fn give_back(&mut self, key: u64) {
        if let Some(times) = self.times.touch(key) {
            times.pop_back();
        }
    }
}

// === impl Throttled ===

impl Throttled {
    fn until(wait: SignedDuration) -> Self {
        Self { wait: wait.unsigned_abs() }
    }
}

// === impl Recent ===

impl<V> Recent<V> {
    /// What is kept under a key, which is young again.
    fn touch(&mut self, key: u64) -> Option<&mut V> {
        if let Some(kept) = self.old.remove(&key) {
            self.put(key, kept);
        }
        self.young.get_mut(&key)
    }

    fn put(&mut self, key: u64, value: V) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    fn remove(&mut self, key: u64) {
        self.young.remove(&key);
        self.old.remove(&key);
    }
}

impl<V: Default> Recent<V> {
    /// What is kept under a key, or nothing yet.
    fn entry(&mut self, key: u64) -> &mut V {
        if self.touch(key).is_none() {
            self.put(key, V::default());
        }
        self.young.entry(key).or_default()
    }
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::constant(1_795_251_600, 0);

    fn after(seconds: i64) -> Timestamp {
        START + SignedDuration::from_secs(seconds)
    }

    fn fail(attempts: &mut Attempts, key: u64, times: u32, now: Timestamp) {
        for _ in 0..times {
            attempts.settle(key, false, now).unwrap();
        }
    }

    #[test]
    fn the_eleventh_attempt_after_ten_failures_has_to_wait() {
        let mut attempts = Attempts::default();
        fail(&mut attempts, 1, 9, START);
        assert_eq!(attempts.check(1, START), Ok(()));
        fail(&mut attempts, 1, 1, START);
        assert_eq!(attempts.check(1, after(1)), Err(Throttled { wait: Duration::from_secs(14) }));
        assert_eq!(attempts.check(1, after(15)), Ok(()));
    }

    #[test]
    fn the_wait_grows_to_a_minute_and_no_further() {
        let mut attempts = Attempts::default();
        fail(&mut attempts, 1, 10, START);
        let mut now = START;
        let mut waits = Vec::new();
        for _ in 0..5 {
            let wait = attempts.check(1, now).unwrap_err().wait;
            waits.push(wait.as_secs());
            now += SignedDuration::try_from(wait).unwrap();
            fail(&mut attempts, 1, 1, now);
        }
        assert_eq!(waits, [15, 30, 60, 60, 60]);
    }

    #[test]
    fn r_008_a_success_forgets_the_failures_before_it() {
        let mut attempts = Attempts::default();
        fail(&mut attempts, 1, 9, START);
        attempts.settle(1, true, START).unwrap();
        fail(&mut attempts, 1, 9, START);
        assert_eq!(attempts.check(1, START), Ok(()));
    }

    #[test]
    fn r_007_what_one_key_does_holds_up_no_other() {
        let mut attempts = Attempts::default();
        fail(&mut attempts, 1, 10, START);
        assert_eq!(attempts.settle(1, false, START).unwrap_err().wait, Duration::from_secs(15));
        assert_eq!(attempts.check(2, START), Ok(()));
    }

    #[test]
    fn attempts_side_by_side_learn_nothing_after_the_tenth_failure() {
        let mut attempts = Attempts::default();
        // A hundred passed the check while nothing had failed yet; the right guess ends last.
        for _ in 0..100 {
            assert_eq!(attempts.check(1, START), Ok(()));
        }
        let told = (0..99).filter(|_| attempts.settle(1, false, START).is_ok()).count();
        assert_eq!(told, 10);
        assert!(attempts.settle(1, true, START).is_err());
    }

    #[test]
    fn failures_are_forgotten_after_a_quarter_of_an_hour() {
        let mut attempts = Attempts::default();
        fail(&mut attempts, 1, 9, START);
        fail(&mut attempts, 1, 9, after(900));
        assert_eq!(attempts.check(1, after(900)), Ok(()));
    }

    #[test]
    fn r_006_so_many_a_minute_and_the_next_is_told_when() {
        let mut budget = Budget::new(5);
        for second in 0..5 {
            assert_eq!(budget.take(1, after(second)), Ok(()));
        }
        assert_eq!(budget.take(1, after(10)), Err(Throttled { wait: Duration::from_secs(50) }));
        assert_eq!(budget.take(2, after(10)), Ok(()));
        assert_eq!(budget.take(1, after(60)), Ok(()));
        assert_eq!(budget.take(1, after(60)), Err(Throttled { wait: Duration::from_secs(1) }));
    }

    #[test]
    fn r_082_a_million_keys_take_no_more_memory_than_thirty_thousand() {
        let mut attempts = Attempts::default();
        fail(&mut attempts, u64::MAX, 10, START);
        for key in 0..1_000_000 {
            attempts.settle(key, false, START).unwrap();
            if key % 10_000 == 0 {
                // A key that is touched stays.
                let _ = attempts.settle(u64::MAX, false, after(60 + i64::try_from(key).unwrap() / 1000));
            }
        }
        assert!(attempts.0.young.len() <= HALF && attempts.0.old.len() <= HALF);
        assert!(attempts.0.touch(u64::MAX).is_some());
        assert!(attempts.0.touch(0).is_none());
    }

    proptest! {
        #[test]
        fn no_minute_sees_more_than_the_budget(pauses in prop::collection::vec(0i64..30, 1..200), most in 1u32..8) {
            let mut budget = Budget::new(most);
            let mut now = START;
            let mut taken = Vec::new();
            for pause in pauses {
                now += SignedDuration::from_secs(pause);
                match budget.take(1, now) {
                    Ok(()) => taken.push(now),
                    Err(throttled) => {
                        let told = now + SignedDuration::try_from(throttled.wait).unwrap();
                        prop_assert!(told > now && told <= now + PERIOD);
                    }
                }
            }
            for (index, time) in taken.iter().enumerate() {
                let minute = taken[index..].iter().filter(|other| other.duration_since(*time) < PERIOD).count();
                prop_assert!(minute <= most as usize);
            }
        }
    }
}
