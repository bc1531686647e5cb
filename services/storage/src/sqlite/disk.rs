//! Whether a database takes writes, for health: a full disk must not only fail calls, it must also
//! be seen by those who route them.

use std::{fs, time::Duration};

use rusqlite::Connection;
use tokio::sync::watch;

use super::{Outcome, Sqlite};
use crate::Error;

/// How often a write is tried while none are taken, in case nobody else tries one.
const PROBE: Duration = Duration::from_secs(1);
/// How much room there must be, in bytes.
const ROOM: usize = 64 * 1024;

/// Follows whether a database takes writes.
#[derive(Debug, Clone)]
pub struct Disk {
    sqlite: Sqlite,
    state: watch::Receiver<bool>,
}

impl Disk {
    pub(super) fn new(sqlite: Sqlite) -> Self {
        let state = sqlite.takes_writes.subscribe();
        Self { sqlite, state }
    }

    /// Whether the last write that could have failed for lack of space went through.
    #[must_use]
    pub fn takes_writes(&self) -> bool {
        *self.state.borrow()
    }

    /// Waits until that changes, and tells what it is then. While no writes are taken it tries one
    /// every second: whoever routes by health sends none.
    pub async fn changed(&mut self) -> bool {
        self.state.mark_unchanged();
        loop {
            let taking = self.takes_writes();
            tokio::select! {
                changed = self.state.changed() => match changed {
                    Ok(()) => return self.takes_writes(),
                    // Nobody is left to change it.
                    Err(_) => std::future::pending().await,
                },
                () = tokio::time::sleep(PROBE), if !taking => {
                    // What came of it is told by the state.
                    let _ = self.sqlite.write(probe).await;
                }
            }
        }
    }
}

/// Finds out whether there is room to grow: a page that is written again may need none, so a file
/// beside the database is tried first. The number written after it means nothing to anybody.
fn probe(connection: &Connection) -> Result<Outcome<()>, Error> {
    if let Some(database) = connection.path().filter(|path| !path.is_empty()) {
        let beside = format!("{database}-room");
        let grown = fs::write(&beside, [0; ROOM]);
        let removed = fs::remove_file(&beside);
        grown.and(removed).map_err(|_| Error::Full)?;
    }
    let number: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    connection.pragma_update(None, "user_version", i32::from(number == 0))?;
    Ok(Outcome::Commit(()))
}
