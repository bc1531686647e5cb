//! Traces: the spans of calls, and the W3C context that ties those of several processes together.
//!
//! Nothing happens here until [`start`] is called: [`serving`] and [`calling`] then hand a peer back
//! as it is, [`inject`] and [`adopt`] return at once, and nobody asks for the spans. Where spans go
//! is said by the binary; which headers carry the context, by the propagator that it gives. Spans
//! for traces are apart from those for log lines: theirs are of level DEBUG and of the targets
//! [`TARGET`], `errand_storage::sql` and `errand_chat::trace`.

use std::{
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context as Polling, Poll, ready},
};

use bytes::Bytes;
use errand_proto::contract;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use opentelemetry::{
    Context,
    context::FutureExt,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::TraceContextExt,
};
use tonic::{Code, Status, body::Body};
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};
use tracing::{Instrument, Span, debug_span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::upstream::Upstream;

/// The target of the spans of calls.
pub const TARGET: &str = "errand_chassis::trace";

static PROPAGATOR: OnceLock<Box<dyn TextMapPropagator + Send + Sync>> = OnceLock::new();

/// The place in a trace from which work goes on later, in a task of its own.
#[derive(Debug, Clone, Default)]
pub struct Place(Option<Context>);

/// On which side of a call a span stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Server,
    Client,
}

/// The edge's call, on its way to where its status can be seen: what a face makes of trailers can not
/// be read from outside.
#[derive(Debug, Clone)]
struct AtTheEdge(Arc<Told>);

/// Marks an outgoing call that has a span.
#[derive(Debug, Clone, Copy)]
struct HasSpan;

/// A span that is told how its call ended, once.
#[derive(Debug)]
struct Told {
    span: Span,
    side: Side,
    is_told: AtomicBool,
}

/// A call while it lasts.
struct Call {
    own: Arc<Told>,
    edge: Option<Arc<Told>>,
}

/// The rest of an answer: the span lasts as long as it, and learns the status from its trailers.
struct Followed {
    inner: Body,
    call: Call,
}

struct Read<'a>(&'a HeaderMap);

struct Write<'a>(&'a mut HeaderMap);

/// Begins to trace. To be called once, before any peer is made.
pub fn start(propagator: Box<dyn TextMapPropagator + Send + Sync>) {
    // A second start changes nothing; there is one process and one way to trace it.
    _ = PROPAGATOR.set(propagator);
}

/// Whether this process traces.
#[must_use]
pub fn is_on() -> bool {
    PROPAGATOR.get().is_some()
}

// === context ===

/// Puts the context of the current span into the headers of an outgoing call.
pub fn inject(headers: &mut HeaderMap) {
    if let Some(propagator) = PROPAGATOR.get() {
        Context::map_current(|here| {
            if here.has_active_span() {
                propagator.inject_context(here, &mut Write(headers));
            }
        });
    }
}

/// Makes the caller, as an arriving call's headers name it, the parent of a span that was not
/// entered yet.
pub fn adopt(headers: &HeaderMap, span: &Span) {
    if let Some(propagator) = PROPAGATOR.get() {
        let caller = propagator.extract_with_context(&Context::new(), &Read(headers));
        if caller.span().span_context().is_valid() {
            // It fails for a span that nobody asked for.
            _ = span.set_parent(caller);
        }
    }
}

/// Work that goes on from the current place, in whatever task it runs.
pub fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let Place(place) = Place::here();
    async move {
        match place {
            Some(context) => work.with_context(context).await,
            None => work.await,
        }
    }
}

impl Place {
    /// The current place.
    #[must_use]
    pub fn here() -> Self {
        Self(is_on().then(Context::current).filter(Context::has_active_span))
    }

    /// Makes this place the parent of a span that was not entered yet.
    pub fn adopt(&self, span: &Span) {
        if let Some(context) = &self.0 {
            _ = span.set_parent(context.clone());
        }
    }
}

impl Extractor for Read<'_> {
    /// A header that is said twice says nothing.
    fn get(&self, key: &str) -> Option<&str> {
        let mut values = self.0.get_all(key).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

impl Injector for Write<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

// === calls ===

/// The same role, with a span for each call that it answers.
#[must_use]
pub fn serving(role: Upstream) -> Upstream {
    traced(role, |request| {
        let span = span(Side::Server, request.uri().path())?;
        adopt(request.headers(), &span);
        Some(Call { own: Told::new(span, Side::Server), edge: None })
    })
}

/// The same edge, with a span for each call that it answers.
#[must_use]
pub fn edge(edge: Upstream) -> Upstream {
    traced(edge, |request| {
        // What is no call (readiness, a browser's preflight) is no trace.
        let span = span(Side::Server, request.uri().path()).filter(|_| request.method() == http::Method::POST)?;
        adopt(request.headers(), &span);
        let own = Told::new(span, Side::Server);
        request.extensions_mut().insert(AtTheEdge(own.clone()));
        Some(Call { own, edge: None })
    })
}

/// The same peer, with a span for each call of it; the context goes with the call. A peer may be
/// handed through here more than once: the outermost makes the span.
#[must_use]
pub fn calling(peer: Upstream) -> Upstream {
    traced(peer, |request| {
        if request.extensions_mut().insert(HasSpan).is_some() {
            return None;
        }
        let edge = request.extensions_mut().remove().map(|AtTheEdge(call)| call);
        let span = span(Side::Client, request.uri().path())?;
        span.in_scope(|| inject(request.headers_mut()));
        Some(Call { own: Told::new(span, Side::Client), edge })
    })
}

fn traced(
    peer: Upstream,
    begin: impl Fn(&mut Request<Body>) -> Option<Call> + Clone + Send + Sync + 'static,
) -> Upstream {
    if !is_on() {
        return peer;
    }
    BoxCloneSyncService::new(service_fn(move |mut request| {
        let peer = peer.clone();
        let call = begin(&mut request);
        async move {
            let Some(call) = call else { return peer.oneshot(request).await };
            let answer = peer.oneshot(request).instrument(call.own.span.clone()).await;
            match answer {
                Ok(response) => Ok(call.follow(response)),
                Err(error) => {
                    call.tell(Code::Unavailable);
                    Err(error)
                }
            }
        }
    }))
}

/// A span for a call of a method. Probes of health are no calls that somebody wants to see.
fn span(side: Side, path: &str) -> Option<Span> {
    const REFLECTION: [&str; 2] = [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ];
    if path.starts_with("/grpc.health.v1.Health/") {
        return None;
    }
    // Anybody may send any path; only what is in a contract becomes a name.
    let known =
        contract::Method::find(path).map(|method| method.path).or(REFLECTION.into_iter().find(|it| *it == path));
    let name = known.map_or("_OTHER", |path| path.trim_start_matches('/'));
    let kind = match side {
        Side::Server => "server",
        Side::Client => "client",
    };
    Some(debug_span!(
        target: TARGET,
        "call",
        otel.name = name,
        otel.kind = kind,
        otel.status_code = Empty,
        rpc.system.name = "grpc",
        rpc.method = name,
        rpc.response.status_code = Empty,
        error.type = Empty,
    ))
}

// === impl Call ===

impl Call {
    /// Tells the status that the head of an answer names, or leaves that to its trailers.
    fn follow(self, response: Response<Body>) -> Response<Body> {
        if let Some(code) = status(response.headers()) {
            self.tell(code);
        }
        if response.body().is_end_stream() {
            self.own.is_told.store(true, Relaxed);
            return response;
        }
        response.map(|inner| Body::new(Followed { inner, call: self }))
    }

    fn tell(&self, code: Code) {
        self.own.tell(code);
        if let Some(edge) = &self.edge {
            edge.tell(code);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Nobody waits for the rest any more. Why, the edge knows better.
        self.own.tell(Code::Cancelled);
    }
}

impl Told {
    fn new(span: Span, side: Side) -> Arc<Self> {
        Arc::new(Self { span, side, is_told: AtomicBool::new(false) })
    }

    fn tell(&self, code: Code) {
        if self.is_told.swap(true, Relaxed) {
            return;
        }
        let name = name(code);
        self.span.record("rpc.response.status_code", name);
        if is_failure(code, self.side) {
            self.span.record("otel.status_code", "ERROR");
            self.span.record("error.type", name);
        }
    }
}

impl http_body::Body for Followed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, polling: &mut Polling<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { inner, call } = &mut *self;
        let frame = ready!(call.own.span.in_scope(|| Pin::new(inner).poll_frame(polling)));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(code) = frame.trailers_ref().and_then(status) {
                    call.tell(code);
                }
            }
            Some(Err(status)) => call.tell(status.code()),
            // The end without trailers: a face has put them into the body.
            None => call.own.is_told.store(true, Relaxed),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn status(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

/// Whether a code is an error of this side: a server does not answer for what its caller did wrong.
fn is_failure(code: Code, side: Side) -> bool {
    match side {
        Side::Client => code != Code::Ok,
        Side::Server => matches!(
            code,
            Code::Unknown
                | Code::DeadlineExceeded
                | Code::Unimplemented
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss
        ),
    }
}

const fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
