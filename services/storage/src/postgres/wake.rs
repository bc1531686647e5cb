//! Hints between replicas: who wrote something, so that those who watch look at once.
//!
//! Each replica tells the others with `pg_notify`, many owners at once and at most every 10 ms, on a
//! connection of its own past any pooler. Without such a connection, and now and then with one, the
//! heads of the logs are asked for those owners that somebody watches. A hint may be lost or come
//! twice; what is true is in the log.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Row as _,
    postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions},
};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::{Postgres, Statement, connection::jitter};

/// The shortest time between two notifications of a replica.
const TELL_EVERY: Duration = Duration::from_millis(10);
/// How often heads are asked for while no notification can arrive, ...
const POLL_EVERY: Duration = Duration::from_millis(250);
/// ... and while they can: a replica may end between its commit and its notification.
const POLL_ANYWAY: Duration = Duration::from_secs(2);
/// Owners that may wait to be told about. Beyond that everybody is told to look for themselves.
const WAITING: usize = 10_000;
/// PostgreSQL takes less than 8000 bytes.
const PAYLOAD: usize = 7_900;
/// Everybody has to look.
const LOOK: &str = "*";
/// How long the server may take to let us in, or to take a notification.
const PATIENCE: Duration = Duration::from_secs(3);

/// The local side of the hints.
pub trait Heads: Send + Sync + 'static {
    /// The owners that somebody here waits for.
    fn awaited(&self) -> Vec<Uuid>;
    /// The log of an owner has reached `seq`, or more.
    fn found(&self, owner: Uuid, seq: i64);
}

/// Tells other replicas, and listens to them. It ends with its last clone.
#[derive(Clone)]
pub struct Wake(Arc<Shared>);

struct Shared {
    waiting: Arc<Waiting>,
    // Nothing is sent: who has the other side sees it closed.
    _running: watch::Sender<()>,
}

/// What is to be told.
#[derive(Default)]
struct Waiting {
    owners: Mutex<HashMap<Uuid, i64>>,
    more: Notify,
}

/// The part that listens or asks.
struct Ear {
    postgres: Postgres,
    heads_sql: &'static str,
    heads: Arc<dyn Heads>,
    channel: String,
    listening: AtomicBool,
}

// === impl Wake ===

impl Wake {
    /// Starts telling and listening. `heads_sql` answers `owner` and `seq` of the owners in `$1`, a `uuid[]`.
    #[must_use]
    pub fn start(postgres: &Postgres, heads_sql: &'static str, heads: Arc<dyn Heads>) -> Self {
        let (sender, running) = watch::channel(());
        let waiting = Arc::<Waiting>::default();
        let channel = format!("errand_{}", postgres.0.schema);
        let ear = Arc::new(Ear {
            postgres: postgres.clone(),
            heads_sql,
            heads,
            channel: channel.clone(),
            listening: AtomicBool::new(false),
        });
        if let Some(direct) = postgres.0.direct.clone() {
            let options = direct.statement_cache_capacity(8);
            tokio::spawn(until(running.clone(), tell(options.clone(), channel, Arc::clone(&waiting))));
            tokio::spawn(until(running.clone(), Arc::clone(&ear).listen(options)));
        }
        tokio::spawn(until(running, ear.poll()));
        Self(Arc::new(Shared { waiting, _running: sender }))
    }

    /// Tells the other replicas that the log of an owner has reached `seq`.
    pub fn tell(&self, owner: Uuid, seq: i64) {
        let waiting = &self.0.waiting;
        let mut owners = waiting.owners.lock().unwrap_or_else(PoisonError::into_inner);
        // One more than may wait says that there were too many.
        if owners.len() <= WAITING || owners.contains_key(&owner) {
            let known = owners.entry(owner).or_insert(seq);
            *known = seq.max(*known);
        }
        drop(owners);
        waiting.more.notify_one();
    }
}

impl std::fmt::Debug for Wake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wake").finish_non_exhaustive()
    }
}

async fn until(mut running: watch::Receiver<()>, work: impl Future<Output = ()>) {
    tokio::select! {
        _ = running.changed() => {}
        () = work => {}
    }
}

// === telling ===

async fn tell(options: PgConnectOptions, channel: String, waiting: Arc<Waiting>) {
    let mut connection = None;
    loop {
        waiting.more.notified().await;
        let owners = std::mem::take(&mut *waiting.owners.lock().unwrap_or_else(PoisonError::into_inner));
        let payloads = payloads(&owners);
        if !payloads.is_empty()
            && !matches!(timeout(PATIENCE, send(&options, &mut connection, &channel, &payloads)).await, Ok(true))
        {
            // The hint is lost; the others look by themselves in a moment.
            connection = None;
            sleep(jitter(POLL_EVERY)).await;
        }
        sleep(TELL_EVERY).await;
    }
}

async fn send(options: &PgConnectOptions, held: &mut Option<PgConnection>, channel: &str, payloads: &[String]) -> bool {
    let connection = match held {
        Some(connection) => connection,
        None => match options.connect().await {
            Ok(connection) => held.insert(connection),
            Err(_) => return false,
        },
    };
    let sql = "SELECT pg_notify($1, payload) FROM unnest($2) AS payloads (payload)";
    sqlx::query(sql).bind(channel).bind(payloads).execute(connection).await.is_ok()
}

fn payloads(owners: &HashMap<Uuid, i64>) -> Vec<String> {
    if owners.len() > WAITING {
        return vec![LOOK.to_owned()];
    }
    let mut payloads = Vec::new();
    let mut payload = String::new();
    for (owner, seq) in owners {
        if !payload.is_empty() {
            payload.push(' ');
        }
        // Writing to a String does not fail.
        let _ = write!(payload, "{}:{seq}", owner.simple());
        if payload.len() > PAYLOAD - 64 {
            payloads.push(std::mem::take(&mut payload));
        }
    }
    if !payload.is_empty() {
        payloads.push(payload);
    }
    payloads
}

fn parse(entry: &str) -> Option<(Uuid, i64)> {
    let (owner, seq) = entry.split_once(':')?;
    Some((Uuid::parse_str(owner).ok()?, seq.parse().ok()?))
}

// === impl Ear ===

impl Ear {
    async fn listen(self: Arc<Self>, options: PgConnectOptions) {
        let mut pause = POLL_EVERY;
        loop {
            // The listener comes with a pool; ours has this one connection, which is ours to make again.
            let pool =
                PgPoolOptions::new().max_connections(1).acquire_timeout(PATIENCE).connect_lazy_with(options.clone());
            if self.listen_on(&pool).await {
                pause = POLL_EVERY;
            }
            self.listening.store(false, Ordering::Relaxed);
            drop(pool);
            sleep(jitter(pause)).await;
            pause = (pause * 2).min(POLL_ANYWAY);
        }
    }

    /// Listens until the connection is lost. Whether there was one.
    async fn listen_on(&self, pool: &sqlx::PgPool) -> bool {
        let Ok(mut listener) = PgListener::connect_with(pool).await else { return false };
        listener.eager_reconnect(false);
        if listener.listen(&self.channel).await.is_err() {
            return false;
        }
        self.listening.store(true, Ordering::Relaxed);
        // What was told before we listened.
        self.look().await;
        while let Ok(Some(notification)) = listener.try_recv().await {
            let payload = notification.payload();
            if payload == LOOK {
                self.look().await;
            }
            for (owner, seq) in payload.split(' ').filter_map(parse) {
                self.heads.found(owner, seq);
            }
        }
        true
    }

    async fn poll(self: Arc<Self>) {
        let mut rounds = 0;
        loop {
            sleep(POLL_EVERY).await;
            rounds += 1;
            let anyway = POLL_EVERY * rounds >= POLL_ANYWAY;
            if anyway || !self.listening.load(Ordering::Relaxed) {
                rounds = 0;
                self.look().await;
            }
        }
    }

    /// Asks how far the logs are that somebody waits for.
    async fn look(&self) {
        let owners = self.heads.awaited();
        if owners.is_empty() {
            return;
        }
        let Ok(rows) = self.postgres.ask(Statement::new("heads", self.heads_sql).bind(owners)).await else { return };
        for row in rows {
            if let (Ok(owner), Ok(seq)) = (row.try_get("owner"), row.try_get("seq")) {
                self.heads.found(owner, seq);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_fits_and_is_understood() {
        let owners: HashMap<Uuid, i64> = (0..1000).map(|n| (Uuid::from_u128(n), i64::MAX - n as i64)).collect();
        let payloads = payloads(&owners);
        assert!(payloads.len() > 1 && payloads.iter().all(|payload| payload.len() < 8000));
        let read: HashMap<_, _> =
            payloads.iter().flat_map(|payload| payload.split(' ')).map(|entry| parse(entry).unwrap()).collect();
        assert_eq!(read, owners);
        assert_eq!(parse(LOOK), None);
    }

    #[test]
    fn too_many_owners_are_told_to_look() {
        let owners: HashMap<Uuid, i64> = (0..=WAITING as u128).map(|n| (Uuid::from_u128(n), 1)).collect();
        assert_eq!(payloads(&owners), [LOOK]);
    }
}
