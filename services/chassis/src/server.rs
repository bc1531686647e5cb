//! A role's stack in order, and the server that feeds one.

mod connection;
mod entrance;
mod flow;
mod frames;
mod guarded;
mod paced;
mod serve;
mod wire;
mod woken;

use std::{collections::HashMap, convert::Infallible, fmt, panic::AssertUnwindSafe, sync::Arc};

use errand_proto::contract::Method;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::time::timeout_at;
use tonic::{Code, body::Body, server::NamedService};
use tower::{Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use tracing::{Instrument, debug, error, info_span};

use crate::{
    access,
    admission::{self, Admission},
    clock::Clock,
    deadline::{self, Deadline},
    error::{self as errors, Error},
    protocol::{self, Refusal},
    request_id::{self, RequestId},
    token::Verifier,
    trace,
    upstream::{Unreached, Upstream},
};

pub use connection::ConnectionEnd;
pub use serve::{Limits, serve};

/// The generated services of a role, by their full names.
#[derive(Clone, Default)]
pub struct Routes(HashMap<&'static str, Upstream>);

struct Role {
    routes: Routes,
    verifier: Arc<Verifier>,
    clock: Arc<dyn Clock>,
    admission: Admission,
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

// === impl Role ===

/// The whole stack of a role, as a peer that can be called with or without a socket.
#[must_use]
pub fn role(routes: Routes, verifier: Arc<Verifier>, clock: Arc<dyn Clock>) -> Upstream {
    let role = Arc::new(Role { routes, verifier, clock, admission: Admission::of_this_machine() });
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
        let _place = match method.filter(|method| admission::counts(method)) {
            Some(_) => {
                admission::in_time(request.extensions_mut())?;
                Some(self.admission.enter().await?)
            }
            None => None,
        };
        if let Some(method) = method
            && let Some(caller) = access::decide(method, request.headers(), &self.verifier).await?
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
