//! How many calls are worked on at once, and how long the others wait.
//!
//! Work that is late is no use: a queue that does not empty only makes everybody wait. There are
//! two of them. A call that was read waits for a processor ([`Arrivals`], one for each listener);
//! then it waits for one of a role's places, whose holders wait for a disk or a database
//! ([`Admission`]). In both it may wait briefly, and when the queue has not been empty for a while,
//! hardly at all; who waited in vain is told so while it still can do something else. Calls that
//! have limits of their own are not refused: streams, the assistant's turns, the hashing of
//! passwords, and what tells whether we are well.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use errand_proto::contract::{Method, RateClass};
use http::Extensions;
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
/// A call that had to wait no longer than this found no queue.
const PROMPT: Duration = Duration::from_millis(2);
/// So many calls for each core are under way without anybody being refused: a machine that is slow for
/// other reasons is not made faster by it.
const SPARED: usize = 64;

/// The calls that came in through a listener and have no answer yet, and the connections that wait to be read.
#[derive(Debug)]
pub struct Arrivals {
    under_way: AtomicUsize,
    spared: usize,
    begun: Instant,
    /// When a call was last worked on as soon as it was read, in milliseconds from the beginning.
    prompt_at: AtomicU64,
}

/// Since when a call has waited, and among how many; a request extension.
#[derive(Debug, Clone)]
pub struct Arrival {
    at: Instant,
    among: Arc<Arrivals>,
}

/// Counts as a call that is under way, until its answer begins.
#[derive(Debug)]
pub struct UnderWay(Arc<Arrivals>);

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

/// Whether calls of a method are refused when there is too much to do.
#[must_use]
pub fn counts(method: &Method) -> bool {
    !method.server_streaming && matches!(method.rate, RateClass::Read | RateClass::Write)
}

/// Refuses a call that is late already. The first who works on it asks; what follows has taken its own time.
///
/// # Errors
/// RESOURCE_EXHAUSTED, OVERLOADED.
pub fn in_time(extensions: &mut Extensions) -> Result<(), Error> {
    match extensions.remove::<Arrival>() {
        Some(arrival) if arrival.is_late() => Err(protocol::overloaded()),
        _ => Ok(()),
    }
}

/// How many calls this machine works on without anybody being refused.
#[must_use]
pub fn spared() -> usize {
    cores() * SPARED
}

fn cores() -> usize {
    thread::available_parallelism().map_or(2, usize::from)
}

// === impl Arrivals ===

impl Arrivals {
    /// For a listener of which nobody is refused while no more than `spared` are under way.
    #[must_use]
    pub fn new(spared: usize) -> Self {
        Self { under_way: AtomicUsize::new(0), spared, begun: Instant::now(), prompt_at: AtomicU64::new(0) }
    }

    /// Another call was read, and has waited since then.
    #[must_use]
    pub fn arrive(self: &Arc<Self>, since: Instant) -> (Arrival, UnderWay) {
        self.join();
        (Arrival { at: since, among: self.clone() }, UnderWay(self.clone()))
    }

    #[cfg(test)]
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// One more is under way.
    pub(crate) fn join(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    /// And is no more.
    pub(crate) fn leave(&self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Arrival ===

impl Arrival {
    /// Whether it has waited for longer than it should.
    fn is_late(&self) -> bool {
        let (now, all) = (Instant::now(), &self.among);
        let (waited, moment) = (now - self.at, millis(now - all.begun));
        let prompt_at = all.prompt_at.load(Ordering::Relaxed);
        if waited <= PROMPT {
            // All cores read it; they need not hear the same again.
            if prompt_at != moment {
                all.prompt_at.store(moment, Ordering::Relaxed);
            }
            return false;
        }
        waited > patience(moment.saturating_sub(prompt_at)) && all.under_way.load(Ordering::Relaxed) > all.spared
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// How long a call waits in a queue that has stood for so many milliseconds.
fn patience(stood: u64) -> Duration {
    if stood > millis(STANDING) { HASTE } else { PATIENCE }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

// === impl Admission ===

impl Admission {
    /// As many places as this machine has use for.
    #[must_use]
    pub fn of_this_machine() -> Self {
        Self::new((cores() * FOR_EACH_CORE).max(LEAST))
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
        let now = millis(self.begun.elapsed()).max(1);
        let since = self.queued_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        patience(since.map_or_else(|since| now.saturating_sub(since), |_| 0))
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

    /// Whether a call is late that waits for so long.
    async fn is_late_after(arrivals: &Arc<Arrivals>, wait: Duration) -> bool {
        let (arrival, _under_way) = arrivals.arrive(Instant::now());
        tokio::time::advance(wait).await;
        let mut extensions = Extensions::new();
        extensions.insert(arrival);
        let answer = in_time(&mut extensions);
        assert!(in_time(&mut extensions).is_ok(), "who works on it later does not ask again");
        answer.is_err_and(|refused| refused.reason() == "OVERLOADED")
    }

    #[tokio::test(start_paused = true)]
    async fn r_110_a_call_that_waited_50_ms_for_a_processor_is_late_and_5_when_all_have_to_wait() {
        let arrivals = Arc::new(Arrivals::new(1));
        let _others = [arrivals.arrive(Instant::now()), arrivals.arrive(Instant::now())];
        let [prompt, short, long] = [1, 30, 51].map(Duration::from_millis);
        assert!(!is_late_after(&arrivals, prompt).await);
        assert!(is_late_after(&arrivals, long).await, "too long for a burst");
        assert!(!is_late_after(&arrivals, short).await, "a burst passes");
        assert!(is_late_after(&arrivals, short).await, "for more than 100 ms nobody was worked on at once");
        assert!(
            !is_late_after(&arrivals, prompt).await && !is_late_after(&arrivals, short).await,
            "the queue was empty"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn r_110_no_call_is_late_among_few() {
        let arrivals = Arc::new(Arrivals::new(2));
        let other = arrivals.arrive(Instant::now());
        assert!(!is_late_after(&arrivals, Duration::from_secs(9)).await);
        let another = arrivals.arrive(Instant::now());
        assert!(is_late_after(&arrivals, Duration::from_secs(9)).await);
        drop((other, another));
        assert!(!is_late_after(&arrivals, Duration::from_secs(9)).await, "those who have their answers do not count");
    }

    #[test]
    fn r_110_streams_turns_and_passwords_have_limits_of_their_own() {
        let counts = |path: &str| super::counts(Method::find(path).unwrap());
        assert!(counts("/errand.task.v1.TaskService/GetTask") && counts("/errand.task.v1.TaskService/CreateTask"));
        assert!(!counts("/errand.task.v1.TaskService/WatchTasks"));
        assert!(!counts("/errand.chat.v1.ChatService/SendMessage") && !counts("/errand.auth.v1.AuthService/LogIn"));
    }
}
