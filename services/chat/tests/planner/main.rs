//! The built-in planner in conversations: what people say, and what became of their tasks.
//!
//! Each row of a table is a dialogue: the tasks that are there, what is said, the writes that must
//! follow (all of them, in order) and words that the last reply must have. A write too many is as wrong
//! as one too few.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may be blunt")]

mod adding;
mod asking;
mod changing;
mod dialogues;
mod fake;
mod looking;
mod robust;
mod talk;
mod talking;

use talk::Talk;

/// A dialogue: tasks, messages, writes, words of the last reply.
type Row = (&'static [&'static str], &'static [&'static str], &'static [&'static str], &'static str);

/// Runs a table, with and without the calls of earlier turns in the transcript, and reports every row
/// that went wrong.
fn check(rows: &[Row]) {
    let mut wrong = Vec::new();
    for (tasks, messages, effects, words) in rows {
        for remembers_calls in [true, false] {
            let mut talk = Talk { remembers_calls, ..Talk::with(tasks) };
            let mut replies = Vec::new();
            for message in *messages {
                replies.push(talk.say(message));
            }
            let last = replies.last().unwrap().to_lowercase();
            let said = words.split('|').filter(|word| !word.is_empty()).all(|word| last.contains(&word.to_lowercase()));
            if talk.fake.effects != *effects || !said {
                wrong.push(format!(
                    "{tasks:?} {messages:?}\n   wrote {:?}\n  wanted {effects:?}\n replied {replies:#?}\n  wanted {words:?}",
                    talk.fake.effects
                ));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} went wrong:\n{}", wrong.len(), rows.len(), wrong.join("\n\n"));
}
