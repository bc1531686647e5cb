//! One connection to one place, and how much goes on on it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep},
};
use tracing::debug;

use super::{
    dial::{Connection, Sender},
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
    freed: Arc<Notify>,
}

/// One call on a connection; dropped when it is over.
///
/// It does not hold the connection: a request that is queued at the very moment in which a
/// connection ends comes back when nobody can send on it any more, and not before.
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
    pub(super) fn new(
        kind: Kind,
        site: Arc<Site>,
        sender: Sender,
        connection: &Connection,
        freed: Arc<Notify>,
    ) -> Arc<Self> {
        let most = AtomicUsize::new(connection.current_max_send_streams().min(MOST));
        let tally = Arc::new(Tally { kind, site, load: AtomicUsize::new(0), most, freed });
        Arc::new(Self { tally, sender })
    }

    /// Keeps the connection going, until no new call can be made on it. Those that go on are not
    /// touched by that.
    pub(super) async fn drive(&self, mut connection: Connection) {
        let began = Instant::now();
        loop {
            tokio::select! {
                ended = &mut connection => {
                    debug!(place = ?self.tally.site.found.place, ?ended, age = ?began.elapsed(), "connection ended");
                    return;
                }
                () = sleep(GLANCE) => {
                    let most = connection.current_max_send_streams().min(MOST);
                    self.tally.most.store(most, Ordering::Relaxed);
                }
            }
        }
    }

    /// What goes on on it; nothing when it takes no more.
    pub(super) fn load(&self) -> Option<usize> {
        let load = self.tally.load.load(Ordering::Relaxed);
        (load < self.tally.most.load(Ordering::Relaxed) && !self.sender.is_closed()).then_some(load)
    }

    /// Begins a call, if it takes one more.
    pub(super) fn take(&self) -> Option<Load> {
        if self.sender.is_closed() {
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

    /// What to send with, once.
    pub(super) fn sender(&mut self) -> Option<Sender> {
        self.sender.take()
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
