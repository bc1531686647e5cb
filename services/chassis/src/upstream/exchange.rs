//! One request and its answer on a connection of HTTP/2.
//!
//! Spoken without a client of HTTP above the frames: such a client hands each request to one task and each answer to
//! another, and a call that is passed on costs more there than in everything that is decided about it.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{Request, Response};
use http_body::{Body as _, Frame};
use tokio::task::{AbortHandle, JoinHandle};
use tonic::body::Body;

/// What requests are sent with.
pub(super) type Sender = SendRequest<Bytes>;

/// The body of a request: one message, which can be sent again, or whatever a caller streams.
pub(super) enum Sent {
    Whole(Bytes),
    Streamed(Body),
}

/// A request that is under way. Dropped before its answer is over, the stream is reset.
pub(super) struct Asked {
    answer: ResponseFuture,
    pipe: Option<Pipe>,
}

/// The body of an answer.
pub(super) struct Received {
    stream: RecvStream,
    data_is_over: bool,
    _pipe: Option<Pipe>,
}

/// What carries the body of a request that is streamed, until nobody wants its answer any more.
struct Pipe(AbortHandle);

/// Sends a request.
///
/// # Errors
/// The body, when the connection takes no more requests: nothing of it was sent.
pub(super) fn send(sender: &mut Sender, request: Request<()>, sent: Sent) -> Result<Asked, Sent> {
    let Ok((answer, mut stream)) = sender.send_request(request, false) else { return Err(sent) };
    let pipe = match sent {
        Sent::Whole(message) => {
            // It fails only on a stream that has ended already, which the answer tells.
            _ = stream.send_data(message, true);
            None
        }
        Sent::Streamed(body) => {
            let task: JoinHandle<()> = tokio::spawn(pipe(body, stream));
            Some(Pipe(task.abort_handle()))
        }
    };
    Ok(Asked { answer, pipe })
}

/// Sends a body as it comes and as the peer makes room for it.
async fn pipe(mut body: Body, mut stream: SendStream<Bytes>) {
    loop {
        // Nothing is taken from who calls before there is room for some of it.
        stream.reserve_capacity(1);
        while stream.capacity() == 0 {
            let room = poll_fn(|context| stream.poll_capacity(context)).await;
            if !matches!(room, Some(Ok(_))) {
                return;
            }
        }
        let next = poll_fn(|context| {
            if stream.poll_reset(context).is_ready() {
                return Poll::Ready(None);
            }
            Pin::new(&mut body).poll_frame(context).map(Some)
        });
        let frame = match next.await {
            None => return,
            Some(None) => {
                _ = stream.send_data(Bytes::new(), true);
                return;
            }
            Some(Some(Err(_))) => return stream.send_reset(Reason::CANCEL),
            Some(Some(Ok(frame))) => frame,
        };
        // No service of ours reads trailers of a request.
        let Ok(data) = frame.into_data() else { continue };
        if stream.send_data(data, false).is_err() {
            return;
        }
    }
}

// === impl Asked ===

impl Asked {
    /// The head of the answer, and its body.
    pub(super) async fn answer(self) -> Result<Response<Received>, h2::Error> {
        let Self { answer, pipe } = self;
        let answer = answer.await?;
        Ok(answer.map(|stream| Received { stream, data_is_over: false, _pipe: pipe }))
    }
}

// === impl Received ===

impl Received {
    /// The next frame: data, then trailers, then nothing. A stream that the peer resets without calling that an
    /// error ends without trailers.
    pub(super) fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.data_is_over {
            match ready!(self.stream.poll_data(context)) {
                Some(Ok(data)) => {
                    // It is taken: there is room for as much again.
                    _ = self.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => {
                    let quiet = matches!(error.reason(), Some(Reason::NO_ERROR | Reason::CANCEL));
                    return Poll::Ready((!quiet).then_some(Err(error)));
                }
                None => self.data_is_over = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(context)).transpose();
        Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers)))
    }

    /// The next frame.
    pub(super) async fn frame(&mut self) -> Option<Result<Frame<Bytes>, h2::Error>> {
        poll_fn(|context| self.poll_frame(context)).await
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.0.abort();
    }
}
