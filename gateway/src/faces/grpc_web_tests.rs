use http_body_util::{BodyExt, StreamBody};
use proptest::prelude::*;
use tokio_stream::iter;

use super::*;

/// A gRPC message frame.
fn message(payload: &[u8]) -> Vec<u8> {
    [&[0], u32::try_from(payload.len()).unwrap().to_be_bytes().as_slice(), payload].concat()
}

fn body(frames: Vec<Frame<Bytes>>) -> Body {
    Body::new(StreamBody::new(iter(frames.into_iter().map(Ok::<_, Status>))))
}

fn pieces(pieces: &[&[u8]]) -> Body {
    body(pieces.iter().map(|piece| Frame::data(Bytes::copy_from_slice(piece))).collect())
}

fn trailers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

/// The pieces of an answer, each as it goes on the wire.
fn framed(frames: Vec<Frame<Bytes>>, text: bool) -> Vec<Vec<u8>> {
    run(async {
        let mut body = Framed { inner: body(frames), text, over: false };
        let mut pieces = Vec::new();
        while let Some(frame) = body.frame().await {
            pieces.push(frame.unwrap().into_data().unwrap().to_vec());
        }
        pieces
    })
}

fn decoded(inner: Body) -> Result<Vec<u8>, Status> {
    run(Decoded::new(inner).collect()).map(|collected| collected.to_bytes().to_vec())
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn trailers_become_a_last_frame_in_lower_case_without_a_space() {
    let ended = trailers(&[("grpc-status", "5"), ("grpc-message", "no%20task"), ("x-trace-bin", "AAE")]);
    let pieces = framed(vec![Frame::data(message(b"abc").into()), Frame::trailers(ended)], false);
    let lines = b"grpc-status:5\r\ngrpc-message:no%20task\r\nx-trace-bin:AAE\r\n";
    assert_eq!(pieces, [message(b"abc"), [&[0x80, 0, 0, 0, 56], lines.as_slice()].concat()]);
    assert_eq!(lines.len(), 56);
}

#[test]
fn a_repeated_trailer_is_a_line_each_time() {
    let mut ended = trailers(&[("grpc-status", "0"), ("a", "1")]);
    ended.append("a", HeaderValue::from_static("2"));
    let pieces = framed(vec![Frame::trailers(ended)], false);
    assert_eq!(pieces, [[&[0x80, 0, 0, 0, 25], b"grpc-status:0\r\na:1\r\na:2\r\n".as_slice()].concat()]);
}

#[test]
fn an_empty_trailer_frame_is_never_sent() {
    for text in [false, true] {
        assert!(framed(vec![Frame::trailers(HeaderMap::new())], text).is_empty());
        assert!(framed(vec![], text).is_empty());
        assert_eq!(framed(vec![Frame::data(Bytes::new()), Frame::data(message(b"a").into())], text).len(), 1);
    }
}

#[test]
fn text_pads_every_piece_so_that_it_can_be_read_at_once() {
    let pieces = framed(
        vec![
            Frame::data(message(b"").into()),
            Frame::data(message(b"ab").into()),
            Frame::trailers(trailers(&[("grpc-status", "0")])),
        ],
        true,
    );
    assert_eq!(pieces, [b"AAAAAAA=".to_vec(), b"AAAAAAJhYg==".to_vec(), b"gAAAAA9ncnBjLXN0YXR1czowDQo=".to_vec()]);
}

#[test]
fn text_may_be_padded_in_the_middle() {
    assert_eq!(decoded(pieces(&[b"AAAAAAJhYg==", b"AAAAAAFj"])).unwrap(), [message(b"ab"), message(b"c")].concat());
    assert_eq!(decoded(pieces(&[b"AA==AA==AA==AA==AA=="])).unwrap(), message(b""));
}

#[test]
fn text_that_is_not_base64_is_the_callers_fault() {
    for bad in ["A", "AAA", "A=AA", "====", "AAAA=", "AB==", "AA AA===", "AA-_", "AAAA\n", "ÄÄ"] {
        let status = decoded(pieces(&[bad.as_bytes()])).unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{bad}");
        assert_eq!(errand_proto::status::reason(&status).as_deref(), Some("MALFORMED_MESSAGE"), "{bad}");
    }
}

#[test]
fn text_reads_the_same_wherever_it_is_cut_in_two() {
    let whole = [STANDARD.encode(message(b"first!")), STANDARD.encode(message(b"second"))].concat();
    let expected = [message(b"first!"), message(b"second")].concat();
    for at in 0..=whole.len() {
        let (left, right) = whole.as_bytes().split_at(at);
        assert_eq!(decoded(pieces(&[left, right])).unwrap(), expected, "cut at {at}");
    }
    let single: Vec<&[u8]> = whole.as_bytes().chunks(1).collect();
    assert_eq!(decoded(pieces(&single)).unwrap(), expected);
}

proptest! {
    #[test]
    fn text_of_any_pieces_cut_anywhere_is_what_was_encoded(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let text: String = messages.iter().map(|payload| STANDARD.encode(message(payload))).collect();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        let cut: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
        let expected: Vec<u8> = messages.iter().flat_map(|payload| message(payload)).collect();
        prop_assert_eq!(decoded(pieces(&cut)).unwrap(), expected);
    }

    #[test]
    fn any_bytes_at_all_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Err(status) = decoded(pieces(&[&bytes])) {
            prop_assert_eq!(status.code(), Code::InvalidArgument);
        }
    }

    #[test]
    fn an_answer_in_text_reads_back_as_the_answer_in_binary(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
    ) {
        let frames = || {
            let data = messages.iter().map(|payload| Frame::data(Bytes::from(message(payload))));
            data.chain([Frame::trailers(trailers(&[("grpc-status", "0")]))]).collect()
        };
        let text = framed(frames(), true);
        let text: Vec<&[u8]> = text.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(decoded(pieces(&text)).unwrap(), framed(frames(), false).concat());
    }
}

#[test]
fn a_message_is_handed_on_where_it_lies_in_both_directions() {
    let (asked, told) = (Bytes::from(message(b"asked")), Bytes::from(message(b"told")));
    let (asked_at, told_at) = (asked.as_ptr().addr(), told.as_ptr().addr());
    let service = tower::service_fn(move |request: Request<Body>| {
        let told = told.clone();
        async move {
            let frame = request.into_body().frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap().as_ptr().addr(), asked_at);
            let frames = vec![Frame::data(told), Frame::trailers(trailers(&[("grpc-status", "0")]))];
            Ok::<_, errand_chassis::upstream::Unreached>(Response::new(body(frames)))
        }
    });
    run(async {
        let request =
            Request::post("/errand.task.v1.TaskService/GetTask").body(body(vec![Frame::data(asked)])).unwrap();
        let answer = Answer { content_type: "application/grpc-web", text: false };
        let mut response = call(Upstream::new(service), request, false, answer).await.unwrap();
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap().as_ptr().addr(), told_at);
    });
}
