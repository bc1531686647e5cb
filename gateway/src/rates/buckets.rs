//! What is left of a quota, for each key, in bounded memory.
//!
//! A key is kept as one moment: the one at which it will have its whole quota again (the generic cell rate
//! algorithm of ITU-T I.371). A call moves it on, or is refused when that would move it too far. A moment that has
//! passed says no more than no entry does, so only who calls now takes room.
//!
//! Where there are too many even of those, those that are nearest to being whole are forgotten, and from then on
//! who is not known is taken for one of them. So nobody gets a quota back sooner by having himself forgotten.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::Quota;

/// Parts that are locked apart.
const SHARDS: usize = 16;
/// The keys of a part: as many as a map of 2^14 places holds.
const MOST: usize = (1 << 14) / 8 * 7;

/// A quota, and what is left of it for whom.
pub(crate) struct Buckets {
    /// The time that one call takes up.
    interval: u64,
    /// How much time may be taken up ahead.
    reach: u64,
    at_once: u32,
    /// Keyed with a secret of the process: nobody can aim at another's key, and no address is kept.
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
    /// The keys of a part.
    most: usize,
}

#[derive(Debug, Default)]
struct Shard {
    /// When a key is whole again, in nanoseconds of the clock.
    whole_at: HashMap<u64, u64>,
    /// When at the latest everybody is whole again who was forgotten.
    forgotten: u64,
}

/// How a key stands after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The calls that may come at once.
    pub(crate) limit: u32,
    /// Those of them that are left.
    pub(crate) remaining: u32,
    /// When all of them are there again.
    pub(crate) whole_in: Duration,
    /// The call is refused, and this is how long the next one has to wait.
    pub(crate) refused: Option<Duration>,
}

impl Buckets {
    /// Each of `replicas` allows its part of the quota, and one call at least.
    pub(crate) fn new(quota: Quota, replicas: u32) -> Self {
        let replicas = replicas.max(1);
        let at_once = (quota.at_once / replicas).max(1);
        let period = nanos(quota.period).saturating_mul(replicas.into());
        let interval = period.div_ceil(quota.count.max(1).into()).max(1);
        Self {
            interval,
            reach: interval.saturating_mul(at_once.into()),
            at_once,
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            most: MOST,
        }
    }

    /// Takes one call for a key, if one is left. `now` is of a clock that does not jump. What is looked at and
    /// what is changed is one step: calls side by side take no more than there is.
    pub(crate) fn take(&self, key: impl Hash, now: Duration) -> Standing {
        let (key, now) = (self.hasher.hash_one(key), nanos(now));
        let shard = &self.shards[(key >> 32) as usize % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let known = shard.whole_at.get(&key).copied();
        let begins = known.unwrap_or(shard.forgotten).max(now);
        let (ends, allowed) = (begins.saturating_add(self.interval), now.saturating_add(self.reach));
        let refused = ends.checked_sub(allowed).filter(|wait| *wait > 0);
        let whole_at = if refused.is_some() { begins } else { ends };
        if refused.is_none() {
            if known.is_none() {
                shard.make_room(self.most, now);
            }
            shard.whole_at.insert(key, ends);
        }
        drop(shard);
        let left = allowed.saturating_sub(whole_at) / self.interval;
        Standing {
            limit: self.at_once,
            remaining: u32::try_from(left).unwrap_or(u32::MAX),
            whole_in: Duration::from_nanos(whole_at - now),
            refused: refused.map(Duration::from_nanos),
        }
    }
}

impl Shard {
    /// When it is full, drops who is whole again, and of the others those who are nearest to it, down to half.
    fn make_room(&mut self, most: usize, now: u64) {
        if self.whole_at.len() < most {
            return;
        }
        self.whole_at.retain(|_, whole_at| *whole_at > now);
        let Some(too_many) = self.whole_at.len().checked_sub(most / 2).filter(|count| *count > 0) else { return };
        let mut moments: Vec<_> = self.whole_at.values().copied().collect();
        let (_, last, _) = moments.select_nth_unstable(too_many - 1);
        self.forgotten = self.forgotten.max(*last);
        self.whole_at.retain(|_, whole_at| *whole_at > *last);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "buckets_tests.rs"]
mod tests;
