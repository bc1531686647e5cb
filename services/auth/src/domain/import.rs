//! Accounts that come from elsewhere, one JSON object a line.
//!
//! What a password hash may look like is no matter here. No message repeats what a line holds.

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    Broken, Fault,
    account::{self, Email, TimeZone},
};

/// An account as it was elsewhere.
#[derive(Debug)]
pub struct Import {
    /// Its address.
    pub email: Email,
    /// The hash of its password, not judged yet.
    pub password_hash: String,
    /// The name to show.
    pub display_name: String,
    /// Its time zone.
    pub time_zone: TimeZone,
    /// When it was made; none when that is not known.
    pub create_time: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    email: String,
    password_hash: String,
    #[serde(default)]
    display_name: String,
    #[serde(default)]
    time_zone: String,
    #[serde(default)]
    create_time: Option<Timestamp>,
}

const NO_OBJECT: Broken = Broken {
    reason: "INVALID_FORMAT",
    description: "must be a JSON object with the strings `email` and `password_hash` and, if there are any, \
                  `display_name`, `time_zone` and `create_time` (RFC 3339)",
};
const IN_THE_FUTURE: Broken = Broken { reason: "OUT_OF_RANGE", description: "must not be in the future" };

impl Import {
    /// Reads a line.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(line: &str, now: Timestamp) -> Result<Self, Vec<Fault>> {
        let Ok(line) = serde_json::from_str::<Line>(line) else { return Err(vec![NO_OBJECT.at("line")]) };
        let email = Email::parse(&line.email).map_err(|broken| broken.at("email"));
        let name = account::check_display_name(&line.display_name).map_err(|broken| broken.at("display_name"));
        let time_zone = TimeZone::parse(&line.time_zone).map_err(|broken| broken.at("time_zone"));
        let time = match line.create_time {
            Some(time) if time > now => Err(IN_THE_FUTURE.at("create_time")),
            time => Ok(time.map(to_microseconds)),
        };
        match (email, name, time_zone, time) {
            (Ok(email), Ok(()), Ok(time_zone), Ok(create_time)) => Ok(Self {
                email,
                password_hash: line.password_hash,
                display_name: line.display_name,
                time_zone,
                create_time,
            }),
            (email, name, time_zone, time) => {
                Err([email.err(), name.err(), time_zone.err(), time.err()].into_iter().flatten().collect())
            }
        }
    }
}

/// As precise as it can be stored.
fn to_microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_795_251_600, 0);

    fn fields(line: &str) -> Vec<&'static str> {
        Import::parse(line, NOW).map(|_| Vec::new()).unwrap_or_else(|faults| faults.iter().map(|f| f.field).collect())
    }

    #[test]
    fn a_line_is_an_account() {
        let least = Import::parse(r#"{"email":"Ada@example.com","password_hash":"x"}"#, NOW).unwrap();
        assert_eq!((least.email.key(), least.password_hash.as_str()), ("ada@example.com", "x"));
        assert_eq!((least.display_name.as_str(), least.time_zone.as_str(), least.create_time), ("", "UTC", None));
        let whole = r#"{"email":"a@b","password_hash":"x","display_name":"Ada","time_zone":"europe/berlin",
            "create_time":"2020-02-29T12:00:00.123456789+01:00"}"#;
        let whole = Import::parse(whole, NOW).unwrap();
        assert_eq!((whole.display_name.as_str(), whole.time_zone.as_str()), ("Ada", "Europe/Berlin"));
        assert_eq!(whole.create_time.unwrap().to_string(), "2020-02-29T11:00:00.123456Z");
    }

    #[test]
    fn everything_that_is_wrong_with_a_line_is_said_at_once() {
        for line in ["", "[]", "{}", r#"{"email":"a@b"}"#, r#"{"email":"a@b","password_hash":"x","admin":true}"#] {
            assert_eq!(fields(line), ["line"], "{line}");
        }
        let line = r#"{"email":"no address","password_hash":"x","display_name":"a\u0000","time_zone":"Mars/Base",
            "create_time":"2999-01-01T00:00:00Z"}"#;
        assert_eq!(fields(line), ["email", "display_name", "time_zone", "create_time"]);
        assert_eq!(fields(r#"{"email":"a\u0000@b","password_hash":"x"}"#), ["email"]);
        let long = format!(r#"{{"email":"a@b","password_hash":"x","display_name":"{}"}}"#, "x".repeat(101));
        assert_eq!(fields(&long), ["display_name"]);
    }
}
