//! Letting go of what is too old: one loop, one small transaction after the other.

use std::time::Duration;

use errand_changelog::{Actor, Origin, REQUESTS_KEPT, UserId};
use jiff::{SignedDuration, Timestamp};

use super::App;
use crate::{
    domain::{undo::WINDOW, write::Kind},
    error::Error,
    store::{Ages, Difference, Step},
};

/// How long a deleted task can be brought back.
const DELETED_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long the log is whole: as long as a change can be undone.
const CHANGES_KEPT: SignedDuration = WINDOW;
/// The time between two runs.
const PAUSE: Duration = Duration::from_secs(10 * 60);
/// Tasks that are purged in one transaction.
const PURGED: usize = 200;
/// Transactions of one kind for one owner in a run; what is left waits for the next.
const PARTS: usize = 100;

impl App {
    /// Runs now and then until the process ends.
    pub(crate) async fn keep_house(&self) {
        while !self.drain.has_begun() {
            if let Err(error) = self.tidy_now().await {
                tracing::warn!(error = %error, "housekeeping was cut short; the next run goes on");
            }
            tokio::select! {
                () = self.drain.begun() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Lets go of everything that is too old.
    pub(crate) async fn tidy_now(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let ages = Ages {
            deleted: ago(now, DELETED_KEPT),
            changed: ago(now, CHANGES_KEPT),
            answered: ago(now, REQUESTS_KEPT),
        };
        let mut after = None;
        loop {
            let (untidy, next) = self.store.untidy(after, ages).await?;
            for owner in untidy {
                if self.drain.has_begun() {
                    return Ok(());
                }
                self.tidy_owner(owner, &ages, now).await?;
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn tidy_owner(&self, owner: UserId, ages: &Ages, now: Timestamp) -> Result<(), Error> {
        for _ in 0..PARTS {
            if self.purge(owner, ages.deleted, now).await? {
                break;
            }
        }
        for _ in 0..PARTS {
            if self.store.compact(owner, ages.changed).await? {
                break;
            }
        }
        for _ in 0..PARTS {
            if self.store.forget(owner, ages.answered).await? {
                break;
            }
        }
        Ok(())
    }

    /// Purges some tasks through the write door, so that the log tells of it; false while there may
    /// be more.
    async fn purge(&self, owner: UserId, before: Timestamp, now: Timestamp) -> Result<bool, Error> {
        let expired = self.store.expired(owner, before, PURGED).await?;
        if expired.is_empty() {
            return Ok(true);
        }
        let steps = expired.into_iter().map(|task| Step {
            expected: Some(task.version),
            change: Some(Difference { kind: Kind::Purge, before: Some(task.clone()) }),
            task,
        });
        // It is the end of what the owner began by deleting.
        let origin = Origin { actor: Actor::User, turn: None, request: None };
        let steps: Vec<_> = steps.collect();
        self.commit(owner, &origin, steps.into(), now).await?;
        Ok(false)
    }
}

/// That long before `now`, or the beginning of time.
fn ago(now: Timestamp, kept: SignedDuration) -> Timestamp {
    now.checked_sub(kept).unwrap_or(Timestamp::MIN)
}
