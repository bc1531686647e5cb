//! The name of one call, `x-request-id`: made at the edge, passed on, returned and logged.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{clock::Clock, protocol};

/// The header that carries it.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The longest that is taken from a client.
const LONGEST: usize = 128;

/// The name of one call; a request extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The caller's name for the call when it is harmless in logs and headers (1 to 128 letters,
    /// digits, `-`, `_`, `.` or `:`), otherwise a new one.
    #[must_use]
    pub fn of(headers: &HeaderMap, clock: &dyn Clock) -> Self {
        Self::told(headers).unwrap_or_else(|| Self(clock.id().to_string().into()))
    }

    /// The caller's name for the call, when it is harmless.
    #[must_use]
    pub fn told(headers: &HeaderMap) -> Option<Self> {
        headers
            .get(HEADER)
            .and_then(|value| value.to_str().ok())
            .filter(|text| (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_harmless))
            .map(|text| Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a header.
    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        let value = HeaderValue::from_str(&self.0).unwrap_or_else(|_| HeaderValue::from_static("invalid"));
        protocol::once(value)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_harmless(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn taken(value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_str(value).unwrap());
        RequestId::of(&headers, &ManualClock::default()).as_str() == value
    }

    #[test]
    fn a_harmless_name_is_kept_and_any_other_replaced() {
        assert!(taken("abc-1.2_3:4"));
        assert!(taken(&"a".repeat(128)));
        assert!(!taken(&"a".repeat(129)));
        assert!(!taken("a b"));
        assert!(!taken("<script>"));
    }
}
