//! Conversations and what is said in them.

use errand_changelog::Seq;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How much of its first message becomes the title of a conversation that was given none.
pub const TITLE_CHARACTERS: usize = 60;

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

    /// The title of a conversation that begins with this: its start, on one line.
    #[must_use]
    pub fn title(&self) -> String {
        let line: String = self.0.chars().map(|c| if breaks_line(c) { ' ' } else { c }).collect();
        let words: Vec<&str> = line.split_whitespace().collect();
        let line = words.join(" ");
        match line.char_indices().nth(TITLE_CHARACTERS) {
            None => line,
            Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default().trim_end()),
        }
    }
}

fn is_visible(c: char) -> bool {
    !c.is_whitespace() && !breaks_line(c) && !matches!(c, '\u{200B}'..='\u{200F}' | '\u{2060}' | '\u{FEFF}')
}

/// What the contract refuses in a title: control characters, line separators, bidirectional
/// overrides.
fn breaks_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
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

    fn title(text: &str) -> String {
        Content::parse(text.to_owned()).unwrap().title()
    }

    #[test]
    fn r_046_a_message_of_only_white_space_is_refused() {
        for blank in ["", " ", "\t\r\n", "\u{a0}\u{3000}", "\u{200b}\u{feff}", "\u{202e}"] {
            assert_eq!(Content::parse(blank.to_owned()), Err(Blank), "{blank:?}");
        }
        assert_eq!(Content::parse(" a ".to_owned()).unwrap().as_str(), " a ", "what is accepted is kept as it is");
    }

    #[test]
    fn a_title_is_the_start_of_the_first_message_on_one_line() {
        assert_eq!(title("  add buy milk\n tomorrow "), "add buy milk tomorrow");
        assert_eq!(title(&"é".repeat(60)), "é".repeat(60));
        assert_eq!(title(&"é".repeat(61)), format!("{}…", "é".repeat(60)));
        assert_eq!(title(&format!("{} b", "a".repeat(59))), format!("{}…", "a".repeat(59)));
    }

    #[test]
    fn a_title_holds_nothing_that_the_contract_refuses_in_one() {
        assert_eq!(title("a\u{2028}b\u{202e}c\u{2066}d\te"), "a b c d e");
    }

    #[test]
    fn a_role_is_read_back_from_its_word() {
        for role in [Role::User, Role::Assistant] {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("system"), None);
    }
}
