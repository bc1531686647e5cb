//! REST with JSON: the calls of the contracts as their http rules have them, and nothing more.
//!
//! A request is put together from the path, the query and the body by descriptor, called like any other,
//! and its answer said in HTTP's words: status, `ETag`, `Location`. A stream is server-sent events.

mod reply;
mod request;
mod sse;

use errand_chassis::{request_id::RequestId, upstream::Upstream};
use http::{HeaderMap, Request, Response};
use tonic::{Status, body::Body};

use crate::{
    bindings::Bound,
    call,
    refusal::{self, Shape},
};

/// What of a request its answer depends on.
struct Asked {
    bound: Bound,
    headers: HeaderMap,
    path: String,
    is_head: bool,
    request_id: Option<RequestId>,
}

/// Answers a request that a rule of the contracts fits, refusals included.
pub(crate) async fn answer(upstream: Upstream, request: Request<Body>, bound: Bound) -> Response<Body> {
    let shape = Shape::of(&request);
    let asked = Asked {
        bound,
        headers: request.headers().clone(),
        path: request.uri().path().to_owned(),
        is_head: request.method() == http::Method::HEAD,
        request_id: request.extensions().get::<RequestId>().cloned(),
    };
    match asked.call(upstream, request).await {
        Ok(response) => response,
        Err(status) => asked.refuse(shape, &status),
    }
}

impl Asked {
    async fn call(&self, upstream: Upstream, request: Request<Body>) -> Result<Response<Body>, Status> {
        let method = self.bound.binding.method;
        let (head, body) = request.into_parts();
        let body = call::read(body).await?;
        let message = request::message(self, head.uri.query(), &body)?;
        if method.server_streaming {
            let messages = call::begin(upstream, method, head, message).await?;
            let said = messages.headers.clone();
            let messages = Some(messages).filter(|_| !self.is_head);
            let mut response = sse::answer(method, messages, self.request_id.clone());
            call::repeat(&said, &mut response);
            return Ok(response);
        }
        let answer = call::unary(upstream, method, head, message).await?;
        let mut response = reply::answer(self, answer.body())?;
        call::repeat(answer.headers(), &mut response);
        Ok(response)
    }

    /// Whether the call makes a resource (AIP-133).
    fn makes(&self) -> bool {
        self.bound.binding.method.name.starts_with("Create") && self.bound.binding.rule.verb == "POST"
    }

    fn refuse(&self, shape: Shape, status: &Status) -> Response<Body> {
        let mut response = refusal::answer(shape, self.request_id.as_ref(), status);
        reply::refused(self, status, &mut response);
        response
    }
}
