//! The writer thread: groups of writes, each a savepoint of one transaction, one sync for all.

use std::cell::Cell;

use async_channel::Receiver;
use rusqlite::{Connection, ffi};
use tokio::sync::{oneshot, watch};

use super::{Outcome, caught, roll_back, statement};
use crate::Error;

/// Writes that share one commit at most.
const GROUP: usize = 256;
/// Pages in the write-ahead log from which on they are brought into the file, as the engine itself
/// would. It would keep to itself that a sync failed.
const PAGES: i32 = 1000;

thread_local! {
    /// How many pages the write-ahead log holds, as this thread's last commit was told. A hook can hold
    /// nothing of its own, and runs on the thread that commits, which writes to one file only.
    static LOGGED: Cell<i32> = const { Cell::new(0) };
}

/// The one connection that writes.
pub(super) struct Writer {
    connection: Connection,
    /// Whether there is room, for those who follow it.
    takes_writes: watch::Sender<bool>,
}

/// A write that waits, its types erased.
pub(super) trait Write: Send {
    /// Whether nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool;
    /// Runs it and remembers the answer; says whether to keep what it wrote. May run again.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Sends the answer.
    fn acknowledge(self: Box<Self>);
    /// Sends an error in its place.
    fn refuse(self: Box<Self>, error: Error);
    /// What it came to so far: whether it wrote, or found no room to.
    fn finding(&self) -> Option<Room>;
}

pub(super) struct WriteJob<T, F> {
    work: F,
    kept: bool,
    outcome: Result<T, Error>,
    answer: oneshot::Sender<Result<T, Error>>,
}

/// What a write tells about the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Found,
    None,
}

/// Whether the writer may go on.
#[derive(PartialEq, Eq)]
enum Trust {
    Kept,
    /// A sync failed: what the system holds and what the disk holds may differ for good.
    Lost,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(connection: Connection, takes_writes: watch::Sender<bool>) -> Self {
        // In the place of the engine's own checkpoints.
        connection.wal_hook(Some(|_, pages| {
            LOGGED.set(pages);
            Ok(())
        }));
        Self { connection, takes_writes }
    }

    /// Takes writes until there can come no more, or the disk can not be trusted any more.
    pub(super) fn write_all(&self, waiting: &Receiver<Box<dyn Write>>) {
        while let Ok(first) = waiting.recv_blocking() {
            let mut group = vec![first];
            while group.len() < GROUP
                && let Ok(next) = waiting.try_recv()
            {
                group.push(next);
            }
            group.retain(|job| !job.is_abandoned());
            if self.settle(group) == Trust::Lost {
                tracing::error!("syncing the database file failed; no more writes are taken");
                self.takes_writes.send_replace(false);
                waiting.close();
                while let Ok(job) = waiting.try_recv() {
                    job.refuse(Error::Busy);
                }
                return;
            }
        }
    }

    /// Brings the log into the file when there is enough of it.
    fn check_point_when_due(&self) -> Trust {
        if LOGGED.get() < PAGES {
            return Trust::Kept;
        }
        match self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            Ok(()) => Trust::Kept,
            Err(error) => {
                tracing::error!(error = %error, "bringing the write-ahead log into the file failed");
                trust_after(&error)
            }
        }
    }

    /// Brings everything into the file itself, so that the next start finds nothing to recover.
    pub(super) fn check_point(&self) {
        if let Err(error) = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::warn!(error = %error, "the write-ahead log was left for the next start");
        }
    }

    /// Commits a group: every job is answered when this returns.
    fn settle(&self, mut group: Vec<Box<dyn Write>>) -> Trust {
        if group.is_empty() {
            return Trust::Kept;
        }
        if let Err(error) = statement(&self.connection, "BEGIN IMMEDIATE") {
            refuse_all(group, &error.into());
            return Trust::Kept;
        }
        for job in &mut group {
            let step = savepoint(&self.connection, job.as_mut());
            // A full disk ends the whole transaction, even inside a savepoint; the answers of the jobs
            // before are then void, whatever this one says.
            if step.is_err() || self.connection.is_autocommit() {
                roll_back(&self.connection);
                return self.apart(group, &step.err().map_or(Error::Full, Error::from));
            }
        }
        match statement(&self.connection, "COMMIT") {
            Ok(()) => {
                let findings: Vec<_> = group.iter().filter_map(|job| job.finding()).collect();
                if let Some(finding) = findings.iter().find(|finding| **finding == Room::None).or(findings.first()) {
                    self.tell(*finding);
                }
                // Before the answers, so that the last of them tells that the disk is at rest. The writes are
                // durable already, whatever comes of it.
                let trust = self.check_point_when_due();
                group.into_iter().for_each(Write::acknowledge);
                trust
            }
            Err(error) => {
                roll_back(&self.connection);
                let disk = trust_after(&error);
                tracing::error!(error = %error, "a commit failed");
                let error = match Error::from(error) {
                    Error::Full => {
                        self.tell(Room::None);
                        Error::Full
                    }
                    _ => Error::OutcomeUnknown,
                };
                refuse_all(group, &error);
                disk
            }
        }
    }

    /// After a lost transaction: each job gets one of its own, so that one can not fail the others. A
    /// job that had it alone is refused, with its own error unless it took no notice of that.
    fn apart(&self, group: Vec<Box<dyn Write>>, lost: &Error) -> Trust {
        if group.len() == 1 {
            if *lost == Error::Full {
                self.tell(Room::None);
            }
            refuse_all(group, lost);
            return Trust::Kept;
        }
        let mut waiting = group.into_iter();
        while let Some(job) = waiting.next() {
            if self.settle(vec![job]) == Trust::Lost {
                refuse_all(waiting.collect(), &Error::Busy);
                return Trust::Lost;
            }
        }
        Trust::Kept
    }

    /// Tells who follows the disk, when it is news.
    fn tell(&self, room: Room) {
        let room = room == Room::Found;
        let news = self.takes_writes.send_if_modified(|known| std::mem::replace(known, room) != room);
        if news && room {
            tracing::info!("there is room to write again");
        } else if news {
            tracing::error!("the disk is full: writes are refused until there is room");
        }
    }
}

/// After a failed sync nobody knows what is on the disk.
fn trust_after(error: &rusqlite::Error) -> Trust {
    match error.sqlite_error().map(|failure| failure.extended_code) {
        Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC) => Trust::Lost,
        _ => Trust::Kept,
    }
}

/// One job of a group. An error here is one of the machinery; the job's own is its answer.
fn savepoint(connection: &Connection, job: &mut dyn Write) -> Result<(), rusqlite::Error> {
    statement(connection, "SAVEPOINT job")?;
    let keep = job.run(connection);
    if connection.is_autocommit() {
        return Ok(());
    }
    if !keep {
        statement(connection, "ROLLBACK TO job")?;
    }
    statement(connection, "RELEASE job")
}

fn refuse_all(group: Vec<Box<dyn Write>>, error: &Error) {
    for job in group {
        job.refuse(error.clone());
    }
}

// === impl WriteJob ===

impl<T, F> WriteJob<T, F> {
    pub(super) fn new(work: F, answer: oneshot::Sender<Result<T, Error>>) -> Self {
        Self { work, kept: false, outcome: Err(Error::OutcomeUnknown), answer }
    }
}

impl<T, F> Write for WriteJob<T, F>
where
    T: Send,
    F: FnMut(&Connection) -> Result<Outcome<T>, Error> + Send,
{
    fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }

    fn run(&mut self, connection: &Connection) -> bool {
        let (keep, outcome) = match caught(|| (self.work)(connection)) {
            Ok(Outcome::Commit(answer)) => (true, Ok(answer)),
            Ok(Outcome::Discard(answer)) => (false, Ok(answer)),
            Err(error) => (false, Err(error)),
        };
        self.outcome = outcome;
        self.kept = keep;
        keep
    }

    fn finding(&self) -> Option<Room> {
        match &self.outcome {
            Err(Error::Full) => Some(Room::None),
            _ => self.kept.then_some(Room::Found),
        }
    }

    fn acknowledge(self: Box<Self>) {
        let _ = self.answer.send(self.outcome);
    }

    fn refuse(self: Box<Self>, error: Error) {
        // The job's own error knows more than what followed from it.
        let error = self.outcome.err().filter(|own| *own != Error::OutcomeUnknown).unwrap_or(error);
        let _ = self.answer.send(Err(error));
    }
}
