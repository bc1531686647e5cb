//! Pages of a list. Each order, and each filter that has an order of its own, is one statement that
//! walks one index; what it does not narrow is left to `Filter::matches`, at most
//! [`READ_AT_MOST`] rows a page.

use errand_changelog::UserId;
use errand_storage::Error;
use rusqlite::{CachedStatement, Connection, Rows, ToSql};

use super::{changes, tasks::Columns};
use crate::{
    domain::{
        filter::{Filter, Key, Order, Range},
        task::Task,
    },
    store::{Page, Query, READ_AT_MOST},
};

/// The index that a list walks.
enum Source<'q> {
    CreateTime,
    DueTime,
    UpdateTime,
    Completed(bool),
    Label(&'q str),
}

/// The rows of one statement, looked ahead by one.
struct Stream<'s> {
    rows: Rows<'s>,
    columns: Columns,
    next: Option<Task>,
}

/// A page of the owner's tasks.
pub(super) fn page(db: &Connection, owner: UserId, query: &Query) -> Result<Page, Error> {
    let Query { filter, order, after, size } = query;
    let range = order.range(filter, *after);
    let source = Source::of(filter, order.key);
    // Deleted tasks lie apart in every index: with them, two walks are merged.
    let mut live = db.prepare_cached(source.sql(order.descending))?;
    let mut deleted = if filter.show_deleted { Some(db.prepare_cached(source.sql(order.descending))?) } else { None };
    let mut streams = vec![source.walk(&mut live, owner, false, &range)?];
    if let Some(deleted) = &mut deleted {
        streams.push(source.walk(deleted, owner, true, &range)?);
    }

    let log = after.is_none().then(|| changes::log(db, owner)).transpose()?;
    let mut tasks = Vec::with_capacity(*size);
    let mut last = None;
    for _ in 0..READ_AT_MOST {
        if tasks.len() == *size {
            break;
        }
        let Some(task) = first(&mut streams, *order, owner)? else {
            return Ok(Page { tasks, next: None, log });
        };
        last = Some(order.position(&task));
        if filter.matches(&task) {
            tasks.push(task);
        }
    }
    let more = streams.iter().any(|stream| stream.next.is_some());
    Ok(Page { tasks, next: last.filter(|_| more), log })
}

/// Takes the task that comes first in `order` from the streams.
fn first(streams: &mut [Stream<'_>], order: Order, owner: UserId) -> Result<Option<Task>, Error> {
    let waiting = streams.iter_mut().filter(|stream| stream.next.is_some());
    let place = |stream: &&mut Stream<'_>| stream.next.as_ref().map(|task| order.position(task));
    let stream = if order.descending { waiting.max_by_key(place) } else { waiting.min_by_key(place) };
    stream.map_or(Ok(None), |stream| stream.take(owner))
}

// === impl Stream ===

impl Stream<'_> {
    fn take(&mut self, owner: UserId) -> Result<Option<Task>, Error> {
        let taken = self.next.take();
        self.next = self.rows.next()?.map(|row| self.columns.task(row, owner)).transpose()?;
        Ok(taken)
    }
}

// === impl Source ===

impl<'q> Source<'q> {
    fn of(filter: &'q Filter, key: Key) -> Self {
        match (key, &filter.label, filter.completed) {
            (Key::DueTime, ..) => Source::DueTime,
            (Key::UpdateTime, ..) => Source::UpdateTime,
            // Deleted tasks have no label rows.
            (Key::CreateTime, Some(label), _) if !filter.show_deleted => Source::Label(label),
            (Key::CreateTime, _, Some(completed)) => Source::Completed(completed),
            (Key::CreateTime, ..) => Source::CreateTime,
        }
    }

    fn walk<'s>(
        &self,
        statement: &'s mut CachedStatement<'_>,
        owner: UserId,
        deleted: bool,
        range: &Range,
    ) -> Result<Stream<'s>, Error> {
        let Range { above, below } = range;
        let columns = Columns::of(statement)?;
        let common: [&dyn ToSql; 6] = [owner.as_uuid(), &deleted, &above.key, &above.id.0, &below.key, &below.id.0];
        let own: &[&dyn ToSql] = match self {
            Source::CreateTime | Source::DueTime | Source::UpdateTime => &[],
            Source::Completed(completed) => &[completed],
            Source::Label(label) => &[label],
        };
        let rows = statement.query([&common, own].concat().as_slice())?;
        let mut stream = Stream { rows, columns, next: None };
        stream.take(owner)?;
        Ok(stream)
    }

    fn sql(&self, descending: bool) -> &'static str {
        match (self, descending) {
            (Source::CreateTime, false) => {
                "SELECT owner, id, version, title, description, priority, due_time, labels,
                        create_time, update_time, complete_time, delete_time
                 FROM tasks INDEXED BY tasks_by_create_time
                 WHERE owner = ?1 AND deleted = ?2
                   AND (create_time, id) > (?3, ?4) AND (create_time, id) < (?5, ?6)
                 ORDER BY create_time, id"
            }
            (Source::CreateTime, true) => {
                "SELECT owner, id, version, title, description, priority, due_time, labels,
                        create_time, update_time, complete_time, delete_time
                 FROM tasks INDEXED BY tasks_by_create_time
                 WHERE owner = ?1 AND deleted = ?2
                   AND (create_time, id) > (?3, ?4) AND (create_time, id) < (?5, ?6)
                 ORDER BY create_time DESC, id DESC"
            }
            (Source::DueTime, false) => {
                "SELECT owner, id, version, title, description, priority, due_time, labels,
                        create_time, update_time, complete_time, delete_time
                 FROM tasks INDEXED BY tasks_by_due_time
                 WHERE owner = ?1 AND deleted = ?2
                   AND (due_time, id) > (?3, ?4) AND (due_time, id) < (?5, ?6)
                 ORDER BY due_time, id"
            }
            (Source::DueTime, true) => {
                "SELECT owner, id, version, title, description, priority, due_time, labels,
                        create_time, update_time, complete_time, delete_time
                 FROM tasks INDEXED BY tasks_by_due_time
                 WHERE owner = ?1 AND deleted = ?2
                   AND (due_time, id) > (?3, ?4) AND (due_time, id) < (?5, ?6)
                 ORDER BY due_time DESC, id DESC"
            }
            (Source::UpdateTime, false) => {
                "SELECT owner, id, version, title, description, priority, due_time, labels,
                        create_time, update_time, complete_time, delete_time
                 FROM tasks INDEXED BY tasks_by_update_time
                 WHERE owner = ?1 AND deleted = ?2
                   AND (update_time, id) > (?3, ?4) AND (update_time, id) < (?5, ?6)
                 ORDER BY update_time, id"
            }
            (Source::UpdateTime, true) => {
                "SELECT owner, id, version, title, description, priority, due_time, labels,
                        create_time, update_time, complete_time, delete_time
                 FROM tasks INDEXED BY tasks_by_update_time
                 WHERE owner = ?1 AND deleted = ?2
                   AND (update_time, id) > (?3, ?4) AND (update_time, id) < (?5, ?6)
                 ORDER BY update_time DESC, id DESC"
            }
            (Source::Completed(_), false) => {
                "SELECT owner, id, version, title, description, priority, due_time, labels,
                        create_time, update_time, complete_time, delete_time
                 FROM tasks INDEXED BY tasks_by_completed
                 WHERE owner = ?1 AND deleted = ?2 AND completed = ?7
                   AND (create_time, id) > (?3, ?4) AND (create_time, id) < (?5, ?6)
                 ORDER BY create_time, id"
            }
            (Source::Completed(_), true) => {
                "SELECT owner, id, version, title, description, priority, due_time, labels,
                        create_time, update_time, complete_time, delete_time
                 FROM tasks INDEXED BY tasks_by_completed
                 WHERE owner = ?1 AND deleted = ?2 AND completed = ?7
                   AND (create_time, id) > (?3, ?4) AND (create_time, id) < (?5, ?6)
                 ORDER BY create_time DESC, id DESC"
            }
            (Source::Label(_), false) => {
                "SELECT t.owner, t.id, t.version, t.title, t.description, t.priority, t.due_time, t.labels,
                        t.create_time, t.update_time, t.complete_time, t.delete_time
                 FROM labels l CROSS JOIN tasks t ON t.owner = l.owner AND t.id = l.id
                 WHERE l.owner = ?1 AND t.deleted = ?2 AND l.label = ?7
                   AND (l.create_time, l.id) > (?3, ?4) AND (l.create_time, l.id) < (?5, ?6)
                 ORDER BY l.create_time, l.id"
            }
            (Source::Label(_), true) => {
                "SELECT t.owner, t.id, t.version, t.title, t.description, t.priority, t.due_time, t.labels,
                        t.create_time, t.update_time, t.complete_time, t.delete_time
                 FROM labels l CROSS JOIN tasks t ON t.owner = l.owner AND t.id = l.id
                 WHERE l.owner = ?1 AND t.deleted = ?2 AND l.label = ?7
                   AND (l.create_time, l.id) > (?3, ?4) AND (l.create_time, l.id) < (?5, ?6)
                 ORDER BY l.create_time DESC, l.id DESC"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::MIGRATIONS;

    #[test]
    fn every_list_walks_an_index_within_both_ends_and_never_sorts() {
        let db = Connection::open_in_memory().unwrap();
        MIGRATIONS.iter().for_each(|migration| db.execute_batch(migration.sql).unwrap());
        let sources =
            [Source::CreateTime, Source::DueTime, Source::UpdateTime, Source::Completed(true), Source::Label("a")];
        for (source, descending) in sources.iter().flat_map(|source| [(source, false), (source, true)]) {
            let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {}", source.sql(descending))).unwrap();
            let plan: Vec<String> = statement.raw_query().mapped(|row| row.get("detail")).map(Result::unwrap).collect();
            let plan = plan.join("; ");
            assert!(plan.starts_with("SEARCH"), "{plan}");
            assert!(plan.contains(">(?,?)") || plan.contains(",id)>"), "{plan}");
            assert!(!plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{plan}");
        }
    }
}
