//! An answer in HTTP's words.

use errand_chassis::Error;
use errand_proto::{contract::RateClass, json, status::reason};
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION},
};
use http_body_util::Full;
use serde_json::Value;
use tonic::{Status, body::Body};

use super::Asked;

/// The answer of a call that went well.
pub(super) fn answer(asked: &Asked, message: &[u8]) -> Result<Response<Body>, Status> {
    let method = asked.bound.binding.method;
    let value = json::from_bytes(method.output, message).map_err(|error| Status::from(Error::internal(&error)))?;
    let text = value.to_string();
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if method.rate == RateClass::Credential {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    let tag = value.get("etag").and_then(Value::as_str).map(|tag| format!("\"{tag}\""));
    if let Some(tag) = tag.as_deref().and_then(|tag| HeaderValue::from_str(tag).ok()) {
        headers.insert(ETAG, tag);
    }
    if method.no_side_effects && tag.is_some_and(|tag| is_known(asked, &tag)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(CONTENT_TYPE);
        return Ok(response);
    }
    if let Some(place) = place_of_new(asked, &value) {
        response.headers_mut().insert(LOCATION, place);
        *response.status_mut() = StatusCode::CREATED;
    }
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    Ok(if asked.is_head { response } else { response.map(|_| Body::new(Full::from(text))) })
}

/// What an error needs beside its body.
pub(super) fn refused(asked: &Asked, status: &Status, response: &mut Response<Body>) {
    let is_conditional = asked.headers.contains_key(IF_MATCH);
    if is_conditional && reason(status).is_some_and(|reason| reason == "ETAG_MISMATCH") {
        *response.status_mut() = StatusCode::PRECONDITION_FAILED;
    }
    if asked.bound.binding.method.rate == RateClass::Credential {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if asked.is_head {
        *response.body_mut() = Body::empty();
    }
}

/// Whether the caller has this version already (RFC 9110, section 13.1.2).
fn is_known(asked: &Asked, tag: &str) -> bool {
    asked.headers.get_all(IF_NONE_MATCH).iter().any(|value| {
        let tags = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        tags.map(|one| one.strip_prefix(b"W/").unwrap_or(one)).any(|one| one == tag.as_bytes() || one == b"*")
    })
}

/// Where a resource that was made is found (AIP-133): below the collection that it was posted to. A call that
/// was only tried made nothing.
fn place_of_new(asked: &Asked, value: &Value) -> Option<HeaderValue> {
    let id = value.get("id").and_then(Value::as_str).filter(|id| asked.makes() && !id.is_empty())?;
    HeaderValue::from_str(&format!("{}/{id}", asked.path)).ok()
}
