//! The same call in every face: what goes to the service, and what comes back.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use errand_chassis::upstream::Upstream;
use errand_gateway::Config;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, body::Body};
use tower::{ServiceExt, service_fn};

use crate::world::{LOG_IN, Script, World, grpc, message, ok, post, refusal_in, scripted, web, world};

const TRAILERS_OK: &[u8] = b"\x80\0\0\0\x0fgrpc-status:0\r\n";

#[tokio::test]
async fn native_grpc_passes_through_untouched() {
    let messages = vec![message(b"one"), message(b"two")];
    let world = scripted(Script::Stream(messages.clone(), ok()));
    for content_type in ["application/grpc", "application/grpc+proto"] {
        let answer = world.call(post(LOG_IN, &[("content-type", content_type)], message(b"question"))).await;
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, content_type));
        assert_eq!((answer.pieces, answer.trailers), (messages.iter().cloned().map(Into::into).collect(), Some(ok())));
        let seen = world.only();
        assert_eq!(
            (seen.body.as_ref().unwrap().as_ref(), seen.head.version),
            (message(b"question").as_slice(), Version::HTTP_2)
        );
        assert_eq!(seen.header("content-type"), Some("application/grpc"));
    }
}

#[tokio::test]
async fn grpc_web_ends_with_a_trailer_frame_over_both_versions_of_http() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let world = scripted(Script::Stream(vec![message(b"one"), message(b"two")], ok()));
        let mut request = web(LOG_IN, &[("x-grpc-web", "1")]);
        *request.version_mut() = version;
        let answer = world.call(request).await;
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/grpc-web+proto"));
        assert_eq!(answer.pieces, [message(b"one"), message(b"two"), TRAILERS_OK.to_vec()], "a piece for each message");
        assert_eq!(answer.trailers, None);
        let seen = world.only();
        assert_eq!(*seen.body.as_ref().unwrap(), message(b"question"));
        assert_eq!((seen.header("content-type"), seen.header("te")), (Some("application/grpc"), Some("trailers")));
    }
}

#[tokio::test]
async fn text_is_answered_only_where_it_is_asked_for() {
    let text = STANDARD.encode(message(b"question"));
    let binary = message(b"question");
    for (sent, accept, expected) in [
        ("application/grpc-web-text", Some("application/grpc-web-text"), "application/grpc-web-text"),
        ("application/grpc-web-text+proto", Some("application/grpc-web-text+proto"), "application/grpc-web-text+proto"),
        ("application/grpc-web-text", Some("*/*, application/grpc-web-text;q=1"), "application/grpc-web-text"),
        ("application/grpc-web-text", None, "application/grpc-web"),
        ("application/grpc-web-text", Some("*/*"), "application/grpc-web"),
        ("application/grpc-web", Some("application/grpc-web-text"), "application/grpc-web-text"),
        ("application/grpc-web", None, "application/grpc-web"),
        ("Application/gRPC-Web; charset=utf-8", None, "application/grpc-web"),
    ] {
        let world = world();
        let headers: Vec<_> =
            [("content-type", sent)].into_iter().chain(accept.map(|accept| ("accept", accept))).collect();
        let body = if sent.contains("text") { text.clone().into_bytes() } else { binary.clone() };
        let answer = world.call(post(LOG_IN, &headers, body)).await;
        assert_eq!(answer.header("content-type"), expected, "{sent} {accept:?}");
        assert_eq!(world.only().body.unwrap(), binary);
        let plain = [message(b"answer"), TRAILERS_OK.to_vec()];
        if expected.contains("text") {
            assert_eq!(answer.pieces, plain.map(|piece| STANDARD.encode(piece)));
        } else {
            assert_eq!(answer.pieces, plain);
        }
    }
}

#[tokio::test]
async fn an_answer_of_trailers_alone_stays_headers_with_no_body() {
    let status = Status::with_details(Code::NotFound, "no task: 100% gone, é", vec![0, 1, 2, 3].into());
    let world = scripted(Script::Refuse(status));
    for (content_type, accept) in [
        ("application/grpc-web+proto", ""),
        ("application/grpc-web-text", "application/grpc-web-text"),
        ("application/grpc", ""),
    ] {
        let body = if content_type.ends_with("text") { STANDARD.encode(message(b"")).into() } else { message(b"") };
        let answer = world.call(post(LOG_IN, &[("content-type", content_type), ("accept", accept)], body)).await;
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, content_type));
        assert_eq!(answer.header("grpc-status"), "5");
        assert_eq!(answer.header("grpc-message"), "no%20task:%20100%25%20gone,%20%C3%A9", "percent-encoded as it came");
        assert_eq!(answer.header("grpc-status-details-bin"), "AAECAw", "without padding");
        assert!(answer.body.is_empty() && answer.trailers.is_none());
    }
}

#[tokio::test]
async fn an_error_after_messages_is_in_the_trailers() {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("8"));
    trailers.insert("grpc-message", HeaderValue::from_static("slow%20down"));
    let answer = scripted(Script::Stream(vec![message(b"one")], trailers)).call(web(LOG_IN, &[])).await;
    let frame = [b"\x80\0\0\0\x29".as_slice(), b"grpc-status:8\r\ngrpc-message:slow%20down\r\n"].concat();
    assert_eq!(answer.body, [message(b"one"), frame].concat());
}

#[tokio::test]
async fn a_service_that_breaks_off_still_ends_with_trailers() {
    for script in [Script::Cut(vec![message(b"one")]), Script::Stream(vec![message(b"one")], HeaderMap::new())] {
        let world = scripted(script);
        let trailers = world.call(grpc(LOG_IN, &[])).await.trailers.unwrap();
        assert_eq!(refusal_in(&trailers), (Code::Unavailable, "UNAVAILABLE".to_owned()));
        assert!(!format!("{trailers:?}").contains("10.0.0.7"), "nothing of the inside is told");
        let answer = world.call(web(LOG_IN, &[])).await;
        let rest = &answer.body[message(b"one").len()..];
        assert!(rest.starts_with(b"\x80") && rest.windows(14).any(|line| line == b"grpc-status:14"));
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unavailable() {
    let html = Script::Raw(StatusCode::BAD_GATEWAY, HeaderMap::new());
    for script in [Script::Gone, html] {
        let world = scripted(script);
        for request in [grpc(LOG_IN, &[]), web(LOG_IN, &[])] {
            let answer = world.call(request).await;
            assert_eq!(answer.refusal(), (Code::Unavailable, "UNAVAILABLE".to_owned()));
            assert!(!format!("{:?}", answer.headers).contains("10.0.0.7"), "nothing of the inside is told");
        }
    }
}

#[tokio::test]
async fn messages_pass_both_ways_before_the_next_one_exists() {
    let echo = Upstream::new(service_fn(async |request: Request<Body>| {
        Ok(Response::new(Body::new(request.into_body().with_trailers(async { Some(Ok(ok())) }))))
    }));
    let world = World::around(Config::default(), &echo);
    for (request, last) in [(grpc(LOG_IN, &[]), None), (web(LOG_IN, &[]), Some(TRAILERS_OK))] {
        let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, Status>>(1);
        let request = request.map(|_| Body::new(StreamBody::new(ReceiverStream::new(receiver))));
        let mut answer = world.edge.clone().oneshot(request).await.unwrap().into_body();
        for text in [b"one", b"two"] {
            sender.send(Ok(Frame::data(message(text).into()))).await.unwrap();
            assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), message(text));
        }
        drop(sender);
        let end = answer.frame().await.unwrap().unwrap();
        match last {
            Some(frame) => assert_eq!(end.into_data().unwrap(), frame),
            None => assert_eq!(end.into_trailers().unwrap(), ok()),
        }
        assert!(answer.frame().await.is_none());
    }
}
