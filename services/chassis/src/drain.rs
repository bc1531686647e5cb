//! The end of a process, told to what would otherwise go on: streams hand over, loops stop.
//!
//! A server that stops serves its unary calls to their end, but a stream has none. Who holds one
//! waits for [`Drain::begun`] beside its work and ends in its own good way.

use tokio::sync::watch;

/// Says once that the process is about to end; cheap to clone, all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Drain(watch::Sender<bool>);

impl Drain {
    /// Not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins it. There is no way back.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Whether it has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it begins.
    pub async fn begun(&self) {
        // An error would mean that no sender is left, and this is one.
        let _ = self.0.subscribe().wait_for(|begun| *begun).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_is_told_and_who_comes_later_too() {
        let drain = Drain::new();
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let drain = drain.clone();
                tokio::spawn(async move { drain.begun().await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(!drain.has_begun() && waiting.iter().all(|task| !task.is_finished()));
        drain.clone().begin();
        for task in waiting {
            task.await.unwrap();
        }
        drain.begun().await;
        assert!(drain.has_begun());
    }
}
