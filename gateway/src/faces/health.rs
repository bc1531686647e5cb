//! `/healthz`: whether this process can do its work, for load balancers that speak plain HTTP.

use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body_util::Full;
use tonic::body::Body;

/// Where it is asked.
pub(crate) const PATH: &str = "/healthz";

/// The answer to GET or HEAD.
pub(crate) fn answer(method: &Method, serving: bool) -> Response<Body> {
    let (status, text) =
        if serving { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not serving\n") };
    let body = if method == Method::HEAD { Body::empty() } else { Body::new(Full::from(text)) };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
