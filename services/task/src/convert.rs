//! Between the contract's messages and the domain's types.

pub(crate) mod changes;

use std::collections::HashSet;

use errand_proto::{
    task::{self as proto, ListTasksRequest},
    validation::Violation,
};
use jiff::Timestamp;
use prost_types::FieldMask;
use uuid::Uuid;

use crate::{
    app::{Command, Written},
    domain::{
        filter::{Filter, Order, Words},
        task::{Description, DueTime, Invalid, Labels, Priority, Task, TaskId, Title},
        write::{Draft, Patch, Write},
    },
    error::Error,
};

/// Paths that a mask may have: every field can be named, a flood can not.
const PATHS: usize = 32;

/// A field that a client may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Title,
    Description,
    Priority,
    DueTime,
    Labels,
}

/// Collects everything that is wrong with a message at a path of the request, so that it is told at
/// once.
struct Faults<'p> {
    at: &'p str,
    found: Vec<Violation>,
}

// === in ===

/// The id in a request's field.
pub(crate) fn task_id(text: &str, field: &str) -> Result<TaskId, Error> {
    let wrong = |reason, description| Error::Invalid(vec![Violation::new(field, reason, description)]);
    match Uuid::try_parse(text) {
        // One spelling only: lower case, with hyphens.
        Ok(id) if id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text => Ok(TaskId(id)),
        _ if text.is_empty() => Err(wrong("REQUIRED", "must be set")),
        _ => Err(wrong("INVALID_FORMAT", "must be a UUID in lower case")),
    }
}

/// A batch of commands: each item is read with its path, and all that is wrong is told at once. No
/// task may be named twice.
pub(crate) fn batch<T>(items: Vec<T>, read: impl Fn(T, &str) -> Result<Command, Error>) -> Result<Vec<Command>, Error> {
    let (mut commands, mut faults) = (Vec::with_capacity(items.len()), Vec::new());
    for (index, item) in items.into_iter().enumerate() {
        match read(item, &format!("requests[{index}]")) {
            Ok(command) => commands.push((index, command)),
            Err(Error::Invalid(mut violations)) => faults.append(&mut violations),
            Err(error) => return Err(error),
        }
    }
    let mut seen = HashSet::new();
    for (index, command) in &commands {
        if command.target.is_some_and(|target| !seen.insert(target)) {
            let field = match command.write {
                Write::Patch(_) => format!("requests[{index}].task.id"),
                _ => format!("requests[{index}].taskId"),
            };
            faults.push(Violation::new(field, "DUPLICATE", "must not name a task twice"));
        }
    }
    if faults.is_empty() {
        Ok(commands.into_iter().map(|(_, command)| command).collect())
    } else {
        Err(Error::Invalid(faults))
    }
}

/// What makes a new task.
pub(crate) fn create(task: Option<proto::Task>, at: &str) -> Result<Command, Error> {
    let write = Write::Create(draft(task.unwrap_or_default(), at)?);
    Ok(Command { target: None, write, etag: None })
}

/// What changes a task; the paths are those of the task and of the mask.
pub(crate) fn update(
    task: Option<proto::Task>,
    mask: Option<&FieldMask>,
    at: &str,
    mask_at: &str,
) -> Result<Command, Error> {
    let task = task.unwrap_or_default();
    let (id, etag) = (task_id(&task.id, &format!("{at}.id")), given(task.etag.clone()));
    match (id, patch(task, mask, at, mask_at)) {
        (Ok(id), Ok(patch)) => Ok(Command { target: Some(id), write: Write::Patch(patch), etag }),
        (Err(Error::Invalid(mut faults)), Err(Error::Invalid(mut more))) => {
            faults.append(&mut more);
            Err(Error::Invalid(faults))
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// What else is done to a task.
pub(crate) fn act(id: &str, etag: String, write: Write, field: &str) -> Result<Command, Error> {
    Ok(Command { target: Some(task_id(id, field)?), write, etag: given(etag) })
}

/// A text that was set.
pub(crate) fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn draft(task: proto::Task, at: &str) -> Result<Draft, Error> {
    let mut faults = Faults::at(at);
    let title = faults.found("title", Title::new(task.title));
    let description = faults.found("description", Description::new(task.description));
    let due_time = faults.found("dueTime", task.due_time.map(due_time).transpose());
    let labels = faults.found("labels", Labels::new(task.labels));
    let priority = priority(task.priority);
    match (title, description, due_time, labels) {
        (Some(title), Some(description), Some(due_time), Some(labels)) => {
            Ok(Draft { title, description, priority, due_time, labels })
        }
        _ => Err(Error::Invalid(faults.found)),
    }
}

/// The changes that a mask picks from a task; without one, the fields that have a value.
fn patch(task: proto::Task, mask: Option<&FieldMask>, at: &str, mask_at: &str) -> Result<Patch, Error> {
    let fields = match mask {
        Some(mask) if !mask.paths.is_empty() => {
            fields(&mask.paths, mask_at).map_err(|fault| Error::Invalid(vec![fault]))?
        }
        _ => populated(&task),
    };
    let mut faults = Faults::at(at);
    let mut patch = Patch::default();
    if fields.contains(&Field::Title) {
        patch.title = faults.found("title", Title::new(task.title));
    }
    if fields.contains(&Field::Description) {
        patch.description = faults.found("description", Description::new(task.description));
    }
    if fields.contains(&Field::Priority) {
        patch.priority = Some(priority(task.priority));
    }
    if fields.contains(&Field::DueTime) {
        patch.due_time = faults.found("dueTime", task.due_time.map(due_time).transpose());
    }
    if fields.contains(&Field::Labels) {
        patch.labels = faults.found("labels", Labels::new(task.labels));
    }
    if faults.found.is_empty() { Ok(patch) } else { Err(Error::Invalid(faults.found)) }
}

/// What a list is narrowed to and sorted by.
pub(crate) fn filter(request: &ListTasksRequest) -> Result<(Filter, Order), Error> {
    let mut faults = Faults::at("");
    let due_after = faults.found("dueAfter", request.due_after.map(due_time).transpose()).flatten();
    let due_before = faults.found("dueBefore", request.due_before.map(due_time).transpose()).flatten();
    let order = Order::parse(&request.order_by);
    if order.is_none() {
        let description = "must be create_time, due_time or update_time, each optionally followed by asc or desc";
        faults.found.push(Violation::new("orderBy", "UNKNOWN_VALUE", description));
    }
    let filter = Filter {
        completed: request.completed,
        due_after,
        due_before,
        label: Some(request.label.clone()).filter(|label| !label.is_empty()),
        words: Words::of(&request.query),
        show_deleted: request.show_deleted,
    };
    match order {
        Some(order) if faults.found.is_empty() => Ok((filter, order)),
        _ => Err(Error::Invalid(faults.found)),
    }
}

fn fields(paths: &[String], at: &str) -> Result<Vec<Field>, Violation> {
    let wrong = |reason, description: String| Violation::new(at, reason, description);
    if paths.len() > PATHS {
        return Err(wrong("TOO_MANY", format!("must have at most {PATHS} paths")));
    }
    let field = |path: &String| match path.as_str() {
        "title" => Ok(Field::Title),
        "description" => Ok(Field::Description),
        "priority" => Ok(Field::Priority),
        "due_time" | "dueTime" => Ok(Field::DueTime),
        "labels" => Ok(Field::Labels),
        "id" | "completed" | "etag" | "create_time" | "createTime" | "update_time" | "updateTime" | "complete_time"
        | "completeTime" | "delete_time" | "deleteTime" => {
            Err(wrong("READ_ONLY", format!("{path} can not be changed by an update")))
        }
        _ => Err(wrong("UNKNOWN_FIELD", "may only name title, description, priority, due_time and labels".to_owned())),
    };
    paths.iter().map(field).collect()
}

fn populated(task: &proto::Task) -> Vec<Field> {
    let set = [
        (Field::Title, !task.title.is_empty()),
        (Field::Description, !task.description.is_empty()),
        (Field::Priority, task.priority != 0),
        (Field::DueTime, task.due_time.is_some()),
        (Field::Labels, !task.labels.is_empty()),
    ];
    set.into_iter().filter_map(|(field, set)| set.then_some(field)).collect()
}

fn due_time(time: prost_types::Timestamp) -> Result<DueTime, Invalid> {
    DueTime::new(time.seconds, time.nanos)
}

fn priority(number: i32) -> Priority {
    match proto::Priority::try_from(number) {
        Ok(proto::Priority::Low) => Priority::Low,
        Ok(proto::Priority::Medium) => Priority::Medium,
        Ok(proto::Priority::High) => Priority::High,
        // The contract refuses numbers without a name.
        Ok(proto::Priority::Unspecified | proto::Priority::None) | Err(_) => Priority::None,
    }
}

// === out ===

/// The answer to a write. A task that is not stored has no version, and a new one no id either.
pub(crate) fn written(written: &Written) -> Vec<proto::Task> {
    match written {
        Written::Done(tasks) => tasks.iter().map(to_proto).collect(),
        Written::Would(tasks) => tasks.iter().map(would).collect(),
    }
}

fn would(task: &Task) -> proto::Task {
    let id = if task.version == 0 { String::new() } else { task.id.to_string() };
    proto::Task { id, etag: String::new(), ..to_proto(task) }
}

/// A task as clients see it.
pub(crate) fn to_proto(task: &Task) -> proto::Task {
    proto::Task {
        id: task.id.to_string(),
        title: task.title.as_str().to_owned(),
        description: task.description.as_str().to_owned(),
        completed: task.is_completed(),
        priority: priority_name(task.priority).into(),
        due_time: task.due_time.map(|due| {
            let (seconds, nanos) = due.parts();
            prost_types::Timestamp { seconds, nanos }
        }),
        labels: task.labels.as_slice().to_vec(),
        etag: task.etag(),
        create_time: Some(instant(task.create_time)),
        update_time: Some(instant(task.update_time)),
        complete_time: task.complete_time.map(instant),
        delete_time: task.delete_time.map(instant),
    }
}

fn priority_name(priority: Priority) -> proto::Priority {
    match priority {
        Priority::None => proto::Priority::None,
        Priority::Low => proto::Priority::Low,
        Priority::Medium => proto::Priority::Medium,
        Priority::High => proto::Priority::High,
    }
}

fn instant(time: Timestamp) -> prost_types::Timestamp {
    let nanos = time.as_nanosecond();
    prost_types::Timestamp {
        seconds: i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or_default(),
        nanos: i32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or_default(),
    }
}

// === impl Faults ===

impl<'p> Faults<'p> {
    fn at(at: &'p str) -> Self {
        Self { at, found: Vec::new() }
    }

    fn found<T>(&mut self, field: &str, part: Result<T, Invalid>) -> Option<T> {
        let path = || if self.at.is_empty() { field.to_owned() } else { format!("{}.{field}", self.at) };
        match part {
            Ok(part) => Some(part),
            Err(invalid) => {
                let violation = Violation::new(path(), reason(invalid), invalid.to_string());
                self.found.push(violation);
                None
            }
        }
    }
}

fn reason(invalid: Invalid) -> &'static str {
    match invalid {
        Invalid::Required => "REQUIRED",
        Invalid::TooLong(_) => "TOO_LONG",
        Invalid::TooMany(_) => "TOO_MANY",
        Invalid::Duplicate => "DUPLICATE",
        Invalid::OutOfRange => "OUT_OF_RANGE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults<T: std::fmt::Debug>(result: Result<T, Error>) -> Vec<(String, &'static str)> {
        match result {
            Err(Error::Invalid(violations)) => {
                violations.into_iter().map(|violation| (violation.field, violation.reason)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn masked(paths: &[&str], task: proto::Task) -> Result<Patch, Error> {
        patch(task, Some(&FieldMask { paths: paths.iter().map(ToString::to_string).collect() }), "task", "updateMask")
    }

    #[test]
    fn r_046_a_blank_title_is_required_to_be_more() {
        for title in ["", "  ", "\u{3000}"] {
            let task = proto::Task { title: title.to_owned(), ..Default::default() };
            assert_eq!(faults(draft(task.clone(), "task")), [("task.title".to_owned(), "REQUIRED")]);
            assert_eq!(faults(masked(&["title"], task)), [("task.title".to_owned(), "REQUIRED")]);
        }
        let blank = proto::Task { title: " ".to_owned(), ..Default::default() };
        assert_eq!(faults(patch(blank, None, "task", "")), [("task.title".to_owned(), "REQUIRED")]);
    }

    #[test]
    fn r_055_a_mask_names_only_what_can_be_changed() {
        for path in ["id", "completed", "create_time", "updateTime", "delete_time", "etag"] {
            let answer = faults(masked(&["title", path], proto::Task::default()));
            assert_eq!(answer, [("updateMask".to_owned(), "READ_ONLY")], "{path}");
        }
        for path in ["owner", "*", "task.title", "title.x", "", "Title", "due_time.seconds", "verified", "role"] {
            let answer = faults(masked(&[path], proto::Task::default()));
            assert_eq!(answer, [("updateMask".to_owned(), "UNKNOWN_FIELD")], "{path}");
        }
        let flood = vec!["title"; 10_000];
        assert_eq!(faults(masked(&flood, proto::Task::default())), [("updateMask".to_owned(), "TOO_MANY")]);
    }

    #[test]
    fn r_055_an_empty_mask_means_the_fields_that_have_a_value() {
        let task = proto::Task { description: "d".to_owned(), completed: true, ..Default::default() };
        let expected = Patch { description: Some(Description::new("d").unwrap()), ..Patch::default() };
        assert_eq!(patch(task.clone(), None, "task", "").unwrap(), expected);
        assert_eq!(patch(task, Some(&FieldMask::default()), "task", "").unwrap(), expected);
        assert_eq!(patch(proto::Task::default(), None, "task", "").unwrap(), Patch::default());
    }

    #[test]
    fn a_masked_field_without_a_value_is_cleared() {
        let cleared = masked(&["description", "priority", "dueTime", "labels", "due_time"], proto::Task::default());
        let expected = Patch {
            title: None,
            description: Some(Description::default()),
            priority: Some(Priority::None),
            due_time: Some(None),
            labels: Some(Labels::default()),
        };
        assert_eq!(cleared.unwrap(), expected);
    }

    #[test]
    fn r_057_an_id_has_one_spelling() {
        assert!(task_id("01890000-0000-7000-8000-00000000000a", "task.id").is_ok());
        assert_eq!(faults(task_id("", "task.id")), [("task.id".to_owned(), "REQUIRED")]);
        for bad in [
            "x",
            "01890000-0000-7000-8000-00000000000A",
            "{01890000-0000-7000-8000-00000000000a}",
            "0189000000007000800000000000000a",
            "urn:uuid:01890000-0000-7000-8000-00000000000a",
        ] {
            assert_eq!(faults(task_id(bad, "task.id")), [("task.id".to_owned(), "INVALID_FORMAT")], "{bad}");
        }
    }

    #[test]
    fn r_058_times_outside_the_years_1_to_9999_are_refused_where_they_stand() {
        let time = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
        for bad in [time(-62_135_596_801, 0), time(253_402_300_800, 0), time(0, -1), time(i64::MIN, i32::MIN)] {
            let task = proto::Task { title: "a".to_owned(), due_time: bad, ..Default::default() };
            assert_eq!(faults(draft(task, "task")), [("task.dueTime".to_owned(), "OUT_OF_RANGE")]);
            let list = ListTasksRequest { due_after: bad, due_before: bad, ..Default::default() };
            let expected = [("dueAfter".to_owned(), "OUT_OF_RANGE"), ("dueBefore".to_owned(), "OUT_OF_RANGE")];
            assert_eq!(faults(filter(&list)), expected);
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let time = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
        let list = ListTasksRequest { due_after: time, order_by: "title".to_owned(), ..Default::default() };
        assert_eq!(faults(filter(&list)).len(), 2);
        let task = proto::Task { due_time: time, ..Default::default() };
        assert_eq!(faults(draft(task, "task")).len(), 2);
    }
}
