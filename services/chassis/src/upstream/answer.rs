//! The answers of a remote peer, as they are handed on.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep_until};
use tonic::{Code, Status};

use super::{exchange::Received, link::Load};
use crate::{
    deadline::{self, Deadline},
    drain::Drain,
    error::{self, Error},
    request_id::RequestId,
};

/// When it makes sense to try again.
const AGAIN: Duration = Duration::from_secs(1);

/// An answer that is all here: it is read before it is handed on, so that a connection is never held
/// up by who asked, and a call whose answer breaks off has no answer.
pub(super) struct Whole {
    data: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
}

/// A stream of answers: it keeps its place on the connection, and always says how it ended.
pub(super) struct Streamed {
    inner: Received,
    load: Option<Load>,
    deadline: Option<Pin<Box<Sleep>>>,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    request_id: Option<RequestId>,
}

// === impl Whole ===

impl Whole {
    pub(super) async fn read(mut body: Received) -> Result<Self, h2::Error> {
        let mut whole = Self { data: VecDeque::new(), trailers: None };
        while let Some(frame) = body.frame().await {
            match frame?.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => whole.data.push_back(data),
                Err(frame) => whole.trailers = frame.into_trailers().ok(),
            }
        }
        Ok(whole)
    }

    pub(super) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }
}

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let data = self.data.pop_front().map(Frame::data);
        Poll::Ready(data.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.iter().map(|data| data.len() as u64).sum())
    }
}

// === impl Streamed ===

impl Streamed {
    pub(super) fn new(
        inner: Received,
        load: Load,
        deadline: Option<Deadline>,
        drain: Drain,
        request_id: Option<RequestId>,
    ) -> Self {
        let deadline = deadline.map(|deadline| Box::pin(sleep_until(deadline.instant())));
        let stop = Box::pin(async move { drain.begun().await });
        Self { inner, load: Some(load), deadline, stop, request_id }
    }

    /// The last word, instead of what the peer would have said.
    fn end(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.load = None;
        let mut trailers = HeaderMap::new();
        let added = Status::from(error).add_header(&mut trailers);
        if let Some(request_id) = &self.request_id {
            error::complete(&mut trailers, request_id);
        }
        Poll::Ready(Some(added.map(|()| Frame::trailers(trailers))))
    }
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.load.is_none() {
            return Poll::Ready(None);
        }
        // The time first: a stream that always has something to say ends, too.
        if this.deadline.as_mut().is_some_and(|end| end.as_mut().poll(context).is_ready()) {
            return this.end(deadline::exceeded());
        }
        match this.inner.poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if frame.is_trailers() {
                    this.load = None;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(cause))) => {
                tracing::debug!(%cause, "a stream of a peer broke off");
                this.end(broken_off())
            }
            Poll::Ready(None) => this.end(broken_off()),
            Poll::Pending if this.stop.as_mut().poll(context).is_ready() => this.end(stopping()),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.load.is_none()
    }
}

// === errors ===

/// Nothing was sent.
pub(super) fn unreachable() -> Error {
    Error::new(Code::Unavailable, "UNAVAILABLE", "a service that this call needs can not be reached; try again")
        .retry_after(AGAIN)
}

/// The connection was lost before the answer, and nothing can have changed.
pub(super) fn broken_off() -> Error {
    Error::new(Code::Unavailable, "UNAVAILABLE", "the connection to a service was lost; try again").retry_after(AGAIN)
}

/// The connection was lost before the answer to a write.
pub(super) fn outcome_unknown() -> Error {
    let message = "the connection to a service was lost before its answer; the write may or may not have happened: \
                   repeat it with the same request_id";
    Error::new(Code::Unavailable, "OUTCOME_UNKNOWN", message).retry_after(AGAIN)
}

/// Too many calls wait for a connection.
pub(super) fn crowded() -> Error {
    let message = "as many calls as are taken on at once wait for a service; try again";
    Error::new(Code::ResourceExhausted, "OVERLOADED", message).retry_after(AGAIN)
}

fn stopping() -> Error {
    Error::new(Code::Unavailable, "SHUTTING_DOWN", "the server is stopping; try again").retry_after(AGAIN)
}
