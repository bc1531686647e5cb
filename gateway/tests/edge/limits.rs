//! What is too large, compressed or broken is refused early, and in the caller's face.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use tonic::{Code, Status, body::Body};

use crate::world::{LOG_IN, grpc, message, post, web, world};

const LARGEST: usize = 4 << 20;
const BINARY: (&str, &str) = ("content-type", "application/grpc-web+proto");
const TEXT: (&str, &str) = ("content-type", "application/grpc-web-text");
const NATIVE: (&str, &str) = ("content-type", "application/grpc");

fn too_large() -> (Code, String) {
    (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned())
}

fn malformed() -> (Code, String) {
    (Code::InvalidArgument, "MALFORMED_MESSAGE".to_owned())
}

/// A body that repeats a piece for as long as somebody reads it, and how much of that was read.
fn endless(first: &[u8], piece: &[u8]) -> (Body, Arc<AtomicUsize>) {
    let read = Arc::new(AtomicUsize::new(0));
    let (counter, piece) = (read.clone(), Bytes::copy_from_slice(piece));
    let pieces = std::iter::once(Bytes::copy_from_slice(first)).chain(std::iter::repeat_with(move || {
        counter.fetch_add(piece.len(), Ordering::Relaxed);
        piece.clone()
    }));
    let frames = pieces.map(|piece| Ok::<_, Status>(Frame::data(piece)));
    (Body::new(StreamBody::new(tokio_stream::iter(frames))), read)
}

fn with(request: Request<Body>, body: Body) -> Request<Body> {
    request.map(|_| body)
}

#[tokio::test]
async fn r_050_a_message_at_the_limit_passes_and_one_byte_more_does_not() {
    let world = world();
    let at = message(&vec![7; LARGEST]);
    for (face, body) in [(NATIVE, at.clone()), (BINARY, at.clone()), (TEXT, STANDARD.encode(&at).into_bytes())] {
        world.call(post(LOG_IN, &[face], body)).await;
        assert!(world.only().body.unwrap() == at, "{face:?}");
    }
    let over = message(&vec![7; LARGEST + 1]);
    for (face, body) in [(NATIVE, over.clone()), (BINARY, over.clone()), (TEXT, STANDARD.encode(&over).into_bytes())] {
        assert_eq!(world.call(post(LOG_IN, &[face], body)).await.refusal(), too_large(), "{face:?}");
    }
}

#[tokio::test]
async fn r_050_a_frame_that_claims_more_is_refused_before_it_is_sent() {
    let world = world();
    let claim = [0, 0xff, 0xff, 0xff, 0xff];
    for (face, first) in [(NATIVE, &claim[..]), (BINARY, &claim), (TEXT, b"AP////8=")] {
        let (body, read) = endless(first, b"AAAA");
        let answer = world.call(with(post(LOG_IN, &[face], ""), body)).await;
        assert_eq!(answer.refusal(), too_large(), "{face:?}");
        assert_eq!(read.load(Ordering::Relaxed), 0, "nothing was read behind the claim");
    }
}

#[tokio::test]
async fn r_051_a_body_without_end_is_cut_at_the_limit() {
    let world = world();
    // Small messages, one after the other: no single one is too large, together they are.
    for face in [NATIVE, BINARY, TEXT] {
        let many = message(&[0; 10]).repeat(4096);
        let piece = if face == TEXT { STANDARD.encode(many).into() } else { many };
        let (body, read) = endless(b"", &piece);
        let answer = world.call(with(post(LOG_IN, &[face], ""), body)).await;
        assert_eq!(answer.refusal(), too_large(), "{face:?}");
        assert!(read.load(Ordering::Relaxed) < 2 * LARGEST, "reading stopped");
    }
}

#[tokio::test]
async fn r_051_a_body_that_says_it_is_too_large_is_not_read_at_all() {
    let world = world();
    for face in [NATIVE, BINARY, TEXT] {
        let (body, read) = endless(b"", b"A");
        let answer = world.call(with(post(LOG_IN, &[face, ("content-length", "5368709120")], ""), body)).await;
        assert_eq!(answer.refusal(), too_large(), "{face:?}");
        assert_eq!(read.load(Ordering::Relaxed), 0);
    }
    let answer = world.call(post("/v1/tasks", &[("content-length", "5368709120")], "")).await;
    assert_eq!((answer.status, answer.json().1.as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "MESSAGE_TOO_LARGE"));
    assert!(world.seen().is_empty());
}

#[tokio::test]
async fn r_052_nothing_compressed_is_unpacked() {
    let world = world();
    let refused = (Code::Unimplemented, "COMPRESSION_UNSUPPORTED".to_owned());
    for header in [("grpc-encoding", "gzip"), ("content-encoding", "gzip"), ("grpc-encoding", "")] {
        for request in [grpc(LOG_IN, &[header]), web(LOG_IN, &[header])] {
            let answer = world.call(request).await;
            assert_eq!(answer.refusal(), refused, "{header:?}");
            assert_eq!(answer.header("grpc-accept-encoding"), "identity");
        }
    }
    assert!(world.seen().is_empty());
    let flagged = [&[1, 0, 0, 0, 3], b"abc".as_slice()].concat();
    assert_eq!(world.call(post(LOG_IN, &[BINARY], flagged)).await.refusal(), refused);
    world.seen();
    let answer = world.call(web(LOG_IN, &[("grpc-encoding", "identity")])).await;
    assert_eq!(answer.headers.get("grpc-status"), None);
}

#[tokio::test]
async fn r_091_headers_above_the_limit_are_refused_in_the_callers_face() {
    let world = world();
    let large = "x".repeat(16 << 10);
    let refused = (Code::ResourceExhausted, "HEADERS_TOO_LARGE".to_owned());
    let many: Vec<String> = (0..1000).map(|number| format!("x-{number}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), "")).collect();
    for headers in [&[("x-large", large.as_str())][..], &many, &[("authorization", &large)]] {
        for request in [grpc(LOG_IN, headers), web(LOG_IN, headers)] {
            assert_eq!(world.call(request).await.refusal(), refused);
        }
        let answer = world.call(post("/v1/tasks", headers, "")).await;
        assert_eq!(answer.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        assert_eq!(answer.json().1, "HEADERS_TOO_LARGE");
    }
    assert!(world.seen().is_empty());
    let below = "x".repeat(15 << 10);
    assert_eq!(world.call(web(LOG_IN, &[("x-large", &below)])).await.headers.get("grpc-status"), None);
}

#[tokio::test]
async fn r_049_a_body_that_is_no_message_is_the_callers_fault() {
    let world = world();
    let cases: [(&[u8], _); 5] = [
        (&[0, 0, 0], malformed()),
        (&[0, 0, 0, 0, 9, b'x'], malformed()),
        (&[2, 0, 0, 0, 0], malformed()),
        (&[0x80, 0, 0, 0, 0], malformed()),
        (&[0, 0, 0, 0, 1, b'x', 0], malformed()),
    ];
    for (body, expected) in cases {
        for (face, body) in [(BINARY, body.to_vec()), (NATIVE, body.to_vec()), (TEXT, STANDARD.encode(body).into())] {
            assert_eq!(world.call(post(LOG_IN, &[face], body)).await.refusal(), expected, "{face:?}");
        }
    }
    assert_eq!(world.call(post(LOG_IN, &[TEXT], "AAAAAAA*")).await.refusal(), malformed());
    assert_eq!(world.call(post(LOG_IN, &[TEXT], "AAAAAA")).await.refusal(), malformed());
    assert!(world.seen().iter().all(|seen| seen.body.is_err()), "the service saw that the body is broken too");
}

#[tokio::test]
async fn r_049_a_body_reads_the_same_wherever_it_is_cut_in_two() {
    let world = world();
    let whole = [message(b"one"), message(b""), message(b"three")].concat();
    for at in 0..=whole.len() {
        let halves =
            [&whole[..at], &whole[at..]].map(|half| Ok::<_, Status>(Frame::data(Bytes::copy_from_slice(half))));
        let body = Body::new(StreamBody::new(tokio_stream::iter(halves)));
        world.call(with(post(LOG_IN, &[NATIVE], ""), body)).await;
        assert_eq!(*world.only().body.as_ref().unwrap(), whole, "cut at {at}");

        let answer = world.call(post(LOG_IN, &[BINARY], whole[..at].to_vec())).await;
        let between_messages = [0, 8, 13, 23].contains(&at);
        assert_eq!(world.only().body.is_ok(), between_messages, "ended at {at}");
        assert!(between_messages || answer.refusal() == malformed());
    }
}

#[tokio::test]
async fn r_060_a_timeout_said_twice_is_refused() {
    let headers = [("grpc-timeout", "1S"), ("grpc-timeout", "9S")];
    let answer = world().call(web(LOG_IN, &headers)).await;
    assert_eq!(answer.refusal(), (Code::InvalidArgument, "TIMEOUT_INVALID".to_owned()));
}

#[tokio::test]
async fn a_client_that_goes_away_is_nobodys_fault() {
    let world = world();
    let frames = [Ok(Frame::data(Bytes::from_static(&[0, 0]))), Err(Status::unknown("connection reset"))];
    let body = Body::new(StreamBody::new(tokio_stream::iter(frames)));
    let answer = world.call(with(post(LOG_IN, &[NATIVE], ""), body)).await;
    assert_eq!(answer.refusal(), (Code::Cancelled, "CANCELLED".to_owned()));
}
