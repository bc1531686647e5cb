//! A session of the superuser that holds a table, so that whoever needs it waits.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::sandbox::Sandbox;

/// Holds a table until it goes out of scope.
pub(crate) struct Held(Child);

impl Held {
    pub(crate) fn table(sandbox: &Sandbox, table: &str) -> Self {
        let mut psql = Command::new(errand_cluster::program("psql"))
            .args(["-X", "-q", "-A", "-t", "-d", &sandbox.ground.url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let ask = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT 'held';\n");
        psql.stdin.as_mut().unwrap().write_all(ask.as_bytes()).unwrap();
        let mut said = String::new();
        BufReader::new(psql.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said.trim(), "held");
        Self(psql)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many statements of a service wait for a lock.
fn waiting(sandbox: &Sandbox, service: &str) -> usize {
    let count = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'errand_{service}' AND datname = current_database() \
         AND state = 'active' AND wait_event_type = 'Lock'"
    );
    sandbox.ground.run(&count).trim().parse().unwrap()
}

/// Waits until this many do, and says how long that took.
pub(crate) async fn until_waiting(sandbox: &Sandbox, service: &str, count: usize) -> Duration {
    let began = Instant::now();
    let patience = async {
        while tokio::task::block_in_place(|| waiting(sandbox, service)) != count {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), patience).await;
    assert!(waited.is_ok(), "{} statements wait, not {count}", waiting(sandbox, service));
    began.elapsed()
}
