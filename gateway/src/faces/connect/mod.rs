//! Connect (connectrpc.com/docs/protocol). Unary calls are here: one message in, one out, as protobuf or JSON, the
//! error as JSON; `stream` has those that answer with many.
//!
//! A method without side effects may be asked for with GET, so that an answer can be cached.

pub(crate) mod stream;

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use errand_chassis::{Error, request_id::RequestId, upstream::Upstream};
use errand_proto::{contract::Method, json};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body_util::Full;
use percent_encoding::percent_decode_str;
use tonic::{Code, Status, body::Body};

use crate::{
    call,
    refusal::{self, Shape},
    text::{self, malformed, refused, unsupported},
};

const VERSION: HeaderName = HeaderName::from_static("connect-protocol-version");
const TIMEOUT: HeaderName = HeaderName::from_static("connect-timeout-ms");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// What messages are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Json,
    Proto,
}

/// Answers a request to the path of a method, refusals included.
pub(crate) async fn answer(upstream: Upstream, request: Request<Body>, method: &'static Method) -> Response<Body> {
    let shape = Shape::of(&request);
    let request_id = request.extensions().get::<RequestId>().cloned();
    match call(upstream, request, method).await {
        Ok(response) => response,
        Err(status) => refusal::answer(shape, request_id.as_ref(), &status),
    }
}

async fn call(upstream: Upstream, request: Request<Body>, method: &'static Method) -> Result<Response<Body>, Status> {
    let (mut head, body) = request.into_parts();
    if method.server_streaming {
        return Err(unsupported(
            "this method answers with a stream: send application/connect+proto or application/connect+json, or call \
             it with gRPC, gRPC-Web or REST",
        ));
    }
    let (encoding, message) = if head.method == http::Method::GET {
        from_query(head.uri.query().unwrap_or_default())?
    } else {
        let encoding =
            Encoding::of(&head.headers).ok_or_else(|| unsupported("send application/json or application/proto"))?;
        (encoding, call::read(body).await?)
    };
    read_head(&mut head.headers)?;
    let message = match encoding {
        Encoding::Proto => message,
        Encoding::Json => from_json(method, &message)?,
    };
    let (said, answer) = call::unary(upstream, method, head, message).await?.into_parts();
    let answer = match encoding {
        Encoding::Proto => answer,
        Encoding::Json => {
            let value = json::from_bytes(method.output, &answer);
            value.map_err(|error| Status::from(Error::internal(&error)))?.to_string().into()
        }
    };
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(encoding.content_type()));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(answer.len()));
    let mut response = response.map(|_| Body::new(Full::new(answer)));
    call::repeat(&said.headers, &mut response);
    Ok(response)
}

/// Checks the version, and says the time limit as gRPC does.
fn read_head(headers: &mut HeaderMap) -> Result<(), Status> {
    if headers.get(VERSION).is_some_and(|version| version != "1") {
        return Err(malformed("connect-protocol-version must be 1"));
    }
    if let Some(timeout) = headers.remove(TIMEOUT) {
        headers.insert(GRPC_TIMEOUT, grpc_timeout(&timeout)?);
    }
    Ok(())
}

/// A call by GET: the message stands in the query.
fn from_query(query: &str) -> Result<(Encoding, Bytes), Status> {
    let (mut encoding, mut message, mut is_base64) = (None, None, false);
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let decoded: Bytes = percent_decode_str(value).collect::<Vec<_>>().into();
        match (name, decoded.as_ref()) {
            ("encoding", b"json") => encoding = Some(Encoding::Json),
            ("encoding", b"proto") => encoding = Some(Encoding::Proto),
            ("message", _) => message = Some(decoded),
            ("base64", value) => is_base64 = value == b"1",
            ("connect", b"v1") | ("compression", b"identity" | b"") => {}
            ("connect", _) => return Err(malformed("the parameter connect must be v1")),
            ("compression", _) => return Err(errand_chassis::protocol::compressed().into()),
            _ => {}
        }
    }
    let (Some(encoding), Some(message)) = (encoding, message) else {
        return Err(malformed("a GET needs the parameters encoding (json or proto) and message"));
    };
    // Padding is optional (connectrpc.com/docs/protocol#unary-get-request).
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let base64 = GeneralPurpose::new(&URL_SAFE, config);
    match is_base64 {
        true => Ok((encoding, base64.decode(&message).map_err(|_| malformed("its message is not base64"))?.into())),
        false => Ok((encoding, message)),
    }
}

fn from_json(method: &Method, text: &[u8]) -> Result<Bytes, Status> {
    // No body at all is the empty message.
    let text = if text.is_empty() { b"{}" } else { text };
    json::parse(text).and_then(|value| json::to_bytes(method.input, &value)).map(Bytes::from).map_err(refused)
}

/// Up to ten digits of milliseconds, which gRPC says in at most eight.
fn grpc_timeout(value: &HeaderValue) -> Result<HeaderValue, Status> {
    let digits = value.to_str().unwrap_or_default();
    let is_number = (1..=10).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let milliseconds = digits.parse::<u64>().ok().filter(|_| is_number).ok_or_else(|| {
        let message = "connect-timeout-ms must be one to ten digits";
        Status::from(Error::new(Code::InvalidArgument, "TIMEOUT_INVALID", message))
    })?;
    let text = if milliseconds > 99_999_999 { format!("{}S", milliseconds / 1000) } else { format!("{milliseconds}m") };
    HeaderValue::from_str(&text).map_err(|_| malformed("its timeout can not be passed on"))
}

// === impl Encoding ===

impl Encoding {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let content_type = headers.get(CONTENT_TYPE)?;
        let essence = content_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        if text::is_json(content_type) {
            Some(Self::Json)
        } else {
            essence.eq_ignore_ascii_case(b"application/proto").then_some(Self::Proto)
        }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Proto => "application/proto",
        }
    }
}
