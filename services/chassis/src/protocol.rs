//! What a legal request is, before anybody asks who sent it.
//!
//! tonic answers some broken requests with INTERNAL, UNKNOWN or even with the handler's OK. Here
//! each gets the code that says whose fault it is: see the table in docs/errors.md.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use errand_proto::{codec, contract::Method};
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use prost::Message;
use tonic::{Code, body::Body};
use tonic_health::pb::HealthCheckRequest;

use crate::{deadline, error::Error};

/// The largest message, in bytes.
pub const LARGEST_MESSAGE: usize = 4 * 1024 * 1024;
/// The largest header list, in bytes as HTTP/2 counts them (RFC 9113, section 6.5.2).
pub const LARGEST_HEADERS: usize = 16 * 1024;

/// The prefix of a message: a flag and a length.
const PREFIX: usize = 5;

/// A refusal that is no gRPC answer, because the request was no gRPC request; or one that is.
#[derive(Debug)]
pub enum Refusal {
    /// Answered with an HTTP status, because no gRPC client sent this.
    Http(StatusCode, &'static str),
    /// Answered in gRPC.
    Grpc(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Grpc(error)
    }
}

impl Refusal {
    /// The answer.
    #[must_use]
    pub fn into_response(self) -> Response<Body> {
        match self {
            Self::Grpc(error) => tonic::Status::from(error).into_http(),
            Self::Http(status, text) => {
                let mut response = Response::new(Body::new(Full::new(Bytes::from_static(text.as_bytes()))));
                *response.status_mut() = status;
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
                if status == StatusCode::METHOD_NOT_ALLOWED {
                    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
                }
                response
            }
        }
    }
}

/// Checks everything of a request that stands in its head.
///
/// # Errors
/// HTTP 405 and 415 for what is no gRPC; HEADERS_TOO_LARGE, COMPRESSION_UNSUPPORTED and
/// METHOD_UNKNOWN in gRPC.
pub fn admit<B>(request: &Request<B>) -> Result<(), Refusal> {
    if request.method() != http::Method::POST {
        return Err(Refusal::Http(StatusCode::METHOD_NOT_ALLOWED, "gRPC requests are POST\n"));
    }
    if !is_grpc(request.headers()) {
        return Err(Refusal::Http(StatusCode::UNSUPPORTED_MEDIA_TYPE, "this port speaks application/grpc\n"));
    }
    if header_size(request.headers()) > LARGEST_HEADERS {
        return Err(headers_too_large().into());
    }
    if request.uri().query().is_some() {
        return Err(unknown_method(request.uri().path()).into());
    }
    if request.headers().get_all("grpc-encoding").iter().any(|encoding| encoding != "identity") {
        return Err(compressed().into());
    }
    Ok(())
}

/// `application/grpc` or `application/grpc+proto`, in one header.
fn is_grpc(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let first = values.next().map(HeaderValue::as_bytes);
    values.next().is_none() && matches!(first, Some(b"application/grpc" | b"application/grpc+proto"))
}

/// The size of a header list as HTTP/2 counts it: names, values and 32 bytes for each field.
#[must_use]
pub fn header_size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}

/// Reads the body of a call that takes exactly one message, and checks that it does.
///
/// The bytes are handed on as they came; when they came in one piece nothing is copied.
///
/// # Errors
/// MESSAGE_MISSING, MESSAGE_REPEATED, MALFORMED_MESSAGE, MESSAGE_TOO_LARGE,
/// COMPRESSION_UNSUPPORTED, DEADLINE_EXCEEDED when it comes too slowly, or CANCELLED when the client went away.
pub async fn one_message(mut body: Body) -> Result<Bytes, Error> {
    let mut collected = Collected::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|status| broken_off(&status))?;
        if let Ok(data) = frame.into_data() {
            collected.push(data);
            check_prefix(collected.bytes(), body.is_end_stream())?;
        }
    }
    let bytes = collected.into_bytes();
    if bytes.is_empty() {
        return Err(Error::new(Code::InvalidArgument, "MESSAGE_MISSING", "the call needs one message and has none"));
    }
    check_prefix(&bytes, true)?;
    Ok(bytes)
}

/// Why a request has no end.
#[must_use]
pub fn broken_off(status: &tonic::Status) -> Error {
    match status.code() {
        Code::DeadlineExceeded => deadline::too_slow(),
        _ => Error::new(Code::Cancelled, "CANCELLED", "the client went away"),
    }
}

/// Checks that a message of a library's own service is one, since the library would call it INTERNAL.
///
/// # Errors
/// INVALID_ARGUMENT, MALFORMED_MESSAGE.
pub fn check_foreign(path: &str, message: &Bytes) -> Result<(), tonic::Status> {
    if path.starts_with("/grpc.health.v1.Health/") && HealthCheckRequest::decode(message.slice(PREFIX..)).is_err() {
        return Err(codec::malformed());
    }
    Ok(())
}

/// Whether the call takes exactly one message: all of ours do, and health.
#[must_use]
pub fn takes_one_message(path: &str) -> bool {
    Method::find(path).is_some() || path.starts_with("/grpc.health.v1.Health/")
}

/// Whether what the caller sends may take as long as it likes: reflection is a conversation.
#[must_use]
pub fn takes_its_time(path: &str) -> bool {
    path.starts_with("/grpc.reflection.")
}

/// The bytes of a body so far; the first piece is kept as it came.
#[derive(Default)]
struct Collected {
    first: Bytes,
    all: Option<BytesMut>,
}

impl Collected {
    fn push(&mut self, data: Bytes) {
        match &mut self.all {
            Some(all) => all.extend_from_slice(&data),
            None if self.first.is_empty() => self.first = data,
            None => {
                let mut all = BytesMut::with_capacity(self.first.len() + data.len());
                all.extend_from_slice(&self.first);
                all.extend_from_slice(&data);
                self.all = Some(all);
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        self.all.as_deref().unwrap_or(&self.first)
    }

    fn into_bytes(self) -> Bytes {
        self.all.map_or(self.first, BytesMut::freeze)
    }
}

/// Refuses as soon as the bytes so far can not become one legal message.
fn check_prefix(bytes: &[u8], ended: bool) -> Result<(), Error> {
    let Some((mut prefix, rest)) = bytes.split_at_checked(PREFIX) else {
        return if ended && !bytes.is_empty() { Err(truncated()) } else { Ok(()) };
    };
    match prefix.get_u8() {
        0 => {}
        1 => return Err(compressed()),
        _ => return Err(Error::new(Code::InvalidArgument, "MALFORMED_MESSAGE", "the message's flag must be 0")),
    }
    let length = prefix.get_u32() as usize;
    if length > LARGEST_MESSAGE {
        return Err(message_too_large());
    }
    if rest.len() > length {
        return Err(Error::new(Code::InvalidArgument, "MESSAGE_REPEATED", "the call takes one message and has more"));
    }
    if ended && rest.len() < length {
        return Err(truncated());
    }
    Ok(())
}

fn truncated() -> Error {
    Error::new(Code::InvalidArgument, "MALFORMED_MESSAGE", "the message ends before the length that it claims")
}

/// The error of a message above the limit.
#[must_use]
pub fn message_too_large() -> Error {
    Error::new(
        Code::ResourceExhausted,
        "MESSAGE_TOO_LARGE",
        format!("a message may have at most {LARGEST_MESSAGE} bytes"),
    )
    .with("limit", LARGEST_MESSAGE)
}

/// The error of headers above the limit.
#[must_use]
pub fn headers_too_large() -> Error {
    Error::new(
        Code::ResourceExhausted,
        "HEADERS_TOO_LARGE",
        format!("the headers of a call may have at most {LARGEST_HEADERS} bytes"),
    )
    .with("limit", LARGEST_HEADERS)
}

/// The error of a compressed message.
#[must_use]
pub fn compressed() -> Error {
    Error::new(
        Code::Unimplemented,
        "COMPRESSION_UNSUPPORTED",
        "messages must not be compressed; send grpc-encoding: identity",
    )
}

/// The error of a call that is one too many for now.
#[must_use]
pub fn overloaded() -> Error {
    Error::new(Code::ResourceExhausted, "OVERLOADED", "the server has as much to do as it takes on at once; try again")
        .retry_after(Duration::from_secs(1))
}

/// A value of a header that will hardly be said again on its connection. The tables in which HTTP/2 keeps
/// headers (RFC 7541) are then left to those that are.
#[must_use]
pub fn once(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// The error of a path that no method has.
#[must_use]
pub fn unknown_method(path: &str) -> Error {
    let path: String = path.chars().take(200).collect();
    Error::new(Code::Unimplemented, "METHOD_UNKNOWN", "there is no such method; list them with reflection")
        .with("path", path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(flag: u8, claimed: u32, body: &[u8]) -> Vec<u8> {
        [&[flag], claimed.to_be_bytes().as_slice(), body].concat()
    }

    async fn read(pieces: Vec<Vec<u8>>) -> Result<Bytes, Error> {
        let frames = pieces.into_iter().map(|piece| Ok::<_, tonic::Status>(http_body::Frame::data(Bytes::from(piece))));
        one_message(Body::new(http_body_util::StreamBody::new(tokio_stream::iter(frames)))).await
    }

    async fn refusal(bytes: Vec<u8>) -> (Code, &'static str) {
        let error = read(vec![bytes]).await.unwrap_err();
        (error.code(), error.reason())
    }

    #[tokio::test]
    async fn r_060_a_call_takes_exactly_one_message() {
        assert_eq!(refusal(vec![]).await, (Code::InvalidArgument, "MESSAGE_MISSING"));
        let twice = [message(0, 1, b"a"), message(0, 1, b"b")].concat();
        assert_eq!(refusal(twice).await, (Code::InvalidArgument, "MESSAGE_REPEATED"));
        assert_eq!(read(vec![message(0, 0, b"")]).await.unwrap(), message(0, 0, b""));
    }

    #[tokio::test]
    async fn r_049_a_truncated_message_is_the_senders_fault() {
        assert_eq!(refusal(vec![0, 0]).await, (Code::InvalidArgument, "MALFORMED_MESSAGE"));
        assert_eq!(refusal(message(0, 5, b"abc")).await, (Code::InvalidArgument, "MALFORMED_MESSAGE"));
        assert_eq!(refusal(message(7, 1, b"a")).await, (Code::InvalidArgument, "MALFORMED_MESSAGE"));
    }

    #[tokio::test]
    async fn r_050_a_message_above_the_limit_is_refused_by_its_prefix() {
        assert_eq!(refusal(message(0, u32::MAX, b"")).await, (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
        let above = u32::try_from(LARGEST_MESSAGE).unwrap() + 1;
        assert_eq!(refusal(message(0, above, b"")).await, (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
        let at = vec![7; LARGEST_MESSAGE];
        assert!(read(vec![message(0, above - 1, &at)]).await.is_ok());
    }

    #[tokio::test]
    async fn r_052_a_compressed_message_is_refused_unread() {
        assert_eq!(refusal(message(1, 3, b"abc")).await, (Code::Unimplemented, "COMPRESSION_UNSUPPORTED"));
    }

    proptest! {
        #[test]
        fn a_message_is_the_same_however_it_is_cut(body in prop::collection::vec(any::<u8>(), 0..200), cuts in prop::collection::vec(0usize..205, 0..6)) {
            let whole = message(0, u32::try_from(body.len()).unwrap(), &body);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(whole.len())).collect();
            cuts.push(0);
            cuts.push(whole.len());
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|pair| whole[pair[0]..pair[1]].to_vec()).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            prop_assert_eq!(runtime.block_on(read(pieces)).unwrap(), whole);
        }
    }
}
