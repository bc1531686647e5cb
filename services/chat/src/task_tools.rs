//! A tool call carried out as a call of the task service, in the user's name.
//!
//! The arguments become the request by descriptor, and the answer becomes the result; no message
//! type is named here. The call carries the caller's own token and nothing else that would let it
//! do more than the caller could. A write carries a request id made of turn and step, so a repeated
//! one has one effect.

use std::{collections::HashSet, fmt, time::Duration};

use bytes::{Buf, BufMut, Bytes};
use errand_chassis::{
    access::TURN_HEADER,
    deadline::Deadline,
    request_id::{self, RequestId},
    upstream::Upstream,
};
use errand_proto::{
    contract::Method,
    json,
    status::{reason, retry_after},
    tools::{self, Tool},
};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION, uri::PathAndQuery};
use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
};
use uuid::Uuid;

use crate::domain::{
    policy::Class,
    tool::{ToolCall, ToolFailure},
};

/// How long one try of a call may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// For how long a call is tried again: a service or its database that is started anew is back by then.
const INSISTENCE: Duration = Duration::from_secs(15);

/// What is kept of the user's time to say that a call failed.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What is waited before the second try; before each further one twice as long, up to the longest pause.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between two tries, and the longest that a peer's word about when is heeded.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How many pages of tasks are read at most for a question about them.
const MOST_PAGES: usize = 250;

/// The largest result that a model is shown, in bytes of its encoding.
const LARGEST_RESULT: usize = 2 * 1024 * 1024;

/// Carries out tool calls.
#[derive(Clone)]
pub(crate) struct TaskTools {
    task: Upstream,
}

/// In whose name calls are made. Held in memory only, and never printed.
#[derive(Debug, Clone)]
pub(crate) struct Voice {
    authorization: HeaderValue,
    request_id: Option<RequestId>,
    deadline: Option<Deadline>,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Finished {
    /// The model is told.
    Outcome(Result<Value, ToolFailure>),
    /// The token is not taken any more: only the user can go on.
    TokenRefused,
}

/// What came of looking at all tasks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Surveyed {
    /// Each that is not deleted: those that were asked about whole, of all others the id.
    Tasks(Vec<Value>),
    /// They can not be read.
    Failed(ToolFailure),
    /// The token is not taken any more: only the user can go on.
    TokenRefused,
}

/// Bytes in, bytes out.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

/// What a tool can do; nothing for a tool that there is not.
#[must_use]
pub(crate) fn classify(name: &str) -> Option<Class> {
    Tool::find(name).map(|tool| match tool.class {
        tools::Class::Read => Class::Read,
        tools::Class::Write => Class::Write,
        tools::Class::Destructive => Class::Destructive,
        tools::Class::Undo => Class::Undo,
    })
}

// === impl Voice ===

impl Voice {
    /// The voice of the user with this access token.
    #[must_use]
    pub(crate) fn new(bearer: &str, request_id: Option<RequestId>, deadline: Option<Deadline>) -> Self {
        // A token that is no header value could not have arrived in one.
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {bearer}")).unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
        authorization.set_sensitive(true);
        Self { authorization, request_id, deadline }
    }

    /// How long a try may take: no longer than the user waits, while the user waits, and where that leaves enough
    /// for it, not until the last moment.
    fn patience(&self) -> Duration {
        let in_time = |left: Duration| left.saturating_sub(LAST_WORDS).max(left.min(LAST_WORDS));
        self.left().map_or(PATIENCE, |left| in_time(left).min(PATIENCE))
    }

    /// When a call is given up: in time to tell the user, while the user waits.
    fn gives_up(&self) -> Instant {
        let left = self.left().map_or(INSISTENCE, |left| left.saturating_sub(LAST_WORDS).min(INSISTENCE));
        Instant::now() + left
    }

    /// How long the user still waits; nothing for a user who went away or has all the time there is.
    fn left(&self) -> Option<Duration> {
        self.deadline.map(Deadline::remaining).filter(|left| !left.is_zero())
    }
}

// === impl TaskTools ===

impl TaskTools {
    /// Tools over the task service behind `task`.
    #[must_use]
    pub(crate) fn new(task: Upstream) -> Self {
        Self { task }
    }

    /// Carries out a call of a turn; its outcome will be the event of `step`.
    pub(crate) async fn call(&self, voice: &Voice, turn: Uuid, step: usize, call: &ToolCall) -> Finished {
        let (method, message) = match encode(call, Some((turn, step))) {
            Ok(encoded) => encoded,
            Err(failure) => return Finished::Outcome(Err(failure)),
        };
        let gives_up = voice.gives_up();
        let mut pause = FIRST_PAUSE;
        let mut doubt = None;
        loop {
            let status = match self.attempt(method, voice, turn, message.clone()).await {
                Ok(answer) => return Finished::Outcome(decode(method, &answer)),
                Err(status) if is_token_refused(&status) => return Finished::TokenRefused,
                Err(status) => status,
            };
            let failure = failure(&status);
            // A try that may have written casts doubt on every later refusal.
            if !method.no_side_effects && ["OUTCOME_UNKNOWN", "DEADLINE_EXCEEDED"].contains(&failure.reason.as_str()) {
                doubt.get_or_insert_with(|| failure.clone());
            }
            // It has the same request id however often it is made, so its effect is one.
            match again_after(&status).map(|asked| asked.max(pause)) {
                Some(wait) if Instant::now() + wait < gives_up => tokio::time::sleep(wait).await,
                _ => return Finished::Outcome(Err(doubt.unwrap_or(failure))),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Asks what a call would do, and does nothing.
    pub(crate) async fn preview(&self, voice: &Voice, turn: Uuid, call: &ToolCall) -> Finished {
        let (method, message) = match encode(call, None) {
            Ok(encoded) => encoded,
            Err(failure) => return Finished::Outcome(Err(failure)),
        };
        match self.attempt(method, voice, turn, message).await {
            Ok(answer) => Finished::Outcome(decode(method, &answer)),
            Err(status) if is_token_refused(&status) => Finished::TokenRefused,
            Err(status) => Finished::Outcome(Err(failure(&status))),
        }
    }

    /// Reads what the user's tasks are now, as far as a question about these needs to know.
    pub(crate) async fn survey(&self, voice: &Voice, turn: Uuid, about: &HashSet<String>) -> Surveyed {
        let mut tasks = Vec::new();
        let mut page_token = Value::String(String::new());
        for _ in 0..MOST_PAGES {
            let arguments = json!({ "pageSize": 200, "pageToken": page_token });
            let list = ToolCall { id: "survey".to_owned(), name: "list_tasks".to_owned(), arguments };
            let mut page = match self.call(voice, turn, 0, &list).await {
                Finished::Outcome(Ok(page)) => page,
                Finished::Outcome(Err(failure)) => return Surveyed::Failed(failure),
                Finished::TokenRefused => return Surveyed::TokenRefused,
            };
            if let Some(Value::Array(items)) = page.get_mut("tasks").map(Value::take) {
                tasks.extend(items.into_iter().map(|task| match task["id"].as_str() {
                    Some(id) if about.contains(id) => task,
                    _ => json!({ "id": task["id"] }),
                }));
            }
            page_token = page.get_mut("nextPageToken").map(Value::take).unwrap_or_default();
            if page_token.as_str().is_none_or(str::is_empty) {
                return Surveyed::Tasks(tasks);
            }
        }
        Surveyed::Failed(too_large())
    }

    async fn attempt(
        &self,
        method: &'static Method,
        voice: &Voice,
        turn: Uuid,
        message: Bytes,
    ) -> Result<Bytes, Status> {
        let patience = voice.patience();
        let mut request = Request::new(message);
        *request.metadata_mut() = MetadataMap::from_headers(headers(voice, turn));
        request.set_timeout(patience);
        let mut client = Grpc::new(self.task.clone());
        let call = async move {
            client.ready().await.map_err(|_| Status::unavailable("the task service cannot be reached"))?;
            let path = PathAndQuery::from_static(method.path);
            client.unary(request, path, Raw).await.map(tonic::Response::into_inner)
        };
        // The peer keeps to the timeout, if it can be reached at all.
        tokio::time::timeout(patience, call)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("the task service took too long")))
    }
}

impl fmt::Debug for TaskTools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskTools")
    }
}

fn headers(voice: &Voice, turn: Uuid) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, voice.authorization.clone());
    if let Ok(turn) = HeaderValue::from_str(&turn.to_string()) {
        headers.insert(TURN_HEADER, turn);
    }
    if let Some(request_id) = &voice.request_id {
        headers.insert(request_id::HEADER, request_id.to_header());
    }
    headers
}

/// The rpc of a call, and its request in this turn and step, or as a preview. What makes it repeatable, and
/// what makes it a preview, is ours to say, never the model's.
fn encode(call: &ToolCall, place: Option<(Uuid, usize)>) -> Result<(&'static Method, Bytes), ToolFailure> {
    let (tool, method) = Tool::find(&call.name).and_then(|tool| Some((tool, tool.method()?))).ok_or_else(unknown)?;
    let mut arguments = call.arguments.clone();
    if let Some(fields) = arguments.as_object_mut() {
        for field in ["requestId", "request_id", "validateOnly", "validate_only"] {
            if fields.contains_key(field) {
                return Err(invalid(format!("{field}: is not an argument of {}", tool.name)));
            }
        }
        match place {
            Some((turn, step)) if method.has_request_id => {
                fields.insert("requestId".to_owned(), Value::String(format!("turn-{turn}-{step}")));
            }
            None if !method.no_side_effects => {
                fields.insert("validateOnly".to_owned(), Value::Bool(true));
            }
            _ => {}
        }
    }
    let message = json::to_bytes(method.input, &arguments).map_err(|error| invalid(error.to_string()))?;
    Ok((method, message.into()))
}

fn decode(method: &Method, answer: &Bytes) -> Result<Value, ToolFailure> {
    // What a write answers is always told: it has happened.
    if method.no_side_effects && answer.len() > LARGEST_RESULT {
        return Err(too_large());
    }
    json::from_bytes(method.output, answer).map_err(|error| {
        tracing::error!(rpc.method = method.path, error = %error, "a peer gave an answer that cannot be read");
        ToolFailure { reason: "INTERNAL".to_owned(), message: "the answer cannot be read".to_owned() }
    })
}

/// How long to wait at least before a call may be made again; nothing when that would not help.
fn again_after(status: &Status) -> Option<Duration> {
    let asked = retry_after(status);
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => Some(asked.unwrap_or_default().min(LONGEST_PAUSE)),
        // Too busy for now; a limit that lasts longer is for the user to know.
        Code::ResourceExhausted => asked.filter(|asked| *asked <= LONGEST_PAUSE),
        _ => None,
    }
}

fn is_token_refused(status: &Status) -> bool {
    status.code() == Code::Unauthenticated && reason(status).is_some_and(|reason| reason.starts_with("TOKEN_"))
}

fn failure(status: &Status) -> ToolFailure {
    let by_code = || match status.code() {
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED".to_owned(),
        Code::Unavailable | Code::Unknown | Code::Cancelled => "UNAVAILABLE".to_owned(),
        _ => "INTERNAL".to_owned(),
    };
    // Without an ErrorInfo it is the transport's word, which is for the log.
    match reason(status) {
        Some(reason) => ToolFailure { reason, message: status.message().to_owned() },
        None => {
            tracing::warn!(code = ?status.code(), error = status.message(), "calling the task service failed");
            ToolFailure { reason: by_code(), message: "the task service gave no answer".to_owned() }
        }
    }
}

fn too_large() -> ToolFailure {
    ToolFailure {
        reason: "MESSAGE_TOO_LARGE".to_owned(),
        message: "the answer is too large; ask for a smaller page".to_owned(),
    }
}

fn invalid(message: String) -> ToolFailure {
    ToolFailure { reason: "INVALID_FIELDS".to_owned(), message }
}

fn unknown() -> ToolFailure {
    ToolFailure { reason: "TOOL_UNKNOWN".to_owned(), message: "there is no such tool".to_owned() }
}

// === impl Raw ===

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining())))
    }
}

#[cfg(test)]
#[path = "task_tools_tests.rs"]
mod tests;
