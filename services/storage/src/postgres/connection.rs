//! One connection and how a statement runs on it; how the pool makes and keeps connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, Row as _,
    postgres::{PgConnectOptions, PgConnection, PgDatabaseError, PgRow, PgSeverity},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use super::{keeper::Keeper, statement::Statement};
use crate::Error;

/// How long a connection may take to be made.
pub(crate) const CONNECT: Duration = Duration::from_secs(3);
/// Connections that are made at the same time, so that a server that comes back is not overrun.
const CONNECTS_AT_ONCE: usize = 3;
/// A connection serves about this long, so that a server that changed its address or settings is found.
const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// Statements that a connection keeps prepared.
const STATEMENTS: usize = 128;
/// In the place of a process when there is none to be cancelled.
pub(super) const NOT_OURS: i32 = 0;

/// Makes connections for the pool.
pub(super) struct Manager {
    options: PgConnectOptions,
    pooler: bool,
    keeper: Keeper,
    /// Counts losses: what is older than the last one is not used again.
    generation: Arc<AtomicU64>,
    connecting: Semaphore,
    /// Whether there ever was a connection.
    opened: AtomicBool,
}

/// A connection and what it takes to cancel what runs on it.
pub(super) struct Connection {
    inner: PgConnection,
    /// The server's process; behind a pooler that of the current transaction.
    pid: i32,
    pooler: bool,
    generation: u64,
    until: Instant,
    /// Whether the statement itself was sent.
    began: bool,
    collided: bool,
}

/// Why a statement has no rows.
#[derive(Debug)]
pub(super) enum Ended {
    /// The server, or we, refused it; the connection is fine.
    Failed(Error),
    /// The connection is gone, and with it the knowledge of what came of the statement.
    Lost,
}

// === impl Manager ===

impl Manager {
    pub(super) fn new(options: PgConnectOptions, pooler: bool, keeper: Keeper) -> Self {
        let options = options.statement_cache_capacity(if pooler { 0 } else { STATEMENTS });
        let connecting = Semaphore::new(CONNECTS_AT_ONCE);
        Self { options, pooler, keeper, generation: Arc::default(), connecting, opened: AtomicBool::new(false) }
    }

    /// Takes note of a loss; whether it is news.
    pub(super) fn retire(&self, lost: &Connection) -> bool {
        let next = lost.generation + 1;
        self.generation.compare_exchange(lost.generation, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(super) fn is_current(&self, connection: &Connection) -> bool {
        connection.generation == self.generation.load(Ordering::Relaxed)
    }
}

impl managed::Manager for Manager {
    type Type = Connection;
    type Error = Error;

    async fn create(&self) -> Result<Connection, Error> {
        let _permit = self.connecting.acquire().await.map_err(|_| Error::Unavailable)?;
        let generation = self.generation.load(Ordering::Relaxed);
        match connect(&self.options, self.pooler).await {
            Ok((inner, pid)) => {
                let until = Instant::now() + LIFETIME - jitter(LIFETIME / 5);
                let pooler = self.pooler;
                self.opened.store(true, Ordering::Relaxed);
                Ok(Connection { inner, pid, pooler, generation, until, began: false, collided: false })
            }
            Err(error) => {
                self.keeper.suspect();
                // Once it was let in, a service waits for whatever it is that went away.
                let opened = self.opened.load(Ordering::Relaxed);
                match error {
                    Error::Engine(why) if opened => {
                        tracing::error!(error = why, "the database refuses a connection");
                        Err(Error::Unavailable)
                    }
                    error => Err(error),
                }
            }
        }
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<Error> {
        if self.is_current(connection) && Instant::now() < connection.until {
            Ok(())
        } else {
            Err(RecycleError::message("its time is over"))
        }
    }
}

async fn connect(options: &PgConnectOptions, pooler: bool) -> Result<(PgConnection, i32), Error> {
    let connecting = async {
        let mut connection = options.connect().await?;
        let pid = if pooler { NOT_OURS } else { process(&mut connection, "SELECT pg_backend_pid()").await? };
        Ok::<_, sqlx::Error>((connection, pid))
    };
    match timeout(CONNECT, connecting).await {
        Ok(Ok(connected)) => Ok(connected),
        Ok(Err(error)) => Err(refused(&error)),
        Err(_) => Err(Error::Unavailable),
    }
}

/// What a connection that was refused means for who wanted one.
pub(crate) fn refused(error: &sqlx::Error) -> Error {
    let code = match error {
        sqlx::Error::Database(database) => database.code().unwrap_or_default(),
        _ => "".into(),
    };
    match &*code {
        "53300" => Error::Busy,
        // A role or a password that is not known, a database that is not there or not for us: waiting does not help.
        "28000" | "28P01" | "3D000" | "42501" => Error::Engine(format!("{code}: {error}")),
        _ => {
            tracing::debug!(error = %error, "no connection to the database");
            Error::Unavailable
        }
    }
}

async fn process(connection: &mut PgConnection, sql: &'static str) -> Result<i32, sqlx::Error> {
    // The simple protocol, in which values come as text.
    let row = connection.fetch_one(sqlx::raw_sql(sql)).await?;
    let text: String = row.try_get_unchecked(0)?;
    text.parse().map_err(|_| sqlx::Error::Protocol(format!("{text} is no process")))
}

// === impl Connection ===

impl Connection {
    /// Runs a statement to its end.
    pub(super) async fn run(&mut self, statement: &Statement) -> Result<Vec<PgRow>, Ended> {
        if let Some(fault) = &statement.broken {
            return Err(Ended::Failed(Error::Engine(format!("{}: {fault}", statement.name))));
        }
        (self.began, self.collided) = (!self.pooler, false);
        let outcome = if self.pooler { self.in_transaction(statement).await } else { self.send(statement).await };
        outcome.map_err(|error| {
            if is_loss(&error) {
                tracing::warn!(statement = statement.name, error = %error, "a connection to the database was lost");
                return Ended::Lost;
            }
            self.collided = is_collision(&error);
            let told = Error::from(error);
            if let Error::Engine(fault) = &told {
                tracing::error!(statement = statement.name, error = fault, "a statement failed");
            }
            Ended::Failed(told)
        })
    }

    /// Whether the last statement failed because another one was in its way, and may be repeated.
    pub(super) fn collided(&self) -> bool {
        self.collided
    }

    /// Whether the last statement was sent.
    pub(super) fn began(&self) -> bool {
        self.began
    }

    /// The connection for statements that need no care.
    pub(super) fn plain(&mut self) -> &mut PgConnection {
        &mut self.inner
    }

    /// The server's process that runs the statement, or [`NOT_OURS`].
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    async fn send(&mut self, statement: &Statement) -> Result<Vec<PgRow>, sqlx::Error> {
        let query = sqlx::query_with(statement.sql, statement.arguments.clone()).persistent(!self.pooler);
        query.fetch_all(&mut self.inner).await
    }

    /// A pooler gives each transaction another process. The messages of one statement have to meet the same
    /// one, and to cancel it that must be known.
    async fn in_transaction(&mut self, statement: &Statement) -> Result<Vec<PgRow>, sqlx::Error> {
        // Only between here and there is the process ours: cancelling it at any other time would hit somebody else.
        self.pid = NOT_OURS;
        // A pooler that finds no server lets its clients wait, for minutes if it is told to.
        let beginning = process(&mut self.inner, "BEGIN; SELECT pg_backend_pid()");
        self.pid = timeout(CONNECT, beginning).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
        self.began = true;
        let outcome = self.send(statement).await;
        self.pid = NOT_OURS;
        match &outcome {
            Ok(_) => self.inner.execute(sqlx::raw_sql("COMMIT")).await.map(drop)?,
            Err(error) if is_loss(error) => {}
            Err(_) => self.inner.execute(sqlx::raw_sql("ROLLBACK")).await.map(drop)?,
        }
        outcome
    }

    /// Reads away what is left of a statement that nobody waits for, and leaves its transaction as it is: until the
    /// process is known not to be cancelled any more it must stay ours. Whether there still is a connection.
    pub(super) async fn settle(&mut self) -> bool {
        self.ask_for_good(None).await
    }

    /// Ends what [`Connection::settle`] leaves. Whether the connection can be used again. A cancel that comes late
    /// hits the first statement after it, so one has to go through.
    pub(super) async fn drain(&mut self) -> bool {
        self.ask_for_good(Some(if self.pooler { "ROLLBACK" } else { "SELECT 1" })).await
    }

    /// Asks until there is an answer without an error: the first one is that of the cancelled statement.
    async fn ask_for_good(&mut self, sql: Option<&'static str>) -> bool {
        for _ in 0..5 {
            let answered = match sql {
                Some(sql) => self.inner.execute(sqlx::raw_sql(sql)).await.map(drop),
                None => self.inner.ping().await,
            };
            match answered {
                Ok(()) => return true,
                Err(error) if is_loss(&error) => return false,
                Err(_) => {}
            }
        }
        false
    }
}

fn is_loss(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(database) => {
            let fatal = database
                .try_downcast_ref::<PgDatabaseError>()
                .is_some_and(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic));
            // A server that became a standby while we were connected: another one takes writes now.
            fatal || matches!(database.code().as_deref(), Some("57P01" | "57P02" | "57P03" | "25006"))
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolTimedOut => true,
        _ => false,
    }
}

/// Serialisation failures and deadlocks: nothing was written, the same may work now.
fn is_collision(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(database) = error else { return false };
    matches!(database.code().as_deref(), Some("40001" | "40P01"))
}

/// Somewhere between half of a time and all of it, so that many do not come back at the same moment.
pub(super) fn jitter(most: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    // Keyed at random for each call.
    let random = RandomState::new().hash_one(0_u8);
    most / 2 + (most / 2).mul_f64((random % 1000) as f64 / 1000.0)
}
