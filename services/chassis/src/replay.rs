//! `idempotent-replayed`: an answer says that it is the first answer to a repeated request.

use errand_changelog::{Replayed, Request};
use http::{HeaderName, HeaderValue};
use tonic::Response;

/// The header, or metadata, that says so; without it nothing was known of the request.
pub const HEADER: HeaderName = HeaderName::from_static("idempotent-replayed");

/// What is to be asked about a request when it is answered.
#[must_use]
pub fn of(request: Option<&Request>) -> Option<Replayed> {
    request.map(Request::replayed)
}

/// An answer that says whether it is one from before.
pub fn answer<T>(message: T, replayed: Option<Replayed>) -> Response<T> {
    let mut response = Response::new(message);
    if replayed.is_some_and(|replayed| replayed.get()) {
        let mut headers = std::mem::take(response.metadata_mut()).into_headers();
        headers.insert(HEADER, HeaderValue::from_static("true"));
        *response.metadata_mut() = tonic::metadata::MetadataMap::from_headers(headers);
    }
    response
}
