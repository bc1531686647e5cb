//! An error of the edge in the caller's face: a trailers-only answer for gRPC and gRPC-Web, a
//! `google.rpc.Status` as JSON with a fitting HTTP status for everything else.

use errand_chassis::{error, request_id::RequestId};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{ACCEPT, CONTENT_TYPE, WWW_AUTHENTICATE},
};
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
    /// Anything else.
    Http,
}

impl Shape {
    /// The shape of a request. Two content types are none: a peer might read the other one.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let mut types = request.headers().get_all(CONTENT_TYPE).iter();
        let (Some(content_type), None) = (types.next(), types.next()) else { return Self::Http };
        if request.method() != Method::POST {
            return Self::Http;
        }
        let is = |name: &str| essence(content_type).eq_ignore_ascii_case(name.as_bytes());
        let web = |text_in: bool, proto: bool| {
            let text_out = accepts_text(request.headers());
            let content_type = match (text_out, proto) {
                (true, true) => "application/grpc-web-text+proto",
                (true, false) => GRPC_WEB_TEXT,
                (false, true) => "application/grpc-web+proto",
                (false, false) => GRPC_WEB,
            };
            Self::GrpcWeb { content_type, text_in, text_out }
        };
        if is(GRPC_WEB) || is("application/grpc-web+proto") {
            web(false, is("application/grpc-web+proto"))
        } else if is(GRPC_WEB_TEXT) || is("application/grpc-web-text+proto") {
            web(true, is("application/grpc-web-text+proto"))
        } else if request.version() != Version::HTTP_2 {
            Self::Http
        } else if is(GRPC) {
            Self::Grpc { content_type: GRPC }
        } else if is("application/grpc+proto") {
            Self::Grpc { content_type: "application/grpc+proto" }
        } else {
            Self::Http
        }
    }
}

/// The media type without its parameters.
fn essence(value: &HeaderValue) -> &[u8] {
    value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

/// Whether a gRPC-Web caller asks for base64; only text can be read piece by piece by old browsers.
fn accepts_text(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').any(|one| {
            let one = one.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            one.eq_ignore_ascii_case(GRPC_WEB_TEXT.as_bytes())
                || one.eq_ignore_ascii_case(b"application/grpc-web-text+proto")
        })
    })
}

/// Refuses a request in its caller's shape.
pub(crate) fn refuse(request: &Request<Body>, error: impl Into<Status>) -> Box<Response<Body>> {
    Box::new(answer(Shape::of(request), request.extensions().get(), &error.into()))
}

/// An error in this shape.
pub(crate) fn answer(shape: Shape, request_id: Option<&RequestId>, status: &Status) -> Response<Body> {
    let (Shape::Grpc { content_type } | Shape::GrpcWeb { content_type, .. }) = shape else {
        return as_json(request_id, status);
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

fn as_json(request_id: Option<&RequestId>, status: &Status) -> Response<Body> {
    let http_status = http_status(status);
    let mut response = Response::new(Body::new(http_body_util::Full::from(json(request_id, status))));
    *response.status_mut() = http_status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if http_status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// The `google.rpc.Status` in proto JSON.
fn json(request_id: Option<&RequestId>, status: &Status) -> Vec<u8> {
    let completed = Status::from_header_map(&headers(request_id, status));
    let details = completed.as_ref().unwrap_or(status).details();
    // Every status of ours is one of the contracts' messages; were one not, its code still says what happened.
    errand_proto::json::from_bytes("google.rpc.Status", details)
        .map_or_else(|_| format!("{{\"code\":{}}}", status.code() as i32), |value| value.to_string())
        .into_bytes()
}

/// The HTTP status of an error: by its code as Envoy has it, by its reason where HTTP has a closer word.
fn http_status(status: &Status) -> StatusCode {
    match errand_proto::status::reason(status).as_deref() {
        Some("METHOD_UNKNOWN") => return StatusCode::NOT_FOUND,
        Some("METHOD_NOT_ALLOWED") => return StatusCode::METHOD_NOT_ALLOWED,
        Some("CONTENT_TYPE_UNSUPPORTED") => return StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Some("MESSAGE_TOO_LARGE") => return StatusCode::PAYLOAD_TOO_LARGE,
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
