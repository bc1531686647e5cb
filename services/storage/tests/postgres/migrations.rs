//! Schemas are brought forward step by step, whoever else does so and whatever ends it.

use errand_cluster::Cluster;
use errand_storage::{
    Error, Migration, Postgres, Schema,
    postgres::migrate::{plan, status, up},
};

use crate::{eventually, settings};

const FIRST: Migration = Migration { version: 1, name: "first", sql: "CREATE TABLE task.a (x int);" };
const SECOND: Migration =
    Migration { version: 2, name: "second", sql: "CREATE TABLE task.b (x int); INSERT INTO task.a VALUES (1);" };

fn schema(postgres: &'static [Migration]) -> Schema {
    Schema { name: "task", sqlite: &[], postgres, tables: &[], exempt: &[] }
}

fn both() -> Schema {
    schema(&[FIRST, SECOND])
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_applied_once_and_in_order() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = tokio::task::block_in_place(|| cluster.database());
    let migrate = settings(&database, "errand_migrate");
    let planned = plan(&migrate, &both()).await.unwrap();
    assert_eq!(planned.iter().map(|step| step.version).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(up(&migrate, &schema(&[FIRST])).await, Ok(vec![1]));
    let applied: Vec<_> = status(&migrate, &both()).await.unwrap().into_iter().map(|step| step.applied).collect();
    assert_eq!(applied, [true, false]);
    assert_eq!(up(&migrate, &both()).await, Ok(vec![2]));
    assert_eq!(up(&migrate, &both()).await, Ok(vec![]));
    assert!(plan(&migrate, &both()).await.unwrap().is_empty());
    assert_eq!(database.run("SELECT count(*) FROM task.a"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_leaves_nothing_behind() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = tokio::task::block_in_place(|| cluster.database());
    let migrate = settings(&database, "errand_migrate");
    const BROKEN: Migration =
        Migration { version: 2, name: "broken", sql: "CREATE TABLE task.b (x int); SELECT nonsense;" };
    assert!(matches!(up(&migrate, &schema(&[FIRST, BROKEN])).await, Err(Error::Engine(_))));
    assert_eq!(database.run("SELECT to_regclass('task.a') IS NOT NULL, to_regclass('task.b') IS NULL"), "t|t");
    assert_eq!(up(&migrate, &both()).await, Ok(vec![2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_serves_its_own_schema_and_no_other() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = tokio::task::block_in_place(|| cluster.database());
    let (migrate, task) = (settings(&database, "errand_migrate"), settings(&database, "errand_task"));
    let opened = async |schema: &Schema| Postgres::open(&task, schema).await.map(drop);
    assert_eq!(opened(&both()).await, Err(Error::BehindSchema { found: 0, known: 2 }));
    up(&migrate, &schema(&[FIRST])).await.unwrap();
    assert_eq!(opened(&both()).await, Err(Error::BehindSchema { found: 1, known: 2 }));
    up(&migrate, &both()).await.unwrap();
    assert_eq!(opened(&both()).await, Ok(()));
    assert_eq!(opened(&schema(&[FIRST])).await, Err(Error::NewerSchema { found: 2, known: 1 }));
    assert_eq!(up(&migrate, &schema(&[FIRST])).await, Err(Error::NewerSchema { found: 2, known: 1 }));
    const EDITED: Migration = Migration { version: 1, name: "first", sql: "CREATE TABLE task.other (x int);" };
    assert_eq!(opened(&schema(&[EDITED, SECOND])).await, Err(Error::ChangedMigration { version: 1 }));
    assert_eq!(up(&migrate, &schema(&[EDITED, SECOND])).await, Err(Error::ChangedMigration { version: 1 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_twice_at_once_applies_each_step_once() {
    let Some(cluster) = Cluster::shared() else { return };
    let database = tokio::task::block_in_place(|| cluster.database());
    let runs: Vec<_> = (0..8)
        .map(|_| {
            let migrate = settings(&database, "errand_migrate");
            tokio::spawn(async move { up(&migrate, &both()).await.unwrap() })
        })
        .collect();
    let mut applied = Vec::new();
    for run in runs {
        applied.extend(run.await.unwrap());
    }
    applied.sort_unstable();
    assert_eq!(applied, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn r_109_a_run_that_is_killed_inside_of_any_step_is_completed_by_the_next() {
    let Some(cluster) = Cluster::shared() else { return };
    const SLOW: &[Migration] = &[
        Migration {
            version: 1,
            name: "one",
            sql: "CREATE TABLE task.a (x int); SELECT pg_sleep(60) FROM public.slow WHERE step = 1;",
        },
        Migration {
            version: 2,
            name: "two",
            sql: "INSERT INTO task.a VALUES (1); SELECT pg_sleep(60) FROM public.slow WHERE step = 2;",
        },
        Migration {
            version: 3,
            name: "three",
            sql: "CREATE TABLE task.b (x int); SELECT pg_sleep(60) FROM public.slow WHERE step = 3;",
        },
    ];
    let database = tokio::task::block_in_place(|| cluster.database());
    let migrate = settings(&database, "errand_migrate");
    database.run(
        "CREATE TABLE public.slow (step int); INSERT INTO public.slow VALUES (1);
         GRANT USAGE ON SCHEMA public TO errand_migrate; GRANT SELECT ON public.slow TO errand_migrate",
    );
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'errand-migrate'
                  AND datname = current_database() AND wait_event = 'PgSleep'";
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'errand-migrate'
                AND datname = current_database()";
    for step in 1..=3 {
        database.run(&format!("UPDATE public.slow SET step = {step}"));
        let run = tokio::spawn({
            let migrate = migrate.clone();
            async move { up(&migrate, &schema(SLOW)).await }
        });
        eventually("in the step", async || database.run(asleep) == "1").await;
        database.run(kill);
        assert_eq!(run.await.unwrap(), Err(Error::Unavailable));
        let found = status(&migrate, &schema(SLOW)).await.unwrap().iter().filter(|step| step.applied).count();
        assert_eq!(found, step - 1);
    }
    database.run("DELETE FROM public.slow");
    assert_eq!(up(&migrate, &schema(SLOW)).await, Ok(vec![3]));
    assert_eq!(database.run("SELECT count(*) FROM task.a"), "1");
}
