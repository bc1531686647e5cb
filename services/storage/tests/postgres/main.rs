//! The machinery against a real server.

#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

mod bouncer;
mod cancel;
mod copying;
mod inspection;
mod migrations;
mod recovery;
mod statements;
mod wake;

use std::time::Duration;

use errand_cluster::{Cluster, Database};
use errand_storage::{Migration, Postgres, Schema, postgres};
use sqlx::Row as _;

const NOTES: &[Migration] = &[Migration {
    version: 1,
    name: "notes",
    sql: "CREATE TABLE task.notes (owner uuid NOT NULL, id int NOT NULL, text text NOT NULL, PRIMARY KEY (owner, id));
          ALTER TABLE task.notes ENABLE ROW LEVEL SECURITY;
          ALTER TABLE task.notes FORCE ROW LEVEL SECURITY;
          CREATE POLICY owner ON task.notes
              USING (owner = nullif(current_setting('errand.owner', true), '')::uuid);
          CREATE TABLE task.heads (owner uuid NOT NULL PRIMARY KEY, seq bigint NOT NULL);",
}];

const SCHEMA: Schema =
    Schema { name: "task", sqlite: &[], postgres: NOTES, tables: &["heads", "notes"], exempt: &["heads"] };

fn settings(database: &Database, role: &str) -> postgres::Settings {
    postgres::Settings::new(database.url(role).into())
}

/// A database at the schema of the notes.
async fn migrated(cluster: &Cluster) -> Database {
    let database = tokio::task::block_in_place(|| cluster.database());
    postgres::migrate::up(&settings(&database, "errand_migrate"), &SCHEMA).await.unwrap();
    database
}

async fn open(database: &Database) -> Postgres {
    Postgres::open(&settings(database, "errand_task"), &SCHEMA).await.unwrap()
}

/// The one number that a statement answers.
fn number(rows: &[sqlx::postgres::PgRow]) -> i64 {
    rows[0].try_get(0).unwrap()
}

/// Asks until the answer is yes.
async fn eventually(what: &str, mut yes: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !yes().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), asking).await.is_ok(), "still not: {what}");
}
