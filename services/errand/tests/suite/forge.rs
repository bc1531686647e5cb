//! Access tokens that no session would be given, signed with the suite's own key.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use errand_chassis::secret::Secret;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::sandbox::{Person, Sandbox};

/// The secret of a suite whose tokens are forged.
const SECRET: &str = "known to this test and to nobody else";

/// What a suite whose tokens are to be forged is started with.
pub(crate) const FORGEABLE: &[(&str, &str)] = &[("ERRAND_SECRET_KEY", SECRET)];

/// The key that a suite signs with.
pub(crate) struct Forge {
    header: Header,
    key: EncodingKey,
}

impl Forge {
    /// Takes the key from where it is stored, as only somebody with the secret can.
    pub(crate) async fn of(sandbox: &Sandbox) -> Self {
        let kid = sandbox.stored("auth", "SELECT kid FROM signing_keys").await.remove(0);
        let sealed = unhex(&sandbox.stored("auth", "SELECT sealed FROM signing_keys").await[0]);
        let kek = Secret::new(SECRET.as_bytes()).unwrap().derive("kek");
        let (nonce, sealed) = sealed.split_at(NONCE_LEN);
        let mut opened = sealed.to_vec();
        let pkcs8 = RandomizedNonceKey::new(&AES_256_GCM, &kek)
            .unwrap()
            .open_in_place(Nonce::try_assume_unique_for_key(nonce).unwrap(), Aad::from(kid.as_bytes()), &mut opened)
            .unwrap();
        let mut header = Header::new(Algorithm::ES256);
        (header.typ, header.kid) = (Some("at+jwt".to_owned()), Some(kid));
        Self { header, key: EncodingKey::from_ec_der(pkcs8) }
    }

    /// A person's token with these claims changed.
    pub(crate) fn token(&self, person: &Person, changes: &[(&str, Value)]) -> String {
        let payload = person.token().split('.').nth(1).unwrap();
        let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        for (claim, value) in changes {
            claims[claim] = value.clone();
        }
        jsonwebtoken::encode(&self.header, &claims, &self.key).unwrap()
    }

    /// A person's token that ended before now by more than clocks may differ.
    pub(crate) fn expired(&self, person: &Person) -> String {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        self.token(person, &[("iat", json!(now - 907)), ("exp", json!(now - 7))])
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("\\x").unwrap();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
