//! One statement, one round trip, and what its errors are.

use std::time::Duration;

use errand_cluster::Cluster;
use errand_storage::{
    Error, Postgres, Schema,
    postgres::{Settings, Statement, Time},
};
use sqlx::Row as _;
use uuid::Uuid;

use crate::{SCHEMA, migrated, number, open, settings};

#[tokio::test(flavor = "multi_thread")]
async fn values_come_back_as_they_went() {
    let Some(cluster) = Cluster::shared() else { return };
    let postgres = open(&migrated(cluster).await).await;
    let times = ["1969-12-31T23:59:59.999999Z", "2026-11-21T08:30:00.000001Z", "9999-12-30T22:00:00Z"];
    for time in times.map(|time| Time(time.parse().unwrap())) {
        let sql = "SELECT $1 AS time, $2 AS id, $3 AS text, extract(epoch FROM $1)::text AS seconds, $4 AS times";
        let statement =
            Statement::new("echo", sql).bind(time).bind(Uuid::from_u128(7)).bind(None::<String>).bind(vec![time, time]);
        let row = postgres.read(statement).await.unwrap().remove(0);
        assert_eq!(row.try_get::<Time, _>("time").unwrap(), time);
        assert_eq!(row.try_get::<Uuid, _>("id").unwrap(), Uuid::from_u128(7));
        assert_eq!(row.try_get::<Option<String>, _>("text").unwrap(), None);
        assert_eq!(row.try_get::<Vec<Time>, _>("times").unwrap(), [time, time]);
        let micros: i64 = row.try_get::<String, _>("seconds").unwrap().replace('.', "").parse().unwrap();
        assert_eq!(micros, time.0.as_microsecond());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_counts_as_one_and_can_be_sent_again() {
    let Some(cluster) = Cluster::shared() else { return };
    let postgres = open(&migrated(cluster).await).await;
    let statement = Statement::new("one", "SELECT $1").bind(1_i64);
    assert_eq!(postgres.statements(), 0);
    assert_eq!(number(&postgres.read(statement.clone()).await.unwrap()), 1);
    assert_eq!(number(&postgres.write(statement).await.unwrap()), 1);
    assert_eq!(postgres.statements(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_can_be_done() {
    let Some(cluster) = Cluster::shared() else { return };
    let postgres = open(&migrated(cluster).await).await;
    let insert = Statement::new("insert", "INSERT INTO task.heads VALUES ('00000000-0000-0000-0000-000000000001', 1)");
    postgres.write(insert.clone()).await.unwrap();
    assert!(matches!(postgres.write(insert).await, Err(Error::Constraint)));
    let raise = |code: &str| match code {
        "57014" => "DO $$ BEGIN RAISE SQLSTATE '57014'; END $$",
        "53100" => "DO $$ BEGIN RAISE SQLSTATE '53100'; END $$",
        "55P03" => "DO $$ BEGIN RAISE SQLSTATE '55P03'; END $$",
        _ => "SELECT nonsense",
    };
    assert_eq!(postgres.read(Statement::new("raise", raise("57014"))).await.unwrap_err(), Error::TimedOut);
    assert_eq!(postgres.write(Statement::new("raise", raise("53100"))).await.unwrap_err(), Error::Full);
    assert_eq!(postgres.write(Statement::new("raise", raise("55P03"))).await.unwrap_err(), Error::Busy);
    assert!(matches!(postgres.read(Statement::new("raise", raise(""))).await, Err(Error::Engine(_))));
    // None of them cost the connection.
    assert_eq!(number(&postgres.read(Statement::new("one", "SELECT 1::int8")).await.unwrap()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_is_ended_by_the_server() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = migrated(cluster).await;
    let url = format!("{}?options=-c%20statement_timeout%3D50", database.url("errand_task"));
    let postgres = Postgres::open(&Settings::new(url.into()), &SCHEMA).await.unwrap();
    let sleep = Statement::new("sleep", "SELECT pg_sleep(60)");
    assert_eq!(postgres.read(sleep.clone()).await.unwrap_err(), Error::TimedOut);
    assert_eq!(postgres.write(sleep).await.unwrap_err(), Error::TimedOut);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_connection_is_told_so() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = migrated(cluster).await;
    let settings =
        Settings { connections: 1, acquire_timeout: Duration::from_millis(50), ..settings(&database, "errand_task") };
    let postgres = Postgres::open(&settings, &SCHEMA).await.unwrap();
    let holding = tokio::spawn({
        let postgres = postgres.clone();
        async move { postgres.write(Statement::new("hold", "SELECT pg_advisory_xact_lock(1), pg_sleep(1)")).await }
    });
    crate::eventually("held", async || {
        database.run("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") != "0"
    })
    .await;
    assert_eq!(postgres.read(Statement::new("one", "SELECT 1")).await.unwrap_err(), Error::Busy);
    holding.await.unwrap().unwrap();
    postgres.read(Statement::new("one", "SELECT 1")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn r_077_writes_that_collide_are_repeated_inside() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = migrated(cluster).await;
    database.run("INSERT INTO task.heads SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, 0 FROM generate_series(1, 2) n");
    // Two rows in either order: PostgreSQL finds the deadlock.
    database.run("ALTER ROLE errand_task SET deadlock_timeout = '10ms'");
    database.run(
        "CREATE FUNCTION task.both(a int, b int) RETURNS int8 LANGUAGE plpgsql AS $$ BEGIN
        UPDATE task.heads SET seq = seq + 1 WHERE owner = ('00000000-0000-0000-0000-00000000000' || a)::uuid;
        UPDATE task.heads SET seq = seq + 1 WHERE owner = ('00000000-0000-0000-0000-00000000000' || b)::uuid;
        RETURN 1; END $$; GRANT EXECUTE ON FUNCTION task.both TO errand_task",
    );
    let postgres = open(&database).await;
    let writes: Vec<_> = (0..64)
        .map(|n| {
            let postgres = postgres.clone();
            let statement = Statement::new("both", "SELECT task.both($1, $2)").bind(1 + n % 2).bind(2 - n % 2);
            tokio::spawn(async move { postgres.write(statement).await })
        })
        .collect();
    for write in writes {
        write.await.unwrap().unwrap();
    }
    assert_eq!(database.run("SELECT sum(seq) FROM task.heads"), "128");
}

#[tokio::test(flavor = "multi_thread")]
async fn r_040_a_query_without_an_owner_sees_nothing() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = migrated(cluster).await;
    database.run("INSERT INTO task.notes VALUES ('00000000-0000-0000-0000-000000000001', 1, 'a')");
    let postgres = open(&database).await;
    let all = Statement::new("all", "SELECT count(*) FROM task.notes");
    assert_eq!(number(&postgres.read(all.clone()).await.unwrap()), 0);
    let mine = "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
                SELECT t.n FROM me CROSS JOIN LATERAL (SELECT count(*) AS n FROM task.notes WHERE owner = me.owner OFFSET 0) t";
    let mine = Statement::new("mine", mine).bind("00000000-0000-0000-0000-000000000001");
    assert_eq!(number(&postgres.read(mine).await.unwrap()), 1);
    // What was set ended with the statement.
    assert_eq!(number(&postgres.read(all).await.unwrap()), 0);
    // Another service's role does not even see the table.
    let (stranger, chat) = (settings(&database, "errand_chat"), Schema { name: "chat", postgres: &[], ..SCHEMA });
    let foreign = Postgres::open(&stranger, &chat).await.unwrap();
    let refused = foreign.read(Statement::new("all", "SELECT count(*) FROM task.notes")).await.unwrap_err();
    assert!(refused.to_string().contains("permission denied"), "{refused}");
    for statement in ["INSERT INTO task._migrations VALUES (9, '', '')", "DELETE FROM task._migrations"] {
        let refused = postgres.write(Statement::new("forge", statement)).await.unwrap_err();
        assert!(refused.to_string().contains("permission denied"), "{refused}");
    }
}
