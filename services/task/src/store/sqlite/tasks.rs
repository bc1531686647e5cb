//! The tables `tasks` and `labels`: a row, reading one, writing one.

use errand_changelog::{Seq, UserId};
use errand_storage::{
    Error,
    sqlite::{micros, timestamp},
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};
use uuid::Uuid;

use crate::domain::{
    filter::{NOT_DUE, due_key},
    task::{Description, DueTime, Labels, Priority, Task, TaskId, Title},
};

/// Where the columns of a task are in the rows of a statement, looked up once.
pub(super) struct Columns {
    owner: usize,
    id: usize,
    version: usize,
    title: usize,
    description: usize,
    priority: usize,
    due_time: usize,
    labels: usize,
    create_time: usize,
    update_time: usize,
    complete_time: usize,
    delete_time: usize,
}

/// A task, also a deleted one.
pub(super) fn get(db: &Connection, owner: UserId, id: TaskId) -> Result<Option<Task>, Error> {
    let mut statement = db.prepare_cached(
        "SELECT owner, id, version, title, description, priority, due_time, labels,
                create_time, update_time, complete_time, delete_time
         FROM tasks WHERE owner = ?1 AND id = ?2",
    )?;
    let columns = Columns::of(&statement)?;
    let mut rows = statement.query(params![owner.as_uuid(), id.0])?;
    rows.next()?.map(|row| columns.task(row, owner)).transpose()
}

/// Tasks that were deleted at `before` or earlier.
pub(super) fn expired(db: &Connection, owner: UserId, before: Timestamp, limit: usize) -> Result<Vec<Task>, Error> {
    let mut statement = db.prepare_cached(
        "SELECT owner, id, version, title, description, priority, due_time, labels,
                create_time, update_time, complete_time, delete_time
         FROM tasks INDEXED BY tasks_by_delete_time
         WHERE owner = ?1 AND delete_time <= ?2 ORDER BY delete_time LIMIT ?3",
    )?;
    let columns = Columns::of(&statement)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![owner.as_uuid(), micros(before), limit])?;
    let mut tasks = Vec::new();
    while let Some(row) = rows.next()? {
        tasks.push(columns.task(row, owner)?);
    }
    Ok(tasks)
}

/// The version of a task; nothing when there is none.
pub(super) fn version(db: &Connection, owner: UserId, id: TaskId) -> Result<Option<Seq>, Error> {
    let mut statement = db.prepare_cached("SELECT version FROM tasks WHERE owner = ?1 AND id = ?2")?;
    Ok(statement.query_row(params![owner.as_uuid(), id.0], |row| row.get(0)).optional()?)
}

/// Stores a task in place of what it was before, if anything.
pub(super) fn put(db: &Connection, owner: UserId, before: Option<&Task>, task: &Task) -> Result<(), Error> {
    let labels = serde_json::to_string(&task.labels).map_err(|error| Error::Engine(error.to_string()))?;
    let mut statement = db.prepare_cached(
        "INSERT INTO tasks (owner, id, version, title, description, priority, due_time, labels,
                            create_time, update_time, complete_time, delete_time)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT (owner, id) DO UPDATE SET
             version = excluded.version,
             title = excluded.title,
             description = excluded.description,
             priority = excluded.priority,
             due_time = excluded.due_time,
             labels = excluded.labels,
             update_time = excluded.update_time,
             complete_time = excluded.complete_time,
             delete_time = excluded.delete_time",
    )?;
    statement.execute(params![
        owner.as_uuid(),
        task.id.0,
        task.version,
        task.title.as_str(),
        task.description.as_str(),
        task.priority.number(),
        due_key(task.due_time),
        labels,
        micros(task.create_time),
        micros(task.update_time),
        task.complete_time.map(micros),
        task.delete_time.map(micros),
    ])?;
    put_labels(db, owner, before, task)
}

/// Takes a task away for good; its label rows go with it.
pub(super) fn remove(db: &Connection, owner: UserId, id: TaskId) -> Result<(), Error> {
    let mut statement = db.prepare_cached("DELETE FROM tasks WHERE owner = ?1 AND id = ?2")?;
    statement.execute(params![owner.as_uuid(), id.0])?;
    Ok(())
}

/// Label rows are for live tasks only; most writes leave them as they are.
fn put_labels(db: &Connection, owner: UserId, before: Option<&Task>, task: &Task) -> Result<(), Error> {
    let listed = |task: &Task| if task.is_deleted() { Labels::default() } else { task.labels.clone() };
    let (old, new) = (before.map(listed).unwrap_or_default(), listed(task));
    let mut delete =
        db.prepare_cached("DELETE FROM labels WHERE owner = ?1 AND label = ?2 AND create_time = ?3 AND id = ?4")?;
    for label in old.as_slice().iter().filter(|label| !new.as_slice().contains(label)) {
        delete.execute(params![owner.as_uuid(), label, micros(task.create_time), task.id.0])?;
    }
    let mut insert = db.prepare_cached("INSERT INTO labels (owner, label, create_time, id) VALUES (?1, ?2, ?3, ?4)")?;
    for label in new.as_slice().iter().filter(|label| !old.as_slice().contains(label)) {
        insert.execute(params![owner.as_uuid(), label, micros(task.create_time), task.id.0])?;
    }
    Ok(())
}

// === impl Columns ===

impl Columns {
    pub(super) fn of(statement: &Statement<'_>) -> Result<Self, Error> {
        Ok(Self {
            owner: statement.column_index("owner")?,
            id: statement.column_index("id")?,
            version: statement.column_index("version")?,
            title: statement.column_index("title")?,
            description: statement.column_index("description")?,
            priority: statement.column_index("priority")?,
            due_time: statement.column_index("due_time")?,
            labels: statement.column_index("labels")?,
            create_time: statement.column_index("create_time")?,
            update_time: statement.column_index("update_time")?,
            complete_time: statement.column_index("complete_time")?,
            delete_time: statement.column_index("delete_time")?,
        })
    }

    /// The task of a row, which must be the owner's.
    pub(super) fn task(&self, row: &Row<'_>, owner: UserId) -> Result<Task, Error> {
        let id: Uuid = row.get(self.id)?;
        let wrong = |column| Error::Inconsistent { table: "tasks", column, key: id.to_string() };
        if row.get::<_, Uuid>(self.owner)? != *owner.as_uuid() {
            return Err(wrong("owner"));
        }
        let time =
            |at: usize, column| -> Result<Timestamp, Error> { timestamp(row.get(at)?).map_err(|_| wrong(column)) };
        let moment = |at: usize, column| -> Result<Option<Timestamp>, Error> {
            row.get::<_, Option<i64>>(at)?.map(timestamp).transpose().map_err(|_| wrong(column))
        };
        let due: i64 = row.get(self.due_time)?;
        let labels = row.get_ref(self.labels)?.as_bytes().map_err(|_| wrong("labels"))?;
        Ok(Task {
            id: TaskId(id),
            version: row.get(self.version)?,
            title: Title::stored(row.get(self.title)?),
            description: Description::stored(row.get(self.description)?),
            priority: Priority::from_number(row.get(self.priority)?).ok_or_else(|| wrong("priority"))?,
            due_time: (due != NOT_DUE).then(|| DueTime::stored(due)),
            labels: Labels::stored(serde_json::from_slice(labels).map_err(|_| wrong("labels"))?),
            create_time: time(self.create_time, "create_time")?,
            update_time: time(self.update_time, "update_time")?,
            complete_time: moment(self.complete_time, "complete_time")?,
            delete_time: moment(self.delete_time, "delete_time")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::MIGRATIONS;

    #[test]
    fn r_035_a_row_of_another_owner_is_an_error_never_an_answer() {
        let db = Connection::open_in_memory().unwrap();
        MIGRATIONS.iter().for_each(|migration| db.execute_batch(migration.sql).unwrap());
        let (owner, other) = (UserId::from(Uuid::from_u128(1)), UserId::from(Uuid::from_u128(2)));
        let id = TaskId(Uuid::from_u128(3));
        let task = Task {
            id,
            version: 1,
            title: Title::new("x").unwrap(),
            description: Description::default(),
            priority: Priority::None,
            due_time: None,
            labels: Labels::default(),
            create_time: Timestamp::UNIX_EPOCH,
            update_time: Timestamp::UNIX_EPOCH,
            complete_time: None,
            delete_time: None,
        };
        put(&db, owner, None, &task).unwrap();
        // A statement that forgot the owner.
        let mut statement = db.prepare("SELECT * FROM tasks").unwrap();
        let columns = Columns::of(&statement).unwrap();
        let mut rows = statement.query([]).unwrap();
        let row = rows.next().unwrap().unwrap();
        assert_eq!(columns.task(row, owner), Ok(task));
        let wrong = Error::Inconsistent { table: "tasks", column: "owner", key: id.to_string() };
        assert_eq!(columns.task(row, other), Err(wrong));
    }
}
