//! Watching: any number of watchers of one owner share one reader of the log and one encoding.
//!
//! For an owner whom somebody watches, one task follows the log, encodes what is new into chunks and
//! keeps the latest few. Each watcher keeps nothing but its place: it takes the chunk that begins
//! there, or reads the log itself when it has fallen behind. So a slow watcher costs as much memory
//! as a fast one and delays nobody; the chunks are the same bytes for all.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use errand_changelog::{Change, Cursor, Extent, Seq, UserId};
use errand_chassis::drain::Drain;
use jiff::Timestamp;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep, sleep_until},
};

use super::{App, live};
use crate::{domain::task::Task, error::Error, store::Store};

/// How a change goes out: appends its message to the bytes.
pub(crate) type Encode = fn(&Change<Task>, Cursor, &mut BytesMut);

/// Changes of a chunk at most.
const CHUNK_CHANGES: usize = 100;
/// A chunk that has reached this many bytes is closed.
const CHUNK_BYTES: usize = 64 * 1024;
/// The latest chunks that are kept for an owner, in number and in bytes.
const KEPT_CHUNKS: usize = 32;
const KEPT_BYTES: usize = 512 * 1024;
/// Watchers that read the log at a time because they are behind, so that they leave room for calls.
const CATCHING_UP: usize = 4;
/// How long to wait after the log could not be read, at first and at last.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Everybody who is watched.
#[derive(Clone)]
pub(super) struct Watches(Arc<Inner>);

struct Inner {
    log: Reader,
    owners: Mutex<HashMap<UserId, watch::Sender<Recent>>>,
    catching_up: Semaphore,
}

/// Reads the log as it goes out.
struct Reader {
    store: Arc<dyn Store>,
    encode: Encode,
}

/// Consecutive changes, encoded.
#[derive(Debug)]
struct Chunk {
    /// The place from which it was read.
    after: Seq,
    /// Where each change ends: its place in the log, and in the bytes.
    ends: Vec<(Seq, usize)>,
    bytes: Bytes,
}

/// The end of an owner's log.
#[derive(Debug, Default)]
struct Recent {
    /// How far it goes.
    level: Seq,
    chunks: VecDeque<Arc<Chunk>>,
    size: usize,
    /// Whether there is nothing to be watched any more.
    is_over: bool,
}

/// What a watcher gets.
#[derive(Debug)]
pub(crate) enum Watched {
    /// Changes, encoded.
    Changes(Bytes),
    /// The end, and where to go on elsewhere.
    Handover(Cursor),
    /// The end, and why.
    Failed(Error),
}

/// One who watches.
pub(crate) struct Watcher {
    watches: Watches,
    owner: UserId,
    recent: watch::Receiver<Recent>,
    /// What it has seen.
    cursor: Cursor,
    /// What there was when it began.
    begun_at: Seq,
    drain: Drain,
    until: Instant,
    is_over: bool,
}

impl App {
    /// Watches the owner's log from a cursor, or from now, until `until`.
    pub(crate) async fn watch(
        &self,
        owner: UserId,
        cursor: Option<Cursor>,
        until: Timestamp,
    ) -> Result<Watcher, Error> {
        // First listen, then look: what happens in between is seen twice, not missed.
        let recent = self.watches.subscribe(owner);
        let extent = live(self.store.log(owner).await?)?.extent;
        let cursor = cursor.unwrap_or_else(|| extent.end());
        if !extent.fits(&cursor) {
            return Err(Error::CursorExpired);
        }
        let left = Duration::try_from(until.duration_since(self.clock.now())).unwrap_or_default();
        Ok(Watcher {
            watches: self.watches.clone(),
            owner,
            recent,
            cursor,
            begun_at: extent.head,
            drain: self.drain.clone(),
            until: Instant::now() + left,
            is_over: false,
        })
    }
}

// === impl Watcher ===

/// What a watcher finds at its place.
enum Found {
    Chunk(Bytes, Seq),
    Nothing,
    Behind,
    Over,
}

impl Watcher {
    /// What comes next; nothing after the end. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Watched> {
        if self.is_over {
            return None;
        }
        loop {
            if self.drain.has_begun() || Instant::now() >= self.until {
                return Some(self.end(Watched::Handover(self.cursor)));
            }
            match self.find() {
                Found::Chunk(bytes, seq) => {
                    self.cursor = Cursor { seq, floor: 0, ..self.cursor };
                    return Some(Watched::Changes(bytes));
                }
                Found::Over => return Some(self.end(Watched::Failed(Error::Erased))),
                Found::Behind => match self.catch_up().await {
                    Ok(Some(bytes)) => return Some(Watched::Changes(bytes)),
                    Ok(None) => {}
                    Err(error) => return Some(self.end(Watched::Failed(error))),
                },
                Found::Nothing => {
                    tokio::select! {
                        changed = self.recent.changed() => if changed.is_err() {
                            // Whoever followed the log for us is gone; the client comes again.
                            return Some(self.end(Watched::Handover(self.cursor)));
                        },
                        () = self.drain.begun() => {}
                        () = sleep_until(self.until) => {}
                    }
                }
            }
        }
    }

    fn end(&mut self, last: Watched) -> Watched {
        self.is_over = true;
        last
    }

    /// Looks for the chunk that goes on from its place.
    fn find(&mut self) -> Found {
        let recent = self.recent.borrow_and_update();
        if recent.is_over {
            return Found::Over;
        }
        let seen = self.cursor.seq;
        if recent.level.max(self.begun_at) <= seen {
            return Found::Nothing;
        }
        let chunk = recent.chunks.iter().find_map(|chunk| chunk.from(seen));
        chunk.map_or(Found::Behind, |(bytes, last)| Found::Chunk(bytes, last))
    }

    /// Reads the log itself. Nothing when there is nothing to tell.
    async fn catch_up(&mut self) -> Result<Option<Bytes>, Error> {
        let Inner { log, catching_up, .. } = &*self.watches.0;
        let read = async {
            // Never closed; without a permit there would only be less order.
            let _turn = catching_up.acquire().await;
            log.chunk(self.owner, self.cursor.seq).await
        };
        let (chunk, extent) = tokio::select! {
            read = read => read?,
            () = self.drain.begun() => return Ok(None),
        };
        if !extent.fits(&self.cursor) {
            return Err(Error::CursorExpired);
        }
        match chunk {
            Some(Chunk { ends, bytes, .. }) => {
                let last = ends.last().map_or(extent.head, |(seq, _)| *seq);
                self.cursor = extent.after(last);
                Ok(Some(bytes))
            }
            // What was there has been compacted.
            None => {
                self.cursor = extent.end();
                Ok(None)
            }
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("owner", &self.owner).field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

// === impl Watches ===

impl Watches {
    pub(super) fn new(store: Arc<dyn Store>, encode: Encode) -> Self {
        Self(Arc::new(Inner {
            log: Reader { store, encode },
            owners: Mutex::default(),
            catching_up: Semaphore::new(CATCHING_UP),
        }))
    }

    /// The end of the owner's log, as it grows. The first who asks sets a task to work.
    fn subscribe(&self, owner: UserId) -> watch::Receiver<Recent> {
        let mut owners = self.0.owners();
        let recent = owners.entry(owner).or_insert_with(|| {
            let recent = watch::Sender::default();
            tokio::spawn(follow(self.0.clone(), owner, recent.clone()));
            recent
        });
        recent.subscribe()
    }
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watches").field("owners", &self.0.owners().len()).finish()
    }
}

/// Follows an owner's log for all who watch it, until nobody does.
async fn follow(inner: Arc<Inner>, owner: UserId, recent: watch::Sender<Recent>) {
    let mut listener = inner.log.store.hints().subscribe(owner);
    let (mut level, mut known): (Option<Seq>, Seq) = (None, 0);
    let mut pause = PAUSE;
    loop {
        let work = async {
            match level {
                // Those who came before it began know how far the log went, and read that themselves.
                None => inner.log.store.log(owner).await.map(|log| log.extent.head).map_err(Error::from),
                Some(level) => {
                    known = listener.newer_than(level.max(known)).await;
                    inner.log.publish(owner, level, &recent).await
                }
            }
        };
        let worked = tokio::select! {
            worked = work => worked,
            () = recent.closed() => {
                if inner.retire(owner, &recent) {
                    return;
                }
                continue;
            }
        };
        match worked {
            Ok(reached) => {
                if level.is_none() {
                    recent.send_modify(|recent| recent.level = reached);
                }
                level = Some(reached);
                pause = PAUSE;
            }
            Err(Error::Erased) => {
                inner.owners().remove(&owner);
                recent.send_modify(|recent| recent.is_over = true);
                return;
            }
            Err(error) => {
                // Once: as many owners as there are would say it again and again while a database is away.
                if pause == PAUSE {
                    tracing::warn!(error = %error, "a log could not be followed; trying again");
                }
                // What was hinted has not been read yet.
                known = 0;
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

impl Inner {
    fn owners(&self) -> MutexGuard<'_, HashMap<UserId, watch::Sender<Recent>>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops following, unless somebody has come meanwhile.
    fn retire(&self, owner: UserId, recent: &watch::Sender<Recent>) -> bool {
        let mut owners = self.owners();
        let is_alone = recent.receiver_count() == 0;
        if is_alone {
            owners.remove(&owner);
        }
        is_alone
    }
}

// === impl Reader ===

impl Reader {
    /// Reads on from `level` and shows what is there; tells how far it came.
    async fn publish(&self, owner: UserId, mut level: Seq, recent: &watch::Sender<Recent>) -> Result<Seq, Error> {
        loop {
            let (chunk, extent) = self.chunk(owner, level).await?;
            let Some(chunk) = chunk else { return Ok(level) };
            level = chunk.ends.last().map_or(extent.head, |(seq, _)| *seq);
            recent.send_modify(|recent| recent.push(chunk, level));
            if level >= extent.head {
                return Ok(level);
            }
            // Let those who watch take it before the next one comes.
            tokio::task::yield_now().await;
        }
    }

    /// The next changes after a place; nothing at the end of the log.
    async fn chunk(&self, owner: UserId, after: Seq) -> Result<(Option<Chunk>, Extent), Error> {
        let (changes, log) = self.store.changes(owner, after, None, CHUNK_CHANGES).await?;
        let extent = live(log)?.extent;
        let (mut bytes, mut ends) = (BytesMut::new(), Vec::with_capacity(changes.len()));
        for change in &changes {
            if bytes.len() >= CHUNK_BYTES {
                break;
            }
            (self.encode)(change, extent.after(change.seq), &mut bytes);
            ends.push((change.seq, bytes.len()));
        }
        let chunk = Chunk { after, ends, bytes: bytes.freeze() };
        Ok((Some(chunk).filter(|chunk| !chunk.ends.is_empty()), extent))
    }
}

// === impl Recent ===

impl Recent {
    fn push(&mut self, chunk: Chunk, level: Seq) {
        self.level = level;
        self.size += chunk.bytes.len();
        self.chunks.push_back(Arc::new(chunk));
        while self.chunks.len() > KEPT_CHUNKS || self.size > KEPT_BYTES {
            let Some(oldest) = self.chunks.pop_front() else { return };
            self.size -= oldest.bytes.len();
        }
    }
}

impl Chunk {
    /// What it has after a place that it covers, and the last place that it reaches.
    fn from(&self, seen: Seq) -> Option<(Bytes, Seq)> {
        let (last, _) = *self.ends.last()?;
        if !(self.after..last).contains(&seen) {
            return None;
        }
        let start = self.ends.iter().rev().find(|(seq, _)| *seq <= seen).map_or(0, |(_, end)| *end);
        Some((self.bytes.slice(start..), last))
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
