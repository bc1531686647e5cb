//! What a stranger may send, made up from what is sent: no bytes make the edge panic, blame itself, or pass on what no
//! service could read.
//!
//! Mutation without the guidance of coverage, so that it runs with every other test; `ERRAND_BATTERY=full` runs it long.

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::Full;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tonic::body::Body;

use crate::world::{LOG_IN, Script, World, message, ok, scripted};

/// Places where parsers go wrong.
const DICTIONARY: [&[u8]; 24] = [
    b"\0",
    b"\xff\xff\xff\xff",
    b"\x80\0\0\0\0",
    b"\0\0\0\0\x01",
    b"=",
    b"==",
    b"AAAA",
    b"{",
    b"}",
    b"[",
    b"\"",
    b"\\ud800",
    b"1e999",
    b":",
    b"/",
    b"//",
    b"%2F",
    b"%00",
    b"%",
    b"..",
    b"&",
    b"task.",
    b"\r\n",
    b"\xed\xa0\x80",
];

/// One change of some bytes.
#[derive(Debug, Clone)]
enum Change {
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, usize),
    Cut(prop::sample::Index, prop::sample::Index),
    Repeat(prop::sample::Index, u8),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        (any::<prop::sample::Index>(), 1u8..).prop_map(|(at, mask)| Change::Flip(at, mask)),
        (any::<prop::sample::Index>(), 0..DICTIONARY.len()).prop_map(|(at, word)| Change::Insert(at, word)),
        any::<(prop::sample::Index, prop::sample::Index)>().prop_map(|(from, to)| Change::Cut(from, to)),
        (any::<prop::sample::Index>(), 1u8..40).prop_map(|(from, times)| Change::Repeat(from, times)),
    ];
    prop::collection::vec(change, 0..6)
}

fn mutated(seed: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for change in changes {
        let at = |index: &prop::sample::Index, bytes: &[u8]| index.index(bytes.len() + 1);
        match change {
            Change::Flip(index, mask) if !bytes.is_empty() => {
                let place = index.index(bytes.len());
                bytes[place] ^= mask;
            }
            Change::Flip(..) => {}
            Change::Insert(index, word) => {
                let place = at(index, &bytes);
                bytes.splice(place..place, DICTIONARY[*word].iter().copied());
            }
            Change::Cut(from, to) => {
                let (from, to) = (at(from, &bytes), at(to, &bytes));
                bytes.drain(from.min(to)..from.max(to));
            }
            Change::Repeat(from, times) => {
                let tail = bytes.split_off(at(from, &bytes));
                bytes.extend(tail.repeat(usize::from(*times)).into_iter().take(1 << 16));
            }
        }
    }
    bytes
}

/// Sends many requests, each made by `request` from changed bytes.
fn send(seeds: &[&[u8]], request: impl Fn(&[u8], &str) -> Option<Request<Body>>) {
    #[expect(clippy::disallowed_methods, reason = "the size of the run")]
    let full = std::env::var("ERRAND_BATTERY").is_ok_and(|size| size == "full");
    let cases = if full { 1_000_000 } else { 1_500 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world: World = scripted(Script::Stream(vec![message(b"")], ok()));
    let token = format!("Bearer {}", world.token("tasks:read tasks:write chat account"));
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let seeds: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.to_vec()).collect();
    let inputs = (prop::sample::select(seeds), changes());
    let outcome = runner.run(&inputs, |(seed, changes)| {
        let bytes = mutated(&seed, &changes);
        let Some(request) = request(&bytes, &token) else { return Ok(()) };
        let answer = runtime.block_on(world.call(request));
        prop_assert!(answer.status != StatusCode::INTERNAL_SERVER_ERROR, "{:?}", String::from_utf8_lossy(&bytes));
        let code = answer.headers.get("grpc-status").map(|code| code.as_bytes().to_vec());
        let blames_itself = code.is_some_and(|code| [b"2".as_slice(), b"13", b"15"].contains(&code.as_slice()));
        prop_assert!(!blames_itself, "{:?}", String::from_utf8_lossy(&bytes));
        for seen in world.seen() {
            prop_assert!(errand_proto::contract::Method::find(seen.head.uri.path()).is_some());
        }
        Ok(())
    });
    assert!(outcome.is_ok(), "{}", outcome.err().map(|failure| failure.to_string()).unwrap_or_default());
}

fn body(path: &str, content_type: &str, token: &str, bytes: &[u8]) -> Option<Request<Body>> {
    let request = Request::post(path).header("content-type", content_type).header("authorization", token);
    request.body(Body::new(Full::new(Bytes::copy_from_slice(bytes)))).ok()
}

#[test]
fn r_063_no_frames_of_grpc_web_break_the_edge() {
    let seeds = [message(b"\x0a\x05a@b.c\x12\x08password"), message(b""), Vec::new()];
    send(&seeds.each_ref().map(Vec::as_slice), |bytes, token| body(LOG_IN, "application/grpc-web+proto", token, bytes));
    let text: [&[u8]; 3] = [b"AAAAAA8KBWFAYi5jEghwYXNzd29yZA==", b"AAAAAAA=AAAA", b""];
    send(&text, |bytes, token| body(LOG_IN, "application/grpc-web-text", token, bytes));
}

#[test]
fn r_063_no_json_breaks_the_edge() {
    let seeds: [&[u8]; 4] = [
        br#"{"title":"Buy milk","dueTime":"2026-11-22T23:59:59.5Z","priority":"PRIORITY_HIGH","labels":["a","b"]}"#,
        br#"{"requests":[{"task":{"id":"1","title":"x"},"updateMask":"title,dueTime"}],"validateOnly":true}"#,
        br#"{"message":"add milk","content":null,"afterSeq":1e2}"#,
        b"[1.5e300,-0,true,\"\\u00e9\"]",
    ];
    for path in ["/v1/tasks", "/v1/tasks:batchUpdate", "/errand.task.v1.TaskService/CreateTask", "/api/auth/login"] {
        send(&seeds, |bytes, token| body(path, "application/json", token, bytes));
    }
}

#[test]
fn r_063_no_address_breaks_the_edge() {
    let seeds: [&[u8]; 5] = [
        b"/v1/tasks/01890000-0000-7000-8000-000000000001:complete",
        b"/v1/tasks?pageSize=5&dueAfter=2026-11-22T23:59:59Z&completed=true&pageToken=AAAA",
        b"/v1/conversations/a%20b/messages?page_size=1",
        b"/errand.task.v1.TaskService/GetTask?connect=v1&encoding=json&base64=1&message=e30",
        b"/api/7/chat",
    ];
    for verb in ["GET", "POST", "PATCH", "DELETE"] {
        send(&seeds, |bytes, token| {
            let uri = http::Uri::try_from(bytes).ok()?;
            let request = Request::builder().method(verb).version(Version::HTTP_2).header("authorization", token);
            request.uri(uri).body(Body::empty()).ok()
        });
    }
}
