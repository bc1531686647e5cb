//! How an answer is said by the servers that people run.

use std::io;

use serde_json::{Value, json};

use super::{Asked, COST, Call, Fault, Reply, wire::Connection};

/// A server whose way of speaking is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The one that the others imitate.
    OpenAi,
    /// Whole calls, and an empty content beside them.
    Ollama,
    /// Fields of its own that are null; calls in pieces.
    Vllm,
    /// No ids and no numbers in the pieces of a call; measurements at the end.
    LlamaCpp,
    /// Comments to keep the connection open, usage beside the last words, no mark of the end.
    LiteLlm,
}

/// The ways in which servers differ, one by one.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Debug, Clone, Default)]
pub struct Quirks {
    /// `stream_options` is refused.
    pub no_stream_options: bool,
    /// Tools are refused.
    pub no_tools: bool,
    /// A schema of the answer is refused.
    pub no_schema: bool,
    /// The answer is never streamed.
    pub no_stream: bool,
    /// No `[DONE]` at the end.
    pub no_done: bool,
    /// Lines end as in HTTP.
    pub crlf: bool,
    /// Comments between events.
    pub comments: bool,
    /// Calls have no number.
    pub no_index: bool,
    /// Calls have no id.
    pub no_id: bool,
    /// All calls have the number of the first.
    pub same_index: bool,
    /// Calls come whole.
    pub whole_calls: bool,
    /// Arguments are an object and no text.
    pub object_arguments: bool,
    /// `content` is null where there is none.
    pub null_content: bool,
    /// What the end is called instead of `stop`.
    pub finish: Option<&'static str>,
    /// Usage stands beside the last words instead of after them.
    pub usage_within: bool,
    /// Fields that nobody asked for.
    pub extras: bool,
    /// `max_tokens` is refused, for another name of it.
    pub no_max_tokens: bool,
    /// Any limit of an answer is refused.
    pub no_limit: bool,
    /// How many tokens an answer may be allowed at most; more are refused.
    pub most_tokens: Option<u64>,
    /// An answer is cut off where it comes to its limit, at four letters a token.
    pub keeps_limit: bool,
}

impl Quirks {
    /// Those of a dialect.
    #[must_use]
    pub fn of(dialect: Dialect) -> Self {
        let plain = Self::default();
        match dialect {
            Dialect::OpenAi => Self { null_content: true, ..plain },
            Dialect::Ollama => Self { whole_calls: true, same_index: true, ..plain },
            Dialect::Vllm => Self { extras: true, ..plain },
            Dialect::LlamaCpp => Self { no_id: true, no_index: true, null_content: true, extras: true, ..plain },
            Dialect::LiteLlm => Self {
                comments: true,
                crlf: true,
                no_done: true,
                whole_calls: true,
                object_arguments: true,
                usage_within: true,
                finish: Some("eos"),
                ..plain
            },
        }
    }

    pub(crate) fn refuses(&self, asked: &Asked) -> Option<Fault> {
        let refusal = |message: &str| Fault::Status { code: 400, message: message.to_owned(), retry_after: None };
        let has = |field: &str| asked.body.get(field).is_some();
        if self.no_stream_options && has("stream_options") {
            return Some(refusal("Unrecognized request argument supplied: stream_options"));
        }
        if self.no_tools && has("tools") {
            return Some(refusal("scripted does not support tools"));
        }
        if self.no_limit && asked.most_tokens().is_some() {
            return Some(refusal("max_tokens, max_completion_tokens: Extra inputs are not permitted"));
        }
        if self.no_max_tokens && has("max_tokens") {
            let message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' \
                           instead.";
            return Some(refusal(message));
        }
        if let (Some(asked), Some(most)) = (asked.most_tokens(), self.most_tokens)
            && asked > most
        {
            return Some(refusal(&format!(
                "max_tokens is too large: {asked}. This model supports at most {most} tokens"
            )));
        }
        (self.no_schema && has("response_format")).then(|| refusal("response_format is not supported"))
    }

    /// One event of a stream.
    pub(crate) fn event(&self, data: &Value) -> Vec<u8> {
        let end = if self.crlf { "\r\n" } else { "\n" };
        let comment = if self.comments { format!(": keep-alive{end}{end}") } else { String::new() };
        format!("{comment}data: {data}{end}{end}").into_bytes()
    }

    fn done(&self) -> &'static [u8] {
        match (self.no_done, self.crlf) {
            (true, _) => b"",
            (false, true) => b"data: [DONE]\r\n\r\n",
            (false, false) => b"data: [DONE]\n\n",
        }
    }
}

pub(crate) fn answer(asked: &Asked, reply: &Reply, quirks: &Quirks, to: &mut Connection) -> io::Result<()> {
    let schema = asked.wants_schema();
    let (text, gate, rest, calls) = match reply {
        Reply::Text(text) if schema => (json!({ "reply": text }).to_string(), None, "", &[][..]),
        Reply::Calls(calls) if schema => (by_schema(calls), None, "", &[][..]),
        Reply::Text(text) => (text.clone(), None, "", &[][..]),
        Reply::Paused(text, gate, rest) => (text.clone(), Some(gate), rest.as_str(), &[][..]),
        Reply::Calls(calls) => (String::new(), None, "", calls.as_slice()),
        Reply::Fault(_) => return Ok(()),
    };
    let (text, calls, is_cut) = match asked.most_tokens().filter(|_| quirks.keeps_limit) {
        Some(most) => kept(&text, calls, most),
        None => (text, calls.to_vec(), false),
    };
    let calls = calls.as_slice();
    let finish = match (is_cut, calls.is_empty()) {
        (true, _) => "length",
        (false, true) => quirks.finish.unwrap_or("stop"),
        (false, false) => "tool_calls",
    };
    if !asked.wants_stream() || quirks.no_stream {
        return whole(&(text + rest), calls, finish, quirks, to);
    }
    to.begin("text/event-stream; charset=utf-8")?;
    let empty = if quirks.null_content { Value::Null } else { json!("") };
    to.piece(&quirks.event(&chunk(&json!({ "role": "assistant", "content": empty }), None, quirks)))?;
    words(&text, quirks, to)?;
    if let Some(gate) = gate {
        gate.wait();
    }
    words(rest, quirks, to)?;
    for (index, call) in calls.iter().enumerate() {
        for delta in pieces(index, call, quirks) {
            to.piece(&quirks.event(&chunk(&json!({ "tool_calls": [delta] }), None, quirks)))?;
        }
    }
    let mut last = chunk(&json!({}), Some(finish), quirks);
    let mut after = chunk(&json!({}), None, quirks);
    let wants_usage = asked.body["stream_options"]["include_usage"] == true;
    if quirks.usage_within {
        last["usage"] = usage();
    }
    to.piece(&quirks.event(&last))?;
    if wants_usage && !quirks.usage_within {
        after["choices"] = json!([]);
        after["usage"] = usage();
        to.piece(&quirks.event(&after))?;
    }
    if !quirks.no_done {
        to.piece(quirks.done())?;
    }
    to.end()
}

fn words(text: &str, quirks: &Quirks, to: &mut Connection) -> io::Result<()> {
    for word in text.split_inclusive(' ') {
        to.piece(&quirks.event(&chunk(&json!({ "content": word }), None, quirks)))?;
    }
    Ok(())
}

/// As much of an answer as fits into so many tokens, and whether that is not all of it.
fn kept(text: &str, calls: &[Call], most: u64) -> (String, Vec<Call>, bool) {
    let mut left = usize::try_from(most.saturating_mul(4)).unwrap_or(usize::MAX);
    let mut cut = |text: &str| {
        let kept: String = text.chars().take(left).collect();
        left -= kept.chars().count();
        kept
    };
    let kept = cut(text);
    let begun: Vec<Call> = calls.iter().map(|call| Call { arguments: cut(&call.arguments), ..call.clone() }).collect();
    let is_cut = kept != text || begun != calls;
    (kept, begun, is_cut)
}

fn whole(text: &str, calls: &[Call], finish: &str, quirks: &Quirks, to: &mut Connection) -> io::Result<()> {
    let mut message = json!({ "role": "assistant", "content": text });
    if !calls.is_empty() {
        message["content"] = if quirks.null_content { Value::Null } else { json!("") };
        message["tool_calls"] = calls.iter().enumerate().map(|(index, call)| said(index, call, quirks)).collect();
    }
    let choices = json!([{ "index": 0, "message": message, "finish_reason": finish }]);
    let body =
        json!({ "id": "one", "object": "chat.completion", "model": "scripted", "choices": choices, "usage": usage() });
    to.whole(200, &[], "application/json", &body)
}

fn chunk(delta: &Value, finish: Option<&str>, quirks: &Quirks) -> Value {
    let mut choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
    if quirks.extras {
        choice["logprobs"] = Value::Null;
        choice["delta"]["reasoning_content"] = Value::Null;
        choice["stop_reason"] = Value::Null;
    }
    json!({ "id": "one", "object": "chat.completion.chunk", "created": 1, "model": "scripted", "choices": [choice] })
}

/// A call that is said at once.
fn said(index: usize, call: &Call, quirks: &Quirks) -> Value {
    let arguments = match serde_json::from_str::<Value>(&call.arguments) {
        Ok(object @ Value::Object(_)) if quirks.object_arguments => object,
        _ => json!(call.arguments),
    };
    let mut said = json!({ "type": "function", "function": { "name": call.name, "arguments": arguments } });
    if !quirks.no_index {
        said["index"] = json!(if quirks.same_index { 0 } else { index });
    }
    if !quirks.no_id && !call.id.is_empty() {
        said["id"] = json!(call.id);
    }
    said
}

/// The same, in as many pieces as the dialect makes of it.
fn pieces(index: usize, call: &Call, quirks: &Quirks) -> Vec<Value> {
    if quirks.whole_calls {
        return vec![said(index, call, quirks)];
    }
    let none = Call { arguments: String::new(), ..call.clone() };
    let mut pieces = vec![said(index, &none, quirks)];
    let letters: Vec<char> = call.arguments.chars().collect();
    for part in letters.chunks(7) {
        let mut piece = json!({ "function": { "arguments": part.iter().collect::<String>() } });
        if !quirks.no_index {
            piece["index"] = json!(index);
        }
        pieces.push(piece);
    }
    pieces
}

/// Calls as the answer to a schema.
fn by_schema(calls: &[Call]) -> String {
    let calls: Vec<Value> = calls
        .iter()
        .map(|call| {
            let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!(call.arguments));
            json!({ "name": call.name, "parameters": arguments })
        })
        .collect();
    json!({ "calls": calls }).to_string()
}

fn usage() -> Value {
    json!({ "prompt_tokens": COST.0, "completion_tokens": COST.1, "total_tokens": COST.0 + COST.1 })
}
