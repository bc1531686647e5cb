//! What is in a SQLite file comes to PostgreSQL whole, or the copy says why not.

use std::path::PathBuf;

use errand_cluster::{Cluster, Database};
use errand_storage::{
    Migration, Schema,
    copy::{Copied, Error, copy},
    migrate,
    postgres::{self, migrate::up},
};
use rusqlite::{Connection, params};
use tempfile::TempDir;
use uuid::Uuid;

use crate::settings;

const SQLITE: &[Migration] = &[Migration {
    version: 1,
    name: "things",
    sql: "CREATE TABLE heads (owner BLOB NOT NULL PRIMARY KEY, seq INTEGER NOT NULL) STRICT;
          CREATE TABLE log (only INTEGER NOT NULL PRIMARY KEY, epoch BLOB NOT NULL) STRICT;
          INSERT INTO log VALUES (1, randomblob(16));
          CREATE TABLE things (
              owner BLOB NOT NULL, id BLOB NOT NULL, text TEXT NOT NULL, number INTEGER, time INTEGER, json TEXT,
              bytes BLOB, done INTEGER NOT NULL, twice INTEGER GENERATED ALWAYS AS (number % 7) STORED,
              PRIMARY KEY (owner, id)) STRICT, WITHOUT ROWID;
          CREATE TABLE parts (
              owner BLOB NOT NULL, thing BLOB NOT NULL, part TEXT NOT NULL, PRIMARY KEY (owner, thing, part),
              FOREIGN KEY (owner, thing) REFERENCES things (owner, id)) STRICT, WITHOUT ROWID;
          CREATE TABLE keys (kid TEXT NOT NULL PRIMARY KEY, sealed BLOB NOT NULL) STRICT;",
}];

const POSTGRES: &[Migration] = &[Migration {
    version: 1,
    name: "things",
    sql: "CREATE TABLE task.heads (owner uuid NOT NULL PRIMARY KEY, seq bigint NOT NULL,
                                   look_time timestamptz NOT NULL DEFAULT '-infinity');
          CREATE TABLE task.log (\"only\" int NOT NULL PRIMARY KEY, epoch uuid NOT NULL);
          INSERT INTO task.log VALUES (1, gen_random_uuid());
          CREATE TABLE task.things (
              owner uuid NOT NULL, id uuid NOT NULL, text text NOT NULL, number bigint, time timestamptz, json jsonb,
              bytes bytea, done boolean NOT NULL, twice bigint GENERATED ALWAYS AS (number % 7) STORED,
              PRIMARY KEY (owner, id));
          CREATE TABLE task.parts (
              owner uuid NOT NULL, thing uuid NOT NULL, part text NOT NULL, PRIMARY KEY (owner, thing, part),
              FOREIGN KEY (owner, thing) REFERENCES task.things (owner, id));
          CREATE TABLE task.keys (kid text NOT NULL PRIMARY KEY, sealed bytea NOT NULL);
          ALTER TABLE task.things ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
          ALTER TABLE task.parts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
          CREATE POLICY own ON task.things USING (owner = nullif(current_setting('errand.owner', true), '')::uuid);
          CREATE POLICY own ON task.parts USING (owner = nullif(current_setting('errand.owner', true), '')::uuid);",
}];

const SCHEMA: Schema = Schema {
    name: "task",
    sqlite: SQLITE,
    postgres: POSTGRES,
    tables: &["heads", "log", "things", "parts", "keys"],
    exempt: &["heads", "log", "keys"],
};

const OWNERS: u64 = 20;
/// Of each owner: a head, three things with a part each.
const ROWS: u64 = OWNERS * 7 + 2;

struct Fixture {
    folder: TempDir,
    database: Database,
    target: postgres::Settings,
}

impl Fixture {
    async fn new(cluster: &Cluster) -> Self {
        let folder = tempfile::tempdir().unwrap();
        migrate::up(&folder.path().join("task.db"), SQLITE).unwrap();
        let database = tokio::task::block_in_place(|| cluster.database());
        let target = settings(&database, "errand_migrate");
        up(&target, &SCHEMA).await.unwrap();
        let fixture = Self { folder, database, target };
        fixture.fill();
        fixture
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("task.db")
    }

    fn sqlite(&self) -> Connection {
        Connection::open(self.file()).unwrap()
    }

    fn fill(&self) {
        let db = self.sqlite();
        for owner in 1..=u128::from(OWNERS) {
            let owner = Uuid::from_u128(owner << 64);
            db.execute("INSERT INTO heads VALUES (?1, 3)", [owner]).unwrap();
            for n in 0..3_i64 {
                let id = Uuid::from_u128(n as u128 + 1);
                let insert = "INSERT INTO things (owner, id, text, number, time, json, bytes, done)
                              VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
                let json = r#"{"z": [1, 2.50, null], "a": {"ü": "quote \" and \\ backslash", "b": true}}"#;
                let (number, time) = ((n > 0).then_some(i64::MAX - n), (n > 1).then_some(1_700_000_000_123_456 + n));
                let text = format!("text {n} with 'quotes', \u{1f600} and {{braces}}, \\ and NULL");
                db.execute(insert, params![owner, id, text, number, time, json, [0_u8, 255, 7], n % 2]).unwrap();
                db.execute("INSERT INTO parts VALUES (?1, ?2, '')", params![owner, id]).unwrap();
            }
        }
        db.execute_batch("INSERT INTO keys VALUES ('a', x'00ff'), ('b', x'01')").unwrap();
    }

    async fn copy(&self) -> Result<Copied, Error> {
        copy(&self.file(), &self.target, &SCHEMA, |_, _| {}).await
    }

    fn owned(&self, owner: u128, what: &str) -> String {
        let owner = Uuid::from_u128(owner << 64);
        // As the service would see it.
        self.database.run(&format!("SET ROLE errand_task; SET errand.owner = '{owner}'; SELECT {what}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_as_it_was_and_the_log_is_another_one() {
    let Some(cluster) = Cluster::shared() else { return };
    let fixture = Fixture::new(cluster).await;
    let epoch = fixture.database.run("SELECT epoch FROM task.log");
    assert_eq!(fixture.copy().await, Ok(Copied { owners: OWNERS, before: 0, rows: ROWS }));
    assert_ne!(fixture.database.run("SELECT epoch FROM task.log"), epoch);
    assert_eq!(fixture.database.run("SELECT count(*) FROM task.heads"), OWNERS.to_string());
    assert_eq!(
        fixture.database.run("SELECT string_agg(kid || sealed::text, ' ' ORDER BY kid) FROM task.keys"),
        "a\\x00ff b\\x01"
    );
    assert_eq!(fixture.owned(1, "count(*) FROM task.things"), "3");
    assert_eq!(
        fixture.owned(2, "number, time AT TIME ZONE 'UTC', json->'a'->>'ü', bytes, done, twice IS NULL FROM task.things ORDER BY id LIMIT 1"),
        "||quote \" and \\ backslash|\\x00ff07|f|t"
    );
    assert_eq!(
        fixture.owned(2, "number, time AT TIME ZONE 'UTC', done FROM task.things ORDER BY id DESC LIMIT 1"),
        format!("{}|2023-11-14 22:13:20.123458|f", i64::MAX - 2)
    );
    assert_eq!(fixture.database.run("SELECT to_regclass('task._copy') IS NULL"), "t");
    // Done is done: it is not copied over.
    assert_eq!(fixture.copy().await, Err(Error::NotEmpty { table: "task.heads".to_owned() }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_interrupted_goes_on_where_it_was() {
    let Some(cluster) = Cluster::shared() else { return };
    let fixture = Fixture::new(cluster).await;
    // The server ends the connection in the middle of an owner.
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'errand-copy'";
    let file = fixture.file();
    let interrupted = copy(&file, &fixture.target, &SCHEMA, |done, _| {
        if done == 7 {
            fixture.database.run(kill);
        }
    });
    assert!(matches!(interrupted.await, Err(Error::Storage(_))));
    assert_eq!(fixture.database.run("SELECT count(*) FROM task._copy"), "7");
    // One owner changes, one goes, one comes.
    let db = fixture.sqlite();
    db.execute("UPDATE things SET text = 'changed' WHERE owner = ?1", [Uuid::from_u128(2 << 64)]).unwrap();
    for table in ["parts", "things", "heads"] {
        db.execute(&format!("DELETE FROM {table} WHERE owner = ?1"), [Uuid::from_u128(3 << 64)]).unwrap();
    }
    db.execute("INSERT INTO heads VALUES (?1, 1)", [Uuid::from_u128(99 << 64)]).unwrap();
    assert_eq!(fixture.copy().await, Ok(Copied { owners: OWNERS, before: 5, rows: ROWS - 6 }));
    assert_eq!(fixture.owned(2, "count(*) FROM task.things WHERE text = 'changed'"), "3");
    assert_eq!(fixture.owned(3, "count(*) FROM task.things"), "0");
    assert_eq!(fixture.database.run("SELECT count(*) FROM task.heads"), OWNERS.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_with_other_data_is_refused() {
    let Some(cluster) = Cluster::shared() else { return };
    let fixture = Fixture::new(cluster).await;
    fixture
        .database
        .run("INSERT INTO task.things VALUES (gen_random_uuid(), gen_random_uuid(), '', 1, now(), '1', '', true)");
    assert_eq!(fixture.copy().await, Err(Error::NotEmpty { table: "task.things".to_owned() }));
    let fixture = Fixture::new(cluster).await;
    fixture.database.run("INSERT INTO task.keys VALUES ('mine', '')");
    assert_eq!(fixture.copy().await, Err(Error::NotEmpty { table: "task.keys".to_owned() }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_copied_is_named() {
    let Some(cluster) = Cluster::shared() else { return };
    let fixture = Fixture::new(cluster).await;
    fixture.sqlite().execute_batch("UPDATE things SET json = 'no json'").unwrap();
    assert!(
        matches!(fixture.copy().await, Err(Error::Value { table, column, .. }) if table == "things" && column == "json")
    );
    fixture.sqlite().execute_batch("CREATE TABLE more (x INTEGER)").unwrap();
    assert_eq!(fixture.copy().await, Err(Error::NoPlace("table more".to_owned())));
    const NEXT: &[Migration] = &[SQLITE[0], Migration { version: 2, ..SQLITE[0] }];
    let behind = Schema { sqlite: NEXT, ..SCHEMA };
    let refused = copy(&fixture.file(), &fixture.target, &behind, |_, _| {}).await;
    assert_eq!(refused, Err(errand_storage::Error::BehindSchema { found: 1, known: 2 }.into()));
    let nowhere = copy(&fixture.folder.path().join("other.db"), &fixture.target, &SCHEMA, |_, _| {}).await;
    assert_eq!(nowhere, Err(errand_storage::Error::BehindSchema { found: 0, known: 1 }.into()));
    assert!(!fixture.folder.path().join("other.db").exists());
}
