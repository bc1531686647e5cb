//! Behind the real pgbouncer, in transaction mode.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use errand_cluster::{Cluster, Database, bouncer, unprivileged};
use errand_storage::{
    Error, Postgres,
    postgres::{Settings, Statement},
};
use sqlx::Row as _;
use tokio::time::timeout;

use crate::{SCHEMA, eventually, migrated, number};

/// A pgbouncer of this test.
struct Bouncer {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Bouncer {
    /// Two connections to the server for all of its clients.
    async fn start(cluster: &Cluster) -> Option<Self> {
        let program = bouncer()?;
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = spawn(&program, folder.path(), port, cluster.port());
        eventually("listening", async || TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
        Some(Self { process, port, _folder: folder })
    }

    fn settings(&self, database: &Database) -> Settings {
        let url = format!("postgres://errand_task@127.0.0.1:{}/{}", self.port, database.name());
        Settings { pooler: true, ..Settings::new(url.into()) }
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(program: &Path, folder: &Path, port: u16, server: u16) -> Child {
    let configuration = format!(
        "[databases]\n* = user=errand_task host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         unix_socket_dir =\nauth_type = any\nadmin_users = admin\npool_mode = transaction\ndefault_pool_size = 2\n\
         max_client_conn = 200\nserver_login_retry = 1\n"
    );
    let file = folder.join("pgbouncer.ini");
    fs::write(&file, configuration).unwrap();
    errand_cluster::give_away(folder);
    errand_cluster::give_away(&file);
    let log = fs::File::create(folder.join("log")).unwrap();
    unprivileged(program).arg(&file).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_many_callers_share_two_connections() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = migrated(cluster).await;
    let Some(bouncer) = Bouncer::start(cluster).await else { return };
    let postgres = Postgres::open(&bouncer.settings(&database), &SCHEMA).await.unwrap();
    let callers: Vec<_> = (0..16_i64)
        .map(|caller| {
            let postgres = postgres.clone();
            tokio::spawn(async move {
                for round in 0..20 {
                    // Of every statement the same text, so that what one connection knows by a name another may not.
                    let sql = "SELECT set_config('errand.owner', $1, true), $2 + (SELECT count(*) FROM task.notes)";
                    let owner = uuid::Uuid::from_u128(caller as u128).to_string();
                    let statement = Statement::new("echo", sql).bind(owner).bind(caller * 100 + round);
                    let rows =
                        if round % 2 == 0 { postgres.read(statement).await } else { postgres.write(statement).await };
                    assert_eq!(rows.unwrap()[0].try_get::<i64, _>(1).unwrap(), caller * 100 + round);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let failing = postgres.write(Statement::new("fails", "SELECT 1 / $1").bind(0)).await.unwrap_err();
    assert!(matches!(failing, Error::Engine(_)), "{failing:?}");
    // Nothing is left of an owner on the connections, and no transaction is left open.
    let left = Statement::new("left", "SELECT count(nullif(current_setting('errand.owner', true), ''))");
    for _ in 0..8 {
        assert_eq!(number(&postgres.read(left.clone()).await.unwrap()), 0);
    }
    let server = "SELECT count(*) || ' ' || count(*) FILTER (WHERE state LIKE 'idle in%') FROM pg_stat_activity
                  WHERE datname = current_database() AND usename = 'errand_task'";
    assert_eq!(database.run(server), "2 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn r_130_a_read_is_cancelled_through_the_pooler_and_hits_nobody_else() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = migrated(cluster).await;
    let Some(bouncer) = Bouncer::start(cluster).await else { return };
    let postgres = Postgres::open(&bouncer.settings(&database), &SCHEMA).await.unwrap();
    let sleeping =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let long = tokio::spawn({
        let postgres = postgres.clone();
        async move { postgres.read(Statement::new("sleep", "SELECT pg_sleep(60)")).await }
    });
    eventually("running", async || database.run(sleeping) == "1").await;
    long.abort();
    eventually("cancelled", async || database.run(sleeping) == "0").await;
    let callers: Vec<_> = (0_u64..8)
        .map(|caller| {
            let postgres = postgres.clone();
            tokio::spawn(async move {
                for round in 0..30 {
                    if caller % 2 == 0 {
                        let sleep = postgres.read(Statement::new("sleep", "SELECT pg_sleep(0.002)"));
                        let _ = timeout(Duration::from_micros(150 * (caller * 30 + round) % 6000), sleep).await;
                    } else {
                        postgres.read(Statement::new("honest", "SELECT 1 FROM pg_sleep(0.001)")).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r_105_a_crash_behind_the_pooler_heals_by_itself() {
    let Some(cluster) = Cluster::start() else { return };
    let database = migrated(&cluster).await;
    let Some(bouncer) = Bouncer::start(&cluster).await else { return };
    let settings = Settings { acquire_timeout: Duration::from_secs(1), ..bouncer.settings(&database) };
    let postgres = Postgres::open(&settings, &SCHEMA).await.unwrap();
    let insert = Statement::new("insert", "INSERT INTO task.heads VALUES (gen_random_uuid(), $1)").bind(1_i64);
    postgres.write(insert.clone()).await.unwrap();
    tokio::task::block_in_place(|| cluster.kill9());
    for _ in 0..5 {
        let error =
            timeout(Duration::from_secs(8), postgres.write(insert.clone())).await.expect("an answer").unwrap_err();
        assert!(matches!(error, Error::Unavailable | Error::OutcomeUnknown | Error::Busy), "{error:?}");
    }
    tokio::task::block_in_place(|| cluster.restart());
    eventually("back", async || postgres.write(insert.clone()).await.is_ok()).await;
    let past = Postgres::open(&crate::settings(&database, "errand_task"), &SCHEMA).await.unwrap();
    assert_eq!(number(&past.read(Statement::new("count", "SELECT count(*) FROM task.heads")).await.unwrap()), 2);
}
