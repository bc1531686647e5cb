//! What a language model was given to read and has written, in tokens: what it costs.

use std::ops::Add;

use serde::{Deserialize, Serialize};

use super::{
    tool::ToolCall,
    turn::{Event, weight},
};

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

impl Usage {
    /// About what it was, when nobody has counted: by the bytes of the prompt and by the answer.
    #[must_use]
    pub fn estimated(prompt: usize, text: &str, calls: &[ToolCall]) -> Self {
        let written = text.len() + calls.iter().map(|call| call.name.len() + weight(&call.arguments)).sum::<usize>();
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
    fn what_nobody_has_counted_is_estimated_by_its_bytes() {
        assert_eq!(Usage::estimated(400, "eight by", &[]), Usage { prompt: 100, completion: 2 });
        let call = ToolCall { id: "a".into(), name: "list_tasks".into(), arguments: json!({}) };
        assert!(Usage::estimated(0, "", &[call]).completion > 0);
    }
}
