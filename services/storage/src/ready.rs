//! Whether a database takes writes, whichever engine it is.

use tokio::sync::watch;

use crate::Disk;

/// Follows whether a database takes writes.
#[derive(Debug, Clone)]
pub struct Ready(Engine);

#[derive(Debug, Clone)]
enum Engine {
    Sqlite(Disk),
    Postgres(watch::Receiver<bool>),
}

impl Ready {
    pub(crate) fn sqlite(disk: Disk) -> Self {
        Self(Engine::Sqlite(disk))
    }

    pub(crate) fn postgres(mut reachable: watch::Receiver<bool>) -> Self {
        // What changed before somebody asked is no change.
        reachable.mark_unchanged();
        Self(Engine::Postgres(reachable))
    }

    /// Whether writes are taken, as far as is known.
    #[must_use]
    pub fn takes_writes(&self) -> bool {
        match &self.0 {
            Engine::Sqlite(disk) => disk.takes_writes(),
            Engine::Postgres(reachable) => *reachable.borrow(),
        }
    }

    /// Waits until that changes, and tells what it is then.
    pub async fn changed(&mut self) -> bool {
        match &mut self.0 {
            Engine::Sqlite(disk) => disk.changed().await,
            Engine::Postgres(reachable) => match reachable.changed().await {
                Ok(()) => *reachable.borrow_and_update(),
                // Closed: nobody is left to change it.
                Err(_) => std::future::pending().await,
            },
        }
    }
}
