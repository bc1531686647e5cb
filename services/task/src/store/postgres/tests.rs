//! What is so on PostgreSQL alone: the second wall, plans, tables of every size.

use errand_storage::postgres::migrate;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

use super::*;
use crate::{
    SCHEMA,
    domain::{
        filter::{Filter, Order},
        write::{Draft, Patch, Write},
    },
    store::{
        Difference, Step,
        conformance::{act, at, by_user, create, draft, due, id, labels, renamed, requested, server, step, user, walk},
    },
};

type Tables = [(&'static str, i64); 4];

async fn connect(database: &errand_cluster::Database, role: &str) -> PgConnection {
    PgConnection::connect(&database.url(role)).await.unwrap()
}

/// Rows of the tables with content that a connection can see.
async fn seen(connection: &mut PgConnection) -> Tables {
    let sql = "SELECT (SELECT count(*) FROM task.tasks), (SELECT count(*) FROM task.labels),
                      (SELECT count(*) FROM task.changes), (SELECT count(*) FROM task.requests)";
    let row = connection.fetch_one(sql).await.unwrap();
    [("tasks", row.get(0)), ("labels", row.get(1)), ("changes", row.get(2)), ("requests", row.get(3))]
}

async fn one(store: &Postgres, owner: UserId) {
    let new = Draft { labels: labels(&["a"]), ..draft("x") };
    let task = Write::Create(new);
    let step = step(id(1), None, &task, at(0)).unwrap();
    store.commit(owner, requested("r1", "x"), vec![step].into(), at(0)).await.unwrap();
}

#[tokio::test]
async fn r_040_a_statement_without_an_owner_sees_nothing_and_changes_nothing() {
    let Some((store, database)) = server().await else { return };
    one(&store, user(1)).await;
    one(&store, user(2)).await;
    let mut all = connect(&database, "postgres").await;
    assert_eq!(seen(&mut all).await.map(|(_, rows)| rows), [2; 4]);

    let mut service = connect(&database, "errand_task").await;
    assert_eq!(seen(&mut service).await.map(|(_, rows)| rows), [0; 4]);
    for table in ["tasks", "labels", "changes", "requests"] {
        for sql in [format!("DELETE FROM task.{table}"), format!("UPDATE task.{table} SET owner = owner")] {
            assert_eq!(service.execute(AssertSqlSafe(sql)).await.unwrap().rows_affected(), 0, "{table}");
        }
        let copy = format!("INSERT INTO task.{table} (owner) VALUES ('{}')", user(1));
        let refused = service.execute(AssertSqlSafe(copy)).await.unwrap_err().to_string();
        assert!(refused.contains("row-level security"), "{refused}");
    }
    // With an owner there are that owner's rows only, and nothing of it stays behind.
    let mine = format!("BEGIN; SELECT set_config('errand.owner', '{}', true)", user(1));
    sqlx::raw_sql(AssertSqlSafe(mine)).execute(&mut service).await.unwrap();
    assert_eq!(seen(&mut service).await.map(|(_, rows)| rows), [1; 4]);
    let stolen = format!("UPDATE task.tasks SET owner = '{}'", user(2));
    let refused = service.execute(AssertSqlSafe(stolen)).await.unwrap_err().to_string();
    assert!(refused.contains("row-level security"), "{refused}");
    service.execute("ROLLBACK").await.unwrap();
    assert_eq!(seen(&mut service).await.map(|(_, rows)| rows), [0; 4]);
    assert_eq!(seen(&mut all).await.map(|(_, rows)| rows), [2; 4]);
}

#[tokio::test]
async fn r_040_every_table_but_those_exempt_has_forced_row_level_security() {
    let Some((_, database)) = server().await else { return };
    let mut all = connect(&database, "postgres").await;
    let rows = all.fetch_all(
        "SELECT relname::text AS name, relrowsecurity AND relforcerowsecurity AS is_walled FROM pg_class
         WHERE relnamespace = 'task'::regnamespace AND relkind = 'r' AND relname <> '_migrations'",
    );
    let mut tables = Vec::new();
    for row in rows.await.unwrap() {
        let name: String = row.get("name");
        assert_ne!(row.get::<bool, _>("is_walled"), SCHEMA.exempt.contains(&name.as_str()), "{name}");
        tables.push(name);
    }
    tables.sort_unstable();
    let mut expected = SCHEMA.tables.to_vec();
    expected.sort_unstable();
    assert_eq!(tables, expected);
}

#[tokio::test]
async fn r_035_a_row_of_another_owner_is_an_error_never_an_answer() {
    let Some((store, database)) = server().await else { return };
    one(&store, user(1)).await;
    // Somebody who sees everything, with a statement that forgot the owner.
    let mut all = connect(&database, "postgres").await;
    let row = sqlx::query(
        "SELECT owner, id, version, title, description, priority, due_time, labels::text AS labels,
                create_time, update_time, complete_time, delete_time FROM task.tasks",
    );
    let row = row.fetch_one(&mut all).await.unwrap();
    assert_eq!(tasks::task(&row, user(1)).unwrap().id, id(1));
    let wrong = Error::Inconsistent { table: "tasks", column: "owner", key: id(1).to_string() };
    assert_eq!(tasks::task(&row, user(2)), Err(wrong));
}

/// A database with 100,000 tasks of one owner, and some of others.
async fn crowded() -> Option<(Postgres, errand_cluster::Database)> {
    let (store, database) = server().await?;
    let mut all = connect(&database, "postgres").await;
    let sql = "
        SET session_replication_role = replica;
        CREATE TEMP TABLE rows AS
        SELECT ('00000000-0000-0000-0000-' || lpad(to_hex(owner), 12, '0'))::uuid AS owner, place,
               ('0189' || substr(md5(owner || '/' || place), 5))::uuid AS id,
               '2026-11-01'::timestamptz + place * interval '7 seconds' AS time
        FROM (SELECT 1 AS owner, generate_series(1, 100000) AS place
              UNION ALL SELECT owner, place FROM generate_series(2, 51) owner, generate_series(1, 20) place) filled;
        INSERT INTO task.heads (owner, seq) SELECT owner, max(place) FROM rows GROUP BY owner;
        INSERT INTO task.heads (owner, seq) SELECT gen_random_uuid(), 0 FROM generate_series(1, 5000);
        INSERT INTO task.tasks (owner, id, version, title, description, priority, due_time, labels,
                                create_time, update_time, complete_time, delete_time)
        SELECT owner, id, place, 'task ' || place, '', place % 4, 1800000000000000 + place, jsonb_build_array('l' || place % 10),
               time, time, CASE WHEN place % 3 = 0 THEN time END, CASE WHEN place % 50 = 0 THEN time END FROM rows;
        INSERT INTO task.labels (owner, label, create_time, id)
        SELECT owner, 'l' || place % 10, time, id FROM rows WHERE place % 50 <> 0;
        INSERT INTO task.changes (owner, seq, time, actor, turn, kind, task, after)
        SELECT owner, place, time, 'user', md5('turn ' || place / 20)::uuid, 'create', id, jsonb_build_object(
            'id', id, 'version', place, 'title', 'task ' || place, 'create_time', '2026-11-01T00:00:00Z',
            'update_time', '2026-11-01T00:00:00Z') FROM rows;
        INSERT INTO task.requests (owner, request_id, method, fingerprint, answer, time)
        SELECT owner, 'r' || place, '/m', '\\x00', '{\"tasks\": []}', time FROM rows;
        ANALYZE task.heads, task.tasks, task.labels, task.changes, task.requests";
    sqlx::raw_sql(sql).execute(&mut all).await.unwrap();
    Some((store, database))
}

/// The plan that the role of the service gets for any values, run with these.
pub(super) async fn plan(service: &mut PgConnection, types: &str, sql: &str, values: &str) -> String {
    let prepare = format!("PREPARE statement ({types}) AS {sql}");
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *service).await.unwrap();
    let explain = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE statement ({values})");
    let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut *service).await.unwrap();
    service.execute("DEALLOCATE statement").await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

/// A plan that finds what it looks for.
pub(super) fn assert_walks(plan: &str, indexes: &[&str]) {
    for index in indexes {
        let is_used = [format!("using {index} on"), format!("Bitmap Index Scan on {index}")];
        assert!(is_used.iter().any(|use_of| plan.contains(use_of)), "{index} is not used:\n{plan}");
    }
    assert!(!plan.contains("Sort"), "{plan}");
    for table in ["tasks", "labels", "changes", "requests", "heads"] {
        assert!(!plan.contains(&format!("Seq Scan on {table}")), "{plan}");
    }
    // Nothing is read that is not answered, but for the one row that says that there is more.
    for line in plan.lines().filter(|line| line.contains("Rows Removed by Filter")) {
        assert!(line.trim().ends_with(": 1") || line.trim().ends_with(": 0"), "{plan}");
    }
}

/// Every read walks an index and never sorts.
async fn assert_reads(store: &Postgres, database: &errand_cluster::Database) {
    let mut service = connect(database, "errand_task").await;
    service.execute("SET plan_cache_mode = force_generic_plan").await.unwrap();
    let owner = format!("'{}'", user(1));
    let task = store.list(user(1), Query { filter: Filter::default(), order: Order::default(), after: None, size: 1 });
    let task = task.await.unwrap().tasks.remove(0).id;

    let get = plan(&mut service, "text, uuid", tasks::GET, &format!("{owner}, '{task}'")).await;
    assert_walks(&get, &["tasks_pkey"]);
    let values = format!("{owner}, ARRAY['{task}']::uuid[], 'r1', '2020-01-01'");
    let look = plan(&mut service, "text, uuid[], text, timestamptz", tasks::LOOK, &values).await;
    assert_walks(&look, &["tasks_pkey", "requests_pkey"]);
    let values = format!("{owner}, '2026-12-31', 200");
    let expired = plan(&mut service, "text, timestamptz, bigint", tasks::EXPIRED, &values).await;
    assert_walks(&expired, &["tasks_by_delete_time"]);

    let log = plan(&mut service, "uuid", changes::LOG, &owner).await;
    assert_walks(&log, &["heads_pkey"]);
    let after = plan(&mut service, "text, bigint, bigint", changes::AFTER, &format!("{owner}, 5000, 100")).await;
    assert_walks(&after, &["changes_pkey", "heads_pkey"]);
    let turn = "md5('turn 500')::uuid";
    let values = format!("{owner}, {turn}, 0, 100");
    let of_turn = plan(&mut service, "text, uuid, bigint, bigint", changes::OF_TURN, &values).await;
    assert_walks(&of_turn, &["changes_by_turn"]);
    let values = format!("{owner}, 'r1', '2020-01-01', 101, {turn}");
    let back = plan(&mut service, "text, text, timestamptz, bigint, uuid", changes::BACK_AT_TURN, &values).await;
    assert_walks(&back, &["changes_by_turn", "tasks_pkey", "requests_pkey"]);
    let values = format!("{owner}, 'r1', '2020-01-01', 101, 5000, 5050");
    let types = "text, text, timestamptz, bigint, bigint, bigint";
    let back = plan(&mut service, types, changes::BACK_AT_RANGE, &values).await;
    assert_walks(&back, &["changes_pkey", "tasks_pkey", "requests_pkey"]);

    let heads = plan(&mut service, "uuid[]", HEADS, &format!("ARRAY[{owner}]::uuid[]")).await;
    assert_walks(&heads, &["heads_pkey"]);
    list::tests::assert_plans(&mut service, &owner).await;
}

/// Everything that can be written, on a table that has `rows` tasks of this owner already.
async fn every_write(store: &Postgres, owner: UserId, rows: i64) {
    let begin = store.log(owner).await.unwrap().extent.head;
    assert_eq!(begin, rows);
    let new = Draft { labels: labels(&["a", "b"]), due_time: due(7), ..draft("new") };
    let made = create(store, owner, id(1), new, at(0)).await;
    assert_eq!(made.version, rows + 1);
    let write = Write::Patch(Patch { labels: Some(labels(&["b", "c"])), due_time: Some(None), ..Patch::default() });
    let mut task = act(store, owner, id(1), &write, at(1)).await.unwrap();
    for (write, seconds) in
        [(renamed("renamed"), 2), (Write::Complete, 3), (Write::Reopen, 4), (Write::Delete, 5), (Write::Undelete, 6)]
    {
        task = act(store, owner, id(1), &write, at(seconds)).await.unwrap();
        assert_eq!(store.get(owner, id(1)).await.unwrap().as_ref(), Some(&task));
    }
    assert_eq!(task.version, rows + 7);
    let labelled = async |label: &str| {
        let filter = Filter { label: Some(label.to_owned()), ..Filter::default() };
        walk(store, owner, &filter, Order::default(), 50).await
    };
    assert_eq!((labelled("a").await, labelled("c").await), (vec![], vec![task.clone()]));

    let steps = (2..202).map(|number| step(id(number), None, &Write::Create(draft("x")), at(7)));
    let steps: Vec<_> = steps.map(Result::unwrap).collect();
    let committed = store.commit(owner, requested("r1", "x"), steps.into(), at(7)).await.unwrap();
    let Commit::Committed(answer) = committed else { panic!("{committed:?}") };
    assert_eq!(answer.tasks.last().unwrap().version, rows + 207);
    let again = store.commit(owner, requested("r1", "x"), Vec::new().into(), at(8)).await.unwrap();
    assert_eq!(again, Commit::Replayed(answer));

    let deleted = act(store, owner, id(1), &Write::Delete, at(9)).await.unwrap();
    let purge = Step {
        expected: Some(deleted.version),
        change: Some(Difference { kind: Kind::Purge, before: Some(deleted.clone()) }),
        task: deleted,
    };
    assert!(matches!(store.commit(owner, by_user(), vec![purge].into(), at(10)).await.unwrap(), Commit::Committed(_)));
    assert_eq!(store.get(owner, id(1)).await.unwrap(), None);
    let changes = store.changes(owner, begin, None, 1000).await.unwrap().0;
    assert_eq!(changes.iter().map(|change| change.seq - rows).collect::<Vec<_>>(), (1..=209).collect::<Vec<_>>());
}

#[tokio::test]
async fn every_read_and_write_is_right_on_tables_of_1_10_and_100_000_rows() {
    let Some((store, _database)) = server().await else { return };
    for (owner, rows) in [(1, 0), (2, 1), (3, 10)] {
        for number in 0..rows {
            create(&store, user(owner), id(1000 + number), draft("x"), at(0)).await;
        }
        every_write(&store, user(owner), i64::try_from(rows).unwrap()).await;
    }
    let Some((store, database)) = crowded().await else { return };
    assert_reads(&store, &database).await;
    every_write(&store, user(1), 100_000).await;
    every_write(&store, user(51), 20).await;
    every_write(&store, user(999), 0).await;
    // Everything goes again, part by part.
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    while !store.forget(user(1), now).await.unwrap() {}
    while !store.compact(user(1), now).await.unwrap() {}
    let log = store.log(user(1)).await.unwrap();
    assert_eq!((log.extent.head, log.extent.compacted), (100_209, 100_209));
    let expired = store.expired(user(1), now, 3000).await.unwrap();
    assert_eq!(expired.len(), 2000);
    while !store.erase(user(1), now).await.unwrap() {}
    let mut all = connect(&database, "postgres").await;
    let left = all.fetch_one("SELECT count(*) FROM task.tasks WHERE owner = '00000000-0000-0000-0000-000000000001'");
    assert_eq!(left.await.unwrap().get::<i64, _>(0), 0);
    // Somebody else's rows are as they were.
    assert_eq!(store.log(user(51)).await.unwrap().extent.compacted, 0);
    assert_eq!(walk(&store, user(51), &Filter::default(), Order::default(), 50).await.len(), 220);
}

#[tokio::test]
async fn a_schema_of_a_newer_program_is_refused() {
    let Some((store, database)) = server().await else { return };
    store.close().await;
    let settings = Settings::new(database.url("errand_task").into());
    let older = Schema { postgres: &SCHEMA.postgres[..1], ..SCHEMA };
    let refused = Postgres::open(&settings, &older).await.unwrap_err();
    assert_eq!(refused, Error::NewerSchema { found: 2, known: 1 });
    let plan = migrate::plan(&Settings::new(database.url("errand_migrate").into()), &SCHEMA).await.unwrap();
    assert_eq!(plan.len(), 0);
}
