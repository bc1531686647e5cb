//! How many calls a role works on at once, and how long the others wait.
//!
//! Work that is late is no use: a queue that does not empty only makes everybody wait. So calls
//! wait briefly for a place, and when the queue has not been empty for a while, hardly at all; who
//! gets none is told so while it still can do something else. Calls that have limits of their own
//! are not counted: streams, the assistant's turns, the hashing of passwords, and what tells
//! whether we are well.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use errand_proto::contract::{Method, RateClass};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};

use crate::{error::Error, protocol};

/// How many calls run for each core: most of them wait for a disk or a database.
const FOR_EACH_CORE: usize = 128;
/// And at least.
const LEAST: usize = 256;
/// How many wait for each that runs.
const WAITING: usize = 4;
/// How long a call waits while the queue comes and goes.
const PATIENCE: Duration = Duration::from_millis(50);
/// And how long when it has not been empty for `STANDING`.
const HASTE: Duration = Duration::from_millis(5);
/// From when on a queue is no burst any more.
const STANDING: Duration = Duration::from_millis(100);

/// The places of a role.
#[derive(Debug)]
pub struct Admission {
    places: Semaphore,
    waiting: AtomicUsize,
    most_waiting: usize,
    begun: Instant,
    /// Since when somebody waits, in milliseconds from the beginning; 0 when nobody does.
    queued_since: AtomicU64,
}

/// Counts as one who waits, for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

// === impl Admission ===

impl Admission {
    /// As many places as this machine has use for.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let cores = thread::available_parallelism().map_or(2, usize::from);
        Self::new((cores * FOR_EACH_CORE).max(LEAST))
    }

    /// So many places.
    #[must_use]
    pub fn new(places: usize) -> Self {
        Self {
            places: Semaphore::new(places),
            waiting: AtomicUsize::new(0),
            most_waiting: places * WAITING,
            begun: Instant::now(),
            queued_since: AtomicU64::new(0),
        }
    }

    /// Whether calls of a method need a place.
    #[must_use]
    pub fn counts(method: &Method) -> bool {
        !method.server_streaming && matches!(method.rate, RateClass::Read | RateClass::Write)
    }

    /// A place, for as long as it is held.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED, OVERLOADED, when there is none in time.
    pub async fn enter(&self) -> Result<SemaphorePermit<'_>, Error> {
        if let Ok(place) = self.places.try_acquire() {
            if self.queued_since.load(Ordering::Relaxed) != 0 {
                self.queued_since.store(0, Ordering::Relaxed);
            }
            return Ok(place);
        }
        let waiting = Waiting::new(&self.waiting);
        if waiting.0.load(Ordering::Relaxed) > self.most_waiting {
            return Err(protocol::overloaded());
        }
        let place = timeout(self.patience(), self.places.acquire()).await;
        place.ok().and_then(Result::ok).ok_or_else(protocol::overloaded)
    }

    fn patience(&self) -> Duration {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let since = self.queued_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        let stands = since.is_err_and(|since| Duration::from_millis(now.saturating_sub(since)) > STANDING);
        if stands { HASTE } else { PATIENCE }
    }
}

// === impl Waiting ===

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    async fn refused_after(admission: &Admission) -> Duration {
        let begun = Instant::now();
        let refused = admission.enter().await.unwrap_err();
        assert_eq!(refused.reason(), "OVERLOADED");
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn r_110_who_gets_no_place_is_told_in_50_ms_and_in_5_when_the_queue_stands() {
        tokio::time::advance(Duration::from_secs(1)).await;
        let admission = Admission::new(1);
        tokio::time::advance(Duration::from_secs(1)).await;
        let place = admission.enter().await.unwrap();
        assert!((50..60).contains(&refused_after(&admission).await.as_millis()));
        tokio::time::advance(Duration::from_millis(100)).await;
        assert!((5..10).contains(&refused_after(&admission).await.as_millis()));
        drop(place);
        drop(admission.enter().await.unwrap());
        let _place = admission.enter().await.unwrap();
        assert!((50..60).contains(&refused_after(&admission).await.as_millis()), "the queue was empty in between");
    }

    #[tokio::test(start_paused = true)]
    async fn r_110_a_place_goes_to_who_waits_first_and_few_wait() {
        let admission = Admission::new(1);
        let place = admission.enter().await.unwrap();
        let (mut first, mut others) = (Box::pin(admission.enter()), Vec::new());
        assert!(first.as_mut().now_or_never().is_none());
        for _ in 1..WAITING {
            others.push(Box::pin(admission.enter()));
            assert!(others.last_mut().unwrap().as_mut().now_or_never().is_none());
        }
        assert!(refused_after(&admission).await.is_zero(), "there is no room to wait");
        drop(place);
        assert!(first.await.is_ok());
    }

    #[test]
    fn r_110_streams_turns_and_passwords_have_limits_of_their_own() {
        let counts = |path: &str| Admission::counts(Method::find(path).unwrap());
        assert!(counts("/errand.task.v1.TaskService/GetTask") && counts("/errand.task.v1.TaskService/CreateTask"));
        assert!(!counts("/errand.task.v1.TaskService/WatchTasks"));
        assert!(!counts("/errand.chat.v1.ChatService/SendMessage") && !counts("/errand.auth.v1.AuthService/LogIn"));
    }
}
