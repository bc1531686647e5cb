use std::sync::mpsc;

use rusqlite::params;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;

const NOTES: &[Migration] = &[Migration {
    version: 1,
    name: "notes",
    sql: "CREATE TABLE notes (id INTEGER NOT NULL PRIMARY KEY, text TEXT NOT NULL) STRICT;",
}];

struct Fixture {
    sqlite: Sqlite,
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        migrate::up(&folder.path().join("notes.db"), NOTES).unwrap();
        let sqlite = Sqlite::open(&folder.path().join("notes.db"), NOTES).unwrap();
        Self { sqlite, folder }
    }

    /// What another process would find.
    fn stored(&self) -> Vec<i64> {
        ids(&Connection::open(self.folder.path().join("notes.db")).unwrap()).unwrap()
    }

    /// Keeps the writer busy, so that what follows waits and is committed together.
    fn hold(&self) -> mpsc::Sender<()> {
        let (go, held) = mpsc::channel();
        let (began, begun) = mpsc::channel();
        let sqlite = self.sqlite.clone();
        tokio::spawn(async move {
            sqlite
                .write(move |_| {
                    let _ = began.send(());
                    let _ = held.recv();
                    Ok(Outcome::Discard(()))
                })
                .await
        });
        tokio::task::block_in_place(|| begun.recv().unwrap());
        go
    }

    fn spawn<T: Send + 'static>(
        &self,
        work: impl FnMut(&Connection) -> Result<Outcome<T>, Error> + Send + 'static,
    ) -> JoinHandle<Result<T, Error>> {
        let (waiting, sqlite) = (self.sqlite.writes.len(), self.sqlite.clone());
        let write = tokio::spawn(async move { sqlite.write(work).await });
        tokio::task::block_in_place(|| {
            while self.sqlite.writes.len() == waiting {
                thread::yield_now();
            }
        });
        write
    }
}

fn ids(connection: &Connection) -> Result<Vec<i64>, Error> {
    let mut statement = connection.prepare("SELECT id FROM notes ORDER BY id")?;
    Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

fn insert(connection: &Connection, id: i64) -> Result<(), Error> {
    connection.execute("INSERT INTO notes VALUES (?1, 'text')", [id])?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_write_of_a_group_stands_or_falls_alone() {
    let fixture = Fixture::new();
    let go = fixture.hold();
    let first = fixture.spawn(|db| insert(db, 1).map(Outcome::Commit));
    let discarded = fixture.spawn(|db| insert(db, 2).map(|()| Outcome::Discard("refused")));
    let taken = fixture.spawn(|db| insert(db, 3).and_then(|()| insert(db, 1)).map(Outcome::Commit));
    let panicking = fixture.spawn(|db| -> Result<Outcome<()>, Error> {
        insert(db, 4)?;
        panic!("a bug")
    });
    let last = fixture.spawn(|db| insert(db, 5).map(Outcome::Commit));
    go.send(()).unwrap();

    assert_eq!(first.await.unwrap(), Ok(()));
    assert_eq!(discarded.await.unwrap(), Ok("refused"));
    assert_eq!(taken.await.unwrap(), Err(Error::Constraint));
    assert!(matches!(panicking.await.unwrap(), Err(Error::Engine(_))));
    assert_eq!(last.await.unwrap(), Ok(()));
    assert_eq!(fixture.stored(), [1, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_acknowledged_before_the_group_is_committed() {
    let fixture = Fixture::new();
    let go = fixture.hold();
    let first = fixture.spawn(|db| insert(db, 1).map(Outcome::Commit));
    let (began, begun) = mpsc::channel();
    let (finish, held) = mpsc::channel::<()>();
    let second = fixture.spawn(move |db| {
        let _ = began.send(());
        let _ = held.recv();
        insert(db, 2).map(Outcome::Commit)
    });
    go.send(()).unwrap();
    tokio::task::block_in_place(|| begun.recv().unwrap());
    assert!(!first.is_finished());
    assert_eq!(fixture.stored(), [0_i64; 0]);
    finish.send(()).unwrap();
    assert_eq!(first.await.unwrap(), Ok(()));
    assert_eq!(second.await.unwrap(), Ok(()));
    assert_eq!(fixture.stored(), [1, 2]);
}

/// Leaves room for this many pages more.
fn pages(db: &Connection, limit: i64) -> Result<Outcome<()>, Error> {
    let pages: i64 = db.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    db.query_row(&format!("PRAGMA max_page_count = {}", pages + limit), [], |_| Ok(()))?;
    Ok(Outcome::Discard(()))
}

#[tokio::test(start_paused = true)]
async fn r_107_a_full_disk_is_told_to_who_follows_it_and_so_is_its_end() {
    let fixture = Fixture::new();
    let mut disk = fixture.sqlite.disk();
    assert!(disk.takes_writes());
    fixture.sqlite.write(|db| pages(db, 0)).await.unwrap();
    let big = fixture.sqlite.write(|db| {
        db.execute("INSERT INTO notes VALUES (2, ?1)", params!["x".repeat(100_000)])?;
        Ok(Outcome::Commit(()))
    });
    assert_eq!(big.await, Err(Error::Full));
    assert!(!disk.takes_writes());
    fixture.sqlite.write(|db| pages(db, 1000)).await.unwrap();
    // Nobody writes any more; following it finds out.
    assert!(disk.changed().await);
    assert!(fixture.sqlite.disk().takes_writes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_fails_only_the_write_that_does_not_fit() {
    let fixture = Fixture::new();
    fixture.sqlite.write(move |db| pages(db, 4)).await.unwrap();
    let go = fixture.hold();
    let small = fixture.spawn(|db| insert(db, 1).map(Outcome::Commit));
    let big = fixture.spawn(|db| {
        db.execute("INSERT INTO notes VALUES (2, ?1)", params!["x".repeat(100_000)])?;
        Ok(Outcome::Commit(()))
    });
    let after = fixture.spawn(|db| insert(db, 3).map(Outcome::Commit));
    go.send(()).unwrap();
    assert_eq!(small.await.unwrap(), Ok(()));
    assert_eq!(big.await.unwrap(), Err(Error::Full));
    assert_eq!(after.await.unwrap(), Ok(()));
    assert_eq!(fixture.sqlite.read(ids).await, Ok(vec![1, 3]));

    fixture.sqlite.write(move |db| pages(db, 1000)).await.unwrap();
    let big = fixture.sqlite.write(|db| {
        db.execute("INSERT INTO notes VALUES (2, ?1)", params!["x".repeat(100_000)])?;
        Ok(Outcome::Commit(()))
    });
    assert_eq!(big.await, Ok(()));
    assert_eq!(fixture.stored(), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_takes_no_notice_of_a_full_disk_is_not_acknowledged() {
    let fixture = Fixture::new();
    let write = fixture.sqlite.write(|db| {
        db.query_row("PRAGMA max_page_count = 1", [], |_| Ok(()))?;
        let _ = db.execute("INSERT INTO notes VALUES (2, ?1)", params!["x".repeat(100_000)]);
        Ok(Outcome::Commit(()))
    });
    assert_eq!(write.await, Err(Error::Full));
    assert_eq!(fixture.stored(), [0_i64; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_can_not_write_and_survives_a_panic() {
    let fixture = Fixture::new();
    assert!(matches!(fixture.sqlite.read(|db| insert(db, 1)).await, Err(Error::Engine(_))));
    for _ in 0..8 {
        let read = fixture.sqlite.read(|_| -> Result<(), Error> { panic!("a bug") });
        assert!(matches!(read.await, Err(Error::Engine(_))));
    }
    assert_eq!(fixture.sqlite.read(ids).await, Ok(vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_read() {
    let fixture = Fixture::new();
    for id in 0..50 {
        fixture.sqlite.write(move |db| insert(db, id).map(Outcome::Commit)).await.unwrap();
        assert_eq!(fixture.sqlite.read(ids).await.unwrap().len(), usize::try_from(id).unwrap() + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_said_at_once() {
    let fixture = Fixture::new();
    let go = fixture.hold();
    let writes: Vec<_> = (0..1200)
        .map(|id| {
            let sqlite = fixture.sqlite.clone();
            tokio::spawn(async move { sqlite.write(move |db| insert(db, id).map(Outcome::Commit)).await })
        })
        .collect();
    tokio::task::block_in_place(|| {
        while !fixture.sqlite.writes.is_full() {
            thread::yield_now();
        }
    });
    assert_eq!(fixture.sqlite.write(|_| Ok(Outcome::Commit(()))).await, Err(Error::Busy));
    go.send(()).unwrap();
    let mut stored = 0;
    for write in writes {
        match write.await.unwrap() {
            Ok(()) => stored += 1,
            Err(error) => assert_eq!(error, Error::Busy),
        }
    }
    assert!(stored >= WRITES_WAITING);
    assert_eq!(fixture.stored().len(), stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_nobody_waits_for_is_not_begun() {
    let fixture = Fixture::new();
    let go = fixture.hold();
    let dropped = fixture.spawn(|db| insert(db, 1).map(Outcome::Commit));
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    go.send(()).unwrap();
    fixture.sqlite.write(|db| insert(db, 2).map(Outcome::Commit)).await.unwrap();
    assert_eq!(fixture.stored(), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_finishes_what_is_queued_and_leaves_one_file() {
    let fixture = Fixture::new();
    let go = fixture.hold();
    let queued: Vec<_> = (0..20).map(|id| fixture.spawn(move |db| insert(db, id).map(Outcome::Commit))).collect();
    let sqlite = fixture.sqlite.clone();
    let closing = tokio::spawn(async move { sqlite.close().await });
    go.send(()).unwrap();
    closing.await.unwrap();
    for write in queued {
        assert_eq!(write.await.unwrap(), Ok(()));
    }
    assert!(!fixture.sqlite.is_open());
    assert_eq!(fixture.sqlite.write(|_| Ok(Outcome::Commit(()))).await, Err(Error::Busy));
    assert_eq!(fixture.sqlite.read(ids).await, Err(Error::Busy));
    assert_eq!(fixture.stored().len(), 20);
    let files: Vec<_> =
        std::fs::read_dir(fixture.folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["notes.db"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_another_schema_is_refused() {
    const NEWER: &[Migration] =
        &[NOTES[0], Migration { version: 2, name: "more", sql: "CREATE TABLE more (x INTEGER);" }];
    const OTHER: &[Migration] = &[Migration { sql: "CREATE TABLE other (x INTEGER);", ..NOTES[0] }];
    let fixture = Fixture::new();
    let path = fixture.folder.path().join("notes.db");
    assert_eq!(Sqlite::open(&path, NEWER).unwrap_err(), Error::BehindSchema { found: 1, known: 2 });
    assert_eq!(Sqlite::open(&path, OTHER).unwrap_err(), Error::ChangedMigration { version: 1 });
    migrate::up(&path, NEWER).unwrap();
    assert_eq!(Sqlite::open(&path, NOTES).unwrap_err(), Error::NewerSchema { found: 2, known: 1 });
    let missing = fixture.folder.path().join("none.db");
    assert_eq!(Sqlite::open(&missing, NOTES).unwrap_err(), Error::BehindSchema { found: 0, known: 1 });
    assert!(!missing.exists());
}

#[test]
fn a_time_is_read_back_as_it_was_stored() {
    for micros_since_epoch in [0, -1, 1_795_219_200_000_001, 253_402_207_199_000_000] {
        assert_eq!(timestamp(micros_since_epoch).map(micros), Ok(micros_since_epoch));
    }
    assert!(timestamp(i64::MAX).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_read_runs_where_it_is_called_and_else_on_a_reader() {
    let fixture = Fixture::new();
    let here = thread::current().id();
    let read_on = async || fixture.sqlite.get(|_| Ok(thread::current().id())).await.unwrap();
    assert_eq!(read_on().await, here);
    let taken: Vec<_> = fixture.sqlite.idle.iter().map(|idle| idle.lock().unwrap()).collect();
    let elsewhere = fixture.sqlite.get(|_| Ok(thread::current().id()));
    assert_ne!(tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(elsewhere)).unwrap(), here);
    drop(taken);
}

#[tokio::test]
async fn a_short_read_can_not_write_and_ends_with_the_database() {
    let fixture = Fixture::new();
    let write = fixture.sqlite.get(|connection| Ok(connection.execute("INSERT INTO notes VALUES (1, 'x')", [])?)).await;
    assert!(write.is_err());
    fixture.sqlite.close().await;
    assert_eq!(fixture.sqlite.get(|_| Ok(())).await, Err(Error::Busy));
}
