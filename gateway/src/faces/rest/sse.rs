//! A stream as server-sent events (HTML, section 9.2).
//!
//! The name of an event is that of its case in the contract, its id the place to go on from, which a browser
//! sends back as `Last-Event-ID`. An error is an event of its own, because the status was sent long before.

use std::convert::Infallible;

use bytes::Bytes;
use errand_chassis::{error, request_id::RequestId};
use errand_proto::{contract::Method, json};
use futures_util::stream;
use http::{
    HeaderValue, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use http_body::Frame;
use http_body_util::StreamBody;
use serde_json::Value;
use tonic::{Status, body::Body};

use crate::{call::Messages, refusal};

/// The fields that say where an event stands in its stream.
const PLACES: [&str; 3] = ["cursor", "seq", "afterSeq"];

/// The messages as events; without messages it is the answer to HEAD.
pub(super) fn answer(
    method: &'static Method,
    messages: Option<Messages>,
    request_id: Option<RequestId>,
) -> Response<Body> {
    let events = stream::unfold(messages, move |messages| {
        let request_id = request_id.clone();
        async move {
            let mut messages = messages?;
            let (text, rest) = match messages.next().await? {
                Ok(message) => match json::from_bytes(method.output, &message) {
                    Ok(value) => (event(&value), Some(messages)),
                    Err(error) => (failure(&error::Error::internal(&error).into(), request_id.as_ref()), None),
                },
                Err(status) => (failure(&status, request_id.as_ref()), None),
            };
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from(text))), rest))
        }
    });
    let mut response = Response::new(Body::new(StreamBody::new(Box::pin(events))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// One message. JSON holds no line break, so its data is one line.
fn event(value: &Value) -> String {
    let case = value.as_object().and_then(|object| object.iter().find(|(_, inner)| inner.is_object()));
    let place = |value: &Value| PLACES.into_iter().find_map(|name| value.get(name).map(plain));
    let id = place(value).or_else(|| case.and_then(|(_, inner)| place(inner)));
    // No place of ours has a line break; one that had would be read as lines of its own.
    let id = id.filter(|id| !id.contains(['\n', '\r', '\0']));
    let mut text = String::new();
    if let Some((name, _)) = case {
        text.push_str(&format!("event: {name}\n"));
    }
    if let Some(id) = id {
        text.push_str(&format!("id: {id}\n"));
    }
    text.push_str(&format!("data: {value}\n\n"));
    text
}

fn failure(status: &Status, request_id: Option<&RequestId>) -> String {
    let completed = Status::from_header_map(&refusal::headers(request_id, status));
    format!("event: error\ndata: {}\n\n", refusal::json(completed.as_ref().unwrap_or(status)))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
