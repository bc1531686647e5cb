//! What a language model was given to read and has written, in tokens: what it costs.

use std::ops::Add;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    tool::ToolCall,
    turn::{Event, weight},
};

const SECONDS_OF_DAY: i64 = 86_400;

/// About how many bytes make a token.
const BYTES_OF_TOKEN: usize = 4;

/// Tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Of what the model read.
    pub prompt: u64,
    /// Of what it wrote.
    pub completion: u64,
}

/// What somebody has spent on the last day on which they have spent anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spending {
    /// The day, in UTC, counted from the epoch.
    pub day: i64,
    /// How many tokens.
    pub tokens: u64,
}

impl Spending {
    /// What is left of the budget of a day at this time.
    #[must_use]
    pub fn left_of(self, budget: u64, now: Timestamp) -> u64 {
        budget.saturating_sub(if self.day == day(now) { self.tokens } else { 0 })
    }
}

impl Usage {
    /// About what it was, when nobody has counted: by the bytes of the prompt and by the answer.
    #[must_use]
    pub fn estimated(prompt: usize, text: &str, calls: &[ToolCall]) -> Self {
        let written = text.len() + calls.iter().map(|call| call.name.len() + weight(&call.arguments)).sum::<usize>();
        Self::of_bytes(prompt, written)
    }

    /// About what so many bytes are.
    #[must_use]
    pub fn of_bytes(prompt: usize, written: usize) -> Self {
        let tokens = |bytes: usize| u64::try_from(bytes.div_ceil(BYTES_OF_TOKEN)).unwrap_or(u64::MAX);
        Self { prompt: tokens(prompt), completion: tokens(written) }
    }

    /// All of them.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.prompt.saturating_add(self.completion)
    }
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            prompt: self.prompt.saturating_add(other.prompt),
            completion: self.completion.saturating_add(other.completion),
        }
    }
}

/// Both of two sums, where there are any.
#[must_use]
pub fn sum(one: Option<Usage>, other: Option<Usage>) -> Option<Usage> {
    [one, other].into_iter().flatten().reduce(Add::add)
}

/// The day of a time in UTC, counted from the epoch: budgets are a day's.
#[must_use]
pub fn day(now: Timestamp) -> i64 {
    now.as_second().div_euclid(SECONDS_OF_DAY)
}

/// How many seconds of a day are left.
#[must_use]
pub fn left_of_day(now: Timestamp) -> u64 {
    SECONDS_OF_DAY.abs_diff(now.as_second().rem_euclid(SECONDS_OF_DAY))
}

/// How many tokens these events say were spent, as engines count.
#[must_use]
pub fn tokens(events: &[Event]) -> i64 {
    counted(spent(events))
}

/// How many tokens that is, as engines count.
#[must_use]
pub fn counted(spent: Option<Usage>) -> i64 {
    // More than this is no count: a sum of days must not run over.
    const MOST: u64 = 1 << 40;
    spent.map_or(0, |usage| i64::try_from(usage.total().min(MOST)).unwrap_or_default())
}

/// What these events say was spent; nothing when no model that costs something was asked.
#[must_use]
pub fn spent(events: &[Event]) -> Option<Usage> {
    let spent = events.iter().filter_map(|event| match event {
        Event::Spent(usage) => Some(*usage),
        _ => None,
    });
    spent.reduce(Add::add)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_spent_is_the_sum_of_all_answers_or_nothing() {
        let usage = |prompt, completion| Usage { prompt, completion };
        assert_eq!(spent(&[Event::Cancelled]), None);
        let events = [Event::Spent(usage(5, 1)), Event::Cancelled, Event::Spent(usage(7, 2))];
        assert_eq!(spent(&events), Some(usage(12, 3)));
        assert_eq!(usage(u64::MAX, 1).total(), u64::MAX);
    }

    #[test]
    fn a_day_begins_at_midnight_in_utc() {
        let at = |second: i64| Timestamp::constant(second, 0);
        assert_eq!((day(at(-1)), day(at(0)), day(at(86_399)), day(at(86_400))), (-1, 0, 0, 1));
        assert_eq!((left_of_day(at(0)), left_of_day(at(86_399))), (86_400, 1));
    }

    #[test]
    fn what_was_spent_on_another_day_leaves_all_of_this_one() {
        let spending = Spending { day: 1, tokens: 70 };
        let left = |second| spending.left_of(100, Timestamp::constant(second, 0));
        assert_eq!((left(86_399), left(86_400), left(172_800)), (100, 30, 100));
        assert_eq!(spending.left_of(69, Timestamp::constant(86_400, 0)), 0);
    }

    #[test]
    fn what_nobody_has_counted_is_estimated_by_its_bytes() {
        assert_eq!(Usage::estimated(400, "eight by", &[]), Usage { prompt: 100, completion: 2 });
        let call = ToolCall { id: "a".into(), name: "list_tasks".into(), arguments: json!({}) };
        assert!(Usage::estimated(0, "", &[call]).completion > 0);
    }
}
