//! How long a call may take: `grpc-timeout` of the caller, capped by the method's class.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use errand_proto::contract::{Method, RateClass};
use http::{Extensions, HeaderMap, HeaderValue};
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status, body::Body};

use crate::{error::Error, protocol};

/// The longest a unary call may take.
pub const UNARY: Duration = Duration::from_secs(30);
/// The longest a call may take that makes the assistant work.
pub const ASSISTANT: Duration = Duration::from_secs(10 * 60);

/// The header that says how long a call may take.
pub const HEADER: &str = "grpc-timeout";

/// When a call ends; a request extension. A call to a peer gets what remains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline of a call that arrives now, nothing for a stream without one.
    ///
    /// # Errors
    /// INVALID_ARGUMENT, TIMEOUT_INVALID, for a `grpc-timeout` that is none.
    pub fn arriving(method: Option<&Method>, headers: &HeaderMap) -> Result<Option<Self>, Error> {
        let asked = asked(headers)?;
        let limit = match method {
            Some(method) if method.server_streaming => None,
            Some(method) if method.rate == RateClass::Assistant => Some(ASSISTANT),
            Some(_) => Some(UNARY),
            // Health watches and reflection are streams.
            None => None,
        };
        let shortest = match (asked, limit) {
            (Some(asked), Some(limit)) => Some(asked.min(limit)),
            (asked, limit) => asked.or(limit),
        };
        Ok(shortest.map(|time| Self(Instant::now() + time)))
    }

    /// The deadline in a request's extensions.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get().copied()
    }

    /// A deadline this far from now.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// The sooner of two.
    #[must_use]
    pub fn sooner(self, other: Option<Self>) -> Self {
        other.map_or(self, |other| Self(self.0.min(other.0)))
    }

    /// The moment it passes.
    #[must_use]
    pub const fn instant(self) -> Instant {
        self.0
    }

    /// What is left of it.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// What is left of it as `grpc-timeout`, in milliseconds; nothing once it has passed.
    #[must_use]
    pub fn to_header(self) -> Option<HeaderValue> {
        let left = self.remaining();
        let text = (!left.is_zero()).then(|| format!("{}m", left.as_millis().min(99_999_999)))?;
        HeaderValue::try_from(text).ok().map(protocol::once)
    }
}

/// A stream that ends with DEADLINE_EXCEEDED when its time is over.
struct Bounded {
    body: Body,
    end: Pin<Box<Sleep>>,
    ended: bool,
}

/// Ends a stream at its deadline: a deadline is for the whole answer, not for its beginning.
#[must_use]
pub fn bounded(body: Body, deadline: Deadline) -> Body {
    if http_body::Body::is_end_stream(&body) {
        return body;
    }
    Body::new(Bounded { body, end: Box::pin(sleep_until(deadline.instant())), ended: false })
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // The time first: a stream that always has something to say ends, too.
        if self.end.as_mut().poll(context).is_ready() {
            self.ended = true;
            let mut trailers = HeaderMap::new();
            let status = Status::from(exceeded());
            return Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }
}

/// The error of a call whose time is over.
#[must_use]
pub fn exceeded() -> Error {
    Error::new(
        Code::DeadlineExceeded,
        "DEADLINE_EXCEEDED",
        "the call took longer than its deadline allows; a write may have happened: repeat it with the same request_id",
    )
}

/// The error of a request whose bytes come too slowly. No handler has seen it.
#[must_use]
pub fn too_slow() -> Error {
    Error::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "the request came in too slowly; send it in one go")
}

/// One to eight digits and a unit, as the gRPC protocol has it.
fn asked(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    if values.next().is_some() {
        return Err(invalid());
    }
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(invalid)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid());
    }
    let number: u64 = digits.parse().map_err(|_| invalid())?;
    let time = match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return Err(invalid()),
    };
    Ok(Some(time))
}

fn invalid() -> Error {
    Error::new(
        Code::InvalidArgument,
        "TIMEOUT_INVALID",
        "grpc-timeout must be one to eight digits and one of H, M, S, m, u, n",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remaining(path: &str, timeout: Option<&str>) -> Result<Option<Duration>, Error> {
        let mut headers = HeaderMap::new();
        if let Some(timeout) = timeout {
            headers.insert(HEADER, HeaderValue::from_str(timeout).unwrap());
        }
        Deadline::arriving(Method::find(path), &headers).map(|deadline| deadline.map(Deadline::remaining))
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_is_honoured_and_capped() {
        let get = "/errand.task.v1.TaskService/GetTask";
        assert_eq!(remaining(get, Some("200m")).unwrap(), Some(Duration::from_millis(200)));
        assert_eq!(remaining(get, Some("1H")).unwrap(), Some(UNARY));
        assert_eq!(remaining(get, None).unwrap(), Some(UNARY));
        assert_eq!(remaining("/errand.chat.v1.ChatService/SendMessage", None).unwrap(), Some(ASSISTANT));
        assert_eq!(remaining("/grpc.health.v1.Health/Watch", None).unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_remains_is_passed_on() {
        let deadline = Deadline::after(Duration::from_secs(2));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(deadline.to_header().unwrap(), "1500m");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(deadline.to_header(), None);
    }

    #[tokio::test]
    async fn r_060_a_malformed_timeout_is_refused() {
        for bad in ["", "abc", "1", "m", "-1S", "1.5S", "123456789S", "1s", "１S", " 1S"] {
            let answer =
                remaining("/errand.task.v1.TaskService/GetTask", HeaderValue::from_str(bad).is_ok().then_some(bad));
            if HeaderValue::from_str(bad).is_ok() {
                assert_eq!(answer.unwrap_err().reason(), "TIMEOUT_INVALID", "{bad}");
            }
        }
    }
}
