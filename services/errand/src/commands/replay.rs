//! `errand replay`: a conversation once more, against another model, to see where it would do something else.
//!
//! It reads the conversation as its user, with a token of theirs, and writes nothing: no tool is called and nothing is said
//! in the conversation. A turn whose events are not kept any more, after 30 days, looks as if it had called nothing.

use std::{fs, io::Read, path::Path};

use errand_chassis::upstream::Upstream;
use errand_chat::{
    domain::{
        title,
        tool::{ToolCall, ToolFailure},
    },
    model::{self, Model, openai::OpenAi, planner::Planner},
    replay::{Exchange, Line, Replayed, compared, replay},
};
use errand_proto::{
    auth::{GetMeRequest, auth_service_client::AuthServiceClient},
    chat::{ListMessagesRequest, chat_service_client::ChatServiceClient},
};
use jiff::tz::TimeZone;
use prost::Message;
use serde_json::{Value, json};
use tonic::{Request, metadata::AsciiMetadataValue};
use uuid::Uuid;

use super::remote::{self, refused};
use crate::{
    cli::{Failure, Kind, Replay},
    config::Config,
    console,
};

/// The longest file that may hold a token.
const LONGEST_TOKEN: u64 = 16 * 1024;
/// How many messages are read at a time.
const PAGE: i32 = 200;
/// The longest conversation, in messages.
const MOST_MESSAGES: usize = 10_000;
/// How much of arguments is shown in words, in characters.
const SHOWN: usize = 200;

/// An exchange and what became of it.
struct Turn<'a> {
    exchange: &'a Exchange,
    recorded: Vec<ToolCall>,
    replayed: Replayed,
}

/// Exit code 0 when every turn is alike, 1 when one differs or something failed, 75 when somebody does not answer, 78 when
/// no model is configured.
pub(crate) fn run(config: &Config, told: &Replay) -> Result<(), Failure> {
    let usage = |what: &str| Failure::new(Kind::Usage, what);
    let conversation = Uuid::try_parse(&told.conversation).map_err(|_| usage("the conversation's id is no UUID"))?;
    if let Some(zone) = &told.time_zone {
        TimeZone::get(zone).map_err(|_| usage(&format!("there is no time zone `{zone}`")))?;
    }
    let model = asked(config, told.model.as_deref())?;
    let bearer = bearer(&told.token_file)?;
    let url = remote::url(config, &told.target)?;
    remote::block_on(async {
        let reader = Reader { channel: remote::connect(config, &url).await?, bearer };
        let time_zone = match &told.time_zone {
            Some(zone) => zone.clone(),
            None => reader.time_zone().await?,
        };
        let exchanges = reader.exchanges(conversation).await?;
        let mut turns = Vec::new();
        for (at, exchange) in exchanges.iter().enumerate() {
            let replayed = replay(&*model, &exchanges, at, &time_zone).await;
            let silent = |error: model::Failure| Failure::new(Kind::NotReady, format!("turn {}: {error}", at + 1));
            let recorded = exchange.calls.iter().map(|(call, _)| call.clone()).collect();
            turns.push(Turn { exchange, recorded, replayed: replayed.map_err(silent)? });
        }
        tell(told, model.name(), &turns)
    })
}

fn tell(told: &Replay, model: &str, turns: &[Turn<'_>]) -> Result<(), Failure> {
    let of_model = turns.iter().filter(|turn| turn.is_alike().is_some()).count();
    let alike = turns.iter().filter(|turn| turn.is_alike() == Some(true)).count();
    if told.json {
        let turns: Vec<Value> = turns.iter().map(Turn::json).collect();
        let whole = json!({
            "conversation": told.conversation, "model": model, "turns": turns, "alike": alike, "compared": of_model,
        });
        console::say(whole);
    } else {
        for (number, turn) in (1..).zip(turns) {
            turn.lines(number).into_iter().for_each(console::say);
        }
        console::say(format_args!("{alike} of {of_model} turns alike, with {model}"));
    }
    match of_model - alike {
        0 => Ok(()),
        1 => Err(Failure::new(Kind::Failed, "a turn differs")),
        several => Err(Failure::new(Kind::Failed, format!("{several} turns differ"))),
    }
}

/// The model that is asked.
fn asked(config: &Config, wanted: Option<&str>) -> Result<Box<dyn Model>, Failure> {
    if wanted == Some("planner") {
        return Ok(Box::new(Planner));
    }
    let Some(mut settings) = config.llm.model.clone() else {
        let message =
            "no language model is configured: set ERRAND_LLM_BASE_URL and ERRAND_LLM_MODEL, or say --model planner";
        return Err(Failure::new(Kind::Configuration, message));
    };
    if let Some(name) = wanted {
        name.clone_into(&mut settings.model);
    }
    Ok(Box::new(OpenAi::new(settings).map_err(|error| Failure::new(Kind::Configuration, error))?))
}

/// The token as it is sent: a flag would show it to everybody on the machine.
fn bearer(path: &Path) -> Result<AsciiMetadataValue, Failure> {
    let unreadable =
        |error: std::io::Error| Failure::new(Kind::Failed, format!("can not read {}: {error}", path.display()));
    let mut text = String::new();
    let read = match path == Path::new("-") {
        true => std::io::stdin().take(LONGEST_TOKEN).read_to_string(&mut text),
        false => fs::File::open(path).and_then(|file| file.take(LONGEST_TOKEN).read_to_string(&mut text)),
    };
    read.map_err(unreadable)?;
    let bearer = AsciiMetadataValue::try_from(format!("Bearer {}", text.trim()));
    let mut bearer = bearer.map_err(|_| Failure::new(Kind::Usage, "that is no access token"))?;
    bearer.set_sensitive(true);
    Ok(bearer)
}

// === what was recorded ===

/// Reads as the user.
struct Reader {
    channel: Upstream,
    bearer: AsciiMetadataValue,
}

impl Reader {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.bearer.clone());
        request
    }

    async fn time_zone(&self) -> Result<String, Failure> {
        let me = AuthServiceClient::new(self.channel.clone()).get_me(self.request(GetMeRequest {})).await;
        Ok(me.map_err(|error| refused("reading the user's time zone", &error))?.into_inner().time_zone)
    }

    /// Everything that was said and answered.
    async fn exchanges(&self, conversation: Uuid) -> Result<Vec<Exchange>, Failure> {
        let mut chat = ChatServiceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        let mut page_token = String::new();
        let mut messages = Vec::new();
        loop {
            let conversation_id = conversation.to_string();
            let request = ListMessagesRequest { conversation_id, page_size: PAGE, page_token };
            let page = chat.list_messages(self.request(request)).await;
            let page = page.map_err(|error| refused("reading the conversation", &error))?.into_inner();
            let page_of_json =
                errand_proto::json::from_bytes("errand.chat.v1.ListMessagesResponse", &page.encode_to_vec());
            let page_of_json = page_of_json.map_err(|error| Failure::new(Kind::Failed, error))?;
            messages.extend(page_of_json.get("messages").and_then(Value::as_array).cloned().unwrap_or_default());
            page_token = page.next_page_token;
            if messages.len() > MOST_MESSAGES {
                return Err(Failure::new(Kind::Failed, format!("there are more than {MOST_MESSAGES} messages in it")));
            }
            if page_token.is_empty() {
                return Ok(exchanges(&messages));
            }
        }
    }
}

/// Messages in pairs: a turn that was not answered is no exchange.
fn exchanges(messages: &[Value]) -> Vec<Exchange> {
    let text = |message: &Value, name: &str| message.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut exchanges = Vec::new();
    for pair in messages.windows(2) {
        let [said, answered] = pair else { continue };
        let turn = text(answered, "turnId");
        if text(answered, "role") != "ROLE_ASSISTANT"
            || text(said, "role") != "ROLE_USER"
            || text(said, "turnId") != turn
        {
            continue;
        }
        let (Ok(turn), Ok(at)) = (Uuid::try_parse(&turn), text(said, "createTime").parse()) else { continue };
        let calls = answered.get("toolCalls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let call = |call: &Value| {
            let arguments = call.get("arguments").cloned().unwrap_or_else(|| json!({}));
            let outcome = match (call.get("result"), text(call, "error")) {
                (Some(result), _) if !result.is_null() => Some(Ok(result.clone())),
                (_, reason) if reason.is_empty() => None,
                (_, reason) => Some(Err(ToolFailure { message: reason.clone(), reason })),
            };
            (ToolCall { id: text(call, "id"), name: text(call, "name"), arguments }, outcome)
        };
        exchanges.push(Exchange {
            turn,
            said: text(said, "content"),
            at,
            calls: calls.iter().map(call).collect(),
            answered: text(answered, "content"),
        });
    }
    exchanges
}

// === what is shown ===

impl Turn<'_> {
    /// Whether both want to do the same; nothing where no model was asked.
    fn is_alike(&self) -> Option<bool> {
        match &self.replayed {
            Replayed::OwnWord => None,
            Replayed::Calls(calls) => {
                Some(compared(&self.recorded, calls).iter().all(|line| matches!(line, Line::Both(_))))
            }
        }
    }

    fn lines(&self, number: usize) -> Vec<String> {
        let verdict = match self.is_alike() {
            Some(true) => "alike",
            Some(false) => "DIFFERS",
            None => "own word",
        };
        let mut lines = vec![format!("turn {number}  {verdict:8}  {}", title::drafted(&self.exchange.said))];
        let shown = |mark: &str, call: &ToolCall| {
            // As JSON nothing in it is a sign that a terminal obeys.
            let arguments = call.arguments.to_string();
            let end = arguments.char_indices().nth(SHOWN).map(|(end, _)| end);
            let cut = end.and_then(|end| arguments.get(..end)).unwrap_or(&arguments);
            let more = if end.is_some() { "…" } else { "" };
            format!(
                "  {mark} {} {}{more}",
                call.name.escape_debug(),
                cut.escape_debug().to_string().replace("\\\"", "\"")
            )
        };
        if let Replayed::Calls(calls) = &self.replayed {
            lines.extend(compared(&self.recorded, calls).iter().map(|line| match line {
                Line::Both(call) => shown("=", call),
                Line::Recorded(call) => shown("-", call),
                Line::Replayed(call) => shown("+", call),
            }));
        }
        lines
    }

    fn json(&self) -> Value {
        let calls = |calls: &[ToolCall]| -> Vec<Value> {
            calls.iter().map(|call| json!({ "name": call.name, "arguments": call.arguments })).collect()
        };
        let replayed = match &self.replayed {
            Replayed::OwnWord => Value::Null,
            Replayed::Calls(wanted) => calls(wanted).into(),
        };
        json!({
            "turn": self.exchange.turn, "said": self.exchange.said, "alike": self.is_alike(),
            "recorded": calls(&self.recorded), "replayed": replayed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_exchanges_where_they_were_answered() {
        let (one, two) = (Uuid::from_u128(1).to_string(), Uuid::from_u128(2).to_string());
        let message = |role: &str, turn: &str, content: &str| json!({"role": role, "turnId": turn, "content": content, "createTime": "2026-11-26T12:00:00Z"});
        let mut answered = message("ROLE_ASSISTANT", &two, "Done.");
        answered["toolCalls"] = json!([
            {"id": "a", "name": "list_tasks", "arguments": {}, "result": {"tasks": []}},
            {"id": "b", "name": "delete_tasks", "arguments": {"requests": []}, "error": "APPROVAL_REQUIRED"},
        ]);
        let messages = [message("ROLE_USER", &one, "hello?"), message("ROLE_USER", &two, "clean up"), answered];
        let found = exchanges(&messages);
        assert_eq!((found.len(), found[0].said.as_str(), found[0].answered.as_str()), (1, "clean up", "Done."));
        let outcomes: Vec<_> =
            found[0].calls.iter().map(|(call, outcome)| (call.name.as_str(), outcome.is_some())).collect();
        assert_eq!(outcomes, [("list_tasks", true), ("delete_tasks", true)]);
        assert!(matches!(&found[0].calls[1].1, Some(Err(failure)) if failure.reason == "APPROVAL_REQUIRED"));
    }
}
