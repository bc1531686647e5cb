//! Numbers without a pattern, where nothing secret depends on them: jitter, and which of two.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// An odd number with its bits well spread: the golden ratio.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

static STATE: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(RandomState::new().hash_one(STEP)));

/// Any number (SplitMix64).
pub(crate) fn number() -> u64 {
    let mut z = STATE.fetch_add(STEP, Ordering::Relaxed);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Any number below this one, which is not 0.
pub(crate) fn below(end: usize) -> usize {
    usize::try_from(number() % (end.max(1) as u64)).unwrap_or_default()
}

/// About this time: up to a tenth less or more.
pub(crate) fn around(time: Duration) -> Duration {
    let thousandths = u32::try_from(900 + number() % 201).unwrap_or(1000);
    time.saturating_mul(thousandths) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_pattern_that_one_sees() {
        let mut hits = [0_u32; 8];
        for _ in 0..8000 {
            hits[below(8)] += 1;
        }
        assert!(hits.iter().all(|hits| (800..1200).contains(hits)), "{hits:?}");
    }

    #[test]
    fn about_a_time_is_at_most_a_tenth_off() {
        for _ in 0..1000 {
            let time = around(Duration::from_secs(10));
            assert!((Duration::from_secs(9)..=Duration::from_secs(11)).contains(&time), "{time:?}");
        }
        assert_eq!(around(Duration::ZERO), Duration::ZERO);
    }
}
