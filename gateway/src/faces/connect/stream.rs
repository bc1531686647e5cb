//! Connect's streams (connectrpc.com/docs/protocol#streaming-rpcs): messages in envelopes, which are the frames of gRPC,
//! so they pass undecoded; the trailers become a last envelope of JSON.
//!
//! In protobuf that is so for the methods that answer with a stream and for reflection, and a caller may send and read at
//! once where its HTTP can. In JSON it is for the methods of the contracts alone, which take one message: it is read whole.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use errand_chassis::{
    Error,
    protocol::{self, LARGEST_MESSAGE},
    request_id::RequestId,
    upstream::Upstream,
};
use errand_proto::{contract::Method, json};
use futures_util::stream;
use http::{HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::StreamBody;
use tonic::{Code, Status, body::Body};

use crate::{
    bindings,
    call::{self, Messages},
    forward,
    refusal::{self, CONNECT_STREAM_JSON},
    text::{malformed, unsupported},
};

/// An answer whose trailers become an envelope.
struct Enveloped {
    inner: Body,
    request_id: Option<RequestId>,
    over: bool,
}

/// Passes a stream on as native gRPC and wraps its end.
///
/// # Errors
/// What the edge itself has to say.
pub(crate) async fn call(
    upstream: Upstream,
    mut request: Request<Body>,
    content_type: &'static str,
) -> Result<Response<Body>, Status> {
    if bindings::streams(request.uri().path()) != Some(true) {
        return Err(unsupported("this method answers once: send application/json or application/proto"));
    }
    super::read_head(request.headers_mut())?;
    let request_id = request.extensions().get::<RequestId>().cloned();
    let (said, body) = if content_type == CONNECT_STREAM_JSON {
        let (method, messages) = begin(upstream, request).await?;
        (messages.headers.clone(), in_json(method, messages, request_id))
    } else {
        let (said, inner) = forward::forward(upstream, request).await?.into_parts();
        let body = match Status::from_header_map(&said.headers) {
            Some(status) => Body::new(http_body_util::Full::new(end(request_id.as_ref(), &status))),
            None => Body::new(Enveloped { inner, request_id, over: false }),
        };
        (said.headers, body)
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    call::repeat(&said, &mut response);
    Ok(response)
}

/// Reads the one envelope of JSON that a method of the contracts takes, and calls the method.
async fn begin(upstream: Upstream, request: Request<Body>) -> Result<(&'static Method, Messages), Status> {
    let (head, body) = request.into_parts();
    let method = Method::find(head.uri.path()).ok_or_else(|| unsupported("send application/connect+proto"))?;
    let body = call::read(body).await?;
    let message = super::from_json(method, only(&body)?)?;
    Ok((method, call::begin(upstream, method, head, message).await?))
}

/// The text in an envelope that is alone.
fn only(body: &[u8]) -> Result<&[u8], Status> {
    let Some(([flag, length @ ..], text)) = body.split_first_chunk::<5>() else {
        return Err(malformed("it has no whole envelope"));
    };
    let length = u32::from_be_bytes(*length) as usize;
    match flag {
        0 if length > LARGEST_MESSAGE => Err(protocol::message_too_large().into()),
        0 if length == text.len() => Ok(text),
        0 => Err(malformed("it is not one whole envelope")),
        1 => Err(protocol::compressed().into()),
        _ => Err(malformed("an envelope starts with a flag that has no meaning in a request")),
    }
}

/// The messages as envelopes of JSON, and how they ended.
fn in_json(method: &'static Method, messages: Messages, request_id: Option<RequestId>) -> Body {
    let envelopes = stream::unfold(Some(messages), move |messages| {
        let request_id = request_id.clone();
        async move {
            let mut messages = messages?;
            let value = match messages.next().await {
                Some(Ok(message)) => {
                    json::from_bytes(method.output, &message).map_err(|error| Error::internal(&error).into())
                }
                Some(Err(status)) => Err(status),
                None => Err(Status::ok("")),
            };
            let (envelope, rest) = match value {
                Ok(value) => (envelope(value.to_string().as_bytes()), Some(messages)),
                Err(status) => (end(request_id.as_ref(), &status), None),
            };
            Some((Ok::<_, Infallible>(Frame::data(envelope)), rest))
        }
    });
    Body::new(StreamBody::new(Box::pin(envelopes)))
}

fn envelope(text: &[u8]) -> Bytes {
    let mut envelope = BytesMut::with_capacity(5 + text.len());
    envelope.put_u8(0);
    // JSON of a message of at most 4 MiB is a few times as long.
    envelope.put_u32(u32::try_from(text.len()).unwrap_or_default());
    envelope.put_slice(text);
    envelope.freeze()
}

/// The last envelope of a stream that ended so.
fn end(request_id: Option<&RequestId>, status: &Status) -> Bytes {
    let refused = (status.code() != Code::Ok).then_some(status);
    refusal::end_of_stream(request_id, refused)
}

// === impl Enveloped ===

impl http_body::Body for Enveloped {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        while !self.over {
            let status = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => continue,
                    Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        Status::from_header_map(&trailers).unwrap_or_else(call::no_answer)
                    }
                },
                Some(Err(status)) => status,
                None => call::no_answer(),
            };
            self.over = true;
            return Poll::Ready(Some(Ok(Frame::data(end(self.request_id.as_ref(), &status)))));
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }
}
