//! A server that goes away, hangs, and comes back.

use std::time::Duration;

use errand_cluster::Cluster;
use errand_storage::{Error, Postgres, postgres::Statement};
use tokio::time::{Instant, timeout};

use crate::{SCHEMA, eventually, migrated, number, open, settings};

const ONE: &str = "SELECT 1::int8";
/// The server is slow under load, so more than the second or two that it takes.
const SOON: Duration = Duration::from_secs(5);

fn one() -> Statement {
    Statement::new("one", ONE)
}

#[tokio::test(flavor = "multi_thread")]
async fn r_105_after_a_crash_calls_work_again_by_themselves() {
    let Some(cluster) = Cluster::start() else { return };
    let database = migrated(&cluster).await;
    let postgres = open(&database).await;
    let mut ready = postgres.ready();
    let mut stored = 0_u64;
    for round in 0..4 {
        let writers: Vec<_> = (0..4).map(|_| tokio::spawn(write_until_it_fails(postgres.clone()))).collect();
        tokio::task::block_in_place(|| {
            while database.run("SELECT count(*) FROM task.heads").parse::<u64>().unwrap() < stored + 20 {}
            if round % 2 == 0 { cluster.kill9() } else { cluster.stop_immediate() }
        });
        for writer in writers {
            let (acknowledged, error) = writer.await.unwrap();
            stored += acknowledged;
            assert!(matches!(error, Error::OutcomeUnknown | Error::Unavailable), "{error:?}");
        }
        eventually("refused", async || postgres.read(one()).await.is_err()).await;
        assert_eq!(postgres.read(one()).await.unwrap_err(), Error::Unavailable);
        assert_eq!(postgres.write(one()).await.unwrap_err(), Error::Unavailable);
        assert!(!ready.takes_writes());
        tokio::task::block_in_place(|| cluster.restart());
        let since = Instant::now();
        eventually("back", async || postgres.write(one()).await.is_ok()).await;
        assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
        assert!(
            timeout(SOON, async {
                while !ready.takes_writes() {
                    ready.changed().await;
                }
            })
            .await
            .is_ok()
        );
        let found: u64 = database.run("SELECT count(*) FROM task.heads").parse().unwrap();
        assert!((stored..=stored + 4 * (round + 1)).contains(&found), "{stored} acknowledged, {found} found");
    }
}

async fn write_until_it_fails(postgres: Postgres) -> (u64, Error) {
    let insert = Statement::new("insert", "INSERT INTO task.heads VALUES (gen_random_uuid(), 1)");
    for acknowledged in 0.. {
        if let Err(error) = postgres.write(insert.clone()).await {
            return (acknowledged, error);
        }
    }
    unreachable!("it fails")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_survives_the_loss_of_its_connection() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = migrated(cluster).await;
    let postgres = open(&database).await;
    for _ in 0..3 {
        let reads: Vec<_> = (0..5)
            .map(|_| {
                let postgres = postgres.clone();
                tokio::spawn(async move {
                    postgres.read(Statement::new("sleep", "SELECT 1::int8 FROM pg_sleep(0.2)")).await
                })
            })
            .collect();
        let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE datname = current_database() AND usename = 'errand_task' AND query LIKE '%pg_sleep%'";
        eventually("killed", async || database.run(kill) != "0").await;
        for read in reads {
            assert_eq!(number(&read.await.unwrap().unwrap()), 1);
        }
        // The idle ones were lost with them, and nobody notices.
        database.run(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                      WHERE datname = current_database() AND usename = 'errand_task'",
        );
        assert_eq!(number(&postgres.read(one()).await.unwrap()), 1);
        postgres.write(one()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r_106_a_server_that_hangs_costs_no_connection() {
    let Some(cluster) = Cluster::start() else { return };
    let database = migrated(&cluster).await;
    let postgres = open(&database).await;
    let mut ready = postgres.ready();
    postgres.read(one()).await.unwrap();
    cluster.pause();
    for _ in 0..20 {
        let gone = timeout(Duration::from_millis(20), postgres.read(one())).await;
        assert!(gone.is_err() || gone.unwrap().is_err());
    }
    let writes: Vec<_> = (0..20)
        .map(|_| {
            let postgres = postgres.clone();
            tokio::spawn(async move { timeout(Duration::from_millis(100), postgres.write(one())).await })
        })
        .collect();
    for write in writes {
        let gone = write.await.unwrap();
        assert!(gone.is_err() || gone.unwrap().is_err());
    }
    assert!(!timeout(Duration::from_secs(20), ready.changed()).await.unwrap());
    assert_eq!(postgres.read(one()).await.unwrap_err(), Error::Unavailable);
    cluster.resume();
    let since = Instant::now();
    eventually("back", async || postgres.write(one()).await.is_ok()).await;
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    // As many as before can work at the same time.
    let reads: Vec<_> = (0..10)
        .map(|_| {
            let postgres = postgres.clone();
            tokio::spawn(
                async move { postgres.read(Statement::new("sleep", "SELECT 1::int8 FROM pg_sleep(0.1)")).await },
            )
        })
        .collect();
    for read in reads {
        assert_eq!(number(&read.await.unwrap().unwrap()), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_at_the_start_is_told_at_once() {
    let away = errand_storage::postgres::Settings::new("postgres://errand_task:secret@127.0.0.1:1/errand".into());
    assert_eq!(Postgres::open(&away, &SCHEMA).await.unwrap_err(), Error::Unavailable);
    let wrong = errand_storage::postgres::Settings::new("mysql://errand_task:secret@127.0.0.1:1/errand".into());
    let error = Postgres::open(&wrong, &SCHEMA).await.unwrap_err().to_string();
    assert!(!error.contains("secret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_closed_takes_nothing_and_leaves_no_connection() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = migrated(cluster).await;
    let postgres = Postgres::open(&settings(&database, "errand_task"), &SCHEMA).await.unwrap();
    postgres.read(one()).await.unwrap();
    postgres.close().await;
    assert_eq!(postgres.read(one()).await.unwrap_err(), Error::Unavailable);
    let connected =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'errand_task'";
    eventually("gone", async || database.run(connected) == "0").await;
}
