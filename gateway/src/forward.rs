//! Passes a call on to its service without decoding or copying a message.
//!
//! On the way in the frames are counted as they go by: the five bytes in front of a message say how
//! long it will be, so one that is too long is cut before it is sent. On the way out a stream that
//! breaks off gets the trailers that it owes.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use errand_chassis::{
    Error,
    protocol::{self, LARGEST_MESSAGE},
    request_id::RequestId,
    server::ConnectionEnd,
    upstream::Upstream,
};
use errand_proto::contract::Method;
use http::{
    HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::{ACCEPT, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH, TE},
};
use http_body::Frame;
use tokio::sync::oneshot;
use tonic::{Code, Status, body::Body};
use tower::ServiceExt;

use crate::refusal;

/// The length of the prefix of a message: a flag and four bytes of length.
const PREFIX: usize = 5;

/// What a caller says to a face, and no service is told.
static OF_THE_EDGE: [HeaderName; 7] = [
    ACCEPT,
    IF_MATCH,
    IF_NONE_MATCH,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("connect-protocol-version"),
    HeaderName::from_static("connect-timeout-ms"),
];

/// A request body whose frames are counted.
struct Counted {
    inner: Body,
    passed: usize,
    prefix: [u8; PREFIX],
    prefix_filled: usize,
    message_left: usize,
    cut: Option<oneshot::Sender<Status>>,
}

/// A response body that always ends with trailers.
struct Ended {
    inner: Body,
    request_id: Option<RequestId>,
    over: bool,
    /// The end of the connection that a stream is sent on.
    handover: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// Passes a gRPC call on and returns its answer, as native gRPC has it.
///
/// # Errors
/// What the edge itself has to say: the request is cut, or the service can not be reached.
pub(crate) async fn forward(upstream: Upstream, request: Request<Body>) -> Result<Response<Body>, Status> {
    let request_id = request.extensions().get::<RequestId>().cloned();
    let handover = handover(&request);
    let (cut, mut was_cut) = oneshot::channel();
    let request = prepare(request).map(|body| Body::new(Counted::new(body, cut)));
    let answer = tokio::select! {
        biased;
        Ok(status) = &mut was_cut => return Err(status),
        answer = upstream.oneshot(request) => answer,
    };
    // The service may have answered the cut before we looked; ours is the reason.
    if let Ok(status) = was_cut.try_recv() {
        return Err(status);
    }
    let response = answer.map_err(|error| unreachable(&error))?;
    let is_whole = response.headers().contains_key(Status::GRPC_STATUS);
    if response.status() != StatusCode::OK && !is_whole {
        tracing::warn!(status = response.status().as_u16(), "a service answered, but not in grpc");
        return Err(unavailable());
    }
    if is_whole {
        return Ok(response);
    }
    Ok(response.map(|inner| Body::new(Ended { inner, request_id, over: false, handover })))
}

/// The end of a stream's connection. A call that answers once is let finish, however old its connection is.
fn handover(request: &Request<Body>) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
    let streams = Method::find(request.uri().path()).is_some_and(|method| method.server_streaming);
    let ConnectionEnd(end) = request.extensions().get::<ConnectionEnd>().filter(|_| streams)?.clone();
    Some(Box::pin(async move { end.begun().await }))
}

/// What a service gets to see: HTTP/2, the path alone, and trailers asked for.
fn prepare(mut request: Request<Body>) -> Request<Body> {
    // Without a query, as calls have none, this copies nothing.
    let path = match std::mem::take(request.uri_mut()).into_parts().path_and_query {
        Some(path) if path.query().is_none() => Some(Uri::from(path)),
        path => path.and_then(|path| path.path().parse().ok()),
    };
    if let Some(path) = path {
        *request.uri_mut() = path;
    }
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    for name in &OF_THE_EDGE {
        headers.remove(name);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    request
}

// === impl Counted ===

impl Counted {
    fn new(inner: Body, cut: oneshot::Sender<Status>) -> Self {
        Self { inner, passed: 0, prefix: [0; PREFIX], prefix_filled: 0, message_left: 0, cut: Some(cut) }
    }

    /// Follows the frames through a piece of the body.
    fn count(&mut self, mut data: &[u8]) -> Result<(), Error> {
        self.passed = self.passed.saturating_add(data.len());
        if self.passed > LARGEST_MESSAGE + PREFIX {
            return Err(protocol::message_too_large());
        }
        while !data.is_empty() {
            if self.message_left > 0 {
                let step = self.message_left.min(data.len());
                self.message_left -= step;
                data = &data[step..];
                continue;
            }
            self.prefix[self.prefix_filled] = data[0];
            self.prefix_filled += 1;
            data = &data[1..];
            if self.prefix_filled == PREFIX {
                self.prefix_filled = 0;
                self.message_left = self.announced()?;
            }
        }
        Ok(())
    }

    /// The length that a complete prefix announces.
    fn announced(&self) -> Result<usize, Error> {
        let [flag, length @ ..] = self.prefix;
        let length = u32::from_be_bytes(length) as usize;
        match flag {
            0 if length > LARGEST_MESSAGE => Err(protocol::message_too_large()),
            0 => Ok(length),
            1 => Err(protocol::compressed()),
            _ => Err(malformed("a message starts with a flag that has no meaning in a request")),
        }
    }

    fn is_between_messages(&self) -> bool {
        self.prefix_filled == 0 && self.message_left == 0
    }

    /// Tells both sides: the caller through `forward`, the service through its body.
    fn fail(&mut self, status: Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.cut.take() {
            Some(cut) => {
                let _ = cut.send(status.clone());
                Poll::Ready(Some(Err(status)))
            }
            None => Poll::Ready(None),
        }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.cut.is_none() {
            return Poll::Ready(None);
        }
        match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            Some(Ok(frame)) => match frame.data_ref().map(|data| self.count(data)) {
                Some(Err(error)) => self.fail(error.into()),
                Some(Ok(())) | None => Poll::Ready(Some(Ok(frame))),
            },
            Some(Err(status)) => {
                let ours = errand_proto::status::reason(&status).is_some();
                self.fail(if ours { status } else { broken_off() })
            }
            None if self.is_between_messages() => Poll::Ready(None),
            None => self.fail(malformed("the request ends in the middle of a message").into()),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.cut.is_none() || (self.inner.is_end_stream() && self.is_between_messages())
    }
}

// === impl Ended ===

impl http_body::Body for Ended {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let next = match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Pending => {
                let handover = self.handover.as_mut().map(|end| end.as_mut().poll(context));
                if handover.is_none_or(|end| end.is_pending()) {
                    return Poll::Pending;
                }
                Some(Err(handing_over()))
            }
            Poll::Ready(next) => next,
        };
        let status = match next {
            Some(Ok(frame)) if says_how_it_ended(&frame) => {
                self.over = frame.is_trailers();
                return Poll::Ready(Some(Ok(frame)));
            }
            Some(Err(status)) if errand_proto::status::reason(&status).is_some() => status,
            Some(Err(status)) => unreachable(&status),
            Some(Ok(_)) | None => unavailable(),
        };
        self.over = true;
        let trailers = refusal::headers(self.request_id.as_ref(), &status);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }
}

/// Whether a frame may pass: trailers without a status say nothing, and clients would call that UNKNOWN.
fn says_how_it_ended(frame: &Frame<Bytes>) -> bool {
    frame.trailers_ref().is_none_or(|trailers| trailers.contains_key(Status::GRPC_STATUS))
}

fn malformed(why: &str) -> Error {
    Error::new(Code::InvalidArgument, "MALFORMED_MESSAGE", format!("the request is not valid: {why}"))
}

fn broken_off() -> Status {
    Error::new(Code::Cancelled, "CANCELLED", "the request broke off before its end").into()
}

/// Where a stream was when it ends is told by its last message.
fn handing_over() -> Status {
    let message = "the connection is to be replaced; go on with the stream on another, from its last cursor";
    Error::new(Code::Unavailable, "SHUTTING_DOWN", message).into()
}

/// Logs why a service can not be reached, and says that it can not.
fn unreachable(error: &(dyn std::error::Error + 'static)) -> Status {
    let chain: Vec<_> = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect();
    tracing::warn!(error = chain.join(": "), "a service can not be reached");
    unavailable()
}

fn unavailable() -> Status {
    let message = "the service behind the gateway can not be reached; try again";
    Error::new(Code::Unavailable, "UNAVAILABLE", message).retry_after(std::time::Duration::from_secs(1)).into()
}
