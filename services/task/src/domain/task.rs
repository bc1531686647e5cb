//! A task and its parts. A part can only be built valid; what is stored is trusted.
//!
//! Which characters a text may hold is a rule of the contract alone and not repeated here.

use std::{collections::HashSet, fmt};

use errand_changelog::Seq;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Characters in a title at most.
pub const TITLE_CHARACTERS: usize = 200;
/// Characters in a description at most.
pub const DESCRIPTION_CHARACTERS: usize = 1000;
/// Labels on a task at most.
pub const LABELS: usize = 20;
/// Characters in a label at most.
pub const LABEL_CHARACTERS: usize = 50;

/// Names a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub Uuid);

/// Something to do. Its JSON is what the change log keeps; a field that it lacks has its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub id: TaskId,
    /// The place of its last change in its owner's log.
    pub version: Seq,
    /// What to do.
    pub title: Title,
    /// More about it.
    #[serde(default)]
    pub description: Description,
    /// How much it matters.
    #[serde(default)]
    pub priority: Priority,
    /// When it should be done.
    #[serde(default)]
    pub due_time: Option<DueTime>,
    /// Its labels, in the order in which they were given.
    #[serde(default)]
    pub labels: Labels,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
    /// When it was completed; nothing while it is open.
    #[serde(default)]
    pub complete_time: Option<Timestamp>,
    /// When it was deleted; nothing while it is live.
    #[serde(default)]
    pub delete_time: Option<Timestamp>,
}

/// What to do: 1 to 200 characters, not only white space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Title(String);

/// More about a task: at most 1000 characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Description(String);

/// At most 20 different words of 1 to 50 characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(Vec<String>);

/// How much a task matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// No priority.
    #[default]
    None,
    /// Can wait.
    Low,
    /// Matters.
    Medium,
    /// Comes first.
    High,
}

/// An instant of the years 1 to 9999, to the microsecond. Wider than the clock's own type, which
/// ends a day before 9999 does, so that "never" can be written as the last second of 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DueTime(i64);

/// Why a part can not be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It says nothing.
    #[error("must not be blank")]
    Required,
    /// It has too many characters.
    #[error("must have at most {0} characters")]
    TooLong(usize),
    /// It has too many items.
    #[error("must have at most {0} items")]
    TooMany(usize),
    /// An item is there twice.
    #[error("must not have an item twice")]
    Duplicate,
    /// It is not an instant of the years 1 to 9999.
    #[error("must be in the years 1 to 9999, with nanos from 0 to 999999999")]
    OutOfRange,
}

// === impl Task ===

impl Task {
    /// Its version as clients see it.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("{:x}", self.version)
    }

    /// Whether it is done.
    #[must_use]
    pub const fn is_completed(&self) -> bool {
        self.complete_time.is_some()
    }

    /// Whether it is deleted.
    #[must_use]
    pub const fn is_deleted(&self) -> bool {
        self.delete_time.is_some()
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Title ===

impl Title {
    /// A title of this text, kept byte by byte.
    pub fn new(text: impl Into<String>) -> Result<Self, Invalid> {
        let text = text.into();
        if text.trim().is_empty() {
            return Err(Invalid::Required);
        }
        within(&text, TITLE_CHARACTERS)?;
        Ok(Self(text))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A text that a store kept.
    pub(crate) const fn stored(text: String) -> Self {
        Self(text)
    }
}

// === impl Description ===

impl Description {
    /// A description of this text, kept byte by byte.
    pub fn new(text: impl Into<String>) -> Result<Self, Invalid> {
        let text = text.into();
        within(&text, DESCRIPTION_CHARACTERS)?;
        Ok(Self(text))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A text that a store kept.
    pub(crate) const fn stored(text: String) -> Self {
        Self(text)
    }
}

// === impl Labels ===

impl Labels {
    /// These labels, in this order.
    pub fn new(labels: Vec<String>) -> Result<Self, Invalid> {
        if labels.len() > LABELS {
            return Err(Invalid::TooMany(LABELS));
        }
        for label in &labels {
            if label.is_empty() {
                return Err(Invalid::Required);
            }
            within(label, LABEL_CHARACTERS)?;
        }
        if labels.iter().collect::<HashSet<_>>().len() < labels.len() {
            return Err(Invalid::Duplicate);
        }
        Ok(Self(labels))
    }

    /// The labels.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// Labels that a store kept.
    pub(crate) const fn stored(labels: Vec<String>) -> Self {
        Self(labels)
    }
}

// === impl Priority ===

impl Priority {
    /// The number that is stored.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Priority::None => 0,
            Priority::Low => 1,
            Priority::Medium => 2,
            Priority::High => 3,
        }
    }

    /// Reads the stored number.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Priority::None),
            1 => Some(Priority::Low),
            2 => Some(Priority::Medium),
            3 => Some(Priority::High),
            _ => None,
        }
    }
}

// === impl DueTime ===

impl DueTime {
    /// The first second of year 1 and the last of year 9999.
    const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

    /// An instant in seconds since the epoch and nanoseconds after that, as protobuf has it. What is
    /// finer than a microsecond is dropped.
    pub fn new(seconds: i64, nanos: i32) -> Result<Self, Invalid> {
        if !Self::SECONDS.contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
            return Err(Invalid::OutOfRange);
        }
        Ok(Self(seconds * 1_000_000 + i64::from(nanos / 1000)))
    }

    /// Seconds since the epoch and nanoseconds after that.
    #[must_use]
    pub fn parts(self) -> (i64, i32) {
        let micros = i32::try_from(self.0.rem_euclid(1_000_000)).unwrap_or_default();
        (self.0.div_euclid(1_000_000), micros * 1000)
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Microseconds that a store kept.
    pub(crate) const fn stored(micros: i64) -> Self {
        Self(micros)
    }
}

fn within(text: &str, characters: usize) -> Result<(), Invalid> {
    // A character takes at least one byte, so short texts need no counting.
    if text.len() > characters && text.chars().nth(characters).is_some() {
        return Err(Invalid::TooLong(characters));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_046_a_title_has_1_to_200_code_points() {
        for unit in ["a", "é", "😀", "e\u{301}"] {
            let points = unit.chars().count();
            assert!(Title::new(unit.repeat(200 / points)).is_ok(), "{unit}");
            assert_eq!(Title::new(unit.repeat(201)), Err(Invalid::TooLong(200)), "{unit}");
        }
        for blank in ["", " ", "\u{a0}\u{2003}"] {
            assert_eq!(Title::new(blank), Err(Invalid::Required), "{blank:?}");
        }
    }

    #[test]
    fn r_046_a_description_has_at_most_1000_code_points() {
        assert!(Description::new("").is_ok());
        assert!(Description::new("😀".repeat(1000)).is_ok());
        assert_eq!(Description::new("😀".repeat(1001)), Err(Invalid::TooLong(1000)));
    }

    #[test]
    fn labels_are_few_short_and_different() {
        let numbered = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
        assert!(Labels::new(numbered(20)).is_ok());
        assert_eq!(Labels::new(numbered(21)), Err(Invalid::TooMany(20)));
        assert_eq!(Labels::new(vec![String::new()]), Err(Invalid::Required));
        assert_eq!(Labels::new(vec!["ü".repeat(51)]), Err(Invalid::TooLong(50)));
        assert_eq!(Labels::new(vec!["a".into(), "a".into()]), Err(Invalid::Duplicate));
        assert!(Labels::new(vec!["a".into(), "A".into()]).is_ok());
    }

    #[test]
    fn r_058_a_due_time_is_in_the_years_1_to_9999() {
        for (seconds, nanos) in
            [(-62_135_596_801, 0), (253_402_300_800, 0), (0, -1), (0, 1_000_000_000), (i64::MIN, 0), (i64::MAX, 0)]
        {
            assert_eq!(DueTime::new(seconds, nanos), Err(Invalid::OutOfRange), "{seconds} {nanos}");
        }
        for (seconds, nanos) in [(-62_135_596_800, 0), (253_402_300_799, 999_999_000), (-1, 5000), (0, 0)] {
            assert_eq!(DueTime::new(seconds, nanos).unwrap().parts(), (seconds, nanos));
        }
        assert_eq!(DueTime::new(7, 1_999).unwrap().parts(), (7, 1_000), "kept to the microsecond");
    }

    #[test]
    fn a_priority_is_read_back_from_its_number() {
        for priority in [Priority::None, Priority::Low, Priority::Medium, Priority::High] {
            assert_eq!(Priority::from_number(priority.number()), Some(priority));
        }
        assert_eq!(Priority::from_number(4), None);
    }

    #[test]
    fn a_task_of_an_older_log_has_defaults_for_what_it_lacks() {
        let json = r#"{"id":"01890000-0000-7000-8000-000000000000","version":3,"title":"Buy milk",
            "create_time":"2026-11-21T09:00:00Z","update_time":"2026-11-21T09:00:00Z"}"#;
        let task: Task = serde_json::from_str(json).unwrap();
        assert_eq!((task.priority, task.due_time, task.is_completed()), (Priority::None, None, false));
        assert_eq!(serde_json::from_str::<Task>(&serde_json::to_string(&task).unwrap()).unwrap(), task);
    }
}
