//! Errors as they leave: a code, a stable reason and what to do about it (AIP-193).
//!
//! An error is made once, in the place that knows, and completed once, on the way out, with the
//! name of the call. What a client may see of an internal error is one neutral sentence.

use std::{error::Error as StdError, fmt, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use errand_proto::{
    google::rpc,
    status::{self, Details, packed},
    validation::Violation,
};
use http::{HeaderMap, HeaderValue};
use prost::Message;
use tonic::{Code, Status};

use crate::request_id::RequestId;

const STATUS: &str = "grpc-status";
const DETAILS: &str = "grpc-status-details-bin";

/// An error on its way to a client.
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    code: Code,
    message: String,
    details: Details,
}

// === impl Error ===

impl Error {
    /// An error with a reason of the closed list in docs/errors.md. The message is for developers
    /// and says what to change.
    pub fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { code, message: message.into(), details: Details { reason, ..Details::default() } }))
    }

    /// A request that breaks rules that its contract can not say.
    #[must_use]
    pub fn invalid(violations: Vec<Violation>) -> Self {
        let message = match violations.as_slice() {
            [first, ..] => format!("{}: {}", first.field, first.description),
            [] => "the request breaks a rule".to_owned(),
        };
        Self::new(Code::InvalidArgument, "INVALID_FIELDS", message).violations(violations)
    }

    /// A fault of ours. The whole chain goes to the log, once; the client gets a neutral sentence.
    #[must_use]
    pub fn internal(error: &(dyn StdError + 'static)) -> Self {
        let mut chain = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            chain = format!("{chain}: {error}");
            source = error.source();
        }
        tracing::error!(error = chain, "internal error");
        Self::logged()
    }

    /// The neutral sentence about a fault of ours that the log has already.
    pub(crate) fn logged() -> Self {
        Self::new(Code::Internal, "INTERNAL", "something went wrong on our side; it has been logged")
    }

    /// Adds a dynamic word of the message for programs (ErrorInfo.metadata).
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.details.metadata.push((key, value.to_string()));
        self
    }

    /// Adds a field that is wrong (BadRequest).
    #[must_use]
    pub fn violation(mut self, violation: Violation) -> Self {
        self.0.details.violations.push(violation);
        self
    }

    /// Adds fields that are wrong (BadRequest).
    #[must_use]
    pub fn violations(mut self, mut violations: Vec<Violation>) -> Self {
        self.0.details.violations.append(&mut violations);
        self
    }

    /// Says when to try again (RetryInfo).
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.details.retry_after = Some(delay);
        self
    }

    /// Says which limit is used up, and whose (QuotaFailure).
    #[must_use]
    pub fn quota(mut self, subject: impl Into<String>, description: impl Into<String>) -> Self {
        self.0.details.quota = Some((subject.into(), description.into()));
        self
    }

    /// Says which resource it is about (ResourceInfo).
    #[must_use]
    pub fn resource(mut self, kind: &'static str, id: impl fmt::Display) -> Self {
        self.0.details.resource = Some((kind, id.to_string()));
        self
    }

    /// The gRPC code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The stable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.0.details.reason
    }

    /// The sentence for developers.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.details.reason, self.0.message)
    }
}

impl StdError for Error {}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        status::status(error.0.code, error.0.message, &error.0.details)
    }
}

/// Completes an error in headers or trailers: adds RequestInfo, and an ErrorInfo to errors that
/// generated code or a library made. Does nothing to a success.
pub fn complete(headers: &mut HeaderMap, request_id: &RequestId) {
    let Some(code) = headers.get(STATUS).and_then(|value| Code::from_bytes(value.as_bytes()).into()) else { return };
    if code == Code::Ok {
        return;
    }
    let encoded = headers.get(DETAILS).map(HeaderValue::as_bytes);
    let mut decoded = encoded
        .and_then(|text| STANDARD_NO_PAD.decode(text.trim_ascii_end().strip_suffix(b"=").unwrap_or(text)).ok())
        .and_then(|bytes| rpc::Status::decode(bytes.as_slice()).ok())
        .unwrap_or_default();
    let has = |decoded: &rpc::Status, name: &str| decoded.details.iter().any(|any| any.type_url.ends_with(name));
    if has(&decoded, "/google.rpc.RequestInfo") {
        return;
    }
    if !has(&decoded, "/google.rpc.ErrorInfo") {
        let info = rpc::ErrorInfo {
            reason: reason_of(code).to_owned(),
            domain: status::DOMAIN.to_owned(),
            ..Default::default()
        };
        decoded.details.insert(0, packed("google.rpc.ErrorInfo", &info));
        let message = headers.get("grpc-message").and_then(|value| value.to_str().ok()).unwrap_or_default();
        decoded.message = percent_encoding::percent_decode_str(message).decode_utf8_lossy().into_owned();
        decoded.code = code as i32;
    }
    let info = rpc::RequestInfo { request_id: request_id.as_str().to_owned(), serving_data: String::new() };
    decoded.details.push(packed("google.rpc.RequestInfo", &info));
    if let Ok(value) = HeaderValue::from_str(&STANDARD_NO_PAD.encode(decoded.encode_to_vec())) {
        headers.insert(DETAILS, value);
    }
}

/// The reason of an error that only has a code.
fn reason_of(code: Code) -> &'static str {
    match code {
        Code::Unimplemented => "METHOD_UNKNOWN",
        Code::Cancelled => "CANCELLED",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::InvalidArgument => "MALFORMED_MESSAGE",
        Code::Unavailable => "UNAVAILABLE",
        _ => "INTERNAL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn completed(status: Status) -> (rpc::Status, HeaderMap) {
        let request_id = RequestId::of(&HeaderMap::new(), &ManualClock::default());
        let mut headers = status.into_http::<()>().into_parts().0.headers;
        complete(&mut headers, &request_id);
        let decoded = Status::from_header_map(&headers).unwrap();
        (rpc::Status::decode(decoded.details()).unwrap(), headers)
    }

    fn names(status: &rpc::Status) -> Vec<&str> {
        status.details.iter().filter_map(|any| any.type_url.rsplit('/').next()).collect()
    }

    #[test]
    fn an_error_of_ours_keeps_its_details_and_gets_the_name_of_the_call() {
        let error =
            Error::new(Code::Aborted, "ETAG_MISMATCH", "changed meanwhile").with("etag", "7").resource("task", "1");
        let (status, headers) = completed(error.into());
        assert_eq!(names(&status), ["google.rpc.ErrorInfo", "google.rpc.ResourceInfo", "google.rpc.RequestInfo"]);
        let mut again = headers.clone();
        complete(&mut again, &RequestId::of(&HeaderMap::new(), &ManualClock::default()));
        assert_eq!(again, headers, "the first name stays");
    }

    #[test]
    fn an_error_of_a_library_gets_a_reason_by_its_code() {
        let (status, _) = completed(Status::unimplemented("no such méthod"));
        assert_eq!(names(&status), ["google.rpc.ErrorInfo", "google.rpc.RequestInfo"]);
        let info = rpc::ErrorInfo::decode(status.details[0].value.as_slice()).unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("METHOD_UNKNOWN", "errand"));
        assert_eq!(status.message, "no such méthod");
    }

    #[test]
    fn a_success_is_left_alone() {
        let mut headers = HeaderMap::new();
        headers.insert(STATUS, HeaderValue::from_static("0"));
        complete(&mut headers, &RequestId::of(&HeaderMap::new(), &ManualClock::default()));
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn an_internal_error_tells_the_client_nothing() {
        let error = Error::internal(&std::io::Error::other("secret path"));
        assert!(!Status::from(error).message().contains("secret"));
    }
}
