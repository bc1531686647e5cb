//! The framer of gRPC-Web, both ways and in both alphabets, against readers that have all bytes before them.

#![no_main]

use errand_fuzz::{base64, edge, first, frames, memory, pieces};
use http::Request;
use libfuzzer_sys::fuzz_target;

const BINARY: &str = "application/grpc-web+proto";
const TEXT: &str = "application/grpc-web-text+proto";

/// What the service is to get: the frames as they are, or nothing where they are none.
fn expected(body: &[u8], text: bool) -> Option<Vec<u8>> {
    let body = if text { base64::decode(body)? } else { body.to_vec() };
    let (frames, rest) = frames::read(&body);
    (rest.is_empty() && frames.iter().all(|(flag, _)| *flag == 0)).then_some(body)
}

fuzz_target!(init: edge::start(), |data: &[u8]| {
    let mut body = data;
    let (shape, size) = (first(&mut body), first(&mut body));
    let (text_in, text_out) = (shape & 1 == 1, shape & 2 == 2);
    let request = |size| {
        Request::post("/errand.task.v1.TaskService/GetTask")
            .header("content-type", if text_in { TEXT } else { BINARY })
            .header("accept", if text_out { TEXT } else { BINARY })
            .body(edge::body(&pieces(body, size)))
            .expect("a request")
    };
    // The service that echoes keeps every piece, however small, with what it takes to hold it.
    let most = (256 << 10) + 16 * body.len() + 128 * pieces(body, size).len();
    let (answer, seen) = memory::within(most, || edge::call(edge::Script::Echo, request(size)));
    assert_eq!(answer.status, 200);
    assert!(!answer.blames_itself(), "{answer:?}");
    match expected(body, text_in) {
        Some(wanted) => {
            assert_eq!(seen.len(), 1);
            assert_eq!(seen[0].body.as_ref().expect("the request is whole"), &wanted);
            let answered = if text_out { base64::decode(&answer.body).expect("base64") } else { answer.body.clone() };
            assert_eq!(answered, [wanted, frames::frame(0x80, b"grpc-status:0\r\n")].concat());
        }
        None => {
            assert!(answer.body.is_empty(), "a refusal stands in the headers");
            // Not valid, too long or compressed, by what comes first.
            assert!(["3", "8", "12"].contains(&answer.header("grpc-status")), "{answer:?}");
            assert!(seen.iter().all(|call| call.body.is_err()), "half a request looked whole to the service");
        }
    }
    // However it is cut, it is taken or not. What is wrong with it first may depend on that.
    let (whole, _) = edge::call(edge::Script::Echo, request(0));
    assert_eq!(whole.body.is_empty(), answer.body.is_empty());
});
