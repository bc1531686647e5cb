//! Page tokens (AIP-158): sealed, so that a client can neither read nor make one, and bound to the
//! caller, the method and the other arguments.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    digest,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use errand_changelog::UserId;
use errand_proto::validation::Violation;
use jiff::SignedDuration;
use tonic::Code;

use crate::{clock::Clock, error::Error, secret::Secret};

/// How long a page token can be used.
pub const LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// The page size when none is asked for.
pub const DEFAULT_SIZE: usize = 50;

/// The largest page; a larger wish gets this.
pub const LARGEST_SIZE: usize = 200;

/// Seals and opens page tokens.
#[derive(Clone)]
pub struct PageTokens {
    key: Arc<RandomizedNonceKey>,
    clock: Arc<dyn Clock>,
}

/// How many items a page has: 0 asks for the default, more than the largest for the largest.
/// Negative sizes are refused by the contract.
#[must_use]
pub fn page_size(requested: i32) -> usize {
    match usize::try_from(requested) {
        Ok(0) | Err(_) => DEFAULT_SIZE,
        Ok(size) => size.min(LARGEST_SIZE),
    }
}

impl PageTokens {
    /// Tokens under the `page` key of this secret; all replicas of a role understand each other's.
    ///
    /// # Errors
    /// Never for a key of 32 bytes, which this is; the cipher's interface says so.
    pub fn new(secret: &Secret, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &secret.derive("page"))
            .map_err(|_| Error::new(Code::Internal, "INTERNAL", "the page key could not be made"))?;
        Ok(Self { key: Arc::new(key), clock })
    }

    /// A token for the page after `position`. `arguments` are all others of the call but page_size.
    /// Empty when the cipher fails, which ends the list early rather than leaking a position.
    #[must_use]
    pub fn seal(&self, owner: UserId, method: &str, arguments: &[u8], position: &[u8]) -> String {
        let mut sealed = self.clock.now().as_second().to_be_bytes().to_vec();
        sealed.extend_from_slice(position);
        match self.key.seal_in_place_append_tag(binding(owner, method, arguments), &mut sealed) {
            Ok(nonce) => URL_SAFE_NO_PAD.encode([nonce.as_ref().as_slice(), &sealed].concat()),
            Err(_) => String::new(),
        }
    }

    /// The position in a token that was sealed for the same caller, method and arguments.
    ///
    /// # Errors
    /// INVALID_ARGUMENT, PAGE_TOKEN_INVALID, for every other token and for one older than a day.
    pub fn open(&self, owner: UserId, method: &str, arguments: &[u8], token: &str) -> Result<Vec<u8>, Error> {
        self.try_open(owner, method, arguments, token).ok_or_else(|| {
            Error::new(
                Code::InvalidArgument,
                "PAGE_TOKEN_INVALID",
                "page_token is not one that this list gave you, or its other arguments changed; start from the first page",
            )
            .violation(Violation::new("pageToken", "INVALID_FORMAT", "must come from the page before, unchanged"))
        })
    }

    fn try_open(&self, owner: UserId, method: &str, arguments: &[u8], token: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let opened = self.key.open_in_place(nonce, binding(owner, method, arguments), &mut sealed).ok()?;
        let (issued, position) = opened.split_first_chunk::<8>()?;
        let age = self.clock.now().as_second().saturating_sub(i64::from_be_bytes(*issued));
        (age <= LIFETIME.as_secs()).then(|| position.to_vec())
    }
}

impl fmt::Debug for PageTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageTokens(***)")
    }
}

fn binding(owner: UserId, method: &str, arguments: &[u8]) -> Aad<Vec<u8>> {
    let mut bound = owner.as_uuid().as_bytes().to_vec();
    bound.extend_from_slice(method.as_bytes());
    bound.push(0);
    bound.extend_from_slice(digest::digest(&digest::SHA256, arguments).as_ref());
    Aad::from(bound)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::clock::ManualClock;

    fn tokens() -> (PageTokens, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        (PageTokens::new(&Secret::new(&[1; 32]).unwrap(), clock.clone()).unwrap(), clock)
    }

    fn user(number: u128) -> UserId {
        UserId::from(Uuid::from_u128(number))
    }

    #[test]
    fn a_token_opens_only_for_its_caller_method_and_arguments() {
        let (tokens, _) = tokens();
        let token = tokens.seal(user(1), "/m", b"args", b"here");
        assert_eq!(tokens.open(user(1), "/m", b"args", &token).unwrap(), b"here");
        assert!(tokens.open(user(2), "/m", b"args", &token).is_err());
        assert!(tokens.open(user(1), "/n", b"args", &token).is_err());
        assert!(tokens.open(user(1), "/m", b"argh", &token).is_err());
    }

    #[test]
    fn r_054_a_token_that_is_older_than_a_day_is_refused() {
        let (tokens, clock) = tokens();
        let token = tokens.seal(user(1), "/m", b"", b"here");
        clock.advance(LIFETIME);
        assert!(tokens.open(user(1), "/m", b"", &token).is_ok());
        clock.advance(SignedDuration::from_secs(1));
        assert_eq!(tokens.open(user(1), "/m", b"", &token).unwrap_err().reason(), "PAGE_TOKEN_INVALID");
    }

    #[test]
    fn r_053_sizes_are_defaulted_and_clamped() {
        assert_eq!([0, 1, 200, 201, i32::MAX].map(page_size), [50, 1, 200, 200, 200]);
    }

    proptest! {
        #[test]
        fn any_position_comes_back(position in prop::collection::vec(any::<u8>(), 0..100), arguments in prop::collection::vec(any::<u8>(), 0..50)) {
            let (tokens, _) = tokens();
            let token = tokens.seal(user(1), "/m", &arguments, &position);
            prop_assert_eq!(tokens.open(user(1), "/m", &arguments, &token).unwrap(), position);
        }

        #[test]
        fn r_054_a_changed_token_is_refused(at in 0usize..60, to in "[A-Za-z0-9_-]") {
            let (tokens, _) = tokens();
            let token = tokens.seal(user(1), "/m", b"", b"0123456789");
            let at = at % token.len();
            let mut changed = token.clone();
            changed.replace_range(at..=at, &to);
            prop_assume!(changed != token);
            prop_assert!(tokens.open(user(1), "/m", b"", &changed).is_err());
        }

        #[test]
        fn any_text_is_refused_without_a_panic(text in ".{0,200}") {
            let (tokens, _) = tokens();
            prop_assert!(tokens.open(user(1), "/m", b"", &text).is_err());
        }
    }
}
