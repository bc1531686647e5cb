//! What a language model was given to read and has written, in tokens: what it costs.

use std::ops::Add;

use serde::{Deserialize, Serialize};

use super::{tool::ToolCall, turn::weight};

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
