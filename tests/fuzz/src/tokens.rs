//! A key to sign access tokens with, and who verifies them.

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use errand_chassis::{
    clock::{Clock, ManualClock},
    jwks::{KeySet, PublicKey},
    token::{ACCESS_LIFETIME, AUDIENCE, Claims, ISSUER, TYPE, Verifier},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use uuid::Uuid;

/// The name of the key.
pub const KID: &str = "k1";

/// Signs tokens, and knows the time.
pub struct Signer {
    /// The time that tokens are judged by.
    pub clock: Arc<ManualClock>,
    /// The key's public part.
    pub keys: KeySet,
    key: EncodingKey,
}

impl Signer {
    /// A new key.
    #[expect(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("there is chance");
        let point = pair.public_key().as_ref();
        let keys = KeySet::empty();
        keys.publish(&[PublicKey { kid: KID.to_owned(), x: point[1..33].to_vec(), y: point[33..65].to_vec() }]);
        let key = EncodingKey::from_ec_der(pair.to_pkcs8v1().expect("the key can be written").as_ref());
        Self { clock: Arc::default(), keys, key }
    }

    /// Verifies what was signed here.
    pub fn verifier(&self) -> Arc<Verifier> {
        Arc::new(Verifier::new(self.keys.clone(), self.clock.clone()))
    }

    /// What a token of this user says.
    pub fn claims(&self, user: Uuid) -> Claims {
        let now = self.clock.now().as_second();
        Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: user,
            sid: user,
            jti: user,
            iat: now,
            exp: now + ACCESS_LIFETIME.as_secs(),
            nbf: None,
            scope: "tasks:read tasks:write chat account".to_owned(),
            zoneinfo: String::new(),
        }
    }

    /// A token that says this.
    pub fn sign(&self, claims: &Claims) -> String {
        let header = Header { typ: Some(TYPE.to_owned()), kid: Some(KID.to_owned()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.key).expect("claims can be written")
    }

    /// Signs a text as if it were header and claims.
    pub fn sign_raw(&self, text: &str) -> String {
        let signature = jsonwebtoken::crypto::sign(text.as_bytes(), &self.key, Algorithm::ES256);
        format!("{text}.{}", signature.expect("any text can be signed"))
    }
}
