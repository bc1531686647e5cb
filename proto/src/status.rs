//! google.rpc.Status as every error of ours carries it (AIP-193).

use prost::Message;
use prost_types::Any;
use tonic::{Code, Status, metadata::MetadataMap};

use crate::{
    google::rpc::{self, bad_request::FieldViolation},
    validation::Violation,
};

/// The `domain` of every ErrorInfo.
pub const DOMAIN: &str = "errand";

/// The details of one error. Which reasons exist is said in docs/errors.md.
#[derive(Debug, Clone, Default)]
pub struct Details {
    /// The stable reason, UPPER_SNAKE.
    pub reason: &'static str,
    /// Every dynamic word of the message, for programs.
    pub metadata: Vec<(&'static str, String)>,
    /// The fields that are wrong.
    pub violations: Vec<Violation>,
    /// When to try again.
    pub retry_after: Option<std::time::Duration>,
    /// The resource that the error is about: type and id.
    pub resource: Option<(&'static str, String)>,
    /// The limit that is used up: whose it is, and what it is.
    pub quota: Option<(String, String)>,
}

/// Builds the status that goes over the wire.
#[must_use]
pub fn status(code: Code, message: impl Into<String>, details: &Details) -> Status {
    let message = message.into();
    let mut any = vec![packed(
        "google.rpc.ErrorInfo",
        &rpc::ErrorInfo {
            reason: details.reason.to_owned(),
            domain: DOMAIN.to_owned(),
            metadata: details.metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        },
    )];
    if !details.violations.is_empty() {
        let field_violations = details
            .violations
            .iter()
            .map(|violation| FieldViolation {
                field: violation.field.clone(),
                description: violation.description.clone(),
                reason: violation.reason.to_owned(),
                localized_message: None,
            })
            .collect();
        any.push(packed("google.rpc.BadRequest", &rpc::BadRequest { field_violations }));
    }
    if let Some(delay) = details.retry_after {
        let retry_delay = prost_types::Duration::try_from(delay).ok();
        any.push(packed("google.rpc.RetryInfo", &rpc::RetryInfo { retry_delay }));
    }
    if let Some((subject, description)) = &details.quota {
        let violation = rpc::quota_failure::Violation {
            subject: subject.clone(),
            description: description.clone(),
            ..Default::default()
        };
        any.push(packed("google.rpc.QuotaFailure", &rpc::QuotaFailure { violations: vec![violation] }));
    }
    if let Some((resource_type, name)) = &details.resource {
        any.push(packed(
            "google.rpc.ResourceInfo",
            &rpc::ResourceInfo {
                resource_type: (*resource_type).to_owned(),
                resource_name: name.clone(),
                ..Default::default()
            },
        ));
    }
    let encoded = rpc::Status { code: code as i32, message: message.clone(), details: any }.encode_to_vec();
    Status::with_details_and_metadata(code, message, encoded.into(), MetadataMap::new())
}

/// The status of a request that breaks rules of its contract.
#[must_use]
pub fn invalid_fields(violations: Vec<Violation>) -> Status {
    let message = match violations.as_slice() {
        [only] => format!("{}: {}", only.field, only.description),
        [first, rest @ ..] => format!("{}: {} (and {} more)", first.field, first.description, rest.len()),
        [] => "the request breaks a rule of its contract".to_owned(),
    };
    status(Code::InvalidArgument, message, &Details { reason: "INVALID_FIELDS", violations, ..Default::default() })
}

/// The reason in the ErrorInfo of a status, if it has one.
#[must_use]
pub fn reason(status: &Status) -> Option<String> {
    error_info(status).map(|info| info.reason)
}

/// The ErrorInfo of a status, if it has one.
#[must_use]
pub fn error_info(status: &Status) -> Option<rpc::ErrorInfo> {
    let decoded = rpc::Status::decode(status.details()).ok()?;
    let any = decoded.details.iter().find(|any| any.type_url.ends_with("/google.rpc.ErrorInfo"))?;
    rpc::ErrorInfo::decode(any.value.as_slice()).ok()
}

/// The details of a status: the full name of each message, and its bytes.
#[must_use]
pub fn details(status: &Status) -> Vec<(String, Vec<u8>)> {
    let decoded = rpc::Status::decode(status.details()).unwrap_or_default();
    let name = |url: &str| url.rsplit('/').next().unwrap_or_default().to_owned();
    decoded.details.into_iter().map(|any| (name(&any.type_url), any.value)).collect()
}

/// How long to wait before the next try, if the status says so.
#[must_use]
pub fn retry_after(status: &Status) -> Option<std::time::Duration> {
    let decoded = rpc::Status::decode(status.details()).ok()?;
    let any = decoded.details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    rpc::RetryInfo::decode(any.value.as_slice()).ok()?.retry_delay?.try_into().ok()
}

/// A message in an `Any`, named as googleapis name it.
#[must_use]
pub fn packed<M: Message>(name: &str, message: &M) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_its_reason_and_its_fields() {
        let status = invalid_fields(vec![Violation::new("task.title", "REQUIRED", "must be set")]);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "task.title: must be set");
        assert_eq!(reason(&status).as_deref(), Some("INVALID_FIELDS"));
        let decoded = rpc::Status::decode(status.details()).unwrap();
        let bad = rpc::BadRequest::decode(decoded.details[1].value.as_slice()).unwrap();
        assert_eq!(bad.field_violations[0].field, "task.title");
        assert_eq!(bad.field_violations[0].reason, "REQUIRED");
    }
}
