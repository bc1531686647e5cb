//! Following a log: who waits for an owner's next change is woken when there is one.
//!
//! The log is the truth, a hint only says "read again": a reader subscribes first, reads the log as
//! far as it goes, and then waits for something newer than what it read. Hints may come late, twice
//! or out of order. There is one small entry per owner that somebody listens to and no queue, so
//! neither a slow reader nor a busy writer costs memory.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{Seq, UserId};

/// Wakes who listens; cheap to clone, all clones are one.
#[derive(Clone, Default)]
pub struct Hints(Arc<Mutex<HashMap<UserId, Entry>>>);

/// Waits for one owner's changes.
pub struct Listener {
    hints: Hints,
    owner: UserId,
    newest: watch::Receiver<Seq>,
}

struct Entry {
    newest: watch::Sender<Seq>,
    listeners: usize,
}

// === impl Hints ===

impl Hints {
    /// Says that the owner's log now goes as far as `seq`. Only after the commit is durable.
    pub fn hint(&self, owner: UserId, seq: Seq) {
        if let Some(entry) = self.entries().get(&owner) {
            entry.newest.send_if_modified(|newest| {
                let is_newer = seq > *newest;
                *newest = seq.max(*newest);
                is_newer
            });
        }
    }

    /// Listens from now on. What happened before is in the log.
    #[must_use]
    pub fn subscribe(&self, owner: UserId) -> Listener {
        let mut entries = self.entries();
        let entry = entries.entry(owner).or_insert_with(|| Entry { newest: watch::Sender::new(0), listeners: 0 });
        entry.listeners += 1;
        Listener { hints: self.clone(), owner, newest: entry.newest.subscribe() }
    }

    /// How many owners somebody listens to.
    #[must_use]
    pub fn owners(&self) -> usize {
        self.entries().len()
    }

    /// The owners that somebody listens to.
    #[must_use]
    pub fn awaited(&self) -> Vec<UserId> {
        self.entries().keys().copied().collect()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<UserId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hints").field("owners", &self.owners()).finish()
    }
}

// === impl Listener ===

impl Listener {
    /// Waits until the log is said to go further than `seq`, and tells how far. Dropping the future
    /// loses nothing.
    pub async fn newer_than(&mut self, seq: Seq) -> Seq {
        let newest = self.newest.wait_for(|newest| *newest > seq).await.map(|newest| *newest);
        match newest {
            Ok(newest) => newest,
            // The sender lives as long as this listener is counted.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut entries = self.hints.entries();
        if let Some(entry) = entries.get_mut(&self.owner) {
            entry.listeners -= 1;
            if entry.listeners == 0 {
                entries.remove(&self.owner);
            }
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("owner", &self.owner).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use uuid::Uuid;

    use super::*;

    fn user(number: u128) -> UserId {
        UserId::from(Uuid::from_u128(number))
    }

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_listener_is_woken_by_its_owner_and_by_nobody_else() {
        let hints = Hints::default();
        let mut listener = hints.subscribe(user(1));
        hints.hint(user(2), 9);
        assert_eq!(now(listener.newer_than(0)), None);
        hints.hint(user(1), 3);
        assert_eq!(now(listener.newer_than(0)), Some(3));
        assert_eq!(now(listener.newer_than(2)), Some(3));
        assert_eq!(now(listener.newer_than(3)), None);
    }

    #[test]
    fn hints_out_of_order_and_twice_tell_the_furthest() {
        let hints = Hints::default();
        let (mut first, mut second) = (hints.subscribe(user(1)), hints.subscribe(user(1)));
        for seq in [2, 5, 3, 5] {
            hints.hint(user(1), seq);
        }
        assert_eq!((now(first.newer_than(1)), now(second.newer_than(4))), (Some(5), Some(5)));
        assert_eq!(now(first.newer_than(5)), None);
    }

    #[test]
    fn an_owner_is_forgotten_with_the_last_listener() {
        let hints = Hints::default();
        let (first, second) = (hints.subscribe(user(1)), hints.subscribe(user(1)));
        drop(first);
        assert_eq!((hints.owners(), hints.awaited()), (1, vec![user(1)]));
        drop(second);
        assert_eq!(hints.owners(), 0);
        hints.hint(user(1), 1);
        assert_eq!(hints.owners(), 0, "a hint that nobody waits for is kept nowhere");
    }
}
