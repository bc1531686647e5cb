//! A role's stack in order, and the server that feeds one.

use std::{
    collections::HashMap, convert::Infallible, fmt, future::Future, panic::AssertUnwindSafe, pin::pin, sync::Arc,
    time::Duration,
};

use errand_proto::contract::Method;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout_at,
};
use tonic::{Code, body::Body, server::NamedService};
use tower::{Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use tracing::{Instrument, debug, error, info_span, warn};

use crate::{
    access,
    address::PeerAddress,
    clock::Clock,
    deadline::{self, Deadline},
    error::{self as errors, Error},
    protocol::{self, Refusal},
    request_id::{self, RequestId},
    token::Verifier,
    trace,
    upstream::{Unreached, Upstream},
};

/// The generated services of a role, by their full names.
#[derive(Clone, Default)]
pub struct Routes(HashMap<&'static str, Upstream>);

/// What a listener allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time; further ones wait to be accepted.
    pub connections: usize,
    /// Concurrent streams of one connection.
    pub streams: u32,
    /// How long open calls may go on after the listener was told to stop.
    pub drain: Duration,
}

struct Role {
    routes: Routes,
    verifier: Arc<Verifier>,
    clock: Arc<dyn Clock>,
}

// === impl Routes ===

impl Routes {
    /// No services yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a generated service under its own name.
    #[expect(clippy::should_implement_trait, reason = "adds one more, as builders do; nothing is summed")]
    #[must_use]
    pub fn add<S>(mut self, service: S) -> Self
    where
        S: NamedService
            + Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
    {
        self.0.insert(S::NAME, BoxCloneSyncService::new(service.map_err(Unreached::new)));
        self
    }

    /// The full names of the services.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    fn find(&self, path: &str) -> Option<Upstream> {
        let (service, _) = path.strip_prefix('/')?.split_once('/')?;
        self.0.get(service).cloned()
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 10_000, streams: 100, drain: Duration::from_secs(10) }
    }
}

// === impl Role ===

/// The whole stack of a role, as a peer that can be called with or without a socket.
#[must_use]
pub fn role(routes: Routes, verifier: Arc<Verifier>, clock: Arc<dyn Clock>) -> Upstream {
    let role = Arc::new(Role { routes, verifier, clock });
    trace::serving(BoxCloneSyncService::new(service_fn(move |request| {
        let role = role.clone();
        async move { Ok(role.answer(request).await) }
    })))
}

impl Role {
    async fn answer(&self, mut request: Request<Body>) -> Response<Body> {
        let request_id = RequestId::of(request.headers(), self.clock.as_ref());
        request.extensions_mut().insert(request_id.clone());
        let path = request.uri().path().to_owned();
        let span = info_span!("call", rpc.method = path, request_id = %request_id, user.id = tracing::field::Empty);
        let guarded = AssertUnwindSafe(self.decide(request).instrument(span.clone())).catch_unwind();
        let mut response = match guarded.await {
            Ok(Ok(response)) => response,
            Ok(Err(refusal)) => refusal.into_response(),
            // The panic hook has printed where; the connection and everybody else's calls go on.
            Err(_) => {
                span.in_scope(|| error!(alarm = "panic", "a handler panicked"));
                Refusal::Grpc(Error::logged()).into_response()
            }
        };
        span.in_scope(|| debug!(status = ?response.headers().get("grpc-status"), "answered"));
        if Method::find(&path).is_none() {
            translate_foreign(&mut response);
        }
        response.headers_mut().insert(request_id::HEADER, request_id.to_header());
        errors::complete(response.headers_mut(), &request_id);
        response.map(|body| complete_trailers(body, request_id))
    }

    async fn decide(&self, mut request: Request<Body>) -> Result<Response<Body>, Refusal> {
        protocol::admit(&request)?;
        let path = request.uri().path().to_owned();
        let method = Method::find(&path);
        let service = self.routes.find(&path).filter(|_| method.is_some() || !path.starts_with("/errand."));
        let Some(service) = service else { return Err(protocol::unknown_method(&path).into()) };

        let deadline = Deadline::arriving(method, request.headers())?;
        if deadline.is_some_and(|deadline| deadline.remaining().is_zero()) {
            return Err(deadline::exceeded().into());
        }
        if let Some(method) = method
            && let Some(caller) = access::decide(method, request.headers(), &self.verifier)?
        {
            tracing::Span::current().record("user.id", tracing::field::display(caller.user));
            request.extensions_mut().insert(caller);
        }
        let streams = method.is_none_or(|method| method.server_streaming);
        let call = async move {
            if protocol::takes_one_message(&path) {
                let (head, body) = request.into_parts();
                let message = protocol::one_message(body).await?;
                if let Err(status) = protocol::check_foreign(&path, &message) {
                    return Ok(status.into_http());
                }
                request = Request::from_parts(head, Body::new(Full::new(message)));
            }
            if let Some(deadline) = deadline {
                request.extensions_mut().insert(deadline);
            }
            service.oneshot(request).await.map_err(|error| Error::internal(&error))
        };
        let Some(deadline) = deadline else { return call.await.map_err(Refusal::Grpc) };
        let response = timeout_at(deadline.instant(), call).await.map_err(|_| deadline::exceeded())??;
        Ok(if streams { response.map(|body| deadline::bounded(body, deadline)) } else { response })
    }
}

/// A library calls its caller's broken or oversized message INTERNAL or OUT_OF_RANGE; we do not.
fn translate_foreign(response: &mut Response<Body>) {
    let status = response.headers().get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()));
    let refusal = match status {
        Some(Code::Internal | Code::Unknown) => errand_proto::codec::malformed(),
        Some(Code::OutOfRange) => protocol::message_too_large().into(),
        _ => return,
    };
    *response = refusal.into_http();
}

/// Completes an error that a stream ends with.
fn complete_trailers(body: Body, request_id: RequestId) -> Body {
    if http_body::Body::is_end_stream(&body) {
        return body;
    }
    Body::new(body.map_frame(move |frame| match frame.into_trailers() {
        Ok(mut trailers) => {
            errors::complete(&mut trailers, &request_id);
            http_body::Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }))
}

// === serve ===

/// Serves HTTP/1.1 and HTTP/2 on a listener until `stop` resolves, then drains.
///
/// On `stop`: no new connections, GOAWAY on the open ones, and what is still running when the
/// drain deadline passes is cut. hyper alone would wait for the last stream forever.
pub async fn serve(listener: TcpListener, service: Upstream, limits: Limits, stop: impl Future<Output = ()>) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        // Reap finished connections, so that the set holds only open ones.
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let Some((stream, peer, slot)) = accepted else { continue };
        let connection = connection(stream, peer, service.clone(), limits);
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                debug!(peer = %peer, error, "connection ended");
            }
            drop(slot);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        warn!(connections = connections.len(), "drain deadline passed; cutting what is still open");
    }
    connections.shutdown().await;
}

type Accepted = (TcpStream, std::net::SocketAddr, tokio::sync::OwnedSemaphorePermit);

/// The next connection. Nothing when accepting failed: out of file descriptors must not end the
/// listener, only slow it down.
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<Accepted> {
    let slot = slots.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            if let Err(error) = stream.set_nodelay(true) {
                debug!(%error, "no nodelay on a connection");
            }
            Some((stream, peer, slot))
        }
        Err(error) => {
            warn!(%error, "accepting a connection failed");
            tokio::time::sleep(Duration::from_millis(20)).await;
            None
        }
    }
}

fn connection(
    stream: TcpStream,
    peer: std::net::SocketAddr,
    service: Upstream,
    limits: Limits,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = Box<dyn std::error::Error + Send + Sync>> + Send {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(PeerAddress(peer));
        let service = service.clone();
        async move {
            let response = service.oneshot(request).await;
            Ok::<_, Infallible>(response.unwrap_or_else(|error| Refusal::Grpc(Error::internal(&error)).into_response()))
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        // Above our own limit, so that ours answers with a reason.
        .max_header_list_size(64 * 1024)
        .max_pending_accept_reset_streams(20)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10));
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10)).max_buf_size(64 * 1024);
    builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).into_owned()
}
