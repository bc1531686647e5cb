//! Who asks a model that does not answer: soon nobody.
//!
//! After a few failures in a row no request is made for a while; then one is, and what comes of it decides. Second
//! tries have a budget of their own, so that a server in trouble is not asked three times as often as in good days.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How many failures in a row are believed to be no accident.
const FAILURES: u32 = 5;

/// How much longer each pause is than the one before, and how many times at most.
const LONGER: u32 = 2;
const LONGEST: u32 = 8;

/// How many second tries may be made at once, and how many good answers earn one.
const TRIES: u32 = 10;
const EARNS: u32 = 5;

/// Lets requests through, or does not.
#[derive(Debug)]
pub(super) struct Breaker {
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    failures: u32,
    /// While it is set, nobody asks before this.
    until: Option<Instant>,
    /// How many pauses there were in a row, as a factor.
    factor: u32,
    /// Whether somebody is finding out.
    is_probing: bool,
    /// Second tries in fifths.
    credit: u32,
}

/// A request that was let through. What came of it is to be told; if nothing is, it tells nothing.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
}

impl Breaker {
    pub(super) fn new(pause: Duration) -> Self {
        let state = State { failures: 0, until: None, factor: 1, is_probing: false, credit: TRIES * EARNS };
        Self { pause, state: Mutex::new(state) }
    }

    /// Lets a request through; otherwise says after how long one may be.
    pub(super) fn enter(&self) -> Result<Pass<'_>, Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = state.until else { return Ok(Pass { breaker: self, is_probe: false }) };
        let left = until.saturating_duration_since(Instant::now());
        if !left.is_zero() || state.is_probing {
            return Err(left.max(Duration::from_secs(1)));
        }
        state.is_probing = true;
        Ok(Pass { breaker: self, is_probe: true })
    }

    /// Whether a second try may be made.
    pub(super) fn may_try_again(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let left = state.credit.checked_sub(EARNS);
        state.credit = left.unwrap_or(state.credit);
        left.is_some()
    }
}

impl Pass<'_> {
    /// The model has answered.
    pub(super) fn succeed(self) {
        let mut state = self.breaker.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = 0;
        state.until = None;
        state.factor = 1;
        state.credit = (state.credit + 1).min(TRIES * EARNS);
    }

    /// The model can not be asked, or gave no answer that can be used.
    pub(super) fn fail(self) {
        let mut state = self.breaker.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures += 1;
        if self.is_probe {
            state.factor = (state.factor * LONGER).min(LONGEST);
        }
        if self.is_probe || (state.failures >= FAILURES && state.until.is_none()) {
            state.until = Some(Instant::now() + self.breaker.pause * state.factor);
            tracing::warn!(failures = state.failures, "the model is not asked for a while");
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.breaker.state.lock().unwrap_or_else(PoisonError::into_inner).is_probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(10);

    fn broken() -> Breaker {
        let breaker = Breaker::new(PAUSE);
        (0..FAILURES).for_each(|_| breaker.enter().unwrap().fail());
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn r_119_it_opens_after_failures_in_a_row_and_closes_after_one_good_answer() {
        let breaker = broken();
        assert_eq!(breaker.enter().unwrap_err(), PAUSE);
        tokio::time::advance(PAUSE).await;
        breaker.enter().unwrap().succeed();
        assert!(breaker.enter().is_ok() && breaker.enter().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_finds_out_and_a_failure_makes_the_next_pause_longer() {
        let breaker = broken();
        tokio::time::advance(PAUSE).await;
        let probe = breaker.enter().unwrap();
        assert!(breaker.enter().is_err(), "one at a time");
        probe.fail();
        tokio::time::advance(PAUSE).await;
        assert_eq!(breaker.enter().unwrap_err(), PAUSE);
        tokio::time::advance(PAUSE).await;
        // Somebody who gives up has found out nothing, and keeps nobody from doing so.
        drop(breaker.enter().unwrap());
        assert!(breaker.enter().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_good_answer_in_between_makes_failures_an_accident() {
        let breaker = Breaker::new(PAUSE);
        for _ in 0..3 {
            (1..FAILURES).for_each(|_| breaker.enter().unwrap().fail());
            breaker.enter().unwrap().succeed();
        }
        assert!(breaker.enter().is_ok());
    }

    #[tokio::test]
    async fn second_tries_run_out_and_are_earned_again() {
        let breaker = Breaker::new(PAUSE);
        assert!((0..TRIES).all(|_| breaker.may_try_again()) && !breaker.may_try_again());
        (0..EARNS).for_each(|_| breaker.enter().unwrap().succeed());
        assert!(breaker.may_try_again() && !breaker.may_try_again());
    }
}
