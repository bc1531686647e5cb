//! Replicas tell each other who wrote.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use errand_cluster::Cluster;
use errand_storage::{
    Postgres,
    postgres::{
        Settings, Statement,
        wake::{Heads, Wake},
    },
};
use uuid::Uuid;

use crate::{SCHEMA, eventually, migrated, open, settings};

const HEADS: &str = "SELECT owner, seq FROM task.heads WHERE owner = ANY($1)";

#[derive(Default)]
struct Watched {
    owners: Vec<Uuid>,
    found: Mutex<HashMap<Uuid, i64>>,
}

impl Heads for Watched {
    fn awaited(&self) -> Vec<Uuid> {
        self.owners.clone()
    }

    fn found(&self, owner: Uuid, seq: i64) {
        self.found.lock().unwrap().insert(owner, seq);
    }
}

impl Watched {
    fn seq(&self, owner: Uuid) -> i64 {
        self.found.lock().unwrap().get(&owner).copied().unwrap_or_default()
    }
}

async fn write(postgres: &Postgres, owner: Uuid, seq: i64) {
    let sql = "INSERT INTO task.heads VALUES ($1, $2) ON CONFLICT (owner) DO UPDATE SET seq = excluded.seq";
    postgres.write(Statement::new("head", sql).bind(owner).bind(seq)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_hears_of_what_another_one_wrote() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = migrated(cluster).await;
    let (one, other) = (open(&database).await, open(&database).await);
    // Nobody awaits anything: polling finds nothing, so this is the notification.
    let (heard, nothing) = (Arc::<Watched>::default(), Arc::<Watched>::default());
    let ear = Wake::start(&one, HEADS, heard.clone());
    let mouth = Wake::start(&other, HEADS, nothing);
    for seq in 1..4 {
        let owners: Vec<_> = (0..500).map(Uuid::from_u128).collect();
        // A listener that is not there yet hears nothing; so this is said until it is heard.
        eventually("heard", async || {
            owners.iter().for_each(|owner| mouth.tell(*owner, seq));
            owners.iter().all(|owner| heard.seq(*owner) == seq)
        })
        .await;
    }
    assert_eq!(one.statements() + other.statements(), 0);
    drop((ear, mouth));
    let listening =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN%'";
    eventually("silent", async || database.run(listening) == "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_direct_connection_heads_are_asked_for() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = migrated(cluster).await;
    let writer = open(&database).await;
    let pooled = Settings { pooler: true, ..settings(&database, "errand_task") };
    let reader = Postgres::open(&pooled, &SCHEMA).await.unwrap();
    let owner = Uuid::from_u128(1);
    let heard = Arc::new(Watched { owners: vec![owner], ..Watched::default() });
    let _ear = Wake::start(&reader, HEADS, heard.clone());
    for seq in 1..4 {
        write(&writer, owner, seq).await;
        eventually("found", async || heard.seq(owner) == seq).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_come_again_after_the_server_was_away() {
    let Some(cluster) = Cluster::start() else { return };
    let database = migrated(&cluster).await;
    let (one, other) = (open(&database).await, open(&database).await);
    let owner = Uuid::from_u128(1);
    let (heard, nothing) = (Arc::<Watched>::default(), Arc::<Watched>::default());
    let _ear = Wake::start(&one, HEADS, heard.clone());
    let mouth = Wake::start(&other, HEADS, nothing);
    for seq in 1..3 {
        eventually("heard", async || {
            mouth.tell(owner, seq);
            heard.seq(owner) == seq
        })
        .await;
        tokio::task::block_in_place(|| {
            cluster.kill9();
            cluster.restart();
        });
    }
}
