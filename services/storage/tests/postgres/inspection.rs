//! What is wrong with a live schema is named.

use errand_cluster::{Cluster, Database};
use errand_storage::{
    inspect::{Verdict, inspect},
    postgres::migrate,
};
use jiff::{SignedDuration, Timestamp};

use crate::{SCHEMA, migrated, settings};

/// What is not good, as subject and words.
async fn faults(database: &Database, now: fn() -> Timestamp) -> Vec<(String, &'static str, Verdict)> {
    let findings = inspect(&settings(database, "errand_task"), &SCHEMA, &["auth", "task", "chat"], now).await;
    assert!(findings.len() > 3 || findings.iter().any(|finding| finding.check == "reachable"), "{findings:?}");
    let bad = findings.into_iter().filter(|finding| !matches!(finding.verdict, Verdict::Good(_)));
    bad.map(|finding| (finding.subject, finding.check, finding.verdict)).collect()
}

#[expect(clippy::disallowed_methods, reason = "the clock of this machine is what is compared")]
fn now() -> Timestamp {
    Timestamp::now()
}

fn wrong(said: &str) -> Verdict {
    Verdict::Wrong(said.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn r_040_a_fresh_schema_is_good_and_each_fault_is_named() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = migrated(cluster).await;
    database.run("INSERT INTO task.notes VALUES ('00000000-0000-0000-0000-000000000001', 1, 'a')");
    assert_eq!(faults(&database, now).await, []);
    let table = |table: &str, said: &str| (format!("task.{table}"), "row level security", wrong(said));
    let shown = "it shows rows to who names no owner";
    for (change, back, expected) in [
        (
            "ALTER TABLE task.notes DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE task.notes ENABLE ROW LEVEL SECURITY",
            table("notes", &format!("row level security is switched off, {shown}")),
        ),
        (
            "ALTER TABLE task.notes NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE task.notes FORCE ROW LEVEL SECURITY",
            table("notes", "row level security is not forced"),
        ),
        (
            "CREATE POLICY open ON task.notes USING (true)",
            "DROP POLICY open ON task.notes",
            table("notes", &format!("policy open does not ask for the owner, {shown}")),
        ),
        (
            "CREATE TABLE task.more (x int); GRANT SELECT, INSERT, UPDATE, DELETE ON task.more TO errand_task",
            "DROP TABLE task.more",
            table("more", "row level security is switched off, no policy"),
        ),
        (
            "GRANT USAGE ON SCHEMA chat TO errand_task",
            "REVOKE USAGE ON SCHEMA chat FROM errand_task",
            ("chat".to_owned(), "other schemas", wrong("errand_task has usage on schema chat")),
        ),
        (
            "GRANT INSERT ON task._migrations TO errand_task",
            "REVOKE INSERT ON task._migrations FROM errand_task",
            ("task".to_owned(), "own schema", wrong("errand_task may insert task._migrations")),
        ),
        (
            "ALTER TABLE task.heads OWNER TO errand_task",
            "ALTER TABLE task.heads OWNER TO errand_migrate; REVOKE ALL ON task.heads FROM errand_task;
             GRANT SELECT, INSERT, UPDATE, DELETE ON task.heads TO errand_task",
            (
                "task".to_owned(),
                "own schema",
                wrong(
                    "errand_task owns task.heads, errand_task may truncate task.heads, \
                     errand_task may references task.heads, errand_task may trigger task.heads",
                ),
            ),
        ),
    ] {
        database.run(change);
        assert_eq!(faults(&database, now).await, [expected], "{change}");
        database.run(back);
    }
    assert_eq!(faults(&database, now).await, []);
    let late = || now() + SignedDuration::from_secs(60);
    assert!(matches!(faults(&database, late).await.as_slice(), [(_, "clock", Verdict::Wrong(_))]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_everything_is_wrong() {
    let Some(cluster) = Cluster::start() else { return };
    let database = migrated(&cluster).await;
    for (right, said) in [("SUPERUSER", "is superuser"), ("BYPASSRLS", "is BYPASSRLS")] {
        database.run(&format!("ALTER ROLE errand_task {right}"));
        let found = faults(&database, now).await;
        let named = |(_, check, verdict): &(_, &str, Verdict)| {
            *check == "role" && matches!(verdict, Verdict::Wrong(words) if words.contains(said))
        };
        assert!(found.iter().any(named), "{found:?}");
        database.run(&format!("ALTER ROLE errand_task NO{right}"));
    }
    database.run("GRANT errand_migrate TO errand_task");
    assert!(!faults(&database, now).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_yet_is_not_ready() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = tokio::task::block_in_place(|| cluster.database());
    let found = faults(&database, now).await;
    assert!(matches!(found.as_slice(), [(_, "migrations", Verdict::NotReady(_))]), "{found:?}");
    let nowhere = database.named("nowhere");
    let found = faults(&nowhere, now).await;
    // A database that does not exist will not come by itself; a server may.
    assert!(matches!(found.as_slice(), [(_, "reachable", Verdict::Wrong(_))]), "{found:?}");
    let away = errand_storage::postgres::Settings::new("postgres://errand_task@127.0.0.1:1/errand".into());
    let found = inspect(&away, &SCHEMA, &[], now).await;
    assert!(matches!(found[0].verdict, Verdict::NotReady(_)), "{found:?}");
    migrate::up(&settings(&database, "errand_migrate"), &SCHEMA).await.unwrap();
    assert_eq!(faults(&database, now).await, []);
}

#[test]
fn a_file_is_looked_at_too() {
    const SQLITE: &[errand_storage::Migration] = &[errand_storage::Migration {
        version: 1,
        name: "notes",
        sql: "CREATE TABLE notes (id INTEGER NOT NULL PRIMARY KEY) STRICT;",
    }];
    let schema = errand_storage::Schema { sqlite: SQLITE, ..SCHEMA };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("task.db");
    let verdict = || errand_storage::inspect::inspect_file(&path, &schema).remove(0).verdict;
    assert!(matches!(verdict(), Verdict::NotReady(_)));
    errand_storage::migrate::up(&path, SQLITE).unwrap();
    assert!(matches!(verdict(), Verdict::Good(_)));
    std::fs::write(&path, "nonsense".repeat(1000)).unwrap();
    assert!(matches!(verdict(), Verdict::Wrong(_)));
}
