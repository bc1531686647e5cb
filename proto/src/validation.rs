//! The rules of the contracts, as generated code behind one trait.
//!
//! Every request is checked when it is decoded (see [`crate::codec`]), so no handler can forget it.
//! Rules that need more than one field, or a clock, are in the services' `domain`.

use std::{collections::HashSet, hash::Hash, sync::LazyLock};

use regex::Regex;

include!(concat!(env!("OUT_DIR"), "/validation.rs"));

/// One rule that a request breaks (google.rpc.BadRequest.FieldViolation).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field's path as the JSON face spells it, `task.dueTime` or `requests[3].title`.
    pub field: String,
    /// A stable reason: `REQUIRED`, `TOO_SHORT`, `TOO_LONG`, `TOO_MANY`, `DUPLICATE`, `OUT_OF_RANGE`,
    /// `INVALID_FORMAT`, `UNKNOWN_VALUE`, `UNKNOWN_FIELD`, `READ_ONLY` or `CONFLICT`; of passwords also `TOO_COMMON`
    /// or `SAME_AS_EMAIL`.
    pub reason: &'static str,
    /// What to change, in a few words.
    pub description: String,
}

/// A message whose fields carry rules.
pub trait Validate {
    /// Appends every violation found below `at`.
    fn check(&self, at: &At<'_>, out: &mut Vec<Violation>);
}

/// A message that arrives over the wire.
pub trait Incoming {
    /// The rules that it breaks. Answers are trusted and have none to break.
    fn violations(&self) -> Vec<Violation> {
        Vec::new()
    }
}

/// Where a check stands in a message. Becomes text only for a violation.
#[derive(Debug, Clone, Copy)]
pub enum At<'a> {
    /// The request itself.
    Root,
    /// A field.
    Field(&'a At<'a>, &'static str),
    /// An element of a repeated field.
    Item(&'a At<'a>, &'static str, usize),
}

/// Every rule of its contract that a message breaks.
pub fn validate<M: Validate>(message: &M) -> Vec<Violation> {
    let mut violations = Vec::new();
    message.check(&At::Root, &mut violations);
    violations
}

impl Violation {
    /// A violation at a path given as text.
    pub fn new(field: impl Into<String>, reason: &'static str, description: impl Into<String>) -> Self {
        Self { field: field.into(), reason, description: description.into() }
    }
}

impl At<'_> {
    fn path(&self) -> String {
        match self {
            At::Root => String::new(),
            At::Field(At::Root, name) => (*name).to_owned(),
            At::Field(parent, name) => format!("{}.{name}", parent.path()),
            At::Item(At::Root, name, index) => format!("{name}[{index}]"),
            At::Item(parent, name, index) => format!("{}.{name}[{index}]", parent.path()),
        }
    }
}

fn report(out: &mut Vec<Violation>, at: &At<'_>, reason: &'static str, description: String) {
    out.push(Violation { field: at.path(), reason, description });
}

fn required(present: bool, name: &'static str, at: &At<'_>, out: &mut Vec<Violation>) {
    if !present {
        report(out, &At::Field(at, name), "REQUIRED", "must be set".to_owned());
    }
}

fn one_of(present: bool, names: &[&'static str], at: &At<'_>, out: &mut Vec<Violation>) {
    if let (false, Some(first)) = (present, names.first()) {
        report(out, &At::Field(at, first), "REQUIRED", format!("{} must be set", names.join(" or ")));
    }
}

fn least_characters(value: &str, limit: usize, at: &At<'_>, out: &mut Vec<Violation>) {
    if value.is_empty() && limit > 0 {
        report(out, at, "REQUIRED", "must not be empty".to_owned());
    } else if value.chars().take(limit).count() < limit {
        report(out, at, "TOO_SHORT", format!("must have at least {limit} characters"));
    }
}

fn most_characters(value: &str, limit: usize, at: &At<'_>, out: &mut Vec<Violation>) {
    // A character takes at least one byte, so short strings need no counting.
    if value.len() > limit && value.chars().nth(limit).is_some() {
        report(out, at, "TOO_LONG", format!("must have at most {limit} characters"));
    }
}

fn most_bytes(value: &str, limit: usize, at: &At<'_>, out: &mut Vec<Violation>) {
    if value.len() > limit {
        report(out, at, "TOO_LONG", format!("must have at most {limit} bytes in UTF-8"));
    }
}

fn matches(value: &str, pattern: &LazyLock<Option<Regex>>, at: &At<'_>, out: &mut Vec<Violation>) {
    if !pattern.as_ref().is_some_and(|pattern| pattern.is_match(value)) {
        let expected = pattern.as_ref().map(Regex::as_str).unwrap_or_default();
        report(out, at, "INVALID_FORMAT", format!("must match {expected}"));
    }
}

fn at_least(value: &i32, limit: i32, at: &At<'_>, out: &mut Vec<Violation>) {
    if *value < limit {
        report(out, at, "OUT_OF_RANGE", format!("must be at least {limit}"));
    }
}

fn defined<E: TryFrom<i32>>(value: &i32, at: &At<'_>, out: &mut Vec<Violation>) {
    if E::try_from(*value).is_err() {
        report(out, at, "UNKNOWN_VALUE", "must be one of the values of its enum".to_owned());
    }
}

fn most_items(count: usize, limit: usize, name: &'static str, at: &At<'_>, out: &mut Vec<Violation>) {
    if count > limit {
        report(out, &At::Field(at, name), "TOO_MANY", format!("must have at most {limit} items"));
    }
}

fn least_items(count: usize, limit: usize, name: &'static str, at: &At<'_>, out: &mut Vec<Violation>) {
    if count < limit {
        report(out, &At::Field(at, name), "REQUIRED", format!("must have at least {limit} items"));
    }
}

fn unique<T: Eq + Hash>(items: &[T], name: &'static str, at: &At<'_>, out: &mut Vec<Violation>) {
    let mut seen = HashSet::new();
    if let Some(index) = items.iter().position(|item| !seen.insert(item)) {
        report(out, &At::Item(at, name, index), "DUPLICATE", "must not appear twice".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{CreateTaskRequest, GetTaskRequest, ListTasksRequest, Task};

    fn create(task: Task) -> CreateTaskRequest {
        CreateTaskRequest { task: Some(task), ..Default::default() }
    }

    fn titled(title: &str) -> CreateTaskRequest {
        create(Task { title: title.to_owned(), ..Default::default() })
    }

    #[test]
    fn every_pattern_of_the_contracts_compiles() {
        // A pattern that did not compile would refuse every value.
        assert_eq!(validate(&titled("Buy milk")), []);
        assert_eq!(validate(&GetTaskRequest { task_id: "01890000-0000-7000-8000-000000000000".to_owned() }), []);
    }

    #[test]
    fn characters_are_counted_not_bytes() {
        for unit in ["a", "é", "😀"] {
            assert_eq!(validate(&titled(&unit.repeat(200))), [], "{unit}");
            let violations = validate(&titled(&unit.repeat(201)));
            assert_eq!(violations.len(), 1, "{unit}");
            assert_eq!((violations[0].field.as_str(), violations[0].reason), ("task.title", "TOO_LONG"));
        }
    }

    #[test]
    fn control_characters_and_bidi_overrides_are_refused_in_a_title() {
        for bad in ["\0", "\u{7}", "\n", "\u{85}", "\u{2028}", "\u{202e}", "\u{2066}"] {
            assert_eq!(validate(&titled(&format!("a{bad}b"))).len(), 1, "{bad:?}");
        }
    }

    #[test]
    fn line_breaks_are_welcome_in_a_description() {
        let task = |description: &str| {
            create(Task { title: "a".into(), description: description.into(), ..Default::default() })
        };
        assert_eq!(validate(&task("one\r\ntwo\tthree")), []);
        assert_eq!(validate(&task("nul\0")).len(), 1);
        assert_eq!(validate(&task("c1 \u{9f}")).len(), 1);
    }

    #[test]
    fn paths_are_spelled_as_in_json() {
        let request =
            create(Task { labels: vec!["a".into(), String::new(), "a".into()], priority: 9, ..Default::default() });
        let fields: Vec<_> =
            validate(&request).into_iter().map(|violation| (violation.field, violation.reason)).collect();
        assert!(fields.contains(&("task.priority".to_owned(), "UNKNOWN_VALUE")), "{fields:?}");
        assert!(fields.contains(&("task.labels[1]".to_owned(), "REQUIRED")), "{fields:?}");
        assert!(fields.contains(&("task.labels[2]".to_owned(), "DUPLICATE")), "{fields:?}");
        let negative = validate(&ListTasksRequest { page_size: -1, ..Default::default() });
        assert_eq!(negative[0].field, "pageSize");
        assert_eq!(validate(&CreateTaskRequest::default())[0].field, "task");
    }

    #[test]
    fn ids_are_lower_case_uuids() {
        for bad in [
            "",
            "x",
            "01890000-0000-7000-8000-00000000000A",
            "{01890000-0000-7000-8000-000000000000}",
            "01890000000070008000000000000000",
        ] {
            assert_eq!(validate(&GetTaskRequest { task_id: bad.to_owned() }).len(), 1, "{bad}");
        }
    }
}
