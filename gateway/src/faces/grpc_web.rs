//! gRPC-Web: gRPC for browsers, which can not read trailers (PROTOCOL-WEB of grpc).
//!
//! The messages are framed as in gRPC; the trailers become a last frame with flag 0x80. The text
//! variant wraps the whole in base64, in pieces that may each end with padding. An answer whose
//! trailers already stand in the headers stays like that, with no body.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use errand_chassis::{Error, upstream::Upstream};
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body::Frame;
use tonic::{Code, Status, body::Body};

use crate::forward;

/// The flag of the frame that holds the trailers.
const TRAILERS: u8 = 0x80;

/// How the caller wants the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    /// Its content type.
    pub(crate) content_type: &'static str,
    /// Whether it is base64.
    pub(crate) text: bool,
}

/// A base64 body, decoded as it arrives.
struct Decoded {
    inner: Body,
    text: Text,
    over: bool,
}

/// Base64 in pieces: what does not make a group of four yet.
#[derive(Debug, Default)]
struct Text {
    rest: Vec<u8>,
}

/// An answer whose trailers become a frame.
struct Framed {
    inner: Body,
    text: bool,
    over: bool,
}

/// Passes a call on as native gRPC and wraps its answer.
///
/// # Errors
/// What the edge itself has to say.
pub(crate) async fn call(
    upstream: Upstream,
    request: Request<Body>,
    text: bool,
    answer: Answer,
) -> Result<Response<Body>, Status> {
    let request = if text { request.map(|inner| Body::new(Decoded::new(inner))) } else { request };
    let response = forward::forward(upstream, request).await?;
    let is_whole = response.headers().contains_key(Status::GRPC_STATUS);
    let mut response = response.map(|inner| {
        if is_whole { Body::empty() } else { Body::new(Framed { inner, text: answer.text, over: false }) }
    });
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    Ok(response)
}

// === impl Text ===

impl Text {
    /// Decodes another piece. Padding may end any group of four, because callers encode in pieces.
    fn decode(&mut self, piece: &[u8]) -> Result<Bytes, Error> {
        self.rest.extend_from_slice(piece);
        let ready = self.rest.len() / 4 * 4;
        let mut decoded = Vec::with_capacity(ready / 4 * 3);
        let mut groups = &self.rest[..ready];
        while !groups.is_empty() {
            let end = groups.iter().position(|byte| *byte == b'=').map_or(groups.len(), |at| at / 4 * 4 + 4);
            STANDARD.decode_vec(&groups[..end], &mut decoded).map_err(|_| not_base64())?;
            groups = &groups[end..];
        }
        self.rest.drain(..ready);
        Ok(decoded.into())
    }

    /// Whether all that arrived could be decoded.
    fn is_complete(&self) -> bool {
        self.rest.is_empty()
    }
}

fn not_base64() -> Error {
    Error::new(Code::InvalidArgument, "MALFORMED_MESSAGE", "the request is not valid: its text is not base64")
}

// === impl Decoded ===

impl Decoded {
    fn new(inner: Body) -> Self {
        Self { inner, text: Text::default(), over: false }
    }
}

impl http_body::Body for Decoded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        while !self.over {
            let decoded = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.text.decode(&data),
                    // A browser sends no trailers, and no service of ours reads any.
                    Err(_) => continue,
                },
                Some(Err(status)) => {
                    self.over = true;
                    return Poll::Ready(Some(Err(status)));
                }
                None if self.text.is_complete() => return Poll::Ready(None),
                None => Err(not_base64()),
            };
            match decoded {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(error) => {
                    self.over = true;
                    return Poll::Ready(Some(Err(error.into())));
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.over || (self.inner.is_end_stream() && self.text.is_complete())
    }
}

// === impl Framed ===

impl Framed {
    fn encode(&self, data: Bytes) -> Bytes {
        // Each piece is padded, so that a caller can read a message before the next one exists.
        if self.text { STANDARD.encode(&data).into() } else { data }
    }
}

impl http_body::Body for Framed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        while !self.over {
            let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(context)) else {
                self.over = true;
                break;
            };
            let piece = match frame?.into_data() {
                Ok(data) => data,
                Err(frame) => {
                    self.over = true;
                    frame.into_trailers().map(|trailers| trailer_frame(&trailers)).unwrap_or_default()
                }
            };
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(self.encode(piece)))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }
}

/// The trailers as a frame; nothing at all when there are none, because clients stumble over an
/// empty one.
fn trailer_frame(trailers: &HeaderMap) -> Bytes {
    let length: usize = trailers.iter().map(|(name, value)| name.as_str().len() + value.len() + 3).sum();
    let Ok(announced) = u32::try_from(length) else { return Bytes::new() };
    if announced == 0 {
        return Bytes::new();
    }
    let mut frame = BytesMut::with_capacity(5 + length);
    frame.put_u8(TRAILERS);
    frame.put_u32(announced);
    for (name, value) in trailers {
        frame.put_slice(name.as_str().as_bytes());
        frame.put_u8(b':');
        frame.put_slice(value.as_bytes());
        frame.put_slice(b"\r\n");
    }
    frame.freeze()
}

#[cfg(test)]
#[path = "grpc_web_tests.rs"]
mod tests;
