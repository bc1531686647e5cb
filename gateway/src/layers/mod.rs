//! The steps that every call passes, whatever its face: each looks at the request on its way in,
//! may answer it at once, and sees the answer on its way out.

pub(crate) mod cors;
pub(crate) mod headers;
pub(crate) mod limits;
pub(crate) mod rate;
pub(crate) mod route;
pub(crate) mod token;

use std::sync::Arc;

use http::{Request, Response};
use tonic::body::Body;
use tower::Layer;

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
