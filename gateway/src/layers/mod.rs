//! The steps that every call passes, whatever its face: each looks at the request on its way in,
//! may answer it at once, and sees the answer on its way out.

pub(crate) mod cors;
pub(crate) mod headers;
pub(crate) mod limits;
pub(crate) mod overload;
pub(crate) mod rate;
pub(crate) mod route;
pub(crate) mod token;

use std::sync::Arc;

use errand_proto::contract::Method;
use http::{Request, Response};
use tonic::body::Body;
use tower::Layer;

use crate::{bindings::Way, refusal::Shape};

/// One step of the edge.
pub(crate) trait Step: Send + Sync + 'static {
    /// What the way in tells the way out.
    type Note: Send;

    /// Looks at a request, and passes it on or answers it.
    ///
    /// # Errors
    /// The answer, when the request goes no further.
    fn enter(
        &self,
        request: &mut Request<Body>,
    ) -> impl Future<Output = Result<Self::Note, Box<Response<Body>>>> + Send;

    /// Looks at the answer of what lies behind this step.
    fn leave(&self, _note: Self::Note, _response: &mut Response<Body>) {}
}

/// Something that answers every request, refusals included.
pub(crate) trait Answer: Send + Sync + 'static {
    /// The answer to a request.
    fn answer(&self, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send;
}

/// The method that a request calls, whatever its face.
pub(crate) fn method<B>(request: &Request<B>) -> Option<&'static Method> {
    match Shape::of(request) {
        // The router looks methods up by the same exact path, and refuses every other.
        Shape::Grpc { .. } | Shape::GrpcWeb { .. } | Shape::ConnectStream { .. } => {
            Method::find(request.uri().path()).filter(|_| request.uri().query().is_none())
        }
        Shape::Http { .. } | Shape::Connect => request.extensions().get::<Way>().and_then(Way::method),
    }
}

/// A step as a tower layer.
pub(crate) struct Through<S>(Arc<S>);

/// A step in front of what lies behind it.
pub(crate) struct Passed<S, N> {
    step: Arc<S>,
    next: N,
}

impl<S> Through<S> {
    pub(crate) fn new(step: S) -> Self {
        Self(Arc::new(step))
    }
}

impl<S, N> Layer<N> for Through<S> {
    type Service = Passed<S, N>;

    fn layer(&self, next: N) -> Passed<S, N> {
        Passed { step: self.0.clone(), next }
    }
}

impl<S: Step, N: Answer> Answer for Passed<S, N> {
    async fn answer(&self, mut request: Request<Body>) -> Response<Body> {
        match self.step.enter(&mut request).await {
            Ok(note) => {
                let mut response = self.next.answer(request).await;
                self.step.leave(note, &mut response);
                response
            }
            Err(response) => *response,
        }
    }
}
