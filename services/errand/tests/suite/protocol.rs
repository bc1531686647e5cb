//! What a hostile or broken client may send, and the exact answer to each: section 1 of the battery.

use bytes::Bytes;
use http::Request;

use crate::{
    sandbox::{Sandbox, raw, reason, refused},
    wire::{framed, grpc, http1, http2},
};
use tonic::Code;

const JWKS: &str = "/errand.auth.v1.AuthService/GetJwks";
const GET: &str = "/errand.task.v1.TaskService/GetTask";
const LOG_IN: &str = "/errand.auth.v1.AuthService/LogIn";

async fn answer(sandbox: &Sandbox, request: http::request::Builder, body: Vec<Vec<u8>>) -> (i32, String) {
    let body = body.into_iter().map(Bytes::from).collect();
    let answer = http2(sandbox.address, request.body(()).unwrap(), body).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.refusal()
}

fn said(code: Code, reason: &str) -> (i32, String) {
    (code as i32, reason.to_owned())
}

#[tokio::test]
async fn r_060_a_unary_call_takes_exactly_one_message() {
    let sandbox = Sandbox::start();
    let none = answer(&sandbox, grpc(sandbox.address, JWKS), vec![]).await;
    assert_eq!(none, said(Code::InvalidArgument, "MESSAGE_MISSING"));
    let two = answer(&sandbox, grpc(sandbox.address, JWKS), vec![framed(b""), framed(b"")]).await;
    assert_eq!(two, said(Code::InvalidArgument, "MESSAGE_REPEATED"));
    let one = answer(&sandbox, grpc(sandbox.address, JWKS), vec![framed(b"")]).await;
    assert_eq!(one.0, 0);
}

#[tokio::test]
async fn r_049_bytes_that_are_no_message_are_the_senders_fault() {
    let sandbox = Sandbox::start();
    let channel = sandbox.channel().await;
    let broken: [Vec<u8>; 6] = [
        vec![0x0a, 0x05, b'a'],                      // truncated
        vec![0x08, 0x01],                            // wrong wire type for a string
        vec![0x0a, 0x02, 0xff, 0xfe],                // invalid UTF-8
        vec![0xff; 12],                              // over-long varint
        [vec![0x0b; 150], vec![0x0c; 150]].concat(), // 150 nested groups
        vec![0x07],                                  // no such wire type
    ];
    for bytes in broken {
        let said = reason(raw(&channel, LOG_IN, bytes.clone(), None).await);
        assert_eq!(said, refused(Code::InvalidArgument, "MALFORMED_MESSAGE"), "{bytes:?}");
    }
}

#[tokio::test]
async fn unknown_fields_are_ignored_and_the_last_of_a_repeated_singular_field_counts() {
    let sandbox = Sandbox::start();
    let channel = sandbox.channel().await;
    assert!(raw(&channel, JWKS, vec![0x7a, 0x01, b'x'], None).await.is_ok());
    let said = reason(raw(&channel, LOG_IN, b"\x0a\x00\x0a\x03a@b\x12\x01x".to_vec(), None).await);
    assert_eq!(said, refused(Code::Unauthenticated, "CREDENTIALS_INVALID"));
}

#[tokio::test]
async fn r_050_a_message_above_4_mib_is_refused_by_what_it_claims() {
    let sandbox = Sandbox::start();
    for claimed in [4 * 1024 * 1024 + 1, u32::MAX] {
        let prefix = [&[0], claimed.to_be_bytes().as_slice()].concat();
        let said_ = answer(&sandbox, grpc(sandbox.address, LOG_IN), vec![prefix]).await;
        assert_eq!(said_, said(Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    }
    let channel = sandbox.channel().await;
    let mut large = vec![0x7a, 0x80, 0x80, 0x80, 0x02];
    large.resize(4 * 1024 * 1024 + 6, b'x');
    let said = reason(raw(&channel, JWKS, large, None).await);
    assert_eq!(said, refused(Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
}

#[tokio::test]
async fn r_052_compressed_messages_are_refused_unread() {
    let sandbox = Sandbox::start();
    let flagged = answer(&sandbox, grpc(sandbox.address, JWKS), vec![vec![1, 0, 0, 0, 0]]).await;
    assert_eq!(flagged, said(Code::Unimplemented, "COMPRESSION_UNSUPPORTED"));
    let named = grpc(sandbox.address, JWKS).header("grpc-encoding", "gzip");
    assert_eq!(answer(&sandbox, named, vec![framed(b"")]).await, said(Code::Unimplemented, "COMPRESSION_UNSUPPORTED"));
}

#[tokio::test]
async fn r_060_a_malformed_timeout_is_refused_and_a_short_one_is_kept() {
    let sandbox = Sandbox::start();
    for bad in ["abc", "1", "-1S", "123456789S"] {
        let request = grpc(sandbox.address, JWKS).header("grpc-timeout", bad);
        assert_eq!(answer(&sandbox, request, vec![framed(b"")]).await, said(Code::InvalidArgument, "TIMEOUT_INVALID"));
    }
    for short in ["0m", "1n"] {
        let request = grpc(sandbox.address, JWKS).header("grpc-timeout", short);
        assert_eq!(
            answer(&sandbox, request, vec![framed(b"")]).await,
            said(Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
        );
    }
}

#[tokio::test]
async fn r_091_headers_above_16_kib_are_refused_with_a_reason() {
    let sandbox = Sandbox::start();
    let request = grpc(sandbox.address, JWKS).header("x-large", "x".repeat(20_000));
    assert_eq!(answer(&sandbox, request, vec![framed(b"")]).await, said(Code::ResourceExhausted, "HEADERS_TOO_LARGE"));
}

#[tokio::test]
async fn r_042_no_spelling_of_a_path_reaches_a_method_but_its_own() {
    let sandbox = Sandbox::start();
    let spellings = [
        "//errand.auth.v1.AuthService/GetJwks",
        "/errand.auth.v1.AuthService//GetJwks",
        "/errand.auth.v1.AuthService/getjwks",
        "/errand.auth.v1.authservice/GetJwks",
        "/errand.auth.v1.AuthService%2FGetJwks",
        "/errand.auth.v1.AuthService/GetJwks/",
        "/errand.auth.v1.AuthService/GetJwks?x=1",
        "/errand.auth.v1.AuthService/GetJwks;a=b",
        "/x/../errand.auth.v1.AuthService/GetJwks",
        "/errand.auth.v1.AuthService/./GetJwks",
        "/errand.auth.v1.AuthService",
        "/errand.auth.v1.AuthService/Nothing",
        "/errand.none.v1.NoService/Nothing",
        "/",
    ];
    for path in spellings {
        let said_ = answer(&sandbox, grpc(sandbox.address, path), vec![framed(b"")]).await;
        assert_eq!(said_, said(Code::Unimplemented, "METHOD_UNKNOWN"), "{path}");
    }
}

#[tokio::test]
async fn what_is_no_grpc_gets_an_http_answer_and_runs_nothing() {
    let sandbox = Sandbox::start();
    for kind in ["application/xml", "text/plain", "application/grpcx", ""] {
        let request = Request::builder()
            .method("POST")
            .uri(format!("http://{}{JWKS}", sandbox.address))
            .header("content-type", kind);
        let answer = http2(sandbox.address, request.body(()).unwrap(), vec![framed(b"").into()]).await.unwrap();
        assert_eq!(answer.status, 415, "{kind}");
        assert_eq!(
            http1(sandbox.address, &format!("POST {JWKS}"), &[("content-type", kind)], b"{}").status,
            415,
            "{kind}"
        );
    }
    // What changes nothing may be asked by GET; this does.
    for method in ["GET", "PUT", "DELETE"] {
        let answer = http1(sandbox.address, &format!("{method} {LOG_IN}"), &[], b"");
        assert_eq!((answer.status, answer.headers.get("allow").map(String::as_str)), (405, Some("POST")), "{method}");
    }
    // `x-http-method-override` is only a header.
    let answer = http1(sandbox.address, &format!("GET {LOG_IN}"), &[("x-http-method-override", "POST")], b"");
    assert_eq!(answer.status, 405);
}

#[tokio::test]
async fn r_048_invalid_utf_8_in_any_string_of_any_request_is_refused() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let mut tried = 0;
    for method in &errand_proto::contract::METHODS {
        let input = errand_proto::POOL.get_message_by_name(method.input).unwrap();
        for bytes in bad_strings(&input, 0) {
            let said = reason(raw(&ann.channel, method.path, bytes, Some(ann.token())).await);
            assert_eq!(said, refused(Code::InvalidArgument, "MALFORMED_MESSAGE"), "{}", method.path);
            tried += 1;
        }
    }
    assert!(tried > 50, "{tried}");
}

/// Encodings of a message, each with invalid UTF-8 in one of its strings.
fn bad_strings(message: &prost_reflect::MessageDescriptor, depth: usize) -> Vec<Vec<u8>> {
    let mut encodings = Vec::new();
    for field in message.fields() {
        let inner = match field.kind() {
            prost_reflect::Kind::String => vec![vec![0xff, 0xfe]],
            prost_reflect::Kind::Message(message) if depth < 3 => bad_strings(&message, depth + 1),
            _ => vec![],
        };
        for bytes in inner {
            let mut encoded = Vec::new();
            prost::encoding::encode_key(field.number(), prost::encoding::WireType::LengthDelimited, &mut encoded);
            prost::encoding::encode_varint(bytes.len() as u64, &mut encoded);
            encoded.extend(bytes);
            encodings.push(encoded);
        }
    }
    encodings
}

#[tokio::test]
async fn every_error_names_its_call_and_keeps_a_harmless_name_of_the_client() {
    let sandbox = Sandbox::start();
    let request = grpc(sandbox.address, GET).header("x-request-id", "my-call-1");
    let answer = http2(sandbox.address, request.body(()).unwrap(), vec![framed(b"").into()]).await.unwrap();
    assert_eq!(answer.headers["x-request-id"], "my-call-1");
    let status = tonic::Status::from_header_map(&answer.headers).unwrap();
    assert_eq!(crate::sandbox::refusal(Err::<(), _>(status)).request_id, "my-call-1");
    let evil = grpc(sandbox.address, GET).header("x-request-id", "a b<script>");
    let answer = http2(sandbox.address, evil.body(()).unwrap(), vec![framed(b"").into()]).await.unwrap();
    assert_ne!(answer.headers["x-request-id"], "a b<script>");
}
