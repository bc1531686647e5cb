//! Repeating a request safely (AIP-155): the index of the change log by request.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use jiff::SignedDuration;
use sha2::{Digest, Sha256};

/// How long the first answer to a request is kept.
pub const REQUESTS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A request as its owner may repeat it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The caller's name for it, unique among the owner's requests.
    pub id: String,
    /// The path of its rpc.
    pub method: &'static str,
    /// What it says.
    pub fingerprint: Fingerprint,
    /// Whether it turned out to be a repetition.
    replayed: Replayed,
}

/// Whether a request was answered from its record. Clones of the request share it, so that who answers knows what the
/// store found out. It is no part of what the request is.
#[derive(Debug, Clone, Default)]
pub struct Replayed(Arc<AtomicBool>);

/// SHA-256 of a method and its canonical request: the protobuf encoding without `request_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// What is kept of a request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The path of its rpc.
    pub method: String,
    /// What it said.
    pub fingerprint: Fingerprint,
    /// Its first answer, as the service stores it.
    pub answer: Vec<u8>,
}

/// What a request turns out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Not seen before.
    New,
    /// A repetition: this was the first answer.
    Replay(Vec<u8>),
    /// Another request under an id that is taken.
    Reused,
}

impl Request {
    /// A request of this name. `canonical` is its protobuf encoding without the name.
    #[must_use]
    pub fn new(id: impl Into<String>, method: &'static str, canonical: &[u8]) -> Self {
        Self { id: id.into(), method, fingerprint: Fingerprint::of(method, canonical), replayed: Replayed::default() }
    }

    /// What tells, once it is answered, whether it was a repetition.
    #[must_use]
    pub fn replayed(&self) -> Replayed {
        self.replayed.clone()
    }

    /// Compares the request with what is kept under its id.
    #[must_use]
    pub fn judge(&self, record: Option<Record>) -> Known {
        match record {
            None => Known::New,
            Some(record) if record.method == self.method && record.fingerprint == self.fingerprint => {
                self.replayed.0.store(true, Ordering::Relaxed);
                Known::Replay(record.answer)
            }
            Some(_) => Known::Reused,
        }
    }
}

impl Replayed {
    /// Whether it was.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl PartialEq for Replayed {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Replayed {}

impl Fingerprint {
    /// Of a method's path and its canonical request.
    #[must_use]
    pub fn of(method: &str, canonical: &[u8]) -> Self {
        let digest = Sha256::new().chain_update(method).chain_update([0]).chain_update(canonical).finalize();
        Self(digest.into())
    }

    /// The 32 bytes that are stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads the stored bytes; nothing when they are not 32.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &'static str, body: &[u8]) -> Request {
        Request::new("r1", method, body)
    }

    fn record(request: &Request) -> Record {
        Record { method: request.method.to_owned(), fingerprint: request.fingerprint, answer: b"first".to_vec() }
    }

    #[test]
    fn the_same_request_is_answered_as_at_first() {
        let request = request("/a", b"body");
        let (replayed, other) = (request.replayed(), Request::new("r1", "/a", b"other"));
        assert_eq!(request.judge(None), Known::New);
        assert_eq!(other.judge(Some(record(&request))), Known::Reused);
        assert!(!replayed.get() && !other.replayed().get());
        assert_eq!(request.clone().judge(Some(record(&request))), Known::Replay(b"first".to_vec()));
        assert!(replayed.get(), "a clone of it found out");
    }

    #[test]
    fn another_body_or_method_under_the_same_id_is_reuse() {
        let first = record(&request("/a", b"body"));
        assert_eq!(request("/a", b"other").judge(Some(first.clone())), Known::Reused);
        assert_eq!(request("/b", b"body").judge(Some(first)), Known::Reused);
    }

    #[test]
    fn a_fingerprint_is_read_back_from_its_bytes() {
        let fingerprint = Fingerprint::of("/a", b"x");
        assert_eq!(Fingerprint::from_bytes(fingerprint.as_bytes()), Some(fingerprint));
        assert_eq!(Fingerprint::from_bytes(&[1, 2]), None);
    }
}
