//! One SQLite file: one writer thread with group commit, a few reader threads.
//!
//! A write is a closure that runs inside a transaction of the writer thread. Writes that wait
//! together share one transaction and one sync of the disk; each is a savepoint of its own, and
//! none is acknowledged before the group's commit is durable. Reads run on connections that can
//! not write, each on one snapshot. All queues are bounded: when one is full the caller is told at
//! once. What the statements mean is each service's business; there is no SQL of theirs here.

mod disk;
mod writer;

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use async_channel::{Receiver, Sender};
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{oneshot, watch};
use tracing::{Instrument, Span, debug_span};

use crate::{Error, Migration, Ready, migrate};

pub use disk::Disk;
use writer::{Write, WriteJob, Writer};

/// Writes that may wait: a few commits' worth, so that waiting stays short.
const WRITES_WAITING: usize = 1024;
/// Reads that may wait.
const READS_WAITING: usize = 1024;
/// How long to wait for another process that holds the file, such as a backup.
const BUSY: Duration = Duration::from_secs(5);
/// Statements that a connection keeps prepared.
const STATEMENTS: usize = 64;

/// A database file that is open; cheap to clone. The threads end when the last clone is dropped or
/// [`Sqlite::close`] is called.
#[derive(Clone)]
pub struct Sqlite {
    // First, so that these are closed before the writer, which puts the log away.
    idle: Arc<[Idle]>,
    writes: Sender<Box<dyn Write>>,
    reads: Sender<Box<dyn Read>>,
    /// Ends when the writer, the last of the threads, has closed the file.
    threads: Receiver<()>,
    /// Whether there is room: changed by the writer alone.
    takes_writes: watch::Sender<bool>,
    name: Arc<str>,
}

/// A connection for reads that are too short for a thread of their own; nothing once it is closed.
type Idle = Mutex<Option<Connection>>;

/// What a write came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T> {
    /// Keep what was written.
    Commit(T),
    /// A refusal: nothing that was written is kept.
    Discard(T),
}

/// A read that waits, its types erased.
trait Read: Send {
    fn is_abandoned(&self) -> bool;
    fn run(self: Box<Self>, connection: &Connection);
}

struct ReadJob<T, F> {
    work: F,
    answer: oneshot::Sender<Result<T, Error>>,
}

/// Microseconds since the epoch, as times are stored.
#[must_use]
pub fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// Reads a time that was stored with [`micros`].
pub fn timestamp(micros: i64) -> Result<Timestamp, Error> {
    Timestamp::from_microsecond(micros).map_err(|_| Error::Engine(format!("{micros} is no time")))
}

// === impl Sqlite ===

impl Sqlite {
    /// Opens a file that [`migrate::up`] has brought to exactly the schema of `migrations`, and
    /// starts its threads.
    pub fn open(path: &Path, migrations: &'static [Migration]) -> Result<Self, Error> {
        if !path.exists() {
            return Err(migrate::missing(migrations));
        }
        let writer = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        writer.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA fullfsync = ON;
             PRAGMA foreign_keys = ON;
             PRAGMA cache_size = -2048;
             PRAGMA journal_size_limit = 16777216;",
        )?;
        migrate::check(&writer, migrations)?;
        let cores = thread::available_parallelism().map_or(2, usize::from).clamp(2, 4);
        let readers: Vec<_> = (0..cores).map(|_| reader(path)).collect::<Result<_, Error>>()?;
        let idle = (0..cores).map(|_| Ok(Mutex::new(Some(reader(path)?)))).collect::<Result<_, Error>>()?;

        let (writes, waiting_writes) = async_channel::bounded(WRITES_WAITING);
        let (reads, waiting_reads) = async_channel::bounded(READS_WAITING);
        let (running, threads) = async_channel::bounded(1);
        let name: Arc<str> = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("sqlite").into();
        let (reading, readers_gone) = async_channel::bounded::<()>(1);
        for (index, reader) in readers.into_iter().enumerate() {
            let (held, waiting) = (reading.clone(), waiting_reads.clone());
            start(&format!("{name}-reader{index}"), move || {
                read_all(&reader, &waiting);
                drop(reader);
                drop(held);
            })?;
        }
        drop(reading);
        let takes_writes = watch::Sender::new(true);
        let writer = Writer::new(writer, takes_writes.clone());
        start(&format!("{name}-writer"), move || {
            writer.write_all(&waiting_writes);
            // Nothing is ever sent: this ends when the last reader has gone. Who closes last
            // removes the write-ahead log, and a reader may not.
            let _ = readers_gone.recv_blocking();
            writer.check_point();
            drop(writer);
            drop(running);
        })?;
        Ok(Self { idle, writes, reads, threads, takes_writes, name })
    }

    /// Runs `work` on a snapshot that can not be written to.
    pub async fn read<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.reads.try_send(Box::new(ReadJob { work, answer })).map_err(|_| Error::Busy)?;
        answered.instrument(self.span("read")).await.unwrap_or(Err(Error::Busy))
    }

    /// Runs `work`, which reads a few rows by their keys, on a snapshot that can not be written to.
    ///
    /// It runs where it is called: such a read takes a few microseconds, handing it to a thread and
    /// back costs several times that. When all connections for this are taken, a reader thread does
    /// it. A read that may scan belongs to [`Sqlite::read`].
    pub async fn get<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        if !self.reads.is_closed() {
            for idle in self.idle.iter() {
                if let Ok(held) = idle.try_lock()
                    && let Some(connection) = held.as_ref()
                {
                    return self.span("read").in_scope(|| on_snapshot(connection, work));
                }
            }
        }
        self.read(work).await
    }

    /// Runs `work` in a transaction and answers once what it wrote is durable. `work` may run more
    /// than once; only what its last run wrote is kept. A write that nobody waits for any more when
    /// its turn comes is not begun.
    pub async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<Outcome<T>, Error> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = WriteJob::new(work, answer);
        self.writes.try_send(Box::new(job)).map_err(|_| Error::Busy)?;
        answered.instrument(self.span("write")).await.unwrap_or(Err(Error::OutcomeUnknown))
    }

    /// For traces: what a transaction is for is not known here, only whose it is.
    fn span(&self, operation: &'static str) -> Span {
        debug_span!(
            target: "errand_storage::sql",
            "sql",
            otel.name = operation,
            db.system.name = "sqlite",
            db.namespace = &*self.name,
            db.operation.name = operation,
        )
    }

    /// Whether writes are taken: not after [`Sqlite::close`], nor after a failed sync of the disk.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.writes.is_closed()
    }

    /// Follows whether writes find room on the disk.
    #[must_use]
    pub fn disk(&self) -> Disk {
        Disk::new(self.clone())
    }

    /// Follows whether writes are taken.
    #[must_use]
    pub fn ready(&self) -> Ready {
        Ready::sqlite(self.disk())
    }

    /// Takes no more work, finishes what is queued and closes the file.
    pub async fn close(&self) {
        self.reads.close();
        for idle in self.idle.iter() {
            drop(idle.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
        self.writes.close();
        // Nothing is ever sent: this ends when the writer has gone.
        let _ = self.threads.recv().await;
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("name", &self.name).finish_non_exhaustive()
    }
}

// === the readers ===

fn read_all(connection: &Connection, waiting: &Receiver<Box<dyn Read>>) {
    while let Ok(job) = waiting.recv_blocking() {
        if !job.is_abandoned() {
            job.run(connection);
        }
    }
}

impl<T, F> Read for ReadJob<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, Error> + Send,
{
    fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }

    fn run(self: Box<Self>, connection: &Connection) {
        let Self { work, answer } = *self;
        let _ = answer.send(on_snapshot(connection, work));
    }
}

fn on_snapshot<T>(connection: &Connection, work: impl FnOnce(&Connection) -> Result<T, Error>) -> Result<T, Error> {
    let outcome = match statement(connection, "BEGIN") {
        Ok(()) => caught(|| work(connection)),
        Err(error) => Err(error.into()),
    };
    roll_back(connection);
    outcome
}

// === both ===

fn roll_back(connection: &Connection) {
    if !connection.is_autocommit()
        && let Err(error) = statement(connection, "ROLLBACK")
    {
        tracing::error!(error = %error, "a rollback failed");
    }
}

fn statement(connection: &Connection, sql: &'static str) -> Result<(), rusqlite::Error> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

fn reader(path: &Path) -> Result<Connection, Error> {
    let reader = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    reader.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -1024;")?;
    Ok(reader)
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, Error> {
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;")?;
    Ok(connection)
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map(drop).map_err(|error| Error::Engine(format!("starting a thread failed: {error}")))
}

/// A closure that panics is a bug, but one caller's: the thread serves on.
fn caught<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = words(panic.as_ref());
        tracing::error!(panic = said, "a database closure panicked");
        Err(Error::Engine(format!("panicked: {said}")))
    })
}

fn words(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "no words",
    }
}

#[cfg(test)]
mod tests;
