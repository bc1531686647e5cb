//! The three paths that are not in the contracts, as the first users call them: sign up, log in, chat.
//!
//! Each is one method with other names for its fields. These are the only routes that are written by hand.

use bytes::Bytes;
use errand_chassis::{Error, request_id::RequestId, upstream::Upstream};
use errand_proto::{
    contract::Method,
    json::{self, JsonError},
    validation::Violation,
};
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use http_body_util::Full;
use serde_json::{Map, Value, json};
use tonic::{Code, Status, body::Body};

use crate::{
    bindings::{Alias, SignedIn},
    call,
    faces::idempotency,
    refusal::{self, Shape},
    text,
};

/// Answers a request to an alias, refusals included.
pub(crate) async fn answer(
    upstream: Upstream,
    request: Request<Body>,
    method: &'static Method,
    alias: &Alias,
) -> Response<Body> {
    let shape = Shape::of(&request);
    let request_id = request.extensions().get::<RequestId>().cloned();
    let mut response = match call(upstream, request, method, alias).await {
        Ok(response) => response,
        Err(status) => refusal::answer(shape, request_id.as_ref(), &status),
    };
    // Credentials, or what was said in confidence.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn call(
    upstream: Upstream,
    request: Request<Body>,
    method: &'static Method,
    alias: &Alias,
) -> Result<Response<Body>, Status> {
    let (head, body) = request.into_parts();
    if let Alias::Chat { user } = alias {
        let caller = head.extensions.get::<SignedIn>().map(|SignedIn(caller)| caller.user.to_string());
        if caller.as_ref() != Some(user) {
            let message = "the id in the path must be your own, the subject of your token";
            return Err(Error::new(Code::PermissionDenied, "USER_MISMATCH", message).into());
        }
    }
    if let Some(parameter) = head.uri.query().and_then(|query| query.split(['=', '&']).find(|name| !name.is_empty())) {
        return Err(text::no_parameters(parameter));
    }
    let body = call::read(body).await?;
    // No body at all is told which fields it lacks.
    let value = if body.is_empty() { json!({}) } else { text::read(&head.headers, &body, "")? };
    if matches!(alias, Alias::Chat { .. }) && value.get("message").and(value.get("content")).is_some() {
        let violation = Violation::new("message", "DUPLICATE", "is given twice, the second time as content");
        return Err(text::refused(JsonError::Field(violation)));
    }
    let mut asked = asked(alias, value);
    if let Value::Object(fields) = &mut asked {
        idempotency::place(&head.headers, method, fields)?;
    }
    let message = json::to_bytes(method.input, &asked).map_err(refused)?;
    let (said, answer) = call::unary(upstream, method, head, message.into()).await?.into_parts();
    let value = json::from_bytes(method.output, &answer).map_err(|error| Status::from(Error::internal(&error)))?;
    let mut response = Response::new(Body::new(Full::new(Bytes::from(told(alias, &value).to_string()))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if *alias == Alias::SignUp {
        *response.status_mut() = StatusCode::CREATED;
    }
    call::repeat(&said.headers, &mut response);
    Ok(response)
}

/// The request in the contract's words; what is no object is refused there.
fn asked(alias: &Alias, value: Value) -> Value {
    match (alias, value) {
        (Alias::Chat { .. }, Value::Object(fields)) => {
            let renamed = fields.into_iter().map(|(key, value)| match key.as_str() {
                "message" => ("content".to_owned(), value),
                _ => (key, value),
            });
            Value::Object(Map::from_iter(renamed))
        }
        (_, value) => value,
    }
}

/// The answer in the alias's words.
fn told(alias: &Alias, value: &Value) -> Value {
    let credentials = &value["credentials"];
    match alias {
        Alias::SignUp | Alias::LogIn => json!({
            "id": value["user"]["id"],
            "email": value["user"]["email"],
            "token": credentials["accessToken"],
            "refresh_token": credentials["refreshToken"],
            "expires_in": seconds(&credentials["expiresIn"]),
        }),
        Alias::Chat { .. } => json!({
            "conversation_id": value["conversationId"],
            "response": value["response"],
            "tool_calls": value.get("toolCalls").cloned().unwrap_or_else(|| json!([])),
        }),
    }
}

/// A duration as JSON has it, `900s`, as a number (RFC 6749, section 5.1).
fn seconds(duration: &Value) -> Value {
    let text = duration.as_str().and_then(|text| text.strip_suffix('s')).unwrap_or_default();
    text.split('.').next().and_then(|whole| whole.parse::<u64>().ok()).map_or(Value::Null, Value::from)
}

fn refused(error: JsonError) -> Status {
    text::refused(match error {
        JsonError::Field(violation) if violation.field == "content" => {
            JsonError::Field(Violation { field: "message".to_owned(), ..violation })
        }
        error => error,
    })
}
