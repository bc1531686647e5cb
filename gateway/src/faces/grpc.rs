//! Native gRPC: passed on as it came, answered as it comes back.

use errand_chassis::upstream::Upstream;
use http::{HeaderValue, Request, Response, header::CONTENT_TYPE};
use tonic::{Status, body::Body};

use crate::forward;

/// Passes a call on and repeats its content type in the answer.
///
/// # Errors
/// What the edge itself has to say.
pub(crate) async fn call(
    upstream: Upstream,
    request: Request<Body>,
    content_type: &'static str,
) -> Result<Response<Body>, Status> {
    let mut response = forward::forward(upstream, request).await?;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}
