//! What the role does without being asked, one thing after the other: it reads the signing keys again,
//! erases what is left of closed accounts, and drops what has expired.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

use super::App;
use crate::error::Error;

/// How often the signing keys are read again, so that a key that another process made is published
/// long before it signs, and a retired one is forgotten.
const KEYS_EVERY: Duration = Duration::from_secs(30);
/// How often what has expired is dropped.
const TIDY_EVERY: Duration = Duration::from_mins(10);
/// How many of each are dropped in one transaction, so that nobody waits long behind it.
const TIDY_MOST: usize = 500;
/// How often it is asked what the hashes of users cost.
const COSTS_EVERY: Duration = Duration::from_mins(1);
/// What is waited for erasures at most: other processes may note some, and a clock may step back.
const ERASE_EVERY: Duration = Duration::from_mins(1);

impl App {
    /// Keeps house until it is dropped.
    pub async fn keep_house(self: Arc<Self>) {
        let (mut keys, mut costs, mut tidy) = (every(KEYS_EVERY), every(COSTS_EVERY), every(TIDY_EVERY));
        let mut erase_at = Instant::now();
        loop {
            tokio::select! {
                _ = keys.tick() => if let Err(error) = self.keys.refresh().await {
                    tracing::warn!(%error, "the signing keys could not be read again; those that are known stay");
                },
                _ = costs.tick() => if let Err(error) = self.decoys.learn(self.store.as_ref()).await {
                    tracing::warn!(%error, "it could not be read what the hashes of users cost");
                },
                _ = tidy.tick() => if let Err(error) = self.tidy().await {
                    tracing::warn!(%error, "what has expired could not be dropped");
                },
                () = self.closed.notified() => erase_at = Instant::now(),
                () = sleep_until(erase_at) => {
                    let pause = match self.erase_due().await {
                        Ok(next) => self.until(next),
                        Err(error) => {
                            tracing::warn!(%error, "what is left to erase could not be read");
                            ERASE_EVERY
                        }
                    };
                    erase_at = Instant::now() + pause;
                },
            }
        }
    }

    /// Drops what has expired.
    ///
    /// # Errors
    /// When the store can not be written.
    pub async fn tidy(&self) -> Result<(), Error> {
        let now = self.now();
        while self.store.tidy(now, TIDY_MOST).await? {}
        Ok(())
    }

    fn until(&self, next: Option<Timestamp>) -> Duration {
        let pause = next.map_or(SignedDuration::MAX, |next| next.duration_since(self.now()));
        Duration::try_from(pause).unwrap_or_default().min(ERASE_EVERY)
    }
}

fn every(period: Duration) -> Interval {
    let mut every = interval_at(Instant::now() + period, period);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every
}
