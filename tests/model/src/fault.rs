//! What can be wrong with the server of a model.

use std::{io, time::Duration};

use serde_json::json;

use super::{Quirks, wire::Connection};

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// It refuses, with this status and sentence, and says when to come again.
    Status {
        /// Such as 500.
        code: u16,
        /// The sentence of its error.
        message: String,
        /// `Retry-After`, in seconds.
        retry_after: Option<u64>,
    },
    /// It takes the request and says nothing.
    Hang,
    /// It begins to speak and then says nothing more.
    Stall,
    /// It says a word in each of these times, without an end.
    Slow(Duration),
    /// It hangs up before it says anything.
    HangUp,
    /// It hangs up in the middle of a word.
    Cut,
    /// A line of its stream is no JSON.
    BadStream,
    /// Its answer is no JSON.
    BadJson,
    /// One token weighs this many bytes.
    HugeToken(usize),
    /// It streams without an end, quickly.
    Endless,
    /// It says that its stream is something else.
    WrongContentType,
    /// It answers with a page for people.
    Html,
    /// It sends the client elsewhere.
    Redirect(String),
    /// Its stream ends with an error.
    ErrorMidStream,
    /// Its stream ends properly, but without saying that the answer is whole.
    EndsEarly,
}

const EVENTS: &str = "text/event-stream";

impl Fault {
    /// A refusal with this status.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Self::Status { code, message: "scripted to fail".to_owned(), retry_after: None }
    }

    pub(crate) fn show(&self, to: &mut Connection, quirks: &Quirks) -> io::Result<()> {
        let says = |word: &str| quirks.event(&json!({ "choices": [{ "index": 0, "delta": { "content": word } }] }));
        match self {
            Self::Status { code, message, retry_after } => {
                let headers: Vec<_> = retry_after.iter().map(|after| ("retry-after", after.to_string())).collect();
                let body = json!({ "error": { "message": message, "type": "scripted", "code": code } });
                return to.whole(*code, &headers, "application/json", &body);
            }
            Self::Redirect(place) => return to.whole(307, &[("location", place.clone())], "text/plain", &"moved"),
            Self::Html => {
                return to.whole(
                    200,
                    &[],
                    "text/html; charset=utf-8",
                    &"<!doctype html><html><body>hello</body></html>",
                );
            }
            Self::BadJson => return to.whole(200, &[], "application/json", &"{\"choices\": [{"),
            Self::HangUp => {
                to.cut();
                return Ok(());
            }
            Self::Hang => return gone(to.linger(None)),
            _ => {}
        }
        to.begin(if matches!(self, Self::WrongContentType) { "text/plain" } else { EVENTS })?;
        match self {
            Self::Stall => {
                to.piece(&says("Well"))?;
                return gone(to.linger(None));
            }
            Self::Slow(pause) => loop {
                to.piece(&says("word "))?;
                gone(to.linger(Some(*pause)))?;
            },
            Self::Endless => {
                let words = says(&"word ".repeat(200));
                loop {
                    to.piece(&words)?;
                }
            }
            Self::Cut => {
                to.piece(&says("Well"))?;
                to.piece(b"data: {\"choices\": [{\"index\": 0, \"del")?;
                to.cut();
                return Ok(());
            }
            Self::BadStream => {
                to.piece(&says("Well"))?;
                to.piece(b"data: {\"choices\": [}\n\n")?;
            }
            Self::HugeToken(bytes) => {
                to.piece(b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"")?;
                let block = [b'x'; 64 * 1024];
                for at in (0..*bytes).step_by(block.len()) {
                    to.piece(block.get(..block.len().min(bytes - at)).unwrap_or_default())?;
                }
                to.piece(b"\"}}]}\n\n")?;
            }
            Self::ErrorMidStream => {
                to.piece(&says("Well"))?;
                to.piece(&quirks.event(&json!({ "error": { "message": "out of memory", "code": 500 } })))?;
            }
            Self::WrongContentType => {
                to.piece(&says("Said as plain text."))?;
                to.piece(&quirks.event(&json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] })))?;
            }
            _ => to.piece(&says("Well"))?,
        }
        to.end()
    }
}

fn gone(is_there: bool) -> io::Result<()> {
    if is_there { Ok(()) } else { Err(io::ErrorKind::ConnectionAborted.into()) }
}
