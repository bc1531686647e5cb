//! Brings a SQLite file to the schema that a service expects.
//!
//! Each step is one transaction together with its row in `_migrations`, so a crash leaves a whole
//! number of steps behind and the next run goes on; two runs at once wait for each other. Steps
//! that were applied are compared by checksum: a shipped migration is never edited.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use crate::Error;

/// How long a run waits for another one.
const PATIENCE: Duration = Duration::from_secs(30);

const BOOKKEEPING: &str = "
CREATE TABLE IF NOT EXISTS _migrations (
    version INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    checksum BLOB NOT NULL,
    time INTEGER NOT NULL
) STRICT";

/// One step of a schema.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Its place: 1, 2, 3…
    pub version: u32,
    /// What it does, in a word or two.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

/// Whether a step was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its place.
    pub version: u32,
    /// What it does.
    pub name: &'static str,
    /// Whether the file has it.
    pub applied: bool,
}

/// Applies the steps that the file does not have yet, making the file when there is none.
/// Answers their versions.
pub fn up(path: &Path, migrations: &[Migration]) -> Result<Vec<u32>, Error> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    make_wal(&connection)?;
    let mut applied = Vec::new();
    for migration in migrations {
        if step(&mut connection, migration, migrations)? {
            applied.push(migration.version);
        }
    }
    Ok(applied)
}

/// Says which of the steps the file has.
pub fn status(path: &Path, migrations: &[Migration]) -> Result<Vec<Step>, Error> {
    let found = match path.exists() {
        true => version(&Connection::open(path)?)?,
        false => 0,
    };
    let step = |migration: &Migration| Step {
        version: migration.version,
        name: migration.name,
        applied: migration.version <= found,
    };
    Ok(migrations.iter().map(step).collect())
}

/// Says which steps [`up`] would apply.
pub fn plan(path: &Path, migrations: &[Migration]) -> Result<Vec<Migration>, Error> {
    let steps = status(path, migrations)?;
    Ok(migrations.iter().zip(steps).filter(|(_, step)| !step.applied).map(|(migration, _)| *migration).collect())
}

/// Refuses a file that is not at exactly the schema of `migrations`.
pub(crate) fn check(connection: &Connection, migrations: &[Migration]) -> Result<(), Error> {
    let known = newest(migrations);
    match version(connection)? {
        found if found > known => Err(Error::NewerSchema { found, known }),
        found if found < known => Err(Error::BehindSchema { found, known }),
        _ => migrations.iter().try_for_each(|migration| unchanged(connection, migration)),
    }
}

/// Refuses a file that does not exist, as one that has no schema yet.
pub(crate) fn missing(migrations: &[Migration]) -> Error {
    Error::BehindSchema { found: 0, known: newest(migrations) }
}

fn step(connection: &mut Connection, migration: &Migration, all: &[Migration]) -> Result<bool, Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(BOOKKEEPING)?;
    let found = version(&transaction)?;
    if found > newest(all) {
        return Err(Error::NewerSchema { found, known: newest(all) });
    }
    if migration.version <= found {
        unchanged(&transaction, migration)?;
        return Ok(false);
    }
    transaction.execute_batch(migration.sql)?;
    transaction.execute(
        "INSERT INTO _migrations (version, name, checksum, time)
         VALUES (?1, ?2, ?3, CAST(unixepoch('subsec') * 1000000 AS INTEGER))",
        params![migration.version, migration.name, checksum(migration)],
    )?;
    transaction.commit()?;
    Ok(true)
}

/// Switching to the write-ahead log needs the file for a moment alone and does not wait by itself.
fn make_wal(connection: &Connection) -> Result<(), Error> {
    let pause = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    loop {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => return Err(Error::Engine(format!("the journal mode stays {mode}"))),
            Err(error) => match Error::from(error) {
                Error::Busy if waited < PATIENCE => {
                    std::thread::sleep(pause);
                    waited += pause;
                }
                error => return Err(error),
            },
        }
    }
}

fn version(connection: &Connection) -> Result<u32, Error> {
    if !connection.table_exists(None, "_migrations")? {
        return Ok(0);
    }
    Ok(connection.query_row("SELECT coalesce(max(version), 0) FROM _migrations", [], |row| row.get(0))?)
}

fn unchanged(connection: &Connection, migration: &Migration) -> Result<(), Error> {
    let stored: Option<Vec<u8>> = connection
        .query_row("SELECT checksum FROM _migrations WHERE version = ?1", [migration.version], |row| row.get(0))
        .optional()?;
    if stored.as_deref() == Some(checksum(migration).as_slice()) {
        Ok(())
    } else {
        Err(Error::ChangedMigration { version: migration.version })
    }
}

pub(crate) fn newest(migrations: &[Migration]) -> u32 {
    migrations.iter().map(|migration| migration.version).max().unwrap_or(0)
}

pub(crate) fn checksum(migration: &Migration) -> [u8; 32] {
    Sha256::digest(migration.sql).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Migration = Migration { version: 1, name: "first", sql: "CREATE TABLE a (x INTEGER) STRICT;" };
    const SECOND: Migration =
        Migration { version: 2, name: "second", sql: "CREATE TABLE b (x INTEGER) STRICT; INSERT INTO a VALUES (1);" };

    fn tables(path: &Path) -> Vec<String> {
        let connection = Connection::open(path).unwrap();
        let mut statement = connection.prepare("SELECT name FROM sqlite_schema ORDER BY name").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn steps_are_applied_once_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        assert_eq!(status(&path, &[FIRST, SECOND]).unwrap().iter().filter(|step| step.applied).count(), 0);
        assert_eq!(up(&path, &[FIRST]), Ok(vec![1]));
        let applied: Vec<_> = status(&path, &[FIRST, SECOND]).unwrap().into_iter().map(|step| step.applied).collect();
        assert_eq!(applied, [true, false]);
        assert_eq!(plan(&path, &[FIRST, SECOND]).unwrap().iter().map(|step| step.version).collect::<Vec<_>>(), [2]);
        assert_eq!(up(&path, &[FIRST, SECOND]), Ok(vec![2]));
        assert_eq!(up(&path, &[FIRST, SECOND]), Ok(vec![]));
        assert_eq!(tables(&path), ["_migrations", "a", "b"]);
    }

    #[test]
    fn a_step_that_fails_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let broken = Migration { version: 2, name: "broken", sql: "CREATE TABLE b (x INTEGER); SELECT nonsense;" };
        assert!(matches!(up(&path, &[FIRST, broken]), Err(Error::Engine(_))));
        assert_eq!(tables(&path), ["_migrations", "a"]);
        assert_eq!(up(&path, &[FIRST, SECOND]), Ok(vec![2]));
    }

    #[test]
    fn an_older_program_refuses_a_newer_schema() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        up(&path, &[FIRST, SECOND]).unwrap();
        assert_eq!(up(&path, &[FIRST]), Err(Error::NewerSchema { found: 2, known: 1 }));
    }

    #[test]
    fn an_edited_migration_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        up(&path, &[FIRST]).unwrap();
        let edited = Migration { sql: "CREATE TABLE other (x INTEGER) STRICT;", ..FIRST };
        assert_eq!(up(&path, &[edited, SECOND]), Err(Error::ChangedMigration { version: 1 }));
        assert_eq!(tables(&path), ["_migrations", "a"]);
    }

    #[test]
    fn migrating_twice_at_once_applies_each_step_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let runs: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || up(&path, &[FIRST, SECOND]).unwrap())
            })
            .collect();
        let mut applied: Vec<_> = runs.into_iter().flat_map(|run| run.join().unwrap()).collect();
        applied.sort_unstable();
        assert_eq!(applied, [1, 2]);
    }
}
