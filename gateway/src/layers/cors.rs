//! Which web pages may call, told to their browsers (Fetch standard, CORS protocol).
//!
//! Preflights are answered here, before any token is asked for. Calls are not stopped: a browser
//! keeps the answer from a page that may not see it, and nothing here is authorised by a cookie, so
//! credentials are never allowed.

use std::str::FromStr;

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};
use tonic::body::Body;

use super::Step;

const ALLOW_HEADERS: HeaderValue = HeaderValue::from_static(
    "content-type, x-grpc-web, x-user-agent, grpc-timeout, authorization, x-request-id, traceparent, tracestate, \
     connect-protocol-version, connect-timeout-ms, idempotency-key, if-match, if-none-match, last-event-id, accept",
);
const ALLOW_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PATCH, DELETE");
const EXPOSE_HEADERS: HeaderValue = HeaderValue::from_static(
    "grpc-status, grpc-message, grpc-status-details-bin, x-request-id, retry-after, x-ratelimit-limit, \
     x-ratelimit-remaining, x-ratelimit-reset, etag, location, idempotent-replayed",
);
const MAX_AGE: HeaderValue = HeaderValue::from_static("1728000");

/// An origin that may call: `https://app.example.com`, `http://localhost:*` for any port, or `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedOrigin(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Any,
    AnyPort(String),
    Exact(String),
}

/// Answers preflights and marks answers that a page may see.
pub(crate) struct Cors {
    allowed: Vec<AllowedOrigin>,
}

// === impl AllowedOrigin ===

impl AllowedOrigin {
    /// Pages that this machine serves to itself.
    #[must_use]
    pub fn this_machine() -> Vec<Self> {
        ["http://localhost", "http://127.0.0.1"].map(|host| Self(Kind::AnyPort(host.to_owned()))).into()
    }

    fn matches(&self, origin: &str) -> bool {
        match &self.0 {
            Kind::Any => true,
            Kind::Exact(exact) => origin == exact,
            Kind::AnyPort(host) => match origin.strip_prefix(host.as_str()) {
                Some("") => true,
                Some(port) => port.strip_prefix(':').is_some_and(is_port),
                None => false,
            },
        }
    }
}

impl FromStr for AllowedOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self(Kind::Any));
        }
        let wrong =
            || format!("`{text}` is no origin; write `https://host`, `http://host:port`, `http://host:*` or `*`");
        let (scheme, host) = text.split_once("://").ok_or_else(wrong)?;
        let host = host.strip_suffix(":*").unwrap_or(host);
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b':' | b'[' | b']' | b'_');
        if scheme.is_empty() || host.is_empty() || !scheme.bytes().chain(host.bytes()).all(plain) {
            return Err(wrong());
        }
        Ok(Self(match text.strip_suffix(":*") {
            Some(host) => Kind::AnyPort(host.to_owned()),
            None => Kind::Exact(text.to_owned()),
        }))
    }
}

fn is_port(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

// === impl Cors ===

impl Cors {
    pub(crate) fn new(allowed: Vec<AllowedOrigin>) -> Self {
        Self { allowed }
    }

    /// The origin of a request, if its page may call. Two origins are nobody's, and neither is
    /// `null`, which any sandboxed page can claim.
    fn allowed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else { return None };
        let text = origin.to_str().ok()?;
        let may = text.contains("://") && self.allowed.iter().any(|allowed| allowed.matches(text));
        may.then(|| origin.clone())
    }
}

impl Step for Cors {
    type Note = Option<HeaderValue>;

    async fn enter(&self, request: &mut Request<Body>) -> Result<Self::Note, Box<Response<Body>>> {
        let headers = request.headers();
        let origin = self.allowed_origin(headers);
        let is_preflight = request.method() == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight {
            return Ok(origin);
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, ALLOW_METHODS);
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOW_HEADERS);
            headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
        Err(Box::new(response))
    }

    fn leave(&self, origin: Self::Note, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSE_HEADERS);
        }
    }
}
