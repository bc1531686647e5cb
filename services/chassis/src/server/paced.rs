//! The body of a request, as long as it comes.
//!
//! A caller that sends a byte a second would hold its call, and what the call holds, for as long as
//! it likes. Whoever is to send something has to get on with it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Duration, Instant, Sleep, sleep};
use tonic::Status;

use crate::deadline;

/// What has to come in each stretch of time that a body is waited for.
const PIECE: usize = 8 * 1024;

/// A body that comes, or is given up.
pub(super) struct Paced {
    body: Incoming,
    stretch: Option<Duration>,
    /// The end of this stretch, once somebody waits.
    end: Option<Pin<Box<Sleep>>>,
    came: usize,
    over: bool,
}

impl Paced {
    /// Every so long a piece must have come; with nothing, it may take any time.
    pub(super) const fn new(body: Incoming, stretch: Option<Duration>) -> Self {
        Self { body, stretch, end: None, came: 0, over: false }
    }

    /// Whether it has been waited for too long.
    fn is_too_slow(&mut self, context: &mut Context<'_>) -> bool {
        let Some(stretch) = self.stretch else { return false };
        let end = self.end.get_or_insert_with(|| Box::pin(sleep(stretch)));
        while end.as_mut().poll(context).is_ready() {
            if std::mem::take(&mut self.came) < PIECE {
                return true;
            }
            end.as_mut().reset(Instant::now() + stretch);
        }
        false
    }
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let next = Pin::new(&mut self.body).poll_frame(context);
        match next {
            Poll::Ready(Some(Ok(frame))) => {
                self.came = self.came.saturating_add(frame.data_ref().map_or(0, Buf::remaining));
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(Status::from_error(error.into())))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending if self.is_too_slow(context) => {
                self.over = true;
                Poll::Ready(Some(Err(deadline::too_slow().into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
