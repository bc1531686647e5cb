//! Large tables and many writers.

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config as Cases, TestRunner},
};
use sqlx::{Connection, Executor, PgConnection};

use super::*;
use crate::{
    domain::{account::PasswordHash, session::Session},
    store::conformance::{Step, a_log_replayed_is_the_table, beginning, held},
};

/// The tables of so many other users.
fn crowd(database: &Database, users: u32) {
    database.run(&format!(
        "SET session_replication_role = replica;
         CREATE TEMP TABLE crowd AS SELECT n, ('ffffffff-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS owner
         FROM generate_series(1, {users}) AS n;
         INSERT INTO auth.users SELECT owner, n || '@crowd', 'hash', '', 'UTC', 1, now(), now() FROM crowd;
         INSERT INTO auth.emails SELECT n || '@crowd', owner FROM crowd;
         INSERT INTO auth.heads SELECT owner, 2, 'infinity' FROM crowd;
         INSERT INTO auth.sessions SELECT owner, owner, 0, decode(repeat('aa', 32), 'hex'), '', '', now(), now(),
             '2100-01-01' FROM crowd;
         INSERT INTO auth.session_owners SELECT owner, owner, '2100-01-01' FROM crowd;
         INSERT INTO auth.changes SELECT owner, 1, now(), 'user', NULL, NULL, 'sign_up', NULL, '{{}}' FROM crowd;
         INSERT INTO auth.requests SELECT owner, 'r', 'm', decode(repeat('aa', 32), 'hex'), '', '2100-01-01' FROM crowd;
         INSERT INTO auth.erasures SELECT owner, 'nobody', 0, '2100-01-01' FROM crowd;
         ANALYZE auth.users, auth.emails, auth.heads, auth.sessions, auth.session_owners, auth.changes, auth.requests,
             auth.erasures"
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_does_the_same_on_tables_of_1_10_and_100_000_rows_and_reads_none_of_them_through() {
    for users in [1, 10, 100_000] {
        let Some((database, store)) = fresh().await else { return };
        crowd(&database, users);
        database.run("SELECT pg_stat_reset()");
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        conformance::every_write(shared).await;
        store.close().await;
        if users == 100_000 {
            // What a connection did is told at the latest when it ends.
            let scans = "SELECT string_agg(relname || ' ' || seq_scan, ', ') FROM pg_stat_user_tables
                WHERE schemaname = 'auth' AND relname NOT IN ('signing_keys', '_migrations') AND seq_scan > 0";
            let done =
                "SELECT count(*) FROM pg_stat_activity WHERE usename = 'errand_auth' AND datname = current_database()";
            while database.run(done) != "0" {
                tokio::task::yield_now().await;
            }
            assert_eq!(database.run(scans), "", "a table was read through");
            let used = database.run("SELECT sum(idx_scan) > 0 FROM pg_stat_user_tables WHERE schemaname = 'auth'");
            assert_eq!(used, "t", "what was done is counted");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_random_history_replayed_from_the_log_is_the_table() {
    let step = prop_oneof![
        any::<u8>().prop_map(Step::Rename),
        Just(Step::LogIn),
        any::<usize>().prop_map(Step::End),
        any::<usize>().prop_map(Step::ChangePassword),
        any::<usize>().prop_map(Step::Rotate),
    ];
    let steps = prop::collection::vec(step, 0..40);
    let mut runner = TestRunner::new(Cases::default());
    for _ in 0..5 {
        let Some((_database, store)) = fresh().await else { return };
        let steps = steps.new_tree(&mut runner).unwrap().current();
        a_log_replayed_is_the_table(Arc::new(store), steps).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_077_64_writers_of_four_users_see_no_fault() {
    let Some((_database, store)) = fresh().await else { return };
    for number in 1..=4 {
        let beginning = beginning(user(number), &format!("{number}@example.com"), number * 1000);
        store.sign_up(user(number), beginning, conformance::origin()).await.unwrap().unwrap();
    }
    let tasks: Vec<_> = (0..64_u128)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let owner = user(number % 4 + 1);
                let id = Uuid::from_u128(10_000 + number);
                for round in 0..10 {
                    let session = Session::new(id, "", String::new(), NOW);
                    let held = Held { session: session.clone(), secret_hash: [1; 32] };
                    let (account, verified) = store.credential(owner).await.unwrap().unwrap();
                    let opening = Opening { held, verified: verified.clone(), upgraded: None };
                    store.open_session(owner, opening, conformance::origin(), NOW).await.unwrap();
                    let next = Held { session: session.rotated(1, NOW), secret_hash: [2; 32] };
                    store.rotate(owner, next).await.unwrap();
                    store.update(owner, account, conformance::origin(), NOW).await.unwrap();
                    let hash = PasswordHash::new(format!("{number} {round}"));
                    store.change_password(owner, verified, hash, id, conformance::origin(), NOW).await.unwrap();
                    store.end_session(owner, id, Ending::LoggedOut, conformance::origin(), NOW).await.unwrap();
                    store.tidy(NOW, 10).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for number in 1..=4 {
        let changes = store.changes(user(number), 0, usize::MAX).await.unwrap();
        assert!((1..).zip(&changes).all(|(seq, change)| change.seq == seq), "the log has no gap");
    }
}

#[tokio::test]
async fn one_process_at_a_time_keeps_house_and_waits_for_no_writer() {
    let Some((database, store)) = fresh().await else { return };
    signed_up(&store).await;
    let end = NOW + crate::domain::session::LIFETIME;
    let mut other = PgConnection::connect(&database.url("errand_auth")).await.unwrap();
    other.execute("BEGIN; SELECT pg_advisory_xact_lock(hashtext('auth.tidy'))").await.unwrap();
    assert!(!store.tidy(end, 10).await.unwrap(), "another process is at it");
    other.execute("COMMIT; BEGIN; SELECT FROM auth.heads FOR UPDATE").await.unwrap();
    assert!(!store.tidy(end, 10).await.unwrap(), "whose data is being written is left for the next time");
    other.execute("COMMIT").await.unwrap();
    assert!(store.tidy(end, 10).await.unwrap());
    assert!(!store.tidy(end, 10).await.unwrap());
    assert_eq!(database.run("SELECT count(*) FROM auth.sessions"), "0");
}

#[tokio::test]
async fn what_was_copied_without_knowing_when_to_look_is_looked_at_once() {
    let Some((database, store)) = fresh().await else { return };
    signed_up(&store).await;
    let held = held(1000, NOW);
    database.run("UPDATE auth.session_owners SET look_time = DEFAULT; UPDATE auth.heads SET look_time = DEFAULT");
    while store.tidy(NOW, 10).await.unwrap() {}
    assert_eq!(store.session(user(1), held.session.id).await.unwrap().unwrap().0, held);
    assert_eq!(database.run("SELECT count(*) FROM auth.heads WHERE look_time = 'infinity'"), "1");
    let known = "SELECT count(*) FROM auth.session_owners NATURAL JOIN auth.sessions WHERE look_time = expire_time";
    assert_eq!(database.run(known), "1");
}
