use std::sync::Arc;

use proptest::prelude::*;
use rusqlite::Connection;

use super::*;
use crate::store::conformance::{self, NOW, Step, user};

fn fresh() -> (tempfile::TempDir, Sqlite) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auth.db");
    errand_storage::migrate::up(&path, MIGRATIONS).unwrap();
    let store = Sqlite::open(&path).unwrap();
    (folder, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_does_what_every_store_does() {
    let folders = std::sync::Mutex::new(Vec::new());
    let open = || {
        let (folder, store) = fresh();
        folders.lock().unwrap().push(folder);
        std::future::ready(Arc::new(store) as Arc<dyn Store>)
    };
    conformance::all(open).await;
}

#[tokio::test]
async fn every_write_does_the_same_on_tables_of_1_10_and_100_000_rows() {
    for users in [1, 10, 100_000] {
        let (folder, store) = fresh();
        let crowd = format!(
            "CREATE TEMP TABLE crowd AS WITH RECURSIVE crowd (n) AS
                 (SELECT 1 UNION ALL SELECT n + 1 FROM crowd WHERE n < {users})
                 SELECT n, unhex(format('ffffffff000070008000%012x', n)) AS owner FROM crowd;
             INSERT INTO users SELECT owner, n || '@crowd', 'hash', '', 'UTC', 1, 0, 0, NULL FROM crowd;
             INSERT INTO emails SELECT n || '@crowd', owner, NULL FROM crowd;
             INSERT INTO heads SELECT owner, 2 FROM crowd;
             INSERT INTO sessions SELECT owner, owner, 0, zeroblob(32), '', '', 0, 0, 4102444800000000 FROM crowd;
             INSERT INTO session_owners SELECT owner, owner FROM crowd;
             INSERT INTO changes SELECT owner, 1, 0, 'user', NULL, NULL, 'sign_up', NULL, '{{}}' FROM crowd;
             INSERT INTO requests SELECT owner, 'r', 'm', zeroblob(32), x'', 4102444800000000 FROM crowd;
             INSERT INTO erasures SELECT owner, 'nobody', 0, 4102444800000000 FROM crowd;"
        );
        tamper(&folder, &format!("BEGIN; {crowd} COMMIT;"));
        conformance::every_write(Arc::new(store)).await;
    }
}

/// Changes the file behind the store's back.
fn tamper(folder: &tempfile::TempDir, sql: &str) {
    let connection = Connection::open(folder.path().join("auth.db")).unwrap();
    connection.pragma_update(None, "foreign_keys", false).unwrap();
    connection.execute_batch(sql).unwrap();
}

async fn signed_up(store: &Sqlite) {
    let beginning = conformance::beginning(user(1), "ada@example.com", 1000);
    let origin = Origin { actor: Actor::User, turn: None, request: None };
    store.sign_up(user(1), beginning, origin).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_row_that_breaks_an_invariant_is_an_error_and_no_answer() {
    let (folder, store) = fresh();
    signed_up(&store).await;
    tamper(&folder, "UPDATE users SET version = 0");
    let error = store.account(user(1), None).await.unwrap_err();
    assert!(matches!(error, Error::Inconsistent { table: "users", column: "version", .. }), "{error}");
    tamper(&folder, "UPDATE changes SET actor = 'nobody'");
    let error = store.changes(user(1), 0, 10).await.unwrap_err();
    assert!(matches!(error, Error::Inconsistent { table: "changes", column: "actor", .. }), "{error}");
    tamper(&folder, "UPDATE changes SET actor = 'user', after = 'no json'");
    let error = store.changes(user(1), 0, 10).await.unwrap_err();
    assert!(matches!(error, Error::Inconsistent { table: "changes", column: "after", .. }), "{error}");
    tamper(&folder, "UPDATE sessions SET expire_time = 9223372036854775807");
    assert!(matches!(store.sessions(user(1), None, 10, NOW).await, Err(Error::Engine(_))));
}

#[tokio::test]
async fn after_closing_the_store_is_busy() {
    let (_folder, store) = fresh();
    store.close().await;
    assert!(matches!(store.owner_of_email("a").await, Err(Error::Busy)));
    assert!(matches!(store.tidy(NOW, 10).await, Err(Error::Busy)));
}

#[tokio::test]
async fn r_026_what_was_ended_stays_ended_when_the_file_is_opened_again() {
    let (folder, store) = fresh();
    signed_up(&store).await;
    let origin = Origin { actor: Actor::User, turn: None, request: None };
    let id = Uuid::from_u128(1000);
    assert!(store.end_session(user(1), id, Ending::Revoked, origin, NOW).await.unwrap());
    // No close: the first store is as good as killed.
    let again = Sqlite::open(&folder.path().join("auth.db")).unwrap();
    assert_eq!(again.owner_of_session(id).await.unwrap(), None);
    assert!(again.account(user(1), None).await.unwrap().account.is_some());
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        any::<u8>().prop_map(Step::Rename),
        Just(Step::LogIn),
        any::<usize>().prop_map(Step::End),
        any::<usize>().prop_map(Step::ChangePassword),
        any::<usize>().prop_map(Step::Rotate),
    ];
    prop::collection::vec(step, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn a_random_history_replayed_from_the_log_is_the_table(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (_folder, store) = fresh();
        runtime.block_on(conformance::a_log_replayed_is_the_table(Arc::new(store), steps));
    }
}
