//! What an error says, read as a client would.

use std::time::Duration;

use errand_proto::google::rpc;
use prost::Message as _;
use tonic::{Code, Status};

/// What an error said, as its details have it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) reason: String,
    pub(crate) fields: Vec<String>,
    pub(crate) request_id: String,
    /// How long the server asks to wait.
    pub(crate) retry_after: Option<Duration>,
}

/// What an error said. Fails the test when it is one that no client may ever see.
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> Refusal {
    let status = answer.expect_err("the call succeeded");
    assert!(!matches!(status.code(), Code::Internal | Code::Unknown | Code::DataLoss), "{status:?}");
    let decoded = rpc::Status::decode(status.details()).unwrap();
    assert_eq!(decoded.code, status.code() as i32);
    let mut refusal = Refusal {
        code: status.code(),
        reason: String::new(),
        fields: vec![],
        request_id: String::new(),
        retry_after: None,
    };
    for detail in decoded.details {
        let value = detail.value.as_slice();
        match detail.type_url.rsplit('.').next().unwrap() {
            "ErrorInfo" => {
                let info = rpc::ErrorInfo::decode(value).unwrap();
                assert_eq!(info.domain, "errand");
                assert_eq!(refusal.reason, "", "exactly one ErrorInfo");
                refusal.reason = info.reason;
            }
            "BadRequest" => {
                let bad = rpc::BadRequest::decode(value).unwrap();
                refusal.fields = bad.field_violations.into_iter().map(|violation| violation.field).collect();
            }
            "RequestInfo" => refusal.request_id = rpc::RequestInfo::decode(value).unwrap().request_id,
            "RetryInfo" => {
                let delay = rpc::RetryInfo::decode(value).unwrap().retry_delay.unwrap_or_default();
                refusal.retry_after = Some(delay.try_into().unwrap());
            }
            _ => {}
        }
    }
    assert!(!refusal.reason.is_empty(), "an error without a reason: {status:?}");
    assert!(!refusal.request_id.is_empty(), "an error without the name of its call: {status:?}");
    refusal
}

/// Code and reason of an error.
pub(crate) fn reason<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let refusal = refusal(answer);
    (refusal.code, refusal.reason)
}

pub(crate) fn refused(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}
