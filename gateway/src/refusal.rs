//! An error of the edge in the caller's face: a trailers-only answer for gRPC and gRPC-Web, a
//! last envelope for a stream of Connect, a `google.rpc.Status` as JSON with a fitting HTTP status for everything else.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use bytes::{BufMut, Bytes, BytesMut};
use errand_chassis::{error, request_id::RequestId};
use errand_proto::contract;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::{Value, json};
use tonic::{Code, Status, body::Body};

const GRPC: &str = "application/grpc";
const GRPC_WEB: &str = "application/grpc-web";
const GRPC_WEB_TEXT: &str = "application/grpc-web-text";

/// How a caller talks, read from its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Native gRPC, which only HTTP/2 can carry.
    Grpc {
        /// The content type, as the answer repeats it.
        content_type: &'static str,
    },
    /// gRPC-Web.
    GrpcWeb {
        /// The content type of the answer.
        content_type: &'static str,
        /// Whether the request is base64.
        text_in: bool,
        /// Whether the answer is base64.
        text_out: bool,
    },
    /// Connect, unary: by the path of a method.
    Connect,
    /// Connect, with messages in envelopes: by the path of a method, or of what every gRPC server offers.
    ConnectStream {
        /// The content type, both ways.
        content_type: &'static str,
    },
    /// Anything else.
    Http {
        /// Whether errors are wanted as `application/problem+json` (RFC 9457).
        problem: bool,
    },
}

/// Connect's messages in envelopes.
const CONNECT_STREAM: &str = "application/connect+proto";
/// The same, with messages as JSON; only for what the contracts describe.
pub(crate) const CONNECT_STREAM_JSON: &str = "application/connect+json";
/// The flag of the envelope that ends such a stream.
const END_OF_STREAM: u8 = 0x02;

/// An error is JSON.
const JSON: &str = "application/json";
/// An error as RFC 9457 has it.
const PROBLEM: &str = "application/problem+json";

impl Shape {
    /// The shape of a request; what was noted before, where it was.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        request.extensions().get().copied().unwrap_or_else(|| Self::read(request))
    }

    /// Notes the shape of a request as an extension: every layer asks for it.
    pub(crate) fn note<B>(request: &mut Request<B>) -> Self {
        let shape = Self::read(request);
        request.extensions_mut().insert(shape);
        shape
    }

    /// Two content types are none: a peer might read the other one.
    fn read<B>(request: &Request<B>) -> Self {
        let mut types = request.headers().get_all(CONTENT_TYPE).iter();
        let http = Self::Http { problem: accepts(request.headers(), &[PROBLEM]) };
        let is_method = || contract::Method::find(request.uri().path()).is_some();
        if request.method() == Method::GET && request.uri().query().is_some() && is_method() {
            return Self::Connect;
        }
        let (Some(content_type), None) = (types.next(), types.next()) else { return http };
        if request.method() != Method::POST {
            return http;
        }
        let is = |name: &str| essence(content_type).eq_ignore_ascii_case(name.as_bytes());
        let web = |text_in: bool, proto: bool| {
            // Only text can be read piece by piece by old browsers.
            let text_out = accepts(request.headers(), &[GRPC_WEB_TEXT, "application/grpc-web-text+proto"]);
            let content_type = match (text_out, proto) {
                (true, true) => "application/grpc-web-text+proto",
                (true, false) => GRPC_WEB_TEXT,
                (false, true) => "application/grpc-web+proto",
                (false, false) => GRPC_WEB,
            };
            Self::GrpcWeb { content_type, text_in, text_out }
        };
        if (is(JSON) || is("application/proto")) && is_method() {
            Self::Connect
        } else if is(CONNECT_STREAM) && (is_method() || request.uri().path().starts_with("/grpc.")) {
            Self::ConnectStream { content_type: CONNECT_STREAM }
        } else if is(CONNECT_STREAM_JSON) && is_method() {
            Self::ConnectStream { content_type: CONNECT_STREAM_JSON }
        } else if is(GRPC_WEB) || is("application/grpc-web+proto") {
            web(false, is("application/grpc-web+proto"))
        } else if is(GRPC_WEB_TEXT) || is("application/grpc-web-text+proto") {
            web(true, is("application/grpc-web-text+proto"))
        } else if request.version() != Version::HTTP_2 {
            http
        } else if is(GRPC) {
            Self::Grpc { content_type: GRPC }
        } else if is("application/grpc+proto") {
            Self::Grpc { content_type: "application/grpc+proto" }
        } else {
            http
        }
    }
}

/// The media type without its parameters.
fn essence(value: &HeaderValue) -> &[u8] {
    value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

/// Whether the caller asks for one of these media types by name.
fn accepts(headers: &HeaderMap, types: &[&str]) -> bool {
    headers.get_all(ACCEPT).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').any(|one| {
            let one = one.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            types.iter().any(|wanted| one.eq_ignore_ascii_case(wanted.as_bytes()))
        })
    })
}

/// Refuses a request in its caller's shape.
pub(crate) fn refuse(request: &Request<Body>, error: impl Into<Status>) -> Box<Response<Body>> {
    Box::new(answer(Shape::of(request), request.extensions().get(), &error.into()))
}

/// An error in this shape.
pub(crate) fn answer(shape: Shape, request_id: Option<&RequestId>, status: &Status) -> Response<Body> {
    let content_type = match shape {
        Shape::Grpc { content_type } | Shape::GrpcWeb { content_type, .. } => content_type,
        Shape::Http { problem } => return as_json(request_id, status, problem),
        Shape::Connect => return as_connect(request_id, status),
        Shape::ConnectStream { content_type } => return as_connect_stream(request_id, status, content_type),
    };
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = headers(request_id, status);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if errand_proto::status::reason(status).is_some_and(|reason| reason == "COMPRESSION_UNSUPPORTED") {
        response.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
    }
    response
}

/// The headers, or trailers, that say an error.
pub(crate) fn headers(request_id: Option<&RequestId>, status: &Status) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if status.add_header(&mut headers).is_err() {
        // Only a message that can not be a header gets here; its code still can.
        headers.insert("grpc-status", HeaderValue::from(status.code() as i32));
    }
    if let Some(request_id) = request_id {
        error::complete(&mut headers, request_id);
    }
    headers
}

fn as_json(request_id: Option<&RequestId>, status: &Status, problem: bool) -> Response<Body> {
    let http_status = http_status(status);
    let completed = Status::from_header_map(&headers(request_id, status)).unwrap_or_else(|| status.clone());
    let mut value = json(&completed);
    if problem {
        value = as_problem(http_status, &completed, value);
    }
    let mut response = Response::new(Body::new(http_body_util::Full::from(value.to_string())));
    *response.status_mut() = http_status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(if problem { PROBLEM } else { JSON }));
    advise(&completed, &mut response);
    response
}

/// What an error says to HTTP's own clients in headers.
fn advise(status: &Status, response: &mut Response<Body>) {
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(delay) = errand_proto::status::retry_after(status) {
        // Zero would say not to wait.
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(delay).max(1)));
    }
}

/// A time as headers can say it: in seconds, and none of it cut off, so that who waits so long has waited enough.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The `google.rpc.Status` in proto JSON.
pub(crate) fn json(status: &Status) -> Value {
    // Every status of ours is one of the contracts' messages; were one not, its code still says what happened.
    errand_proto::json::from_bytes("google.rpc.Status", status.details())
        .unwrap_or_else(|_| json!({ "code": status.code() as i32 }))
}

/// The same as RFC 9457 has it; what it has no word for stays as an extension.
fn as_problem(http_status: StatusCode, status: &Status, value: Value) -> Value {
    let reason = errand_proto::status::reason(status).unwrap_or_default();
    let mut problem = json!({
        // A name, not a place: what it means is said in docs/errors.md.
        "type": format!("urn:errand:{reason}"),
        "title": http_status.canonical_reason().unwrap_or("Error"),
        "status": http_status.as_u16(),
        "detail": status.message(),
    });
    if let (Some(problem), Value::Object(mut fields)) = (problem.as_object_mut(), value) {
        problem.extend(["code", "details"].into_iter().filter_map(|key| fields.remove_entry(key)));
    }
    problem
}

fn as_connect(request_id: Option<&RequestId>, status: &Status) -> Response<Body> {
    let completed = Status::from_header_map(&headers(request_id, status)).unwrap_or_else(|| status.clone());
    let mut response = Response::new(Body::new(http_body_util::Full::from(connect_error(&completed).to_string())));
    *response.status_mut() = http_status(&completed);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    advise(&completed, &mut response);
    response
}

/// A stream that is refused answers 200 and ends at once. Where the content type is the mistake, HTTP says it, as
/// Connect has it.
fn as_connect_stream(request_id: Option<&RequestId>, status: &Status, content_type: &'static str) -> Response<Body> {
    if http_status(status) == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        return as_connect(request_id, status);
    }
    let mut response = Response::new(Body::new(http_body_util::Full::from(end_of_stream(request_id, Some(status)))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The envelope that ends a stream of Connect, with the error that ended it.
pub(crate) fn end_of_stream(request_id: Option<&RequestId>, refused: Option<&Status>) -> Bytes {
    let text = match refused {
        Some(status) => {
            let completed = Status::from_header_map(&headers(request_id, status)).unwrap_or_else(|| status.clone());
            json!({ "error": connect_error(&completed) }).to_string()
        }
        None => "{}".to_owned(),
    };
    let mut envelope = BytesMut::with_capacity(5 + text.len());
    envelope.put_u8(END_OF_STREAM);
    // An error is as large as headers may be.
    envelope.put_u32(u32::try_from(text.len()).unwrap_or_default());
    envelope.put_slice(text.as_bytes());
    envelope.freeze()
}

/// The error as Connect has it (connectrpc.com/docs/protocol#error-end-stream): a word for the code, the details in base64.
fn connect_error(completed: &Status) -> Value {
    let details = errand_proto::status::details(completed);
    let details: Vec<_> = details
        .into_iter()
        .map(|(name, value)| {
            let debug = errand_proto::json::from_bytes(&name, &value).unwrap_or(Value::Null);
            json!({ "type": name, "value": STANDARD_NO_PAD.encode(value), "debug": debug })
        })
        .collect();
    json!({ "code": word(completed.code()), "message": completed.message(), "details": details })
}

/// A code as Connect spells it.
const fn word(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "canceled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

/// The HTTP status of an error: by its code as Envoy has it, by its reason where HTTP has a closer word.
pub(crate) fn http_status(status: &Status) -> StatusCode {
    match errand_proto::status::reason(status).as_deref() {
        Some("METHOD_UNKNOWN") => return StatusCode::NOT_FOUND,
        Some("METHOD_NOT_ALLOWED") => return StatusCode::METHOD_NOT_ALLOWED,
        Some("CONTENT_TYPE_UNSUPPORTED") => return StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Some("MESSAGE_TOO_LARGE") => return StatusCode::PAYLOAD_TOO_LARGE,
        Some("STORAGE_FULL") => return StatusCode::INSUFFICIENT_STORAGE,
        Some("HEADERS_TOO_LARGE") => return StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        _ => {}
    }
    match status.code() {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
