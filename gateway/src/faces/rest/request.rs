//! The message of a call, from path, query, headers and body.

use std::borrow::Cow;

use bytes::Bytes;
use errand_proto::{json, query, status, validation::Violation};
use http::{HeaderName, header::IF_MATCH};
use percent_encoding::percent_decode;
use serde_json::{Map, Value};
use tonic::Status;

use super::Asked;
use crate::{
    faces::idempotency,
    text::{self, malformed, named, not_otherwise, only, refused},
};

/// Where an event stream was left (HTML, server-sent events).
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The fields from which a stream goes on.
const RESUMED_BY: [&str; 2] = ["cursor", "after_seq"];

pub(super) fn message(asked: &Asked, parameters: Option<&str>, body: &Bytes) -> Result<Bytes, Status> {
    let binding = &asked.bound.binding;
    let input = binding.method.input;
    let mut request = from_body(asked, body)?;
    for (path, text) in &asked.bound.variables {
        query::replace(input, &mut request, path, text).map_err(refused)?;
    }
    // Where the body is the whole request nothing is left for parameters (google.api.HttpRule).
    for (name, value) in pairs(parameters.unwrap_or_default()) {
        let (name, value) = name.zip(value).ok_or_else(|| malformed("its query is not UTF-8"))?;
        if binding.rule.body == "*" {
            return Err(text::no_parameters(name));
        }
        query::place(input, &mut request, &name, &value).map_err(refused)?;
    }
    from_headers(asked, &mut request)?;
    json::to_bytes(input, &Value::Object(request)).map(Bytes::from).map_err(refused)
}

fn from_body(asked: &Asked, body: &Bytes) -> Result<Map<String, Value>, Status> {
    let field = asked.bound.binding.rule.body;
    if body.is_empty() {
        return Ok(Map::new());
    }
    if field.is_empty() {
        return Err(malformed("this call takes no body"));
    }
    match text::read(&asked.headers, body, field.trim_matches('*'))? {
        value if field != "*" => Ok(Map::from_iter([(field.to_owned(), value)])),
        Value::Object(request) => Ok(request),
        _ => Err(malformed("its body must be a JSON object")),
    }
}

/// What HTTP has headers for, and the contracts fields.
fn from_headers(asked: &Asked, request: &mut Map<String, Value>) -> Result<(), Status> {
    let binding = &asked.bound.binding;
    let (input, body) = (binding.method.input, binding.rule.body);
    idempotency::place(&asked.headers, binding.method, request)?;
    if let Some(tag) = only(&asked.headers, &IF_MATCH)?
        && tag != "*"
    {
        let wrong =
            |reason, description: &str| status::invalid_fields(vec![Violation::new("If-Match", reason, description)]);
        if asked.makes() {
            // What is not there yet has no version, so a caller who names one means something else.
            return Err(wrong("UNKNOWN_FIELD", "is not taken by this call"));
        }
        let tag = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).filter(|tag| !tag.contains('"'));
        // An empty one would be no condition at all.
        let tag = tag.filter(|tag| !tag.is_empty());
        let tag = tag.ok_or_else(|| wrong("INVALID_FORMAT", "must be one entity tag in double quotes, or *"))?;
        let (path, said) = if query::has(input, "etag") {
            ("etag".to_owned(), Some(&*request))
        } else {
            (format!("{body}.etag"), request.get(body).and_then(Value::as_object))
        };
        said.map_or(Ok(()), |said| not_otherwise(said, "etag", tag, "If-Match"))?;
        query::replace(input, request, &path, tag).map_err(|error| named(error, "If-Match"))?;
    }
    // A browser says none as long as it has seen none (HTML, section 9.2).
    if let Some(id) = only(&asked.headers, &LAST_EVENT_ID)?.filter(|id| !id.is_empty())
        && binding.method.server_streaming
        && let Some(field) = RESUMED_BY.into_iter().find(|field| query::has(input, field))
    {
        // Newer than what the address says: a browser repeats the address and adds the header.
        query::replace(input, request, field, id).map_err(|error| named(error, "Last-Event-ID"))?;
    }
    Ok(())
}

/// The parameters of a query, decoded; nothing for what is not UTF-8.
fn pairs(query: &str) -> impl Iterator<Item = (Option<String>, Option<String>)> {
    let decoded = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_decode(spaced.as_bytes()).decode_utf8().ok().map(Cow::into_owned)
    };
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}
