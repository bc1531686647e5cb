//! Password hashes that were made elsewhere: which are taken, and bcrypt, of which none is ever made here.
//!
//! A hash that is verified for a stranger decides how much work a stranger can cause, so one that asks for more than a
//! bounded amount is not taken.

use argon2::{ARGON2ID_IDENT, Params, Version, password_hash::phc::PasswordHash as Phc};
use secrecy::{ExposeSecret, SecretString};

use super::{Error, Verdict};
use crate::domain::{Broken, account::PasswordHash};

/// The greatest cost of bcrypt, about a second.
const MOST_COST: u32 = 14;
/// The least cost that bcrypt knows.
const LEAST_COST: u32 = 4;
/// A bcrypt hash: version, cost, 22 characters of salt and 31 of hash.
const BCRYPT_LENGTH: usize = 60;
/// The most memory of argon2id, in KiB.
const MOST_MEMORY: u32 = 131_072;
/// The most memory of argon2id times its passes, in KiB: seven times what a hash of ours costs at least.
const MOST_WORK: u64 = 262_144;
/// The most lanes of argon2id.
const MOST_LANES: u32 = 16;

const UNKNOWN: Broken = Broken {
    reason: "INVALID_FORMAT",
    description: "must be a hash of bcrypt ($2a$, $2b$, $2y$) or of argon2id as a PHC string ($argon2id$)",
};
const TOO_EXPENSIVE: Broken = Broken {
    reason: "OUT_OF_RANGE",
    description: "costs too much to verify: bcrypt at most 14; argon2id at most 128 MiB, and 256 MiB times passes",
};

/// Judges a hash that was made elsewhere.
///
/// # Errors
/// When it is of no kind that is understood, or asks for too much work.
pub fn judge(text: &str) -> Result<PasswordHash, Broken> {
    if text.starts_with("$argon2id$") {
        argon2id(text)?;
    } else {
        let cost = bcrypt_cost(text).ok_or(UNKNOWN)?;
        if cost > MOST_COST {
            return Err(TOO_EXPENSIVE);
        }
    }
    Ok(PasswordHash::new(text.to_owned()))
}

/// What a hash that was taken costs to verify: all that stands before its salt.
#[must_use]
pub fn cost(hash: &PasswordHash) -> String {
    // The salt of bcrypt stands beside the hash, that of argon2id before it.
    let behind = if is_bcrypt(hash) { 2 } else { 3 };
    hash.as_str().rsplitn(behind, '$').last().unwrap_or_default().to_owned()
}

/// A hash of no password that costs so much; none when that is no cost that is taken.
#[must_use]
pub fn decoy(cost: &str) -> Option<PasswordHash> {
    let rest = if cost.starts_with("$2") {
        ".".repeat(BCRYPT_LENGTH - "$2b$10$".len())
    } else {
        // 16 bytes of salt and 32 of hash, all zero.
        format!("{}${}", "A".repeat(22), "A".repeat(43))
    };
    judge(&format!("{cost}${rest}")).ok()
}

/// Whether a stored hash is of bcrypt.
pub(super) fn is_bcrypt(hash: &PasswordHash) -> bool {
    hash.as_str().starts_with("$2")
}

/// Compares a password with a hash of bcrypt, which sees its first 72 bytes only. It is right at best until it has
/// been hashed anew.
pub(super) fn verify(password: &SecretString, against: &PasswordHash) -> Result<Verdict, Error> {
    match bcrypt::verify(password.expose_secret(), against.as_str()) {
        Ok(true) => Ok(Verdict::RightButWeak),
        Ok(false) => Ok(Verdict::Wrong),
        Err(_) => Err(Error::Failed("a stored hash is none of bcrypt")),
    }
}

fn argon2id(text: &str) -> Result<(), Broken> {
    let hash = Phc::new(text).map_err(|_| UNKNOWN)?;
    let params = Params::try_from(&hash).map_err(|_| UNKNOWN)?;
    let version = hash.version.map_or(Ok(Version::V0x13), Version::try_from);
    let is_whole = hash.algorithm == ARGON2ID_IDENT && hash.hash.is_some() && version.is_ok();
    let has_salt = hash.salt.as_ref().is_some_and(|salt| salt.as_ref().len() >= 8);
    let is_plain = params.keyid().is_empty() && params.data().is_empty();
    if !is_whole || !has_salt || !is_plain {
        return Err(UNKNOWN);
    }
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if params.m_cost() > MOST_MEMORY || work > MOST_WORK || params.p_cost() > MOST_LANES {
        return Err(TOO_EXPENSIVE);
    }
    Ok(())
}

/// The cost of a bcrypt hash; none when it is not one.
fn bcrypt_cost(text: &str) -> Option<u32> {
    let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|version| text.strip_prefix(version))?;
    let (cost, digest) = rest.split_once('$')?;
    let is_number = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
    let is_digest = digest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/');
    let cost: u32 = if is_number { cost.parse().ok()? } else { return None };
    (text.len() == BCRYPT_LENGTH && is_digest && (LEAST_COST..=31).contains(&cost)).then_some(cost)
}

#[cfg(test)]
#[path = "imported_tests.rs"]
mod tests;
