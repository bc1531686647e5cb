#[path = "tests/isolation_tests.rs"]
mod isolation;
#[path = "tests/load_tests.rs"]
mod load;

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU32, Ordering},
};

use errand_cluster::{Cluster, Database};
use secrecy::SecretString;

use super::*;
use crate::{
    SCHEMA,
    store::conformance::{self, NOW, user},
};

/// A database of its own with auth's schema in it; none where PostgreSQL is not installed.
pub(crate) fn migrated() -> Option<Database> {
    static TEMPLATE: OnceLock<Option<Database>> = OnceLock::new();
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let template = TEMPLATE.get_or_init(|| {
        let database = Cluster::shared()?.database();
        let settings = settings(&database, "errand_migrate");
        let migrate = async move { errand_storage::postgres::migrate::up(&settings, &SCHEMA).await };
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
        std::thread::spawn(move || runtime().unwrap().block_on(migrate)).join().unwrap().unwrap();
        Some(database)
    });
    let template = template.as_ref()?;
    let copy = template.named(&format!("{}_{}", template.name(), COUNT.fetch_add(1, Ordering::Relaxed)));
    template.named("postgres").run(&format!("CREATE DATABASE {} TEMPLATE {}", copy.name(), template.name()));
    Some(copy)
}

async fn fresh() -> Option<(Database, Postgres)> {
    let database = migrated()?;
    let store = Postgres::open(&settings(&database, "errand_auth"), &SCHEMA).await.unwrap();
    Some((database, store))
}

fn settings(database: &Database, role: &str) -> Settings {
    Settings::new(SecretString::from(database.url(role)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_does_what_every_store_does() {
    if Cluster::shared().is_none() {
        return;
    }
    let open = || async { Arc::new(fresh().await.unwrap().1) as Arc<dyn Store> };
    conformance::all(open).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_does_the_same_as_it_is_spoken_to_through_a_pooler() {
    if Cluster::shared().is_none() {
        return;
    }
    let open = || async {
        let database = migrated().unwrap();
        let settings = Settings { pooler: true, ..settings(&database, "errand_auth") };
        Arc::new(Postgres::open(&settings, &SCHEMA).await.unwrap()) as Arc<dyn Store>
    };
    conformance::all(open).await;
}

async fn signed_up(store: &Postgres) {
    let beginning = conformance::beginning(user(1), "ada@example.com", 1000);
    store.sign_up(user(1), beginning, conformance::origin()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_row_that_breaks_an_invariant_is_an_error_and_no_answer() {
    let Some((database, store)) = fresh().await else { return };
    signed_up(&store).await;
    database.run("UPDATE auth.users SET version = 0");
    let error = store.account(user(1), None).await.unwrap_err();
    assert!(matches!(error, Error::Inconsistent { table: "users", column: "version", .. }), "{error}");
    database.run("UPDATE auth.changes SET actor = 'nobody'");
    let error = store.changes(user(1), 0, 10).await.unwrap_err();
    assert!(matches!(error, Error::Inconsistent { table: "changes", column: "actor", .. }), "{error}");
    database.run("UPDATE auth.changes SET actor = 'user', after = '[]'");
    let error = store.changes(user(1), 0, 10).await.unwrap_err();
    assert!(matches!(error, Error::Inconsistent { table: "changes", column: "after", .. }), "{error}");
    database.run("UPDATE auth.sessions SET generation = -1");
    let error = store.sessions(user(1), None, 10, NOW).await.unwrap_err();
    assert!(matches!(error, Error::Inconsistent { table: "sessions", column: "generation", .. }), "{error}");
    database.run("UPDATE auth.sessions SET generation = 0, expire_time = 'infinity'");
    assert!(matches!(store.sessions(user(1), None, 10, NOW).await, Err(Error::Engine(_))));
}

#[tokio::test]
async fn after_closing_the_store_is_unavailable() {
    let Some((_database, store)) = fresh().await else { return };
    store.close().await;
    assert!(matches!(store.owner_of_email("a").await, Err(Error::Unavailable)));
    assert!(matches!(store.tidy(NOW, 10).await, Err(Error::Unavailable)));
}
