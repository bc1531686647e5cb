//! Accounts: e-mail addresses, rules for passwords, time zones, and what a profile change makes.
//!
//! The e-mail address is kept as it was given; whether two of them are the same is decided by their
//! key. Nothing in here prints an address or a password.

use std::fmt;

use errand_changelog::{Seq, UserId};
use jiff::{Timestamp, tz::TimeZoneDatabase};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use super::Broken;

/// The most characters of an e-mail address.
pub const EMAIL_LONGEST: usize = 254;
/// The fewest characters of a password.
pub const PASSWORD_SHORTEST: usize = 8;
/// The most characters of a password.
pub const PASSWORD_LONGEST: usize = 128;
/// The most bytes of a password.
pub const PASSWORD_MOST_BYTES: usize = 1024;
/// The most characters of a display name.
pub const DISPLAY_NAME_LONGEST: usize = 100;
/// The time zone of an account that names none.
pub const UTC: &str = "UTC";

/// What is broken about text with U+0000 in it, which no e-mail address has and not every store can keep.
pub const NOT_TEXT: Broken = Broken { reason: "INVALID_FORMAT", description: "must not have the character U+0000" };

/// The most frequent passwords of at least 8 characters, lower case, sorted by bytes.
/// Where they are from is said in common_passwords.license.txt.
const COMMON_PASSWORDS: &str = include_str!("common_passwords.txt");

/// An account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The user that it belongs to.
    pub id: UserId,
    /// The e-mail address as it was given.
    pub email: String,
    /// The name shown to the user.
    pub display_name: String,
    /// The IANA time zone.
    pub time_zone: String,
    /// The place of its last change in the owner's log.
    pub version: Seq,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
    /// When an operator disabled it; none while it is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable_time: Option<Timestamp>,
}

/// An e-mail address.
#[derive(Clone, PartialEq, Eq)]
pub struct Email {
    given: String,
    key: String,
}

/// The name of an IANA time zone, spelled as the database spells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeZone(String);

/// A password hash as it is stored: a PHC string, or an imported one of bcrypt.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// What to change of an account; what is none stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// The new display name.
    pub display_name: Option<String>,
    /// The new time zone.
    pub time_zone: Option<TimeZone>,
}

/// Checks a password that somebody wants to have. It is taken as it is: not trimmed, not folded,
/// not cut.
///
/// # Errors
/// When it is too short or too long, one of the most common ones, or the e-mail address.
pub fn check_password(password: &str, email: &Email) -> Result<(), Broken> {
    let characters = password.chars().take(PASSWORD_LONGEST + 1).count();
    if characters < PASSWORD_SHORTEST {
        return Err(Broken { reason: "TOO_SHORT", description: "must have at least 8 characters" });
    }
    if characters > PASSWORD_LONGEST || password.len() > PASSWORD_MOST_BYTES {
        return Err(Broken { reason: "TOO_LONG", description: "must have at most 128 characters and 1024 bytes" });
    }
    if is_common(&password.to_lowercase()) {
        return Err(Broken {
            reason: "TOO_COMMON",
            description: "is one of the most common passwords; choose another",
        });
    }
    if canonical(password) == email.key {
        return Err(Broken { reason: "SAME_AS_EMAIL", description: "must not be the e-mail address" });
    }
    Ok(())
}

/// Checks a display name that did not pass the contract, by the contract's rules.
///
/// # Errors
/// When it is too long, or holds control characters.
pub fn check_display_name(name: &str) -> Result<(), Broken> {
    if name.chars().nth(DISPLAY_NAME_LONGEST).is_some() {
        return Err(Broken { reason: "TOO_LONG", description: "must have at most 100 characters" });
    }
    let is_bad = |character: char| {
        let turns = matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        character.is_control() || turns
    };
    if name.contains(is_bad) {
        return Err(Broken { reason: "INVALID_FORMAT", description: "must have no control characters" });
    }
    Ok(())
}

// === impl Account ===

impl Account {
    /// What the etag of this version is.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("{:x}", self.version)
    }

    /// The account with a patch applied; none when that changes nothing. The version stays that of
    /// the last change until the change has a place in the log.
    #[must_use]
    pub fn patched(&self, patch: &Patch, now: Timestamp) -> Option<Account> {
        let mut after = self.clone();
        if let Some(name) = &patch.display_name {
            after.display_name.clone_from(name);
        }
        if let Some(zone) = &patch.time_zone {
            zone.as_str().clone_into(&mut after.time_zone);
        }
        if after == *self {
            return None;
        }
        // The wall clock may step back; an account's own times do not.
        after.update_time = now.max(self.update_time);
        Some(after)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("id", &self.id).field("version", &self.version).finish_non_exhaustive()
    }
}

// === impl Email ===

impl Email {
    /// Reads an address, `local@domain`.
    ///
    /// # Errors
    /// When it is too long, has not exactly one `@` with something on both sides, or holds white
    /// space, control characters or invisible ones.
    pub fn parse(text: &str) -> Result<Self, Broken> {
        if text.chars().nth(EMAIL_LONGEST).is_some() {
            return Err(Broken { reason: "TOO_LONG", description: "must have at most 254 characters" });
        }
        let key = canonical(text);
        // The key is looked at too: a compatibility character may stand for a space or an `@`.
        if [text, &key].into_iter().all(is_address) {
            Ok(Self { given: text.to_owned(), key })
        } else {
            Err(Broken { reason: "INVALID_FORMAT", description: "must be an e-mail address, `local@domain`" })
        }
    }

    /// The address as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.given
    }

    /// What is the same for all spellings of one address.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(***)")
    }
}

/// Folds case and Unicode spelling (NFKC, lower case, NFKC, as lower case may come out decomposed).
/// Letter by letter, so that the key does not depend on a letter's neighbours.
#[must_use]
pub fn canonical(text: &str) -> String {
    text.nfkc().flat_map(char::to_lowercase).nfkc().collect()
}

fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let dots_are_inside = !domain.starts_with('.') && !domain.ends_with('.') && !domain.contains("..");
    !local.is_empty() && !domain.is_empty() && !domain.contains('@') && dots_are_inside && text.chars().all(is_visible)
}

fn is_visible(character: char) -> bool {
    let is_invisible = matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
    !character.is_whitespace() && !character.is_control() && !is_invisible
}

fn is_common(password: &str) -> bool {
    // The lines are sorted, so a few steps find the place; what is there decides.
    let mut lines = COMMON_PASSWORDS;
    while !lines.is_empty() {
        let middle = lines.len() / 2;
        let start = lines.as_bytes()[..middle].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let end = lines.as_bytes()[start..].iter().position(|byte| *byte == b'\n').map_or(lines.len(), |at| start + at);
        match password.cmp(&lines[start..end]) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => lines = &lines[..start],
            std::cmp::Ordering::Greater => lines = lines.get(end + 1..).unwrap_or_default(),
        }
    }
    false
}

// === impl TimeZone ===

impl TimeZone {
    /// Reads the name of a time zone; nothing means UTC.
    ///
    /// # Errors
    /// When the database that is compiled in does not know it.
    pub fn parse(name: &str) -> Result<Self, Broken> {
        if name.is_empty() {
            return Ok(Self::default());
        }
        let zone = TimeZoneDatabase::bundled().get(name).ok();
        match zone.as_ref().and_then(jiff::tz::TimeZone::iana_name) {
            Some(spelled) if spelled != "Etc/Unknown" => Ok(Self(spelled.to_owned())),
            _ => Err(Broken {
                reason: "UNKNOWN_VALUE",
                description: "must be the name of an IANA time zone, such as `Europe/Berlin`",
            }),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TimeZone {
    fn default() -> Self {
        Self(UTC.to_owned())
    }
}

// === impl PasswordHash ===

impl PasswordHash {
    /// Takes the text of a hash.
    #[must_use]
    pub const fn new(phc: String) -> Self {
        Self(phc)
    }

    /// The text, for the hasher and the store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(***)")
    }
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
