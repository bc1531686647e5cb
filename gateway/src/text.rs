//! What the faces that speak JSON have in common: what a body of JSON is, what a header says that a field could say, and
//! how a mistake in either is told.

use errand_chassis::Error;
use errand_proto::{
    json::{self, JsonError},
    query, status,
    validation::Violation,
};
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use serde_json::{Map, Value};
use tonic::{Code, Status};

/// A body of JSON, by its content type and its text. A mistake is told below `field`, where the body is that field of
/// the request.
///
/// # Errors
/// CONTENT_TYPE_UNSUPPORTED, MALFORMED_MESSAGE, or INVALID_FIELDS for a name that stands twice.
pub(crate) fn read(headers: &HeaderMap, body: &[u8], field: &str) -> Result<Value, Status> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(content_type), None) if is_json(content_type) => json::parse(body).map_err(|error| match error {
            JsonError::Field(violation) if !field.is_empty() => {
                let path = format!("{field}.{}", violation.field);
                refused(JsonError::Field(Violation { field: path, ..violation }))
            }
            error => refused(error),
        }),
        _ => Err(unsupported("send the body as `content-type: application/json`, in UTF-8")),
    }
}

/// Whether a content type is that of JSON in UTF-8. JSON has no other charset (RFC 8259, section 8.1), so one that says
/// so would be read as something that its sender did not mean.
pub(crate) fn is_json(content_type: &HeaderValue) -> bool {
    let mut parts = content_type.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let is_json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case(b"application/json"));
    is_json
        && parts.all(|parameter| {
            let mut halves = parameter.splitn(2, |byte| *byte == b'=');
            let is_charset = halves.next().is_some_and(|name| name.eq_ignore_ascii_case(b"charset"));
            let value = halves.next().unwrap_or_default();
            let plain = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
            !is_charset || plain.eq_ignore_ascii_case(b"utf-8") || plain.eq_ignore_ascii_case(b"utf8")
        })
}

/// A mistake in JSON, as it is answered.
pub(crate) fn refused(error: JsonError) -> Status {
    match error {
        JsonError::Field(violation) => status::invalid_fields(vec![violation]),
        JsonError::UnknownMessage(_) | JsonError::Malformed(_) | JsonError::Text(_) => malformed(&error.to_string()),
    }
}

/// The text of a header that may be said once. Twice is refused, not dropped: what guards a write is never lost.
pub(crate) fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Status> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(malformed(&format!("its header {name} is sent more than once")));
    }
    value
        .map(|value| value.to_str().map_err(|_| malformed(&format!("its header {name} is not printable ASCII"))))
        .transpose()
}

/// The same thing said twice, in a header and in a field, is said once; two things are not guessed between.
pub(crate) fn not_otherwise(
    said: &Map<String, Value>,
    name: &str,
    text: &str,
    header: &'static str,
) -> Result<(), Status> {
    let camel = query::camel(name);
    let mut others = [name, &camel].into_iter().filter_map(|name| said.get(name)?.as_str());
    if others.any(|other| !other.is_empty() && other != text) {
        let violation = Violation::new(header, "CONFLICT", format!("says another thing than {camel}"));
        return Err(status::invalid_fields(vec![violation]));
    }
    Ok(())
}

/// A mistake in a header is told under the header's name.
pub(crate) fn named(error: JsonError, header: &'static str) -> Status {
    match error {
        JsonError::Field(violation) if violation.reason == "UNKNOWN_FIELD" => {
            status::invalid_fields(vec![Violation::new(header, violation.reason, "is not taken by this call")])
        }
        JsonError::Field(violation) => {
            status::invalid_fields(vec![Violation::new(header, violation.reason, violation.description)])
        }
        other => refused(other),
    }
}

/// A parameter of the query where the call has none.
pub(crate) fn no_parameters(name: impl Into<String>) -> Status {
    let violation = Violation::new(name, "UNKNOWN_FIELD", "say it in the body: this call has no parameters");
    status::invalid_fields(vec![violation])
}

/// The content type is none that this face reads.
pub(crate) fn unsupported(message: &str) -> Status {
    Error::new(Code::InvalidArgument, "CONTENT_TYPE_UNSUPPORTED", message).into()
}

/// The request can not be read.
pub(crate) fn malformed(why: &str) -> Status {
    Error::new(Code::InvalidArgument, "MALFORMED_MESSAGE", format!("the request is not valid: {why}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_059_json_has_one_charset() {
        for (content_type, fine) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/json;charset=\"UTF-8\"; x=y", true),
            ("application/json; charset=utf8", true),
            ("application/json; charset=latin1", false),
            ("application/json; charset=", false),
            ("application/json; charset=utf-8; charset=utf-16", false),
            ("application/jsonx", false),
            ("text/json", false),
            ("", false),
        ] {
            assert_eq!(is_json(&HeaderValue::from_static(content_type)), fine, "{content_type}");
        }
    }
}
