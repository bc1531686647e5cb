//! A request as it arrived, and what a script wants to know of it.

use std::io::{self, BufRead};

use serde_json::Value;

/// What stands before the result of a tool where it is sent as a message.
const RESULT: &str = "<tool_result";

/// The largest request that is read.
const LARGEST: usize = 16 * 1024 * 1024;

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// GET or POST.
    pub method: String,
    /// The path.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// What was sent; null when it was no JSON.
    pub body: Value,
}

impl Asked {
    /// The next request of a connection; nothing at its end.
    pub(crate) fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let (method, path) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let line = line.trim_end();
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let length = |(name, value): &(String, String)| (name == "content-length").then(|| value.parse().ok())?;
        let length: usize = headers.iter().find_map(length).unwrap_or_default();
        let mut body = vec![0; length.min(LARGEST)];
        reader.read_exact(&mut body)?;
        Ok(Some(Self { method, path, headers, body: serde_json::from_slice(&body).unwrap_or_default() }))
    }

    /// A header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The messages of the conversation.
    #[must_use]
    pub fn messages(&self) -> &[Value] {
        self.body["messages"].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// What the user said last.
    #[must_use]
    pub fn said(&self) -> &str {
        self.messages().iter().rev().find(|message| is_users(message)).map_or("", content)
    }

    /// What tools have answered in this turn, in order: what they were told to be, as JSON where it is some.
    #[must_use]
    pub fn results(&self) -> Vec<Value> {
        let this = self.messages().rsplit(is_users).next().unwrap_or_default();
        let results = this.iter().filter(|message| message["role"] == "tool" || content(message).starts_with(RESULT));
        results.map(|message| inside(content(message))).collect()
    }

    /// Whether a title is asked for, and not an answer to what was said.
    #[must_use]
    pub fn wants_title(&self) -> bool {
        self.messages().first().is_some_and(|message| content(message).starts_with("Give a title"))
    }

    /// How many tokens its answer may have, by either name; nothing where that is not said.
    #[must_use]
    pub fn most_tokens(&self) -> Option<u64> {
        ["max_tokens", "max_completion_tokens"].iter().find_map(|name| self.body[*name].as_u64())
    }

    /// Whether the answer is to come as a stream.
    #[must_use]
    pub fn wants_stream(&self) -> bool {
        self.body["stream"] == true
    }

    /// Whether the answer is to be JSON by a schema.
    #[must_use]
    pub fn wants_schema(&self) -> bool {
        self.body["response_format"]["type"] == "json_schema"
    }
}

fn content(message: &Value) -> &str {
    message["content"].as_str().unwrap_or_default()
}

fn is_users(message: &Value) -> bool {
    message["role"] == "user" && !content(message).starts_with(RESULT)
}

/// The JSON between the marks of a result.
fn inside(text: &str) -> Value {
    let bare = match (text.find('\n'), text.rfind("\n</tool_result>")) {
        (Some(start), Some(end)) if text.starts_with(RESULT) && start < end => text.get(start..end).unwrap_or_default(),
        _ => text,
    };
    serde_json::from_str(bare.trim()).unwrap_or_else(|_| Value::String(bare.to_owned()))
}
