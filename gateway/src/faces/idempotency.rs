//! `Idempotency-Key`: the request's `request_id` in a header (draft-ietf-httpapi-idempotency-key-header).
//!
//! Who sends it counts on it, so a call that could not keep its promise is refused before it does anything. A call that
//! changes nothing keeps it by itself, and many clients send one with every call.

use errand_proto::{contract::Method, query, status, validation::Violation};
use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value};
use tonic::Status;

use crate::text::{named, not_otherwise, only};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Puts the key into the request.
///
/// # Errors
/// INVALID_FIELDS when the call takes none, when the request has another one, and when it is none.
pub(crate) fn place(headers: &HeaderMap, method: &Method, request: &mut Map<String, Value>) -> Result<(), Status> {
    let Some(key) = only(headers, &KEY)?.map(unquoted) else { return Ok(()) };
    if method.has_request_id {
        not_otherwise(request, "request_id", key, "Idempotency-Key")?;
        return query::replace(method.input, request, "request_id", key)
            .map_err(|error| named(error, "Idempotency-Key"));
    }
    if method.no_side_effects {
        return Ok(());
    }
    let description = "is not taken by this call: sent twice, it is done twice";
    Err(status::invalid_fields(vec![Violation::new("Idempotency-Key", "UNKNOWN_FIELD", description)]))
}

/// A key in quotes, as the draft has it, is the key.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}
