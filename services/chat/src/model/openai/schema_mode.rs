//! Answers of models that can not call tools: one JSON object that holds words, or calls.

use serde_json::Value;

use super::{
    super::{Saying, Step},
    gather,
};
use crate::domain::tool::ToolCall;

/// What stands before words.
const REPLY: &str = "\"reply\"";

/// How far into an answer it is looked for.
const FAR: usize = 200;

/// Hears the words of an answer while it is being written.
#[derive(Debug, Default)]
pub(super) struct Listener {
    /// What is not said yet.
    raw: String,
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Before,
    Inside,
    After,
}

impl Listener {
    /// Hears more of it, and says what of that are words.
    pub(super) fn hear(&mut self, piece: &str, say: &mut Saying<'_>) {
        if self.state == State::After {
            return;
        }
        self.raw.push_str(piece);
        if self.state == State::Before {
            match opening(&self.raw) {
                Some(at) => {
                    self.raw.drain(..at);
                    self.state = State::Inside;
                }
                None => {
                    if self.raw.len() > FAR {
                        self.state = State::After;
                    }
                    return;
                }
            }
        }
        let (end, is_closed) = whole(&self.raw);
        let text: String = self.raw.drain(..end).collect();
        // A piece of a JSON string is one, too, between quotes.
        if let Ok(text) = serde_json::from_str::<String>(&format!("\"{text}\""))
            && !text.is_empty()
        {
            say(&text);
        }
        if is_closed {
            self.state = State::After;
        }
    }
}

/// Where the words begin, in an object whose first field they are.
fn opening(raw: &str) -> Option<usize> {
    let rest = raw.trim_start().strip_prefix('{')?.trim_start().strip_prefix(REPLY)?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    Some(raw.len() - rest.len())
}

/// How much of the inside of a string can be read, and whether it ends there.
fn whole(raw: &str) -> (usize, bool) {
    let bytes = raw.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return (at, true),
            b'\\' => {
                let length = if bytes.get(at + 1) == Some(&b'u') { 6 } else { 2 };
                // Half of a pair says nothing without the other.
                let is_high = raw.get(at + 2..at + 4).is_some_and(|digits| {
                    let digits = digits.to_ascii_lowercase();
                    length == 6 && ("d8".."dc").contains(&digits.as_str())
                });
                let length = if is_high { 12 } else { length };
                if at + length > bytes.len() {
                    return (at, false);
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    (at, false)
}

/// What an answer says is to be done. One that is no such object is taken for words.
pub(super) fn step(text: &str) -> Step {
    let Some(answer) = object(text) else { return Step::Reply(text.trim().to_owned()) };
    let calls = answer.get("calls").or_else(|| answer.get("tool_calls")).and_then(Value::as_array);
    let calls: Vec<ToolCall> = calls.map(Vec::as_slice).unwrap_or_default().iter().filter_map(call).collect();
    if !calls.is_empty() {
        return Step::Call(calls);
    }
    let reply = ["reply", "response", "content"].iter().find_map(|name| answer.get(*name)?.as_str());
    match (reply, call(&answer)) {
        (Some(reply), _) => Step::Reply(reply.to_owned()),
        (None, Some(call)) => Step::Call(vec![call]),
        (None, None) => Step::Reply(String::new()),
    }
}

/// Whether there is such an object, from its beginning to its end.
pub(super) fn is_whole(text: &str) -> bool {
    object(text).is_some()
}

/// The first object in a text that may have words or fences around it.
fn object(text: &str) -> Option<Value> {
    let from = text.find('{')?;
    let mut values = serde_json::Deserializer::from_str(text.get(from..)?).into_iter::<Value>();
    values.next()?.ok().filter(Value::is_object)
}

fn call(value: &Value) -> Option<ToolCall> {
    let function = value.get("function").filter(|function| function.is_object()).unwrap_or(value);
    let name = function.get("name").or_else(|| function.get("tool"))?.as_str()?.to_owned();
    let arguments = match function.get("arguments").or_else(|| function.get("parameters")) {
        Some(Value::String(text)) => gather::arguments(text),
        Some(value) => value.clone(),
        None => Value::Object(serde_json::Map::new()),
    };
    Some(ToolCall { id: String::new(), name, arguments })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn heard(text: &str, size: usize) -> String {
        let mut said = String::new();
        let mut listener = Listener::default();
        let letters: Vec<char> = text.chars().collect();
        for piece in letters.chunks(size) {
            listener.hear(&piece.iter().collect::<String>(), &mut |text: &str| said.push_str(text));
        }
        said
    }

    #[test]
    fn words_are_heard_while_they_are_written() {
        let words = "Hä?\n\"No\" \\ 😀 done";
        for text in [json!({ "reply": words }).to_string(), format!(" {{\n \"reply\" : {}, \"x\": 1}}", json!(words))] {
            for size in 1..12 {
                assert_eq!(heard(&text, size), words, "{size}");
            }
        }
        for size in 1..14 {
            assert_eq!(heard(r#"{"reply": "\ud83d\ude00\u00e4"}"#, size), "😀ä", "{size}");
        }
        assert_eq!(heard(r#"{"calls": [{"name": "x", "arguments": {"reply": "no"}}]}"#, 5), "");
        assert_eq!(heard(&"x".repeat(1000), 7), "");
    }

    #[test]
    fn calls_and_words_are_found_with_whatever_is_around_them() {
        let call = |name: &str| ToolCall { id: String::new(), name: name.to_owned(), arguments: json!({"a": 1}) };
        for text in [
            r#"{"calls": [{"name": "x", "arguments": {"a": 1}}]}"#,
            "```json\n{\"calls\": [{\"name\": \"x\", \"arguments\": \"{\\\"a\\\": 1}\"}]}\n```",
            r#"Sure: {"name": "x", "arguments": {"a": 1}}"#,
            r#"{"tool_calls": [{"function": {"name": "x", "parameters": {"a": 1}}}], "reply": ""}"#,
        ] {
            assert_eq!(step(text), Step::Call(vec![call("x")]), "{text}");
        }
        assert_eq!(step(r#"{"reply": "Hi", "calls": []}"#), Step::Reply("Hi".to_owned()));
        assert_eq!(step("Just words."), Step::Reply("Just words.".to_owned()));
        assert_eq!(step("{\"reply\": \"cut"), Step::Reply("{\"reply\": \"cut".to_owned()));
        assert_eq!(step("{}"), Step::Reply(String::new()));
    }
}
