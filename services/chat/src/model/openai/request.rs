//! A transcript as the body of a request: what fits of it, oldest first left out.
//!
//! A call of a tool and its result stay together. What was said and done in the turn under way is always sent; a
//! result that is too long for it is replaced by a word that says so.

use serde_json::{Value, json};

use super::{
    Settings,
    catalogue::AS_TOOLS,
    limit::{Limit, most},
    prompt,
};
use crate::{
    domain::tool::{CALL_REPEATED, ToolCall, ToolResult},
    model::{Entry, Transcript},
};

/// About how many bytes make a token.
const BYTES_OF_TOKEN: usize = 4;

/// What every message costs beside its words, in bytes.
const BESIDE: usize = 16;

/// In which form a model is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// How it says what it wants done.
    pub(super) wants: Wants,
    /// Whether the stream is to end with what it cost.
    pub(super) usage: bool,
    /// How it is told how long its answer may be.
    pub(super) limit: Limit,
}

/// How a model says what it wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// By calls of tools.
    Tools,
    /// By JSON with a schema.
    Schema,
    /// By JSON, as it was told in words.
    Words,
}

/// What stays together.
enum Part<'t> {
    User(&'t str),
    Assistant(&'t str),
    Round(Vec<(&'t ToolCall, Option<Told<'t>>)>),
}

/// What a model is told of a call.
#[derive(Clone, Copy)]
struct Told<'t> {
    result: &'t ToolResult,
    /// What the same call has answered before in this turn, where it was not made again for that.
    before: Option<&'t Value>,
}

impl Form {
    /// With everything that most servers know.
    pub(super) const fn of(wants: Wants) -> Self {
        Self { wants, usage: true, limit: Limit::MaxTokens }
    }
}

/// The body of a request.
pub(super) fn body(settings: &Settings, transcript: &Transcript, form: Form) -> Value {
    let mut messages =
        vec![json!({ "role": "system", "content": prompt::system(transcript, form.wants != Wants::Tools) })];
    if form.wants != Wants::Tools {
        messages.extend(prompt::examples());
    }
    messages.extend(conversation(transcript, form.wants, settings.history_tokens));
    let mut body = json!({ "model": settings.model, "messages": messages, "stream": true });
    match form.wants {
        Wants::Tools => body["tools"] = AS_TOOLS.clone(),
        Wants::Schema => {
            let schema = json!({ "name": "answer", "strict": false, "schema": prompt::schema() });
            body["response_format"] = json!({ "type": "json_schema", "json_schema": schema });
        }
        Wants::Words => {}
    }
    if form.usage {
        body["stream_options"] = json!({ "include_usage": true });
    }
    let most = most(settings, transcript, || body.to_string().len());
    form.limit.say(&mut body, most);
    body
}

/// The messages that fit into so many tokens.
fn conversation(transcript: &Transcript, wants: Wants, tokens: usize) -> Vec<Value> {
    let room = tokens.saturating_mul(BYTES_OF_TOKEN);
    let parts = parts(&transcript.entries);
    let this = parts.iter().rposition(|part| matches!(part, Part::User(_))).unwrap_or(0);
    let mut numbers = 0;
    let mut said: Vec<Vec<Value>> = parts.iter().map(|part| part.messages(wants, room / 2, &mut numbers)).collect();
    // The newest results of this turn come first; then what was before it, as far as it goes.
    let mut left = room;
    for messages in said.iter_mut().skip(this).rev() {
        if weight(messages) > left {
            messages.iter_mut().for_each(shorten);
        }
        left = left.saturating_sub(weight(messages));
    }
    let mut first = this;
    for (at, messages) in said.iter().enumerate().take(this).rev() {
        let Some(rest) = left.checked_sub(weight(messages)) else { break };
        (left, first) = (rest, at);
    }
    // A conversation begins with its user.
    while first < this && !matches!(parts.get(first), Some(Part::User(_))) {
        first += 1;
    }
    said.into_iter().skip(first).flatten().collect()
}

fn parts(entries: &[Entry]) -> Vec<Part<'_>> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    for entry in entries {
        match entry {
            Entry::User(text) => parts.push(Part::User(text)),
            Entry::Assistant(text) => parts.push(Part::Assistant(text)),
            Entry::Call(call) => match parts.last_mut() {
                Some(Part::Round(round)) if round.iter().all(|(_, result)| result.is_none()) => {
                    round.push((call, None));
                }
                _ => parts.push(Part::Round(vec![(call, None)])),
            },
            Entry::Result(result) => {
                let Some(Part::Round(round)) = parts.last() else { continue };
                let open = |(call, known): &(&ToolCall, Option<Told<'_>>)| known.is_none() && call.id == result.call_id;
                let Some(at) = round.iter().position(open) else { continue };
                let is_repeated = matches!(&result.outcome, Err(failure) if failure.reason == CALL_REPEATED);
                let before = round.get(at).filter(|_| is_repeated).and_then(|(call, _)| answered_before(&parts, call));
                if let Some(Part::Round(round)) = parts.last_mut()
                    && let Some((_, place)) = round.get_mut(at)
                {
                    *place = Some(Told { result, before });
                }
            }
        }
    }
    parts
}

/// What the same call has answered in the turn that these parts end with.
fn answered_before<'t>(parts: &[Part<'t>], call: &ToolCall) -> Option<&'t Value> {
    let this = parts.iter().rev().take_while(|part| !matches!(part, Part::User(_)));
    this.filter_map(|part| if let Part::Round(round) = part { Some(round) } else { None })
        .flat_map(|round| round.iter().rev())
        .filter(|(known, _)| known.is_same(call))
        .find_map(|(_, told)| told.as_ref()?.result.outcome.as_ref().ok())
}

impl Part<'_> {
    fn messages(&self, wants: Wants, longest: usize, numbers: &mut usize) -> Vec<Value> {
        match self {
            Self::User(text) => vec![json!({ "role": "user", "content": text })],
            Self::Assistant(text) if wants == Wants::Tools => vec![json!({ "role": "assistant", "content": text })],
            Self::Assistant(text) => {
                vec![json!({ "role": "assistant", "content": json!({ "reply": text }).to_string() })]
            }
            Self::Round(round) if wants == Wants::Tools => {
                let from = *numbers;
                *numbers += round.len();
                // Ids of our own: a model's may be missing, come twice, or be too long for the next model.
                let id = |at: usize| format!("call{:05}", (from + at) % 100_000);
                let calls: Vec<Value> = round.iter().enumerate().map(|(at, (call, _))| called(call, &id(at))).collect();
                let mut messages = vec![json!({ "role": "assistant", "content": null, "tool_calls": calls })];
                messages.extend(round.iter().enumerate().map(|(at, (_, result))| {
                    json!({ "role": "tool", "tool_call_id": id(at), "content": shown(*result, longest) })
                }));
                messages
            }
            Self::Round(round) => {
                let calls: Vec<Value> =
                    round.iter().map(|(call, _)| json!({ "name": call.name, "parameters": call.arguments })).collect();
                let results: Vec<String> = round.iter().map(|(_, result)| shown(*result, longest)).collect();
                vec![
                    json!({ "role": "assistant", "content": json!({ "calls": calls }).to_string() }),
                    json!({ "role": "user", "content": results.join("\n") }),
                ]
            }
        }
    }
}

fn called(call: &ToolCall, id: &str) -> Value {
    let arguments = match &call.arguments {
        // What was no JSON is shown to the model as it wrote it.
        Value::String(text) => text.clone(),
        Value::Null => "{}".to_owned(),
        arguments => arguments.to_string(),
    };
    json!({ "id": id, "type": "function", "function": { "name": call.name, "arguments": arguments } })
}

/// The result of a call between its marks, which nothing inside of it can write.
fn shown(told: Option<Told<'_>>, longest: usize) -> String {
    let mut value = match told.map(|told| &told.result.outcome) {
        Some(Ok(value)) => value.clone(),
        Some(Err(failure)) => json!({ "error": { "reason": failure.reason, "message": failure.message } }),
        None => json!({ "error": { "message": "this call was not made" } }),
    };
    // It stands above, too, where a small model has overlooked it.
    if let Some(before) = told.and_then(|told| told.before).filter(|before| before.to_string().len() <= longest / 2) {
        value["result"] = before.clone();
    }
    let text = value.to_string();
    let text = if text.len() > longest { too_long(text.len()) } else { text };
    marked(&text)
}

fn too_long(length: usize) -> String {
    let message =
        format!("this result has {length} bytes, which is too long to show; ask for a smaller page or for less");
    json!({ "error": { "reason": "MESSAGE_TOO_LARGE", "message": message } }).to_string()
}

fn marked(json: &str) -> String {
    // In JSON `<` stands in strings only, and may be written so.
    format!("<tool_result>\n{}\n</tool_result>", json.replace('<', "\\u003c"))
}

fn shorten(message: &mut Value) {
    let is_result = message["content"].as_str().is_some_and(|text| text.starts_with("<tool_result>"));
    let length = message["content"].as_str().map_or(0, str::len);
    if is_result && length > 1000 {
        message["content"] = Value::String(marked(&too_long(length)));
    }
}

fn weight(messages: &[Value]) -> usize {
    let texts = |message: &Value| {
        let calls = message.get("tool_calls").map_or(0, |calls| calls.to_string().len());
        message["content"].as_str().map_or(0, str::len) + calls + BESIDE
    };
    messages.iter().map(texts).sum()
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
