//! Who goes away takes a read along, and nothing else.

use std::time::Duration;

use errand_cluster::Cluster;
use errand_storage::{
    Postgres,
    postgres::{Settings, Statement},
};
use tokio::time::{Instant, timeout};

use crate::{SCHEMA, eventually, migrated, number, open, settings};

const RUNNING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = 'errand_task' AND state = 'active'";

#[tokio::test(flavor = "multi_thread")]
async fn r_130_a_read_that_nobody_waits_for_is_cancelled_on_the_server() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = migrated(cluster).await;
    let postgres = open(&database).await;
    let read = tokio::spawn({
        let postgres = postgres.clone();
        async move { postgres.read(Statement::new("sleep", "SELECT pg_sleep(60)")).await }
    });
    eventually("running", async || database.run(RUNNING) == "1").await;
    read.abort();
    let since = Instant::now();
    eventually("cancelled", async || database.run(RUNNING) == "0").await;
    assert!(since.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn r_129_a_late_cancel_never_hits_another_caller() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = migrated(cluster).await;
    let settings =
        Settings { connections: 2, acquire_timeout: Duration::from_secs(60), ..settings(&database, "errand_task") };
    let postgres = Postgres::open(&settings, &SCHEMA).await.unwrap();
    let mut tasks = Vec::new();
    for n in 0_u64..8 {
        let postgres = postgres.clone();
        tasks.push(tokio::spawn(async move {
            for round in 0..50 {
                if n % 2 == 0 {
                    // Dropped at every moment of its life.
                    let sleep = postgres.read(Statement::new("sleep", "SELECT pg_sleep(0.002)"));
                    let _ = timeout(Duration::from_micros(100 * (n * 50 + round) % 4000), sleep).await;
                } else {
                    let honest = Statement::new("honest", "SELECT $1 FROM pg_sleep(0.001)").bind(round as i64);
                    assert_eq!(number(&postgres.read(honest).await.unwrap()), round as i64);
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    // Both connections are in the pool again, or can be made again.
    for _ in 0..4 {
        postgres.read(Statement::new("one", "SELECT 1")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_goes_on_when_its_caller_goes_away() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = migrated(cluster).await;
    let postgres = open(&database).await;
    let write = tokio::spawn({
        let postgres = postgres.clone();
        let sql = "WITH slow AS MATERIALIZED (SELECT 1 FROM pg_sleep(0.3))
                   INSERT INTO task.heads SELECT gen_random_uuid(), 1 FROM slow";
        async move { postgres.write(Statement::new("slow", sql)).await }
    });
    eventually("running", async || database.run(RUNNING) == "1").await;
    write.abort();
    eventually("written", async || database.run("SELECT count(*) FROM task.heads") == "1").await;
}
