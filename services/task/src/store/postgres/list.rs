//! Pages of a list. Each order, and each filter that has an order of its own, is one statement that
//! walks one index, at most [`READ_AT_MOST`] rows a page. What the index does not narrow is left out
//! while walking, but for words: those are left to `Filter::matches`, which folds case as no
//! collation does and has the last word on every row.

use std::collections::VecDeque;

use errand_changelog::UserId;
use errand_storage::{Error, Postgres, postgres::Statement};
use jiff::Timestamp;
use sqlx::{Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{changes, tasks};
use crate::{
    domain::{
        filter::{Filter, Key, Order, Position},
        task::{DueTime, Task},
    },
    store::{Page, Query, READ_AT_MOST},
};

/// The index that a list walks.
#[derive(Debug, Clone, Copy)]
enum Source {
    CreateTime,
    DueTime,
    UpdateTime,
    Completed,
    Label,
}

/// What one walk found, in its order.
#[derive(Default)]
struct Walk {
    found: VecDeque<Task>,
    /// The last row only says that there is more.
    is_cut: bool,
}

/// A page of the owner's tasks.
pub(super) async fn page(db: &Postgres, owner: UserId, query: &Query) -> Result<Page, Error> {
    let Query { filter, order, after, size } = query;
    let rows = db.read(statement(owner, query)).await?;
    let log = after.is_none().then(|| changes::log_of(&rows)).transpose()?;
    // Deleted tasks lie apart in every index: with them, two walks are merged.
    let mut walks = walks(&rows, owner, query)?;
    let mut tasks = Vec::with_capacity(*size);
    let mut last = None;
    while tasks.len() < *size {
        let Some(walk) = first(&mut walks, *order) else { return Ok(Page { tasks, next: None, log }) };
        if walk.is_cut && walk.found.len() == 1 {
            return Ok(Page { tasks, next: last, log });
        }
        if let Some(task) = walk.found.pop_front() {
            last = Some(order.position(&task));
            if filter.matches(&task) {
                tasks.push(task);
            }
        }
    }
    let more = walks.iter().any(|walk| walk.is_cut || walk.found.iter().any(|task| filter.matches(task)));
    Ok(Page { tasks, next: last.filter(|_| more), log })
}

/// The walk whose next task comes first in `order`.
fn first(walks: &mut [Walk; 2], order: Order) -> Option<&mut Walk> {
    let waiting = walks.iter_mut().filter(|walk| !walk.found.is_empty());
    let place = |walk: &&mut Walk| walk.found.front().map(|task| order.position(task));
    if order.descending { waiting.max_by_key(place) } else { waiting.min_by_key(place) }
}

/// Rows that one walk reads at most.
fn read_at_most(filter: &Filter) -> usize {
    if filter.show_deleted { READ_AT_MOST / 2 } else { READ_AT_MOST }
}

/// Rows that one walk answers at most, before the one that says that there is more.
fn answer_at_most(query: &Query) -> usize {
    if query.filter.words.is_empty() { query.size } else { read_at_most(&query.filter) }
}

fn statement(owner: UserId, query: &Query) -> Statement {
    let Query { filter, order, after, .. } = query;
    let range = order.range(filter, *after);
    let source = Source::of(filter, order.key);
    let halves: &[bool] = if filter.show_deleted { &[false, true] } else { &[false] };
    let statement = Statement::new("list_tasks", source.sql(order.descending)).bind(owner.to_string()).bind(halves);
    let statement = source.end(source.end(statement, range.above), range.below);
    statement
        .bind(changes::count(read_at_most(filter)))
        .bind(changes::count(answer_at_most(query)))
        .bind(filter.completed)
        .bind(filter.due_after.map(DueTime::micros))
        .bind(filter.due_before.map(DueTime::micros))
        .bind(filter.label.as_deref())
}

/// The walk over live tasks, and the one over deleted ones.
fn walks(rows: &[PgRow], owner: UserId, query: &Query) -> Result<[Walk; 2], Error> {
    let (read, answered) = (changes::count(read_at_most(&query.filter)), answer_at_most(query));
    let mut walks = [Walk::default(), Walk::default()];
    for row in rows {
        if row.try_get::<Option<Uuid>, _>("id")?.is_none() {
            continue;
        }
        let task = tasks::task(row, owner)?;
        let place: i64 = row.try_get("place")?;
        let walk = &mut walks[usize::from(task.is_deleted())];
        walk.found.push_back(task);
        walk.is_cut = place > read || walk.found.len() > answered;
    }
    Ok(walks)
}

// === impl Source ===

impl Source {
    fn of(filter: &Filter, key: Key) -> Self {
        match (key, &filter.label, filter.completed) {
            (Key::DueTime, ..) => Self::DueTime,
            (Key::UpdateTime, ..) => Self::UpdateTime,
            // Deleted tasks have no label rows.
            (Key::CreateTime, Some(_), _) if !filter.show_deleted => Self::Label,
            (Key::CreateTime, _, Some(_)) => Self::Completed,
            (Key::CreateTime, ..) => Self::CreateTime,
        }
    }

    /// Binds an end of the range, which is a time or a number as the column is.
    fn end(self, statement: Statement, end: Position) -> Statement {
        let statement = match self {
            Self::DueTime => statement.bind(end.key),
            _ => statement.bind(tasks::time(Timestamp::from_microsecond(end.key).unwrap_or(
                // Outside of all times: one of the ends of everything.
                if end.key < 0 { Timestamp::MIN } else { Timestamp::MAX },
            ))),
        };
        statement.bind(end.id.0)
    }

    fn sql(self, descending: bool) -> &'static str {
        match (self, descending) {
            (Source::CreateTime, false) => {
                "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
                 SELECT log.epoch, log.head, log.compacted, log.erase_time,
                        t.owner, t.id, t.version, t.title, t.description, t.priority, t.due_time, t.labels::text AS labels,
                        t.create_time, t.update_time, t.complete_time, t.delete_time, t.place
                 FROM me
                 CROSS JOIN LATERAL (
                     SELECT l.epoch, h.seq AS head, h.compacted, h.erase_time
                     FROM task.log l LEFT JOIN task.heads h ON h.owner = me.owner OFFSET 0) log
                 CROSS JOIN unnest($2) AS half (deleted)
                 LEFT JOIN LATERAL (
                     SELECT * FROM (
                         SELECT *, row_number() OVER (ORDER BY create_time, id) AS place
                         FROM task.tasks
                         WHERE owner = me.owner AND deleted = half.deleted
                           AND (create_time, id) > ($3, $4) AND (create_time, id) < ($5, $6)
                         ORDER BY create_time, id LIMIT $7 + 1) walk
                     WHERE walk.place >= $7 OR (
                         ($9 IS NULL OR walk.completed = $9)
                         AND ($10 IS NULL OR (walk.due_time >= $10 AND walk.due_time < 9223372036854775807))
                         AND ($11 IS NULL OR walk.due_time < $11)
                         AND ($12 IS NULL OR jsonb_exists(walk.labels, $12)))
                     LIMIT $8 + 1) t ON true"
            }
            (Source::CreateTime, true) => {
                "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
                 SELECT log.epoch, log.head, log.compacted, log.erase_time,
                        t.owner, t.id, t.version, t.title, t.description, t.priority, t.due_time, t.labels::text AS labels,
                        t.create_time, t.update_time, t.complete_time, t.delete_time, t.place
                 FROM me
                 CROSS JOIN LATERAL (
                     SELECT l.epoch, h.seq AS head, h.compacted, h.erase_time
                     FROM task.log l LEFT JOIN task.heads h ON h.owner = me.owner OFFSET 0) log
                 CROSS JOIN unnest($2) AS half (deleted)
                 LEFT JOIN LATERAL (
                     SELECT * FROM (
                         SELECT *, row_number() OVER (ORDER BY create_time DESC, id DESC) AS place
                         FROM task.tasks
                         WHERE owner = me.owner AND deleted = half.deleted
                           AND (create_time, id) > ($3, $4) AND (create_time, id) < ($5, $6)
                         ORDER BY create_time DESC, id DESC LIMIT $7 + 1) walk
                     WHERE walk.place >= $7 OR (
                         ($9 IS NULL OR walk.completed = $9)
                         AND ($10 IS NULL OR (walk.due_time >= $10 AND walk.due_time < 9223372036854775807))
                         AND ($11 IS NULL OR walk.due_time < $11)
                         AND ($12 IS NULL OR jsonb_exists(walk.labels, $12)))
                     LIMIT $8 + 1) t ON true"
            }
            (Source::DueTime, false) => {
                "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
                 SELECT log.epoch, log.head, log.compacted, log.erase_time,
                        t.owner, t.id, t.version, t.title, t.description, t.priority, t.due_time, t.labels::text AS labels,
                        t.create_time, t.update_time, t.complete_time, t.delete_time, t.place
                 FROM me
                 CROSS JOIN LATERAL (
                     SELECT l.epoch, h.seq AS head, h.compacted, h.erase_time
                     FROM task.log l LEFT JOIN task.heads h ON h.owner = me.owner OFFSET 0) log
                 CROSS JOIN unnest($2) AS half (deleted)
                 LEFT JOIN LATERAL (
                     SELECT * FROM (
                         SELECT *, row_number() OVER (ORDER BY due_time, id) AS place
                         FROM task.tasks
                         WHERE owner = me.owner AND deleted = half.deleted
                           AND (due_time, id) > ($3, $4) AND (due_time, id) < ($5, $6)
                         ORDER BY due_time, id LIMIT $7 + 1) walk
                     WHERE walk.place >= $7 OR (
                         ($9 IS NULL OR walk.completed = $9)
                         AND ($10 IS NULL OR (walk.due_time >= $10 AND walk.due_time < 9223372036854775807))
                         AND ($11 IS NULL OR walk.due_time < $11)
                         AND ($12 IS NULL OR jsonb_exists(walk.labels, $12)))
                     LIMIT $8 + 1) t ON true"
            }
            (Source::DueTime, true) => {
                "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
                 SELECT log.epoch, log.head, log.compacted, log.erase_time,
                        t.owner, t.id, t.version, t.title, t.description, t.priority, t.due_time, t.labels::text AS labels,
                        t.create_time, t.update_time, t.complete_time, t.delete_time, t.place
                 FROM me
                 CROSS JOIN LATERAL (
                     SELECT l.epoch, h.seq AS head, h.compacted, h.erase_time
                     FROM task.log l LEFT JOIN task.heads h ON h.owner = me.owner OFFSET 0) log
                 CROSS JOIN unnest($2) AS half (deleted)
                 LEFT JOIN LATERAL (
                     SELECT * FROM (
                         SELECT *, row_number() OVER (ORDER BY due_time DESC, id DESC) AS place
                         FROM task.tasks
                         WHERE owner = me.owner AND deleted = half.deleted
                           AND (due_time, id) > ($3, $4) AND (due_time, id) < ($5, $6)
                         ORDER BY due_time DESC, id DESC LIMIT $7 + 1) walk
                     WHERE walk.place >= $7 OR (
                         ($9 IS NULL OR walk.completed = $9)
                         AND ($10 IS NULL OR (walk.due_time >= $10 AND walk.due_time < 9223372036854775807))
                         AND ($11 IS NULL OR walk.due_time < $11)
                         AND ($12 IS NULL OR jsonb_exists(walk.labels, $12)))
                     LIMIT $8 + 1) t ON true"
            }
            (Source::UpdateTime, false) => {
                "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
                 SELECT log.epoch, log.head, log.compacted, log.erase_time,
                        t.owner, t.id, t.version, t.title, t.description, t.priority, t.due_time, t.labels::text AS labels,
                        t.create_time, t.update_time, t.complete_time, t.delete_time, t.place
                 FROM me
                 CROSS JOIN LATERAL (
                     SELECT l.epoch, h.seq AS head, h.compacted, h.erase_time
                     FROM task.log l LEFT JOIN task.heads h ON h.owner = me.owner OFFSET 0) log
                 CROSS JOIN unnest($2) AS half (deleted)
                 LEFT JOIN LATERAL (
                     SELECT * FROM (
                         SELECT *, row_number() OVER (ORDER BY update_time, id) AS place
                         FROM task.tasks
                         WHERE owner = me.owner AND deleted = half.deleted
                           AND (update_time, id) > ($3, $4) AND (update_time, id) < ($5, $6)
                         ORDER BY update_time, id LIMIT $7 + 1) walk
                     WHERE walk.place >= $7 OR (
                         ($9 IS NULL OR walk.completed = $9)
                         AND ($10 IS NULL OR (walk.due_time >= $10 AND walk.due_time < 9223372036854775807))
                         AND ($11 IS NULL OR walk.due_time < $11)
                         AND ($12 IS NULL OR jsonb_exists(walk.labels, $12)))
                     LIMIT $8 + 1) t ON true"
            }
            (Source::UpdateTime, true) => {
                "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
                 SELECT log.epoch, log.head, log.compacted, log.erase_time,
                        t.owner, t.id, t.version, t.title, t.description, t.priority, t.due_time, t.labels::text AS labels,
                        t.create_time, t.update_time, t.complete_time, t.delete_time, t.place
                 FROM me
                 CROSS JOIN LATERAL (
                     SELECT l.epoch, h.seq AS head, h.compacted, h.erase_time
                     FROM task.log l LEFT JOIN task.heads h ON h.owner = me.owner OFFSET 0) log
                 CROSS JOIN unnest($2) AS half (deleted)
                 LEFT JOIN LATERAL (
                     SELECT * FROM (
                         SELECT *, row_number() OVER (ORDER BY update_time DESC, id DESC) AS place
                         FROM task.tasks
                         WHERE owner = me.owner AND deleted = half.deleted
                           AND (update_time, id) > ($3, $4) AND (update_time, id) < ($5, $6)
                         ORDER BY update_time DESC, id DESC LIMIT $7 + 1) walk
                     WHERE walk.place >= $7 OR (
                         ($9 IS NULL OR walk.completed = $9)
                         AND ($10 IS NULL OR (walk.due_time >= $10 AND walk.due_time < 9223372036854775807))
                         AND ($11 IS NULL OR walk.due_time < $11)
                         AND ($12 IS NULL OR jsonb_exists(walk.labels, $12)))
                     LIMIT $8 + 1) t ON true"
            }
            (Source::Completed, false) => {
                "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
                 SELECT log.epoch, log.head, log.compacted, log.erase_time,
                        t.owner, t.id, t.version, t.title, t.description, t.priority, t.due_time, t.labels::text AS labels,
                        t.create_time, t.update_time, t.complete_time, t.delete_time, t.place
                 FROM me
                 CROSS JOIN LATERAL (
                     SELECT l.epoch, h.seq AS head, h.compacted, h.erase_time
                     FROM task.log l LEFT JOIN task.heads h ON h.owner = me.owner OFFSET 0) log
                 CROSS JOIN unnest($2) AS half (deleted)
                 LEFT JOIN LATERAL (
                     SELECT * FROM (
                         SELECT *, row_number() OVER (ORDER BY create_time, id) AS place
                         FROM task.tasks
                         WHERE owner = me.owner AND deleted = half.deleted AND completed = $9
                           AND (create_time, id) > ($3, $4) AND (create_time, id) < ($5, $6)
                         ORDER BY create_time, id LIMIT $7 + 1) walk
                     WHERE walk.place >= $7 OR (
                         ($9 IS NULL OR walk.completed = $9)
                         AND ($10 IS NULL OR (walk.due_time >= $10 AND walk.due_time < 9223372036854775807))
                         AND ($11 IS NULL OR walk.due_time < $11)
                         AND ($12 IS NULL OR jsonb_exists(walk.labels, $12)))
                     LIMIT $8 + 1) t ON true"
            }
            (Source::Completed, true) => {
                "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
                 SELECT log.epoch, log.head, log.compacted, log.erase_time,
                        t.owner, t.id, t.version, t.title, t.description, t.priority, t.due_time, t.labels::text AS labels,
                        t.create_time, t.update_time, t.complete_time, t.delete_time, t.place
                 FROM me
                 CROSS JOIN LATERAL (
                     SELECT l.epoch, h.seq AS head, h.compacted, h.erase_time
                     FROM task.log l LEFT JOIN task.heads h ON h.owner = me.owner OFFSET 0) log
                 CROSS JOIN unnest($2) AS half (deleted)
                 LEFT JOIN LATERAL (
                     SELECT * FROM (
                         SELECT *, row_number() OVER (ORDER BY create_time DESC, id DESC) AS place
                         FROM task.tasks
                         WHERE owner = me.owner AND deleted = half.deleted AND completed = $9
                           AND (create_time, id) > ($3, $4) AND (create_time, id) < ($5, $6)
                         ORDER BY create_time DESC, id DESC LIMIT $7 + 1) walk
                     WHERE walk.place >= $7 OR (
                         ($9 IS NULL OR walk.completed = $9)
                         AND ($10 IS NULL OR (walk.due_time >= $10 AND walk.due_time < 9223372036854775807))
                         AND ($11 IS NULL OR walk.due_time < $11)
                         AND ($12 IS NULL OR jsonb_exists(walk.labels, $12)))
                     LIMIT $8 + 1) t ON true"
            }
            (Source::Label, false) => {
                "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
                 SELECT log.epoch, log.head, log.compacted, log.erase_time,
                        t.owner, t.id, t.version, t.title, t.description, t.priority, t.due_time, t.labels::text AS labels,
                        t.create_time, t.update_time, t.complete_time, t.delete_time, t.place
                 FROM me
                 CROSS JOIN LATERAL (
                     SELECT l.epoch, h.seq AS head, h.compacted, h.erase_time
                     FROM task.log l LEFT JOIN task.heads h ON h.owner = me.owner OFFSET 0) log
                 CROSS JOIN unnest($2) AS half (deleted)
                 LEFT JOIN LATERAL (
                     SELECT * FROM (
                         SELECT t.*, row_number() OVER (ORDER BY l.create_time, l.id) AS place
                         FROM task.labels l CROSS JOIN LATERAL (
                             SELECT * FROM task.tasks WHERE owner = l.owner AND id = l.id OFFSET 0) t
                         WHERE l.owner = me.owner AND l.label = $12 AND t.deleted = half.deleted
                           AND (l.create_time, l.id) > ($3, $4) AND (l.create_time, l.id) < ($5, $6)
                         ORDER BY l.create_time, l.id LIMIT $7 + 1) walk
                     WHERE walk.place >= $7 OR (
                         ($9 IS NULL OR walk.completed = $9)
                         AND ($10 IS NULL OR (walk.due_time >= $10 AND walk.due_time < 9223372036854775807))
                         AND ($11 IS NULL OR walk.due_time < $11)
                         AND ($12 IS NULL OR jsonb_exists(walk.labels, $12)))
                     LIMIT $8 + 1) t ON true"
            }
            (Source::Label, true) => {
                "WITH me AS MATERIALIZED (SELECT set_config('errand.owner', $1, true)::uuid AS owner)
                 SELECT log.epoch, log.head, log.compacted, log.erase_time,
                        t.owner, t.id, t.version, t.title, t.description, t.priority, t.due_time, t.labels::text AS labels,
                        t.create_time, t.update_time, t.complete_time, t.delete_time, t.place
                 FROM me
                 CROSS JOIN LATERAL (
                     SELECT l.epoch, h.seq AS head, h.compacted, h.erase_time
                     FROM task.log l LEFT JOIN task.heads h ON h.owner = me.owner OFFSET 0) log
                 CROSS JOIN unnest($2) AS half (deleted)
                 LEFT JOIN LATERAL (
                     SELECT * FROM (
                         SELECT t.*, row_number() OVER (ORDER BY l.create_time DESC, l.id DESC) AS place
                         FROM task.labels l CROSS JOIN LATERAL (
                             SELECT * FROM task.tasks WHERE owner = l.owner AND id = l.id OFFSET 0) t
                         WHERE l.owner = me.owner AND l.label = $12 AND t.deleted = half.deleted
                           AND (l.create_time, l.id) > ($3, $4) AND (l.create_time, l.id) < ($5, $6)
                         ORDER BY l.create_time DESC, l.id DESC LIMIT $7 + 1) walk
                     WHERE walk.place >= $7 OR (
                         ($9 IS NULL OR walk.completed = $9)
                         AND ($10 IS NULL OR (walk.due_time >= $10 AND walk.due_time < 9223372036854775807))
                         AND ($11 IS NULL OR walk.due_time < $11)
                         AND ($12 IS NULL OR jsonb_exists(walk.labels, $12)))
                     LIMIT $8 + 1) t ON true"
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use sqlx::PgConnection;

    use super::{super::tests, Source};

    /// Every list walks an index within both ends and never sorts.
    pub(in super::super) async fn assert_plans(service: &mut PgConnection, owner: &str) {
        let (low, high) = ("'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'");
        let sources = [
            (Source::CreateTime, "tasks_by_create_time", "NULL, NULL, NULL, NULL"),
            (Source::DueTime, "tasks_by_due_time", "NULL, NULL, NULL, NULL"),
            (Source::UpdateTime, "tasks_by_update_time", "NULL, NULL, NULL, NULL"),
            (Source::Completed, "tasks_by_completed", "true, NULL, NULL, NULL"),
            (Source::Label, "labels_pkey", "NULL, NULL, NULL, 'l3'"),
        ];
        for ((source, index, filter), descending) in sources.iter().flat_map(|source| [(source, false), (source, true)])
        {
            let (key, above, below) = match source {
                Source::DueTime => ("bigint", "1800000000050000", "1800000000060000"),
                _ => ("timestamptz", "'2026-11-02'", "'2026-11-04'"),
            };
            let types =
                format!("text, boolean[], {key}, uuid, {key}, uuid, bigint, bigint, boolean, bigint, bigint, text");
            let values = format!("{owner}, '{{f}}', {above}, {low}, {below}, {high}, 1000, 50, {filter}");
            let plan = tests::plan(service, &types, source.sql(descending), &values).await;
            tests::assert_walks(&plan, &[index]);
            let column = match source {
                Source::DueTime => "due_time",
                Source::UpdateTime => "update_time",
                _ => "create_time",
            };
            let bounds = plan.matches(&format!("ROW({column}, id)")).count();
            assert_eq!(bounds, 2, "both ends are in the index:\n{plan}");
            assert!(plan.contains("rows=51 loops=1"), "it ends with the page:\n{plan}");
        }
    }
}
