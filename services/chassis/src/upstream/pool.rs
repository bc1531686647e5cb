//! The connections to a peer: which there are, which one a call gets, and what to do without.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout_at},
};
use tracing::{debug, warn};

use super::{
    Settings,
    dial::{Connection, DialError, Dialer},
    exchange::Sender,
    link::{Link, Load, Site},
    resolve::{Finder, Found, Place},
};
use crate::{chance, deadline::Deadline, target::Targets, tls::ClientTls};

/// Connections to one place at most, by kind.
const MOST: [usize; 2] = [16, 128];
/// How many calls wait for a connection at most.
const WAITING: usize = 8192;
/// The first and the longest pause before a place is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// What is kept of a caller's time to say that the peer is away; of a short time a quarter.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// A connection that lasted as long as this was a good one: the next is made at once.
const LASTED: Duration = Duration::from_secs(1);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Calls with one answer.
    Unary,
    /// Calls with a stream of answers.
    Streams,
}

/// Why a call gets no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoLink {
    /// There is none, and none is to be expected.
    Unreachable,
    /// Too many calls wait for one.
    Crowded,
}

/// The connections to a peer.
pub(super) struct Pool {
    dialer: Dialer,
    patience: Duration,
    connections: usize,
    sites: RwLock<Arc<[Arc<Site>]>>,
    links: [Links; 2],
    /// Since when there is no connection at all.
    lost: Mutex<Option<Instant>>,
    /// Whether making one has failed since then, or nobody knows where.
    is_away: AtomicBool,
    waiting: Semaphore,
    /// Asks for names to be looked up again.
    astray: Notify,
}

/// The connections of a kind.
struct Links {
    all: RwLock<Arc<[Arc<Link>]>>,
    freed: Arc<Notify>,
}

/// What goes on in the background, until it is dropped.
pub(super) struct Background(JoinHandle<()>, Arc<Pool>);

/// A connection that calls can find, until it is dropped.
struct Published<'a> {
    pool: &'a Pool,
    kind: Kind,
    link: Arc<Link>,
}

// === impl Pool ===

impl Pool {
    /// Begins to connect.
    pub(super) fn start(targets: Targets, tls: Option<ClientTls>, settings: &Settings) -> (Arc<Self>, Background) {
        let pool = Arc::new(Self {
            dialer: Dialer { tls, connect: settings.connect, ping: settings.ping },
            patience: settings.patience,
            connections: settings.connections.clamp(1, MOST[0]),
            sites: RwLock::new(Arc::from([])),
            links: [Links::new(), Links::new()],
            lost: Mutex::new(Some(Instant::now())),
            is_away: AtomicBool::new(false),
            waiting: Semaphore::new(WAITING),
            astray: Notify::new(),
        });
        let follow = pool.clone().follow(Finder::new(targets), settings.clone());
        (pool.clone(), Background(tokio::spawn(follow), pool))
    }

    /// A connection for a call, if possible to another place than `not`. Waits where that makes sense;
    /// who calls says for how long, and is told shortly before that if the peer is away.
    pub(super) async fn take(
        self: &Arc<Self>,
        kind: Kind,
        not: Option<&Arc<Site>>,
        head: Deadline,
    ) -> Result<Load, NoLink> {
        if let Some(load) = self.pick(kind, not) {
            return Ok(load);
        }
        let _waits = self.waiting.try_acquire().map_err(|_| NoLink::Crowded)?;
        let began = Instant::now();
        let by = head.instant() - LAST_WORDS.min(head.remaining() / 4);
        loop {
            let freed = self.links(kind).freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Some(load) = self.pick(kind, not) {
                return Ok(load);
            }
            let (until, then) = match self.since_lost() {
                // Nobody is there: for a moment that may be a restart.
                Some(since) => (since + self.patience, NoLink::Unreachable),
                // All are full: others will end, or a further connection is being made.
                None => (began + self.patience, NoLink::Crowded),
            };
            let now = Instant::now();
            // Who can not wait that long hears the reason, and not only that the time is over.
            let is_in_vain = then == NoLink::Unreachable && self.is_away.load(Ordering::Relaxed);
            if now >= until || (now >= by && is_in_vain) {
                return Err(then);
            }
            // Late is only looked at again.
            _ = timeout_at(if now < by { until.min(by) } else { until }, freed).await;
        }
    }

    /// Whether there is another place than this.
    pub(super) fn has_other(&self, site: &Arc<Site>) -> bool {
        self.sites().iter().any(|other| other.is_up() && !Arc::ptr_eq(other, site))
    }

    fn pick(self: &Arc<Self>, kind: Kind, not: Option<&Arc<Site>>) -> Option<Load> {
        let links = self.links(kind).all();
        let is_other = |site: &Arc<Site>| not.is_none_or(|not| !Arc::ptr_eq(not, site));
        match kind {
            Kind::Unary => {
                if not.is_none()
                    && let Some(load) = less_loaded(&links, |link| link.load()).and_then(|link| link.take())
                {
                    return Some(load);
                }
                // Chance has found none, or may not decide: look at all.
                let mut free: Vec<_> = links.iter().filter_map(|link| Some((link.load()?, link))).collect();
                free.sort_by_key(|(load, link)| (!is_other(&link.tally.site), *load));
                let load = free.into_iter().find_map(|(_, link)| link.take());
                if load.is_none() {
                    self.sites().iter().for_each(|site| self.grow(site, kind));
                }
                load
            }
            Kind::Streams => {
                let sites = self.sites();
                let up: Vec<_> = sites.iter().filter(|site| site.is_up()).collect();
                let others: Vec<_> = up.iter().filter(|site| is_other(site)).copied().collect();
                let sites = if others.is_empty() { up } else { others };
                let site = *less_loaded(&sites, |site| Some(site.streams.load(Ordering::Relaxed)))?;
                let load = links.iter().filter(|link| Arc::ptr_eq(&link.tally.site, site)).find_map(|link| link.take());
                if load.is_none() {
                    self.grow(site, kind);
                }
                load
            }
        }
    }

    fn links(&self, kind: Kind) -> &Links {
        &self.links[kind as usize]
    }

    fn sites(&self) -> Arc<[Arc<Site>]> {
        self.sites.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn since_lost(&self) -> Option<Instant> {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, kind: Kind, link: Arc<Link>) -> Published<'_> {
        self.links(kind).change(|links| links.push(link.clone()));
        if kind == Kind::Unary {
            link.tally.site.up.fetch_add(1, Ordering::Relaxed);
            *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = None;
            self.is_away.store(false, Ordering::Relaxed);
            // Streams wait for a place to be up.
            self.links(Kind::Streams).freed.notify_waiters();
        }
        link.tally.site.growing[kind as usize].store(false, Ordering::Relaxed);
        self.links(kind).freed.notify_waiters();
        Published { pool: self, kind, link }
    }

    // === in the background ===

    /// Follows where the peer is.
    async fn follow(self: Arc<Self>, mut finder: Finder, settings: Settings) {
        let mut sites: HashMap<Place, Arc<Site>> = HashMap::new();
        loop {
            let found = finder.find(&*settings.resolver).await;
            sites.retain(|place, site| {
                let stays = found.iter().any(|found| found.place == *place && found.host == site.found.host);
                if !stays {
                    site.end();
                }
                stays
            });
            for found in found {
                let place = found.place.clone();
                sites.entry(place).or_insert_with(|| self.site(found));
            }
            *self.sites.write().unwrap_or_else(PoisonError::into_inner) = sites.values().cloned().collect();
            if sites.is_empty() {
                self.is_away.store(true, Ordering::Relaxed);
            }
            if !finder.may_change() {
                return std::future::pending().await;
            }
            // At most so often, whatever happens.
            sleep(chance::around(if sites.is_empty() { PAUSES.1 / 5 } else { PAUSES.1 })).await;
            if sites.is_empty() {
                continue;
            }
            tokio::select! {
                () = sleep(chance::around(settings.resolve)) => {}
                () = self.astray.notified() => {}
            }
        }
    }

    /// A new place, to which connections are kept from now on.
    fn site(self: &Arc<Self>, found: Found) -> Arc<Site> {
        debug!(place = ?found.place, host = found.host, "a place of a peer");
        let site = Arc::new(Site {
            found,
            up: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            growing: [AtomicBool::new(false), AtomicBool::new(false)],
            tasks: Mutex::new(JoinSet::new()),
        });
        for _ in 0..self.connections {
            site.spawn(self.clone().keep(site.clone()));
        }
        site
    }

    /// Keeps one connection to a place.
    async fn keep(self: Arc<Self>, site: Arc<Site>) {
        let mut pause = PAUSES.0;
        let mut tells = true;
        loop {
            match self.dialer.dial(&site.found, Kind::Unary).await {
                Ok(open) => {
                    tells = true;
                    let began = Instant::now();
                    self.drive(&site, Kind::Unary, open).await;
                    if began.elapsed() >= LASTED {
                        pause = PAUSES.0;
                        continue;
                    }
                }
                Err(error) => {
                    self.failed(&site, &error, std::mem::take(&mut tells));
                    self.astray.notify_one();
                }
            }
            sleep(chance::around(pause)).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn drive(&self, site: &Arc<Site>, kind: Kind, (sender, connection): (Sender, Connection)) {
        let freed = self.links(kind).freed.clone();
        let published = self.publish(kind, Link::new(kind, site.clone(), sender, freed));
        published.link.drive(connection).await;
    }

    /// Says once that a place can not be reached, until it could.
    fn failed(&self, site: &Site, error: &DialError, tells: bool) {
        if self.since_lost().is_some() {
            self.is_away.store(true, Ordering::Relaxed);
        }
        let place = &site.found.place;
        let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
        let error = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        if tells {
            warn!(?place, error, "a peer can not be reached");
        } else {
            debug!(?place, error, "a peer can still not be reached");
        }
    }

    /// Has one more connection made to a place where all are full.
    fn grow(self: &Arc<Self>, site: &Arc<Site>, kind: Kind) {
        let links = self.links(kind).all();
        let count = links.iter().filter(|link| Arc::ptr_eq(&link.tally.site, site)).count();
        let may = site.is_up() && count < MOST[kind as usize];
        if may && !site.growing[kind as usize].swap(true, Ordering::Relaxed) {
            site.spawn(self.clone().once(site.clone(), kind));
        }
    }

    /// One connection more, until it ends.
    async fn once(self: Arc<Self>, site: Arc<Site>, kind: Kind) {
        match self.dialer.dial(&site.found, kind).await {
            Ok(open) => self.drive(&site, kind, open).await,
            Err(error) => {
                self.failed(&site, &error, true);
                // Who waits will ask for it again.
                sleep(chance::around(PAUSES.1 / 10)).await;
                site.growing[kind as usize].store(false, Ordering::Relaxed);
                self.links(kind).freed.notify_waiters();
            }
        }
    }
}

/// The less loaded of two, taken by chance. Nothing when neither takes more, though a third might.
fn less_loaded<T>(all: &[T], load: impl Fn(&T) -> Option<usize>) -> Option<&T> {
    let first = all.get(chance::below(all.len()))?;
    let second = all.get(chance::below(all.len()))?;
    match (load(first), load(second)) {
        (Some(one), Some(other)) if other < one => Some(second),
        (Some(_), _) => Some(first),
        (None, Some(_)) => Some(second),
        (None, None) => None,
    }
}

// === impl Links ===

impl Links {
    fn new() -> Self {
        Self { all: RwLock::new(Arc::from([])), freed: Arc::new(Notify::new()) }
    }

    fn all(&self) -> Arc<[Arc<Link>]> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes them; how many there are then.
    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Link>>)) -> usize {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let mut links = all.to_vec();
        change(&mut links);
        *all = links.into();
        all.len()
    }
}

// === impl Published ===

impl Drop for Published<'_> {
    fn drop(&mut self) {
        let links = self.pool.links(self.kind);
        let left = links.change(|all| all.retain(|link| !Arc::ptr_eq(link, &self.link)));
        if self.kind == Kind::Unary {
            self.link.tally.site.up.fetch_sub(1, Ordering::Relaxed);
            if left == 0 {
                *self.pool.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
        }
        links.freed.notify_waiters();
    }
}

// === impl Background ===

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
        self.1.sites().iter().for_each(|site| site.end());
    }
}
