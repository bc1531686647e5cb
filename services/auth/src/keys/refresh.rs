//! Refresh tokens as text: `id.secret`.
//!
//! The id is the session's. The secret is the generation and its MAC under the role's `refresh` key,
//! so the successor of a token can be made again for a client that lost the answer, and a token
//! that was made up revokes nothing. The store keeps only the SHA-256 of a secret.

use std::fmt;

use aws_lc_rs::{
    digest,
    hmac::{self, HMAC_SHA256},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use errand_chassis::secret::Secret;
use secrecy::SecretString;
use uuid::Uuid;

/// Bytes of the generation before the MAC.
const GENERATION: usize = 4;

/// Makes and reads refresh tokens.
pub struct RefreshKey(hmac::Key);

/// A refresh token that was made.
pub struct Issued {
    /// The token.
    pub token: SecretString,
    /// What the store keeps of it.
    pub secret_hash: [u8; 32],
}

/// What a refresh token that was presented says, and is proved to say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Presented {
    /// The session that it belongs to.
    pub session: Uuid,
    /// Its generation.
    pub generation: u32,
    /// What the store keeps of it while it is the newest.
    pub secret_hash: [u8; 32],
}

impl RefreshKey {
    /// The key of this secret; all replicas of the role understand each other's tokens.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, &secret.derive("refresh")))
    }

    /// The token of one generation of a session; always the same one.
    #[must_use]
    pub fn issue(&self, session: Uuid, generation: u32) -> Issued {
        let mac = hmac::sign(&self.0, &message(session, generation.to_be_bytes()));
        let secret = [generation.to_be_bytes().as_slice(), mac.as_ref()].concat();
        let token = format!("{}.{}", session.simple(), URL_SAFE_NO_PAD.encode(&secret));
        Issued { token: SecretString::from(token), secret_hash: sha256(&secret) }
    }

    /// Reads a token; none when this key never made it.
    #[must_use]
    pub fn read(&self, token: &str) -> Option<Presented> {
        let (id, secret) = token.split_once('.')?;
        let session = Uuid::try_parse(id).ok()?;
        // One spelling only: the parser takes several.
        if id != session.simple().to_string() {
            return None;
        }
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?;
        let (generation, mac) = secret.split_first_chunk::<GENERATION>()?;
        hmac::verify(&self.0, &message(session, *generation), mac).ok()?;
        Some(Presented { session, generation: u32::from_be_bytes(*generation), secret_hash: sha256(&secret) })
    }
}

impl fmt::Debug for RefreshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshKey(***)")
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented")
            .field("session", &self.session)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

fn message(session: Uuid, generation: [u8; GENERATION]) -> Vec<u8> {
    [session.as_bytes().as_slice(), &generation].concat()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    fn key() -> RefreshKey {
        RefreshKey::new(&Secret::new(&[3; 32]).unwrap())
    }

    fn token(session: u128, generation: u32) -> String {
        key().issue(Uuid::from_u128(session), generation).token.expose_secret().to_owned()
    }

    #[test]
    fn a_generation_has_one_token_and_every_other_another() {
        assert_eq!(token(1, 0), token(1, 0));
        assert_ne!(token(1, 0), token(1, 1));
        assert_ne!(token(1, 0).split_once('.').unwrap().1, token(2, 0).split_once('.').unwrap().1);
        assert_eq!(token(1, 0).len(), 32 + 1 + 48);
    }

    #[test]
    fn another_secret_reads_nothing() {
        let other = RefreshKey::new(&Secret::new(&[4; 32]).unwrap());
        assert_eq!(other.read(&token(1, 0)), None);
    }

    #[test]
    fn a_token_has_one_spelling() {
        let good = token(0xabc, 7);
        let (id, secret) = good.split_once('.').unwrap();
        for bad in [
            format!("{}.{secret}", id.to_uppercase()),
            format!("{}.{secret}", Uuid::try_parse(id).unwrap()),
            format!("{{{}}}.{secret}", Uuid::try_parse(id).unwrap()),
            format!("{good}="),
            format!("{good}."),
            format!(" {good}"),
            format!("{id}.{}", &secret[1..]),
            format!("{id}."),
            String::from("."),
            String::new(),
        ] {
            assert_eq!(key().read(&bad), None, "{bad}");
        }
    }

    #[test]
    fn nothing_prints_a_token() {
        let presented = key().read(&token(1, 0)).unwrap();
        assert_eq!(
            format!("{:?} {presented:?}", key()),
            format!("RefreshKey(***) Presented {{ session: {}, generation: 0, .. }}", Uuid::from_u128(1))
        );
    }

    proptest! {
        #[test]
        fn what_is_issued_is_read(session in any::<u128>(), generation in any::<u32>()) {
            let session = Uuid::from_u128(session);
            let issued = key().issue(session, generation);
            let presented = key().read(issued.token.expose_secret()).unwrap();
            prop_assert_eq!((presented.session, presented.generation, presented.secret_hash), (session, generation, issued.secret_hash));
        }

        #[test]
        fn a_changed_token_is_refused(generation in any::<u32>(), at in 0usize..81, to in "[ -~]") {
            let mut changed = token(9, generation);
            changed.replace_range(at..=at, &to);
            prop_assume!(changed != token(9, generation));
            prop_assert_eq!(key().read(&changed), None);
        }

        #[test]
        fn any_text_is_refused_without_a_panic(text in any::<String>()) {
            prop_assert_eq!(key().read(&text), None);
        }
    }
}
