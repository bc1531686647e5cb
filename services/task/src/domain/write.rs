//! What may be done to a task, decided in one pure function before anything is stored.

use jiff::Timestamp;

use super::task::{Description, DueTime, Labels, Priority, Task, TaskId, Title};

/// One thing to do to one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Make it.
    Create(Draft),
    /// Change some of its fields.
    Patch(Patch),
    /// Mark it as done.
    Complete,
    /// Mark it as not done.
    Reopen,
    /// Delete it softly.
    Delete,
    /// Bring it back.
    Undelete,
}

/// The word for a change in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It was made.
    Create,
    /// Some of its fields changed.
    Update,
    /// It was marked as done.
    Complete,
    /// It was marked as not done.
    Reopen,
    /// It was deleted softly.
    Delete,
    /// It was brought back.
    Undelete,
    /// It is gone for good.
    Purge,
}

/// What a new task is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What to do.
    pub title: Title,
    /// More about it.
    pub description: Description,
    /// How much it matters.
    pub priority: Priority,
    /// When it should be done.
    pub due_time: Option<DueTime>,
    /// Its labels.
    pub labels: Labels,
}

/// The fields that change, with their new values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// What to do.
    pub title: Option<Title>,
    /// More about it.
    pub description: Option<Description>,
    /// How much it matters.
    pub priority: Option<Priority>,
    /// When it should be done; `Some(None)` takes the time away.
    pub due_time: Option<Option<DueTime>>,
    /// Its labels, all of them.
    pub labels: Option<Labels>,
}

/// What a write comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// The task as it will be; its version is still the old one, the store gives the new one.
    Changed(Task),
    /// It is so already.
    Unchanged(Task),
}

/// Why a write can not be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such task for this write.
    NotFound,
    /// The task is deleted.
    Deleted,
    /// The task is not deleted.
    NotDeleted,
    /// The task is not the version that the caller knows.
    EtagMismatch,
    /// A new task's id is taken.
    Taken,
}

/// What `write` makes of the task `id` that is now `before`. `etag`, when given, is the version that
/// the caller wants to change. A state that forbids the write is told before a wrong version.
pub fn apply(
    id: TaskId,
    before: Option<&Task>,
    write: &Write,
    etag: Option<&str>,
    now: Timestamp,
) -> Result<Applied, Refusal> {
    if let Write::Create(draft) = write {
        return match before {
            None => Ok(Applied::Changed(create(id, draft.clone(), to_the_microsecond(now)))),
            Some(_) => Err(Refusal::Taken),
        };
    }
    let before = before.ok_or(Refusal::NotFound)?;
    match (write, before.is_deleted()) {
        (Write::Undelete, false) => return Err(Refusal::NotDeleted),
        (Write::Delete, true) => return Err(Refusal::NotFound),
        (Write::Patch(_) | Write::Complete | Write::Reopen, true) => return Err(Refusal::Deleted),
        _ => {}
    }
    if etag.is_some_and(|etag| etag != before.etag()) {
        return Err(Refusal::EtagMismatch);
    }
    // A clock that was put back must not make a task older than it was.
    let now = to_the_microsecond(now).max(before.update_time);
    let mut after = before.clone();
    match write {
        Write::Create(_) => {}
        Write::Patch(patch) => patch.clone().onto(&mut after),
        Write::Complete => after.complete_time = after.complete_time.or(Some(now)),
        Write::Reopen => after.complete_time = None,
        Write::Delete => after.delete_time = Some(now),
        Write::Undelete => after.delete_time = None,
    }
    if after == *before {
        return Ok(Applied::Unchanged(after));
    }
    after.update_time = now;
    Ok(Applied::Changed(after))
}

fn create(id: TaskId, draft: Draft, now: Timestamp) -> Task {
    let Draft { title, description, priority, due_time, labels } = draft;
    Task {
        id,
        version: 0,
        title,
        description,
        priority,
        due_time,
        labels,
        create_time: now,
        update_time: now,
        complete_time: None,
        delete_time: None,
    }
}

/// Times are kept to the microsecond; a task must not change by being stored.
pub(super) fn to_the_microsecond(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

// === impl Write ===

impl Write {
    /// The word for it in the change log.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Write::Create(_) => Kind::Create,
            Write::Patch(_) => Kind::Update,
            Write::Complete => Kind::Complete,
            Write::Reopen => Kind::Reopen,
            Write::Delete => Kind::Delete,
            Write::Undelete => Kind::Undelete,
        }
    }
}

// === impl Kind ===

impl Kind {
    const ALL: [Self; 7] =
        [Self::Create, Self::Update, Self::Complete, Self::Reopen, Self::Delete, Self::Undelete, Self::Purge];

    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Complete => "complete",
            Self::Reopen => "reopen",
            Self::Delete => "delete",
            Self::Undelete => "undelete",
            Self::Purge => "purge",
        }
    }

    /// Reads the stored word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

// === impl Patch ===

impl Patch {
    fn onto(self, task: &mut Task) {
        let Self { title, description, priority, due_time, labels } = self;
        if let Some(title) = title {
            task.title = title;
        }
        if let Some(description) = description {
            task.description = description;
        }
        if let Some(priority) = priority {
            task.priority = priority;
        }
        if let Some(due_time) = due_time {
            task.due_time = due_time;
        }
        if let Some(labels) = labels {
            task.labels = labels;
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use uuid::Uuid;

    use super::*;

    const ID: TaskId = TaskId(Uuid::from_u128(1));
    const NOW: Timestamp = Timestamp::constant(1_795_251_600, 123_456_789);

    fn later(seconds: i64) -> Timestamp {
        NOW + SignedDuration::from_secs(seconds)
    }

    fn draft() -> Draft {
        Draft {
            title: Title::new("Buy milk").unwrap(),
            description: Description::default(),
            priority: Priority::Low,
            due_time: Some(DueTime::new(7, 0).unwrap()),
            labels: Labels::new(vec!["home".into()]).unwrap(),
        }
    }

    fn changed(before: Option<&Task>, write: &Write, now: Timestamp) -> Task {
        match apply(ID, before, write, None, now) {
            Ok(Applied::Changed(task)) => task,
            other => panic!("{write:?} gave {other:?}"),
        }
    }

    fn live() -> Task {
        Task { version: 26, ..changed(None, &Write::Create(draft()), NOW) }
    }

    fn deleted() -> Task {
        changed(Some(&live()), &Write::Delete, later(1))
    }

    #[test]
    fn a_new_task_is_open_live_and_dated_to_the_microsecond() {
        let task = live();
        assert_eq!(task.create_time.subsec_nanosecond(), 123_456_000);
        assert_eq!((task.update_time, task.is_completed(), task.is_deleted()), (task.create_time, false, false));
        assert_eq!(task.etag(), "1a");
        assert_eq!(apply(ID, Some(&task), &Write::Create(draft()), None, NOW), Err(Refusal::Taken));
    }

    #[test]
    fn a_patch_changes_what_it_names_and_nothing_else() {
        let patch = Patch { due_time: Some(None), labels: Some(Labels::default()), ..Patch::default() };
        let after = changed(Some(&live()), &Write::Patch(patch), later(5));
        let expected = Task { due_time: None, labels: Labels::default(), update_time: after.update_time, ..live() };
        assert_eq!(after, expected);
        assert!(after.update_time > live().update_time);
    }

    #[test]
    fn what_is_so_already_is_unchanged() {
        let open = live();
        let same = Write::Patch(Patch { title: Some(open.title.clone()), ..Patch::default() });
        for write in [same, Write::Patch(Patch::default()), Write::Reopen] {
            assert_eq!(apply(ID, Some(&open), &write, None, later(5)), Ok(Applied::Unchanged(open.clone())));
        }
        let done = changed(Some(&open), &Write::Complete, later(1));
        assert_eq!(apply(ID, Some(&done), &Write::Complete, None, later(5)), Ok(Applied::Unchanged(done.clone())));
        assert_eq!(changed(Some(&done), &Write::Reopen, later(2)).complete_time, None);
    }

    #[test]
    fn r_067_a_deleted_task_can_only_be_brought_back() {
        let deleted = deleted();
        for (write, refusal) in [
            (Write::Patch(Patch::default()), Refusal::Deleted),
            (Write::Complete, Refusal::Deleted),
            (Write::Reopen, Refusal::Deleted),
            (Write::Delete, Refusal::NotFound),
        ] {
            assert_eq!(apply(ID, Some(&deleted), &write, None, later(2)), Err(refusal));
            // The state is told before the version, which changed with it.
            assert_eq!(apply(ID, Some(&deleted), &write, Some("0"), later(2)), Err(refusal));
        }
        let back = changed(Some(&deleted), &Write::Undelete, later(2));
        assert_eq!(Task { update_time: live().update_time, ..back }, live());
        assert_eq!(apply(ID, Some(&live()), &Write::Undelete, None, NOW), Err(Refusal::NotDeleted));
    }

    #[test]
    fn a_task_that_is_not_there_is_not_found() {
        for write in [Write::Patch(Patch::default()), Write::Complete, Write::Reopen, Write::Delete, Write::Undelete] {
            assert_eq!(apply(ID, None, &write, None, NOW), Err(Refusal::NotFound));
        }
    }

    #[test]
    fn another_version_than_the_callers_is_left_alone() {
        let live = live();
        for etag in ["1b", "", "W/\"1a\"", "01a"] {
            assert_eq!(apply(ID, Some(&live), &Write::Complete, Some(etag), NOW), Err(Refusal::EtagMismatch));
        }
        assert!(apply(ID, Some(&live), &Write::Complete, Some("1a"), NOW).is_ok());
    }

    #[test]
    fn r_109_a_clock_that_was_put_back_makes_nothing_older() {
        let before = live();
        let after = changed(Some(&before), &Write::Complete, later(-3600));
        assert_eq!((after.update_time, after.complete_time), (before.update_time, Some(before.update_time)));
    }
}
