//! An answer that came to the most tokens that it may have before it came to its own end.
//!
//! Its words are kept, and it is said that they are not all. Of its calls none is made: the last one is not whole, and
//! those before it would be a part of what was wanted, which nobody asked for.

use super::{
    super::Step,
    gather::Whole,
    request::Wants,
    schema_mode::{self, Listener},
};

/// How servers call that end.
const ENDS: [&str; 2] = ["length", "max_tokens"];

const WORDS: &str = "[My answer ends here because it came to the greatest length that it may have.]";

const CALLS: &str = "What I was about to do next is too long for one answer, so I left that undone. Ask me for less at \
once.";

const NOTHING: &str = "I came to the greatest length that an answer may have before I could say anything. Ask me for \
less at once.";

/// Whether an answer was cut off.
pub(super) fn is_cut(whole: &Whole) -> bool {
    ENDS.contains(&whole.finish.as_str())
}

/// What to do with an answer that was cut off.
pub(super) fn step(wants: Wants, whole: &Whole) -> Step {
    let text = whole.text.trim();
    let said = match wants {
        Wants::Tools => text.to_owned(),
        // All of the object may be there, and only what should have come after it is not.
        Wants::Schema | Wants::Words if schema_mode::is_whole(text) => return schema_mode::step(text),
        Wants::Schema | Wants::Words if text.contains('{') => {
            let mut said = String::new();
            Listener::default().hear(text, &mut |piece: &str| said.push_str(piece));
            if said.trim().is_empty() {
                return Step::Reply(CALLS.to_owned());
            }
            said
        }
        Wants::Schema | Wants::Words => text.to_owned(),
    };
    Step::Reply(match (said.trim(), whole.calls.is_empty()) {
        ("", true) => NOTHING.to_owned(),
        ("", false) => CALLS.to_owned(),
        (said, true) => format!("{said}…\n\n{WORDS}"),
        (said, false) => format!("{said}\n\n{CALLS}"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::tool::ToolCall;

    fn cut(wants: Wants, text: &str, calls: usize) -> String {
        let call = ToolCall { id: String::new(), name: "add_tasks".to_owned(), arguments: json!("{\"requests\": [") };
        let whole = Whole { text: text.to_owned(), calls: vec![call; calls], finish: "length".to_owned() };
        match step(wants, &whole) {
            Step::Reply(text) => text,
            Step::Call(calls) => panic!("{calls:?}"),
        }
    }

    #[test]
    fn what_was_said_is_kept_and_what_was_to_be_done_is_not_done() {
        assert_eq!(cut(Wants::Tools, "You have milk and ", 0), format!("You have milk and…\n\n{WORDS}"));
        assert_eq!(cut(Wants::Tools, "I add it.", 2), format!("I add it.\n\n{CALLS}"));
        assert_eq!(cut(Wants::Tools, "", 2), CALLS);
        assert_eq!(cut(Wants::Tools, " \n", 0), NOTHING);
    }

    #[test]
    fn json_that_is_not_whole_is_never_shown() {
        for wants in [Wants::Schema, Wants::Words] {
            assert_eq!(
                cut(wants, r#"{"reply": "You have \"milk\" and"#, 0),
                format!("You have \"milk\" and…\n\n{WORDS}")
            );
            assert_eq!(cut(wants, r#"{"calls": [{"name": "add_tasks", "parameters": {"req"#, 0), CALLS);
            assert_eq!(cut(wants, r#"{"reply": ""#, 0), CALLS);
            assert_eq!(cut(wants, "Just words that", 0), format!("Just words that…\n\n{WORDS}"));
            assert_eq!(cut(wants, r#"{"reply": "All of it."} and mo"#, 0), "All of it.");
        }
    }
}
