//! Which service answers a path, and in which face.
//!
//! A path is a method or it is nothing: it is compared byte by byte, without decoding, cleaning or
//! ignoring a query, so that this room and the token check can never see two different methods.

use std::{collections::HashMap, fmt};

use errand_chassis::{
    Error,
    health::{Health, READINESS},
    protocol,
    request_id::RequestId,
    trace,
    upstream::Upstream,
};
use http::{HeaderValue, Method, Request, Response, Uri, header::ALLOW};
use tonic::{Code, Status, body::Body};

use crate::{
    bindings::{self, Way},
    faces::{aliases, connect, grpc, grpc_web, health as healthz, openapi, rest},
    refusal::{self, Shape},
};

/// Who answers for which service, by its full name.
#[derive(Clone, Default)]
pub struct Upstreams(HashMap<String, Upstream>);

/// Picks service and face of a request.
pub(crate) struct Router {
    upstreams: Upstreams,
    health: Health,
}

// === impl Upstreams ===

impl Upstreams {
    /// Nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `upstream` answer for a service such as `errand.task.v1.TaskService`.
    #[must_use]
    pub fn add(mut self, service: impl Into<String>, upstream: Upstream) -> Self {
        self.0.insert(service.into(), trace::calling(upstream));
        self
    }

    /// Who answers at this address, if it is exactly that of a method.
    fn find(&self, uri: &Uri) -> Option<&Upstream> {
        let path = uri.path();
        if uri.query().is_some() || bindings::streams(path).is_none() {
            return None;
        }
        let (service, _) = path.strip_prefix('/')?.split_once('/')?;
        self.0.get(service)
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

// === impl Router ===

impl Router {
    pub(crate) fn new(upstreams: Upstreams, health: Health) -> Self {
        Self { upstreams, health }
    }

    async fn call(upstream: Upstream, request: Request<Body>, shape: Shape) -> Result<Response<Body>, Status> {
        match shape {
            Shape::Grpc { content_type } => grpc::call(upstream, request, content_type).await,
            Shape::GrpcWeb { content_type, text_in, text_out } => {
                let answer = grpc_web::Answer { content_type, text: text_out };
                grpc_web::call(upstream, request, text_in, answer).await
            }
            Shape::ConnectStream { content_type } => connect::stream::call(upstream, request, content_type).await,
            Shape::Http { .. } | Shape::Connect => Err(unsupported_content_type()),
        }
    }

    /// The answer of the service that the request is for, or why there is none.
    pub(crate) async fn route(&self, request: Request<Body>) -> Response<Body> {
        let shape = Shape::of(&request);
        let request_id = request.extensions().get::<RequestId>().cloned();
        if request.uri().path() == healthz::PATH {
            return match *request.method() {
                Method::GET | Method::HEAD => {
                    healthz::answer(request.method(), self.health.serving(READINESS) == Some(true))
                }
                _ => not_allowed(request_id.as_ref(), "GET, HEAD"),
            };
        }
        if let Some(file) = openapi::file(request.uri().path()) {
            return match *request.method() {
                Method::GET | Method::HEAD => openapi::answer(file, request.method() == Method::HEAD),
                _ => not_allowed(request_id.as_ref(), "GET, HEAD"),
            };
        }
        if let Some(way) = request.extensions().get::<Way>().cloned()
            && let Some(method) = way.method()
            && let Some(upstream) = self.upstreams.0.get(method.service).cloned()
        {
            return match way {
                Way::Rest(bound) => rest::answer(upstream, request, *bound).await,
                Way::Connect(method) => connect::answer(upstream, request, method).await,
                Way::Alias(alias) => aliases::answer(upstream, request, method, &alias).await,
            };
        }
        let Some(upstream) = self.upstreams.find(request.uri()).cloned() else {
            return refusal::answer(shape, request_id.as_ref(), &protocol::unknown_method(request.uri().path()).into());
        };
        if request.method() != Method::POST {
            return not_allowed(request_id.as_ref(), "POST");
        }
        match Self::call(upstream, request, shape).await {
            Ok(response) => response,
            Err(status) => refusal::answer(shape, request_id.as_ref(), &status),
        }
    }
}

fn not_allowed(request_id: Option<&RequestId>, allow: &'static str) -> Response<Body> {
    let error = Error::new(Code::Unimplemented, "METHOD_NOT_ALLOWED", format!("this path takes only {allow}"));
    let mut response = refusal::answer(Shape::Http { problem: false }, request_id, &error.with("allow", allow).into());
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

fn unsupported_content_type() -> Status {
    Error::new(
        Code::InvalidArgument,
        "CONTENT_TYPE_UNSUPPORTED",
        "send application/grpc over HTTP/2, application/grpc-web or application/grpc-web-text over any version, or \
         application/json, application/proto, application/connect+proto or application/connect+json as Connect has it",
    )
    .into()
}
