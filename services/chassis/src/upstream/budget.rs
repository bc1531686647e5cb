//! How much may be repeated: a tenth of all calls, and a few a second.
//!
//! A peer that is in trouble must not get more calls because of it.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use tokio::time::Instant;

/// The part of all calls that may be repeated.
const PART: f64 = 0.1;
/// What may be repeated in a second beside that.
const A_SECOND: f64 = 5.0;
/// What can be saved up.
const MOST: f64 = 100.0;
/// What there is at the start.
const FIRST: f64 = 10.0;

/// What is left to repeat.
pub(super) struct Budget {
    calls: AtomicU32,
    left: Mutex<(f64, Instant)>,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { calls: AtomicU32::new(0), left: Mutex::new((FIRST, Instant::now())) }
    }

    /// A call is made.
    pub(super) fn earn(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether one more may be repeated.
    pub(super) fn spend(&self) -> bool {
        let now = Instant::now();
        let earned = f64::from(self.calls.swap(0, Ordering::Relaxed)) * PART;
        let mut state = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = *state;
        let left = (left + earned + now.duration_since(since).as_secs_f64() * A_SECOND).min(MOST);
        let may = left >= 1.0;
        *state = (if may { left - 1.0 } else { left }, now);
        may
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn spent(budget: &Budget) -> usize {
        std::iter::repeat_with(|| budget.spend()).take(1000).take_while(|may| *may).count()
    }

    #[tokio::test(start_paused = true)]
    async fn r_112_no_more_than_a_tenth_is_repeated_and_a_few_a_second() {
        let budget = Budget::new();
        assert_eq!(spent(&budget), 10);
        for _ in 0..200 {
            budget.earn();
        }
        assert_eq!(spent(&budget), 20);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(spent(&budget), 10);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(spent(&budget), 100, "only so much is saved up");
    }
}
