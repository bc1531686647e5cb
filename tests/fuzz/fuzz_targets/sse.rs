//! What a service streams as server-sent events: a reader of our own, which knows what a browser knows, finds each
//! message, whole and once, and the end as it was.

#![no_main]

use bytes::Bytes;
use errand_fuzz::{
    edge::{self, End, Script, trailers},
    first, frames, memory, pieces, sse,
};
use errand_proto::{contract::Method, json};
use http::Request;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const STREAMS: [(&str, &str, &str); 2] = [
    ("GET", "/v1/tasks:watch", "/errand.task.v1.TaskService/WatchTasks"),
    ("POST", "/v1/turns/t:resume", "/errand.chat.v1.ChatService/ResumeTurn"),
];

fuzz_target!(init: edge::start(), |data: &[u8]| {
    let mut streamed = data;
    let (shape, size) = (first(&mut streamed), first(&mut streamed));
    let (verb, path, method) = STREAMS[usize::from(shape) % STREAMS.len()];
    let method = Method::find(method).expect("the contracts have it");
    let (end, is_well) = match shape / 2 % 4 {
        0 => (End::Trailers(trailers(&[("grpc-status", "0")])), true),
        1 => (End::Trailers(trailers(&[("grpc-status", "8"), ("grpc-message", "a%0Adata: b")])), false),
        2 => (End::Broken, false),
        _ => (End::Nothing, false),
    };
    let said = pieces(streamed, size).into_iter().map(Bytes::copy_from_slice).collect();
    let request = Request::builder().method(verb).uri(path).body(tonic::body::Body::empty()).expect("a request");
    let most = (256 << 10) + 512 * streamed.len();
    let (answer, seen) = memory::within(most, || edge::call(Script::Say(said, end), request));
    assert_eq!((answer.status.as_u16(), seen.len()), (200, 1), "{answer:?}");
    assert_eq!(answer.header("content-type"), "text/event-stream");

    let text = String::from_utf8(answer.body).expect("events are text");
    assert!(text.is_empty() || text.ends_with("\n\n"), "the last event counts");
    let mut events = sse::read(&text).into_iter();
    let (messages, _) = frames::read(streamed);
    let mut unreadable = false;
    for (_, message) in messages {
        let event = events.next().expect("every message is an event");
        let Ok(value) = json::from_bytes(method.output, message) else {
            assert_eq!(event.name, "error");
            unreadable = true;
            break;
        };
        assert_eq!(serde_json::from_str::<Value>(&event.data).expect("JSON"), value);
        let case = value.as_object().expect("an object").iter().find(|(_, inner)| inner.is_object());
        assert_eq!(event.name, case.map(|(name, _)| name.as_str()).unwrap_or_default());
    }
    if !unreadable && !is_well {
        let event = events.next().expect("how it ended is told");
        let status: Value = serde_json::from_str(&event.data).expect("JSON");
        assert!(event.name == "error" && status["code"].as_i64().is_some_and(|code| code != 0), "{event:?}");
    }
    assert_eq!(events.next(), None, "nothing is made up");
});
