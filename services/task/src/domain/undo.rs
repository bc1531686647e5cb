//! Taking changes back: three-way, per task and field, pure.
//!
//! A field that still is as the last of the changes left it becomes what it was before the first of
//! them. A field that somebody else wrote meanwhile stays as they left it and is a conflict. A task
//! that the changes made is deleted, unless somebody else wrote to it: deleting would take that
//! away, too.

use std::collections::BTreeMap;

use errand_changelog::Change;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    task::{DueTime, Labels, Priority, Task, TaskId},
    write::{Kind, to_the_microsecond},
};

/// How long a change can be undone.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Changes that one undo takes back at most: all that a turn can make.
pub const CHANGES: usize = 10_000;

/// What of a task an undo looks at by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// What to do.
    Title,
    /// More about it.
    Description,
    /// How much it matters.
    Priority,
    /// When it should be done.
    DueTime,
    /// Its labels.
    Labels,
    /// Whether it is done, and since when.
    Completed,
    /// Whether it is deleted, and since when.
    Deleted,
}

/// The value of a field, as a conflict shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// There is none.
    Nothing,
    /// Yes or no.
    Flag(bool),
    /// A text.
    Text(String),
    /// A priority.
    Priority(Priority),
    /// A due time.
    Time(DueTime),
    /// Labels.
    Labels(Labels),
}

/// A field that is not taken back, because somebody else wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The task.
    pub task: TaskId,
    /// The field.
    pub field: Field,
    /// What the undo would have made of it.
    pub ours: Value,
    /// What somebody else made of it; it stays.
    pub theirs: Value,
    /// The title of the task as it is; empty when it is gone.
    #[serde(default)]
    pub title: String,
}

/// One task to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    /// The task as it is.
    pub before: Task,
    /// The task as it will be.
    pub after: Task,
    /// The word for it.
    pub kind: Kind,
}

/// What an undo comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undo {
    /// The tasks to be written, in the order in which the changes touched them first.
    pub tasks: Vec<Undone>,
    /// What stays as it is.
    pub conflicts: Vec<Conflict>,
}

/// What taking back `changes`, which are in order, makes of the tasks as they are `today`.
#[must_use]
pub fn undo(changes: &[Change<Task>], today: &BTreeMap<TaskId, Task>, now: Timestamp) -> Undo {
    let mut order = Vec::new();
    let mut by_task: BTreeMap<TaskId, Vec<&Change<Task>>> = BTreeMap::new();
    for change in changes {
        if let Some(task) = change.before.as_ref().or(change.after.as_ref()) {
            let of_task = by_task.entry(task.id).or_default();
            if of_task.is_empty() {
                order.push(task.id);
            }
            of_task.push(change);
        }
    }
    let mut undo = Undo::default();
    for (id, changes) in order.into_iter().filter_map(|id| Some((id, by_task.remove(&id)?))) {
        undo_task(id, &changes, today.get(&id), now, &mut undo);
    }
    undo
}

fn undo_task(id: TaskId, changes: &[&Change<Task>], today: Option<&Task>, now: Timestamp, undo: &mut Undo) {
    let is_new = changes.first().is_some_and(|first| first.before.is_none());
    let Some(today) = today else {
        // Purged: what the changes made is gone anyway, what they changed can not come back.
        if !is_new {
            let (ours, theirs) = (Value::Flag(false), Value::Flag(true));
            undo.conflicts.push(Conflict { task: id, field: Field::Deleted, ours, theirs, title: String::new() });
        }
        return;
    };
    let mut after = today.clone();
    let mut conflicts = Vec::new();
    if is_new {
        if today.is_deleted() {
            return;
        }
        for field in Field::ALL {
            if !is_untouched(field, changes, today) {
                conflicts.push(Conflict::of(today, field, Value::Nothing));
            }
        }
        if conflicts.is_empty() {
            after.delete_time = Some(to_the_microsecond(now).max(today.update_time));
        }
    } else {
        for field in Field::ALL {
            let Some(first) = changes.iter().find(|change| writes(field, change)) else { continue };
            let Some(wanted) = first.before.as_ref() else { continue };
            if field.is_same(today, wanted) {
                continue;
            }
            if is_untouched(field, changes, today) {
                field.copy(wanted, &mut after);
            } else {
                conflicts.push(Conflict::of(today, field, field.of(wanted)));
            }
        }
    }
    undo.conflicts.append(&mut conflicts);
    if after != *today {
        // A clock that was put back must not make a task older than it was.
        after.update_time = to_the_microsecond(now).max(today.update_time);
        let kind = kind(today, &after);
        undo.tasks.push(Undone { before: today.clone(), after, kind });
    }
}

/// Whether nobody else wrote a field: each change that wrote it found it as the one before had left
/// it, and it still is as the last one left it.
fn is_untouched(field: Field, changes: &[&Change<Task>], today: &Task) -> bool {
    let mut left: Option<&Task> = None;
    for change in changes.iter().filter(|change| writes(field, change)) {
        if let (Some(left), Some(found)) = (left, &change.before)
            && !field.is_same(left, found)
        {
            return false;
        }
        left = change.after.as_ref();
    }
    left.is_some_and(|left| field.is_same(left, today))
}

/// Whether a change wrote a field. Making a task writes all of them.
fn writes(field: Field, change: &Change<Task>) -> bool {
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => !field.is_same(before, after),
        _ => true,
    }
}

/// The word for a change that an undo makes.
fn kind(before: &Task, after: &Task) -> Kind {
    let only = |field| Field::ALL.into_iter().all(|other| other == field || other.is_same(before, after));
    match (before.is_deleted(), after.is_deleted()) {
        (false, true) => Kind::Delete,
        (true, false) => Kind::Undelete,
        _ if only(Field::Completed) && after.is_completed() => Kind::Complete,
        _ if only(Field::Completed) => Kind::Reopen,
        _ => Kind::Update,
    }
}

// === impl Conflict ===

impl Conflict {
    /// What somebody else made of a field of the task as it is today.
    fn of(today: &Task, field: Field, ours: Value) -> Self {
        Self { task: today.id, field, ours, theirs: field.of(today), title: today.title.as_str().to_owned() }
    }
}

// === impl Field ===

impl Field {
    /// Every field.
    pub const ALL: [Self; 7] =
        [Self::Title, Self::Description, Self::Priority, Self::DueTime, Self::Labels, Self::Completed, Self::Deleted];

    /// Whether two states of a task have the same value.
    #[must_use]
    pub fn is_same(self, one: &Task, other: &Task) -> bool {
        match self {
            Self::Title => one.title == other.title,
            Self::Description => one.description == other.description,
            Self::Priority => one.priority == other.priority,
            Self::DueTime => one.due_time == other.due_time,
            Self::Labels => one.labels == other.labels,
            Self::Completed => one.complete_time == other.complete_time,
            Self::Deleted => one.delete_time == other.delete_time,
        }
    }

    fn copy(self, from: &Task, to: &mut Task) {
        match self {
            Self::Title => to.title = from.title.clone(),
            Self::Description => to.description = from.description.clone(),
            Self::Priority => to.priority = from.priority,
            Self::DueTime => to.due_time = from.due_time,
            Self::Labels => to.labels = from.labels.clone(),
            Self::Completed => to.complete_time = from.complete_time,
            Self::Deleted => to.delete_time = from.delete_time,
        }
    }

    fn of(self, task: &Task) -> Value {
        match self {
            Self::Title => Value::Text(task.title.as_str().to_owned()),
            Self::Description => Value::Text(task.description.as_str().to_owned()),
            Self::Priority => Value::Priority(task.priority),
            Self::DueTime => task.due_time.map_or(Value::Nothing, Value::Time),
            Self::Labels => Value::Labels(task.labels.clone()),
            Self::Completed => Value::Flag(task.is_completed()),
            Self::Deleted => Value::Flag(task.is_deleted()),
        }
    }
}

#[cfg(test)]
#[path = "undo_tests.rs"]
mod tests;
