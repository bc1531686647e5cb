//! One value on its way: as SQLite has it, as PostgreSQL reads it, and in one spelling that both sides have.

use jiff::Timestamp;
use rusqlite::types::ValueRef;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// What a column of PostgreSQL holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Boolean,
    Id,
    Bytes,
    Time,
    Json,
}

impl Kind {
    /// The kind of a type by its name in the catalogue.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "text" | "varchar" => Self::Text,
            "int2" | "int4" | "int8" => Self::Number,
            "bool" => Self::Boolean,
            "uuid" => Self::Id,
            "bytea" => Self::Bytes,
            "timestamptz" => Self::Time,
            "json" | "jsonb" => Self::Json,
            _ => return None,
        })
    }

    /// What makes the type of the text that [`Kind::text`] makes.
    pub(super) const fn cast(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "bigint",
            Self::Boolean => "boolean",
            Self::Id => "uuid",
            Self::Bytes => "bytea",
            Self::Time => "timestamptz",
            Self::Json => "jsonb",
        }
    }

    /// The expression that PostgreSQL says a column in the common spelling with; JSON is spelled by [`Kind::spell`].
    pub(super) fn spelled(self, column: &str) -> String {
        match self {
            Self::Bytes => format!("encode({column}, 'hex')"),
            Self::Time => format!("(extract(epoch FROM {column}) * 1000000)::bigint::text"),
            _ => format!("{column}::text"),
        }
    }

    /// The common spelling of what PostgreSQL said.
    pub(super) fn spell(self, said: String) -> Result<String, String> {
        match self {
            Self::Json => json(&said),
            _ => Ok(said),
        }
    }

    /// A value of SQLite in the common spelling.
    pub(super) fn common(self, value: ValueRef<'_>) -> Result<Option<String>, String> {
        let spelled = match (self, value) {
            (_, ValueRef::Null) => return Ok(None),
            (Self::Text, ValueRef::Text(text)) => utf8(text)?.to_owned(),
            (Self::Number | Self::Time, ValueRef::Integer(number)) => number.to_string(),
            (Self::Boolean, ValueRef::Integer(number)) => (number != 0).to_string(),
            (Self::Id, ValueRef::Blob(bytes)) => {
                Uuid::from_slice(bytes).map_err(|error| error.to_string())?.to_string()
            }
            (Self::Bytes, ValueRef::Blob(bytes) | ValueRef::Text(bytes)) => hex(bytes),
            (Self::Json, ValueRef::Text(text) | ValueRef::Blob(text)) => json(utf8(text)?)?,
            (kind, value) => return Err(format!("{:?} is no {kind:?}", value.data_type())),
        };
        Ok(Some(spelled))
    }

    /// A value of SQLite as PostgreSQL reads it.
    pub(super) fn text(self, value: ValueRef<'_>) -> Result<Option<String>, String> {
        let common = self.common(value)?;
        Ok(match (self, common, value) {
            (Self::Bytes, Some(hex), _) => Some(format!("\\x{hex}")),
            (Self::Time, Some(_), ValueRef::Integer(micros)) => {
                Some(Timestamp::from_microsecond(micros).map_err(|error| error.to_string())?.to_string())
            }
            // As it was written: PostgreSQL makes its own order of it.
            (Self::Json, Some(_), ValueRef::Text(text) | ValueRef::Blob(text)) => Some(utf8(text)?.to_owned()),
            (_, common, _) => common,
        })
    }
}

/// The hash of a row whose values are in the common spelling.
pub(super) fn hash(table: &str, values: &[Option<String>]) -> u128 {
    let mut hasher = Sha256::new();
    hasher.update(table);
    for value in values {
        match value {
            None => hasher.update([0]),
            Some(value) => {
                hasher.update([1]);
                hasher.update((value.len() as u64).to_be_bytes());
                hasher.update(value);
            }
        }
    }
    let digest: [u8; 32] = hasher.finalize().into();
    digest.iter().take(16).fold(0, |sum, byte| (sum << 8) | u128::from(*byte))
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| error.to_string())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// JSON with the keys of its objects in order and no spaces.
fn json(text: &str) -> Result<String, String> {
    let value: Json = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(sorted(value).to_string())
}

fn sorted(value: Json) -> Json {
    match value {
        Json::Array(items) => Json::Array(items.into_iter().map(sorted).collect()),
        Json::Object(members) => {
            let mut members: Vec<_> = members.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            members.sort_by(|one, other| one.0.cmp(&other.0));
            Json::Object(members.into_iter().collect())
        }
        other => other,
    }
}
