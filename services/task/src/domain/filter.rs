//! Which tasks a list has, in which order, and where a page begins: pure, so that every engine
//! answers alike.

use uuid::Uuid;

use super::task::{DueTime, Task, TaskId};

/// What the tasks of a list have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Done, or not done.
    pub completed: Option<bool>,
    /// Due then or later.
    pub due_after: Option<DueTime>,
    /// Due earlier than that.
    pub due_before: Option<DueTime>,
    /// With exactly this label.
    pub label: Option<String>,
    /// With all of these in title or description.
    pub words: Words,
    /// Also the deleted ones.
    pub show_deleted: bool,
}

/// Words to look for, whatever their case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words(Vec<String>);

/// What a list is sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Key {
    /// When tasks were made.
    #[default]
    CreateTime,
    /// When tasks are due; those without a time come after all others.
    DueTime,
    /// When tasks last changed.
    UpdateTime,
}

/// How a list is sorted; equal keys are sorted by id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Order {
    /// By what.
    pub key: Key,
    /// Largest first.
    pub descending: bool,
}

/// A place in a sorted list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The key in microseconds.
    pub key: i64,
    /// The task.
    pub id: TaskId,
}

/// The part of a sorted list that a page may come from; neither end belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Everything in it is larger than this.
    pub above: Position,
    /// Everything in it is smaller than this.
    pub below: Position,
}

/// The key of a task without a due time: later than every time there is.
pub const NOT_DUE: i64 = i64::MAX;

const FIRST_ID: TaskId = TaskId(Uuid::nil());
const LAST_ID: TaskId = TaskId(Uuid::max());

// === impl Filter ===

impl Filter {
    /// Whether a task belongs to the list.
    #[must_use]
    pub fn matches(&self, task: &Task) -> bool {
        (self.show_deleted || !task.is_deleted())
            && self.completed.is_none_or(|completed| completed == task.is_completed())
            && self.due_after.is_none_or(|after| task.due_time.is_some_and(|due| due >= after))
            && self.due_before.is_none_or(|before| task.due_time.is_some_and(|due| due < before))
            && self.label.as_ref().is_none_or(|label| task.labels.as_slice().contains(label))
            && self.words.are_in(task)
    }
}

// === impl Words ===

impl Words {
    /// The words of a text, folded to lower case.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(text.split_whitespace().map(str::to_lowercase).collect())
    }

    /// Whether there is nothing to look for.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn are_in(&self, task: &Task) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let (title, description) = (task.title.as_str().to_lowercase(), task.description.as_str().to_lowercase());
        self.0.iter().all(|word| title.contains(word.as_str()) || description.contains(word.as_str()))
    }
}

// === impl Order ===

impl Order {
    /// Reads `due_time desc` and the like; nothing when it is not on the list of what is allowed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        let key = match words.next() {
            None => return Some(Self::default()),
            Some("create_time") => Key::CreateTime,
            Some("due_time") => Key::DueTime,
            Some("update_time") => Key::UpdateTime,
            Some(_) => return None,
        };
        let descending = match words.next() {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(_) => return None,
        };
        words.next().is_none().then_some(Self { key, descending })
    }

    /// Where a task is in this order.
    #[must_use]
    pub fn position(self, task: &Task) -> Position {
        let key = match self.key {
            Key::CreateTime => task.create_time.as_microsecond(),
            Key::DueTime => due_key(task.due_time),
            Key::UpdateTime => task.update_time.as_microsecond(),
        };
        Position { key, id: task.id }
    }

    /// The part of the list that comes after `after` and that `filter` can accept.
    #[must_use]
    pub fn range(self, filter: &Filter, after: Option<Position>) -> Range {
        let mut range =
            Range { above: Position { key: i64::MIN, id: FIRST_ID }, below: Position { key: i64::MAX, id: LAST_ID } };
        if self.key == Key::DueTime && (filter.due_after.is_some() || filter.due_before.is_some()) {
            // Tasks that are not due are in no range of times.
            let (from, to) = (filter.due_after, filter.due_before);
            range.below = Position { key: to.map_or(NOT_DUE, DueTime::micros), id: FIRST_ID };
            if let Some(from) = from {
                range.above = Position { key: from.micros() - 1, id: LAST_ID };
            }
        }
        match after {
            Some(after) if self.descending => range.below = range.below.min(after),
            Some(after) => range.above = range.above.max(after),
            None => {}
        }
        range
    }
}

// === impl Position ===

impl Position {
    /// The bytes that go into a page token.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.key.to_be_bytes());
        bytes[8..].copy_from_slice(self.id.0.as_bytes());
        bytes
    }

    /// Reads the bytes of a page token.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (key, id) = bytes.split_first_chunk::<8>()?;
        Some(Self { key: i64::from_be_bytes(*key), id: TaskId(Uuid::from_slice(id).ok()?) })
    }
}

/// The key of a due time, as it is sorted and stored.
#[must_use]
pub fn due_key(due: Option<DueTime>) -> i64 {
    due.map_or(NOT_DUE, DueTime::micros)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::task::{Description, Labels, Priority, Title};

    fn task(number: u128, due: Option<i64>) -> Task {
        Task {
            id: TaskId(Uuid::from_u128(number)),
            version: 1,
            title: Title::new("Buy Äpfel").unwrap(),
            description: Description::new("at the MARKET; 100 % ripe").unwrap(),
            priority: Priority::None,
            due_time: due.map(|seconds| DueTime::new(seconds, 0).unwrap()),
            labels: Labels::new(vec!["home".into()]).unwrap(),
            create_time: Timestamp::UNIX_EPOCH,
            update_time: Timestamp::UNIX_EPOCH,
            complete_time: None,
            delete_time: None,
        }
    }

    fn due(seconds: i64) -> Option<DueTime> {
        Some(DueTime::new(seconds, 0).unwrap())
    }

    #[test]
    fn r_056_an_order_off_the_list_is_refused() {
        let order = |key, descending| Some(Order { key, descending });
        assert_eq!(Order::parse(""), order(Key::CreateTime, false));
        assert_eq!(Order::parse("due_time"), order(Key::DueTime, false));
        assert_eq!(Order::parse("  update_time   desc "), order(Key::UpdateTime, true));
        assert_eq!(Order::parse("create_time asc"), order(Key::CreateTime, false));
        for bad in ["title", "create_time; DROP TABLE tasks", "due_time DESC", "due_time desc desc", "due_time,id", "1"]
        {
            assert_eq!(Order::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn r_056_words_are_found_whatever_their_case_and_mean_only_themselves() {
        let found = |query: &str| Filter { words: Words::of(query), ..Filter::default() }.matches(&task(1, None));
        for query in ["", "  ", "äpfel", "market BUY", "100 %", "pfe"] {
            assert!(found(query), "{query}");
        }
        for query in ["pears", "buy pears", "1_0", "b%y", "' OR 1=1", "\"buy\"", "b.y", "buy*"] {
            assert!(!found(query), "{query}");
        }
    }

    #[test]
    fn a_due_range_has_its_start_and_not_its_end_and_no_task_without_time() {
        let filter = Filter { due_after: due(10), due_before: due(20), ..Filter::default() };
        let matches = |seconds| filter.matches(&task(1, seconds));
        assert_eq!([Some(9), Some(10), Some(19), Some(20), None].map(matches), [false, true, true, false, false]);
    }

    #[test]
    fn a_range_holds_what_the_filter_accepts_and_what_comes_after() {
        let tasks: Vec<_> = [Some(9), Some(10), Some(10), Some(19), Some(20), None, None]
            .into_iter()
            .zip(1..)
            .map(|(seconds, number)| task(number, seconds))
            .collect();
        let inside = |order: Order, filter: &Filter, after: Option<usize>| {
            let range = order.range(filter, after.map(|index| order.position(&tasks[index])));
            (0..tasks.len())
                .filter(|index| {
                    let position = order.position(&tasks[*index]);
                    range.above < position && position < range.below
                })
                .collect::<Vec<_>>()
        };
        let (up, down) =
            (Order { key: Key::DueTime, descending: false }, Order { key: Key::DueTime, descending: true });
        let all = Filter::default();
        assert_eq!(inside(up, &all, None), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(inside(up, &all, Some(1)), [2, 3, 4, 5, 6]);
        assert_eq!(inside(down, &all, Some(5)), [0, 1, 2, 3, 4]);
        let between = Filter { due_after: due(10), due_before: due(20), ..Filter::default() };
        assert_eq!(inside(up, &between, None), [1, 2, 3]);
        assert_eq!(inside(up, &between, Some(1)), [2, 3]);
        assert_eq!(inside(down, &between, Some(3)), [1, 2]);
        let from = Filter { due_after: due(10), ..Filter::default() };
        assert_eq!(inside(up, &from, None), [1, 2, 3, 4]);
        let until = Filter { due_before: due(10), ..Filter::default() };
        assert_eq!(inside(down, &until, None), [0]);
        let by_creation = Order::default();
        assert_eq!(inside(by_creation, &between, None), [0, 1, 2, 3, 4, 5, 6], "only its own order narrows");
    }

    #[test]
    fn a_position_is_read_back_from_its_bytes() {
        for key in [i64::MIN, -1, 0, 7, i64::MAX] {
            let position = Position { key, id: TaskId(Uuid::from_u128(99)) };
            assert_eq!(Position::from_bytes(&position.to_bytes()), Some(position));
        }
        assert_eq!(Position::from_bytes(b"short"), None);
        assert_eq!(Position::from_bytes(&[0; 25]), None);
    }
}
