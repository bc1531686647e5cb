//! One connection, from the moment it was accepted: what speaks on it, what ends it, and when.

use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version, header};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Duration, Instant, Sleep, sleep, sleep_until},
};
use tonic::{Status, body::Body};
use tower::ServiceExt;

use super::{
    guarded::{Guarded, Shared},
    paced::Paced,
    serve::Limits,
    wire::{Rules, Wire},
    woken::{Waking, Woken},
};
use crate::{
    address::{PeerAddress, PeerVerified},
    admission::{Arrivals, UnderWay},
    chance,
    drain::Drain,
    error::Error,
    listener::{Accepted, Lingering},
    protocol::{self, Refusal},
    upstream::Upstream,
};

/// How long calls may go on after their connection has reached its age: as long as the longest.
const GRACE: Duration = crate::deadline::ASSISTANT;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The end of the connection that a call came on, a request extension: a stream ends with it and is
/// taken up again on another connection.
#[derive(Debug, Clone)]
pub struct ConnectionEnd(pub Drain);

/// The calls of a connection.
#[derive(Debug)]
struct Calls {
    /// As many as may run. One that was taken back runs until its handler has let go, so the library's
    /// own count is not enough.
    running: Arc<Semaphore>,
    most: usize,
    seen: AtomicUsize,
}

/// The body of an answer, which keeps its call running.
struct Answering {
    body: Body,
    _running: Option<OwnedSemaphorePermit>,
}

/// What speaks, and the clock beside it.
struct Watched<'a, C> {
    speaking: Pin<&'a mut C>,
    waking: Waking,
    wire: Shared,
    alarm: Pin<&'a mut Sleep>,
}

/// Why a connection is asked to end.
enum Asked {
    Stop,
    Age,
    Idle,
}

/// Speaks on one connection until its end, its age, or the end of the server.
pub(super) async fn connection(
    accepted: Accepted,
    upstream: Upstream,
    limits: &Limits,
    arrivals: &Arc<Arrivals>,
    stopping: &Drain,
) -> Result<(), Failed> {
    let opening = Instant::now() + limits.opening;
    let (peer, verified) = (PeerAddress(accepted.peer), accepted.is_mutual().then_some(PeerVerified));
    let stream = tokio::select! {
        stream = accepted.open(opening) => stream?,
        () = stopping.begun() => return Ok(()),
    };
    let rules = Rules {
        opening: limits.opening,
        patience: limits.patience,
        cancels: limits.cancels,
        streams: limits.streams as usize,
    };
    let wire = Shared::new(Wire::new(rules, opening));
    let stretch = limits.opening;
    let (calls, end) = (Arc::new(Calls::new(limits.streams as usize)), Drain::new());
    let woken = Woken::new(arrivals.clone());
    let service = {
        let (wire, calls, end) = (wire.clone(), calls.clone(), end.clone());
        let (arrivals, woken) = (arrivals.clone(), woken.clone());
        // This runs when the request was read; what it returns, when it is its turn.
        service_fn(move |mut request: Request<Incoming>| {
            // On HTTP/2 many calls come at one turn; what this one has waited begins now.
            let is_alone = request.version() <= Version::HTTP_11;
            let since = if is_alone { woken.since() } else { Instant::now() };
            let (arrival, under_way) = arrivals.arrive(since);
            let extensions = request.extensions_mut();
            extensions.insert(arrival);
            extensions.insert(peer);
            extensions.insert(ConnectionEnd(end.clone()));
            if let Some(verified) = verified {
                extensions.insert(verified);
            }
            if calls.seen.fetch_add(1, Ordering::Relaxed) == 0 {
                wire.lock().called();
            }
            answer(upstream.clone(), request, calls.running.clone(), stretch, under_way)
        })
    };
    let builder = builder(limits);
    let guarded = TokioIo::new(Guarded::new(Lingering::new(stream), wire.clone()));
    let speaking = pin!(builder.serve_connection(guarded, service));
    let alarm = pin!(sleep_until(opening));
    let mut watched = Watched { speaking, waking: Waking::new(woken), wire, alarm };
    let asked = tokio::select! {
        ended = watched.run() => return ended,
        asked = asked(limits, &calls, stopping) => asked,
    };
    watched.speaking.as_mut().graceful_shutdown();
    if matches!(asked, Asked::Stop) {
        // The server itself says how long this may take.
        return watched.run().await;
    }
    tokio::select! {
        ended = watched.run() => return ended,
        () = sleep(limits.handover) => end.begin(),
    }
    tokio::select! {
        ended = watched.run() => ended,
        () = sleep(GRACE) => Err("its age was told, and it did not end".into()),
    }
}

/// When a connection that could go on is asked to end.
async fn asked(limits: &Limits, calls: &Calls, stopping: &Drain) -> Asked {
    let age = async {
        match limits.connection_age {
            Some(age) => sleep(chance::around(age)).await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = stopping.begun() => Asked::Stop,
        () = age => Asked::Age,
        () = idle(limits, calls) => Asked::Idle,
    }
}

/// Resolves when there was no call for the time that a connection may be idle.
async fn idle(limits: &Limits, calls: &Calls) {
    let Some(most) = limits.idle else { return pending().await };
    let mut seen = None;
    loop {
        let now = calls.seen.load(Ordering::Relaxed);
        if seen == Some(now) && calls.are_none_running() {
            return;
        }
        seen = Some(now);
        sleep(most).await;
    }
}

/// The answer to one call, once it may run.
async fn answer(
    upstream: Upstream,
    request: Request<Incoming>,
    running: Arc<Semaphore>,
    stretch: Duration,
    _under_way: UnderWay,
) -> Result<Response<Answering>, Infallible> {
    let running = running.acquire_owned().await.ok();
    // What may be a second request to somebody in front of us must not be one to us.
    let is_chunked = request.version() <= Version::HTTP_11 && request.headers().contains_key(header::TRANSFER_ENCODING);
    let stretch = (!protocol::takes_its_time(request.uri().path())).then_some(stretch);
    let request = request.map(|body| Body::new(Paced::new(body, stretch)));
    let response = upstream.oneshot(request).await;
    let response = response.unwrap_or_else(|error| Refusal::Grpc(Error::internal(&error)).into_response());
    let mut response = response.map(|body| Answering { body, _running: running });
    if is_chunked {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        // Above our own limit, so that ours answers with a reason.
        .max_header_list_size(64 * 1024)
        .max_pending_accept_reset_streams(limits.resets)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10));
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.opening).max_buf_size(64 * 1024);
    builder
}

// === impl Watched ===

impl<C: Future<Output = Result<(), Failed>>> Watched<'_, C> {
    /// Speaks until the end, or until the peer has taken too long.
    async fn run(&mut self) -> Result<(), Failed> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        let mut waking = Context::from_waker(self.waking.turn(context.waker()));
        loop {
            if let Poll::Ready(ended) = self.speaking.as_mut().poll(&mut waking) {
                let why = self.wire.lock().ended();
                return Poll::Ready(why.map_or(ended, |why| Err(why.as_str().into())));
            }
            let Some(due) = self.wire.lock().due() else { return Poll::Pending };
            // One that comes too early is only a look too many.
            if due < self.alarm.deadline() || self.alarm.is_elapsed() {
                self.alarm.as_mut().reset(due);
            }
            if self.alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if let Some(why) = self.wire.lock().look(Instant::now()) {
                return Poll::Ready(Err(why.as_str().into()));
            }
        }
    }
}

// === impl Calls ===

impl Calls {
    fn new(most: usize) -> Self {
        Self { running: Arc::new(Semaphore::new(most)), most, seen: AtomicUsize::new(0) }
    }

    fn are_none_running(&self) -> bool {
        self.running.available_permits() == self.most
    }
}

// === impl Answering ===

impl http_body::Body for Answering {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
