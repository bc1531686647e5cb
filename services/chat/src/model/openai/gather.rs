//! One answer, put together from the pieces in which it arrives.
//!
//! Pieces of a tool call are told apart by their number, by their id, or by their order, because servers leave out
//! each of these. What can be understood is taken; what can not be is an error, and then nothing of the answer counts.

use serde_json::{Map, Value};

use super::{
    super::{ModelError, Saying},
    events::Unreadable,
};
use crate::domain::{tool::ToolCall, usage::Usage};

/// How much of an answer is taken, in bytes: words with what was thought before them, and all calls together. A turn
/// keeps less of both.
const HEAVIEST_WORDS: usize = 256 * 1024;
const HEAVIEST_CALLS: usize = 1024 * 1024;

/// How many calls are kept. More than a turn takes, so that it can say that there were too many.
const MOST_CALLS: usize = 64;

/// What thoughts stand between.
const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// Puts an answer together.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    text: String,
    thinking: Thinking,
    calls: Vec<Draft>,
    finish: Option<String>,
    /// What the words, and the calls, weigh so far.
    weights: [usize; 2],
    pub(super) usage: Option<Usage>,
    /// The name of the model that answered.
    pub(super) model: Option<String>,
}

/// A call that is being put together.
#[derive(Debug, Default)]
struct Draft {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

/// Some models write what they think before what they say.
#[derive(Debug, Default, PartialEq, Eq)]
enum Thinking {
    /// It may yet begin so: this is what was written.
    #[default]
    Unknown,
    Yes,
    No,
}

/// An answer that is whole.
#[derive(Debug, PartialEq)]
pub(super) struct Whole {
    pub(super) text: String,
    pub(super) calls: Vec<ToolCall>,
    /// Why the server says that it ended.
    pub(super) finish: String,
}

impl From<Unreadable> for ModelError {
    fn from(error: Unreadable) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl Gathered {
    /// Takes a piece, or all of it.
    pub(super) fn take(&mut self, piece: &Value, say: &mut Saying<'_>) -> Result<(), ModelError> {
        if let Some(error) = piece.get("error").filter(|error| !error.is_null()) {
            return Err(refused(error));
        }
        if let Some(usage) = piece.get("usage").and_then(usage) {
            self.usage = Some(usage);
        }
        if let Some(model) = piece.get("model").and_then(Value::as_str).filter(|_| self.model.is_none()) {
            self.model = Some(model.chars().take(100).collect());
        }
        let choices = piece.get("choices").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let Some(choice) = choices.iter().find(|choice| number(choice, "index").unwrap_or(0) == 0) else {
            return Ok(());
        };
        for said in ["delta", "message"].iter().filter_map(|name| choice.get(name)) {
            self.words(said.get("content"), say)?;
            self.calls(said)?;
        }
        if let Some(finish) = choice.get("finish_reason").and_then(Value::as_str) {
            self.finish = Some(finish.chars().take(50).collect());
        }
        Ok(())
    }

    /// Whether anything was said that a client has seen or that would have to be taken back.
    pub(super) fn is_used(&self) -> bool {
        !self.text.is_empty() || !self.calls.is_empty()
    }

    /// What it has cost so far, after a prompt of so many bytes; nothing while nothing was answered.
    pub(super) fn spent(&self, prompt: usize) -> Option<Usage> {
        let written: usize = self.weights.iter().sum();
        self.usage.or_else(|| (written > 0).then(|| Usage::of_bytes(prompt, written)))
    }

    /// The answer, if it is whole: `is_done` when its end was marked.
    pub(super) fn whole(mut self, is_done: bool, say: &mut Saying<'_>) -> Result<(Whole, Option<Usage>), ModelError> {
        if self.finish.is_none() && !is_done {
            return Err(ModelError::Unavailable("its answer ended in the middle".to_owned()));
        }
        match self.thinking {
            // It only looked like it.
            Thinking::Unknown if !self.text.is_empty() => say(&self.text),
            // It never came to an end of it.
            Thinking::Yes => self.text.clear(),
            _ => {}
        }
        let whole = Whole {
            text: self.text,
            calls: self.calls.into_iter().map(Draft::call).collect(),
            finish: self.finish.unwrap_or_default(),
        };
        Ok((whole, self.usage))
    }

    fn words(&mut self, content: Option<&Value>, say: &mut Saying<'_>) -> Result<(), ModelError> {
        match content {
            Some(Value::String(text)) => self.say(text, say),
            // Content in parts.
            Some(Value::Array(parts)) => {
                let texts = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
                texts.into_iter().try_for_each(|text| self.say(text, say))
            }
            _ => Ok(()),
        }
    }

    fn say(&mut self, text: &str, say: &mut Saying<'_>) -> Result<(), ModelError> {
        if text.is_empty() {
            return Ok(());
        }
        self.weigh(0, text.len(), HEAVIEST_WORDS)?;
        self.text.push_str(text);
        match self.thinking {
            Thinking::No => {
                say(text);
                return Ok(());
            }
            Thinking::Unknown => {
                let begun = self.text.trim_start();
                if begun.is_empty() || (begun.len() < OPEN.len() && OPEN.starts_with(begun)) {
                    return Ok(());
                }
                self.thinking = if begun.starts_with(OPEN) { Thinking::Yes } else { Thinking::No };
            }
            Thinking::Yes => {}
        }
        if self.thinking == Thinking::Yes {
            // Only the end of what is there can hold the end of it, for the first time.
            let from = self.text.len().saturating_sub(text.len() + CLOSE.len());
            let from = (from..=self.text.len()).find(|at| self.text.is_char_boundary(*at)).unwrap_or(0);
            let Some(at) = self.text.get(from..).and_then(|tail| tail.find(CLOSE)) else { return Ok(()) };
            self.text.drain(..from + at + CLOSE.len());
            self.text = self.text.trim_start().to_owned();
            self.thinking = Thinking::No;
        }
        if !self.text.is_empty() {
            say(&self.text);
        }
        Ok(())
    }

    fn calls(&mut self, said: &Value) -> Result<(), ModelError> {
        let calls = said.get("tool_calls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for call in calls {
            self.call(call, call.get("function").unwrap_or(call))?;
        }
        // What calls of tools were called before there could be several.
        match said.get("function_call") {
            Some(function @ Value::Object(_)) => self.call(&Value::Null, function),
            _ => Ok(()),
        }
    }

    fn call(&mut self, call: &Value, function: &Value) -> Result<(), ModelError> {
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (index, id, name) = (number(call, "index"), text(call, "id"), text(function, "name"));
        let arguments = match function.get("arguments").or_else(|| function.get("parameters")) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(whole) => whole.to_string(),
        };
        self.weigh(1, id.len() + name.len() + arguments.len(), HEAVIEST_CALLS)?;
        let at = self.place(index, &id, &name);
        let Some(draft) = at.and_then(|at| self.calls.get_mut(at)) else {
            if self.calls.len() < MOST_CALLS {
                self.calls.push(Draft { index, id, name, arguments });
            }
            return Ok(());
        };
        if draft.id.is_empty() {
            draft.id = id;
        }
        // A name comes whole, or in pieces, or again with every piece.
        if draft.name != name {
            draft.name.push_str(&name);
        }
        draft.arguments.push_str(&arguments);
        Ok(())
    }

    /// The call that a piece belongs to; nothing for a new one.
    fn place(&self, index: Option<u64>, id: &str, name: &str) -> Option<usize> {
        let last = self.calls.len().checked_sub(1)?;
        let is_other = |draft: &Draft| !id.is_empty() && !draft.id.is_empty() && draft.id != id;
        match index {
            // The newest of that number: some number every call as the first.
            Some(_) => {
                let at = self.calls.iter().rposition(|draft| draft.index == index)?;
                (!self.calls.get(at).is_some_and(is_other)).then_some(at)
            }
            None if !id.is_empty() => match self.calls.iter().rposition(|draft| draft.id == id) {
                Some(at) => Some(at),
                None => self.calls.get(last).filter(|draft| draft.id.is_empty() && name.is_empty()).map(|_| last),
            },
            // Without either, a name begins a call.
            None => name.is_empty().then_some(last),
        }
    }

    fn weigh(&mut self, of: usize, bytes: usize, most: usize) -> Result<(), ModelError> {
        let Some(weight) = self.weights.get_mut(of) else { return Ok(()) };
        *weight += bytes;
        if *weight > most { Err(Unreadable::TooLong.into()) } else { Ok(()) }
    }
}

impl Draft {
    fn call(self) -> ToolCall {
        ToolCall { id: self.id, name: self.name, arguments: arguments(&self.arguments) }
    }
}

/// Arguments as JSON. What is none stays a text, which no tool takes: the model is told so.
pub(super) fn arguments(text: &str) -> Value {
    if text.trim().is_empty() {
        return Value::Object(Map::new());
    }
    match serde_json::from_str(text) {
        // Written as JSON twice.
        Ok(Value::String(inner)) => {
            let value = serde_json::from_str(&inner).ok().filter(Value::is_object);
            value.unwrap_or(Value::String(inner))
        }
        Ok(value) => value,
        Err(_) => Value::String(text.to_owned()),
    }
}

/// An error in place of an answer, or of the rest of one. Its words may hold what was said, and are not kept.
fn refused(error: &Value) -> ModelError {
    let code = error.get("code").or_else(|| error.get("status"));
    match code.and_then(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok())) {
        Some(429) => ModelError::Busy("it is asked too often".to_owned()),
        Some(code) => ModelError::Unavailable(format!("it answered with error {code}")),
        None => ModelError::Unavailable("it answered with an error".to_owned()),
    }
}

fn usage(value: &Value) -> Option<Usage> {
    let prompt = number(value, "prompt_tokens").or_else(|| number(value, "input_tokens"));
    let completion = number(value, "completion_tokens").or_else(|| number(value, "output_tokens"));
    if prompt.is_none() && completion.is_none() {
        return None;
    }
    Some(Usage { prompt: prompt.unwrap_or(0), completion: completion.unwrap_or(0) })
}

fn number(value: &Value, name: &str) -> Option<u64> {
    let value = value.get(name)?;
    // Some write whole numbers with a point.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, within what a float holds")]
    let rounded = |number: f64| (number.is_finite() && (0.0..1e15).contains(&number)).then_some(number as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(rounded))
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
