//! Letting go: of what is too old, in one loop, one small transaction after the other, and of
//! everything of a user who leaves.

use std::time::Duration;

use errand_changelog::{REQUESTS_KEPT, UserId};
use jiff::{SignedDuration, Timestamp};

use super::App;
use crate::{error::Error, store::Ages};

/// How long the log and the events of turns are kept: as long as a change can be undone. Messages
/// stay.
const CHANGES_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// The time between two runs.
const PAUSE: Duration = Duration::from_secs(10 * 60);
/// Transactions of a run; what is left waits for the next.
const PARTS: usize = 1000;

impl App {
    /// Runs now and then until the process ends.
    pub(crate) async fn keep_house(&self) {
        while !self.drain.has_begun() {
            if let Err(error) = self.tidy(self.clock.now()).await {
                tracing::warn!(error = %error, "housekeeping was cut short; the next run goes on");
            }
            tokio::select! {
                () = self.drain.begun() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Lets go of everything that is too old at `now`.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn tidy(&self, now: Timestamp) -> Result<(), Error> {
        let ago = |kept: SignedDuration| now.checked_sub(kept).unwrap_or(Timestamp::MIN);
        let ages = Ages { answered: ago(REQUESTS_KEPT), changed: ago(CHANGES_KEPT) };
        for _ in 0..PARTS {
            if self.drain.has_begun() || self.store.tidy(ages).await? {
                break;
            }
        }
        Ok(())
    }

    /// Takes away everything that a user has, for good.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn erase(&self, owner: UserId) -> Result<(), Error> {
        let now = self.clock.now();
        while !self.store.erase(owner, now).await? {}
        Ok(())
    }
}
