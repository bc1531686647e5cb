//! The ways in which one call may arrive. Each has its own words for the same request and the same answer; here they are
//! put into one form, JSON, so that they can be compared.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use bytes::Bytes;
use errand_proto::{contract::Method, json};
use http::HeaderMap;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use tonic::Status;

use crate::wire::{Http1, envelopes, framed, grpc, http1, http2, unweb};

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Grpc,
    Web,
    WebText,
    ConnectJson,
    ConnectProto,
    Rest,
}

/// What is sent.
#[derive(Debug, Clone)]
pub(crate) enum Sent {
    /// The request, in the words of the door.
    Request(Value),
    /// These bytes in place of it: the message of a door that speaks protobuf, the text of one that speaks JSON.
    Bytes(Vec<u8>),
    /// These frames, for a door that has frames.
    Frames(Vec<u8>),
}

/// A call as any door can make it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: &'static Method,
    pub(crate) sent: Sent,
    pub(crate) token: Option<String>,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// In place of the method's own path.
    pub(crate) path: Option<&'static str>,
    /// In place of the verb that the door would use.
    pub(crate) verb: Option<&'static str>,
    /// In place of the content type of the door.
    pub(crate) content_type: Option<&'static str>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) http: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) messages: Vec<Value>,
    pub(crate) failure: Option<Failure>,
}

/// How a call failed, as the details of its error have it, without the name of the call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    pub(crate) code: i64,
    pub(crate) message: String,
    pub(crate) details: Vec<Value>,
}

const CODES: [&str; 17] = [
    "ok",
    "canceled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

impl Door {
    pub(crate) const ALL: [Self; 6] =
        [Self::Grpc, Self::Web, Self::WebText, Self::ConnectJson, Self::ConnectProto, Self::Rest];
    /// Those whose messages are framed.
    pub(crate) const FRAMED: &'static [Self] = &[Self::Grpc, Self::Web, Self::WebText];
    /// Those of plain HTTP.
    pub(crate) const PLAIN: &'static [Self] = &[Self::ConnectJson, Self::ConnectProto, Self::Rest];

    /// Whether a call of the method can arrive here.
    pub(crate) fn has(self, method: &Method) -> bool {
        match self {
            Self::Rest => !method.http.is_empty(),
            _ => true,
        }
    }

    /// Whether a refusal of the method is told by the status of HTTP: a stream of Connect has begun well by then.
    pub(crate) fn tells_by_status(self, method: &Method) -> bool {
        self == Self::Rest || (Self::PLAIN.contains(&self) && !method.server_streaming)
    }

    const fn content_type(self, method: &Method) -> &'static str {
        match self {
            Self::ConnectProto if method.server_streaming => "application/connect+proto",
            Self::ConnectJson if method.server_streaming => "application/connect+json",
            Self::Grpc => "application/grpc",
            Self::Web => "application/grpc-web+proto",
            Self::WebText => "application/grpc-web-text",
            Self::ConnectProto => "application/proto",
            Self::ConnectJson | Self::Rest => "application/json",
        }
    }

    /// Makes a call, and checks that the answer names it as it was named.
    pub(crate) async fn call(self, address: SocketAddr, call: &Call) -> Said {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = number.is_multiple_of(2).then(|| format!("parity-{number}"));
        let mut headers = call.headers.clone();
        headers.push(("content-type", call.content_type.unwrap_or(self.content_type(call.method)).to_owned()));
        headers.extend(call.token.as_ref().map(|token| ("authorization", format!("Bearer {token}"))));
        headers.extend(name.clone().map(|name| ("x-request-id", name)));
        if self == Self::WebText {
            headers.push(("accept", self.content_type(call.method).to_owned()));
        }
        let (mut said, named) = match self {
            Self::Grpc => native(address, call, &headers).await,
            Self::Web | Self::WebText => web(address, call, &headers, self == Self::WebText),
            Self::ConnectJson | Self::ConnectProto => connect(address, call, &headers, self == Self::ConnectJson),
            Self::Rest => rest(address, call, &headers),
        };
        let returned = said.headers.remove("x-request-id").unwrap_or_else(|| panic!("{self:?}: {said:?}"));
        assert!(name.is_none_or(|name| name == returned), "{self:?} gave the call another name: {returned}");
        if let Some(failure) = &said.failure {
            assert_eq!(named, returned, "{self:?}: the error names the call as its header does: {failure:?}");
            let infos = failure.details.iter().filter(|detail| detail["@type"] == of_rpc("ErrorInfo"));
            assert_eq!(infos.count(), 1, "{self:?}: {failure:?}");
        }
        said
    }
}

impl Call {
    pub(crate) fn new(method: &str, request: Value, token: Option<&str>) -> Self {
        let method = errand_proto::contract::METHODS.iter().find(|one| one.path.ends_with(&format!("/{method}")));
        let method = method.unwrap_or_else(|| panic!("no such method"));
        let token = token.map(str::to_owned);
        Self {
            method,
            sent: Sent::Request(request),
            token,
            headers: vec![],
            path: None,
            verb: None,
            content_type: None,
        }
    }

    fn path(&self) -> &str {
        self.path.unwrap_or(self.method.path)
    }

    fn head(&self, verb: &str, path: &str) -> String {
        format!("{} {path}", self.verb.unwrap_or(verb))
    }

    fn message(&self) -> Vec<u8> {
        match &self.sent {
            Sent::Request(request) => json::to_bytes(self.method.input, request).unwrap(),
            Sent::Bytes(bytes) | Sent::Frames(bytes) => bytes.clone(),
        }
    }

    fn frames(&self) -> Vec<u8> {
        if let Sent::Frames(frames) = &self.sent { frames.clone() } else { framed(&self.message()) }
    }

    fn answer(&self, bytes: &[u8]) -> Value {
        json::from_bytes(self.method.output, bytes).unwrap()
    }
}

fn of_rpc(name: &str) -> String {
    format!("type.googleapis.com/google.rpc.{name}")
}

fn borrowed<'h>(headers: &'h [(&'static str, String)]) -> Vec<(&'h str, &'h str)> {
    headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// A `google.rpc.Status` in JSON, and the name of the call in it.
fn failure(status: &Value) -> (Option<Failure>, String) {
    let details = status["details"].as_array().cloned().unwrap_or_default();
    let (names, details): (Vec<_>, Vec<_>) =
        details.into_iter().partition(|detail| detail["@type"] == of_rpc("RequestInfo"));
    let name = names.first().and_then(|name| name["requestId"].as_str()).unwrap_or_default().to_owned();
    let message = status["message"].as_str().unwrap_or_default().to_owned();
    (Some(Failure { code: status["code"].as_i64().unwrap(), message, details }), name)
}

/// How a call ended, in the trailers of gRPC.
fn ended(trailers: &HeaderMap) -> (Option<Failure>, String) {
    let status = Status::from_header_map(trailers).unwrap();
    if status.code() == tonic::Code::Ok {
        return (None, String::new());
    }
    let ended = failure(&json::from_bytes("google.rpc.Status", status.details()).unwrap());
    let said = ended.0.as_ref().map(|failure| (failure.code, failure.message.as_str()));
    assert_eq!(said, Some((status.code() as i64, status.message())), "the details repeat the code and the message");
    ended
}

async fn native(address: SocketAddr, call: &Call, headers: &[(&'static str, String)]) -> (Said, String) {
    let mut request = grpc(address, call.path());
    // The builder has set it already.
    for (name, value) in headers.iter().filter(|(name, _)| *name != "content-type") {
        request = request.header(*name, value);
    }
    let answer = http2(address, request.body(()).unwrap(), vec![Bytes::from(call.frames())]).await.unwrap();
    let mut rest = answer.body.as_slice();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
        messages.push(call.answer(&rest[5..5 + length]));
        rest = &rest[5 + length..];
    }
    let trailers = if answer.trailers.is_empty() { &answer.headers } else { &answer.trailers };
    let (failure, name) = ended(trailers);
    let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    (Said { http: answer.status, headers: answer.headers.iter().map(text).collect(), messages, failure }, name)
}

fn web(address: SocketAddr, call: &Call, headers: &[(&'static str, String)], text: bool) -> (Said, String) {
    let body = if text { STANDARD.encode(call.frames()).into_bytes() } else { call.frames() };
    let answer = unweb(http1(address, &call.head("POST", call.path()), &borrowed(headers), &body), text);
    let mut trailers = HeaderMap::new();
    for (name, value) in &answer.trailers {
        trailers.insert(http::HeaderName::try_from(name.as_str()).unwrap(), value.parse().unwrap());
    }
    let (failure, name) = ended(&trailers);
    let messages = answer.messages.iter().map(|message| call.answer(message)).collect();
    (Said { http: answer.http.status, headers: answer.http.headers, messages, failure }, name)
}

fn connect(address: SocketAddr, call: &Call, headers: &[(&'static str, String)], is_json: bool) -> (Said, String) {
    let body = match &call.sent {
        Sent::Request(request) if is_json => request.to_string().into_bytes(),
        _ => call.message(),
    };
    let is_stream = call.method.server_streaming;
    let body = match &call.sent {
        Sent::Frames(_) => body,
        _ if is_stream => framed(&body),
        _ => body,
    };
    let answer = http1(address, &call.head("POST", call.path()), &borrowed(headers), &body);
    let read = |bytes: &[u8]| if is_json { serde_json::from_slice(bytes).unwrap() } else { call.answer(bytes) };
    if answer.status == 200 && is_stream {
        let (messages, end) = envelopes(&answer);
        let (failure, name) = end.get("error").map(|error| failure(&in_grpc(error).unwrap())).unwrap_or_default();
        let messages = messages.iter().map(|message| read(message)).collect();
        return (Said { http: answer.status, headers: answer.headers, messages, failure }, name);
    }
    if answer.status == 200 {
        let message = read(&answer.body);
        return whole(answer, message);
    }
    let error = parsed(&answer);
    // What is no method is no Connect either: then it is an error of plain HTTP.
    let status = in_grpc(&error).unwrap_or(error);
    failed(answer, &status)
}

/// An error of Connect as a `google.rpc.Status`; nothing for what is none.
fn in_grpc(error: &Value) -> Option<Value> {
    let word = error["code"].as_str()?;
    let code = CODES.iter().position(|code| *code == word).unwrap();
    let details = error["details"].as_array().unwrap().iter().map(|detail| {
        let name = detail["type"].as_str().unwrap();
        let bytes = STANDARD_NO_PAD.decode(detail["value"].as_str().unwrap()).unwrap();
        let mut decoded = json::from_bytes(name, &bytes).unwrap();
        assert_eq!(decoded, detail["debug"], "what is for eyes says the same");
        decoded["@type"] = format!("type.googleapis.com/{name}").into();
        decoded
    });
    Some(serde_json::json!({ "code": code, "message": error["message"], "details": details.collect::<Vec<_>>() }))
}

fn rest(address: SocketAddr, call: &Call, headers: &[(&'static str, String)]) -> (Said, String) {
    let (verb, mut path, mut body) = match &call.sent {
        Sent::Request(request) => in_rest(call.method, request),
        Sent::Bytes(_) | Sent::Frames(_) => in_rest(call.method, &Value::Object(Map::new())),
    };
    if let Sent::Bytes(bytes) | Sent::Frames(bytes) = &call.sent {
        body.clone_from(bytes);
    }
    if let Some(other) = call.path {
        other.clone_into(&mut path);
    }
    let answer = http1(address, &call.head(verb, &path), &borrowed(headers), &body);
    if answer.status >= 300 {
        let status = parsed(&answer);
        return failed(answer, &status);
    }
    if !call.method.server_streaming {
        let message = parsed(&answer);
        return whole(answer, message);
    }
    let text = String::from_utf8(answer.body).unwrap();
    let (mut messages, mut end) = (Vec::new(), (None, String::new()));
    for event in text.split_terminator("\n\n") {
        let data: Value =
            serde_json::from_str(event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap()).unwrap();
        if event.starts_with("event: error\n") { end = failure(&data) } else { messages.push(data) }
    }
    (Said { http: answer.status, headers: answer.headers, messages, failure: end.0 }, end.1)
}

fn parsed(answer: &Http1) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

fn whole(answer: Http1, message: Value) -> (Said, String) {
    (Said { http: answer.status, headers: answer.headers, messages: vec![message], failure: None }, String::new())
}

fn failed(answer: Http1, status: &Value) -> (Said, String) {
    let (failure, name) = failure(status);
    (Said { http: answer.status, headers: answer.headers, messages: vec![], failure }, name)
}

/// A request as the http rule of its method says it: verb, path with its query, and body.
fn in_rest(method: &Method, request: &Value) -> (&'static str, String, Vec<u8>) {
    let rule = method.http[0];
    let mut request = request.clone();
    let mut path = String::new();
    for (index, piece) in rule.path.split(['{', '}']).enumerate() {
        if index % 2 == 0 {
            path.push_str(piece);
            continue;
        }
        let names: Vec<_> = piece.split('.').map(camel).collect();
        let (last, above) = names.split_last().unwrap();
        let holder = above.iter().fold(&mut request, |value, name| &mut value[name.as_str()]);
        let value = holder.as_object_mut().and_then(|holder| holder.remove(last));
        let text = value.as_ref().and_then(Value::as_str).unwrap_or("x");
        path.push_str(&utf8_percent_encode(text, NON_ALPHANUMERIC).to_string());
    }
    let body = match rule.body {
        "" => Vec::new(),
        "*" => std::mem::take(&mut request).to_string().into_bytes(),
        field => {
            let value = request.as_object_mut().and_then(|request| request.remove(&camel(field)));
            value.unwrap_or_else(|| Value::Object(Map::new())).to_string().into_bytes()
        }
    };
    let mut pairs = Vec::new();
    query("", &request, &mut pairs);
    if !pairs.is_empty() {
        path = format!("{path}?{}", pairs.join("&"));
    }
    (rule.verb, path, body)
}

fn query(name: &str, value: &Value, pairs: &mut Vec<String>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (key, value) in fields {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                query(&name, value, pairs);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| query(name, item, pairs)),
        other => {
            let text = other.as_str().map_or_else(|| other.to_string(), str::to_owned);
            pairs.push(format!("{name}={}", utf8_percent_encode(&text, NON_ALPHANUMERIC)));
        }
    }
}

/// A field as JSON spells it.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |text, word| text + &word[..1].to_ascii_uppercase() + &word[1..])
}
