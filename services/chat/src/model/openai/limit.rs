//! How long an answer may be: as the settings say, and not longer than what is left of the day to whom it is for.
//!
//! Servers call that by one of two names, and some know none. A limit that a model can not keep, because what it reads
//! leaves less room, is left out of that one question: the room is a limit, too.

use serde_json::Value;

use super::Settings;
use crate::{domain::usage::Usage, model::Transcript};

/// What an answer may always have: a turn that was begun is finished, whatever was spent meanwhile.
const LEAST: u64 = 256;

/// How a server is told the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// As nearly all of them call it.
    MaxTokens,
    /// As those call it whose models think before they speak.
    MaxCompletionTokens,
    /// Not at all: it knows neither.
    Untold,
}

impl Limit {
    /// Says in a request how many tokens its answer may have.
    pub(super) fn say(self, body: &mut Value, most: u64) {
        match self {
            Self::MaxTokens => body["max_tokens"] = most.into(),
            Self::MaxCompletionTokens => body["max_completion_tokens"] = most.into(),
            Self::Untold => {}
        }
    }

    /// How to say it to a server that has refused it like this, with these words.
    pub(super) fn otherwise(self, message: &str) -> Option<Self> {
        match self {
            Self::MaxTokens if message.contains("max_completion_tokens") => Some(Self::MaxCompletionTokens),
            Self::MaxTokens | Self::MaxCompletionTokens => Some(Self::Untold),
            Self::Untold => None,
        }
    }
}

/// How many tokens the answer to so many bytes may have.
pub(super) fn most(settings: &Settings, transcript: &Transcript, read: impl FnOnce() -> usize) -> u64 {
    let most = u64::from(settings.answer_tokens);
    match transcript.left {
        Some(left) => most.min(left.saturating_sub(Usage::of_bytes(read(), 0).prompt).max(LEAST)),
        None => most,
    }
}

/// Whether a refusal is about the limit.
pub(super) fn is_about(message: &str) -> bool {
    let message = message.to_lowercase();
    ["max_tokens", "max_completion_tokens", "in the completion"].iter().any(|word| message.contains(word))
}

/// Whether a refusal is about the number and not about its name.
pub(super) fn is_too_much(message: &str) -> bool {
    let words = ["too large", "at most", "exceed", "context", "maximum", "less than", "in the completion"];
    is_about(message) && words.iter().any(|word| message.to_lowercase().contains(word))
}
