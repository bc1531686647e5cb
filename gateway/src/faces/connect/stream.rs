//! Connect's streams (connectrpc.com/docs/protocol#streaming-rpcs): messages in envelopes, which are the frames of gRPC,
//! so they pass undecoded; the trailers become a last envelope of JSON.
//!
//! Only protobuf is carried, for the methods that answer with a stream and for reflection. A caller may send and
//! read at once where its HTTP can.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use errand_chassis::{request_id::RequestId, upstream::Upstream};
use http::{HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body::Frame;
use tonic::{Code, Status, body::Body};

use crate::{
    bindings, call, forward,
    refusal::{self, CONNECT_STREAM},
    text::unsupported,
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
pub(crate) async fn call(upstream: Upstream, mut request: Request<Body>) -> Result<Response<Body>, Status> {
    if bindings::streams(request.uri().path()) != Some(true) {
        return Err(unsupported("this method answers once: send application/json or application/proto"));
    }
    super::read_head(request.headers_mut())?;
    let request_id = request.extensions().get::<RequestId>().cloned();
    let (said, inner) = forward::forward(upstream, request).await?.into_parts();
    let body = match Status::from_header_map(&said.headers) {
        Some(status) => Body::new(http_body_util::Full::new(end(request_id.as_ref(), &status))),
        None => Body::new(Enveloped { inner, request_id, over: false }),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(CONNECT_STREAM));
    call::repeat(&said.headers, &mut response);
    Ok(response)
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
