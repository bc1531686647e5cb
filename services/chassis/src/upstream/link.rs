//! One connection to one place, and how much goes on on it.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::Request;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep},
};
use tracing::debug;

use super::{
    dial::Connection,
    exchange::{self, Asked, Sender, Sent},
    pool::Kind,
    resolve::Found,
};

/// How many calls go on at a time on one connection, also where a peer takes more: their frames
/// share one lock and one window.
pub(super) const MOST: usize = 100;
/// How often a connection is looked at: that its peer wants it to end is seen at the next call, or
/// by then.
const GLANCE: Duration = Duration::from_secs(1);

/// A place where the peer listens.
pub(super) struct Site {
    pub(super) found: Found,
    /// Connections for calls with one answer that are ready.
    pub(super) up: AtomicUsize,
    /// Open streams of answers.
    pub(super) streams: AtomicUsize,
    /// Whether a further connection is being made, by kind.
    pub(super) growing: [AtomicBool; 2],
    /// What keeps its connections.
    pub(super) tasks: Mutex<JoinSet<()>>,
}

/// An open connection.
pub(super) struct Link {
    pub(super) tally: Arc<Tally>,
    sender: Sender,
}

/// What goes on on a connection.
pub(super) struct Tally {
    kind: Kind,
    pub(super) site: Arc<Site>,
    load: AtomicUsize,
    most: AtomicUsize,
    /// Whether it takes no new calls any more.
    is_closed: AtomicBool,
    closed: Notify,
    freed: Arc<Notify>,
}

/// One call on a connection; dropped when it is over. What it sends with it gives up when it has sent.
pub(super) struct Load {
    tally: Arc<Tally>,
    sender: Option<Sender>,
}

impl Site {
    /// Whether there is a connection on which it can be called.
    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed) > 0
    }

    /// Lets something go on until the place is given up.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that ended are forgotten.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Gives the place up: no new calls, and its connections end with those that go on.
    pub(super) fn end(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

impl Link {
    pub(super) fn new(kind: Kind, site: Arc<Site>, sender: Sender, freed: Arc<Notify>) -> Arc<Self> {
        let tally = Tally {
            kind,
            site,
            load: AtomicUsize::new(0),
            most: AtomicUsize::new(sender.current_max_send_streams().min(MOST)),
            is_closed: AtomicBool::new(false),
            closed: Notify::new(),
            freed,
        };
        Arc::new(Self { tally: Arc::new(tally), sender })
    }

    /// Looks after the connection until no new call can be made on it. Those that go on are not touched by that.
    pub(super) async fn drive(&self, mut connection: Connection) {
        let began = Instant::now();
        loop {
            tokio::select! {
                ended = &mut connection => {
                    debug!(place = ?self.tally.site.found.place, ?ended, age = ?began.elapsed(), "connection ended");
                    self.tally.close();
                    return;
                }
                () = self.tally.closed.notified() => return,
                () = sleep(GLANCE) => {
                    let mut sender = self.sender.clone();
                    let mut refused = |context: &mut Context<'_>| matches!(sender.poll_ready(context), Poll::Ready(Err(_)));
                    if poll_fn(|context| Poll::Ready(refused(context))).await {
                        self.tally.close();
                    }
                    let most = sender.current_max_send_streams().min(MOST);
                    self.tally.most.store(most, Ordering::Relaxed);
                }
            }
        }
    }

    /// What goes on on it; nothing when it takes no more.
    pub(super) fn load(&self) -> Option<usize> {
        let load = self.tally.load.load(Ordering::Relaxed);
        (load < self.tally.most.load(Ordering::Relaxed) && !self.tally.is_closed.load(Ordering::Relaxed))
            .then_some(load)
    }

    /// Begins a call, if it takes one more.
    pub(super) fn take(&self) -> Option<Load> {
        if self.tally.is_closed.load(Ordering::Relaxed) {
            return None;
        }
        let tally = &self.tally;
        let most = tally.most.load(Ordering::Relaxed);
        let one_more = |load| (load < most).then_some(load + 1);
        tally.load.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        if tally.kind == Kind::Streams {
            tally.site.streams.fetch_add(1, Ordering::Relaxed);
        }
        Some(Load { tally: tally.clone(), sender: Some(self.sender.clone()) })
    }
}

impl Load {
    pub(super) fn site(&self) -> &Arc<Site> {
        &self.tally.site
    }

    /// Sends a request, once.
    ///
    /// # Errors
    /// Its body, when the connection takes no more: nothing was sent.
    pub(super) fn send(&mut self, request: Request<()>, sent: Sent) -> Result<Asked, Sent> {
        let Some(mut sender) = self.sender.take() else { return Err(sent) };
        exchange::send(&mut sender, request, sent).inspect_err(|_| self.tally.close())
    }
}

impl Tally {
    /// No new calls from now on.
    fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.closed.notify_one();
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let tally = &self.tally;
        if tally.kind == Kind::Streams {
            tally.site.streams.fetch_sub(1, Ordering::Relaxed);
        }
        let before = tally.load.fetch_sub(1, Ordering::Relaxed);
        if before >= tally.most.load(Ordering::Relaxed) {
            tally.freed.notify_one();
        }
    }
}
