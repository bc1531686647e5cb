//! A PostgreSQL server: statements that run to an answer or to an error that says what to do.
//!
//! Each statement of a store is one round trip on a connection of a small pool. A read is repeated
//! once when its connection was lost, and cancelled on the server when nobody waits for it any more.
//! A write runs to its end, whoever waits, and is repeated when the server says that it collided with
//! another. While the server can not be reached callers are told at once, and one task asks when it is
//! back. What the statements mean is each service's business; there is no SQL of theirs here.

pub mod migrate;
pub mod wake;

mod connection;
mod keeper;
mod statement;

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use deadpool::managed::{Object, Pool, PoolError, Timeouts};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgRow};
use tokio::{sync::Semaphore, time::timeout};
use tracing::Instrument;

use crate::{Error, Ready, Schema};
use connection::{Ended, Manager};
use keeper::Keeper;

pub(crate) use connection::{CONNECT, refused};
pub use statement::{Statement, Time};

/// How often a write is repeated that collided with another.
const COLLISIONS: u32 = 20;
/// More writes than could ever run: each has a connection.
const WRITING: u32 = 1 << 16;
/// How long closing waits for them.
const WRITES_END: Duration = Duration::from_secs(10);
/// A write that is not answered by then has lost its connection: the server ends statements before.
const WRITE_ENDS: Duration = Duration::from_secs(60);

/// How to reach a server, and how much of it to use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `postgres://user:password@host:port/database`.
    pub url: SecretString,
    /// The same database without a pooler in between, for what a pooler can not pass on: migrations, LISTEN.
    pub direct_url: Option<SecretString>,
    /// Whether `url` is a pooler that gives each transaction another connection, such as pgbouncer.
    pub pooler: bool,
    /// Connections for statements. Three more are kept for cancelling and for hints.
    pub connections: u32,
    /// How long a call waits for a connection.
    pub acquire_timeout: Duration,
}

/// A database of a server; cheap to clone.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    pool: Pool<Manager>,
    keeper: Keeper,
    acquire_timeout: Duration,
    statements: AtomicU64,
    /// One permit for each write that runs; all of them once none does.
    writing: Arc<Semaphore>,
    /// Where LISTEN can be said.
    direct: Option<PgConnectOptions>,
    schema: &'static str,
}

// === impl Settings ===

impl Settings {
    /// The server at `url`, with the usual limits.
    #[must_use]
    pub fn new(url: SecretString) -> Self {
        Self { url, direct_url: None, pooler: false, connections: 10, acquire_timeout: Duration::from_secs(3) }
    }

    /// The same database, past the pooler where a way is known.
    #[must_use]
    pub(crate) fn past_the_pooler(&self) -> Self {
        match &self.direct_url {
            Some(direct) => Self { url: direct.clone(), pooler: false, ..self.clone() },
            None => self.clone(),
        }
    }

    pub(crate) fn options(&self) -> Result<PgConnectOptions, Error> {
        options(&self.url)
    }

    /// Past the pooler, where there is one and a way past it is known.
    fn direct(&self) -> Result<Option<PgConnectOptions>, Error> {
        match &self.direct_url {
            Some(url) => options(url).map(Some),
            None if self.pooler => Ok(None),
            None => self.options().map(Some),
        }
    }
}

fn options(url: &SecretString) -> Result<PgConnectOptions, Error> {
    use sqlx::ConnectOptions as _;
    let options = PgConnectOptions::from_str(url.expose_secret())
        // The error may quote the address with its password.
        .map_err(|_| Error::Engine("the address of the database is no postgres:// URL".to_owned()))?;
    Ok(options.extra_float_digits(None).disable_statement_logging())
}

// === impl Postgres ===

impl Postgres {
    /// Connects to a server on which [`migrate::up`] has brought the schema to exactly the one given.
    pub async fn open(settings: &Settings, schema: &Schema) -> Result<Self, Error> {
        let mut options = settings.options()?;
        let mut direct = settings.direct()?;
        if options.get_application_name().is_none() {
            let name = format!("errand-{}", schema.name);
            options = options.application_name(&name);
            direct = direct.map(|direct| direct.application_name(&name));
        }
        let keeper = Keeper::start(options.clone());
        let manager = Manager::new(options, settings.pooler, keeper.clone());
        let limits = Timeouts { wait: Some(settings.acquire_timeout), create: None, recycle: None };
        let pool = Pool::builder(manager)
            .max_size(settings.connections.max(1) as usize)
            .timeouts(limits)
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(|error| Error::Engine(error.to_string()))?;
        let postgres = Self(Arc::new(Inner {
            pool,
            keeper,
            acquire_timeout: settings.acquire_timeout,
            statements: AtomicU64::new(0),
            writing: Arc::new(Semaphore::new(WRITING as usize)),
            direct,
            schema: schema.name,
        }));
        let mut connection = postgres.acquire().await?;
        migrate::check(connection.plain(), schema).await?;
        drop(connection);
        Ok(postgres)
    }

    /// Runs one statement that changes nothing and answers its rows. When the caller goes away it is
    /// cancelled on the server; when the connection is lost it is sent once more on another.
    pub async fn read(&self, statement: Statement) -> Result<Vec<PgRow>, Error> {
        let span = span(&statement);
        let outcome = self.read_twice(&statement, 1).instrument(span.clone()).await;
        told(&span, outcome)
    }

    /// Runs one statement that changes something and answers its rows. Once begun it runs to its end even
    /// when the caller goes away.
    pub async fn write(&self, statement: Statement) -> Result<Vec<PgRow>, Error> {
        let span = span(&statement);
        let connection = self.acquire().instrument(span.clone()).await;
        let connection = told(&span, connection)?;
        let permit = Arc::clone(&self.0.writing).try_acquire_owned().map_err(|_| Error::Busy)?;
        let this = self.clone();
        let within = span.clone();
        let writing = async move {
            let outcome = told(&within, this.write_out(connection, &statement).await);
            drop(permit);
            outcome
        };
        let writing = tokio::spawn(writing.instrument(span));
        writing.await.unwrap_or(Err(Error::OutcomeUnknown))
    }

    /// Follows whether the server can be reached.
    #[must_use]
    pub fn ready(&self) -> Ready {
        Ready::postgres(self.0.keeper.reachable())
    }

    /// How many statements were sent for callers so far, repetitions included.
    #[must_use]
    pub fn statements(&self) -> u64 {
        self.0.statements.load(Ordering::Relaxed)
    }

    /// Takes no more work, lets writes come to their end, and closes the connections.
    pub async fn close(&self) {
        self.0.pool.close();
        let _ = timeout(WRITES_END, self.0.writing.acquire_many(WRITING)).await;
        self.0.keeper.close();
    }

    /// As [`Postgres::read`], for ourselves: not counted and not traced.
    async fn ask(&self, statement: Statement) -> Result<Vec<PgRow>, Error> {
        self.read_twice(&statement, 0).await
    }

    async fn acquire(&self) -> Result<Object<Manager>, Error> {
        if !*self.0.keeper.reachable().borrow() {
            return Err(Error::Unavailable);
        }
        match timeout(self.0.acquire_timeout, self.0.pool.get()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(PoolError::Backend(error))) => Err(error),
            Ok(Err(PoolError::Closed)) => Err(Error::Unavailable),
            Err(_) | Ok(Err(_)) => Err(if self.0.keeper.is_silent() { Error::Unavailable } else { Error::Busy }),
        }
    }

    async fn read_twice(&self, statement: &Statement, count: u64) -> Result<Vec<PgRow>, Error> {
        let mut again = true;
        loop {
            let mut running = Running { connection: Some(self.acquire().await?), keeper: &self.0.keeper };
            let Some(connection) = running.connection.as_mut() else { return Err(Error::Unavailable) };
            self.0.statements.fetch_add(count, Ordering::Relaxed);
            let outcome = connection.run(statement).await;
            // From here on nothing is left to be cancelled.
            let connection = running.connection.take();
            match outcome {
                Ok(rows) => return Ok(rows),
                Err(Ended::Failed(error)) => return Err(error),
                Err(Ended::Lost) => {
                    self.lost(connection);
                    if !std::mem::take(&mut again) {
                        return Err(Error::Unavailable);
                    }
                }
            }
        }
    }

    async fn write_out(&self, mut connection: Object<Manager>, statement: &Statement) -> Result<Vec<PgRow>, Error> {
        for attempt in 1..=COLLISIONS {
            self.0.statements.fetch_add(1, Ordering::Relaxed);
            let outcome = timeout(WRITE_ENDS, connection.run(statement)).await;
            match outcome {
                Ok(Ok(rows)) => return Ok(rows),
                // A collision that lasts is told as `Busy`, too.
                Ok(Err(Ended::Failed(Error::Busy))) if attempt < COLLISIONS && connection.collided() => {
                    tokio::time::sleep(connection::jitter(Duration::from_millis(2) * attempt.min(10))).await;
                }
                Ok(Err(Ended::Failed(error))) => return Err(error),
                Ok(Err(Ended::Lost)) | Err(_) => {
                    let began = connection.began();
                    self.lost(Some(connection));
                    // Before it was sent nothing can have happened.
                    return Err(if began { Error::OutcomeUnknown } else { Error::Unavailable });
                }
            }
        }
        Err(Error::Busy)
    }

    /// Drops a connection that is lost, and with it all that are idle: they go to the same server.
    fn lost(&self, connection: Option<Object<Manager>>) {
        if let Some(connection) = connection {
            let lost = Object::take(connection);
            if self.0.pool.manager().retire(&lost) {
                let manager = self.0.pool.manager();
                self.0.pool.retain(|connection, _| manager.is_current(connection));
            }
            self.0.keeper.suspect();
        }
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("schema", &self.0.schema).finish_non_exhaustive()
    }
}

/// A read that is on its way. Dropped before its end, the connection stays out of the pool until the
/// server has cancelled the statement, so that a late cancel never hits another caller.
struct Running<'k> {
    connection: Option<Object<Manager>>,
    keeper: &'k Keeper,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.keeper.reclaim(connection);
        }
    }
}

fn span(statement: &Statement) -> tracing::Span {
    tracing::debug_span!(
        target: "errand_storage::sql",
        "sql",
        otel.name = statement.name,
        otel.kind = "client",
        db.system.name = "postgresql",
        db.query.summary = statement.name,
        otel.status_code = tracing::field::Empty,
        error.type = tracing::field::Empty,
    )
}

/// Says in a span what came of its statement; a span that nobody looks at costs nothing.
fn told<T>(span: &tracing::Span, outcome: Result<T, Error>) -> Result<T, Error> {
    if let Err(error) = &outcome
        && !span.is_disabled()
    {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", error.word());
    }
    outcome
}
