//! What is said in a turn, as its events say it.

use std::borrow::Cow;

use uuid::Uuid;

use super::{super::usage, Answer, Event, changed};

/// The longest answer that is kept, in characters.
pub const LONGEST_REPLY: usize = 20_000;

pub(super) const NOTHING_SAID: &str = "I have no answer to that.";

/// The event of words of the model: never blank, never endless.
#[must_use]
pub fn said(text: &str) -> Event {
    let text = &kept(text);
    let text = text.trim();
    let text = match text.char_indices().nth(LONGEST_REPLY) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None if text.is_empty() => NOTHING_SAID.to_owned(),
        None => text.to_owned(),
    };
    Event::ModelAnswered(Answer::Text(text))
}

/// The event of a reply, which ends the turn of these events.
#[must_use]
pub fn replied(events: &[Event], message: Uuid, text: &str) -> Event {
    Event::Replied { message, text: kept(text).into_owned(), usage: usage::spent(events) }
}

/// What a turn that was stopped says it has done.
pub(super) fn stopped(events: &[Event]) -> String {
    match changed::count(events) {
        0 => "Stopped. Nothing was changed.".to_owned(),
        1 => "Stopped. One task was changed before that; say \"undo\" to take that back.".to_owned(),
        count => format!("Stopped. {count} tasks were changed before that; say \"undo\" to take that back."),
    }
}

/// The text without U+0000, which is no part of words and which not every engine keeps. What a
/// client says is refused with it; a model, or a task of old, may still hold one.
fn kept(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "")) } else { Cow::Borrowed(text) }
}
