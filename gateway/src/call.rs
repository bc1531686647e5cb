//! One call of a method by a face that speaks JSON: the message goes out in one frame, the answer's
//! messages come back one by one.
//!
//! What the caller said in headers is handed on as `forward` hands it on; how the call ended is read from
//! the trailers, or from the headers of an answer that has no body.

use std::pin::Pin;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use errand_chassis::{
    Error,
    protocol::{self, LARGEST_MESSAGE},
    replay,
    upstream::Upstream,
};
use errand_proto::contract::Method;
use http::{HeaderMap, Request, Response, Uri, header::CONTENT_LENGTH, request::Parts};
use http_body_util::{BodyExt, Full, Limited};
use tonic::{Code, Status, body::Body};

use crate::forward;

/// The length of the prefix of a message.
const PREFIX: usize = 5;

/// An answer whose messages are still to come.
pub(crate) struct Messages {
    body: Pin<Box<Body>>,
    /// What arrived and is no whole message yet.
    rest: BytesMut,
    /// How it ended, once that is known.
    end: Option<Result<(), Status>>,
    /// The headers of the answer.
    pub(crate) headers: HeaderMap,
}

/// Reads the body of a request whole.
///
/// # Errors
/// RESOURCE_EXHAUSTED, MESSAGE_TOO_LARGE, for one that no message of ours could be.
pub(crate) async fn read(body: Body) -> Result<Bytes, Status> {
    match Limited::new(body, LARGEST_MESSAGE).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(protocol::message_too_large().into()),
        Err(error) => Err(match error.downcast_ref::<Status>() {
            Some(status) => protocol::broken_off(status).into(),
            None => Error::new(Code::Cancelled, "CANCELLED", "the request broke off before its end").into(),
        }),
    }
}

/// Repeats what a service said in headers for its client, whatever the face.
pub(crate) fn repeat(said: &HeaderMap, response: &mut Response<Body>) {
    if let Some(value) = said.get(replay::HEADER) {
        response.headers_mut().insert(replay::HEADER, value.clone());
    }
}

/// Calls a method with one message.
///
/// # Errors
/// What the edge itself has to say, and a service that refuses at once.
pub(crate) async fn begin(
    upstream: Upstream,
    method: &Method,
    mut head: Parts,
    message: Bytes,
) -> Result<Messages, Status> {
    let length = u32::try_from(message.len()).ok().filter(|_| message.len() <= LARGEST_MESSAGE);
    let length = length.ok_or_else(|| Status::from(protocol::message_too_large()))?;
    let mut frame = BytesMut::with_capacity(PREFIX + message.len());
    frame.put_u8(0);
    frame.put_u32(length);
    frame.put(message);
    head.method = http::Method::POST;
    head.uri = Uri::from_static(method.path);
    head.headers.remove(CONTENT_LENGTH);
    let request = Request::from_parts(head, Body::new(Full::new(frame.freeze())));
    let (head, body) = forward::forward(upstream, request).await?.into_parts();
    let end = match Status::from_header_map(&head.headers) {
        Some(status) if status.code() != Code::Ok => return Err(status),
        Some(_) => Some(Ok(())),
        None => None,
    };
    Ok(Messages { body: Box::pin(body), rest: BytesMut::new(), end, headers: head.headers })
}

/// Calls a method that answers once.
///
/// # Errors
/// However the call failed.
pub(crate) async fn unary(
    upstream: Upstream,
    method: &Method,
    head: Parts,
    message: Bytes,
) -> Result<Response<Bytes>, Status> {
    let mut messages = begin(upstream, method, head, message).await?;
    let answer = messages.next().await.unwrap_or_else(|| Err(no_answer()))?;
    while let Some(more) = messages.next().await {
        more?;
    }
    let mut response = Response::new(answer);
    *response.headers_mut() = messages.headers;
    Ok(response)
}

// === impl Messages ===

impl Messages {
    /// The next message; nothing when the call has ended well, an error when it has not.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        loop {
            if let Some(message) = self.whole() {
                return Some(Ok(message));
            }
            if let Some(end) = &mut self.end {
                return std::mem::replace(end, Ok(())).err().map(Err);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest.extend_from_slice(&data),
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        let status = Status::from_header_map(&trailers).unwrap_or_else(no_answer);
                        self.end = Some(if status.code() == Code::Ok { Ok(()) } else { Err(status) });
                    }
                },
                Some(Err(status)) => self.end = Some(Err(status)),
                None => self.end = Some(Err(no_answer())),
            }
        }
    }

    /// The first message, if the whole of it has arrived.
    fn whole(&mut self) -> Option<Bytes> {
        let length = self.rest.get(1..PREFIX)?.try_into().map(u32::from_be_bytes).ok()? as usize;
        if self.rest.len() < PREFIX + length {
            return None;
        }
        self.rest.advance(PREFIX);
        Some(self.rest.split_to(length).freeze())
    }
}

/// `forward` gives every answer an end that says how it went; this is for one that does not.
pub(crate) fn no_answer() -> Status {
    let message = "the service behind the gateway did not finish its answer; try again";
    Error::new(Code::Unavailable, "UNAVAILABLE", message).retry_after(std::time::Duration::from_secs(1)).into()
}
