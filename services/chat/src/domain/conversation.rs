//! Conversations and what is said in them.

use errand_changelog::Seq;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::title;

/// How many exchanges of what was said before a model reads, in a turn and in a replay of one.
pub const EXCHANGES: usize = 25;

/// Of how many of these it reads what was done.
pub const WITH_CALLS: usize = 5;

/// A series of messages between a user and the assistant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// Its id.
    pub id: Uuid,
    /// Its place among the user's conversations: the seq of the change that opened it.
    pub seq: Seq,
    /// What it is about; empty until the first message when none was given.
    pub title: String,
    /// The seq of its last change.
    pub version: Seq,
    /// When it was opened.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: Uuid,
    /// The conversation that it belongs to.
    pub conversation: Uuid,
    /// The turn that it began or ended.
    pub turn: Uuid,
    /// Who said it.
    pub role: Role,
    /// What was said.
    pub content: String,
    /// When it was said.
    pub created: Timestamp,
}

/// Who said a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The user.
    User,
    /// The assistant.
    Assistant,
}

/// What a user says: never only white space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content(String);

/// A message of nothing but white space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must not be only white space")]
pub struct Blank;

// === impl Content ===

impl Content {
    /// Takes what was said, unchanged. Its length is checked by the contract.
    ///
    /// # Errors
    /// When there is nothing to read in it.
    pub fn parse(text: String) -> Result<Self, Blank> {
        if text.chars().any(is_visible) { Ok(Self(text)) } else { Err(Blank) }
    }

    /// What was said.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The title of a conversation that begins with this.
    #[must_use]
    pub fn title(&self) -> String {
        title::drafted(&self.0)
    }
}

fn is_visible(c: char) -> bool {
    !c.is_whitespace() && !title::breaks_line(c) && !matches!(c, '\u{200B}'..='\u{200F}' | '\u{2060}' | '\u{FEFF}')
}

// === impl Role ===

impl Role {
    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }

    /// Reads the stored word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "user" => Some(Role::User),
            "assistant" => Some(Role::Assistant),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_046_a_message_of_only_white_space_is_refused() {
        for blank in ["", " ", "\t\r\n", "\u{a0}\u{3000}", "\u{200b}\u{feff}", "\u{202e}"] {
            assert_eq!(Content::parse(blank.to_owned()), Err(Blank), "{blank:?}");
        }
        assert_eq!(Content::parse(" a ".to_owned()).unwrap().as_str(), " a ", "what is accepted is kept as it is");
    }

    #[test]
    fn a_role_is_read_back_from_its_word() {
        for role in [Role::User, Role::Assistant] {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("system"), None);
    }
}
