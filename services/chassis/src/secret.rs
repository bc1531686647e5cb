//! The role's secret, from which every key of its own is derived (HKDF, RFC 5869).

use std::{fmt, sync::Arc};

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};

/// The fewest bytes that a secret may have.
pub const SHORTEST: usize = 32;

/// A secret shared by the replicas of a role.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

/// A secret that is too short to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret needs at least {SHORTEST} bytes")]
pub struct TooShort;

#[derive(Clone, Copy)]
struct Length;

impl Secret {
    /// Takes the secret's bytes.
    ///
    /// # Errors
    /// When there are fewer than 32.
    pub fn new(bytes: &[u8]) -> Result<Self, TooShort> {
        if bytes.len() < SHORTEST { Err(TooShort) } else { Ok(Self(bytes.into())) }
    }

    /// The 256-bit key for one purpose. Different labels give unrelated keys.
    #[must_use]
    pub fn derive(&self, label: &str) -> [u8; 32] {
        let mut key = [0; 32];
        let info = [b"errand ".as_slice(), label.as_bytes()];
        let prk = Salt::new(HKDF_SHA256, &[]).extract(&self.0);
        // 32 bytes are one block of HKDF-SHA256, far below its limit, so neither step can fail.
        if let Ok(okm) = prk.expand(&info, Length) {
            let filled = okm.fill(&mut key);
            debug_assert!(filled.is_ok());
        }
        key
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_gives_always_the_same_key_and_each_label_another() {
        let secret = Secret::new(&[7; 32]).unwrap();
        assert_eq!(secret.derive("page"), secret.derive("page"));
        assert_ne!(secret.derive("page"), secret.derive("kek"));
        assert_ne!(secret.derive("page"), [0; 32]);
        assert_ne!(secret.derive("page"), Secret::new(&[8; 32]).unwrap().derive("page"));
    }

    #[test]
    fn a_secret_of_31_bytes_is_refused_and_never_printed() {
        assert_eq!(Secret::new(&[1; 31]).unwrap_err(), TooShort);
        assert_eq!(format!("{:?}", Secret::new(b"0123456789abcdef0123456789abcdef").unwrap()), "Secret(***)");
    }
}
