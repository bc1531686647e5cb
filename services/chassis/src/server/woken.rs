//! How long a connection has waited for its turn.
//!
//! What a peer sent lies unread in its socket until a processor is free, and on HTTP/1.1 that is where
//! calls wait when there is too much to do. The wait begins when the connection's task is woken, so the
//! connection is polled with a waker that looks at the clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Wake, Waker},
};

use futures_util::task::AtomicWaker;
use tokio::time::{Duration, Instant};

use crate::admission::Arrivals;

/// It has nothing to do.
const AT_REST: u64 = 0;
/// There is no connection any more; wakers may outlive it.
const GONE: u64 = u64::MAX;

/// Wakes a connection's task and knows since when it has waited.
#[derive(Debug)]
pub(super) struct Woken {
    among: Arc<Arrivals>,
    begun: Instant,
    /// When it was woken, in microseconds from the beginning, or one of the above.
    at: AtomicU64,
    /// The same of the turn that it has now.
    turn: AtomicU64,
    task: AtomicWaker,
}

/// What a connection is polled with.
#[derive(Debug)]
pub(super) struct Waking {
    woken: Arc<Woken>,
    waker: Waker,
}

// === impl Woken ===

impl Woken {
    pub(super) fn new(among: Arc<Arrivals>) -> Arc<Self> {
        let [at, turn] = [AT_REST; 2].map(AtomicU64::new);
        Arc::new(Self { among, begun: Instant::now(), at, turn, task: AtomicWaker::new() })
    }

    /// Since when it had waited for the turn that it has.
    pub(super) fn since(&self) -> Instant {
        match self.turn.load(Ordering::Relaxed) {
            AT_REST => Instant::now(),
            at => self.begun + Duration::from_micros(at),
        }
    }

    fn leave(&self, state: u64) -> u64 {
        let at = self.at.swap(state, Ordering::Relaxed);
        if !matches!(at, AT_REST | GONE) {
            self.among.leave();
        }
        at
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.at.load(Ordering::Relaxed) == AT_REST {
            let now = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(AT_REST).max(AT_REST + 1);
            if self.at.compare_exchange(AT_REST, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                self.among.join();
            }
        }
        self.task.wake();
    }
}

// === impl Waking ===

impl Waking {
    pub(super) fn new(woken: Arc<Woken>) -> Self {
        Self { waker: woken.clone().into(), woken }
    }

    /// It is this task's turn; what it is to be woken with next.
    pub(super) fn turn(&self, task: &Waker) -> &Waker {
        self.woken.task.register(task);
        self.woken.turn.store(self.woken.leave(AT_REST), Ordering::Relaxed);
        &self.waker
    }
}

impl Drop for Waking {
    fn drop(&mut self) {
        self.woken.leave(GONE);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn connection() -> (Arc<Arrivals>, Arc<Woken>, Waking) {
        let arrivals = Arc::new(Arrivals::new(1));
        let woken = Woken::new(arrivals.clone());
        (arrivals, woken.clone(), Waking::new(woken))
    }

    #[tokio::test(start_paused = true)]
    async fn r_110_a_connection_waits_from_when_it_is_woken_until_its_turn() {
        let (arrivals, woken, waking) = connection();
        let waker = waking.turn(Waker::noop()).clone();
        assert_eq!((woken.since().elapsed(), arrivals.under_way()), (Duration::ZERO, 0), "nothing woke it yet");
        let first = Instant::now();
        waker.wake_by_ref();
        advance(Duration::from_millis(60)).await;
        waker.wake();
        assert_eq!(arrivals.under_way(), 1, "it waits once");
        waking.turn(Waker::noop());
        assert_eq!(woken.since().duration_since(first).as_millis(), 0, "since it was woken first");
        assert_eq!(arrivals.under_way(), 0);
        waking.turn(Waker::noop());
        assert_eq!(woken.since().elapsed(), Duration::ZERO, "another turn without having been woken");
    }

    #[tokio::test(start_paused = true)]
    async fn r_110_what_wakes_a_connection_that_is_gone_counts_for_nothing() {
        let (arrivals, _woken, waking) = connection();
        let waker = waking.turn(Waker::noop()).clone();
        waker.wake_by_ref();
        drop(waking);
        waker.wake();
        assert_eq!(arrivals.under_way(), 0);
    }

    #[tokio::test]
    async fn whoever_polls_the_connection_now_is_woken() {
        let (_arrivals, _woken, waking) = connection();
        let mut ready = false;
        std::future::poll_fn(|context| {
            let waker = waking.turn(context.waker());
            if std::mem::replace(&mut ready, true) {
                return std::task::Poll::Ready(());
            }
            waker.wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
    }
}
